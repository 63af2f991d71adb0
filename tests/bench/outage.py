"""Memory of the nodes while PostgreSQL is away and clients write at full rate over a fixed set of keys.

PostgreSQL is stopped, redis-benchmark overwrites the same keys for --seconds, and every second the accounted bytes, the
number of dirty objects and the resident memory of the nodes are recorded. By PROTOCOL 10 an outage costs one list entry for each
distinct object, however often it is written: so the dirty objects and the bytes accounted for them must stay as they were after each key
was written once. That is checked exactly; resident memory, which allocators and the buffers of connections move, is printed, and
checked from --seconds 120 on (at most --rss-growth percent after the first tenth). In the end PostgreSQL is started again and everything must arrive,
with nothing parked.

  tests/bench/outage.py --bin .build/release/bin --seconds 600      ten minutes
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools", "lib"))
sys.dont_write_bytecode = True
from cluster import Cluster, Failure, wait_for  # noqa: E402

VALUE = 200
IN_BETWEEN = 16  # objects that a counter may be read in the middle of
CONFIG = "[cluster]\nreplicas = 0\npartitions = 32\nmax_dirty_bytes = 1GiB\n[namespace default]\nsync_interval = 500ms\n"


def page(node):
    o = json.loads(node.http("/statusz", timeout=20)[1])
    return o.get("status", o)


def rss(process):
    with open(f"/proc/{process.pid}/status") as f:
        for line in f:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) << 10
    raise Failure(f"{process.name} has no VmRSS")


class Sample:
    """All nodes together, now."""

    def __init__(self, cluster, started):
        pages = [page(n) for n in cluster.nodes]
        self.at = time.monotonic() - started
        self.dirty = sum(o["objects"]["dirty"] for o in pages)
        self.dirty_bytes = sum(o["dirty_bytes"] for o in pages)
        self.objects_bytes = sum(o["memory_bytes"] for o in pages)
        self.records = sum(o["records"] for o in pages)
        self.log_bytes = sum(o["log_bytes"] for o in pages)
        self.rss = sum(rss(n) for n in cluster.nodes)

    def line(self, before):
        rate = (self.records - before.records) / max(self.at - before.at, 1e-9)
        return (f"{self.at:7.1f} s  {self.dirty} dirty  {self.dirty_bytes} dirty bytes  {self.objects_bytes} object bytes  "
                f"{self.rss / 1e6:8.1f} MB resident  log {self.log_bytes / 1e6:8.1f} MB  {rate:9.0f} writes/s")


def write_all(cluster, keys):
    """Each key once, in order, with a value as long as redis-benchmark's."""
    commands = b"".join(b"*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$%d\r\n%s\r\n" % (i, VALUE, b"f" * VALUE) for i in range(keys))
    r = subprocess.run(["redis-cli", "-h", "127.0.0.1", "-p", str(cluster.port), "--pipe"], input=commands, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, timeout=120)
    if r.returncode != 0 or b"errors: 0" not in r.stdout:
        raise Failure(f"writing the keys: {r.stdout.decode()}")


def run(a, cluster):
    cluster.start()
    write_all(cluster, a.keys)
    cluster.wait_synced(120)
    cluster.pg.stop("immediate")
    write_all(cluster, a.keys)
    started = time.monotonic()
    first = Sample(cluster, started)
    if first.dirty != a.keys:
        raise Failure(f"{first.dirty} objects are dirty after {a.keys} keys were written")
    samples = [first]
    writer = subprocess.Popen(["redis-benchmark", "-h", "127.0.0.1", "-p", str(cluster.port), "-t", "set", "-r", str(a.keys), "-d", str(VALUE),
                               "-n", "2000000000", "-c", str(a.clients), "-P", "16", "-q"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    shown = first
    try:
        while time.monotonic() < started + a.seconds:
            time.sleep(1)
            if writer.poll() is not None:
                raise Failure(f"redis-benchmark ended with {writer.returncode}")
            s = Sample(cluster, started)
            samples.append(s)
            if s.at >= shown.at + max(a.seconds / 20, 1):
                print(s.line(shown), flush=True)
                shown = s
    finally:
        writer.kill()
        writer.wait()
    wait_for("the last writes", lambda: Sample(cluster, started).records == Sample(cluster, started).records)
    last = Sample(cluster, started)
    problems = []
    for s in samples + [last]:
        slack = 0 if s is last else IN_BETWEEN
        for name in ("dirty", "dirty_bytes", "objects_bytes"):
            got, want = getattr(s, name), getattr(first, name)
            if abs(got - want) > slack * want / a.keys:
                problems.append(f"at {s.at:.0f} s {name} was {got}, not {want}")
    writes = last.records - first.records
    if writes < 2 * a.keys:
        problems.append(f"only {writes} writes in {a.seconds} s: that is no load")
    settled = [s.rss for s in samples if s.at >= a.seconds / 10] or [first.rss]
    growth = (settled[-1] - settled[0]) * 100 / settled[0]
    print(f"writes {writes} in {last.at:.0f} s ({writes / last.at:.0f}/s), {writes / a.keys:.1f} for each of {a.keys} keys; accounted {first.dirty_bytes} "
          f"dirty bytes ({first.dirty_bytes / a.keys:.0f} for each key) from begin to end; resident {first.rss / 1e6:.1f} MB at the begin, "
          f"{settled[0] / 1e6:.1f} MB after a tenth, {max(settled) / 1e6:.1f} MB at most, {settled[-1] / 1e6:.1f} MB at the end", flush=True)
    if a.seconds >= 120 and growth > a.rss_growth:
        problems.append(f"resident memory grew by {growth:.1f} % after the first tenth")
    cluster.pg.start()
    back = time.monotonic()
    cluster.wait_synced(300)
    print(f"everything in PostgreSQL {time.monotonic() - back:.1f} s after it was started", flush=True)
    for sql, want in (("select count(*) from forebay.objects", str(a.keys)), ("select count(*) from forebay.dead_letter", "0")):
        got = cluster.pg.psql(sql)[0][0]
        if got != want:
            problems.append(f"{sql}: {got}, not {want}")
    if a.json:
        with open(a.json, "w") as f:
            json.dump([vars(s) for s in samples], f)
    for p in problems[:10]:
        print("outage: " + p, file=sys.stderr)
    return 1 if problems else 0


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bin", default=os.path.join(ROOT, ".build", "release", "bin"), help="folder of the programs")
    p.add_argument("--seconds", type=float, default=600, help="length of the outage (600)")
    p.add_argument("--keys", type=int, default=20000, help="distinct keys (20000)")
    p.add_argument("--clients", type=int, default=16, help="connections of the writer (16)")
    p.add_argument("--rss-growth", type=float, default=15, help="percent that resident memory may grow after the first tenth (15)")
    p.add_argument("--json", help="write all samples to this file")
    a = p.parse_args()
    dir = tempfile.mkdtemp(prefix="fbout.", dir="/tmp")
    cluster = Cluster(dir, os.path.abspath(a.bin), nodes=2, syncs=2, config=CONFIG)
    rc = 1
    try:
        rc = run(a, cluster)
    except Failure as e:
        print(f"outage: {e}", file=sys.stderr)
    finally:
        problems = cluster.stop()
        for text in problems:
            print(f"outage: {text}", file=sys.stderr)
        cluster.remove()
    return 1 if problems else rc


if __name__ == "__main__":
    sys.exit(main())
