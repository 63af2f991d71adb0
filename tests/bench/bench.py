"""Ratios of one interleaved run on one machine: Forebay (router + one node, log on), Redis, nutcracker + Redis.

Every round runs each system once for each case, so that whatever else the machine does hits all of them; the ratio of a
case is the median over rounds of (Forebay / other) within a round. Redis runs with appendonly everysec, which is what the
node's log does; a second Redis without any persistence is shown too. Write-behind is paused while clients are measured, so
that PostgreSQL does not share the cores with only one of the systems; the write-behind rate is measured by itself against
a hand-written unnest upsert of the same rows into a table of the same shape.

redis-benchmark has the last CPU for itself and every system measured has all the others, the same ones. Left to the
scheduler (--no-pin), threads that wake each other stay on one CPU for seconds while another is idle (with few CPUs Linux
searches for an idle one only below a certain load, SIS_UTIL in kernel/sched/fair.c), for one system in this round and for
the other in the next: the ratios then say who was lucky.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools", "lib"))
sys.dont_write_bytecode = True
from cluster import Cluster, Failure, Process, free_port, wait_for  # noqa: E402

KEYS = 100000
CONFIG = "[cluster]\nreplicas = 0\n[namespace default]\nsync_interval = 1s\n"


def say(text):
    print(text, flush=True)


def ping(port):
    r = subprocess.run(["redis-cli", "-p", str(port), "set", "ping", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return r.returncode == 0 and "OK" in r.stdout


def start_redis(dir, name, *args):
    port = free_port()
    home = os.path.join(dir, name)
    os.makedirs(home)
    p = Process(name, ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", home, "--save", "", *args],
                os.path.join(home, "log"))
    p.start()
    p.port = port
    try:
        wait_for(name, lambda: ping(port))
    except Failure:
        p.stop()
        raise
    return p


def start_nutcracker(dir, redis_port):
    port, stats = free_port(), free_port()
    home = os.path.join(dir, "nutcracker")
    os.makedirs(home)
    conf = os.path.join(home, "conf.yml")
    with open(conf, "w") as f:
        f.write(f"pool:\n  listen: 127.0.0.1:{port}\n  hash: fnv1a_64\n  distribution: ketama\n  redis: true\n"
                f"  servers:\n   - 127.0.0.1:{redis_port}:1\n")
    p = Process("nutcracker", ["nutcracker", "-c", conf, "-s", str(stats), "-a", "127.0.0.1", "-m", "16384"], os.path.join(home, "log"))
    p.start()
    p.port = port
    wait_for("nutcracker", lambda: ping(port))
    return p


class Cpus:
    """Who may run where while clients are measured."""

    def __init__(self, pin):
        self.all = sorted(os.sched_getaffinity(0))
        self.pinned = pin and len(self.all) > 1
        self.generator = self.all[-1:] if self.pinned else self.all
        self.systems = self.all[:-1] if self.pinned else self.all

    def __str__(self):
        if not self.pinned:
            return f"{len(self.all)} CPUs, shared by redis-benchmark and the systems measured as the scheduler likes"
        return f"redis-benchmark alone on CPU {self.generator[0]}, the systems measured on {len(self.systems)} other CPUs"

    @staticmethod
    def set(processes, cpus):
        for p in processes:
            for thread in os.listdir(f"/proc/{p.pid}/task"):
                os.sched_setaffinity(int(thread), cpus)


def measure(port, op, depth, size, seconds, rate_hint, cpus):
    """Requests per second of redis-benchmark over about `seconds`."""
    n = max(20000, int(rate_hint * seconds))
    r = subprocess.run(["taskset", "-c", ",".join(map(str, cpus.generator)), "redis-benchmark", "-p", str(port), "-c", "50", "-P", str(depth), "-d", str(size), "-n", str(n), "-r",
                        str(KEYS), "-t", op, "--csv"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=600)
    for line in r.stdout.splitlines():
        cells = [c.strip('"') for c in line.split('","')]
        if cells[0].lower().strip('"') == op:
            return float(cells[1])
    raise Failure(f"redis-benchmark said: {r.stdout} {r.stderr}")


def clients(targets, rounds, seconds, sizes, depths, cpus):
    cases = [(op, size, depth) for size in sizes for depth in depths for op in ("set", "get")]
    rates = {c: {name: [] for name in targets} for c in cases}
    for size in sizes:
        for name, port in targets.items():
            measure(port, "set", 16, size, 1, KEYS * 12, cpus)  # every key is there before anything is read
        for r in range(rounds):
            for case in [c for c in cases if c[1] == size]:
                order = list(targets)
                order = order[r % len(order):] + order[:r % len(order)]
                for name in order:
                    hint = rates[case][name][-1] if rates[case][name] else (60000 if case[2] == 1 else 300000)
                    rates[case][name].append(measure(targets[name], case[0], case[2], size, seconds, hint, cpus))
            say(f"  {size} bytes: round {r + 1} of {rounds}")
    return rates


def report_clients(rates):
    say(f"\n{'case':<22}{'forebay':>10}{'redis aof':>10}{'redis':>10}{'nutcr.':>10}   {'/redis aof':>10}{'/redis':>8}{'/nutcr.':>9}")
    rows = []
    for (op, size, depth), by in rates.items():
        med = {n: statistics.median(v) for n, v in by.items()}
        ratio = {n: statistics.median(a / b for a, b in zip(by["forebay"], by[n])) for n in by if n != "forebay"}
        say(f"{op} {size} B depth {depth:<7}".ljust(22) + f"{med['forebay']:>10.0f}{med['redis aof']:>10.0f}{med['redis']:>10.0f}"
            f"{med['nutcracker']:>10.0f}   {ratio['redis aof']:>10.2f}{ratio['redis']:>8.2f}{ratio['nutcracker']:>9.2f}")
        rows.append({"op": op, "size": size, "depth": depth, "per_second": med, "ratio": ratio,
                     "spread": {n: [min(v), max(v)] for n, v in by.items()}})
    return rows


def hand_written(cluster, rows, size, dir):
    """Rows per second of the best plain statement: upsert by unnest, sorted keys, 1000 a transaction, text ready beforehand."""
    cluster.pg.script("drop table if exists public.by_hand; create table public.by_hand (like forebay.objects including all);")
    path = os.path.join(dir, "by_hand.sql")
    value = "\\\\\\\\x" + "61" * size
    with open(path, "w") as f:
        ids = sorted(f"key:{i:012d}" for i in range(rows))
        for at in range(0, rows, 1000):
            part = ids[at:at + 1000]
            f.write("begin;\ninsert into public.by_hand (ns, id, kind, value, version) select 'default', u.id, 'string', u.v::bytea, u.ver "
                    "from unnest('{%s}'::text[], '{%s}'::text[], '{%s}'::bigint[]) u(id, v, ver) on conflict (ns, id) do update set "
                    "value = excluded.value, version = excluded.version, updated_at = now();\ncommit;\n"
                    % (",".join(part), ",".join(f'"{value}"' for _ in part), ",".join(str(at + i + 1) for i in range(len(part)))))
    times = []
    for _ in range(2):  # insert, then update
        start = time.monotonic()
        subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", cluster.conninfo, "-f", path], check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        times.append(rows / (time.monotonic() - start))
    os.unlink(path)
    return times


def forebay_rows(cluster):
    return int(cluster.pg.psql("select coalesce(sum(n_tup_ins + n_tup_upd), 0) from pg_stat_user_tables where relname = 'objects'")[0][0])


def drain_rate(cluster, port, size, seconds):
    """Rows per second from resume to nothing dirty; every key was changed once while write-behind was paused."""
    cluster.ctl("sync", "pause", "-y")
    r = subprocess.run(["redis-benchmark", "-p", str(port), "-c", "20", "-P", "16", "-d", str(size), "-n", str(KEYS * 6), "-r", str(KEYS),
                        "-t", "set", "--csv"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=600)
    if r.returncode != 0:
        raise Failure(r.stderr)
    dirty = sum(n["dirty"] for n in cluster.ctl_json("node", "list"))
    start = time.monotonic()
    cluster.ctl("sync", "resume")
    cluster.ctl("sync", "flush", "--timeout", f"{seconds}s", timeout=seconds + 30)
    return dirty / (time.monotonic() - start), dirty


def write_behind(cluster, port, rounds, dir):
    ours, hand = [], []
    for r in range(rounds):
        hand.append(hand_written(cluster, KEYS, 64, dir)[1])
        rate, dirty = drain_rate(cluster, port, 64, 300)
        ours.append(rate)
        say(f"  round {r + 1}: forebay {rate:.0f} rows/s ({dirty} rows), by hand {hand[-1]:.0f} rows/s")
    ratio = statistics.median(a / b for a, b in zip(ours, hand))
    say(f"\nwrite-behind      forebay {statistics.median(ours):.0f} rows/s, hand-written unnest upsert {statistics.median(hand):.0f} rows/s,"
        f" ratio {ratio:.2f}")
    return {"forebay": ours, "by_hand": hand, "ratio": ratio}


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--bin", required=True)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=2.0, help="length of one measurement")
    p.add_argument("--quick", action="store_true", help="64 bytes, 3 rounds of 1 s")
    p.add_argument("--only", choices=["clients", "sync"])
    p.add_argument("--no-pin", action="store_true", help="leave it to the scheduler which process runs on which CPU")
    p.add_argument("--json", metavar="FILE")
    a = p.parse_args()
    version = subprocess.run([os.path.join(a.bin, "forebayctl"), "version", "-o", "json"], stdout=subprocess.PIPE, text=True, check=True)
    build = json.loads(version.stdout)
    if "Debug" in build["build"] or subprocess.run(["grep", "-q", "__asan_init", os.path.join(a.bin, "forebay-node")]).returncode == 0:
        sys.exit("bench: this is a debug or sanitizer build; its figures would mean nothing")
    sizes, depths = ([64], [1, 16]) if a.quick else ([64, 1024], [1, 16])
    rounds, seconds = (3, 1.0) if a.quick else (a.rounds, a.seconds)
    dir = tempfile.mkdtemp(prefix="fbbench-", dir="/tmp")
    os.chmod(dir, 0o755)  # PostgreSQL runs as another user
    out = {"build": build, "rounds": rounds}
    started = []
    cluster = Cluster(os.path.join(dir, "forebay"), a.bin, nodes=1, syncs=1, config=CONFIG, node_options={"memory": "4GiB"},
                      pg_settings=("fsync=on", "full_page_writes=on", "shared_buffers=512MB", "max_wal_size=4GB"))
    try:
        cluster.start(progress=say)
        if a.only != "sync":
            started.append(start_redis(dir, "redis-aof", "--appendonly", "yes", "--appendfsync", "everysec"))
            started.append(start_redis(dir, "redis"))
            started.append(start_nutcracker(dir, started[0].port))
            cluster.ctl("sync", "pause", "-y")
            targets = {"forebay": cluster.port, "redis aof": started[0].port, "redis": started[1].port, "nutcracker": started[2].port}
            measured = [cluster.routers[0], cluster.nodes[0], *started]
            cpus = Cpus(not a.no_pin)
            cpus.set(measured, cpus.systems)
            say(f"clients: {cpus}")
            out["cpus"] = {"generator": cpus.generator, "systems": cpus.systems}
            out["clients"] = report_clients(clients(targets, rounds, seconds, sizes, depths, cpus))
            cpus.set(measured, cpus.all)
            cluster.ctl("sync", "resume")
            for p_ in started:
                p_.stop()
        if a.only != "clients":
            cluster.ctl("sync", "flush", "--timeout", "300s", timeout=330)
            out["write_behind"] = write_behind(cluster, cluster.port, min(rounds, 3), dir)
    except Failure as e:
        sys.exit(f"bench: {e}")
    finally:
        for p_ in started:
            p_.stop()
        for problem in cluster.stop():
            say(problem)
        shutil.rmtree(dir, ignore_errors=True)
    if a.json:
        with open(a.json, "w") as f:
            json.dump(out, f, indent=1)


if __name__ == "__main__":
    main()
