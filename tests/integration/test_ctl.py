"""forebayctl: every verb, its output formats and exit codes."""

import json
import os
import re
import signal
import subprocess

import base
from base import ClusterTest, wait_for

TABLES = """create schema app;
create table app.users (id bigint primary key, name text not null, plan text default 'free');
insert into app.users select i, 'user ' || i from generate_series(1, 20) i;
"""
CONFIG = """[cluster]
replicas = 0
partitions = 32

[namespace session]
sync_interval = 200ms
ttl = 30m

[namespace user]
table = app.users
key = id
value = row
sync_interval = 200ms
"""


class Helpers(ClusterTest):
    settings = {"nodes": 2, "syncs": 2}
    config = CONFIG
    tables = TABLES

    def ctl(self, *args, rc=0, input=None, env=None):
        r = subprocess.run([os.path.join(base.BIN, "forebayctl"), *args], input=input, stdin=None if input is not None else subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60,
                           env={**os.environ, "FOREBAY_CLUSTER": self.cluster.coordinator, **(env or {})})
        self.assertEqual(r.returncode, rc, f"forebayctl {args}: {r.stdout}{r.stderr}")
        self.assertNotIn("Sanitizer", r.stderr)
        return r

    def json(self, *args, rc=0):
        return json.loads(self.ctl("-o", "json", *args, rc=rc).stdout)


