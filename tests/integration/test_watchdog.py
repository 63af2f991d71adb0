"""Goal: a thread that hangs is named by /livez, the log and the metrics of each kind of process, and a disk that is stuck is not
taken for one. Method: real processes with a preloaded library that holds one thread while a file exists; limit 1 s."""

import os
import re

import stall
from base import wait_for
from stall import StallTest

class Watchdog(StallTest):
    settings = {"nodes": 1, "syncs": 1}
    config = "[cluster]\npartitions = 8\n"
    environment = {"FOREBAY_PROCESS__WATCHDOG": "1s"}

    def metric(self, p, name, labels):
        m = re.search(rf'(?m)^forebay_{name}\{{{labels}\}} (\S+)$', p.http("/metrics")[1])
        return float(m.group(1))

    def test_a_hang(self):
        for p, thread in ((self.cluster.nodes[0], "worker-0"), (self.cluster.routers[0], "loop-0"), (self.cluster.syncs[0], "event")):
            with self.subTest(thread=thread):
                self.assertEqual(p.http("/livez"), (200, "ok\n"))
                path = self.hold(p, thread)
                status, text = wait_for(f"/livez of {p.name} to fail", lambda: p.http("/livez")[0] == 503 and p.http("/livez"), 20)
                self.assertEqual(status, 503)
                self.assertRegex(text, rf"thread {thread} hangs for [1-9]\d*\.\d s \(.+\)")
                self.assertEqual(self.metric(p, "threads_stalled", 'on="work"'), 1)
                os.remove(path)
                wait_for(f"{p.name} to live", lambda: p.http("/livez") == (200, "ok\n"), 20)
                self.assertGreaterEqual(self.metric(p, "thread_stalls_total", 'on="work"'), 1)
                log = p.tail(200)
                self.assertEqual(len(re.findall(rf'level=error .*a thread hangs.* thread={thread} doing=.* kernel_state=', log)), 1, log)
                self.assertRegex(log, rf"the thread goes on.* thread={thread} ")
        self.assertTrue(self.r.set("still", "here"))
        self.assertEqual(self.r.get("still"), b"here")

    def test_a_stuck_disk_is_no_hang(self):
        node = self.cluster.nodes[0]
        path = self.hold(node, "fdatasync")
        self.assertTrue(self.r.set("unsynced", "x"))  # local: answered from the log's write
        text = wait_for("the node to name the disk", lambda: "waits for the disk" in node.http("/livez")[1] and node.http("/livez"), 20)
        self.assertEqual(text[0], 200)
        self.assertRegex(text[1], r"^ok, but\nthread \S+ waits for the disk for .* \(fdatasync of the log\)\n$")
        self.assertEqual(self.metric(node, "threads_stalled", 'on="disk"'), 1)
        self.assertEqual(self.metric(node, "threads_stalled", 'on="work"'), 0)
        self.assertEqual(self.r.get("unsynced"), b"x")
        os.remove(path)
        wait_for("the disk", lambda: node.http("/livez") == (200, "ok\n"), 20)
        self.assertIn("level=warn", node.tail(200))


if __name__ == "__main__":
    stall.main()
