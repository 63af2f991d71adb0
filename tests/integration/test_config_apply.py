"""Goal: `config apply` is in force in every process within a second of its end, provably: each process shows the revision in /statusz and
metrics, the command waits for all that are alive and names those that do not take it over. Method: two of each process; one paused."""

import json
import re
import signal
import time

import base
from base import ClusterTest, wait_for

CONFIG = """
[cluster]
partitions = 16
[namespace ns]
max_value = %d
sync_interval = 200ms
"""


class ConfigApply(ClusterTest):
    settings = {"nodes": 2, "syncs": 2, "routers": 2}
    config = CONFIG % 1000

    def apply(self, size, *flags):
        path = f"{self.dir}/new.conf"
        with open(path, "w") as f:
            f.write(CONFIG % size)
        return self.cluster.ctl(*flags, "config", "apply", path, "-y", check=False)

    def revision(self, p):
        shown = json.loads(p.http("/statusz")[1])["status"]["config_revision"]
        metric = re.search(r"(?m)^forebay_config_revision (\d+)$", p.http("/metrics")[1])
        return shown, int(metric.group(1))

    def test_every_process_runs_it_when_the_command_ends(self):
        last = 0
        for i in range(3):
            started = time.monotonic()
            r = self.apply(100 + i)
            took = time.monotonic() - started
            self.assertEqual(r.returncode, 0, r.stderr)
            rev = int(re.search(r"revision (\d+) runs on all 6 live processes", r.stderr).group(1))
            self.assertGreater(rev, last)
            last = rev
            for p in self.cluster.processes():
                wait_for("the status page, which a sync process writes twice a second", lambda p=p: self.revision(p) == (rev, rev), 2)
            # it is what answers: no wait here
            self.assertRegex(self.error("SET", "ns:a", "x" * (101 + i)), f"max_value of {100 + i}|max_value.*{100 + i}")
            self.assertTrue(self.r.set("ns:a", "x" * (100 + i)))
            self.assertLess(took, 10)  # about a second; the machine may be busy
        r = self.apply(102)
        self.assertIn("nothing to change", r.stderr)
        self.assertIn(f"revision {last} runs on all 6 live processes", r.stderr)

    def test_a_paused_process_is_named(self):
        for p in (self.cluster.routers[1], self.cluster.syncs[1]):
            with self.subTest(p=p.name):
                size = 200 + len(p.name)
                p.popen.send_signal(signal.SIGSTOP)
                try:
                    r = self.apply(size, "--timeout", "1s")
                    self.assertEqual(self.apply(size + 1, "--no-wait").returncode, 0)
                    self.assertEqual(self.apply(size, "--no-wait").returncode, 0)
                finally:
                    p.popen.send_signal(signal.SIGCONT)
                self.assertEqual(r.returncode, 6, r.stderr)
                self.assertRegex(r.stderr, rf"revision \d+ is stored, but after 1 s these live processes do not run it: {p.name}; ")
                r = self.apply(size)
                rev = int(re.search(r"revision (\d+) runs on all 6 live processes", r.stderr).group(1))
                for q in self.cluster.processes():
                    wait_for(f"{q.name} to show it", lambda q=q: self.revision(q) == (rev, rev))

    def test_who_is_gone_is_not_waited_for(self):
        p = self.cluster.routers[1]
        self.assertEqual(p.stop(), 0)
        r = self.apply(300)
        self.assertEqual(r.returncode, 0, r.stderr)
        rev = int(re.search(r"revision (\d+) runs on all 5 live processes", r.stderr).group(1))
        p.start()
        wait_for("the router", p.ready)
        self.assertEqual(self.revision(p), (rev, rev))
        r = self.apply(300)
        self.assertIn(f"revision {rev} runs on all 6 live processes", r.stderr)


if __name__ == "__main__":
    base.main()
