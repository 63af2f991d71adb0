"""A node whose disk fails, fills up or is slow: one line and an end or service, nothing acknowledged is lost, and it says
which file cannot be read."""

import glob
import json
import os
import signal
import threading
import time

from shim import Disk, Faults, base, ended, log_since, wait_for
from base import ClusterTest, connect
from load import Writers

LOG = "*/data/log/*.seg"


class Node(ClusterTest):
    settings = {"nodes": 1, "syncs": 1, "node_options": {"segment_bytes": "64KiB", "snapshot_interval": "1h"}}
    config = """
[cluster]
replicas = 0
partitions = 8
[namespace durable]
durability = durable
sync_interval = 1h
[namespace plain]
sync_interval = 1h
"""

    @classmethod
    def prepare(cls):
        cls.node = cls.cluster.nodes[0]
        cls.faults = Faults(cls.dir, "node-1")
        cls.disk = Disk(cls.dir, cls.faults)
        cls.cluster.options["node"]["data_dir"] = os.path.join(cls.disk.root, "data")
        cls.node.env = cls.faults.env

    def begin(self):
        self.log_at = os.path.getsize(self.node.log)
        self.writers = Writers(self.cluster, threads=3, prefix="durable", timeout=10).start()
        goal = self.writers.writes + 30
        wait_for("writes", lambda: self.writers.failure or self.writers.writes >= goal)

    def check_acked(self):
        wait_for("service", lambda: self.alive_get("durable:none"))
        wrong = []
        for key, n in self.writers.acked.items():
            value = self.r.get(key)
            if value is None or not n <= int(value) <= self.writers.tried[key]:
                wrong.append(f"{key}: acknowledged {n}, tried {self.writers.tried[key]}, is {value}")
        self.assertEqual(wrong, [])

    def alive_get(self, key):
        try:
            self.r.get(key)
            return True
        except Exception:
            return False

    def storage_failure(self, rule, words):
        """The fault ends the process with one line; then the machine loses all that was not synced; the node starts by
        itself and has everything that it acknowledged."""
        self.begin()
        self.faults.set(rule)
        status = ended(self.node)
        hits = self.faults.clear()
        self.assertEqual(len(hits), 1, hits)
        self.assertEqual(status, -signal.SIGABRT)
        text = log_since(self.node, self.log_at)
        lines = [x for x in text.splitlines() if "level=error" in x]
        self.assertEqual(len(lines), 1, text[-3000:])
        for word in words:
            self.assertIn(word, lines[0])
        time_of_end = time.monotonic()
        wait_for("the writers to notice", lambda: self.writers.errors or time.monotonic() - time_of_end > 20)
        # What was acknowledged at the last moment may still be on its way to the writers; wrongly acknowledged would be
        # what the cut takes away, which check_acked sees.
        self.disk.cut(seed=1, lose=1.0)
        self.node.start()
        self.cluster.wait_ready()
        goal = self.writers.writes + 20
        wait_for("writes to go on", lambda: self.writers.failure or self.writers.writes >= goal)
        self.writers.stop()
        self.check_acked()

    def test_fsync_eio(self):
        self.storage_failure(f"fdatasync {LOG} error=EIO times=1", ["operation=fdatasync", "errno=5", ".seg"])

    def test_fsync_enospc(self):
        self.storage_failure(f"fdatasync {LOG} error=ENOSPC times=1", ["operation=fdatasync", "errno=28", ".seg"])

    def test_write_eio(self):
        self.storage_failure(f"pwritev {LOG} error=EIO times=1", ["operation=write", "errno=5", ".seg"])

    def test_directory_fsync_eio(self):
        self.storage_failure("fsync */data/log error=EIO times=1", ["operation=\"fsync of the directory\"", "errno=5"])

    def service_goes_on(self, rule, count):
        self.begin()
        self.faults.set(rule)
        wait_for("the fault", lambda: len(self.faults.hits()) >= count or self.writers.failure)
        goal = self.writers.writes + 30
        wait_for("writes to go on", lambda: self.writers.failure or self.writers.writes >= goal)
        self.assertTrue(self.node.alive())
        self.faults.clear()
        self.writers.stop()
        self.assertEqual(self.writers.errors, {}, self.writers.texts)
        self.node.kill()
        self.disk.cut(seed=2, lose=1.0)
        self.node.start()
        self.cluster.wait_ready()
        self.check_acked()
        return log_since(self.node, self.log_at)

    def test_write_full_once(self):
        self.service_goes_on(f"pwritev {LOG} error=ENOSPC times=1", 1)

    def test_short_write_once(self):
        self.service_goes_on(f"pwritev {LOG} short=50 times=1", 1)

    def test_killed_before_a_short_write_is_sealed(self):
        """A batch that fitted in part went to the next segment, and a kill comes before the footer hides that part."""
        self.faults.set(f"pwritev {LOG} short=50 times=2", f"pwrite {LOG} skip=1 delay=60000")
        written = {}

        def seal_begun():
            key = f"plain:short-{len(written)}"
            self.r.set(key, "x" * 100)
            written[key] = b"x" * 100
            return [x for x in self.faults.hits() if " pwrite " in x]
        wait_for("the footer to be written", seal_begun)
        self.node.kill()
        self.assertEqual(len(self.faults.clear()), 3)
        self.node.start()
        self.cluster.wait_ready()
        self.assertEqual({k: self.r.get(k) for k in written}, written)

    def test_interrupted(self):
        self.service_goes_on(f"pwritev,pwrite,fallocate {LOG} error=EINTR times=3", 3)

    def test_no_room_for_a_segment(self):
        self.service_goes_on(f"fallocate {LOG} error=ENOSPC times=1", 1)

    def test_full_for_good(self):
        """Full, and the reserve used up: an end with a line that says what to do, nothing acknowledged is lost."""
        self.begin()
        self.faults.set(f"pwritev,fallocate {LOG} error=ENOSPC")
        self.assertEqual(ended(self.node), -signal.SIGABRT)
        self.assertIn("free disk space", log_since(self.node, self.log_at))
        self.faults.set("fallocate * error=ENOSPC")  # and it does not start as long as the disk is full
        self.node.start()
        self.assertEqual(ended(self.node), 1)
        self.assertIn("no room", log_since(self.node, self.log_at))
        self.faults.clear()
        self.disk.cut(seed=3, lose=1.0)
        self.node.start()
        self.cluster.wait_ready()
        self.writers.stop()
        self.check_acked()

    def test_slow_fsync(self):
        """What needs no sync does not wait for one."""
        self.r.set("durable:slow", "before")
        self.r.set("plain:slow", "before")
        self.faults.set(f"fdatasync {LOG} delay=1500")
        done = threading.Event()

        def durable():
            connect(self.cluster).set("durable:slow", "after")
            done.set()
        thread = threading.Thread(target=durable)
        thread.start()
        self.faults.wait_hit()
        plain = 0
        while not done.is_set():
            self.r.set("plain:slow", str(plain))
            self.assertEqual(self.r.get("plain:slow"), str(plain).encode())
            plain += 1
        thread.join()
        self.faults.clear()
        self.assertGreater(plain, 20)
        self.assertEqual(self.r.get("durable:slow"), b"after")

    def refused_start(self, rule, *words):
        """The start ends with status 1 and one error that has the words; nothing is changed."""
        before = self.files()
        at = os.path.getsize(self.node.log)
        self.faults.set(rule)
        self.node.start()
        self.assertEqual(ended(self.node), 1)
        self.assertTrue(self.faults.clear())
        lines = [x for x in log_since(self.node, at).splitlines() if "level=error" in x]
        self.assertEqual(len(lines), 1, lines)
        for word in words:
            self.assertIn(word, lines[0])
        self.assertEqual(self.files(), before)

    def refuses(self, rule, *words):
        """Without the fault it starts."""
        self.begin()
        self.writers.stop()
        self.node.kill()
        self.refused_start(rule, *words)
        self.node.start()
        self.cluster.wait_ready()
        self.check_acked()

    def files(self):
        result = {}
        for path in glob.glob(os.path.join(self.disk.root, "data", "*", "*")):
            with open(path, "rb") as f:
                result[path] = f.read()
        return result

    def test_read_eio(self):
        self.refuses(f"read {LOG} error=EIO times=1", ".seg", "Input/output error")

    def test_read_eio_of_the_marks(self):
        self.refuses("read */log/synced error=EIO", "synced", "Input/output error")

    def test_bit_flip_in_the_log(self):
        self.refuses(f"read {LOG} flip=130", ".seg", "corrupt", "offset")

    def test_bit_flip_in_the_identity(self):
        self.refuses("read */data/IDENTITY flip=90", "IDENTITY", "damaged")

    def test_snapshot_full(self):
        """Full while one is written: it is given up, the log is kept, the next one works."""
        self.begin()
        self.writers.stop()
        self.faults.set("pwrite */snapshot/*.tmp error=ENOSPC times=1")
        r = self.cluster.ctl("snapshot", "create", check=False)
        self.assertNotEqual(r.returncode, 0)
        self.assertIn(".snap.tmp: No space left on device", r.stderr)
        self.assertIn("snapshot failed", log_since(self.node, self.log_at))
        self.assertEqual(len(self.faults.clear()), 1)
        self.snapshot_round()
        self.node.kill()
        self.disk.cut(seed=4, lose=1.0)
        self.node.start()
        self.cluster.wait_ready()
        self.check_acked()

    def test_snapshot_unreadable(self):
        """EIO: refused by name. Damaged: the one before is taken. When there is no other and the log does not go back that
        far, the start is refused: what only the snapshots had must not be missed silently."""
        self.r.set("plain:old", "of the snapshots alone")
        self.node.kill()
        self.node.start()
        self.cluster.wait_ready()
        self.begin()
        self.writers.stop()
        part = self.partition("plain:old")
        other = next(k for k in (f"plain:{i}" for i in range(1000))
                     if self.partition(k) != part and self.partition(k) % 2 == part % 2)
        for _ in range(2):
            for _ in range(20):  # rolls the log of that thread, so that it can be trimmed
                self.r.set(other, "x" * 10000)
            self.snapshot_round()
            self.snapshot_round()
        newest = sorted(glob.glob(os.path.join(self.disk.root, "data", "snapshot", f"{part:04d}-*.snap")))[-1]
        self.node.kill()
        self.refused_start("read */snapshot/*.snap error=EIO", ".snap", "Input/output error")
        self.refused_start(f"read */snapshot/{part:04d}-*.snap flip=140", f"{part:04d}-", "damaged", "neither")
        self.faults.set(f"read {newest} flip=140")
        self.node.start()
        self.cluster.wait_ready()
        self.assertTrue(self.faults.clear())
        self.assertIn("snapshot is damaged, taking the one before it", log_since(self.node, self.log_at))
        self.assertEqual(self.r.get("plain:old"), b"of the snapshots alone")
        self.check_acked()

    def partition(self, key):
        return self.cluster.ctl_json("key", "locate", key)["partition"]

    def snapshot_round(self):
        def rounds():
            o = json.loads(self.node.http("/statusz")[1])
            return o.get("status", o)["snapshot"]["rounds"]
        before = rounds()
        self.cluster.ctl("snapshot", "create")
        wait_for("snapshots", lambda: rounds() > before)


if __name__ == "__main__":
    base.main()
