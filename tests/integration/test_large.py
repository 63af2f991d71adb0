"""Small requests that make large work: logs, replies and batches stay within their bounds and everybody lives."""

import redis

import base
from base import ClusterTest, connect

KIB = 1024


class Large(ClusterTest):
    settings = {"nodes": 1, "syncs": 1, "node_options": {"memory": "1GiB", "threads": 2}}
    config = "[cluster]\nreplicas = 0\n[namespace big]\nmax_value = 4MiB\nsync_interval = 200ms\n"

    def setUp(self):
        self.r = connect(self.cluster, socket_timeout=120)

    def alive(self):
        for p in self.cluster.processes():
            self.assertTrue(p.alive(), f"{p.name} ended:\n{p.tail(30)}")

    def test_small_changes_of_a_large_hash(self):
        """Each is logged with the whole value: 600 of 1 MiB."""
        self.r.hset("big:h", mapping={"v": b"x" * (1024 * KIB), "n": 0})
        p = self.r.pipeline(transaction=False)
        for _ in range(600):
            p.hincrby("big:h", "n", 1)
        p.execute()
        self.assertEqual(self.r.hget("big:h", "n"), b"600")
        self.alive()

    def test_many_waiters_behind_one_load(self):
        self.r.hset("big:w", mapping={"v": b"x" * (512 * KIB), "n": 0})
        self.synced()
        self.assertEqual(self.r.execute_command("FB.EVICT", "big:w"), 1)
        p = self.r.pipeline(transaction=False)
        for _ in range(600):
            p.hincrby("big:w", "n", 1)
        p.execute()
        self.assertEqual(self.r.hget("big:w", "n"), b"600")
        self.alive()

    def test_transactions(self):
        self.r.set("big:{t}", b"x" * (1024 * KIB))
        p = self.r.pipeline(transaction=True)
        for _ in range(300):
            p.append("big:{t}", "y")
        with self.assertRaises(redis.ResponseError):
            p.execute()
        self.assertEqual(self.r.strlen("big:{t}"), 1024 * KIB)
        p = self.r.pipeline(transaction=True)
        for _ in range(300):
            p.get("big:{t}")
        with self.assertRaises(redis.ResponseError):
            p.execute()
        self.alive()

    def test_one_field_many_times(self):
        self.r.hset("big:f", "v", b"x" * (1024 * KIB))
        with self.assertRaises(redis.ResponseError):
            self.r.hmget("big:f", ["v"] * 500)
        self.alive()

    def test_large_group_reaches_postgresql(self):
        p = self.r.pipeline(transaction=True)
        for i in range(150):
            p.set(f"big:{{g}}{i}", b"%06d" % i * (16 * KIB))
        p.execute()
        self.synced()
        self.assertEqual(self.pg.psql("select count(*), sum(length(value)) from forebay.objects where id like '{g}%'"),
                         [["150", str(150 * 6 * 16 * KIB)]])
        self.alive()


if __name__ == "__main__":
    base.main()
