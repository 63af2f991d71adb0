"""What integration tests share: a cluster per test class, its own directory, cleaned up whatever happens."""

import argparse
import atexit
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools", "lib"))
sys.dont_write_bytecode = True
from cluster import Cluster, Failure, free_port, wait_for  # noqa: E402,F401

import redis  # noqa: E402

BIN = None
RUNNING = []  # clusters that are not stopped yet: whatever ends the test ends them


def _end_everything():
    for c in RUNNING:
        for p in c.processes():
            p.kill()
        if c.etcd:
            c.etcd.kill()
        if c.pg:
            try:
                c.pg.stop("immediate")
            except Failure:
                pass
        if not os.environ.get("FB_TEST_KEEP"):
            c.remove()


atexit.register(_end_everything)


def connect(cluster, router=0, **kw):
    kw.setdefault("socket_timeout", 30)
    kw.setdefault("protocol", 2) if hasattr(redis.connection, "DEFAULT_RESP_VERSION") else None
    return redis.Redis(host=cluster.routers[router].host, port=cluster.routers[router].port, **kw)


def read(what, command, timeout=30):
    """What a read is answered in the end: on a slow machine a partition may be changing hands."""
    def answer():
        try:
            return [command()]
        except redis.RedisError:
            return None
    return wait_for(f"an answer about {what}", answer, timeout)[0]


class ClusterTest(unittest.TestCase):
    """Override `settings` (arguments of Cluster), `config` (cluster.conf) and `tables` (SQL)."""

    settings = {}
    config = ""
    tables = ""

    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="fb-", dir="/tmp")
        settings = {"nodes": 1, "syncs": 1, "coordinator": os.environ.get("FB_TEST_COORDINATOR", "file"), **cls.settings}
        # two writers even on two cores, so that requests are handed from one to the other
        settings["node_options"] = {"threads": 2, **settings.get("node_options", {})}
        cls.cluster = Cluster(cls.dir, BIN, config=cls.config, **settings)
        RUNNING.append(cls.cluster)
        cls.prepare()
        try:
            cls.cluster.start(cls.tables)
        except BaseException:
            cls._end(failed=True)
            raise
        cls.pg = cls.cluster.pg
        cls.r = connect(cls.cluster)

    @classmethod
    def prepare(cls):
        """Before anything of cls.cluster is started: the place to change a process's environment."""

    @classmethod
    def tearDownClass(cls):
        problems = cls._end(failed=False)
        if problems:
            raise AssertionError("processes ended badly:\n" + "\n".join(problems))

    @classmethod
    def _end(cls, failed):
        problems = cls.cluster.stop()
        for p in cls.cluster.processes():
            if failed or problems or os.environ.get("FB_TEST_LOGS"):
                print(f"--- {p.name}\n{p.tail(40)}", file=sys.stderr)
        if not os.environ.get("FB_TEST_KEEP"):
            shutil.rmtree(cls.dir, ignore_errors=True)
        RUNNING.remove(cls.cluster)
        return problems

    def error(self, *command):
        """The error text a command answers with."""
        with self.assertRaises(redis.ResponseError) as c:
            self.r.execute_command(*command)
        return str(c.exception)

    def synced(self, timeout=60):
        self.cluster.ctl("sync", "flush")
        self.cluster.wait_synced(timeout)


class Background:
    """Runs fn(stop_event) in a thread; the error it ended with is raised on join."""

    def __init__(self, fn):
        self.stop_event = threading.Event()
        self.error = None
        self.fn = fn
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            self.fn(self.stop_event)
        except BaseException as e:  # noqa: B036
            self.error = e

    def stop(self):
        self.stop_event.set()
        self.thread.join(60)
        if self.error:
            raise self.error


def main():
    global BIN
    p = argparse.ArgumentParser(add_help=False)
    p.add_argument("--bin", default=os.path.join(ROOT, ".build", "dev", "bin"))
    a, rest = p.parse_known_args()
    BIN = os.path.abspath(a.bin)
    sys.modules["base"].BIN = BIN
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM") if not RUNNING else (_end_everything(), os._exit(143)))
    unittest.main(module="__main__", argv=[sys.argv[0], "-v", *rest])
