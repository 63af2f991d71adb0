"""A data directory put back from an old copy: PostgreSQL is ahead of it, so the node serves nothing rather than old values."""

import os
import shutil

import base
from base import ClusterTest, connect, wait_for


class OldCopy(ClusterTest):
    settings = {"nodes": 1, "syncs": 1}
    config = "[cluster]\nreplicas = 0\n"

    def put(self, value):
        wait_for("a write", lambda: self.quietly("SET", "k", value))
        self.synced()

    def quietly(self, *command):
        try:
            return connect(self.cluster).execute_command(*command)
        except Exception:  # noqa: B902  not up yet
            return None

    def test_it_is_not_served(self):
        node = self.cluster.nodes[0]
        data, old = os.path.join(node.home, "data"), os.path.join(node.home, "old")
        self.put("old")
        self.assertEqual(node.stop(), 0)
        shutil.copytree(data, old)
        node.start()
        self.put("new")
        self.assertEqual(node.stop(), 0)
        shutil.rmtree(data)
        os.rename(old, data)
        node.start()
        wait_for("the node to notice", lambda: "PostgreSQL is ahead" in node.http("/readyz")[1])
        self.assertRegex(self.error("GET", "k"), "^CLUSTERDOWN")
        self.assertNotEqual(self.cluster.ctl("health", check=False).returncode, 0)
        self.assertEqual(self.pg.psql("select convert_from(value, 'utf8') from forebay.objects where id = 'k'"), [["new"]])
        # the cure: nothing is lost that had reached PostgreSQL
        self.assertEqual(node.stop(), 0)
        shutil.rmtree(data)
        node.argv.append("--node.accept_empty_data_dir=yes")
        node.start()
        wait_for("the value of PostgreSQL", lambda: self.quietly("GET", "k") == b"new")


if __name__ == "__main__":
    base.main()
