"""Three nodes and a second copy of each partition: what is acknowledged outlives any one of them.

Goal: no write acknowledged at level replicated is lost when the node that leads its partition is killed or stopped, reads stay
linearizable, the cluster heals itself when the node is back, and PostgreSQL gets all of it.
Method: writers that remember what they were promised and record a history, which is checked; kill -9, SIGSTOP, restarts.
"""

import json
import os
import sys

import base
from base import ClusterTest, connect, wait_for
from load import AUDIT, Recorder, Writers, check_history, check_recorded


class Replication(ClusterTest):
    settings = {"nodes": 3, "syncs": 2, "routers": 1}
    config = """
[cluster]
replicas = 1
partitions = 16
[namespace load]
sync_interval = 200ms
durability = replicated
[namespace dur]
sync_interval = 200ms
durability = durable
"""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.pg.script(AUDIT)

    def status(self, node):
        code, body = node.http("/statusz")
        if code != 200:
            return None
        o = json.loads(body)
        return o.get("status", o)

    def whole(self):
        """Every partition is led and has all its copies."""
        pages = [self.status(p) for p in self.cluster.nodes if p.alive()]
        if len(pages) < 3 or any(o is None or o.get("state") != "serving" for o in pages):
            return False
        return (sum(o["partitions_open"] for o in pages) == 16 and sum(o["partitions_backup"] for o in pages) == 16
                and sum(o["partitions_learner"] for o in pages) == 0
                and all(o["partitions_under_replicated"] == 0 for o in pages))

    def wait_whole(self, timeout=60):
        wait_for("every partition to have its copies", self.whole, timeout)

    def wait_led_by_others(self, node):
        def led():
            pages = [self.status(p) for p in self.cluster.nodes if p is not node]
            return all(pages) and sum(o["partitions_open"] for o in pages) == 16
        wait_for(f"others to lead what {node.name} led", led, 60)

    def check_acked(self, *writers):
        r, wrong = connect(self.cluster), []
        for w in writers:
            for key, n in w.acked.items():
                value = r.get(key)
                if value is None or not n <= int(value) <= w.tried[key]:
                    wrong.append(f"{key}: acknowledged {n}, sent {w.tried[key]}, read {value}")
        self.assertEqual(wrong[:10], [])

    def test_a_leader_is_killed(self):
        self.wait_whole()
        history = Recorder(os.path.join(self.dir, "history-kill"))
        ws = [Writers(self.cluster, prefix="load", require="replicated", history=history, tag="k").start(),
              Writers(self.cluster, prefix="dur", threads=2, require="durable", tag="k").start()]
        wait_for("writes", lambda: all(w.writes > 100 for w in ws))
        for victim in self.cluster.nodes[:2]:
            victim.kill()
            self.wait_led_by_others(victim)
            # one copy alone reaches no more than local: what does reach the level shows that the set is whole again
            victim.start()
            self.wait_whole()
            before = [w.writes for w in ws]
            wait_for("writes to go on", lambda: all(w.writes > b + 100 for w, b in zip(ws, before)))
        for w in ws:
            w.stop()
        history.close()
        self.check_acked(*ws)
        self.synced()
        check_history(self, self.cluster, ws)
        check_recorded(self, history.path)
        for w in ws:
            print(w.prefix, w.writes, "writes, slowest", round(w.slowest, 1), "s", w.errors, file=sys.stderr)


del ClusterTest
if __name__ == "__main__":
    base.main()
