"""Goal: a slow command is logged once at the router with the hop that made it slow, whichever that is, without its key; SLOWLOG keeps the
newest ones and answers as Redis does; a fast command is not logged. Method: real processes; one hop after the other is held for half a
second by a preloaded library, a signal or a lock in PostgreSQL."""

import os
import re
import signal
import subprocess
import threading
import time

import redis

import stall
from base import Background, connect, wait_for
from stall import StallTest

HOPS = ("router_us", "network_us", "node_queue_us", "node_work_us", "wait_us", "unanswered_us")
HELD = 0.6


class Slow(StallTest):
    settings = {"nodes": 1, "syncs": 1, "router_options": {"slow_request": "250ms"}}
    config = """
[cluster]
partitions = 8
[namespace strict]
durability = durable
[namespace written]
durability = database
sync_interval = 600ms
"""

    def setUp(self):
        self.node, self.router, self.sync = self.cluster.nodes[0], self.cluster.routers[0], self.cluster.syncs[0]
        self.r.slowlog_reset()
        self.seen = len(self.lines())

    def lines(self):
        with open(self.router.log) as f:
            return [dict(re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)', line)) for line in f if 'msg="slow request"' in line]

    def during(self, hold, release, *command):
        """The line of a command that was sent while something was held; the command's own time in seconds."""
        held = hold()
        result = []

        def run():
            started = time.monotonic()
            try:
                result.append(connect(self.cluster).execute_command(*command))
            except redis.RedisError as e:
                result.append(e)
            result.append(time.monotonic() - started)
        t = threading.Thread(target=run)
        t.start()
        threading.Event().wait(HELD)  # what is tested is that time passes here
        release(held)
        t.join(30)
        self.assertEqual(len(result), 2)
        lines = wait_for("the log line", lambda: [w for w in self.lines()[self.seen:] if w["command"] == command[0].lower()])
        self.assertEqual(len(lines), 1, lines)
        w = lines[0]
        hops = {h: int(w[h]) for h in HOPS}
        self.assertEqual(sum(hops.values()), int(w["total_us"]))
        self.assertGreater(int(w["total_us"]), 250000)
        self.assertLessEqual(int(w["total_us"]) / 1e6, result[1] + 0.01)
        return w, max(hops, key=hops.get), result[0]

    def metric(self, hop):
        return float(re.search(rf'(?m)^forebay_slow_requests_total\{{hop="{hop}"\}} (\S+)$', self.router.http("/metrics")[1]).group(1))

    def test_fsync(self):
        before = self.metric("fsync")
        w, worst, reply = self.during(lambda: self.hold(self.node, "fdatasync"), os.remove, "SET", "strict:secret", "x")
        self.assertEqual((worst, w["wait_on"], w["node"], w["result"], reply), ("wait_us", "fsync", "node-1", "ok", True))
        self.assertRegex(w["key"], "^hash:[0-9a-f]{16}$")
        with open(self.router.log) as f:
            self.assertNotIn("secret", f.read())
        self.assertEqual(self.metric("fsync"), before + 1)
        # SLOWLOG has it too
        (entry,) = self.r.slowlog_get()
        self.assertEqual(entry["command"], f"set {w['key']}".encode())
        self.assertEqual(entry["duration"], int(w["total_us"]))
        self.assertLess(abs(entry["start_time"] - time.time()), 60)

    def test_database(self):
        w, worst, reply = self.during(lambda: self.sync.popen.send_signal(signal.SIGSTOP),
                                      lambda _: self.sync.popen.send_signal(signal.SIGCONT), "SET", "written:a", "x")
        self.assertEqual((worst, w["wait_on"], reply), ("wait_us", "database", True))

    def test_load(self):
        w, worst, reply = self.during(lambda: self.sync.popen.send_signal(signal.SIGSTOP),
                                      lambda _: self.sync.popen.send_signal(signal.SIGCONT), "GET", "never:seen")
        self.assertEqual((worst, w["wait_on"], reply), ("wait_us", "load", None))

    def test_node_is_busy(self):
        """Frames come in while the worker does not take them up. Both workers, so that it does not matter where the key is."""
        def hold():
            return [self.hold(self.node, f"worker-{i}") for i in range(2)]
        self.r.set("resident", "x")
        w, worst, reply = self.during(hold, lambda held: [os.remove(p) for p in held], "GET", "resident")
        self.assertIn(worst, ("node_queue_us", "node_work_us"))  # held before it took the frames, or behind that
        self.assertEqual(reply, b"x")

    def test_node_is_paused(self):
        self.r.set("resident", "x")
        w, worst, reply = self.during(lambda: self.node.popen.send_signal(signal.SIGSTOP),
                                      lambda _: self.node.popen.send_signal(signal.SIGCONT), "STRLEN", "resident")
        self.assertIn(worst, ("network_us", "node_queue_us"))  # the node had not read it, or it had just
        self.assertEqual(reply, 1)

    def test_node_comes_back(self):
        """A command that was held in the router until the node was there again."""
        self.node.stop()
        w, worst, reply = self.during(lambda: None, lambda _: self.node.start(), "APPEND", "again", "x")
        self.assertEqual((worst, reply), ("router_us", 1))
        self.assertGreater(int(w["retries"]), 0)
        wait_for("the node", self.node.ready)

    def test_fast_commands_and_options(self):
        for i in range(200):
            self.r.set(f"fast:{i}", i)
        self.assertEqual(len(self.lines()), self.seen)
        self.assertEqual(self.r.slowlog_len(), 0)
        self.assertEqual(self.r.config_get("slowlog-log-slower-than"), {"slowlog-log-slower-than": "250000"})
        # everything is slow now, and told with its key; the log is not flooded
        with open(self.router.conf) as f:
            conf = f.read()

        def reload(text):
            with open(self.router.conf, "w") as f:
                f.write(text)
            self.router.popen.send_signal(signal.SIGHUP)
        reload(conf.replace("slow_request = 250ms", "slow_request = 1ms\nslow_request_keys = yes"))
        try:
            wait_for("the new limit", lambda: self.r.config_get("slowlog*")["slowlog-log-slower-than"] == "1000")
            name = connect(self.cluster)
            name.client_setname("tester")

            def load(stop):
                r = connect(self.cluster)
                while not stop.is_set():
                    pipe = r.pipeline(transaction=False)
                    for i in range(2000):
                        pipe.set(f"open:{i}", "x" * 2000)
                    pipe.execute()
            started = time.monotonic()
            load = Background(load)
            try:
                wait_for("a full slow log", lambda: self.r.slowlog_len() == 128)
            finally:
                load.stop()
            seconds = time.monotonic() - started + 1
            entries = self.r.slowlog_get(-1)
            self.assertEqual(len(entries), 128)
            ids = [e["id"] for e in entries]
            self.assertEqual(ids, sorted(ids, reverse=True))
            self.assertIn(b"set open:", {e["command"][:9] for e in entries})
            self.assertLessEqual(len(self.lines()) - self.seen, 10 * (seconds + 2))
            self.assertEqual(len(self.r.slowlog_get(5)), 5)
            self.assertEqual(len(self.r.slowlog_get()), 10)
            raw = subprocess.run(["redis-cli", "-p", str(self.cluster.port), "SLOWLOG", "GET", "1"], stdout=subprocess.PIPE, text=True).stdout
            self.assertRegex(raw, r"^\d+\n\d+\n\d+\nset\nopen:\d+\n127\.0\.0\.1:\d+\n\n")
            self.assertEqual(self.r.slowlog_reset(), True)
            self.assertLess(self.r.slowlog_len(), 128)
        finally:
            reload(conf)
            wait_for("the old limit", lambda: self.r.config_get("slowlog*")["slowlog-log-slower-than"] == "250000")


if __name__ == "__main__":
    stall.main()
