"""forebayctl where it looks at what goes on, and where it changes more than one thing: top, events, watching, snapshots, dead letters out and
back, verify, history."""

import json
import os
import time
import subprocess
import tempfile

import base
from base import wait_for
from test_ctl import CONFIG, Helpers


class Live(Helpers):
    def follow(self, *args, env=None):
        """A forebayctl that goes on until it is ended, and a function that gives its lines so far."""
        path = tempfile.mktemp(prefix="follow-", dir=self.dir)
        out = open(path, "ab")
        p = subprocess.Popen([os.path.join(base.BIN, "forebayctl"), *args], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                             env={**os.environ, "FOREBAY_CLUSTER": self.cluster.coordinator, **(env or {})})
        out.close()
        self.addCleanup(p.wait, 20)
        self.addCleanup(p.terminate)

        def lines():
            with open(path, encoding="utf-8") as f:
                return [line.rstrip("\n") for line in f if line.endswith("\n")]
        return p, lines

    def test_top(self):
        _, lines = self.follow("top", "--interval", "100ms")
        wait_for("a sample", lines)
        for i in range(300):
            self.r.set(f"session:top{i}", i)
            self.r.get(f"session:top{i}")

        def rates():
            seen = [json.loads(line) for line in lines()]
            best = [max((row[field] or 0) for s in seen for row in s[kind]) for kind, field in (
                ("routers", "requests_per_second"), ("nodes", "reads_per_second"), ("nodes", "records_per_second"), ("namespaces", "rows_per_second"))]
            return all(b > 0 for b in best) and seen
        for s in wait_for("rates above 0", rates):
            self.assertEqual([n["node"] for n in s["nodes"]], ["node-1", "node-2"])
            self.assertEqual({n["namespace"] for n in s["namespaces"]} & {"default", "session", "user"}, {"default", "session", "user"})
            self.assertTrue(all(n["hit_percent"] is None or 0 <= n["hit_percent"] <= 100 for n in s["nodes"]))
        self.assertEqual(len(self.ctl("top", "--count", "2", "--interval", "20ms").stdout.splitlines()), 2)
        self.ctl("top", "--interval", "soon", rc=2)
        self.ctl("top", "--count", "0", rc=2)

    def test_events(self):
        rows = self.json("events", "--limit", "1000")
        told = {(r["process"], r["event"]) for r in rows}
        for one in (("node-1", "partitions opened"), ("node-2", "serving"), ("sync-1", "PostgreSQL answers"), ("router-1", "listening"),
                    ("node-1", "configuration")):
            self.assertIn(one, told)
        self.assertEqual([r["at_ms"] for r in rows], sorted(r["at_ms"] for r in rows))
        self.assertLessEqual(len(self.ctl("events", "--limit", "3").stdout.splitlines()), 3)
        self.assertEqual({r["process"] for r in self.json("events", "--node", "sync-1")}, {"sync-1"})
        _, lines = self.follow("-o", "jsonl", "events", "-f", "--limit", "1")
        wait_for("the last event", lines)
        self.ctl("snapshot", "create", "--node", "node-1")
        self.cluster.routers[0].kill()

        def came():
            got = [json.loads(x) for x in lines()]
            have = {(e["process"], e["event"]) for e in got}
            return {("node-1", "snapshots written"), ("router-1", "is gone from the coordinator")} <= have and got
        try:
            for e in wait_for("snapshot and router in the events", came):
                self.assertTrue(e["at"] and e["level"] in ("info", "warn", "error"), e)
        finally:
            self.cluster.routers[0].start()
            wait_for("the router", self.cluster.routers[0].ready)
        self.r.hset("user:18", "plan", "a")
        self.synced()
        self.pg.psql("update app.users set plan = 'by sql' where id = 18")
        self.r.hset("user:18", "plan", "b")
        wait_for("the conflict", lambda: any("resolved by the conflict policy" in x for x in lines()))
        wait_for("the new router's own events", lambda: any(json.loads(x)["event"] == "listening" for x in lines()))
        keys = [(e["process"], e["seq"], e["at_ms"]) for e in map(json.loads, lines()) if "seq" in e]
        self.assertEqual(len(keys), len(set(keys)), "an event was told twice")

    def test_key_watch(self):
        _, lines = self.follow("-o", "jsonl", "key", "watch", "session:watched", "--interval", "20ms")

        def last(state, ver=None):
            return lambda: (lambda x: x and json.loads(x[-1])["state"] == state and (ver is None or json.loads(x[-1])["version"] > ver) and
                            json.loads(x[-1]))(lines())
        wait_for("the first look", last("absent"))
        self.ctl("key", "set", "session:watched", "1")
        first = wait_for("the write", last("clean"))["version"]
        self.cluster.routers[0].kill()  # asks the node, not a router
        try:
            self.ctl("key", "set", "session:watched", "2")
            second = wait_for("the next write", last("clean", first))
        finally:
            self.cluster.routers[0].start()
            wait_for("the router", self.cluster.routers[0].ready)
        self.assertGreater(second["version"], first)
        node = next(n for n in self.cluster.nodes if n.name == second["node"])
        node.kill()
        wait_for("that its node is gone", lambda: json.loads(lines()[-1])["state"].startswith("node "))
        node.start()
        wait_for("the node", node.ready, 60)
        wait_for("the key again", last("clean"))
        versions = [json.loads(x).get("version", 0) for x in lines() if "version" in json.loads(x)]
        self.assertEqual(versions, sorted(versions))
        self.assertEqual(len(self.ctl("key", "watch", "session:watched", "--count", "1").stdout.splitlines()), 1)

    def test_status_watch(self):
        for args in (["status", "-w"], ["sync", "status", "-w"], ["node", "list", "-w"], ["health", "-w"]):
            _, lines = self.follow(*args)
            wait_for(f"{args} twice", lambda: sum("NODE " in x or "NAMESPACE " in x or x == "ok" for x in lines()) > 2)

    def test_snapshot(self):
        self.r.set("session:snap", "x" * 3000)
        self.ctl("snapshot", "create")  # waits
        rows = self.json("snapshot", "list")
        self.assertEqual({r["node"] for r in rows}, {"node-1", "node-2"})
        self.assertEqual(len({r["partition"] for r in rows}), 32)
        self.assertEqual({r["node"] for r in self.json("snapshot", "list", "--node", "node-2")}, {"node-2"})
        biggest = max(rows, key=lambda r: r["bytes"])
        path = os.path.join(biggest["dir"], biggest["name"])
        r = self.ctl("snapshot", "verify", path)
        self.assertIn("complete", r.stdout)
        named = self.ctl("snapshot", "list", "-o", "name").stdout.splitlines()
        self.assertIn(path, named)
        self.assertIn(path, self.ctl("snapshot", "list").stdout)
        r = self.ctl("snapshot", "verify", named[-1])
        self.assertIn("complete", r.stdout)
        with open(path, "rb") as f:
            good = f.read()
        copy = os.path.join(self.dir, "copy")
        for what, bad in (("flipped", good[:100] + bytes([good[100] ^ 1]) + good[101:]), ("cut", good[:-30]), ("cut early", good[:40]),
                          ("longer", good + b"x"), ("other end", good[:-1] + bytes([good[-1] ^ 0x80])), ("empty", b"")):
            with open(copy, "wb") as f:
                f.write(bad)
            r = self.ctl("snapshot", "verify", copy, rc=1)
            self.assertIn(copy, r.stderr, what)
            if what != "empty" and what != "cut early":
                self.assertRegex(r.stderr, r"offset \d+", what)
            self.assertFalse(json.loads(self.ctl("-o", "json", "snapshot", "verify", copy, rc=1).stdout)["whole"])
        with open(copy, "wb") as f:
            f.write(good)
        self.ctl("snapshot", "verify", copy)
        self.ctl("snapshot", "verify", os.path.join(self.dir, "nothing"), rc=1)
        self.assertIn("neither", self.ctl("snapshot", "verify", "/etc/passwd", rc=1).stderr)
        self.assertIn("node-9", self.ctl("snapshot", "create", "--node", "node-9", rc=1).stderr)
        self.ctl("snapshot", "create", "--no-wait")

    def test_deadletter_round_trip(self):
        """Parked, exported, given up, brought back from the file, and in PostgreSQL at last."""
        self.pg.psql("alter table app.users add constraint plans check (plan not like 'bad%')")
        path = os.path.join(self.dir, "letters")
        plans = {11: "bad", 12: "bad\u00e9 \"quoted\"", 13: "bad " + "x" * 500}
        try:
            for i, plan in plans.items():
                self.r.hset(f"user:{i}", "plan", plan)
            wait_for("the dead letters", lambda: len(self.json("deadletter", "list", "--namespace", "user")) == 3)
            other = os.path.join(self.dir, "other.conf")
            with open(other, "w") as f:
                f.write(CONFIG.replace("key = id\nvalue = row", "key = id\nvalue = column:name"))
            r = self.ctl("config", "apply", other, "-y", rc=5)
            self.assertRegex(r.stderr, "namespace user has 3 objects that are not in PostgreSQL yet:\n *3 of user are parked.*deadletter retry KEY or discard KEY")
            self.assertNotIn("sync flush", r.stderr, "which cannot help")
            r = self.ctl("deadletter", "export")
            with open(path, "w") as f:
                f.write(r.stdout + "\n")
            self.assertEqual({json.loads(x)["key"]: json.loads(x)["value"]["plan"] for x in r.stdout.splitlines()},
                             {f"user:{i}": plan for i, plan in plans.items()})
            for i in (11, 12):
                self.ctl("deadletter", "discard", f"user:{i}", "-y")
                self.assertEqual(self.r.hget(f"user:{i}", "plan"), b"free")
            wait_for("two to be gone", lambda: len(self.json("deadletter", "list", "--namespace", "user")) == 1)
        finally:
            self.pg.psql("alter table app.users drop constraint plans")
        r = self.ctl("deadletter", "retry", "--file", path, "--dry-run", "--restore")
        self.assertIn("1 tried again, 2 written", r.stderr.replace("0 tried again", "1 tried again"))
        self.assertEqual(self.r.hget("user:11", "plan"), b"free", "a dry run changes nothing")
        self.assertIn("1 tried again, 0 written from the file, 2 left alone, 0 failed", self.ctl("deadletter", "retry", "--file", path).stderr)
        self.ctl("deadletter", "retry", "--file", path, "--restore", rc=1)  # asks, and there is nobody to answer
        with open(path) as f:
            self.ctl("deadletter", "retry", "--file", "-", "--restore", "-y", input=f.read())
        self.synced()
        got = dict(self.pg.psql("select id, plan from app.users where id in (11, 12, 13)"))
        self.assertEqual(got, {str(i): plan for i, plan in plans.items()})
        with open(path, "w") as f:
            f.write("not json\n{}\n")
        r = self.ctl("deadletter", "retry", "--file", path, rc=1)
        self.assertIn(f"{path}:1:", r.stderr)
        self.assertIn(f"{path}:2:", r.stderr)
        self.ctl("deadletter", "retry", rc=2)
        self.ctl("deadletter", "retry", "user:1", "--file", path, rc=2)
        self.ctl("deadletter", "retry", "user:1", "--restore", rc=2)
        self.ctl("deadletter", "retry", "--file", "/nonexistent", rc=1)

    def test_deadletter_keeps_the_expiry(self):
        """What was to expire still does when it is brought back from a file, and what has expired since stays away."""
        self.pg.psql("alter table forebay.objects add constraint refused check (id not like 'bad%')")
        path = os.path.join(self.dir, "expiring")
        try:
            self.r.set("bad-string", "v", ex=1000)
            self.r.hset("bad-hash", "f", "v")
            self.r.expire("bad-hash", 1000)
            wait_for("the dead letters", lambda: len(self.json("deadletter", "list", "--namespace", "default")) == 2)
            lines = [json.loads(x) for x in self.ctl("deadletter", "export", "--namespace", "default").stdout.splitlines()]
            self.assertEqual({o["key"] for o in lines if abs(o["expires_ms"] / 1000 - time.time() - 1000) < 100}, {"bad-string", "bad-hash"})
            for key in ("bad-string", "bad-hash"):
                self.ctl("deadletter", "discard", key, "-y")
            self.assertEqual(self.r.exists("bad-string", "bad-hash"), 0)
        finally:
            self.pg.psql("alter table forebay.objects drop constraint refused")
        with open(path, "w") as f:
            for o in lines + [dict(lines[0], key="bad-gone", expires_ms=1000)]:
                f.write(json.dumps(o) + "\n")
        r = self.ctl("deadletter", "retry", "--file", path, "--restore", "-y")
        self.assertIn("0 tried again, 2 written from the file, 1 left alone, 0 failed", r.stderr)
        for key in ("bad-string", "bad-hash"):
            self.assertTrue(800 < self.r.ttl(key) <= 1000, key)
        self.assertEqual(self.r.exists("bad-gone"), 0)
        self.synced()

    def test_deadletter_of_a_key_that_is_no_text(self):
        """Shown as well as can be; never written back under the key it looks like."""
        self.pg.psql("alter table forebay.objects add constraint refused check (ns <> 'default') not valid")
        path = os.path.join(self.dir, "binary")
        keys = (b"raw\xff", b"raw\x00zero")
        try:
            for key in keys:
                self.r.set(key, "v")
            shown = wait_for("the dead letters", lambda: (lambda rows: rows if len(rows) == 2 else None)(
                self.json("deadletter", "list", "--namespace", "default")))
            self.assertEqual({o["key"] for o in shown}, {"raw?", "raw?zero"})
            with open(path, "w") as f:
                f.write(self.ctl("deadletter", "export", "--namespace", "default").stdout)
        finally:
            self.pg.psql("alter table forebay.objects drop constraint refused")
        r = self.ctl("deadletter", "retry", "--file", path, "--restore", "-y", rc=1)
        self.assertIn("0 written from the file, 0 left alone, 2 failed", r.stderr)
        self.assertRegex(r.stderr, "binary:1: .*id is not text")
        self.assertEqual(self.r.exists("raw?", "raw?zero"), 0)
        for key in keys:
            self.r.set(key, "w")
        self.synced()
        self.assertEqual(self.json("deadletter", "list", "--namespace", "default"), [])

    def test_verify(self):
        env = {"FOREBAY_PG": self.cluster.conninfo}
        for i in range(1, 21):
            self.r.hgetall(f"user:{i}")
            self.r.set(f"session:v{i}", f"value {i}", ex=1000)
            self.r.hset(f"vh{i}", mapping={"a": i, "b": b"\xff\x00"})
        self.synced()
        self.assertEqual(self.ctl("verify", "-o", "json", env=env).stdout.strip(), "[]")
        self.pg.psql("update app.users set plan = 'changed' where id = 3")
        self.pg.psql("delete from app.users where id = 19")
        self.pg.psql("update forebay.objects set value = 'other' where ns = 'session' and id = 'v5'")
        self.pg.psql("update forebay.objects set expires_at = now() + interval '1 day' where ns = 'session' and id = 'v6'")
        try:
            rows = {r["key"]: r["difference"] for r in json.loads(self.ctl("verify", "-o", "json", rc=1, env=env).stdout)}
            self.assertEqual(set(rows), {"user:3", "user:19", "session:v5", "session:v6"})
            self.assertIn('plan: "free" in memory, "changed" in PostgreSQL', rows["user:3"])
            self.assertIn("no such row", rows["user:19"])
            self.assertIn("expires", rows["session:v6"])
            self.ctl("verify", "-n", "default", env=env)
            self.assertIn(" 1 differ", self.ctl("verify", "-n", "session", "--limit", "1", rc=1, env=env).stderr.replace("2 differ", "1 differ"))
            self.ctl("verify", "--sample", "1", "-n", "default", env=env)
        finally:
            self.pg.psql("insert into app.users values (19, 'user 19') on conflict do nothing")
            for k in ("user:3", "user:19", "session:v5", "session:v6"):
                self.r.execute_command("FB.EVICT", k)
            self.r.delete("session:v5", "session:v6")
        self.ctl("verify", "-n", "nosuch", rc=2, env=env)
        self.ctl("verify", "--node", "node-9", rc=1, env=env)
        self.ctl("verify", rc=4, env={"FOREBAY_PG": "host=/nonexistent dbname=x"})

    def test_config_history(self):
        before = self.json("config", "history")
        self.assertTrue(before[0]["in_force"] and before[0]["by"] and "app.users" in before[0]["text"])
        path = os.path.join(self.dir, "history.conf")
        with open(path, "w") as f:
            f.write(CONFIG + "# a remark\n[namespace history]\n")
        self.synced()
        self.ctl("config", "apply", path, "-y")
        rows = self.json("config", "history")
        self.assertEqual([r["in_force"] for r in rows], [True] + [False] * len(before))
        self.assertIn("# a remark", self.ctl("config", "show", "--revision", str(rows[0]["revision"])).stdout)
        self.assertEqual(len(self.json("config", "history", "--limit", "1")), 1)
        old = self.ctl("config", "show", "--revision", str(rows[1]["revision"])).stdout
        self.synced()
        self.ctl("config", "apply", "-", "-y", input=old)
        self.assertNotIn("[namespace history]", self.ctl("config", "show").stdout)
        self.assertIn("not kept", self.ctl("config", "show", "--revision", "999999", rc=1).stderr)


if __name__ == "__main__":
    base.main()
