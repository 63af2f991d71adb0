"""Clusters whose threads a test can hold: each process runs with preload/stall.c, which stops a thread while a file exists."""

import os
import sys

import base
from base import ClusterTest

PRELOAD = None


class StallTest(ClusterTest):
    environment = {}

    @classmethod
    def setUpClass(cls):
        super_start = base.Cluster.start

        def start(cluster, *a, **kw):
            for p in cluster.processes():
                p.stalls = os.path.join(cluster.dir, p.name + ".stall")
                os.makedirs(p.stalls)
                p.env = {"LD_PRELOAD": PRELOAD, "FB_STALL_DIR": p.stalls, **cls.environment,
                         "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"}
            return super_start(cluster, *a, **kw)
        base.Cluster.start = start
        try:
            super().setUpClass()
        finally:
            base.Cluster.start = super_start

    def hold(self, p, name):
        """Holds the thread `name` (or everybody in a call of that name) of p until the file that this returns is removed."""
        path = os.path.join(p.stalls, name)
        with open(path, "w"):
            pass
        self.addCleanup(lambda: os.path.exists(path) and os.remove(path))
        return path


def main():
    global PRELOAD
    i = sys.argv.index("--preload")
    sys.modules["stall"].PRELOAD = PRELOAD = os.path.abspath(sys.argv[i + 1])
    del sys.argv[i:i + 2]
    base.main()
