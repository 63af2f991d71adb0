#!/usr/bin/env python3
"""Makes the generated parts of deploy/docs from the programs themselves, or says where the committed text differs.

A generated part stands between <!-- generated: NAME --> and <!-- end -->; all else in the files is written by hand.
Options come from --config-help, keys and defaults of the cluster file from proto/cluster/namespace_keys.h and
`forebayctl config show`, commands from the router's command table, metrics from /metrics of running processes
(without PostgreSQL). The same run follows the links between the documents of the tree.
"""

import argparse
import difflib
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import ROOT, Process, free_port, wait_for  # noqa: E402

DOCS = os.path.join(ROOT, "deploy", "docs")
PROCESSES = ("node", "router", "sync")

# Key of [cluster]: values, default, meaning.
CLUSTER_KEYS = {
    "partitions": ("1 to 4096", "256", "Ranges of slots. Fixed when the cluster is created, which the first `config apply` or the "
                   "first node does: apply first when you want another number."),
    "replicas": ("0 to 6", "0", "Further copies of each partition, on other nodes. More can be asked for at any time: nodes are filled while "
                 "everything is served. Fewer only ends refilling: copies that are in sync stay."),
    "max_dirty_bytes": ("size", "a quarter of `[node] memory`", "Bytes of one node that may wait for PostgreSQL. At the limit writes "
                        "that grow answer `-OVERLOADED`."),
    "multi": ("`strict`, `relaxed`", "`strict`", "`strict`: MULTI needs the keys of one partition and is atomic. `relaxed`: keys of "
              "several partitions run as a plain pipeline, not atomic, refused together with WATCH."),
    "database_safety": ("`auto`, `single`, `sync`, `lag:<time>`", "`auto`", "Which commits of PostgreSQL survive its fail-over: "
                        "objects are evicted, and level `database` is reached, only from there on. See [operations]"
                        "(operations.md#fail-over-of-postgresql). `auto`: `sync` while `synchronous_standby_names` is set, else "
                        "`lag:10s` once a standby was seen, else `single`."),
    "heal_after": ("time from `1s`, `off`", "`5m`", "A node that is gone for so long is not waited for: its copies are made on the others. Back before that, it gets "
                   "what it missed. `off`: it is waited for until `forebayctl node remove`."),
}
# Key of [namespace]: values, meaning. Defaults are asked of the programs.
KEYS = {
    "table": ("`schema.table`", "The table whose rows the keys are; without it objects live in `forebay.objects`. Names as in the "
              "catalog: no quotes, no folding; schema `public` when left out. One namespace a table."),
    "key": ("columns", "Key column, or up to 16 joined by commas."),
    "value": ("`row`, `column:<name>`, `auto`", "`row`: a hash whose fields are the columns. `column:<name>`: a string, one column. "
              "`auto`: strings and hashes as written, only without a table."),
    "format": ("`bytes`, `json`", "`json`: a command that would leave a string that is not JSON (RFC 8259, UTF-8) is refused and "
               "changes nothing. Hashes, and values that are there already, are not judged. Not with `value = row`."),
    "sync_interval": ("time", "How long the oldest change of a feed waits before it is written; changes of an object meanwhile "
                      "become one."),
    "max_batch": ("1 to 100000", "Rows of this namespace in one transaction."),
    "ttl": ("time, 0 = none", "Without a table: expiry that a write gets when it names none; the row goes too. With a table: age at "
            "which a clean copy is loaded again; never deletes a row."),
    "negative_ttl": ("time", "How long \"PostgreSQL has no such row\" is remembered."),
    "durability": ("`local`, `replicated`, `durable`, `database`", "What a write waits for. `replicated`: the log of every copy in sync; with `replicas = 0` it is `local`."),
    "reads": ("`lease`, `confirmed`, `stale`", "`lease`: from memory while the other copies have promised not to lead. `confirmed`: after asking them, no clock is trusted. `stale`: whatever the node has. "
              "With one copy all three are the same."),
    "on_degraded": ("`downgrade`, `refuse`", "What a write does while a partition has one copy left of several. `downgrade`: fsynced there and answered, as level `local`. `refuse`: `-NOREPLICAS`, "
                    "nothing happened."),
    "conflict": ("`cache-wins`, `db-wins`, `merge-columns`", "Who wins when SQL changed the row too, see [mappings](mappings.md). "
                 "`last-write-wins` is refused in this release."),
    "external": ("`none`, `detect`", "`detect`: a write only applies to the row it was based on, else it is a conflict. `none`: it "
                 "overwrites, except for an insert whose row is there by now. `trigger` and `logical` are refused in this release."),
    "on_row_gone": ("`delete`, `reinsert`", "What a write means whose row SQL deleted: the object goes too, or the row comes back."),
    "fk_wait": ("time", "How long a row waits for the row its foreign key names before it is parked."),
    "expires_column": ("column", "Refused in this release: keys of tables do not expire."),
    "on_delete": ("`refuse`, `delete`, `null:<column>`", "What DEL means for the row: an error, delete it, or set one column to NULL. Without a table `refuse` keeps "
                  "every key: what deletes or names an expiry is refused (DEL, GETDEL, HDEL of the last field, EXPIRE, SET ... EX), "
                  "and `ttl` is not possible."),
    "max_value": ("size up to 8MiB", "Longest value: a string, or a hash with all its fields."),
    "max_dirty_bytes": ("size", "Limit for this namespace, per node, beside the cluster's."),
    "max_dirty_age": ("time", "How long a change may wait for PostgreSQL. From half of it on the feed is due at once, whatever `sync_interval` says; from "
                      "three quarters writes of the namespace are answered slower; at it, writes that grow answer `-OVERLOADED`. Reads and DEL "
                      "go on."),
    "blind_writes": ("`yes`, `no`", "With `value = column:`: SET does not ask PostgreSQL first and becomes an upsert."),
    "read_only": ("`yes`, `no`", "Writes are refused."),
}


