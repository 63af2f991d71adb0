"""Three nodes and a second copy of each partition: what is acknowledged outlives any one of them.

Goal: no write acknowledged at level replicated is lost when the node that leads its partition is killed or stopped, reads stay
linearizable, the cluster heals itself when the node is back, and PostgreSQL gets all of it.
Method: writers that remember what they were promised and record a history, which is checked; kill -9, SIGSTOP, restarts.
"""

import json
import os
import re
import shutil
import signal
import sys
import time

import redis

import base
from base import ClusterTest, connect, wait_for
from load import AUDIT, Recorder, Writers, check_history, check_recorded


class ThreeNodes(ClusterTest):
    backups = 1
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
        return (sum(o["partitions_open"] for o in pages) == 16 and sum(o["partitions_backup"] for o in pages) == 16 * self.backups
                and sum(o["partitions_learner"] for o in pages) == 0
                and all(o["partitions_under_replicated"] == 0 for o in pages))

    def wait_whole(self, timeout=60):
        wait_for("every partition to have its copies", self.whole, timeout)

    def wait_led_by_others(self, node, timeout=60):
        def led():
            pages = [self.status(p) for p in self.cluster.nodes if p is not node]
            return all(pages) and sum(o["partitions_open"] for o in pages) == 16
        wait_for(f"others to lead what {node.name} led", led, timeout)

    def synced(self, timeout=60):
        def flushed():
            r = self.cluster.ctl("sync", "flush", check=False)
            self.assertIn(r.returncode, (0, 4, 6), r.stderr) # a node is asked that ends, or it takes long
            return r.returncode == 0
        wait_for("a flush", flushed, timeout)
        self.cluster.wait_synced(timeout)

    def check_acked(self, *writers):
        r, wrong = connect(self.cluster), []
        for w in writers:
            for key, n in w.acked.items():
                value = base.read(key, lambda: r.get(key))
                if value is None or not n <= int(value) <= w.tried[key]:
                    wrong.append(f"{key}: acknowledged {n}, sent {w.tried[key]}, read {value}")
        self.assertEqual(wrong[:10], [])

    def load(self, tag, levels=("replicated", "durable")):
        self.history = Recorder(os.path.join(self.dir, f"history-{tag}"))
        ws = [Writers(self.cluster, prefix="load", require=levels[0], history=self.history, tag=tag).start(),
              Writers(self.cluster, prefix="dur", threads=2, require=levels[1], tag=tag).start()]
        self.addCleanup(lambda: [w.stopping.set() for w in ws])
        wait_for("writes", lambda: all(w.writes > 100 for w in ws), 60)
        return ws

    def go_on(self, ws):
        # one copy alone reaches no more than local: what does reach the level shows that the set is whole again
        self.wait_whole()
        before = [w.writes for w in ws]
        wait_for("writes to go on", lambda: all(w.writes > b + 100 for w, b in zip(ws, before)), 60)

    def assert_sure(self, ws):
        """Nothing was killed so far: whoever leads hands over first, so that a move is a short pause and no outcome is unknown."""
        self.assertEqual([w.errors for w in ws], [{}] * len(ws), [sorted(w.texts) for w in ws])

    def judge(self, ws):
        """Everything that was promised is there, in order, in memory and in PostgreSQL."""
        for w in ws:
            w.stop()
            print(w.prefix, w.writes, "writes, slowest", round(w.slowest, 1), "s", w.errors, file=sys.stderr)
        self.history.close()
        self.check_acked(*ws)
        self.synced()
        check_history(self, self.cluster, ws)
        check_recorded(self, self.history.path)

    def fresh_audit(self):
        self.pg.script("drop table if exists audit cascade; drop function if exists audit cascade;" + AUDIT)


