"""A coordinator directory that fails, is full or cannot be written: each program says what and where, nothing is damaged."""

import json
import os
import subprocess

from shim import Faults, base, ended, log_since, wait_for
from base import ClusterTest


class Coordinator(ClusterTest):
    settings = {"nodes": 1, "syncs": 1, "routers": 1}
    config = "[cluster]\nreplicas = 0\npartitions = 8\n[namespace plain]\nsync_interval = 1s\n"

    @classmethod
    def prepare(cls):
        cls.faults = {}
        for p in cls.cluster.processes():
            cls.faults[p.kind] = Faults(cls.dir, p.name)
            p.env = cls.faults[p.kind].env
        cls.faults["ctl"] = Faults(cls.dir, "ctl")
        cls.store = os.path.join(cls.dir, "coordinator")

    def ctl(self, *args):
        return subprocess.run([os.path.join(base.BIN, "forebayctl"), "--cluster", self.cluster.coordinator, *args],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60,
                              env={**os.environ, **self.faults["ctl"].env})

    def state(self):
        """The cluster's configuration; the processes' own keys change by themselves."""
        with open(os.path.join(self.store, "state"), "rb") as f:
            return json.load(f)["keys"]["config"]

    def works(self):
        wait_for("service", self.serves)
        self.assertEqual(self.cluster.ctl("config", "show").returncode, 0)

    def serves(self):
        try:
            return self.r.set("plain:x", "y")
        except Exception:
            return False

    def apply(self, ttl):
        path = os.path.join(self.dir, "new.conf")
        with open(path, "w") as f:
            f.write(self.config + f"ttl = {ttl}s\n")
        return self.ctl("config", "apply", path, "-y")

    def test_ctl_cannot_write(self):
        """Each step of a commit fails once: the store is as before, the message names the file and the reason."""
        for number, (rule, words) in enumerate([
                ("create */coordinator/state.tmp error=ENOSPC", ["state.tmp", "No space left"]),
                ("create */coordinator/state.tmp error=EROFS", ["state.tmp", "Read-only"]),
                ("create */coordinator/lock error=EROFS", ["lock", "Read-only"]),
                ("write */coordinator/state.tmp error=EIO", ["state.tmp", "Input/output error"]),
                ("write */coordinator/state.tmp error=ENOSPC skip=1", ["state.tmp", "No space left"]),
                ("fsync */coordinator/state.tmp error=EIO", ["state.tmp", "Input/output error"]),
                ("fsync */coordinator/state.tmp error=ENOSPC", ["state.tmp", "No space left"]),
                ("rename */coordinator/state error=EIO", ["state", "Input/output error"]),
                ("open */coordinator/state error=EIO", ["state", "Input/output error"]),
                ("open */coordinator/state error=EACCES", ["state", "Permission denied"]),
                ("read */coordinator/state error=EIO", ["state", "Input/output error"]),
                ("read */coordinator/state flip=5", ["state", "damaged"])]):
            with self.subTest(rule):
                before = self.state()
                self.faults["ctl"].set(rule)
                r = self.apply(100 + number)
                self.assertTrue(self.faults["ctl"].clear(), r)
                self.assertNotEqual(r.returncode, 0)
                self.assertGreater(r.returncode, 0, r)
                for word in words:
                    self.assertIn(word, r.stderr)
                self.assertIn(self.store, r.stderr)
                self.assertEqual(self.state(), before)
                # nothing is left; for a moment it may be another process's that commits
                wait_for("no state.tmp", lambda: not os.path.exists(os.path.join(self.store, "state.tmp")))
        self.assertEqual(self.apply(200).returncode, 0)
        self.works()

    def test_ctl_does_not_know(self):
        """The directory cannot be synced after the rename: it happened, whether for good is not known, and that is said."""
        self.faults["ctl"].set("fsync */coordinator error=EIO skip=1 times=1")
        before = self.state()
        r = self.apply(300)
        self.assertTrue(self.faults["ctl"].clear())
        self.assertNotEqual(r.returncode, 0)
        self.assertIn("Input/output error", r.stderr)
        self.assertIn(self.store, r.stderr)
        self.assertNotEqual(self.state(), before)
        self.assertIn("may", r.stderr)
        self.assertEqual(self.apply(301).returncode, 0)
        self.works()

    def test_short_writes_and_interruptions(self):
        self.faults["ctl"].set("write */coordinator/state.tmp short=7 times=20", "read */coordinator/state error=EINTR times=2")
        self.assertEqual(self.apply(400).returncode, 0)
        self.assertGreater(len(self.faults["ctl"].clear()), 10)
        self.works()

    def start_fails(self, process, rule, words):
        process.stop()
        at = os.path.getsize(process.log)
        before = self.state()
        self.faults[process.kind].set(rule)
        process.start()
        status = ended(process)
        self.assertTrue(self.faults[process.kind].clear(), log_since(process, at))
        text = log_since(process, at)
        lines = [x for x in text.splitlines() if "level=error" in x]
        self.assertEqual((status, len(lines)), (1, 1), text)
        for word in words:
            self.assertIn(word, lines[0])
        self.assertEqual(self.state(), before)
        process.start()
        self.cluster.wait_ready()

    def test_starts(self):
        for process in (self.cluster.nodes[0], self.cluster.syncs[0], self.cluster.routers[0]):
            for rule, words in [
                    ("open */coordinator/state error=EIO", ["state", "Input/output error"]),
                    ("read */coordinator/state flip=5", ["state", "damaged"])]:
                with self.subTest(f"{process.name} {rule}"):
                    self.start_fails(process, rule, words)
        for rule, words in [
                ("create */coordinator/state.tmp error=ENOSPC", ["state.tmp", "No space left"]),
                ("create */coordinator/lock error=EROFS", ["lock", "Read-only"]),
                ("create */coordinator/sessions/* error=EROFS", ["sessions/", "Read-only"]),
                ("pwrite */coordinator/sessions/* error=EIO", ["sessions/", "Input/output error"])]:
            with self.subTest(f"node {rule}"):
                self.start_fails(self.cluster.nodes[0], rule, words)
        self.works()

    def test_away_while_running(self):
        """Nobody needs the coordinator for requests: service goes on, and changes are seen once it is back."""
        for f in self.faults.values():
            f.set("open,create,read */coordinator/* error=EIO", "fsync */coordinator error=EIO")
        self.faults["ctl"].clear()
        self.assertEqual(self.cluster.ctl("config", "show").returncode, 0)
        path = os.path.join(self.dir, "new.conf")
        with open(path, "w") as f:
            f.write(self.config + "[namespace later]\nsync_interval = 1s\n")
        self.ctl("config", "apply", path, "-y", "--no-wait")
        for kind in ("node", "sync", "router"):
            self.faults[kind].wait_hit()
        for i in range(50):
            self.assertTrue(self.r.set(f"plain:{i}", i))
        for kind in ("node", "sync", "router"):
            self.faults[kind].clear()
        wait_for("the change to be seen", lambda: self.can("later:x"))
        for p in self.cluster.processes():
            self.assertTrue(p.alive())

    def can(self, key):
        try:
            return self.r.set(key, "1")
        except Exception:
            return False


if __name__ == "__main__":
    base.main()
