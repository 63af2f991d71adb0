"""Every conflict with SQL stands in forebay.conflict_log: both sides, the policy and what was made of it, also across an outage."""

import base
from base import ClusterTest, wait_for

POLICIES = {"merge": "conflict = merge-columns", "cache": "conflict = cache-wins", "db": "conflict = db-wins",
            "again": "conflict = merge-columns\non_row_gone = reinsert"}

CONFIG = "[cluster]\nreplicas = 0\npartitions = 4\n" + "".join(
    f"[namespace {name}]\ntable = app.{name}\nkey = id\nvalue = row\nttl = none\nsync_interval = 100ms\n{more}\n" for name, more in POLICIES.items())

TABLES = "create schema app;" + "".join(
    f"create table app.{name} (id bigint primary key, n int not null default 0, m int not null default 0);"
    f"insert into app.{name} select i from generate_series(1, 20) i;" for name in POLICIES)


class ConflictLog(ClusterTest):
    settings = {"nodes": 1, "syncs": 1}
    config = CONFIG
    tables = TABLES

    def clash(self, ns, id, sql):
        """Memory and SQL change the same row, each from what it was."""
        self.r.hgetall(f"{ns}:{id}")
        self.pg.psql(sql)
        self.r.hset(f"{ns}:{id}", "n", 7)

    def logged(self, ns, id):
        return self.pg.psql(f"select policy, outcome, ours->>'n', theirs->>'m' from forebay.conflict_log where ns = '{ns}' and id = '{id}' order by n")

    def outcome(self, ns, id, want):
        wait_for(f"the outcome of {ns}:{id}", lambda: [r[1] for r in self.logged(ns, id)] == [want])

    def row(self, ns, id):
        return self.pg.psql(f"select n, m from app.{ns} where id = {id}")

    def test_each_policy(self):
        for ns in POLICIES:
            self.clash(ns, 1, f"update app.{ns} set m = 5, n = 3 where id = 1")
        self.synced()
        want = {"merge": ("merge-columns", "merged", [["7", "5"]]), "cache": ("cache-wins", "ours", [["7", "5"]]),
                "db": ("db-wins", "theirs", [["3", "5"]]), "again": ("merge-columns", "merged", [["7", "5"]])}
        for ns, (policy, outcome, row) in want.items():
            with self.subTest(ns=ns):
                self.outcome(ns, 1, outcome)
                self.assertEqual(self.logged(ns, 1), [[policy, outcome, "7", "5"]])
                self.assertEqual(self.row(ns, 1), row)
        listed = self.cluster.ctl_json("conflict", "list", "-n", "merge")
        mine = [o for o in listed if o["key"] == "merge:1"]
        self.assertEqual([(o["outcome"], o["ours"]["n"], o["theirs"]["n"]) for o in mine], [("merged", "7", "3")])
        self.assertEqual(mine[0]["old"], {"id": "1", "m": "0"}, "what the write did not change, as it was")
        self.assertIn("merge:1", self.cluster.ctl("conflict", "list").stdout)
        self.assertEqual(len(self.cluster.ctl_json("conflict", "list", "--limit", "1")), 1)
        wait_for("the metric", lambda: 'forebay_sync_conflicts_total{policy="db-wins",result="theirs"} 1' in
                 self.cluster.syncs[0].http("/metrics")[1])

    def test_a_row_that_is_gone(self):
        self.clash("merge", 2, "delete from app.merge where id = 2")
        self.clash("again", 2, "delete from app.again where id = 2")
        self.synced()
        self.outcome("merge", 2, "deleted")
        self.outcome("again", 2, "reinserted")
        self.assertEqual(self.row("merge", 2), [])
        self.assertEqual(self.row("again", 2), [["7", "0"]])

    def test_no_conflict_no_row(self):
        before = self.pg.psql("select count(*) from forebay.conflict_log")
        self.r.hset("merge:3", "n", 1)
        self.synced()
        self.assertEqual(self.pg.psql("select count(*) from forebay.conflict_log"), before)

    def test_a_conflict_found_after_an_outage(self):
        """The row is written before the conflict is resolved: a sync process that dies in between leaves it as open, never nothing."""
        self.cluster.ctl("sync", "pause", "-y")
        try:
            for i in range(4, 14):
                self.clash("merge", i, f"update app.merge set m = {i} where id = {i}")
            self.pg.stop("immediate")
            self.pg.start()
        finally:
            self.cluster.ctl("sync", "resume")
        wait_for("PostgreSQL to be seen", lambda: self.cluster.ctl("sync", "flush", check=False).returncode == 0)
        self.synced()
        for i in range(4, 14):
            self.outcome("merge", i, "merged")
            self.assertEqual(self.row("merge", i), [["7", str(i)]])


if __name__ == "__main__":
    base.main()
