"""PostgreSQL fails over to a real standby, or is put back to an older copy: rows and checkpoint go back together.

Goal: what was committed and lost is written again from memory, nothing that could be lost was evicted, and it is told.
Method: a standby made by pg_basebackup streams from the server; its replay is paused, so that it is behind by what the
test writes then; the server is killed and the standby promoted in its place (same socket, so the sync processes find it).
"""

import json
import os
import re
import shutil
import subprocess
import unittest

import base
from base import ClusterTest, wait_for
from cluster import Failure

TABLES = """
create schema app;
create table app.users (id bigint primary key, n int not null default 0, m int not null default 0);
insert into app.users select i from generate_series(1, 50) i;
"""

NAMESPACES = """
[namespace plain]
sync_interval = 100ms
[namespace user]
table = app.users
key = id
value = row
ttl = none
sync_interval = 100ms
"""


def bin_dir():
    root = "/usr/lib/postgresql"
    if os.environ.get("PG_BIN"):
        return os.environ["PG_BIN"]
    return os.path.join(root, sorted(os.listdir(root), key=float)[-1], "bin")


def as_owner(argv, cwd):
    """PostgreSQL's programs as the user who owns its data."""
    if os.getuid() == 0:
        argv = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", *argv]
    r = subprocess.run(argv, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                       env={**os.environ, "LC_ALL": "C.UTF-8", "HOME": cwd}, timeout=120)
    if r.returncode != 0:
        raise Failure(f"{' '.join(argv)}: {r.stdout.strip()}")


