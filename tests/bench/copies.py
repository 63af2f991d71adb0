"""Ratios of one interleaved run on one machine: what a backup of every object costs.

Writes: a cluster of two nodes with `replicas = 1` (a SET is answered when the backup has it) against Redis with one replica
and a WAIT 1 behind every SET, in the same packet. Reads: the same cluster against one of two nodes with `replicas = 0`, and
`reads = confirmed` against `reads = lease`. As in bench.py: every round runs all of them, the ratio of a case is the median
over the rounds of the ratios within a round; appendonly everysec is what the nodes' log does; write-behind is paused; the
load has the last CPU for itself and every system all the others.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import bench  # noqa: E402
from bench import Cluster, Failure, Cpus, say, wait_for  # noqa: E402

KEYS = 100000
CONFIG = "[cluster]\nreplicas = %d\n[namespace default]\nsync_interval = 1s\n[namespace confirmed]\nreads = confirmed\n"


class Load:
    def __init__(self, program, cpus, seconds):
        self.program, self.cpus, self.seconds = program, cpus, seconds

    def rate(self, port, op, depth, wait=0, prefix="key", seconds=None):
        r = subprocess.run(["taskset", "-c", ",".join(map(str, self.cpus.generator)), self.program, str(port), "50", str(depth), "64",
                            str(KEYS), str(seconds or self.seconds), op, str(wait), prefix],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=600)
        if r.returncode != 0:
            raise Failure(f"{op} of {prefix} at depth {depth}: {r.stderr.strip()}")
        return float(r.stdout)


def cluster(dir, name, bin, replicas):
    return Cluster(os.path.join(dir, name), bin, nodes=2, syncs=1, replicas=replicas, config=CONFIG % replicas,
                   node_options={"memory": "1GiB"})


def redis_pair(dir, started):
    """Adds to `started` what has to be stopped, whatever happens next."""
    aof = ("--appendonly", "yes", "--appendfsync", "everysec")
    primary = bench.start_redis(dir, "primary", *aof)
    started.append(primary)
    started.append(bench.start_redis(dir, "replica", *aof, "--replicaof", f"127.0.0.1 {primary.port}",
                                     "--replica-read-only", "no"))  # start_redis asks by a write
    wait_for("the replica", lambda: "state=online" in subprocess.run(
        ["redis-cli", "-p", str(primary.port), "info", "replication"], stdout=subprocess.PIPE, text=True).stdout)


def report(title, cases, rates, a, b):
    for depth in cases:
        of = {n: rates[(n, depth)] for n in (a, b)}
        ratio = [x / y for x, y in zip(of[a], of[b])]
        say(f"{title:<14} depth {depth:<3} {a} {statistics.median(of[a]):>8.0f}/s   {b} {statistics.median(of[b]):>8.0f}/s   "
            f"ratio {statistics.median(ratio):.2f} ({min(ratio):.2f} to {max(ratio):.2f})")


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0], prog="tools/bench --copies")
    p.add_argument("--bin", required=True)
    p.add_argument("--copies", action="store_true", required=True)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=2.0, help="length of one measurement")
    p.add_argument("--no-pin", action="store_true", help="leave it to the scheduler which process runs on which CPU")
    a = p.parse_args()
    dir = tempfile.mkdtemp(prefix="fbbench-", dir="/tmp")
    os.chmod(dir, 0o755)  # PostgreSQL runs as another user
    started, rates = [], {}
    clusters = [cluster(dir, "copies", a.bin, 1), cluster(dir, "single", a.bin, 0)]
    try:
        for c in clusters:
            c.start(progress=say)
            c.ctl("sync", "pause", "-y")
        redis_pair(dir, started)
        cpus = Cpus(not a.no_pin)
        cpus.set([p for c in clusters for p in [*c.routers, *c.nodes]] + started, cpus.systems)
        load = Load(os.path.join(os.path.dirname(os.path.abspath(a.bin)), "tests", "replicated_load"), cpus, a.seconds)
        copies, single, redis = clusters[0].port, clusters[1].port, started[0].port
        runs = {"copies": (copies, "set", 0, "key"), "redis+wait": (redis, "set", 1, "key"), "lease": (copies, "get", 0, "key"),
                "one copy": (single, "get", 0, "key"), "confirmed": (copies, "get", 0, "confirmed")}
        for port, prefix in ((copies, "key"), (copies, "confirmed"), (single, "key"), (redis, "key")):
            load.rate(port, "set", 16, prefix=prefix, seconds=5)  # nearly every key is there before anything is read
        say(f"clients: {str(cpus).replace('redis-benchmark', 'the load')}; 50 connections, 64 bytes")
        for r in range(a.rounds):
            for depth in (1, 16):
                names = list(runs)
                for n in names[r % len(names):] + names[:r % len(names)]:
                    port, op, wait, prefix = runs[n]
                    rates.setdefault((n, depth), []).append(load.rate(port, op, depth, wait, prefix))
            behind = clusters[0].ctl_json("partition", "list", "--under-replicated")
            if behind:
                raise Failure(f"{len(behind)} partitions have no backup in sync: their writes were answered with less")
            say(f"  round {r + 1} of {a.rounds}")
        say("")
        report("SET", (1, 16), rates, "copies", "redis+wait")
        report("GET", (1, 16), rates, "lease", "one copy")
        report("GET", (1, 16), rates, "confirmed", "lease")
    except Failure as e:
        sys.exit(f"bench: {e}")
    finally:
        for s in started:
            s.stop()
        for c in clusters:
            for problem in c.stop():
                say(problem)
        shutil.rmtree(dir, ignore_errors=True)


if __name__ == "__main__":
    main()
