"""Starts that cannot work: one clear line, exit 1, and what is there stays as it was."""

import glob
import hashlib
import os
import re
import shutil
import subprocess
import tempfile

import base
from base import Cluster, ClusterTest, wait_for


def digest(dir):
    """Every file below dir with its content; LOCK holds a pid and is not data."""
    out = {}
    for root, _, files in os.walk(dir):
        for f in files:
            if f != "LOCK":
                with open(os.path.join(root, f), "rb") as h:
                    out[os.path.relpath(os.path.join(root, f), dir)] = hashlib.sha256(h.read()).hexdigest()
    return out


class StartErrors(ClusterTest):
    settings = {"nodes": 2, "syncs": 1, "node_options": {"segment_bytes": "1MiB"}}
    config = "[cluster]\nreplicas = 0\npartitions = 16\n[namespace default]\nsync_interval = 100ms\n"

    def run_process(self, kind, *args, env=None, timeout=30):
        # a start that failed leaves its memory to exit(): no report of leaks, every other one of the sanitizers
        return subprocess.run([os.path.join(base.BIN, f"forebay-{kind}"), *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=timeout,
                              env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0", **(env or {})})

    def fails(self, kind, pattern, *args, env=None):
        """Exit 1, one line of error that matches."""
        r = self.run_process(kind, *args, env=env)
        self.assertEqual(r.returncode, 1, r.stderr)
        lines = [l for l in r.stderr.splitlines() if "level=info" not in l]
        self.assertEqual(len(lines), 1, r.stderr)
        self.assertRegex(lines[0], pattern)
        return lines[0]

    def copy_conf(self, p, edits, name):
        """A configuration like that of p with some lines changed."""
        path = os.path.join(self.dir, name)
        with open(p.conf) as f:
            text = f.read()
        for old, new in edits:
            self.assertRegex(text, old)
            text = re.sub(old, new, text)
        with open(path, "w") as f:
            f.write(text)
        return path

    # configuration

    def test_unknown_key(self):
        for kind, p, old, new, suggestion in (("node", self.cluster.nodes[0], "data_dir =", "data_dri =", "data_dir"),
                                              ("sync", self.cluster.syncs[0], "conninfo_file =", "conninfo_fiel =", "conninfo_file"),
                                              ("router", self.cluster.routers[0], r"\[router\]\nlisten =", "[router]\nlisetn =", "listen")):
            conf = self.copy_conf(p, [(old, new)], f"bad-{kind}.conf")
            r = self.run_process(kind, "--config", conf)
            self.assertEqual(r.returncode, 1, r.stderr)
            self.assertRegex(r.stderr, rf'{re.escape(conf)}:[0-9]+: .*did you mean "{suggestion}"')

    def test_bad_values(self):
        for old, new, pattern in ((r"(?m)^name = node-1$", "name = node-1\nlog_level = loud", "log_level.*trace, debug|log_level.*trace.debug"),
                                  ("segment_bytes = 1MiB", "segment_bytes = many", "segment_bytes"),
                                  (r"\[node\]", "[nodes]", r"nodes"),
                                  (r"(?m)^listen = tcp.*$", "listen = http://x", "listen|address|tcp")):
            conf = self.copy_conf(self.cluster.nodes[0], [(old, new), ("name = node-1", "name = node-x"), (r"data_dir = .*", f"data_dir = {self.dir}/never"),
                                                          (r"\[admin\]\nlisten = .*", "[admin]\nlisten = 127.0.0.1:0")], "bad.conf")
            r = self.run_process("node", "--config", conf)
            self.assertEqual(r.returncode, 1, r.stderr)
            self.assertRegex(r.stderr, pattern)

    def test_missing_file_and_required_options(self):
        r = self.run_process("node", "--config", "/nonexistent.conf")
        self.assertEqual(r.returncode, 1)
        self.assertIn("/nonexistent.conf: No such file or directory", r.stderr)
        self.assertNotIn("required", r.stderr)
        r = self.run_process("sync")
        self.assertEqual(r.returncode, 1)
        self.assertIn("conninfo_file", r.stderr)
        self.assertEqual(self.run_process("node", "--nope").returncode, 2)

    # PostgreSQL

    def sync_with(self, conninfo, name="sync-bad"):
        path = os.path.join(self.dir, "bad.conninfo")
        with open(path, "w") as f:
            f.write(conninfo + "\n")
        os.chmod(path, 0o600)
        return self.copy_conf(self.cluster.syncs[0], [(r"conninfo_file = .*", f"conninfo_file = {path}"), ("name = sync-1", f"name = {name}"),
                                                      (r"(?m)^listen = tcp.*$", "listen = tcp://127.0.0.1:0"),
                                                      (r"\[admin\]\nlisten = .*", "[admin]\nlisten = 127.0.0.1:0")], "sync-bad.conf")

    def test_wrong_password(self):
        hba = os.path.join(self.pg.dir, "data", "pg_hba.conf")
        self.pg.psql("create role limited login password 'right'")
        with open(hba) as f:
            old = f.read()
        with open(hba, "w") as f:
            f.write("local all limited scram-sha-256\n" + old)
        self.pg.psql("select pg_reload_conf()")
        try:
            line = self.fails("sync", "password authentication failed", "--config",
                              self.sync_with(f"host={self.pg.dir} dbname=forebay user=limited password=wrongsecret"))
            self.assertNotIn("wrongsecret", line)
            self.fails("sync", "permission denied|rights|privilege", "--config",
                       self.sync_with(f"host={self.pg.dir} dbname=forebay user=limited password=right"))
        finally:
            with open(hba, "w") as f:
                f.write(old)
            self.pg.psql("select pg_reload_conf()")

    def test_missing_database(self):
        self.fails("sync", 'database "nowhere" does not exist', "--config", self.sync_with(f"host={self.pg.dir} dbname=nowhere user=postgres"))

    def test_missing_schema(self):
        self.pg.psql("create database empty")
        self.fails("sync", "forebay.*forebayctl db setup", "--config", self.sync_with(f"host={self.pg.dir} dbname=empty user=postgres"))

    def test_bad_conninfo(self):
        self.fails("sync", "nonsense|connection string|conninfo|connection option", "--config", self.sync_with("nonsense=1"))
        conf = self.copy_conf(self.cluster.syncs[0], [(r"conninfo_file = .*", "conninfo_file = /nonexistent"), ("name = sync-1", "name = s2")], "s2.conf")
        self.fails("sync", "/nonexistent", "--config", conf)

    def test_away_postgresql_is_waited_for(self):
        conf = self.sync_with(f"host={self.dir} dbname=forebay user=postgres", "sync-wait")
        p = subprocess.Popen([os.path.join(base.BIN, "forebay-sync"), "--config", conf], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
        try:
            with self.assertRaises(subprocess.TimeoutExpired):
                p.wait(2)
        finally:
            p.terminate()
            self.assertEqual(p.wait(20), 0)
            p.communicate()

    # addresses and names

    def test_port_in_use(self):
        node, router = self.cluster.nodes[0], self.cluster.routers[0]
        conf = self.copy_conf(router, [("name = router-1", "name = router-x"), (r"\[admin\]\nlisten = .*", "[admin]\nlisten = 127.0.0.1:0")], "rx.conf")
        self.fails("router", f"{router.port}.*in use", "--config", conf)
        conf = self.copy_conf(router, [("name = router-1", "name = router-x"), (r"\[router\]\nlisten = .*", "[router]\nlisten = 127.0.0.1:0")], "rx.conf")
        self.fails("router", f"{router.admin}.*in use", "--config", conf)
        dir = os.path.join(self.dir, "nx")
        conf = self.copy_conf(node, [("name = node-1", "name = node-x"), (r"data_dir = .*", f"data_dir = {dir}"),
                                     (r"\[admin\]\nlisten = .*", "[admin]\nlisten = 127.0.0.1:0")], "nx.conf")
        self.fails("node", f"{node.port}.*in use", "--config", conf)

    def test_second_process_of_the_same_name(self):
        dir = os.path.join(self.dir, "twin")
        conf = self.copy_conf(self.cluster.nodes[0], [(r"data_dir = .*", f"data_dir = {dir}"), (r"(?m)^listen = tcp.*$", "listen = tcp://127.0.0.1:0"),
                                                      (r"\[admin\]\nlisten = .*", "[admin]\nlisten = 127.0.0.1:0")], "twin.conf")
        self.fails("node", "node-1", "--config", conf)
        self.assertEqual(self.cluster.nodes[0].http("/readyz")[0], 200)
        conf = self.copy_conf(self.cluster.syncs[0], [(r"(?m)^listen = tcp.*$", "listen = tcp://127.0.0.1:0"),
                                                      (r"\[admin\]\nlisten = .*", "[admin]\nlisten = 127.0.0.1:0")], "twin.conf")
        self.fails("sync", "sync-1", "--config", conf)

    # data directories

    def stopped(self, node):
        """A node with data, stopped: a copy of it to spoil."""
        for i in range(300):
            self.r.set(f"k{i}", "v" * 1000)
        self.synced()
        self.assertEqual(node.stop(), 0)
        before = digest(node.home + "/data")
        self.assertTrue(before)
        return before

    def starts_again(self, node):
        node.start()
        wait_for("the node", node.ready, 60)
        wait_for("the key", lambda: self.value("k1") == b"v" * 1000)

    def value(self, key):
        try:
            return self.r.get(key)
        except Exception:
            return None

    def test_second_process_on_the_same_directory(self):
        node = self.cluster.nodes[0]
        conf = self.copy_conf(node, [("name = node-1", "name = node-y"), (r"(?m)^listen = tcp.*$", "listen = tcp://127.0.0.1:0"),
                                     (r"\[admin\]\nlisten = .*", "[admin]\nlisten = 127.0.0.1:0")], "ny.conf")
        self.fails("node", f"{node.home}/data.*(used|locked|{node.pid}|belongs)", "--config", conf)
        self.assertEqual(node.http("/readyz")[0], 200)

    def test_foreign_directory(self):
        node = self.cluster.nodes[1]
        before = self.stopped(node)
        try:
            # another cluster
            other = tempfile.mkdtemp(prefix="fb-", dir="/tmp")
            try:
                conf = self.copy_conf(node, [(r"coordinator = .*", f"coordinator = file://{other}/coordinator")], "foreign.conf")
                self.fails("node", "cluster", "--config", conf)
            finally:
                shutil.rmtree(other)
            # another node of the same cluster
            conf = self.copy_conf(node, [("name = node-2", "name = node-z")], "nz.conf")
            self.fails("node", "node-2", "--config", conf)
            self.assertEqual(digest(node.home + "/data"), before)
        finally:
            self.starts_again(node)

    def test_empty_directory_of_a_leader(self):
        node = self.cluster.nodes[1]
        before = self.stopped(node)
        os.rename(node.home + "/data", node.home + "/aside")
        try:
            self.fails("node", "node-2 leads [0-9]+ partitions.*accept_empty_data_dir", "--config", node.conf)
        finally:
            shutil.rmtree(node.home + "/data", ignore_errors=True)
            os.rename(node.home + "/aside", node.home + "/data")
        self.assertEqual(digest(node.home + "/data"), before)
        self.starts_again(node)

    def test_directory_that_cannot_be_used(self):
        node = self.cluster.nodes[0]
        for path, pattern in (("/proc/nope", "/proc/nope"), (node.conf, re.escape(node.conf))):
            conf = self.copy_conf(node, [("name = node-1", "name = node-w"), (r"data_dir = .*", f"data_dir = {path}"),
                                         (r"(?m)^listen = tcp.*$", "listen = tcp://127.0.0.1:0"),
                                         (r"\[admin\]\nlisten = .*", "[admin]\nlisten = 127.0.0.1:0")], "nw.conf")
            self.fails("node", pattern, "--config", conf)

    def flip(self, path, at):
        with open(path, "r+b") as f:
            f.seek(at)
            b = f.read(1)
            f.seek(at)
            f.write(bytes([b[0] ^ 0x10]))

    def test_flipped_byte_in_the_log(self):
        node = self.cluster.nodes[1]
        before = self.stopped(node)
        segments = sorted(s for s in before if s.endswith(".seg") and os.path.getsize(f"{node.home}/data/{s}") > 8192)
        self.assertTrue(segments, before)
        path = f"{node.home}/data/{segments[0]}"
        for at in (40, 2000, os.path.getsize(path) // 2):
            self.flip(path, at)
            try:
                spoiled = digest(node.home + "/data")
                self.fails("node", re.escape(os.path.basename(path)), "--config", node.conf)
                after = digest(node.home + "/data")
                self.assertEqual({k: v for k, v in after.items() if k.endswith(".seg")},
                                 {k: v for k, v in spoiled.items() if k.endswith(".seg")})
            finally:
                self.flip(path, at)
        self.starts_again(node)

    def test_cut_segment(self):
        node = self.cluster.nodes[1]
        before = self.stopped(node)
        segments = sorted(s for s in before if s.endswith(".seg") and os.path.getsize(f"{node.home}/data/{s}") > 8192)
        path = f"{node.home}/data/{segments[0]}"
        shutil.copy2(path, path + ".aside")
        os.rename(path + ".aside", f"{node.home}/aside.seg")
        with open(path, "r+b") as f:
            f.truncate(os.path.getsize(path) // 2)
        try:
            self.fails("node", re.escape(os.path.basename(path)), "--config", node.conf)
        finally:
            shutil.copy2(f"{node.home}/aside.seg", path)
        self.starts_again(node)

    def test_flipped_byte_in_a_snapshot(self):
        """The older snapshot and the log serve, or the start is refused: never the damaged bytes."""
        node = self.cluster.nodes[1]
        for i in range(300):
            self.r.set(f"k{i}", "v" * 1000)
        self.cluster.ctl("snapshot", "create", "--node", "node-2")
        snaps = wait_for("snapshots", lambda: [s for s in glob.glob(node.home + "/data/snapshot/*.snap") if os.path.getsize(s) > 4096])
        wait_for("the end of the round", lambda: not glob.glob(node.home + "/data/snapshot/*tmp*"))
        self.synced()
        self.assertEqual(node.stop(), 0)
        path = sorted(snaps)[0]
        at = os.path.getsize(path) // 2
        self.flip(path, at)
        r = None
        try:
            node.start()
            up = wait_for("an end of the start", lambda: not node.alive() or node.http("/readyz")[0] == 200, 60)
            self.assertTrue(up)
            text = node.tail(60)
            self.assertIn(os.path.basename(path), text)
            if node.alive():
                for i in range(300):
                    self.assertEqual(wait_for("a value", lambda: self.value(f"k{i}")), b"v" * 1000)
        finally:
            if not node.alive():
                self.assertEqual(node.popen.returncode, 1, node.tail())
            node.stop()
            if os.path.exists(path):
                self.flip(path, at)
            self.starts_again(node)


if __name__ == "__main__":
    base.main()