class Ctl(Helpers):
    # help and usage

    NOUNS = {"status": [""], "health": [""], "top": [""], "events": [""], "verify": [""], "node": ["list", "describe"], "partition": ["list", "describe", "map"], "rebalance": ["plan", "show"],
             "key": ["get", "set", "del", "locate", "inspect", "watch"], "sync": ["status", "flush", "pause", "resume"],
             "deadletter": ["list", "show", "retry", "discard", "export"], "snapshot": ["create", "list", "verify"],
             "config": ["check", "apply", "show", "diff", "history"],
             "db": ["setup", "check"], "completion": [""], "version": [""]}

    def test_help_for_every_verb(self):
        for args in (["--help"], ["-h"]):
            text = self.ctl(*args).stdout
            for noun in self.NOUNS:
                self.assertIn(noun, text)
        for noun, names in self.NOUNS.items():
            self.assertIn("forebayctl", self.ctl(noun, "--help").stdout)
            for name in names:
                text = self.ctl(noun, *([name] if name else []), "--help").stdout
                self.assertRegex(text, f"Usage: +forebayctl {noun}|usage: +forebayctl {noun}|forebayctl {noun}")
                self.assertGreater(len(text), 60)
        rows = re.search(r"^Commands:\n(.*?)\n\n", self.ctl("--help").stdout, re.M | re.S)[1].splitlines()
        self.assertGreater(len(rows), 35)
        for row in rows:  # whatever else there is by now
            words = [w for w in re.split(r"  +", row.strip())[0].split(" ") if w.islower()]
            text = self.ctl(*words, "--help").stdout
            self.assertIn(f"Usage: forebayctl {' '.join(words)}", text)
            self.assertIn("Global flags:", text)

    def test_usage_errors(self):
        self.assertIn("did you mean status", self.ctl("statsu", rc=2).stderr)
        self.assertIn("did you mean --cluster", self.ctl("--clutser", "x", "status", rc=2).stderr)
        self.ctl(rc=2)
        self.ctl("key", rc=2)
        self.ctl("key", "frob", rc=2)
        self.assertIn("usage: forebayctl key get KEY", self.ctl("key", "get", rc=2).stderr)
        self.ctl("key", "get", "a", "b", rc=2)
        self.assertIn("does not take", self.ctl("key", "get", "a", "--limit", "3", rc=2).stderr)
        self.ctl("-o", "yaml", "status", rc=2)
        self.ctl("--timeout", "soon", "status", rc=2)
        self.ctl("status", "-o", rc=2)
        self.ctl("deadletter", "list", "--limit", "0", rc=2)
        self.ctl("key", "get", "k" * 600, rc=2)

    def test_kind(self):
        """What a new user types, and what surprises a program that reads the output."""
        self.assertIn("did you mean node describe", self.ctl("node", "desc", "x", rc=2).stderr)
        self.assertIn("one word too many", self.ctl("status", "extra", rc=2).stderr)
        self.assertIn("takes no value", self.ctl("--quiet=1", "status", rc=2).stderr)
        self.assertIn("did you mean file:///x", self.ctl("--cluster", "/x", "status", rc=2).stderr)
        for args in (["--version"], ["-V"], ["version"]):
            self.assertIn("node-2", self.ctl(*args).stdout)
        self.assertRegex(self.ctl("version", env={"FOREBAY_CLUSTER": ""}).stdout, r"[0-9]+\.[0-9]+")
        self.assertEqual(self.ctl("help", "key", "get").stdout, self.ctl("key", "get", "--help").stdout)
        self.assertEqual(self.ctl("help").stdout, self.ctl("--help").stdout)
        self.assertEqual(json.loads(self.ctl("-ojson", "version").stdout).keys() >= {"forebayctl"}, True)
        for args in ([], ["key"]):  # an error's help is no data
            r = self.ctl(*args, rc=2)
            self.assertEqual(r.stdout, "")
            self.assertIn("Usage", r.stderr)
        self.assertIn("Is a directory", self.ctl("config", "check", self.dir, rc=1).stderr)
        self.assertIn("No such file", self.ctl("config", "check", "/nonexistent", rc=1).stderr)
        self.assertIn("node-9", self.ctl("partition", "list", "--node", "node-9", rc=1).stderr)
        self.assertIn("node-9", self.ctl("events", "--node", "node-9", rc=1).stderr)
        with open("/dev/full", "w") as full:
            for args in (["config", "show"], ["--help"], ["-o", "json", "status"]):
                r = subprocess.run([os.path.join(base.BIN, "forebayctl"), "--cluster", self.cluster.coordinator, *args], stdin=subprocess.DEVNULL,
                                   stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
                self.assertEqual(r.returncode, 1, args)
                self.assertIn("No space left", r.stderr)

    def test_terminal(self):
        """Colours and a drawn screen on a terminal alone, and only on one that knows them; others' bytes never steer it."""
        self.r.set("esc\x1b[31m", "x")
        self.synced()

        def on_terminal(*args, **env):
            r = subprocess.run(["script", "-qec", " ".join(["forebayctl", *args]), "/dev/null"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=60,
                               env={**os.environ, "PATH": base.BIN + ":" + os.environ["PATH"], "FOREBAY_CLUSTER": self.cluster.coordinator, **env})
            return r.stdout
        self.assertIn(b"\x1b[1m", on_terminal("node", "list", TERM="xterm"))
        for env in ({"TERM": "dumb"}, {"TERM": "xterm", "NO_COLOR": "1"}, {"TERM": ""}):
            self.assertNotIn(b"\x1b", on_terminal("node", "list", **env))
        self.assertNotIn(b"\x1b", on_terminal("node", "list", "--no-color", TERM="xterm"))
        self.assertIn(b"\x1b[2J", on_terminal("top", "--count", "1", "--interval", "50ms", TERM="xterm"))
        self.assertIn(b'{"at"', on_terminal("top", "--count", "1", "--interval", "50ms", TERM="dumb"))
        self.pg.psql("alter table app.users add constraint plans check (plan not like 'bad%')")
        try:
            self.r.hset("user:17", "plan", "bad\x1b[31m\nred")
            wait_for("the dead letter", lambda: "user:17" in self.ctl("deadletter", "list").stdout)
            shown = self.ctl("-o", "wide", "deadletter", "list").stdout
            self.assertNotIn("\x1b", shown)
            self.assertEqual(len([x for x in shown.splitlines() if "bad" in x]), 1)
        finally:
            self.ctl("deadletter", "discard", "user:17", "-y")
            self.pg.psql("alter table app.users drop constraint plans")

    def test_dry_runs(self):
        self.ctl("key", "set", "session:dry", "1", "--dry-run")
        self.assertIsNone(self.r.get("session:dry"))
        self.r.set("session:dry", "1")
        self.ctl("key", "del", "session:dry", "--dry-run")
        self.assertEqual(self.r.get("session:dry"), b"1")
        self.ctl("sync", "pause", "--dry-run")
        self.ctl("sync", "pause", "-n", "session", "--dry-run")
        self.assertFalse(any(n["paused"] for n in self.json("sync", "status")))
        self.ctl("db", "setup", "--dry-run", env={"FOREBAY_PG": self.cluster.conninfo})

    def test_epoch(self):
        """A change that rests on what was seen is refused when the cluster has changed since."""

        def pause():
            now = str(self.json("status")["revision"])
            r = self.cluster.ctl("sync", "pause", "-n", "session", "-y", "--epoch", now, check=False)
            return now if r.returncode == 0 else None
        seen = wait_for("a pause as nothing changes", pause)  # a process may still say that it runs what was applied last
        self.assertGreater(int(re.search(r"revision (\d+)\n", self.ctl("status").stdout)[1]), int(seen))
        try:
            r = self.ctl("sync", "resume", "-n", "session", "--epoch", seen, rc=5)
            self.assertRegex(r.stderr, rf"--epoch {seen}: the cluster is at revision \d+ by now.*Nothing was changed")
            self.assertTrue([n for n in self.json("sync", "status") if n["namespace"] == "session"][0]["paused"])
        finally:
            self.ctl("sync", "resume", "-n", "session")
        self.ctl("key", "set", "session:epoch", "1", "--epoch", seen, rc=5)
        self.assertIsNone(self.r.get("session:epoch"))
        self.ctl("config", "apply", self.file("[cluster]\n"), "-y", "--epoch", seen, rc=5)
        self.assertIn("[namespace user]", self.ctl("config", "show").stdout)
        self.ctl("status", "--epoch", seen, rc=2)
        self.ctl("sync", "resume", "--epoch", "x", rc=2)

    def test_verbose(self):
        """-v tells whom it asks, and how long each took; data are the same."""
        told = self.ctl("-v", "-o", "json", "status")
        json.loads(told.stdout)
        for who in (r"coordinator \S+: everything", r"node-1 at tcp://\S+: node\.status", r"sync-2 at tcp://\S+: sync\.status"):
            self.assertRegex(told.stderr, rf"(?m)^{who}, \d+\.\d{{3}} ms$")
        self.assertRegex(self.ctl("-v", "key", "get", "session:none", rc=1).stderr, r"(?m)^node-\d at \S+: \w+, \d+\.\d{3} ms$")
        self.assertRegex(self.ctl("-v", "db", "check", env={"FOREBAY_PG": self.cluster.conninfo}).stderr, r"PostgreSQL, by FOREBAY_PG: connected, ")
        self.assertEqual(self.ctl("status").stderr, "")

    def test_unreachable(self):
        self.assertIn("coordinator", self.ctl("status", rc=4, env={"FOREBAY_CLUSTER": f"file://{self.dir}/nowhere"}).stderr)
        self.ctl("--cluster", "etcd://127.0.0.1:1", "status", rc=4)
        self.ctl("status", rc=2, env={"FOREBAY_CLUSTER": ""})

    # looking

    def test_status_and_health(self):
        text = self.ctl("status").stdout
        for word in ("node-1", "node-2", "sync-1", "router-1"):
            self.assertIn(word, text)
        o = self.json("status")
        self.assertTrue(o)
        self.ctl("health")
        self.json("health")
        self.assertEqual(self.ctl("-q", "health").stderr, "")

    def test_node(self):
        rows = self.json("node", "list")
        self.assertEqual([r["name"] for r in rows], ["node-1", "node-2"])
        self.assertEqual(sum(r["partitions"] for r in rows), 32)
        self.assertEqual(self.ctl("-o", "name", "node", "list").stdout.split(), ["node-1", "node-2"])
        self.assertEqual(len(self.ctl("-o", "jsonl", "node", "list").stdout.splitlines()), 2)
        self.assertIn("NODE", self.ctl("node", "list").stdout)
        self.assertIn("node-1", self.ctl("-o", "wide", "node", "list").stdout)
        self.assertTrue(self.json("node", "describe", "node-1"))
        self.assertIn("node-9", self.ctl("node", "describe", "node-9", rc=1).stderr)

    def test_partition(self):
        rows = self.json("partition", "list")
        self.assertEqual(len(rows), 32)
        by_node = self.json("partition", "list", "--node", "node-1")
        self.assertTrue(0 < len(by_node) < 32)
        self.assertEqual(len(self.json("partition", "list", "--state", "open")), 32)
        self.assertEqual(self.json("partition", "list", "--state", "unassigned"), [])
        self.ctl("partition", "list", "--state", "funny", rc=2)
        self.assertTrue(self.json("partition", "describe", "5"))
        self.ctl("partition", "describe", "5")
        for bad in ("32", "-1", "x"):
            self.assertIn(self.code("partition", "describe", "--", bad), (1, 2))

    def test_partition_map(self):
        cells = "".join(line.split()[1] for line in self.ctl("partition", "map").stdout.split("\n\n")[0].splitlines())
        primaries = [row["primary"] for row in self.json("partition", "list")]
        self.assertEqual(cells, "".join({"node-1": "A", "node-2": "B"}[p] for p in primaries))
        self.assertEqual([row["primary"] for row in self.json("partition", "map")], primaries)
        self.assertTrue(all(row["in_sync"] == [row["primary"]] and row["learners"] == [] for row in self.json("partition", "map")))

    def loads(self, plan):
        return {n["name"]: (n["before"]["copies"], n["after"]["copies"]) for n in plan["nodes"]}

    def test_rebalance_plan(self):
        for i in range(50):
            self.r.set(f"session:plan-{i}", "x" * 100)
        before = self.json("partition", "map")
        plan = self.json("rebalance", "plan")
        self.assertEqual(sum(a for _, a in self.loads(plan).values()), 32)
        self.assertTrue(all(a == 16 for _, a in self.loads(plan).values()), plan["nodes"])
        # one node more: a third moves, all of it there
        plan = self.json("rebalance", "plan", "--add", "node-3:b")
        self.assertIn(self.loads(plan)["node-3"], [(0, 10), (0, 11)])
        self.assertTrue(all(a in (10, 11) for _, a in self.loads(plan).values()))
        primaries = [row["primary"] for row in before]
        for m in plan["moves"]:
            self.assertEqual(m["from"], primaries[m["partition"]])
            self.assertEqual(m["lead"], m["to"])
        self.assertGreater(sum(m["bytes"] for m in self.json("rebalance", "plan", "--drain", "node-1")["moves"]), 1000)
        again = self.json("rebalance", "plan", "--add", "node-3:b")
        self.assertEqual(self.loads(again), self.loads(plan))
        plan = self.json("rebalance", "plan", "--weights", "node-1=300,node-2=100")
        self.assertEqual({k: a for k, (_, a) in self.loads(plan).items()}, {"node-1": 24, "node-2": 8})
        plan = self.json("rebalance", "plan", "--drain", "node-2", "--max-moves", "3")
        self.assertEqual((len(plan["moves"]), [m["reason"] for m in plan["moves"]]), (3, ["drain"] * 3))
        self.assertGreater(plan["left"], 0)
        text = self.ctl("rebalance", "plan", "--drain", "node-2").stdout
        self.assertRegex(text, r"(?m)^PARTITION +ROLE +FROM +TO +OBJECTS +BYTES +DIRTY BYTES +REASON$")
        self.assertRegex(text, r"(?m)^node-2 +- +drains +100 +\d+ -> 0 +\d+ -> 0 ")
        self.assertRegex(text, r"\d+ moves, \d+ copies to make, \d+ bytes, about \S+ at 50MB/s")
        self.assertEqual(self.json("partition", "map"), before)  # nothing was changed

    def test_rebalance_refusals(self):
        self.assertIn("no such node", self.ctl("rebalance", "plan", "--drain", "node-9", rc=2).stderr)
        self.assertIn("no such node", self.ctl("rebalance", "plan", "--weights", "node-9=1", rc=2).stderr)
        self.assertIn("must be NODE=W", self.ctl("rebalance", "plan", "--weights", "node-1=much", rc=2).stderr)
        self.assertIn("there already", self.ctl("rebalance", "plan", "--add", "node-1", rc=2).stderr)
        self.assertIn("no node would be left", self.ctl("rebalance", "plan", "--drain", "node-1,node-2", rc=5).stderr)
        self.assertIn("all their copies", self.ctl("rebalance", "plan", "--gone", "node-1", rc=5).stderr)
        self.ctl("rebalance", "plan", "--max-moves", "0", rc=2)

    def test_rebalance_saved_plan(self):
        path = os.path.join(self.dir, "plan.json")
        made = self.json("rebalance", "plan", "--drain", "node-2", "--save", path)
        self.assertEqual(self.json("rebalance", "show", path), made)
        with open(path) as f:
            text = f.read()

        def changed(old, new):
            self.assertIn(old, text)
            with open(path, "w") as f:
                f.write(text.replace(old, new))
        changed(f'"cluster":"{made["cluster"]}"', f'"cluster":"{"0" * 32}"')
        self.assertIn("another cluster", self.ctl("rebalance", "show", path, rc=5).stderr)
        changed('"epoch":', '"epoch":7')
        self.assertIn("make a new plan", self.ctl("rebalance", "show", path, rc=5).stderr)
        changed('"format":1', '"format":2')
        self.assertIn("format 2", self.ctl("rebalance", "show", path, rc=2).stderr)
        self.ctl("rebalance", "show", path + ".none", rc=1)
        self.assertIn("cannot be written", self.ctl("rebalance", "plan", "--save", self.dir + "/no/plan", rc=1).stderr)

    def code(self, *args):
        return subprocess.run([os.path.join(base.BIN, "forebayctl"), "--cluster", self.cluster.coordinator, *args], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60).returncode

    def test_key(self):
        self.ctl("key", "set", "session:ctl", "value 1")
        self.assertEqual(self.r.get("session:ctl"), b"value 1")
        self.assertEqual(self.ctl("key", "get", "session:ctl").stdout.rstrip("\n"), "value 1")
        self.ctl("key", "set", "session:in", "-", input="from stdin")
        self.assertEqual(self.r.get("session:in"), b"from stdin")
        self.ctl("key", "set", "session:ttl", "x", "--ttl", "100s")
        self.assertTrue(90 < self.r.ttl("session:ttl") <= 100)
        self.r.hset("session:hash", mapping={"a": "1", "b": "2"})
        self.assertEqual(json.loads(self.ctl("key", "get", "session:hash").stdout), {"a": "1", "b": "2"})
        self.assertEqual(json.loads(self.ctl("key", "get", "user:3").stdout), {"id": "3", "name": "user 3", "plan": "free"})
        where = self.json("key", "locate", "session:ctl")
        self.assertEqual(where["slot"], self.slot("session:ctl"))
        self.assertIn(where["node"], ("node-1", "node-2"))
        seen = self.json("key", "inspect", "session:ctl")
        self.assertEqual(seen["namespace"], "session")
        self.assertEqual(seen["object"]["kind"], "string")
        self.ctl("key", "inspect", "session:ctl")
        self.ctl("key", "del", "session:ctl")
        self.assertIsNone(self.r.get("session:ctl"))
        self.assertIn("no key", self.ctl("key", "get", "session:ctl", rc=1).stderr)
        self.assertIn("on_delete", self.ctl("key", "del", "user:1", rc=1).stderr)
        self.assertIn("WRONGTYPE", self.ctl("key", "set", "user:1", "x", rc=1).stderr)
        self.assertIn("id", self.ctl("key", "get", "user:007", rc=1).stderr)

    def slot(self, key):
        crc = 0
        for b in key.encode():
            crc ^= b << 8
            for _ in range(8):
                crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xffff
        return crc % 16384

    # sync

    def test_sync_pause_resume_flush(self):
        self.r.set("session:p", "0")
        self.synced()
        self.ctl("sync", "pause", rc=1)  # no terminal, no -y
        self.ctl("sync", "pause", "-y")
        try:
            self.ctl("sync", "pause", "-y")  # again: nothing to change
            self.r.set("session:p", "1")
            self.r.hset("user:5", "plan", "gold")
            rows = {r["namespace"]: r for r in self.json("sync", "status")}
            self.assertGreaterEqual(rows["session"]["dirty"], 1)
            self.assertIn("yes", self.ctl("sync", "status").stdout)
            self.ctl("--timeout", "1s", "sync", "flush", rc=6)
            self.ctl("sync", "flush", "--no-wait")
            self.assertEqual(self.pg.psql("select convert_from(value, 'utf8') from forebay.objects where id = 'p'"), [["0"]])
            self.ctl("config", "diff", self.file("[cluster]\nreplicas = 0\npartitions = 32\n"))
            refused = self.ctl("config", "apply", self.file(CONFIG.replace("key = id\nvalue = row", "key = id\nvalue = column:name")), "-y", rc=5)
            self.assertIn("namespace user has", refused.stderr)
        finally:
            self.ctl("sync", "resume")
        self.ctl("sync", "resume", "--error-unchanged", rc=3)
        self.assertRegex(self.ctl("sync", "flush").stdout, "[0-9A-F]+/[0-9A-F]+")
        self.assertEqual(self.pg.psql("select convert_from(value, 'utf8') from forebay.objects where id = 'p'"), [["1"]])
        self.assertEqual(self.pg.psql("select plan from app.users where id = 5"), [["gold"]])
        # one namespace
        self.ctl("sync", "pause", "-n", "session", "-y")
        try:
            self.r.set("session:p", "2")
            self.r.hset("user:5", "plan", "tin")
            wait_for("the other namespace", lambda: self.pg.psql("select plan from app.users where id = 5") == [["tin"]])
            self.ctl("sync", "flush", "-n", "user")
            self.assertEqual(self.pg.psql("select convert_from(value, 'utf8') from forebay.objects where id = 'p'"), [["1"]])
        finally:
            self.ctl("sync", "resume", "-n", "session")
        self.ctl("sync", "flush", "-n", "session")
        self.assertEqual(self.pg.psql("select convert_from(value, 'utf8') from forebay.objects where id = 'p'"), [["2"]])
        self.assertIn("nowhere", self.ctl("sync", "flush", "-n", "nowhere", rc=2).stderr)

    def test_deadletter_empty(self):
        self.assertEqual(self.json("deadletter", "list"), [])
        self.ctl("deadletter", "list")
        self.ctl("deadletter", "show", "session:none", rc=1)

    def file(self, text):
        path = os.path.join(self.dir, "try.conf")
        with open(path, "w") as f:
            f.write(text)
        return path

    def test_config(self):
        good = self.file(CONFIG)
        self.ctl("config", "check", good)
        shown = self.ctl("config", "show").stdout
        self.assertIn("[namespace user]", shown)
        self.assertEqual(self.ctl("config", "diff", good).stdout, "")
        self.ctl("config", "diff", good, "--error-unchanged", rc=3)
        self.ctl("config", "apply", good, "-y")
        self.ctl("config", "apply", good, "-y", "--error-unchanged", rc=3)
        # what is shown can be applied
        self.assertEqual(self.ctl("config", "diff", self.file(shown)).stdout, "")
        self.ctl("-o", "ini", "status", rc=2)
        bare = "# a remark\n" + CONFIG.replace("partitions = 32\n", "").replace("ttl = 30m", "ttl = 29m")
        self.synced()
        self.ctl("config", "apply", self.file(bare), "-y")
        shown = self.ctl("config", "show").stdout
        self.assertIn("partitions = 32\n", shown)  # said or not, as all that is in force
        self.assertEqual(self.ctl("config", "diff", self.file(shown)).stdout, "")
        as_it_is = self.ctl("config", "show", "-o", "ini").stdout
        self.assertEqual(as_it_is, bare)
        self.ctl("config", "apply", self.file(as_it_is), "-y", "--error-unchanged", rc=3)
        self.ctl("config", "apply", self.file(CONFIG), "-y")
        more = self.file(CONFIG + "\n[namespace extra]\nsync_interval = 1s\n")
        self.assertIn("+ [namespace extra]", self.ctl("config", "diff", more).stdout)
        self.ctl("config", "apply", more, "--dry-run")
        self.assertNotIn("extra", self.ctl("config", "show").stdout)
        self.synced()
        self.ctl("config", "apply", more, rc=1)  # no terminal, no -y
        self.ctl("config", "apply", more, "-y")
        self.assertIn("extra", self.ctl("config", "show").stdout)
        wait_for("the processes to know it", lambda: self.r.set("extra:1", "x"))
        self.synced()
        wait_for("its row", lambda: self.pg.psql("select ns from forebay.objects where id = '1' and ns = 'extra'") == [["extra"]])
        self.ctl("config", "apply", self.file(CONFIG), "-y")
        self.assertIn("partitions", self.ctl("config", "apply", self.file(CONFIG.replace("partitions = 32", "partitions = 64")), "-y", rc=5).stderr)

    def test_config_problems(self):
        for text, pattern in (("[namespace a]\nsync_intervall = 5s\n", r"try.conf:2: .*sync_intervall.*did you mean \"?sync_interval"),
                              ("[namespace a]\nsync_interval = fast\n", r"try.conf:2: .*sync_interval"),
                              ("[namespce a]\n", r"try.conf:1: .*"), ("[namespace a]\nvalue = row\n", "table"),
                              ("[namespace a]\nkey = id\n", "table"), ("[cluster]\npartitions = 0\n", "partitions"),
                              ("[cluster]\nreplicas = 99\n", "replicas"), ("nonsense\n", "try.conf:1"),
                              ("[namespace a]\n[namespace a]\n", "try.conf:2")):
            with self.subTest(text=text):
                before = self.ctl("config", "show").stdout
                path = self.file(text)
                self.assertRegex(self.ctl("config", "check", path, rc=1).stderr, pattern)
                self.assertRegex(self.ctl("config", "apply", path, "-y", rc=1).stderr, pattern)
                self.assertEqual(self.ctl("config", "show").stdout, before)
        self.ctl("config", "check", "/nonexistent", rc=1)

    # database

    def test_db(self):
        sql = self.ctl("db", "setup", "--print").stdout
        self.assertIn("create schema if not exists forebay", sql)
        conninfo = os.path.join(self.dir, "admin.conninfo")
        self.ctl("db", "setup", "--conninfo-file", conninfo, "-y")
        self.ctl("db", "setup", "-y", env={"FOREBAY_PG": self.cluster.conninfo})
        self.ctl("db", "setup", "--conninfo-file", conninfo, rc=1)  # no terminal, no -y
        self.ctl("db", "check", "--conninfo-file", conninfo)
        rows = self.json("db", "check", "--conninfo-file", conninfo)
        self.assertTrue(all(set(r) == {"level", "finding"} for r in rows))
        self.assertFalse([r for r in rows if r["level"] == "error"], rows)
        for p in self.cluster.syncs:  # they look at the catalog every 30 s and must not see this
            p.kill(signal.SIGSTOP)
        self.pg.psql("alter table app.users rename to hidden")
        try:
            r = self.ctl("db", "check", "--conninfo-file", conninfo, rc=1)
            self.assertIn("app.users", r.stdout)
        finally:
            self.pg.psql("alter table app.hidden rename to users")
            for p in self.cluster.syncs:
                p.kill(signal.SIGCONT)
        self.ctl("db", "check", rc=4, env={"FOREBAY_PG": "host=/nonexistent dbname=x"})
        self.ctl("db", "check", "--conninfo-file", "/nonexistent", rc=1)

    def test_completion(self):
        script = self.ctl("completion", "bash").stdout
        r = subprocess.run(["bash", "-c", script + "\ncomplete -p forebayctl"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertIn("forebayctl", r.stdout)
        self.ctl("completion", "fish", rc=2)
        for line, among, not_among in ((" ", {"status", "key", "verify", "--cluster"}, {"list"}), (" key ", {"get", "watch"}, {"list", "--ttl"}),
                                       (" --cluster x -o json key w", {"watch"}, {"get"}), (" -o ", {"jsonl"}, {"status"}),
                                       (" key set a --", {"--ttl", "--cluster"}, {"--limit"}), (" status -", {"--watch"}, {"--ttl"})):
            words = "".join(f" '{w}'" for w in ["forebayctl", *line[1:].split(" ")])
            r = subprocess.run(["bash", "-c", f"{script}\nCOMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n_forebayctl; echo ${{COMPREPLY[*]}}"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            self.assertEqual(r.stderr, "")
            self.assertLessEqual(among, set(r.stdout.split()), line)
            self.assertFalse(not_among & set(r.stdout.split()), line)

    def test_version(self):
        self.assertRegex(self.ctl("version").stdout, r"[0-9]+\.[0-9]+")
        self.json("version")


class Unhealthy(ClusterTest):
    settings = {"nodes": 2, "syncs": 1}
    config = CONFIG
    tables = TABLES

    def test_postgresql_is_away(self):
        self.pg.stop("immediate")
        try:
            for verb in (["list"], ["show", "user:1"], ["export"], ["discard", "user:1", "-y"]):
                r = wait_for(f"deadletter {verb} to be unreachable",
                             lambda verb=verb: (lambda r: r if r.returncode == 4 else None)(self.cluster.ctl("deadletter", *verb, check=False)))
                self.assertIn("PostgreSQL", r.stderr)
                self.assertEqual(r.stdout, "")
        finally:
            self.pg.start()
        wait_for("health", lambda: self.cluster.ctl("health", check=False).returncode == 0, 60)

    def test_a_node_is_down(self):
        self.cluster.ctl("health")
        victim = self.cluster.nodes[1]
        victim.kill()
        r = wait_for("health to notice", lambda: (lambda r: r if r.returncode == 10 else None)(self.cluster.ctl("health", check=False)))
        self.assertIn("node-2", r.stdout + r.stderr)
        path = os.path.join(self.dir, "watched")  # what is not well is looked at again
        with open(path, "ab") as out:
            watch = subprocess.Popen([os.path.join(base.BIN, "forebayctl"), "--cluster", self.cluster.coordinator, "health", "-w"],
                                     stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        try:
            with open(path) as f:
                wait_for("a second look", lambda: f.seek(0) == 0 and f.read().count("unhealthy\n") > 1)
        finally:
            watch.terminate()
            watch.wait(20)
        self.assertIn("node-2", self.cluster.ctl("status").stdout)
        refused = self.cluster.ctl("rebalance", "plan", check=False)
        self.assertEqual(refused.returncode, 5, refused)
        self.assertIn("node-2 is down and holds copies", refused.stderr)
        self.assertEqual(self.cluster.ctl("rebalance", "plan", "--gone", "node-2", check=False).returncode, 5)  # the only copies
        self.assertRegex(self.cluster.ctl("partition", "map").stdout, r"b  node-2: leads \d+, copies \d+, down")
        path = os.path.join(self.dir, "more.conf")
        with open(path, "w") as f:
            f.write(CONFIG + "[namespace more]\n")
        refused = self.cluster.ctl("config", "apply", path, "-y", check=False)
        self.assertEqual(refused.returncode, 5, refused)
        self.assertIn("node-2 is not running", refused.stderr)
        self.cluster.ctl("config", "apply", os.path.join(self.dir, "cluster.conf"), "-y")  # the same again is nothing to refuse
        victim.start()
        wait_for("health", lambda: self.cluster.ctl("health", check=False).returncode == 0, 60)
        self.cluster.syncs[0].kill()
        wait_for("health to notice", lambda: self.cluster.ctl("health", check=False).returncode == 10)
        self.assertEqual(self.cluster.ctl("deadletter", "list", check=False).returncode, 4)
        self.cluster.syncs[0].start()
        wait_for("health", lambda: self.cluster.ctl("health", check=False).returncode == 0, 60)


if __name__ == "__main__":
    base.main()
