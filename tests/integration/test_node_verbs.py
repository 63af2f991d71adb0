"""Nodes are drained, let back in, replaced and removed while clients write.

Goal: node drain, undrain, replace and remove end with the copies where they say; nothing that was acknowledged is lost,
PostgreSQL has the last values, and what is refused changes nothing and says which node and why.
Method: forebayctl alone, under load from writers that remember and record; kill -9 of nodes that are then replaced or removed.
"""

import base
from base import wait_for
from test_rebalance import Moves


class Verbs(Moves):
    def ctl(self, *args):
        return self.cluster.ctl(*args, "-y", "--timeout", "60s")

    def unchanged(self, *args):
        self.assertIn("nothing to change", self.cluster.ctl(*args).stderr)
        self.assertEqual(self.cluster.ctl(*args, "--error-unchanged", check=False).returncode, 3)

    def names(self):
        return sorted(n["name"] for n in self.cluster.ctl_json("node", "list"))

    def missed(self, name):
        return f"{name} holds" in self.cluster.ctl("node", "remove", name, "-y", check=False).stderr

    def assert_empty(self, name):
        copies, leads = self.copies()
        self.assertNotIn(name, copies)
        self.assertNotIn(name, leads)

    def assert_even(self, copies_each, leads_each):
        copies, leads = self.copies()
        self.assertEqual(sum(copies.values()), 16 * (1 + self.backups))
        for name in self.names():
            self.assertIn(copies.get(name), copies_each, copies)
            self.assertIn(leads.get(name), leads_each, leads)


class Nodes(Verbs):
    def test_drain_undrain_replace_remove(self):
        self.fresh_audit()
        self.wait_whole()
        _, second, third = self.cluster.nodes
        before = self.copies()
        ws = self.load("verbs")

        # what is refused
        for verb in (["drain"], ["remove"], ["replace", "node-1"]):
            self.assertIn("no node node-9", self.refused("node", *verb, "node-9", "-y", rc=2))
        self.assertRegex(self.refused("node", "remove", "node-2", "-y"), "node-2 is running: drain it")
        self.assertRegex(self.refused("node", "remove", "node-2", "--force", "-y"), "node-2 is running")
        self.assertRegex(self.refused("node", "replace", "node-2", "node-2", "-y", rc=2), "by itself")
        self.cluster.ctl("node", "drain", "node-2", "--dry-run")
        self.unchanged("node", "undrain", "node-2")
        self.assertEqual(self.copies(), before)
        self.assertEqual(self.run_status(), {"state": "none"})

        # drained; then there is no place for the copies of another
        self.ctl("node", "drain", "node-2")
        self.assert_empty("node-2")
        self.unchanged("node", "drain", "node-2")
        self.assertRegex(self.refused("node", "replace", "node-1", "node-2", "-y"), "node-2 drains; forebayctl node undrain node-2")
        self.assertRegex(self.refused("node", "drain", "node-1", "-y"), "could keep 1.*add a node first.*nothing was changed")
        self.unchanged("node", "undrain", "node-1")  # the refusal left no mark
        self.go_on(ws)

        # let back in: nothing comes by itself, its share comes with a rebalance
        self.cluster.ctl("node", "undrain", "node-2")
        self.unchanged("node", "undrain", "node-2")
        self.assert_empty("node-2")
        self.ctl("rebalance", "apply")
        self.assert_even((10, 11), (5, 6))
        self.go_on(ws)

        # replaced while it runs, stopped, forgotten
        self.add_node()
        before = self.copies()
        self.ctl("node", "replace", "node-2", "node-4")
        after = self.copies()
        self.assertEqual([after[0].get(n) for n in ("node-1", "node-2", "node-3", "node-4")],
                         [before[0]["node-1"], None, before[0]["node-3"], before[0]["node-2"]])
        self.assertEqual(after[1]["node-4"], before[1]["node-2"])
        second.stop()
        self.ctl("node", "remove", "node-2")
        self.assertEqual(self.names(), ["node-1", "node-3", "node-4"])
        self.assertIn("no node node-2", self.refused("node", "remove", "node-2", "-y", rc=2))
        self.go_on(ws)
        self.assert_sure(ws)

        # replaced when it is lost
        third.kill()
        wait_for("node-3 to be missed", lambda: self.missed("node-3"))
        self.assertRegex(self.refused("node", "replace", "node-1", "node-3", "-y"), "node-3 is not running")
        self.assertRegex(self.refused("node", "remove", "node-3", "-y"), r"node-3 holds \d+ copies: .*--force")
        fifth = self.add_node()
        self.ctl("node", "replace", "node-3", "node-5")
        self.assert_empty("node-3")
        self.unchanged("node", "replace", "node-3", "node-5")  # known, down, and in no set any more
        self.cluster.nodes.remove(third)
        self.ctl("node", "remove", "node-3")
        self.go_on(ws)
        # all that it held is held again; how much of it by the fifth depends on what the others had made anew before that was there
        copies = self.copies()[0]
        self.assertGreater(copies["node-5"], 0)
        self.assertEqual(sum(copies.values()), 32, copies)

        # one that was forgotten joins again, and takes over from one that is removed by force
        second.start()
        wait_for("node-2 to be ready", second.ready)
        self.assertEqual(self.names(), ["node-1", "node-2", "node-4", "node-5"])
        fifth.kill()
        wait_for("node-5 to be missed", lambda: self.missed("node-5"))
        self.ctl("node", "remove", "node-5", "--force")
        self.cluster.nodes.remove(fifth)
        self.assertEqual(self.names(), ["node-1", "node-2", "node-4"])
        self.assert_empty("node-5")
        self.go_on(ws)
        self.judge(ws)


if __name__ == "__main__":
    base.main()
