"""What stops in write-behind stops alone, and goes on by itself.

A table that is locked, or altered so that the mapping no longer fits, stops its namespace and no other; when the lock is gone
or the column is back it goes on without a hand. A paused namespace waits alone. At the hard limits (bytes and age of what waits) writes that
grow answer -OVERLOADED while reads and deletes go on, and end doing so when PostgreSQL has caught up. Nothing is parked by any of it.
"""

import json
import subprocess
import sys
import time

import redis

import base
from base import ClusterTest, wait_for

CONFIG = """
[cluster]
replicas = 0
partitions = 8
max_dirty_bytes = %s
[namespace a]
table = app.a
key = id
value = row
on_delete = delete
sync_interval = 100ms
ttl = none
[namespace b]
table = app.b
key = id
value = row
sync_interval = 100ms
ttl = none
[namespace gone]
table = app.gone
key = id
value = row
sync_interval = 100ms
[namespace old]
max_dirty_age = 3s
sync_interval = 100ms
"""

TABLES = """
create schema app;
create table app.a (id bigint primary key, n int not null default 0, m int);
create table app.b (id bigint primary key, n int not null default 0);
create table app.gone (id bigint primary key, n int not null default 0);
insert into app.gone values (1), (2);
insert into app.a select i from generate_series(1, 100) i;
insert into app.b select i from generate_series(1, 100) i;
"""


