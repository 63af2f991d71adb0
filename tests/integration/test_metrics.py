"""Goal: each metric of the interface that applies to one copy is on the process it belongs to, with its type, unit, labels and help, and
`promtool check metrics` finds nothing on any page while all of them work. Method: a mapped and an unmapped namespace under load."""

import re
import subprocess

import base
from base import Background, ClusterTest, connect, wait_for

# name -> type, labels
COMMON = {"build_info": ("gauge", "build version"), "coordinator_up": ("gauge", ""), "map_epoch": ("gauge", ""),
          "config_revision": ("gauge", ""), "config_reloads_total": ("counter", "result"),
          "config_last_reload_successful": ("gauge", ""), "threads_stalled": ("gauge", "on"),
          "thread_stalls_total": ("counter", "on"), "memory_bytes": ("gauge", "kind"),
          "resident_memory_bytes": ("gauge", "")}
NAMES = {
    "node": {"cache_hits_total": ("counter", ""), "cache_misses_total": ("counter", "reason"), "objects": ("gauge", "state"),
             "evictions_total": ("counter", ""), "expired_total": ("counter", ""),
             "dirty_objects": ("gauge", ""), "dirty_bytes": ("gauge", ""), "oldest_dirty_timestamp_seconds": ("gauge", ""),
             "sync_enqueued_total": ("counter", ""), "sync_coalesced_total": ("counter", ""), "dead_letters": ("gauge", ""),
             "partitions": ("gauge", "role state"), "log_fsync_duration_seconds": ("histogram", "le"),
             "snapshot_last_success_timestamp_seconds": ("gauge", ""), "recovery_duration_seconds": ("gauge", ""),
             "rejected_total": ("counter", "reason")},
    "router": {"requests_total": ("counter", "command result"), "request_duration_seconds": ("histogram", "le"),
               "router_retries_total": ("counter", "reason"), "rejected_total": ("counter", "reason")},
    "sync": {"loads_total": ("counter", "result"), "load_duration_seconds": ("histogram", "le"), "sync_rows_total": ("counter", "op"),
             "sync_batch_rows": ("histogram", "le"), "sync_batch_duration_seconds": ("histogram", "le"),
             "sync_retries_total": ("counter", "class"), "sync_conflicts_total": ("counter", "policy result"),
             "dead_letters": ("gauge", ""), "db_up": ("gauge", "")},
}


class Metrics(ClusterTest):
    settings = {"nodes": 2, "syncs": 1}
    tables = "create table users (id bigint primary key, name text not null, n int not null default 0);" \
             "insert into users (id, name) select i, 'u' || i from generate_series(1, 500) i;"
    config = """
[cluster]
partitions = 16
[namespace ns]
sync_interval = 100ms
[namespace user]
table = public.users
key = id
value = row
sync_interval = 100ms
ttl = 1s
"""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()

        def load(stop):
            r = connect(cls.cluster)
            i = 0
            while not stop.is_set():
                i += 1
                pipe = r.pipeline(transaction=False)
                for k in range(50):
                    pipe.set(f"ns:{(i * 50 + k) % 5000}", "x" * (i % 300))
                    pipe.get(f"ns:{(i * 77 + k) % 6000}")
                    pipe.hgetall(f"user:{(i * 50 + k) % 600 + 1}")
                    pipe.set(f"ns:short{k}", "x", px=50)
                pipe.hset(f"user:{i % 500 + 1}", "n", i)
                pipe.get("no:such:\"label\"\n")
                pipe.execute(raise_on_error=False)
        cls.load = Background(load)

    @classmethod
    def tearDownClass(cls):
        cls.load.stop()
        super().tearDownClass()

    def value(self, p, name):
        page = p.http("/metrics")[1]
        return sum(float(v) for v in re.findall(rf"(?m)^forebay_{name}(?:\{{.*\}})? (\S+)$", page))

    def test_promtool(self):
        wait_for("everything to have been counted", lambda: all(self.value(self.cluster.syncs[0], n) > 0 for n in
                 ("loads_total", "sync_rows_total", "sync_batch_rows_count")) and self.value(self.cluster.routers[0], "requests_total") > 1000)
        for p in self.cluster.processes():
            with self.subTest(p=p.name):
                status, page = p.http("/metrics")
                self.assertEqual(status, 200)
                r = subprocess.run(["promtool", "check", "metrics"], input=page, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                self.assertEqual((r.returncode, r.stdout), (0, ""))

    def test_names(self):
        for p in self.cluster.processes():
            page = p.http("/metrics")[1]
            types = re.findall(r"(?m)^# TYPE (\S+) (\S+)$", page)
            for name, (kind, labels) in {**COMMON, **NAMES[p.kind]}.items():
                with self.subTest(p=p.name, name=name):
                    self.assertIn(("forebay_" + name, kind), types)
                    text = re.search(rf"(?m)^# HELP forebay_{name} (.+)$", page).group(1)
                    self.assertGreater(len(text), 10)
                    suffix = "_bucket" if kind == "histogram" else ""
                    samples = re.findall(rf"(?m)^forebay_{name}{suffix}(?:\{{(.*)\}})? \S+$", page)
                    self.assertTrue(samples)
                    for sample in samples:
                        self.assertEqual(sorted(re.findall(r'(\w+)="', sample)), labels.split(), sample)

    def test_reasons_of_misses(self):
        """Each reason moves for its cause."""
        def reasons():
            found = {}
            for p in self.cluster.nodes:
                for reason, v in re.findall(r'(?m)^forebay_cache_misses_total\{reason="(\w+)"\} (\S+)$', p.http("/metrics")[1]):
                    found[reason] = found.get(reason, 0) + float(v)
            return found
        wait_for("absent, aged and negative", lambda: all(reasons()[r] > 0 for r in ("absent", "aged", "negative")))
        self.assertIn("joined", reasons())


if __name__ == "__main__":
    base.main()