class Replication(ThreeNodes):
    def setUp(self):
        self.fresh_audit()
        for p in self.cluster.nodes:
            if not p.alive():
                p.start()
        self.wait_whole()

    def test_a_leader_is_killed(self):
        ws = self.load("kill")
        for victim in self.cluster.nodes[:2]:
            victim.kill()
            self.wait_led_by_others(victim)
            few = self.cluster.ctl_json("partition", "list", "--under-replicated")
            self.assertTrue(few)
            self.assertTrue(all(row["copies"] == 1 and row["state"] == "open" for row in few), few)
            self.assertRegex(self.cluster.ctl("health").stdout, "fewer copies in sync")
            victim.start()
            self.go_on(ws)
            self.assertEqual(self.cluster.ctl_json("partition", "list", "--under-replicated"), [])
        self.judge(ws)

    def test_another_leads_on_command(self):
        """A planned hand-over is a pause of moments, and no outcome is unknown."""
        ws = self.load("plan")
        node, other = self.cluster.nodes[:2]
        plan = self.cluster.ctl_json("failover", "plan", "--node", node.name)
        moved = [row for row in plan if row["next"] == other.name]
        self.assertTrue(moved, plan)
        for row in moved:
            self.cluster.ctl("failover", str(row["partition"]), "--to", other.name, "-y")
            now = self.cluster.ctl_json("partition", "describe", str(row["partition"]))
            self.assertEqual(now["primary"], other.name)
            self.assertTrue(now["on_node"]["open"])
        third = self.cluster.nodes[2].name
        outside = next(r for r in self.cluster.ctl_json("partition", "list") if third not in r["in_sync"])
        refused = self.cluster.ctl("failover", str(outside["partition"]), "--to", third, "-y", check=False)
        self.assertEqual(refused.returncode, 5, refused.stderr)
        again = self.cluster.ctl("failover", str(moved[0]["partition"]), "--to", other.name, "-y", "--error-unchanged", check=False)
        self.assertEqual(again.returncode, 3, again.stderr)
        self.go_on(ws)
        self.assert_sure(ws)
        self.judge(ws)
        for w in ws:
            self.assertLess(w.slowest, 3)

    def test_wait(self):
        """WAIT counts the copies that have what the connection wrote; with one away it says so when its time is over."""
        r = connect(self.cluster, single_connection_client=True)
        self.assertEqual(r.execute_command("WAIT", 0, 0), 1)  # it wrote nothing: all have that
        keys = [f"load:wait{i}" for i in range(64)]  # in every partition
        for key in keys:
            r.set(key, 1)
        self.assertEqual(r.execute_command("WAIT", 0, 0), 1)
        self.assertEqual(r.execute_command("WAIT", 1, 0), 1)
        began = time.monotonic()
        self.assertEqual(r.execute_command("WAIT", 2, 300), 1)
        self.assertTrue(0.3 <= time.monotonic() - began < 2)
        p = r.pipeline(transaction=False)
        for key in keys:
            p.set(key, 2)
        self.assertEqual(p.execute_command("WAIT", 1, 5000).execute()[-1], 1)
        self.assertEqual(r.execute_command("WAITAOF", 1, 1, 5000), [1, 1])
        self.assertEqual(r.execute_command("WAITAOF", 0, 2, 300)[1], 1)
        first = self.cluster.nodes[0]
        first.kill()
        self.wait_led_by_others(first)
        for key in keys:
            r.set(key, 3)
        self.assertEqual(r.execute_command("WAIT", 1, 300), 0)
        first.start()
        self.assertEqual(r.execute_command("WAIT", 1, 60000), 1)  # until the copies are made again
        self.assertEqual(r.execute_command("WAITAOF", 1, 1, 10000), [1, 1])

    def lag(self, peer):
        """Bytes that the other nodes wait for a node to write; None: they do not tell."""
        found = [re.search(rf'^forebay_replication_lag_bytes{{peer="{peer.name}"}} (\S+)$', p.http("/metrics")[1], re.M)
                 for p in self.cluster.nodes if p is not peer]
        return sum(float(f.group(1)) for f in found) if all(found) else None

    def ack_seconds(self):
        """For how long the copies in sync were waited for, on average."""
        text = "\n".join(p.http("/metrics")[1] for p in self.cluster.nodes)
        total, count = (sum(float(v) for v in re.findall(rf"^forebay_replication_ack_duration_seconds_{what} (\S+)$", text, re.M))
                        for what in ("sum", "count"))
        return total / count

    def lag_of_stopped(self, node):
        """Until it is out of the sets, which is soon: was there any?"""
        node.kill(signal.SIGSTOP)
        deadline, lags = time.monotonic() + 2, []
        try:
            while time.monotonic() < deadline and not any(lags):
                lags.append(self.lag(node))
            wait_for("it to be out of the sets", lambda: self.lag(node) == 0, 30)
        finally:
            node.kill(signal.SIGCONT)
        self.wait_whole()
        return any(lags)

    def test_lag(self):
        """What a copy in sync has not written is counted until it has, or leaves the set."""
        ws = self.load("lag")
        slow = max(self.cluster.nodes, key=lambda p: self.status(p)["partitions_backup"])
        wait_for("copies that lag to be told of", lambda: self.lag(slow) is not None, 10)
        self.assertTrue(0 < self.ack_seconds() < 30)
        self.assertTrue(any(self.lag_of_stopped(slow) for _ in range(5)))  # it may be missed where all is slow
        self.go_on(ws)
        self.judge(ws)

    def test_a_leader_stands_still(self):
        """It wakes up believing that it leads: whoever asks it then must not be told what is old."""
        ws = self.load("pause")
        for victim in self.cluster.nodes[1:]:
            self.assertGreater(self.status(victim)["partitions_open"] + self.status(victim)["partitions_backup"], 0)
            victim.kill(signal.SIGSTOP)
            self.wait_led_by_others(victim)
            victim.kill(signal.SIGCONT)
            self.go_on(ws)
        self.judge(ws)

    def test_all_are_killed_at_once(self):
        """No process of any set lives: each waits for all of its nodes, and the one with the most leads."""
        ws = self.load("all")
        for p in self.cluster.nodes:
            p.kill()
        for p in self.cluster.nodes:
            p.start()
        self.go_on(ws)
        self.judge(ws)

    def test_a_disk_is_lost(self):
        """An empty directory is filled by those that have the rest, and is then as good as the one before."""
        ws = self.load("disk")
        first, second = self.cluster.nodes[:2]
        first.kill()
        shutil.rmtree(os.path.join(first.home, "data"))
        first.start()
        self.go_on(ws)
        second.kill()
        self.wait_led_by_others(second)
        second.start()
        self.go_on(ws)
        self.judge(ws)

    def test_a_level_that_cannot_be_reached(self):
        """With one copy left what asks for more is refused and changes nothing; what does not is answered as it is."""
        r, strict = connect(self.cluster), connect(self.cluster, single_connection_client=True)
        strict.execute_command("FB.REQUIRE", "replicated")
        keys = [f"load:level{i}" for i in range(64)]  # in every partition
        for key in keys:
            strict.set(key, 1)
        for p in self.cluster.nodes[1:]:
            p.kill()
        only = self.cluster.nodes[0]
        wait_for("the one that is left to be alone", lambda: self.status(only)["partitions_under_replicated"] > 0)
        refused = set()
        deadline = time.monotonic() + 60
        while not refused and time.monotonic() < deadline:
            for key in keys:
                try:
                    strict.set(key, 2)
                except redis.ResponseError as e:
                    if str(e).startswith("NOREPLICAS"):
                        refused.add(key)
                except redis.RedisError:
                    strict.execute_command("FB.REQUIRE", "replicated")
        self.assertTrue(refused)
        for key in refused:
            self.assertEqual(r.get(key), b"1")
            self.assertTrue(r.set(key, 3))
        for p in self.cluster.nodes[1:]:
            p.start()
        self.wait_whole()
        for key in refused:
            self.assertEqual(r.get(key), b"3")
            self.assertTrue(strict.set(key, 4))


