"""The only copies of a cluster without backups move between its nodes while clients write.

Goal: a rebalance and a drain carry single copies over; nothing that was acknowledged is lost, what has moved survives kill -9 where
it is then, PostgreSQL has the last values, and a node with the only copies is not given up.
Method: forebayctl alone, under load from writers that remember and record; kill -9 of every node in the end.
"""

import base
from base import wait_for
from test_node_verbs import Verbs


class SingleCopies(Verbs):
    backups = 0
    settings = {"nodes": 2, "syncs": 2, "routers": 1}
    config = """
[cluster]
replicas = 0
partitions = 16
[namespace load]
sync_interval = 200ms
[namespace dur]
sync_interval = 200ms
"""

    def whole(self):
        pages = [self.status(p) for p in self.cluster.nodes]
        return (all(o is not None and o.get("state") == "serving" for o in pages) and sum(o["partitions_open"] for o in pages) == 16
                and all(o["partitions_backup"] == o["partitions_learner"] == 0 for o in pages))

    def objects(self):
        return [self.status(p)["objects"] for p in self.cluster.nodes]

    def test_single_copies_move(self):
        self.fresh_audit()
        self.wait_whole()
        ws = self.load("single", levels=("local", "local"))
        self.add_node()
        self.ctl("rebalance", "apply")
        now = self.run_status()
        self.assertEqual((now["state"], now["left_out"], now["done"]), ("done", 0, now["moves"]), now)
        self.assert_even((5, 6), (5, 6))
        self.go_on(ws)

        # everything to one node, and back
        self.ctl("node", "drain", "node-1")
        self.ctl("node", "drain", "node-2")
        self.assertEqual(self.copies(), ({"node-3": 16}, {"node-3": 16}))
        self.assertRegex(self.refused("node", "drain", "node-3", "-y"), "no node would be left to hold anything.*nothing was changed")
        self.go_on(ws)
        self.cluster.ctl("node", "undrain", "node-1")
        self.cluster.ctl("node", "undrain", "node-2")
        self.ctl("rebalance", "apply")
        self.assert_even((5, 6), (5, 6))
        self.go_on(ws)

        # what has moved is where it is said to be, and nowhere else, although the node that had it is killed before it gave it up
        for w in ws:
            w.stop()
        self.assert_sure(ws)
        self.synced()
        keys = int(self.pg.psql("select count(*) from forebay.objects")[0][0])
        self.ctl("node", "drain", "node-1")
        for p in self.cluster.nodes:
            p.kill()
        for p in self.cluster.nodes:
            p.start()
        self.wait_whole()
        self.assertGreater(sum(o["clean"] + o["dirty"] for o in self.objects()), keys)
        wait_for("the old copies to be dropped",
                 lambda: (sum(o["clean"] for o in self.objects()), sum(o["dirty"] for o in self.objects())) == (keys, 0))
        self.cluster.nodes[1].kill()
        wait_for("node-2 to be missed", lambda: self.missed("node-2"))
        for verb in (["remove", "node-2", "--force"], ["replace", "node-2", "node-3"]):
            self.assertRegex(self.refused("node", *verb, "-y"), r"\d+ partitions have all their copies on nodes that are gone; start")
        self.cluster.nodes[1].start()
        self.wait_whole()
        self.judge(ws)


if __name__ == "__main__":
    base.main()
