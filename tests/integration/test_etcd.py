"""Goal: a cluster over etcd lives through what etcd can do, and whoever cannot use etcd hears in one line why and what to do.

Method: real processes; etcd of three members that are killed and stopped, etcd with TLS and client certificates, etcd with users.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import base
from base import ClusterTest, Failure, wait_for
from etcd import Etcd
from load import AUDIT, Writers, check_history


def forebayctl(url, *args):
    return subprocess.run([os.path.join(base.BIN, "forebayctl"), "--cluster", url, *args], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)


class EtcdFails(ClusterTest):
    settings = {"nodes": 2, "syncs": 1, "routers": 1, "coordinator": "etcd", "etcd_members": 3}
    config = "[cluster]\nreplicas = 0\npartitions = 16\n[namespace durable]\ndurability = durable\nsync_interval = 50ms\n"

    def up(self, p):
        return float(re.search(r"(?m)^forebay_coordinator_up (\S+)$", p.http("/metrics")[1]).group(1))

    def wait_up(self, value):
        for p in self.cluster.processes():
            wait_for(f"coordinator_up = {value} of {p.name}", lambda p=p: self.up(p) == value, 40)

    def test_primaries_serve_on(self):
        """kill -9 and SIGSTOP of members under load, quorum lost and found: no write is refused, none is lost."""
        etcd = self.cluster.etcd.members
        self.pg.script(AUDIT)
        writers = Writers(self.cluster, prefix="durable").start()

        def more(count=100):
            goal = writers.writes + count
            wait_for("writes to go on", lambda: writers.failure or writers.writes >= goal, 30)
            if writers.failure:
                raise writers.failure
        try:
            more()
            etcd[0].kill()  # one of three: everything works
            more()
            self.assertEqual(self.cluster.ctl("config", "show").returncode, 0)
            etcd[1].kill(signal.SIGSTOP)  # the quorum is lost
            self.wait_up(0)
            more()
            r = self.cluster.ctl("config", "show", check=False)
            self.assertEqual(r.returncode, 4, r.stderr)
            self.assertEqual(len(r.stderr.strip().splitlines()), 1, r.stderr)
            self.assertIn("does not answer in time", r.stderr)
            etcd[1].kill(signal.SIGCONT)
            etcd[0].start()
            self.wait_up(1)
            more()
            for m in etcd:
                m.kill()
            more()
            for m in etcd:
                m.start()
            self.wait_up(1)
            more()
        finally:
            writers.stop()
        self.assertEqual(writers.errors, {}, writers.texts)
        self.synced()
        check_history(self, self.cluster, [writers])
        # it is a cluster as before: a change of the configuration reaches everybody
        self.cluster.apply(self.config + "[namespace later]\nsync_interval = 1s\n")
        self.assertTrue(self.r.set("later:x", "1"))

    def test_another_cluster_is_not_touched(self):
        """A node with data at an etcd that holds another cluster, or none."""
        etcd, node = self.cluster.etcd, self.cluster.nodes[1]
        self.assertEqual(node.stop(), 0)
        conf = os.path.join(self.dir, "foreign.conf")
        other = os.path.join(self.dir, "other.conf")
        with open(other, "w") as f:
            f.write("[cluster]\npartitions = 16\n")
        try:
            for name, words in (("nothing", "the coordinator holds none"), ("other", "another cluster|belongs to")):
                if name == "other":
                    self.assertEqual(forebayctl(etcd.url("other"), "config", "apply", other, "-y", "--no-wait").returncode, 0)
                before = etcd.ctl("get", "--prefix", f"/forebay/{name}/").stdout
                with open(node.conf) as f, open(conf, "w") as to:
                    to.write(f.read().replace(etcd.url(), etcd.url(name)))
                r = subprocess.run([node.argv[0], "--config", conf], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True, timeout=60)
                self.assertEqual(r.returncode, 1, r.stderr)
                lines = [x for x in r.stderr.splitlines() if "level=error" in x]
                self.assertEqual(len(lines), 1, r.stderr)
                self.assertRegex(lines[0], words)
                self.assertEqual(etcd.ctl("get", "--prefix", f"/forebay/{name}/").stdout, before)
        finally:
            node.start()
            self.cluster.wait_ready()

    def test_same_name_twice(self):
        node = self.cluster.nodes[0]
        conf = os.path.join(self.dir, "twice.conf")
        with open(node.conf) as f, open(conf, "w") as to:
            text = re.sub(r"data_dir = .*", f"data_dir = {self.dir}/twice", f.read())
            to.write(re.sub(r"\[admin\]\nlisten = .*", "[admin]\nlisten = 127.0.0.1:0", re.sub(r"tcp://.*", "tcp://127.0.0.1:0", text)))
        r = subprocess.run([node.argv[0], "--config", conf, "--node.accept_empty_data_dir=yes"], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual(r.returncode, 1, r.stderr)
        self.assertRegex(r.stderr, f"node-1 is running already, as process {node.pid} on host")

    def test_meta_of_another_cluster(self):
        """The keys are replaced under running processes: told once, not acted upon (I34)."""
        etcd = self.cluster.etcd
        key = "/forebay/main/meta"
        meta = etcd.ctl("get", "--print-value-only", key).stdout.rstrip("\n")
        try:
            etcd.ctl("put", key, re.sub(r'"cluster": "....', '"cluster": "0000', meta))
            self.wait_up(0)
            with open(self.cluster.nodes[0].log) as f:
                self.assertIn("another cluster now", f.read())
            self.assertTrue(self.r.set("durable:still", "served"))
        finally:
            etcd.ctl("put", key, meta)
        self.wait_up(1)


def openssl(*args, cwd):
    r = subprocess.run(["openssl", *args], cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if r.returncode != 0:
        raise Failure(f"openssl {' '.join(args)}: {r.stderr}")


def certificates(dir):
    """ca.pem signs server, client and expired ones; other.pem is a CA that signs nobody but `foreign`."""
    for ca in ("ca", "other"):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30", "-subj", f"/O={ca}",
                "-keyout", f"{ca}.key", "-out", f"{ca}.pem", cwd=dir)
    with open(os.path.join(dir, "ext"), "w") as f:
        f.write("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
    for name, ca, dates in (("server", "ca", ()), ("client", "ca", ()), ("foreign", "other", ()),
                            ("expired", "ca", ("-startdate", "20200101000000Z", "-enddate", "20200102000000Z"))):
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/O={name}",
                "-keyout", f"{name}.key", "-out", f"{name}.csr", cwd=dir)
        if dates:  # openssl x509 of this release cannot give dates of the past, ca can
            open(os.path.join(dir, "index"), "w").close()
            with open(os.path.join(dir, "ca.conf"), "w") as f:
                f.write("[ca]\ndefault_ca=x\n[x]\ndatabase=index\nnew_certs_dir=.\nrand_serial=yes\ndefault_md=sha256\npolicy=p\n"
                        "[p]\norganizationName=supplied\n")
            openssl("ca", "-batch", "-notext", "-config", "ca.conf", "-cert", f"{ca}.pem", "-keyfile", f"{ca}.key", "-extfile", "ext", *dates,
                    "-in", f"{name}.csr", "-out", f"{name}.pem", cwd=dir)
        else:
            openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-CAcreateserial", "-days", "30",
                    "-extfile", "ext", "-out", f"{name}.pem", cwd=dir)


class Access(unittest.TestCase):
    """Certificates and users: what is right works, each wrong one is told."""

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="fb-", dir="/tmp")
        self.servers = []
        self.addCleanup(self.end)
        with open(self.path("cluster.conf"), "w") as f:
            f.write("[cluster]\npartitions = 4\n")

    def end(self):
        for e in self.servers:
            e.kill()
        shutil.rmtree(self.dir)

    def path(self, name):
        return os.path.join(self.dir, name)

    def etcd(self, dir, **kw):
        e = Etcd(self.path(dir), **kw)
        self.servers.append(e)
        e.start()
        return e

    def works(self, url):
        wait_for("etcd to answer", lambda: forebayctl(url, "config", "apply", self.path("cluster.conf"), "-y").returncode == 0)

    def refused(self, url, pattern):
        started = time.monotonic()
        r = forebayctl(url, "config", "show")
        self.assertIn(r.returncode, (2, 4), r.stderr)
        self.assertEqual(len(r.stderr.strip().splitlines()), 1, r.stderr)
        self.assertRegex(r.stderr, pattern)
        self.assertLess(time.monotonic() - started, 15)

    def test_tls(self):
        certificates(self.dir)
        p = self.path
        e = self.etcd("tls", tls={"cert": p("server.pem"), "key": p("server.key")}, client_ca=p("ca.pem"))

        def with_(ca, name=None):
            return e.url(options=f"ca={p(ca)}" + (f"&cert={p(name)}.pem&key={p(name)}.key" if name else ""))
        self.works(with_("ca.pem", "client"))
        self.refused(with_("other.pem", "client"), "not signed by a CA of ca=.*other.pem")
        self.refused(with_("ca.pem"), "refuses this process's certificate.*cert=not given")
        self.refused(with_("ca.pem", "expired"), "refuses this process's certificate .*expired.pem")
        self.refused(with_("ca.pem", "foreign"), "refuses this process's certificate .*foreign.pem")
        self.refused(with_("nowhere.pem", "client"), "ca=.*nowhere.pem cannot be read")
        self.refused(e.url(options=f"ca={p('ca.pem')}&cert={p('client.pem')}&key={p('server.key')}"), "cannot be used.*its own key")
        self.refused(e.url(), "speaks TLS only, add ca=FILE")
        self.refused(e.url(options=f"ca={p('ca.pem')}&cert={p('client.pem')}"), "belong together")
        self.refused(e.url(options="sslmode=require"), "possible once")
        old = self.etcd("old", tls={"cert": p("expired.pem"), "key": p("expired.key")})
        wait_for("its port", lambda: "cannot be reached" not in forebayctl(old.url(options=f"ca={p('ca.pem')}"), "config", "show").stderr)
        self.refused(old.url(options=f"ca={p('ca.pem')}"), "the certificate of etcd at .* has expired; renew it")

    def test_users(self):
        e = self.etcd("users")
        with open(self.path("password"), "w") as f:
            f.write("right\n")
        with open(self.path("wrong"), "w") as f:
            f.write("wrong\n")
        self.refused(e.url(options="tls=yes"), "does not speak TLS")
        for args in (("user", "add", "root:root"), ("user", "add", "app:right"), ("user", "add", "guest:right"), ("role", "add", "app"),
                     ("role", "grant-permission", "app", "--prefix=true", "readwrite", "/forebay/main/"), ("user", "grant-role", "app", "app")):
            e.ctl(*args)
        self.works(e.url(options=f"user=app&password_file={self.path('password')}"))  # before it is switched on, too
        e.ctl("user", "grant-role", "root", "root")
        e.ctl("auth", "enable")
        self.works(e.url(options=f"user=app&password_file={self.path('password')}"))
        self.refused(e.url(), "wants a user: add user=NAME&password_file=FILE")
        self.refused(e.url(options=f"user=app&password_file={self.path('wrong')}"), "does not know user app with the password in .*wrong")
        self.refused(e.url(options=f"user=guest&password_file={self.path('password')}"), "user guest has no right.*readwrite on the prefix /forebay/main/")
        self.refused(e.url(options=f"user=app&password_file={self.path('none')}"), "password_file .*none: No such file")


if __name__ == "__main__":
    base.main()