def run(*argv, **kw):
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kw).stdout


def cell(text):
    return text.replace("|", "\\|")


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(r) + " |" for r in rows])


def options(bin, process):
    """--config-help as one table a section: key, default, kind, meaning."""
    out, section, meaning = [], None, ""
    for line in run(os.path.join(bin, "forebay-" + process), "--config-help").splitlines():
        if line.startswith("["):
            section, rows = line, []
            out.append((section, rows))
        elif section and re.match(r"(# )?\w+ =", line):
            name, _, value = line.removeprefix("# ").partition(" =")
            text, _, kind = meaning.rpartition(". ")
            kind = kind.replace("TEXT", "text").replace("SIZE", "size").replace("TIME", "time").replace(", reload", " (reload)")
            value = f"`{value.strip()}`" if value.strip() else "none" if line.startswith("# ") else "**required**"
            rows.append((f"`{name.strip()}`", value, cell("number" if kind == "N" else kind), cell(text + ".")))
        elif section:
            meaning = line.removeprefix("# ")
    return "\n\n".join(f"`{s}`\n\n" + table(("key", "default", "value", "meaning"), rows) for s, rows in out)


def shown(bin, dir):
    """Every key of the cluster file with its default: ({key: text} without a table, the same with one)."""
    conf = os.path.join(dir, "cluster.conf")
    with open(conf, "w") as f:
        f.write("[namespace plain]\n[namespace rows]\ntable = app.rows\n")
    url = "file://" + os.path.join(dir, "coordinator")
    ctl = os.path.join(bin, "forebayctl")
    run(ctl, "--cluster", url, "config", "apply", conf, "-y")
    out, at = {}, None
    for line in run(ctl, "--cluster", url, "config", "show").splitlines():
        if line.startswith("["):
            at = out.setdefault(line.strip("[]").split()[-1], {})
        elif "=" in line:
            key, _, value = line.partition(" = ")
            at[key] = value
    return out["plain"], out["rows"]


def keys(bin, dir):
    plain, rows = shown(bin, dir)
    with open(os.path.join(ROOT, "proto", "cluster", "namespace_keys.h")) as f:
        known = re.findall(r"^\s+X\((\w+), (true|false)\)", f.read(), re.M)
    if {k for k, _ in known} != set(KEYS):
        sys.exit(f"docs: keys of the cluster file without a meaning here, or the other way round: "
                 f"{sorted({k for k, _ in known} ^ set(KEYS))}")
    body = []
    for key, mapped in known:
        values, meaning = KEYS[key]
        one = "-" if mapped == "true" or key == "table" else f"`{plain[key]}`"
        two = "**required**" if key == "table" else f"`{rows[key]}`" if key in rows else "none" if key != "format" else "-"
        body.append((f"`{key}`", values, one, two, meaning))
    return table(("key", "values", "default without a table", "default with a table", "meaning"), body)


def cluster_keys():
    with open(os.path.join(ROOT, "proto", "cluster", "namespace.c")) as f:
        known = re.search(r"cluster_keys\[\] = \{([^}]*)\}", f.read())[1]
    if set(re.findall(r'"(\w+)"', known)) != set(CLUSTER_KEYS):
        sys.exit(f"docs: [cluster] has the keys {known}")
    return table(("key", "values", "default", "meaning"), [(f"`{k}`", *v) for k, v in CLUSTER_KEYS.items()])


def start(bin, dir, process):
    home = os.path.join(dir, process)
    os.makedirs(home)
    p = Process(process, [os.path.join(bin, "forebay-" + process)], os.path.join(home, "log"))
    p.admin = f"127.0.0.1:{free_port()}"
    p.argv += ["--process.name", process, "--process.coordinator", "file://" + os.path.join(dir, "coordinator"),
               "--admin.listen", p.admin]
    if process == "node":
        p.argv += ["--node.data_dir", os.path.join(home, "data"), "--node.listen", "tcp://127.0.0.1:0", "--node.threads", "1"]
    elif process == "router":
        p.argv += ["--router.listen", "127.0.0.1:0"]
    else:
        conninfo = os.path.join(home, "conninfo")
        with open(conninfo, "w") as f:
            f.write(f"host={home} dbname=nobody user=nobody")
        os.chmod(conninfo, 0o600)
        p.argv += ["--sync.conninfo_file", conninfo]
    p.start()
    return p


