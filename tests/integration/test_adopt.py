"""A database that was put back to an older state is gone on with: forebayctl db adopt.

Goal: --keep brings it up to what memory has; --discard takes it as it is, nothing that followed is written to it or read any more, and what is
written from then on is. Nothing is discarded where write-behind was not held back.
Method: the server's directory is copied, more is written, the copy is put back.
"""

import os
import shutil
import subprocess

import base
from base import ClusterTest, wait_for

TABLES = """
create schema app;
create table app.users (id bigint primary key, n int not null default 0);
insert into app.users select i from generate_series(1, 20) i;
"""


class Adopt(ClusterTest):
    settings = {"nodes": 3, "syncs": 2}
    config = """
[cluster]
partitions = 8
replicas = 1
[namespace plain]
sync_interval = 100ms
[namespace user]
table = app.users
key = id
value = row
ttl = none
on_delete = delete
sync_interval = 100ms
"""
    tables = TABLES

    def write(self, n):
        """Each kind of change, in every partition. Tried again while a partition changes hands: each has the same effect twice."""
        for i in range(20):
            base.read("plain", lambda i=i: self.r.set(f"plain:{i}", n))
            base.read("user", lambda i=i: self.r.hset(f"user:{i + 1}", "n", n))
        base.read("plain", lambda: self.r.set(f"plain:only-{n}", n))
        base.read("plain", lambda: self.r.delete(f"plain:only-{n - 1}"))

    def rows(self):
        return (self.pg.psql("select id, convert_from(value, 'utf8') from forebay.objects where ns = 'plain' order by id"),
                self.pg.psql("select id, n from app.users order by id"))

    def read(self):
        """The same by clients."""
        keys = sorted([str(i) for i in range(20)] + [f"only-{n}" for n in range(1, 6)])
        plain = [[k, base.read(k, lambda k=k: self.r.get(f"plain:{k}"))] for k in keys]
        users = [[str(i), base.read(f"user {i}", lambda i=i: self.r.hget(f"user:{i}", "n"))] for i in range(1, 21)]
        return [[k, v.decode()] for k, v in plain if v is not None], [[k, v.decode()] for k, v in users]

    def conninfo(self):
        path = os.path.join(self.dir, "admin.conninfo")
        return ("--conninfo-file", path)

    def synced(self, timeout=60):
        """Sync processes find out by themselves that the server was started again."""
        wait_for("a flush", lambda: self.cluster.ctl("sync", "flush", check=False).returncode == 0, timeout)
        self.cluster.wait_synced(timeout)

    def save(self):
        self.synced()
        self.pg.stop()
        shutil.rmtree(os.path.join(self.pg.dir, "saved"), ignore_errors=True)
        self.copy("data", "saved")
        self.pg.start()
        return self.rows()

    def copy(self, a, b):
        subprocess.run(["cp", "-a", os.path.join(self.pg.dir, a), os.path.join(self.pg.dir, b)], check=True)

    def put_back(self):
        self.pg.stop("immediate")
        shutil.rmtree(os.path.join(self.pg.dir, "data"))
        self.copy("saved", "data")
        self.pg.start()

    def adopt(self, *args, rc=0):
        r = self.cluster.ctl("db", "adopt", *args, *self.conninfo(), check=False, timeout=120)
        self.assertEqual(r.returncode, rc, r.stderr)
        return r.stdout + r.stderr

    def test_a_keep(self):
        self.write(1)
        self.save()
        self.write(2)
        self.synced()
        self.cluster.ctl("sync", "pause", "-y")
        self.put_back()
        self.write(3)
        self.pg.psql("insert into app.users values (99, 99)")
        self.assertRegex(self.adopt("--keep", "--dry-run"), "plain")
        self.assertRegex(self.adopt("--keep", "-y", "--timeout", "60s"), "adopted")
        plain, users = self.rows()
        self.assertEqual(dict(plain)["only-3"], "3")
        self.assertEqual(dict(plain)["only-1"], "1")  # its delete was forgotten when it was safe: the database counts
        self.assertEqual({v for k, v in plain if k.isdigit()}, {"3"})
        self.assertEqual(users, [[str(i), "3"] for i in range(1, 21)] + [["99", "99"]])
        self.assertEqual(self.read(), (plain, users[:-1]))
        self.assertEqual(self.r.hget("user:99", "n"), b"99")
        self.pg.psql("delete from app.users where id = 99")

    def test_b_discard(self):
        self.write(3)
        was = self.save()
        self.assertRegex(self.adopt("--discard", "-y", rc=5), "sync pause")
        self.write(4)
        self.synced()
        self.cluster.ctl("sync", "pause", "-y")
        self.write(5)
        self.put_back()
        self.assertEqual(self.r.get("plain:0"), b"5")
        self.adopt("--discard", "-y", "--timeout", "60s")
        self.assertEqual(self.rows(), was)
        self.assertEqual(self.read(), was)
        # what is written from now on gets there, nothing of before
        base.read("plain", lambda: self.r.set("plain:0", "after"))
        base.read("user", lambda: self.r.hset("user:1", "n", 13))
        self.synced()
        plain, users = self.rows()
        self.assertEqual([p for p in plain if p not in was[0]], [["0", "after"]])
        self.assertEqual([u for u in users if u not in was[1]], [["1", "13"]])
        for p in self.cluster.nodes:  # and so it stays for whoever starts from the logs
            p.kill()
        for p in self.cluster.nodes:
            p.start()
        self.cluster.wait_ready()
        self.synced()
        self.assertEqual(self.rows(), (plain, users))
        self.assertEqual(self.read(), (plain, users))
        # a node that is told to stop waits for copies that are being filled
        wait_for("the copies", lambda: not self.cluster.ctl_json("partition", "list", "--under-replicated"), 60)

    def test_c_usage(self):
        self.assertRegex(self.adopt(rc=2), "--keep .* or --discard")
        self.assertRegex(self.adopt("--keep", "--discard", rc=2), "--keep .* or --discard")


if __name__ == "__main__":
    base.main()
