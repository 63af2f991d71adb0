"""Everything that can break, in a whole cluster of real processes on hosts of their own: three nodes with three copies, two routers,
two sync processes, three etcd, PostgreSQL.

Goal: whatever fails, no write acknowledged at its level is lost, no read is stale, PostgreSQL gets all of it once and in order, and
the cluster is whole again by itself once the fault is over. How long service was incomplete is printed for each fault.
Method: clients on both routers record a history, which is judged together with what PostgreSQL was given; one fault after the other,
each shown to have happened. FB_MATRIX_SECONDS (4): how long a fault lasts; FB_MATRIX_ROUNDS (1): how often the matrix is gone through.
"""

import contextlib
import glob
import os
import random
import shutil
import signal
import sys
import threading
import time

import network

NETWORK = network.own_network()

import redis  # noqa: E402

from shim import Disk, Faults, base, ended, log_since, wait_for  # noqa: E402
from base import connect  # noqa: E402
from load import Recorder, Writers  # noqa: E402
from test_replication import ThreeNodes  # noqa: E402

SECONDS = float(os.environ.get("FB_MATRIX_SECONDS", "4"))
ROUNDS = int(os.environ.get("FB_MATRIX_ROUNDS", "1"))


class Probe:
    """Writes to every partition, again and again; where a router is gone, through the other one. A round counts when each of its
    writes was acknowledged: the longest time from one such round to the next is how long service was incomplete."""

    KEYS = [f"plain:probe{i}" for i in range(64)]  # in every partition

    def __init__(self, cluster):
        self.cluster, self.served, self.refusals = cluster, [], {}
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        router, r = 0, None
        while not self.stopping.wait(0.02):
            try:
                r = r or connect(self.cluster, router, socket_timeout=3, single_connection_client=True)
                p = r.pipeline(transaction=False)
                for key in self.KEYS:
                    p.set(key, len(self.served))
                replies = p.execute(raise_on_error=False)
            except (redis.ConnectionError, redis.TimeoutError):
                router, r = 1 - router, None
                continue
            wrong = [str(x).split(" ")[0] for x in replies if isinstance(x, Exception)]
            for word in wrong:
                self.refusals[word] = self.refusals.get(word, 0) + 1
            if not wrong:
                self.served.append(time.monotonic())

    def incomplete(self, since):
        """Seconds; waits for a round that began after now."""
        now = time.monotonic()
        wait_for("service of every partition", lambda: self.served and self.served[-1] > now + 0.1, 90)
        times = [t for t in self.served if t >= since]
        before = [t for t in self.served if t < since]
        return max(b - a for a, b in zip(before[-1:] + times, times))

    def stop(self):
        self.stopping.set()
        self.thread.join(30)