class RollingRestart(ThreeNodes):
    """Every node is stopped and started, one after the other, while clients work: none of them is told anything but success."""

    def rolling_restart(self, *ws):
        for p in self.cluster.nodes:
            led = self.status(p)["partitions_open"]
            self.assertGreater(led + self.status(p)["partitions_backup"], 0)
            began = time.monotonic()
            self.assertEqual(p.stop(), 0)
            print(f"{p.name} led {led}, stopped in {time.monotonic() - began:.2f} s", file=sys.stderr)
            self.assertLess(time.monotonic() - began, 15)
            self.wait_led_by_others(p, 2)
            p.start()
            self.go_on(ws)
        self.judge(ws)
        print("longest request", round(max(w.slowest for w in ws), 2), "s", file=sys.stderr)
        for w in ws:
            self.assertEqual((w.errors, w.texts), ({}, set()))
            self.assertLess(w.slowest, 4)

    def test_clients_see_nothing(self):
        """With one backup: while a node is away its partitions have one copy, and level replicated is not asked for."""
        self.fresh_audit()
        self.wait_whole()
        self.rolling_restart(*self.load("roll", (None, None)))

    def test_nobody_can_take_over(self):
        """A node whose partitions nobody else can lead ends soon all the same."""
        self.wait_whole()
        first, *others = self.cluster.nodes
        for p in others:
            p.kill()
        began = time.monotonic()
        self.assertEqual(first.stop(), 0)
        self.assertLess(time.monotonic() - began, 10)
        for p in self.cluster.nodes:
            p.start()
        self.wait_whole()


class RollingRestartOfThreeCopies(RollingRestart):
    """With two backups a node may be away and every level is still reached."""

    backups = 2
    config = ThreeNodes.config.replace("replicas = 1", "replicas = 2") + """
[namespace db]
sync_interval = 200ms
durability = database
"""
    test_nobody_can_take_over = None

    def test_clients_see_nothing(self):
        self.fresh_audit()
        self.wait_whole()
        db = Writers(self.cluster, prefix="db", threads=2, require="database", tag="roll").start()
        self.addCleanup(db.stopping.set)
        self.rolling_restart(*self.load("roll"), db)


class MoreCopies(ThreeNodes):
    """replicas = 0 becomes 1 while clients write: then what is acknowledged survives a node, too."""

    config = ThreeNodes.config.replace("replicas = 1", "replicas = 0")

    def test_more_copies(self):
        self.fresh_audit()
        ws = self.load("more")
        self.assertEqual(sum(self.status(p)["partitions_open"] for p in self.cluster.nodes), 16)
        self.cluster.apply(self.config.replace("replicas = 0", "replicas = 1"))
        self.wait_whole()
        wait_for("level replicated to need two",
                 lambda: all(row["min_isr"] == 2 for row in self.cluster.ctl_json("partition", "list")))
        self.go_on(ws)
        victim = self.cluster.nodes[1]
        victim.kill()
        self.wait_led_by_others(victim)
        victim.start()
        self.go_on(ws)
        self.judge(ws)


del ClusterTest
if __name__ == "__main__":
    base.main()
