"""kill -9 of each process under load: what was acknowledged durable is in PostgreSQL, once and in order."""

import os
import time

import base
from base import ClusterTest, wait_for
from load import AUDIT, Recorder, Writers, check_history, check_recorded

ROUNDS = 1 if os.environ.get("FB_TEST_FAST") else 2


class Crash(ClusterTest):
    settings = {"nodes": 2, "syncs": 2, "routers": 2}
    config = """
[cluster]
replicas = 0
partitions = 32
[namespace durable]
durability = durable
sync_interval = 50ms
[namespace asked]
sync_interval = 50ms
"""

    def setUp(self):
        self.pg.script("drop table if exists audit cascade; drop function if exists audit cascade;")
        self.pg.script(AUDIT)

        self.log = Recorder(os.path.join(self.dir, f"{self._testMethodName}.jsonl"))
        self.tag = self._testMethodName.split("_")[-1] + "-"

        self.addCleanup(self.log.close)

    def judged(self, writers):
        """What the clients saw and what PostgreSQL was given have one explanation."""
        self.log.close()
        check_history(self, self.cluster, writers)
        audit = self.pg.psql("select ns, id, version, value, op from audit order by n")
        report = check_recorded(self, self.log.path, audit)
        self.assertGreater(report.with_version, sum(w.writes for w in writers))

    def restart(self, p):
        p.kill()
        p.start()

    def more(self, writers, count=150, timeout=60):
        goal = [w.writes + count for w in writers]
        wait_for("writes to go on " + repr([w.errors for w in writers]),
                 lambda: all(w.failure or w.writes >= g for w, g in zip(writers, goal)), timeout)
        for w in writers:
            if w.failure:
                raise w.failure

    def run_kills(self, victims):
        writers = [Writers(self.cluster, prefix="durable", router=0, history=self.log, tag=self.tag).start(),
                   Writers(self.cluster, prefix="asked", require="durable", router=1, history=self.log, tag=self.tag).start()]
        try:
            self.more(writers)
            for _ in range(ROUNDS):
                for p in victims:
                    self.restart(p)
                    self.more(writers)
        finally:
            for w in writers:
                w.stop()
        self.cluster.wait_ready()
        self.synced()
        self.judged(writers)
        self.assertEqual(self.pg.psql("select count(*) from forebay.dead_letter"), [["0"]])
        for w in writers:
            self.assertLessEqual(set(w.errors), {"ConnectionError", "TimeoutError", "INDETERMINATE", "CLUSTERDOWN", "LOADING", "DBDOWN",
                                                 "TRYAGAIN"}, w.texts)

    def test_kill_nodes(self):
        self.run_kills(self.cluster.nodes)

    def test_kill_syncs(self):
        self.run_kills(self.cluster.syncs)

    def test_kill_routers(self):
        self.run_kills(self.cluster.routers)

    def test_kill_all_at_once(self):
        writers = [Writers(self.cluster, prefix="durable", history=self.log, tag=self.tag).start()]
        try:
            self.more(writers)
            for p in self.cluster.processes():
                p.kill()
            for p in self.cluster.processes():
                p.start()
            self.more(writers)
        finally:
            writers[0].stop()
        self.cluster.wait_ready()
        self.synced()
        self.judged(writers)

    def test_values_of_all_kinds_survive(self):
        """Dirty and clean strings, hashes, expiry and deletions come back as they were."""
        self.pg.script("drop trigger audit on forebay.objects")
        r = self.r
        r.set("durable:clean", "c")
        r.set("durable:gone-clean", "x")
        self.synced()
        self.cluster.ctl("sync", "pause", "-y")
        try:
            r.set("durable:bin", b"\x00\xff" * 500)
            r.hset("durable:h", mapping={"a": "1", b"b\xff": b"\x00"})
            r.set("durable:exp", "v", ex=1000)
            r.set("durable:exp-soon", "v", px=50)
            r.delete("durable:gone-clean")
            r.set("durable:gone-dirty", "x")
            r.delete("durable:gone-dirty")
            for p in self.cluster.nodes:
                self.restart(p)
            self.cluster.wait_ready()
            wait_for("service", lambda: self.try_get("durable:bin") is not None)
            self.assertEqual(r.get("durable:bin"), b"\x00\xff" * 500)
            self.assertEqual(r.hgetall("durable:h"), {b"a": b"1", b"b\xff": b"\x00"})
            self.assertAlmostEqual(r.ttl("durable:exp"), 990, delta=15)
            self.assertIsNone(r.get("durable:exp-soon"))
            self.assertIsNone(r.get("durable:gone-clean"))
            self.assertIsNone(r.get("durable:gone-dirty"))
            self.assertEqual(r.get("durable:clean"), b"c")
        finally:
            self.cluster.ctl("sync", "resume")
        self.synced()
        self.assertEqual(self.pg.psql("select id from forebay.objects where ns = 'durable' and id not like '%-_' and id not like '%-__' "
                                      "order by id"), [["bin"], ["clean"], ["exp"], ["h"]])

    def try_get(self, key):
        try:
            return self.r.get(key)
        except Exception:
            return None


if __name__ == "__main__":
    base.main()
