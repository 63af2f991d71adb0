"""What no test executed of the branches that handle a failing call: see tools/coverage."""

import argparse
import json
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FOLDERS = ("node/disk", "sync/pg", "proto/coord")

# A condition on the failure of a call, by what it says: a status or a class of ours, of libpq or of libcurl, errno and its numbers,
# what C and libpq return for "no", a connection that is given up, or the result of a call itself.
FAILING = re.compile(
    r"\bFB_OK\b|\bFB_E[A-Z]+\b|\bPG_(?:OK|OUTAGE|RETRY|NAMESPACE|FOREIGN_KEY|ROW|LOST|CONFLICT|NO_LETTER|UNKNOWN)\b|\bPGRES_\w+|"
    r"\bCONNECTION_(?:OK|BAD)\b|\bCURL[EM]_\w+|\berrno\b|\bE[A-Z0-9]{3,}\b(?!\()|"
    r"\) (?:<|!=|==) (?:0|-1)\b|\b(?:\w*fd|e|n|got|put|d|p|result|rc|s) (?:<|!=|==|>=) (?:0|NULL)\b|\bconn (?:==|!=) NULL|"
    r"\bPQ[a-z]\w+\(|\bdisk_is_full\(|(?:if \(|&& |\|\| |^\s*)!\w+\(")
# Calls that can fail and tell it by what they return, which is often kept in a variable before it is looked at.
CALLS = re.compile(
    r"\b(?:f?d?open\w*|fdopendir|opendir|readdir|fgets|p?read|p?write\w*|f?stat\w*|fsync|fdatasync|fallocate|ftruncate|flock|fcntl|lseek|"
    r"mk\w+at|unlink\w*|rename\w*|poll|pipe2?|eventfd|inotify_\w+|gethostname|sscanf|[mc]alloc|realloc|fb_try_malloc|fb_buf_try_reserve|"
    r"json_(?:load|dump|pack)\w*|curl_\w+|PQ(?!getvalue|ntuples|getisnull|getlength|server|error|cmd)[a-z]\w+)\(")
# Comparisons that are no failure of a call: of texts and values, questions to what is in memory, checks a build leaves out.
PURE = re.compile(r"!?\b(str\w*|memcmp|memchr|flag|starts|fb_bytes_\w+|json_is_\w+|fb_hash_\w+|log_name_parse|text_value|only_field_is_hex|"
                  r"pg_utf8_valid|unknown_field|row_text|orphan_bits|pg_row_(?:missing|has_token)|fb_schema_is_of|FB_MUTANT)"
                  r"\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)( (==|!=) (0|NULL))?|\((?:[^()]|\([^()]*\))* & (?:[^()]|\([^()]*\))*\) (==|!=) 0")
TELLS = re.compile(r"\b(?:pg_error_set|fb_err_set)\(err, \w+")  # of a failure, and does not ask for one
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


def kept_results(source):
    """For each line of a file: a pattern of conditions on what a call that can fail left in a variable of that function, or None."""
    out, start = [None] * (len(source) + 1), 0
    for number, text in enumerate(source, 1):
        if text == "{":
            start = number
        if text != "}" or not start:
            continue
        names = set()
        for part in re.split(r"[;{}]", " ".join(source[start:number])):
            m = re.search(r"([\w>.\[\]-]+) = (.*)", part)
            if m and CALLS.search(m.group(2)):
                names.add(re.escape(m.group(1)))
        if names:
            name = r"(?<![\w>.])(?:" + "|".join(sorted(names)) + r")(?![\w.\[(-])"
            pattern = re.compile(rf"!{name}|{name} (?:[<>]=?|[=!]=|&&|\|\||\?) |(?:&& |\|\| |if \(|while \(){name}")
            for i in range(start, number):
                out[i] = pattern
        start = 0
    return out


def missing(lines):
    """(path, line, what, text) of each branch that handles a failing call and was not executed."""
    for path, here in sorted(lines.items()):
        with open(os.path.join(ROOT, path), encoding="utf-8") as f:
            source = f.read().splitlines()
        kept = kept_results(source)
        for number, (count, branches) in sorted(here.items()):
            if number > len(source):
                fail(f"{path} is not the one that was built; run without --no-run")
            text = source[number - 1]
            if NO_BRANCH.match(text) or not branches:
                continue
            if not FAILING.search(TELLS.sub("", PURE.sub("", text))) and not (kept[number] and kept[number].search(text)):
                continue
            never = [i for i, n in enumerate(branches) if n == 0]
            if count == 0 or never:
                yield path, number, "line" if count == 0 else f"{len(never)} of {len(branches)} ways", text.strip()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--build", required=True)
    build = os.path.abspath(p.parse_args().build)
    missed = 0
    for folder in FOLDERS:
        lines = gcov_of(build, folder)
        if not lines:
            fail(f"nothing of {folder} was run in {build}")
        total = sum(1 for here in lines.values() for _, b in here.values() if b)
        found = list(missing(lines))
        missed += len(found)
        for path, number, what, text in found:
            print(f"{path}:{number}: {what} never taken: {text}")
        print(f"{folder}: {total} lines with branches, {len(found)} that handle a failing call were not taken every way")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
