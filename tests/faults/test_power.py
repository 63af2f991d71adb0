"""Power loss of a node under load: it starts by itself; everything that was acknowledged durable is in place; what it has of
the rest is a prefix of what was written. The states are drawn at random; a failure prints the seed."""

import os
import random
import threading

import redis

from shim import Disk, Faults, base, log_since, wait_for
from base import ClusterTest, connect
from load import Writers

ROUNDS = int(os.environ.get("FB_POWER_ROUNDS", "5"))
SEED = int(os.environ.get("FB_POWER_SEED", "0")) or random.randrange(1, 1 << 30)


class Sequence:
    """One client writes 1, 2, 3 ... to keys of one partition, in turn, and waits for no disk."""

    KEYS = 40

    def __init__(self, cluster):
        self.cluster, self.n, self.acked = cluster, 0, 0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def key(self, i):
        return f"plain:{{p}}{i % self.KEYS}"

    def start(self):
        self.thread.start()
        return self

    def run(self):
        r = None
        while not self.stopping.is_set():
            try:
                r = r or connect(self.cluster, socket_timeout=10)
                while not self.stopping.is_set():
                    self.n += 1
                    r.set(self.key(self.n), self.n)
                    self.acked = self.n
            except redis.RedisError:
                return  # its power is gone; a new one goes on from what is left

    def stop(self):
        self.stopping.set()
        self.thread.join(30)


class Power(ClusterTest):
    settings = {"nodes": 1, "syncs": 1, "node_options": {"segment_bytes": "32KiB", "snapshot_log_bytes": "64KiB"}}
    config = """
[cluster]
replicas = 0
partitions = 8
[namespace durable]
durability = durable
sync_interval = 100ms
[namespace plain]
sync_interval = 1h
"""

    @classmethod
    def prepare(cls):
        cls.node = cls.cluster.nodes[0]
        cls.faults = Faults(cls.dir, "node-1")
        cls.disk = Disk(cls.dir, cls.faults)
        cls.cluster.options["node"]["data_dir"] = os.path.join(cls.disk.root, "data")
        cls.node.env = cls.faults.env

    def test_power(self):
        print(f"seed {SEED} (FB_POWER_SEED, FB_POWER_ROUNDS)")
        rng = random.Random(SEED)
        writers = Writers(self.cluster, threads=3, prefix="durable", timeout=10).start()
        lost, start_at, total = 0, 0, {}
        try:
            for n in range(ROUNDS):
                sequence = Sequence(self.cluster)
                sequence.n = start_at
                sequence.start()
                goal = writers.writes + rng.randrange(20, 200)
                wait_for("writes", lambda: writers.failure or
                         (writers.writes >= goal and sequence.acked > start_at + 100), 60)
                # a slow disk has more that is not synced
                self.faults.set(f"fdatasync *.seg delay={rng.choice([0, 20, 200])} skip={rng.randrange(5)}")
                more = sequence.n + rng.randrange(10, 400)
                wait_for("more writes", lambda: writers.failure or sequence.n > more, 60)
                acked = dict(writers.acked)  # before the kill: everything in here was answered
                self.node.kill()
                tally = self.disk.cut(rng.randrange(1 << 30), rng.choice([1.0, 0.9, 0.5, 0.5, 0.1]))
                for what, count in tally.items():
                    total[what] = total.get(what, 0) + count
                self.faults.clear()
                sequence.stop()
                at = os.path.getsize(self.node.log)
                self.node.start()
                self.cluster.wait_ready()
                wait_for("service", self.serves)
                start_at = self.check(acked, writers, sequence, n)
                lost += sequence.acked - min(sequence.acked, start_at)
                self.assertNotIn("level=error", log_since(self.node, at))
        finally:
            writers.stop()
        print(f"{ROUNDS} power losses: {total}; {lost} writes that nobody promised to keep were lost")
        self.assertGreater(total.get("blocks lost", 0), ROUNDS)
        self.assertGreater(lost, 0)
        self.synced_durable(writers)

    def serves(self):
        try:
            self.r.get("durable:none")
            return True
        except redis.RedisError:
            return False

    def check(self, acked, writers, sequence, n):
        wrong = []
        for key, at_least in acked.items():
            value = self.r.get(key)
            if value is None or not at_least <= int(value) <= writers.tried[key]:
                wrong.append(f"{key}: acknowledged {at_least}, tried {writers.tried[key]}, is {value}")
        self.assertEqual(wrong, [], f"seed {SEED}, power loss {n + 1}")
        values = [int(self.r.get(sequence.key(i)) or 0) for i in range(sequence.KEYS)]
        last = max(values)
        self.assertLessEqual(last, sequence.n)
        for i, value in enumerate(values):
            expect = last - (last - i) % sequence.KEYS
            self.assertEqual(value, max(expect, 0), f"seed {SEED}, power loss {n + 1}: {sequence.key(i)} with {last} as the last")
        return last

    def synced_durable(self, writers):
        """And it gets to PostgreSQL."""
        self.synced()
        rows = dict(self.pg.psql("select id, convert_from(value, 'utf8') from forebay.objects where ns = 'durable'"))
        for key, n in writers.acked.items():
            self.assertLessEqual(n, int(rows[key.split(":", 1)[1]]), key)


if __name__ == "__main__":
    base.main()
