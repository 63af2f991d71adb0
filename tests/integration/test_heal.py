"""A node is gone for good: after heal_after its copies are made on the others, by nobody's command.

Goal: every partition has as many copies as wanted again although the node never comes back, nothing acknowledged is lost on the way; where
healing is off the node is waited for, and gets what it missed when it is back.
Method: three nodes with one backup under load; kill -9; the cluster file changed while all runs.
"""

import base
from base import wait_for
from test_rebalance import Moves


class Heal(Moves):
    config = Moves.config.replace("[cluster]\n", "[cluster]\nheal_after = 2s\n")

    def few(self):
        return self.cluster.ctl_json("partition", "list", "--under-replicated")

    def test_copies_are_made_elsewhere(self):
        self.fresh_audit()
        self.wait_whole()
        ws = self.load("heal")
        first, second, third = self.cluster.nodes
        third.kill()
        self.wait_led_by_others(third)
        wait_for("the copies to be made on the others", lambda: not self.few(), 60)
        self.assertEqual(self.copies()[0], {"node-1": 16, "node-2": 16})
        # where healing is off the copies of one that is gone stay few, though another node has room
        self.cluster.apply(self.config.replace("heal_after = 2s", "heal_after = off"))
        third.start()
        wait_for("the third to be ready", third.ready)
        second.kill()
        wait_for("the second's to be led by others", lambda: sum(self.status(p)["partitions_open"] for p in (first, third)) == 16, 60)
        with self.assertRaises(base.Failure):  # three times what healed the third's
            wait_for("copies that nobody is to make", lambda: not self.few(), 6)
        second.start()
        wait_for("the second to have what it missed", lambda: not self.few(), 60)
        self.go_on(ws)
        self.judge(ws)


del Moves
if __name__ == "__main__":
    base.main()
