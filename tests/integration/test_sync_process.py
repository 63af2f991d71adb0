"""forebay-sync as operators see it: metrics, reload, its log, coming back after an outage, another table for a namespace."""

import re
import signal
import time

import base
import redis
from base import ClusterTest, wait_for

METRICS = ("sync_rows_total", "sync_batch_rows", "sync_batch_duration_seconds", "sync_retries_total", "sync_conflicts_total",
           "sync_swept_total", "dead_letters", "db_up", "loads_total", "load_duration_seconds", "coordinator_up", "build_info")

TABLES = """
create schema app;
create table app.one (id int primary key, v text, secret text);
create table app.two (id text primary key, label text not null default 'none', v int);
create table app.strict (id int primary key, n int check (n < 100));
insert into app.one select g, 'one' || g from generate_series(1, 100) g;
insert into app.two select g, 'two' || g, g from generate_series(1, 100) g;
"""

CONFIG = """[cluster]
replicas = 0
[namespace thing]
table = app.%s
key = id
value = row
sync_interval = 100ms
negative_ttl = 1s
[namespace strict]
table = app.strict
key = id
value = row
sync_interval = 100ms
[namespace free]
sync_interval = 100ms
"""


class SyncProcess(ClusterTest):
    config = CONFIG % "one"
    tables = TABLES

    def log(self):
        with open(self.cluster.syncs[0].log) as f:
            return f.read()

    def test_metrics(self):
        self.r.set("free:m", "v")
        self.r.get("free:absent")
        self.synced()
        status, text = self.cluster.syncs[0].http("/metrics")
        self.assertEqual(status, 200)
        names = set(re.findall(r"^# TYPE forebay_(\S+)", text, re.M))
        self.assertEqual([m for m in METRICS if m not in names], [])
        self.assertRegex(text, r"(?m)^forebay_db_up 1$")

    def reloads(self):
        """Counted when all else of a reload is done, its line in the log too."""
        return int(re.search(r'(?m)^forebay_config_reloads_total{result="ok"} (\d+)$', self.cluster.syncs[0].http("/metrics")[1])[1])

    def test_reload(self):
        p = self.cluster.syncs[0]
        with open(p.conf) as f:
            conf = f.read()
        for level, seen in (("debug", True), ("warn", False)):
            with open(p.conf, "w") as f:
                f.write(conf.replace("[process]\n", f"[process]\nlog_level = {level}\n"))
            before, lines = self.reloads(), self.log().count("configuration reloaded")
            p.kill(signal.SIGHUP)
            wait_for("reload", lambda: self.reloads() == before + 1)
            self.assertEqual(self.log().count("configuration reloaded"), lines + seen)
        with open(p.conf, "w") as f:
            f.write(conf)
        p.kill(signal.SIGHUP)
        wait_for("reload", lambda: self.log().count("configuration reloaded") >= 2)

    def test_rows_stay_out_of_the_log(self):
        self.r.hset("strict:1", "n", "4711")  # breaks the table's check: parked
        wait_for("dead letter", lambda: len(self.cluster.ctl_json("deadletter", "list")) == 1)
        self.assertIn("4711", self.cluster.ctl("-o", "json", "deadletter", "list").stdout)
        self.assertNotIn("4711", self.log())
        self.assertNotIn("4711", self.cluster.syncs[0].http("/statusz")[1])
        self.r.hset("strict:1", "n", "1")
        self.synced()

    def test_sweep(self):
        self.pg.psql("insert into forebay.objects (ns, id, kind, expires_at) select 'free', 'gone' || g, 'string', "
                     "now() - interval '2 minutes' from generate_series(1, 3000) g")
        self.assertIsNone(self.r.get("free:gone1"))
        wait_for("sweep", lambda: self.pg.psql("select count(*) from forebay.objects where id like 'gone%'") == [["0"]])

    def outages(self):
        """How often PostgreSQL was tried in vain."""
        return sum(float(n) for p in self.cluster.syncs
                   for n in re.findall(r'(?m)^forebay_sync_retries_total{class="outage"} (\S+)$', p.http("/metrics")[1]))

    def test_back_after_an_outage(self):
        self.r.set("free:before", "v")
        self.synced()
        before = self.outages()
        self.cluster.pg.stop("immediate")
        try:
            self.r.set("free:during", "v")
            wait_for("back-offs to have grown", lambda: self.outages() >= before + 7, 60)
        finally:
            self.cluster.pg.start()
        start = time.monotonic()
        wait_for("the change", lambda: self.pg.psql("select count(*) from forebay.objects where id = 'during'") == [["1"]], 10)
        self.assertLess(time.monotonic() - start, 2)


class AnotherTable(ClusterTest):
    """Nodes and sync processes hear of a change one after the other: rows of two tables never mix."""

    settings = {"nodes": 2, "syncs": 2}
    config = CONFIG % "one"
    tables = TABLES

    def test_another_table(self):
        self.assertEqual(self.r.hget("thing:1", "v"), b"one1")
        self.r.hset("thing:2", "v", "changed")
        self.synced()
        for turn in range(1, 3):
            for table, field, value in (("two", "label", b"two%d"), ("one", "v", b"one%d")):
                self.cluster.apply(CONFIG % table)
                id = 10 + turn

                def there():
                    try:
                        return all(self.r.hget(f"thing:{k}", field) == value % k for k in range(id, 100, 10))
                    except redis.ResponseError as e:
                        self.assertRegex(str(e), "DBDOWN|has no column")
                        return False
                wait_for(f"rows of app.{table}", there)
                for k in range(id, 100, 10):
                    self.r.hset(f"thing:{k}", "v", str(k + turn))
                self.synced()
                self.assertEqual(self.pg.psql(f"select count(*) from app.{table} where v::text = (id::int + {turn})::text"),
                                 [[str(len(range(id, 100, 10)))]])
                self.pg.psql("update app.one set v = 'one' || id; update app.two set v = id::int")
        self.assertEqual([d for d in self.cluster.ctl_json("deadletter", "list") if d["ns"] == "thing"], [])


if __name__ == "__main__":
    base.main()