class Matrix(ThreeNodes):
    backups = 2
    settings = {"nodes": 3, "syncs": 2, "routers": 2, "coordinator": "etcd", "etcd_members": 3, "network": NETWORK,
                "node_options": {"segment_bytes": "64KiB", "snapshot_log_bytes": "512KiB"}}
    config = ThreeNodes.config.replace("replicas = 1", "replicas = 2") + """
[namespace db]
sync_interval = 100ms
durability = database
[namespace plain]
sync_interval = 1s
"""

    @classmethod
    def prepare(cls):
        cls.faults, cls.disks = {}, {}
        for p in cls.cluster.nodes:
            home = os.path.join(cls.dir, f"{p.name}-disk")
            os.makedirs(home)
            cls.faults[p] = Faults(cls.dir, p.name)
            cls.disks[p] = Disk(home, cls.faults[p])
            p.env = cls.faults[p].env
        cls.figures = []
        write = cls.cluster.write_config

        def write_config(p):  # the data where its power can be cut
            if p.kind == "node":
                cls.cluster.options["node"]["data_dir"] = os.path.join(cls.disks[p].root, "data")
            write(p)
        cls.cluster.write_config = write_config

    @classmethod
    def tearDownClass(cls):
        for line in cls.figures:
            print(line, file=sys.stderr)
        super().tearDownClass()

    # what is where

    def leader(self):
        """The node that leads most."""
        return max(self.cluster.nodes, key=lambda p: self.status(p)["partitions_open"])

    def etcd_leader(self):
        """Its Process and its number."""
        r = self.cluster.etcd.ctl("endpoint", "status", "-w", "simple").stdout
        n = next(i for i, line in enumerate(r.splitlines()) if line.split(", ")[4] == "true")
        return self.cluster.etcd.members[n], n

    def members_answer(self):
        for n in range(3):
            wait_for(f"etcd {n + 1} to answer", lambda n=n: self.cluster.etcd.answers(n), 60)

    def synced_rows(self):
        return int(self.pg.psql("select count(*) from audit")[0][0])

    def wait_consumed(self):
        before = self.synced_rows()
        wait_for("changes to get to PostgreSQL", lambda: self.synced_rows() > before + 20, 60)

    # clients around the faults

    @contextlib.contextmanager
    def under_load(self, tag):
        self.fresh_audit()
        for p in self.cluster.processes():
            if not p.alive():
                p.start()
        self.wait_whole(90)
        self.history = Recorder(os.path.join(self.dir, f"history-{tag}"))
        a, b = tag + "a", tag + "b"
        self.writers = [Writers(self.cluster, threads=3, require="replicated", history=self.history, tag=a, read=(b,)),
                        Writers(self.cluster, threads=3, require="replicated", history=self.history, tag=b, read=(a,), router=1),
                        Writers(self.cluster, threads=2, prefix="dur", require="durable", tag=tag, router=1),
                        Writers(self.cluster, threads=1, prefix="db", require="database", tag=tag)]
        for w in self.writers:
            w.start()
        self.probe = Probe(self.cluster)
        try:
            wait_for("writes", lambda: all(w.writes > 20 for w in self.writers) and self.probe.served, 60)
            yield
            self.probe.stop()
            print(f"{tag}: probe was refused {self.probe.refusals}", file=sys.stderr)
            self.judge(self.writers)
        finally:
            self.probe.stop()
            for w in self.writers:
                w.stopping.set()

    def progress(self, writers=None):
        writers = writers or self.writers
        before = [w.writes for w in writers]
        wait_for("writes to go on", lambda: all(w.failure or w.writes > b + 20 for w, b in zip(writers, before)), 90)
        for w in writers:
            if w.failure:
                raise w.failure

    def last(self, seconds=SECONDS):
        """The fault goes on for that long."""
        end = time.monotonic() + seconds
        wait_for("the time of the fault to pass", lambda: time.monotonic() > end, seconds + 10)

    @contextlib.contextmanager
    def fault(self, name):
        """Its time, and that all is well behind it."""
        began = time.monotonic()
        yield
        self.progress()
        self.wait_whole(90)
        self.figures.append(f"{name:<44} service incomplete for {self.probe.incomplete(began):5.2f} s")
        print(self.figures[-1], file=sys.stderr)

    # the faults

    def test_killed(self):
        with self.under_load("kill"):
            for _ in range(ROUNDS):
                with self.fault("kill -9 of a node that leads"):
                    victim = self.leader()
                    victim.kill()
                    self.wait_led_by_others(victim)
                    self.progress()
                    victim.start()
                with self.fault("kill -9 of a router"):
                    victim = self.cluster.routers[0]
                    victim.kill()
                    self.progress(self.writers[1:3])
                    victim.start()
                    wait_for("the router", victim.ready)
                for victim in self.cluster.syncs:
                    with self.fault(f"kill -9 of {victim.name}"):
                        victim.kill()
                        self.wait_consumed()
                        victim.start()
                with self.fault("kill -9 of the leading etcd"):
                    victim, _ = self.etcd_leader()
                    victim.kill()
                    self.last()
                    victim.start()
                    self.members_answer()
                with self.fault("PostgreSQL ended at once (immediate)"):
                    self.pg.stop("immediate")
                    self.progress(self.writers[:3])
                    self.pg.start()
                    self.wait_consumed()

    def test_paused(self):
        """SIGSTOP and SIGCONT: who wakes up believes that nothing happened."""
        with self.under_load("pause"):
            for _ in range(ROUNDS):
                for kind, victim in (("a node that leads", self.leader()), ("a router", self.cluster.routers[1]),
                                     ("sync-1", self.cluster.syncs[0]), ("sync-2", self.cluster.syncs[1]),
                                     ("the leading etcd", self.etcd_leader()[0])):
                    with self.fault(f"SIGSTOP of {kind}"):
                        victim.kill(signal.SIGSTOP)
                        try:
                            self.last()
                            if kind == "a node that leads":
                                self.wait_led_by_others(victim)
                        finally:
                            victim.kill(signal.SIGCONT)
                self.members_answer()

    def network_fault(self, name, during=lambda: None):
        """Around calls of NETWORK: lasts, then heals."""
        @contextlib.contextmanager
        def around():
            with self.fault(name):
                yield
                self.last()
                during()
                lost = NETWORK.heal()
                self.assertGreater(lost, 0, "no packet was lost or late")
                self.members_answer()
        self.addCleanup(NETWORK.heal)
        return around()

    def test_isolated(self):
        """A host hears nobody and is heard by nobody."""
        with self.under_load("alone"):
            for _ in range(ROUNDS):
                victim = self.leader()
                with self.network_fault("a node that leads is isolated", lambda v=victim: self.wait_led_by_others(v)):
                    NETWORK.isolate(victim.name)
                with self.network_fault("a router is isolated from the cluster"):
                    NETWORK.isolate("router-2")
                for sync in ("sync-1", "sync-2"):
                    with self.network_fault(f"{sync} is isolated", self.wait_consumed):
                        NETWORK.isolate(sync)
                with self.network_fault("the leading etcd is isolated"):
                    NETWORK.isolate(self.etcd_leader()[0].name)

    def test_partly_cut(self):
        """One-way and partial cuts, slow links."""
        nodes = [p.name for p in self.cluster.nodes]
        etcds = [p.name for p in self.cluster.etcd.members]
        with self.under_load("part"):
            for _ in range(ROUNDS):
                one = self.leader().name
                others = [n for n in nodes if n != one]
                with self.network_fault("who leads hears nobody, is heard"):
                    NETWORK.silence(*[(h, one) for h in NETWORK.hosts if h != one])
                one = self.leader().name
                with self.network_fault("who leads is heard by no node, hears"):
                    NETWORK.silence(*[(one, n) for n in nodes if n != one])
                with self.network_fault("two nodes do not hear each other"):
                    NETWORK.cut(nodes[0], nodes[1])
                with self.network_fault("a node without etcd"):
                    NETWORK.cut(self.leader().name, *etcds)
                with self.network_fault("a node without routers"):
                    NETWORK.cut(self.leader().name, "router-1", "router-2")
                with self.network_fault("sync processes without PostgreSQL"):
                    NETWORK.cut("postgresql", "sync-1", "sync-2")
                with self.network_fault("a node at 2 Mbit/s"):
                    NETWORK.slow(self.leader().name, "2mbit")

    def test_outages(self):
        """What the cluster leans on is gone: etcd, PostgreSQL, both."""
        members = self.cluster.etcd.members
        with self.under_load("out"):
            for _ in range(ROUNDS):
                with self.fault("etcd without its quorum"):
                    for m in members[:2]:
                        m.kill()
                    self.last()
                    self.progress()
                    for m in members[:2]:
                        m.start()
                    self.members_answer()
                with self.fault("PostgreSQL down"):
                    self.pg.stop("immediate")
                    self.last()
                    self.progress(self.writers[:3])
                    self.pg.start()
                    self.wait_consumed()
                with self.fault("PostgreSQL and etcd down"):
                    self.pg.stop("immediate")
                    for m in members:
                        m.kill()
                    self.last()
                    self.progress(self.writers[:3])
                    for m in members:
                        m.start()
                    self.members_answer()
                    self.pg.start()
                    self.wait_consumed()

    def cut_power(self, *nodes):
        for p in nodes:
            p.kill()
        for p in nodes:
            self.disks[p].cut(random.randrange(1 << 30))

    def test_disks(self):
        """Of one node: the other two have all of it."""
        with self.under_load("disk"):
            for _ in range(ROUNDS):
                with self.fault("power loss of a node that leads"):
                    victim = self.leader()
                    self.cut_power(victim)
                    self.wait_led_by_others(victim)
                    victim.start()
                for what, rule in (("fsync fails (EIO)", "fdatasync *.seg error=EIO times=1"),
                                   ("the disk is full", "pwritev,fallocate *.seg error=ENOSPC")):
                    for whose, pick in (("of a node that leads", max), ("of the one that leads least", min)):
                        with self.fault(f"{what}, {whose}"):
                            victim = pick(self.cluster.nodes, key=lambda p: self.status(p)["partitions_open"])
                            self.faults[victim].set(rule)
                            self.assertEqual(ended(victim, 60), -signal.SIGABRT)
                            self.assertTrue(self.faults[victim].clear())
                            self.wait_led_by_others(victim)
                            victim.start()
                with self.fault("a flipped bit in a sealed segment"):
                    self.flipped_bit(self.leader())

    def flipped_bit(self, victim):
        """The node refuses its log and names the place; emptied, it gets all of it from the others."""
        data = os.path.join(self.disks[victim].root, "data")
        sealed = wait_for("a sealed segment", lambda: len(glob.glob(data + "/log/*.seg")) > 4 and
                          sorted(glob.glob(data + "/log/*.seg"), key=os.path.getmtime)[0], 60)
        at = os.path.getsize(victim.log)
        self.faults[victim].set(f"read {sealed} flip=130")
        victim.kill()
        victim.start()
        self.assertEqual(ended(victim), 1)
        self.assertTrue(self.faults[victim].clear())
        self.assertRegex(log_since(victim, at), "corrupt")
        self.wait_led_by_others(victim)
        shutil.rmtree(data)
        victim.start()

    def test_all_lose_power(self):
        """At once: what was acknowledged as durable is there."""
        self.fresh_audit()
        self.wait_whole(90)
        self.synced()  # nothing else is on its way that a loss could take back
        for n in range(ROUNDS):
            self.fresh_audit()
            self.history = Recorder(os.path.join(self.dir, f"history-power{n}"))
            w = Writers(self.cluster, prefix="dur", require="durable", history=self.history, tag=f"power{n}").start()
            try:
                wait_for("writes", lambda: w.failure or w.writes > 200, 60)
                self.cut_power(*self.cluster.nodes)
                for p in self.cluster.nodes:
                    p.start()
                began = time.monotonic()
                self.go_on([w])
                self.figures.append(f"power loss of all nodes: whole and serving {time.monotonic() - began:5.2f} s after the start")
                self.judge([w])
            finally:
                w.stopping.set()

    def test_rolling_restart(self):
        """Every process, one after the other: no client of a router that stays is told anything but success."""
        with self.under_load("roll"):
            for p in self.cluster.syncs + self.cluster.nodes:
                with self.fault(f"restart of {p.name}"):
                    self.assertEqual(p.stop(), 0)
                    p.start()
                    wait_for(f"{p.name}", p.ready, 60)
            for m in self.cluster.etcd.members:
                with self.fault(f"restart of {m.name}"):
                    m.stop()
                    m.start()
                    self.members_answer()
            self.assertEqual([w.errors for w in self.writers], [{}] * len(self.writers), [w.texts for w in self.writers])
            self.assertEqual(self.probe.refusals, {})
            for p in self.cluster.routers:
                with self.fault(f"restart of {p.name}"):
                    self.assertEqual(p.stop(), 0)
                    p.start()
                    wait_for(f"{p.name}", p.ready)


del ThreeNodes
if __name__ == "__main__":
    base.main()