class Standby:
    """A hot standby of the cluster's server; takes its place when promoted."""

    def __init__(self, pg, name="standby"):
        self.pg, self.name = pg, name
        self.data = os.path.join(pg.dir, name)
        as_owner([f"{bin_dir()}/pg_basebackup", "-d", self.pg.conninfo, "-D", self.data, "-R", "-X", "stream", "-c", "fast",
                  "--no-sync"], pg.dir)
        with open(os.path.join(self.data, "postgresql.auto.conf"), "a") as f:
            f.write(f"primary_conninfo = '{pg.conninfo.replace('dbname=forebay', '')} application_name={name}'\n")
        self.conninfo = self.pg.conninfo.replace("port=5432", "port=5433")

    def ctl(self, *args, options=""):
        as_owner([f"{bin_dir()}/pg_ctl", "-D", self.data, "-w", "-t", "60", *(["-o", options] if options else []),
                  "-l", os.path.join(self.pg.dir, f"{self.name}.log"), *args], self.pg.dir)

    def start(self):
        self.ctl("start", options="-p 5433")

    def sql(self, text):
        r = subprocess.run(["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", self.conninfo, "-c", text],
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
        if r.returncode != 0:
            raise Failure(r.stderr)
        return r.stdout.strip()

    def cut_off(self):
        """From now on it gets nothing more."""
        self.ctl("stop", "-m", "fast")

    def take_over(self):
        """The old server dies and never comes back; this one gets its place."""
        self.pg.stop("immediate")
        shutil.move(os.path.join(self.pg.dir, "data"), os.path.join(self.pg.dir, "dead"))
        shutil.move(self.data, os.path.join(self.pg.dir, "data"))
        self.data = os.path.join(self.pg.dir, "data")
        self.ctl("start")
        self.ctl("promote")


class Failover(ClusterTest):
    settings = {"nodes": 1, "syncs": 2, "pg_settings": ("wal_level=replica", "max_wal_senders=8", "hot_standby=on")}
    config = "[cluster]\nreplicas = 0\npartitions = 8\ndatabase_safety = lag:1s\n" + NAMESPACES
    tables = TABLES

    def safety(self):
        pages = [json.loads(p.http("/statusz")[1]) for p in self.cluster.syncs]
        return [o.get("status", o)["safety"] for o in pages]

    def metric(self, processes, name):
        total = 0.0
        for p in processes:
            for line in p.http("/metrics")[1].splitlines():
                if line.startswith(name + " ") or line.startswith(name + "{"):
                    total += float(line.split()[-1])
        return total

    def safe(self):
        wait_for("all that is committed to be safe", lambda: all(s["unsafe_feeds"] == 0 for s in self.safety()))

    def wait_rows(self, count, where):
        wait_for("rows", lambda: self.pg.psql(f"select count(*) from forebay.objects where {where}") == [[str(count)]])

    def refed(self, what):
        """Everything is in PostgreSQL again, as memory has it."""
        self.synced()
        got = dict(self.pg.psql("select id, convert_from(value, 'UTF8') from forebay.objects where ns = 'plain'"))
        self.assertEqual(got, what)

    def test_an_asynchronous_standby_takes_over(self):
        self.assertEqual({s["mode"] for s in self.safety()}, {"lag"})
        standby = Standby(self.pg)
        standby.start()
        wait_for("the standby to be seen", lambda: all(s["standbys"] == 1 for s in self.safety()))
        have = {}
        for i in range(200):
            self.r.set(f"plain:{i}", f"old-{i}")
            have[str(i)] = f"old-{i}"
        for i in range(1, 21):
            self.r.hset(f"user:{i}", "n", i)
        self.synced()
        wait_for("it may be dropped", lambda: self.r.execute_command("FB.EVICT", "plain:0"))
        self.safe()
        self.cluster.apply(self.config.replace("lag:1s", "lag:10m"))
        wait_for("the lag", lambda: all(s["lag_ms"] == 600000 for s in self.safety()))
        lsn = self.pg.psql("select pg_current_wal_flush_lsn()")[0][0]
        wait_for("the standby to have it", lambda: standby.sql(f"select pg_last_wal_replay_lsn() >= '{lsn}'") == "t")
        standby.cut_off()
        # what the standby will not have: new objects, changes, deletes, columns of rows
        for i in range(100, 300):
            self.r.set(f"plain:{i}", f"new-{i}")
            have[str(i)] = f"new-{i}"
        for i in range(1, 50):
            self.r.delete(f"plain:{i}")
            del have[str(i)]
        for i in range(1, 21):
            self.r.hset(f"user:{i}", "m", 100 + i)
        self.wait_rows(251, "ns = 'plain'")
        wait_for("rows", lambda: self.pg.psql("select count(*) from app.users where m > 100") == [["20"]])
        # nothing of it may be dropped yet: the lag is not over
        self.assertFalse(self.r.execute_command("FB.EVICT", "plain:299"))
        before = self.metric(self.cluster.nodes, "forebay_database_regressions_total")
        standby.take_over()
        self.assertEqual(self.pg.psql("select count(*) from forebay.objects where ns = 'plain' and convert_from(value, 'UTF8') like 'new%'"),
                         [["0"]], "the standby has none of the later changes")
        # reads go on from memory, and writes too
        self.assertEqual(self.r.get("plain:250"), b"new-250")
        self.r.set("plain:after", "takeover")
        have["after"] = "takeover"
        wait_for("the regression to be noticed",
                 lambda: self.metric(self.cluster.nodes, "forebay_database_regressions_total") > before, 60)
        wait_for("rows", lambda: self.pg.psql("select count(*) from app.users where m = 100 + id and n = id") == [["20"]], 60)
        self.cluster.apply(self.config)  # deletes are done with when they are safe
        self.refed(have)
        self.assertEqual(self.metric(self.cluster.nodes, 'forebay_database_regressions_total{result="lost"}'), 0)
        self.assertGreater(self.metric(self.cluster.syncs, "forebay_sync_regressions_total"), 0)
        self.assertEqual(self.r.get("plain:0"), b"old-0")  # evicted before, loaded from the one that took over
        self.assertEqual(self.metric(self.cluster.nodes, "forebay_frozen_feeds"), 0)


class RestoredCopy(Failover):
    """A copy of the server's files from before: with `single` more may have been dropped than it has, which is told."""

    config = "[cluster]\nreplicas = 0\npartitions = 4\ndatabase_safety = single\n" + NAMESPACES
    settings = {"nodes": 1, "syncs": 1}
    test_an_asynchronous_standby_takes_over = None

    def restore(self, copy):
        self.pg.stop("immediate")
        data = os.path.join(self.pg.dir, "data")
        shutil.rmtree(data)
        shutil.move(copy, data)
        self.pg.start()

    def copy(self):
        """The server's files, of a stopped server."""
        self.pg.stop("fast")
        copy = os.path.join(self.pg.dir, "copy")
        subprocess.run(["cp", "-a", os.path.join(self.pg.dir, "data"), copy], check=True)
        self.pg.start()
        return copy

    def test_an_older_copy_is_fed_again_and_what_is_gone_is_told(self):
        have = {}
        for i in range(100):
            self.r.set(f"plain:{i}", f"old-{i}")
            have[str(i)] = f"old-{i}"
        self.synced()
        copy = self.copy()
        wait_for("PostgreSQL to be back", lambda: self.metric(self.cluster.syncs, "forebay_db_up") == 1)
        for i in range(200):
            self.r.set(f"plain:{i}", f"new-{i}")
            have[str(i)] = f"new-{i}"
        self.synced()
        # single: the commit counts as safe, so this one may be dropped, and the copy will not have it
        self.assertTrue(self.r.execute_command("FB.EVICT", "plain:150"))
        del have["150"]
        self.restore(copy)
        self.r.set("plain:go", "on")
        have["go"] = "on"
        wait_for("the loss to be told",
                 lambda: self.metric(self.cluster.nodes, 'forebay_database_regressions_total{result="lost"}') > 0, 60)
        # only feeds that are written to hear of it at once: all others with the next change or start
        for i in range(200):
            if i != 150:
                self.r.set(f"plain:{i}", f"newest-{i}")
                have[str(i)] = f"newest-{i}"
        self.refed(have)
        with open(self.cluster.nodes[0].log) as f:
            text = f.read()
        self.assertRegex(text, r"PostgreSQL lost more than database_safety says.*dropped=\d+")
        wait_for("the feeds to have caught up", lambda: self.metric(self.cluster.nodes, "forebay_frozen_feeds") == 0)
        self.assertIsNone(self.r.get("plain:150"))


class SynchronousStandby(Failover):
    """synchronous_standby_names is set: a commit counts when a standby has it, and not when the wait was cancelled."""

    settings = {"nodes": 1, "syncs": 1, "pg_settings": ("wal_level=replica", "max_wal_senders=8", "hot_standby=on")}
    config = "[cluster]\nreplicas = 0\npartitions = 4\n" + NAMESPACES
    test_an_asynchronous_standby_takes_over = None

    def test_a_cancelled_wait_is_not_safe(self):
        self.assertEqual({s["mode"] for s in self.safety()}, {"single"})
        standby = Standby(self.pg)
        standby.start()
        self.pg.psql("alter system set synchronous_standby_names = 'standby'")
        self.pg.psql("select pg_reload_conf()")
        wait_for("mode sync", lambda: {s["mode"] for s in self.safety()} == {"sync"})
        for i in range(50):
            self.r.set(f"plain:{i}", "1")
        self.synced()
        wait_for("it may be dropped", lambda: self.r.execute_command("FB.EVICT", "plain:1"))
        standby.ctl("stop", "-m", "immediate")
        self.r.set("plain:2", "2")
        # it waits for the standby until somebody, or statement_timeout, cancels that: the row is there, and not safe
        wait_for("the wait to be cancelled", lambda: self.pg.psql(
            "select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep' and query not like '%checkpoint%'"))
        wait_for("the row", lambda: self.pg.psql("select convert_from(value, 'UTF8') from forebay.objects where id = '2'") == [["2"]])
        wait_for("the warning to be told", lambda: any(s["unconfirmed"] for s in self.safety()))
        self.assertFalse(self.r.execute_command("FB.EVICT", "plain:2"))
        self.assertIsNone(self.r.execute_command("FB.SYNC", "plain:2", 300))
        self.assertGreater(self.metric(self.cluster.syncs, "forebay_sync_unsafe_feeds"), 0)
        self.assertRegex(self.cluster.ctl("sync", "status").stderr, "sync-1: database_safety sync .*no synchronous standby")
        standby.start()
        self.safe()  # a barrier, nothing is written
        wait_for("it may be dropped", lambda: self.r.execute_command("FB.EVICT", "plain:2"))
        self.assertFalse(any(s["unconfirmed"] for s in self.safety()))
        standby.ctl("stop", "-m", "immediate")
        self.pg.psql("alter system reset synchronous_standby_names")
        self.pg.psql("select pg_reload_conf()")


if __name__ == "__main__":
    base.main()
