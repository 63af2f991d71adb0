"""Copies move between running nodes while clients write: a node is added, another is emptied, moves are cancelled and crash.

Goal: a rebalance ends as its plan says, or as it was before where it is cancelled; nothing that was acknowledged is lost, no read
is stale, and no partition is left with fewer copies or with one too many, whatever is killed on the way.
Method: three nodes with one backup under load from writers that remember and record; forebayctl alone; kill -9 of the node that
controls and of one that is being filled.
"""

import os
import time

import base
from base import wait_for
from test_replication import ThreeNodes


class Moves(ThreeNodes):
    """What the tests that move copies share."""

    def copies(self):
        """Copies by node, in sync; how many partitions are led there."""
        copies, leads = {}, {}
        for row in self.cluster.ctl_json("partition", "list"):
            leads[row["primary"]] = leads.get(row["primary"], 0) + 1
            names = row["in_sync"]
            for name in names.replace(",", " ").split() if isinstance(names, str) else names:
                copies[name] = copies.get(name, 0) + 1
        return copies, leads

    def run_status(self):
        return self.cluster.ctl_json("rebalance", "status")

    def wait_ended(self, timeout=60):
        wait_for("the rebalance to end", lambda: self.run_status()["ended"] is not None, timeout)
        return self.run_status()

    def add_node(self):
        p = self.cluster._process("node", len(self.cluster.nodes) + 1)
        self.cluster.nodes.append(p)
        self.cluster.write_config(p)
        p.start()
        wait_for(f"{p.name} to be ready", p.ready, 60)
        return p

    def carry_out(self, *args, again=None):
        """Runs the command, and `again` while something is left out, as it tells its user to: where the machine is slow a node may be
        taken for dead meanwhile, and what was planned of it is left out."""
        for _ in range(5):
            r = self.cluster.ctl(*args, "-y", "--timeout", "60s", check=False, timeout=90)
            if r.returncode == 0 or (again and r.returncode == 3):
                return
            self.assertRegex(r.stderr, "left out")
            self.wait_whole()
            args = again or args
        self.fail(r.stderr)

    def plan(self, *args):
        path = os.path.join(self.dir, f"plan-{time.monotonic_ns()}")
        self.cluster.ctl("rebalance", "plan", "--save", path, *args)
        return path

    def refused(self, *args, rc=5):
        r = self.cluster.ctl(*args, check=False)
        self.assertEqual(r.returncode, rc, r.stderr)
        return r.stderr


class Rebalance(Moves):
    def test_rebalance(self):
        self.fresh_audit()
        self.assertEqual(self.run_status(), {"state": "none"})
        ws = self.load("moves")

        # a fourth node takes its share
        fourth = self.add_node()
        path = self.plan()
        self.carry_out("rebalance", "apply", path, again=("rebalance", "apply", "--error-unchanged"))
        now = self.run_status()
        self.assertEqual((now["state"], now["waiting"], now["under_way"]), ("done", 0, 0), now)
        self.assertEqual(now["done"] + now["left_out"], now["moves"])
        even = {p.name: 8 for p in self.cluster.nodes}, {p.name: 4 for p in self.cluster.nodes}
        for _ in range(3):
            if self.copies() != even:  # an owner was slow and lost its lead meanwhile
                self.carry_out("rebalance", "apply", again=("rebalance", "apply", "--error-unchanged"))
        self.assertEqual(self.copies(), even)
        again = self.cluster.ctl("rebalance", "apply", "-y", "--error-unchanged", check=False)
        self.assertEqual(again.returncode, 3, again.stderr)
        self.assertRegex(self.refused("rebalance", "apply", path, "-y"), "make a new plan")
        self.go_on(ws)
        self.assert_sure(ws)

        # one that is cancelled: slow enough to be seen under way
        path = self.plan("--drain", "node-2")
        self.cluster.ctl("rebalance", "apply", path, "-y", "--no-wait", "--rate", "1B", "--parallel", "1")
        wait_for("a move to begin", lambda: self.run_status()["waiting"] < self.run_status()["moves"], 60)
        self.assertRegex(self.refused("rebalance", "apply", path, "-y"), "is running")
        self.cluster.ctl("rebalance", "pause")
        wait_for("it to pause", lambda: self.run_status()["state"] == "paused", 60)
        self.cluster.ctl("rebalance", "resume")
        self.assertEqual(self.run_status()["state"], "running")
        self.cluster.ctl("rebalance", "cancel")
        now = self.run_status()
        self.assertEqual(now["state"], "cancelled")
        self.assertGreater(now["cancelled"], 0)
        self.assertEqual(now["cancelled"] + now["done"] + now["left_out"], now["moves"])
        self.assertRegex(self.cluster.ctl("rebalance", "resume").stderr, "no rebalance is under way")
        self.go_on(ws)
        self.assert_sure(ws)

        # who controls dies on the way, and so does one that is being filled
        self.cluster.ctl("node", "drain", "node-2", "-y", "--no-wait", "--parallel", "1")
        wait_for("a move to begin", lambda: self.run_status()["waiting"] < self.run_status()["moves"], 60)
        self.cluster.nodes[0].kill()
        fourth.kill()
        self.cluster.nodes[0].start()
        fourth.start()
        now = self.wait_ended(120)
        self.assertEqual((now["state"], now["cancelled"]), ("done", 0), now)
        if now["left_out"]:  # what was to be moved had moved already because of the kills
            self.wait_whole()
            self.carry_out("node", "drain", "node-2")
        copies, leads = self.copies()
        self.assertNotIn("node-2", copies)
        self.assertNotIn("node-2", leads)
        self.go_on(ws)
        report = self.cluster.ctl_json("rebalance", "report")
        self.assertEqual(len(report["move_list"]), report["moves"])
        self.judge(ws)


del ThreeNodes
if __name__ == "__main__":
    base.main()
