"""What no test executed of the branches that handle a failing call: see tools/coverage."""

import argparse
import json
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FOLDERS = ("node/disk", "sync/pg", "proto/coord")
ALLOWED = os.path.join(ROOT, "tools", "lib", "coverage.allow")

# A condition on the failure of a call: a status, errno, what C and libpq return for "no", or the result of a call itself.
FAILING = re.compile(
    r"\bFB_OK\b|\bFB_E[A-Z]+\b|\berrno\b|\) (<|!=|==) (0|-1)\b|\b(\w*fd|e|n|got|put|d|p|result|rc|s) (<|!=|==|>=) (0|NULL)\b|"
    r"\bPQ[a-z]\w+\(|\bdisk_is_full\(|if \(!\w+\(")
# Comparisons that are no failure of a call.
PURE = re.compile(r"!?\b(str\w*|memcmp|memchr|flag|starts|fb_bytes_\w+|json_is_\w+|fb_hash_\w+|log_name_parse|text_value)"
                  r"\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)( (==|!=) (0|NULL))?|\((?:[^()]|\([^()]*\))* & (?:[^()]|\([^()]*\))*\) (==|!=) 0")
NO_BRANCH = re.compile(r"^\s*(fb_assert|FB_LOG|static_assert)")


def fail(text):
    sys.exit("coverage: " + text)


def gcov_of(build, folder):
    """gcov's records of each file of a folder: path -> {line: (count, [branch counts])}, over all places it was compiled in."""
    data = []
    for where, _, files in os.walk(os.path.join(build, folder.split("/")[0])):
        data += [os.path.join(where, f) for f in files if f.endswith(".gcda")]
    if not data:
        return {}
    r = subprocess.run(["gcov", "--json-format", "--stdout", "--branch-probabilities", *data], cwd=build, stdout=subprocess.PIPE,
                       stderr=subprocess.DEVNULL, text=True)
    lines = {}
    for text in r.stdout.splitlines():
        if not text.startswith("{"):
            continue
        for f in json.loads(text)["files"]:
            path = os.path.relpath(os.path.normpath(os.path.join(build, f["file"])), ROOT)
            if os.path.dirname(path) != folder or not path.endswith(".c"):
                continue
            here = lines.setdefault(path, {})
            for line in f["lines"]:
                count, branches = here.get(line["line_number"], (0, []))
                now = [b["count"] for b in line["branches"] if not b["throw"]]
                branches = [a + b for a, b in zip(branches, now)] if len(branches) == len(now) else now
                here[line["line_number"]] = (count + line["count"], branches)
    return lines


def missing(lines):
    """(path, line, what, text) of each branch that handles a failing call and was not executed."""
    for path, here in sorted(lines.items()):
        with open(os.path.join(ROOT, path), encoding="utf-8") as f:
            source = f.read().splitlines()
        for number, (count, branches) in sorted(here.items()):
            if number > len(source):
                fail(f"{path} is not the one that was built; run without --no-run")
            text = source[number - 1]
            if NO_BRANCH.match(text) or not branches:
                continue
            if not FAILING.search(PURE.sub("", text)):
                continue
            never = [i for i, n in enumerate(branches) if n == 0]
            if count == 0 or never:
                yield path, number, "line" if count == 0 else f"{len(never)} of {len(branches)} ways", text.strip()


def allowed():
    """Lines "path: text of the line: reason"; a reason must be given."""
    out = {}
    if os.path.exists(ALLOWED):
        with open(ALLOWED, encoding="utf-8") as f:
            for n, line in enumerate(f, 1):
                if line.startswith("#") or not line.strip():
                    continue
                parts = line.rstrip("\n").split(" | ")
                if len(parts) != 3 or not parts[2].strip():
                    fail(f"{ALLOWED}:{n}: not \"path | text of the line | reason\"")
                out[(parts[0], parts[1])] = parts[2]
    return out


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--build", required=True)
    p.add_argument("--all", action="store_true", help="also what is allowed")
    a = p.parse_args()
    build = os.path.abspath(a.build)
    allow, used, open_ones = allowed(), set(), 0
    for folder in FOLDERS:
        lines = gcov_of(build, folder)
        if not lines:
            fail(f"nothing of {folder} was run in {build}")
        total = sum(1 for here in lines.values() for _, b in here.values() if b)
        found = list(missing(lines))
        for path, number, what, text in found:
            key = (path, text)
            if key in allow:
                used.add(key)
                if not a.all:
                    continue
            else:
                open_ones += 1
            print(f"{path}:{number}: {what} never taken: {text}" + (f"   [{allow[key]}]" if key in allow else ""))
        print(f"{folder}: {total} lines with branches, {len(found)} that handle a failing call were not taken every way, "
              f"{sum(1 for x in found if (x[0], x[3]) in allow)} of them allowed")
    stale = set(allow) - used
    for path, text in sorted(stale):
        print(f"{path}: allowed without need: {text}")
    sys.exit(1 if open_ones or stale else 0)


if __name__ == "__main__":
    main()