class Stops(ClusterTest):
    settings = {"nodes": 2, "syncs": 2}
    config = CONFIG % "64MiB"
    tables = TABLES

    def tearDown(self):
        self.assertEqual(self.pg.psql("select count(*) from forebay.dead_letter"), [["0"]], "nothing is parked by what stops")

    def namespace(self, name):
        return [o for o in self.cluster.ctl_json("sync", "status") if o["namespace"] == name][0]

    def value(self, table, id, column="n"):
        return self.pg.psql(f"select coalesce({column}::text, '') from app.{table} where id = {id}")[0][0]

    def goes_on(self, id, n):
        """Namespace b is written while a is not."""
        began = time.monotonic()
        self.r.hset(f"b:{id}", "n", n)
        wait_for("the other namespace to go on", lambda: self.value("b", id) == str(n))
        self.held_up = max(getattr(self, "held_up", 0), time.monotonic() - began)

    def test_a_locked_table_stops_only_its_namespace(self):
        for i in (1, 2, 3):
            self.r.hgetall(f"a:{i}")
        lock = subprocess.Popen(["psql", "-X", "-q", "-d", self.pg.conninfo, "-c", "begin", "-c",
                                 "lock table app.a in access exclusive mode", "-c", "select pg_sleep(120)"],
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        held = "select pid from pg_locks where relation = 'app.a'::regclass and mode = 'AccessExclusiveLock' and granted"
        try:
            wait_for("the lock", lambda: self.pg.psql(held))
            for i in (1, 2, 3):
                self.r.hset(f"a:{i}", "n", 10 + i)
            wait_for("the namespace to be told as stopped", lambda: "55P03" in self.namespace("a")["problem"])
            for n in range(100, 110):
                self.goes_on(1, n)
                with self.assertRaisesRegex(redis.ResponseError, "locked|lock timeout"):  # a miss there is told so
                    self.r.hgetall(f"a:{n % 20 + 20}")
                self.r.hgetall(f"b:{n % 20 + 20}")
            print(f"the other namespace was held up for {self.held_up:.2f} s at most", file=sys.stderr)
            self.assertEqual(self.r.hget("a:1", "n"), b"11")
            self.r.hset("a:2", "n", 22)
            self.assertEqual(self.namespace("b")["problem"], "")
        finally:
            self.pg.psql(f"select pg_terminate_backend(pid) from ({held}) l")
            lock.wait(30)
        wait_for("it to go on by itself", lambda: [self.value("a", i) for i in (1, 2, 3)] == ["11", "22", "13"], 60)
        wait_for("the problem to go", lambda: self.namespace("a")["problem"] == "")

    def test_an_altered_table_stops_until_the_column_is_back(self):
        self.r.hset("a:10", "m", 1)
        self.synced()
        self.cluster.ctl("sync", "pause", "-n", "a", "-y")
        self.r.hset("a:10", "m", 5)
        self.pg.psql("alter table app.a drop column m")
        self.cluster.ctl("sync", "resume", "-n", "a")
        wait_for("the namespace to be told as stopped", lambda: self.namespace("a")["problem"] != "")
        self.goes_on(10, 200)
        self.pg.psql("alter table app.a add column m int")
        wait_for("the value in the column that is back", lambda: self.value("a", 10, "m") == "5", 90)
        wait_for("the problem to go", lambda: self.namespace("a")["problem"] == "", 60)
        self.synced()

    def test_a_renamed_column_is_no_null(self):
        """The number of the column is the same, its name is not: a change of it must not become a NULL under the new name."""
        self.r.hset("a:11", "m", 1)
        self.synced()
        self.cluster.ctl("sync", "pause", "-n", "a", "-y")
        self.r.hset("a:11", "m", 6)
        self.pg.psql("alter table app.a rename column m to m2")
        try:
            self.cluster.ctl("sync", "resume", "-n", "a")
            wait_for("the namespace to be told as stopped", lambda: self.namespace("a")["problem"] != "")
            self.goes_on(11, 201)
            self.assertEqual(self.value("a", 11, "m2"), "1")
        finally:
            self.pg.psql("alter table app.a rename column m2 to m")
        wait_for("the value in the column that is back", lambda: self.value("a", 11, "m") == "6", 90)
        wait_for("the problem to go", lambda: self.namespace("a")["problem"] == "", 60)

    def test_a_table_that_is_gone_for_good(self):
        """Its mapping may go when nothing waits for it any more: the refusal says how that is done, and it works."""
        less = CONFIG % "64MiB"
        less = less[:less.index("[namespace gone]")] + less[less.index("[namespace old]"):]
        path = f"{self.dir}/less.conf"
        with open(path, "w") as f:
            f.write(less)

        def apply():
            return self.cluster.ctl("config", "apply", path, "-y", check=False)
        self.r.hset("gone:1", "n", 1)
        self.synced()
        self.cluster.ctl("sync", "pause", "-n", "gone", "-y")
        self.r.hset("gone:1", "n", 6)
        self.r.hset("gone:3", "n", 7)
        r = apply()
        self.assertEqual(r.returncode, 5, r)
        self.assertRegex(r.stderr, "2 of gone wait because .* paused: forebayctl sync resume -n gone")
        self.pg.psql("drop table app.gone")
        self.cluster.ctl("sync", "resume", "-n", "gone")
        wait_for("the namespace to be told as stopped", lambda: self.namespace("gone")["problem"])
        r = apply()
        self.assertEqual(r.returncode, 5, r)
        self.assertRegex(r.stderr, "2 of gone cannot be written: .*app.gone.*A table of the same columns.*conflict list -n gone")
        self.pg.psql("create table app.gone (id bigint primary key, n int not null default 0)")
        wait_for("nothing to wait", lambda: self.namespace("gone")["dirty"] == 0, 90)
        self.assertEqual(self.pg.psql("select id, n from app.gone"), [["3", "7"]])
        given_up = self.cluster.ctl_json("conflict", "list", "-n", "gone")
        self.assertEqual([(o["id"], o["ours"]["n"]) for o in given_up], [("1", "6")])
        r = apply()
        self.assertEqual(r.returncode, 0, r)
        self.assertNotIn("[namespace gone]", self.cluster.ctl("config", "show").stdout)
        self.synced()
        self.cluster.apply(self.config)

    def test_a_paused_namespace_waits_alone(self):
        self.cluster.ctl("sync", "pause", "-n", "a", "-y")
        try:
            self.r.hset("a:20", "n", 7)
            self.goes_on(20, 300)
            self.assertTrue(self.namespace("a")["paused"])
            self.assertFalse(self.namespace("b")["paused"])
            self.assertIsNone(self.r.execute_command("FB.SYNC", "a:20", 300))  # a pause holds for those who wait, too
            self.assertEqual(self.value("a", 20), "0")
        finally:
            self.cluster.ctl("sync", "resume", "-n", "a")
        self.assertGreater(self.r.execute_command("FB.SYNC", "a:20", 20000), 0)
        self.assertEqual(self.value("a", 20), "7")

    def refused(self, key, value="x"):
        try:
            self.r.set(key, value)
        except redis.ResponseError as e:
            return str(e)
        return None

    def test_an_old_change_holds_up_its_namespace(self):
        self.r.set("old:0", "0")
        self.synced()
        self.cluster.ctl("sync", "pause", "-n", "old", "-y")
        try:
            self.r.set("old:1", "1")
            started = time.monotonic()
            text = wait_for("a refusal", lambda: self.refused("old:2"))
            self.assertGreater(time.monotonic() - started, 1.5)  # not at once
            self.assertRegex(text, '^OVERLOADED .*"old".*max_dirty_age.*nothing happened')
            self.assertEqual(self.r.get("old:1"), b"1")
            self.assertEqual(self.r.delete("old:0"), 1)
            self.assertTrue(self.r.set("fine:1", "x"))  # others do not care
        finally:
            self.cluster.ctl("sync", "resume", "-n", "old")
        wait_for("writes to go on", lambda: self.refused("old:3") is None)

    def test_the_hard_limit_refuses_growth_alone(self):
        self.r.set("there", "x" * 1000)
        self.r.set("gone", "x")
        self.cluster.apply(CONFIG % "256KiB")
        self.pg.stop("immediate")
        try:
            refused, n = None, 0
            while refused is None and n < 3000:
                n += 1
                refused = self.refused(f"k:{n}", "x" * 1000)
            self.assertRegex(refused or "", "^OVERLOADED .*wait to be written to PostgreSQL.*nothing happened")
            self.assertLess(n, 1200, "two nodes of 256 KiB hold at most about 500 of these")
            self.assertEqual(self.r.get("there"), b"x" * 1000)
            self.assertEqual(self.r.get("k:1"), b"x" * 1000)
            self.assertEqual(self.r.delete("gone"), 1)
            pages = [json.loads(p.http("/statusz")[1]) for p in self.cluster.nodes]
            dirty = sum(o.get("status", o)["dirty_bytes"] for o in pages)
            self.assertLess(dirty, 2 * (256 << 10) + (16 << 10))  # the limit and what was on its way (I33)
        finally:
            self.pg.start()
            self.cluster.apply(self.config)
        wait_for("writes to go on", lambda: self.refused(f"k:{n}", "y") is None)
        wait_for("PostgreSQL to be seen", lambda: self.cluster.ctl("sync", "flush", check=False).returncode == 0)
        self.synced()
        self.assertEqual(self.pg.psql("select count(*) from forebay.objects where id = 'gone'"), [["0"]])
        self.assertEqual(self.pg.psql("select count(*) from forebay.objects where id like 'k:%'"), [[str(n)]])


if __name__ == "__main__":
    base.main()