def labels_of(samples):
    """name -> its values, from lines of one family."""
    out = {}
    for labels in samples:
        for name, value in re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels):
            if name != "le":
                out.setdefault(name, []).append(value)
    return {k: sorted(set(v)) for k, v in out.items()}


def metrics_of(page):
    helps = dict(re.findall(r"^# HELP (\S+) (.*)$", page, re.M))
    kinds = dict(re.findall(r"^# TYPE (\S+) (.*)$", page, re.M))
    rows = []
    for name in sorted(helps):
        samples = re.findall(rf"^{name}(?:_bucket|_sum|_count)?(\{{[^\n]*\}})? \S+$", page, re.M)
        labels = []
        for label, values in labels_of(samples).items():
            few = name != "forebay_build_info" and len(values) <= 10
            labels.append(label + (": " + " ".join(f"`{v}`" for v in values) if few else ""))
        rows.append((f"`{name}`", kinds[name], "; ".join(labels), cell(helps[name].rstrip(".") + ".")))
    return table(("metric", "type", "labels", "meaning"), rows)


def metrics(bin, dir):
    out, started = {}, []
    try:
        for process in PROCESSES:
            started.append(start(bin, dir, process))
        wait_for("the partitions", lambda: started[0].ready() or None, 60)
        for p in started:
            def whole(p=p):
                status, page = p.http("/metrics")
                return page if status == 200 and "forebay_coordinator_up" in page else None
            out[p.name] = metrics_of(wait_for(f"metrics of {p.name}", whole, 60))
    finally:
        for p in reversed(started):
            p.kill()
    return out


def parts(bin):
    """name -> text of every generated part."""
    dir = tempfile.mkdtemp(prefix="forebay-docs-")
    try:
        out = {f"options {p}": options(bin, p) for p in PROCESSES}
        out["keys"] = keys(bin, dir)
        out["cluster keys"] = cluster_keys()
        commands = run(os.path.join(bin, "forebay-commands"))
        out["commands"] = commands[commands.index("## "):].strip()
        out["verbs"] = "```\n" + re.search(r"^Commands:\n(.*?)\n\n", run(os.path.join(bin, "forebayctl"), "--help"), re.M | re.S)[1] + "\n```"
        for process, text in metrics(bin, dir).items():
            out[f"metrics {process}"] = text
        return out
    finally:
        shutil.rmtree(dir, ignore_errors=True)


def filled(text, made, name):
    def part(m):
        if m[1] not in made:
            sys.exit(f"docs: {name}: nothing is called \"{m[1]}\"; there are: {', '.join(sorted(made))}")
        used.add(m[1])
        return f"<!-- generated: {m[1]} -->\n{made[m[1]]}\n<!-- end -->"
    used = set()
    return re.sub(r"<!-- generated: ([\w ]+) -->.*?<!-- end -->", part, text, flags=re.S), used


def broken_links():
    """Links between documents of the tree that lead nowhere."""
    files = run("git", "-c", "safe.directory=*", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard",
                "*.md").split("\n") if os.path.exists(os.path.join(ROOT, ".git")) else []
    for name in filter(None, files):
        path = os.path.join(ROOT, name)
        if not os.path.exists(path):
            continue
        with open(path) as f:
            text = re.sub(r"```.*?```", "", f.read(), flags=re.S)
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            if "://" not in target and not os.path.exists(os.path.join(os.path.dirname(path), target)):
                yield f"{name}: the link to {target} leads nowhere"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bin", required=True, metavar="DIR", help="the programs of a finished build")
    p.add_argument("--write", action="store_true", help="write what differs instead of failing")
    a = p.parse_args()
    made, used, bad = parts(a.bin), set(), 0
    for name in sorted(os.listdir(DOCS)):
        path = os.path.join(DOCS, name)
        with open(path) as f:
            old = f.read()
        new, names = filled(old, made, name)
        used |= names
        if new == old:
            continue
        if a.write:
            with open(path, "w") as f:
                f.write(new)
            print(f"docs: wrote {name}", file=sys.stderr)
        else:
            bad += 1
            sys.stdout.writelines(difflib.unified_diff(old.splitlines(True), new.splitlines(True), "committed/" + name,
                                                       "the programs/" + name, n=1))
    for text in [f"no document shows \"{n}\"" for n in sorted(set(made) - used)] + sorted(broken_links()):
        print(f"docs: {text}")
        bad += 1
    if bad:
        print("docs: to write the generated parts again: tools/lib/docs.py --bin .build/PRESET/bin --write", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
