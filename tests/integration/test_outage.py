"""PostgreSQL stopped for a minute under write load: service goes on, everything drains after, nothing is parked."""

import os
import time

import base
import redis
from base import ClusterTest, connect, wait_for
from load import AUDIT, Writers, check_history

SECONDS = 20 if os.environ.get("FB_TEST_FAST") else 60


class Outage(ClusterTest):
    settings = {"nodes": 2, "syncs": 2}
    config = """
[cluster]
replicas = 0
partitions = 32
[namespace load]
sync_interval = 200ms
[namespace user]
table = app.users
key = id
value = row
sync_interval = 200ms
ttl = none
"""
    tables = """create schema app; create table app.users (id bigint primary key, n int not null default 0);
                insert into app.users select i from generate_series(1, 50) i;"""

    def test_a_minute_without_postgresql(self):
        self.pg.script(AUDIT)
        for i in range(1, 21):
            self.r.hgetall(f"user:{i}")
        writers = Writers(self.cluster).start()
        try:
            wait_for("load", lambda: writers.writes > 200)
            self.pg.stop("immediate")
            end = time.monotonic() + SECONDS
            before, rounds = writers.writes, 0
            slowest = 0.0
            while time.monotonic() < end:
                rounds += 1
                started = time.monotonic()
                self.assertEqual(self.r.hget(f"user:{rounds % 20 + 1}", "id"), str(rounds % 20 + 1).encode())
                self.r.hincrby(f"user:{rounds % 20 + 1}", "n", 1)
                self.assertIsNotNone(self.r.get("load:0-1"))
                slowest = max(slowest, time.monotonic() - started)
                if rounds % 50 == 1:
                    started = time.monotonic()
                    self.assertRegex(self.error("HGETALL", "user:30"), "^DBDOWN ")
                    self.assertRegex(self.error("GET", "unseen"), "^DBDOWN ")
                    self.assertRegex(self.error("HSET", "user:31", "n", "1"), "^DBDOWN .*nothing was changed")
                    self.assertLess(time.monotonic() - started, 10, "a miss must not hang without PostgreSQL")
            self.assertGreater(writers.writes, before + 500)
            self.assertLess(slowest, 3, "resident objects are served at memory speed without PostgreSQL")
            for p in self.cluster.processes():
                self.assertTrue(p.alive())
                self.assertEqual(p.http("/livez")[0], 200, p.name)
            self.assertIn("forebay_db_up 0", self.cluster.syncs[0].http("/metrics")[1])
            self.pg.start()
            wait_for("a miss to be answered again", lambda: self.answers("user:40"))
            self.assertEqual(self.r.hget("user:40", "n"), b"0")
        finally:
            writers.stop()
            self.pg.start()
        self.synced()
        check_history(self, self.cluster, [writers])
        self.assertEqual(writers.errors, {}, writers.texts)
        self.assertEqual(self.pg.psql("select sum(n) from app.users"), [[str(rounds)]])
        self.assertEqual(self.pg.psql("select count(*) from forebay.dead_letter"), [["0"]])
        self.assertEqual(self.cluster.ctl_json("deadletter", "list"), [])
        self.assertIn("forebay_db_up 1", self.cluster.syncs[0].http("/metrics")[1])

    def answers(self, key):
        try:
            return bool(self.r.hgetall(key))
        except redis.ResponseError:
            return False


if __name__ == "__main__":
    base.main()
