"""A private etcd on free loopback ports, of one or more members, for tools/quickstart and the tests."""

import os
import shutil
import subprocess
import urllib.error
import urllib.request

from process import Failure, Process, free_port, wait_for


class Etcd:
    """Members are Process objects: kill(), start(), stop() and signals work on each alone. `tls` names files: ca, cert, key of the
    servers; with `client_ca` clients need a certificate of it. With a network (Cluster) each member has a host of its own."""

    def __init__(self, dir, members=1, name="main", tls=None, client_ca=None, network=None):
        self.dir, self.name, self.tls = dir, name, tls
        self.client_ca, self.network = client_ca, network
        if shutil.which("etcd") is None:
            raise Failure("there is no program etcd: install the package etcd-server")
        self.ports = [free_port() for _ in range(members)]
        self.peers = [free_port() for _ in range(members)]
        self.hosts = [network.address(f"etcd-{i + 1}") if network else "127.0.0.1" for i in range(members)]
        self.members = [self._member(i) for i in range(members)]

    def _member(self, i):
        scheme = "https" if self.tls else "http"
        name, host = f"etcd-{i + 1}", self.hosts[i]
        client, peer = f"{scheme}://{host}:{self.ports[i]}", f"http://{host}:{self.peers[i]}"
        cluster = ",".join(f"m{j}=http://{h}:{p}" for j, (h, p) in enumerate(zip(self.hosts, self.peers)))
        argv = ["etcd", "--name", f"m{i}", "--data-dir", os.path.join(self.dir, f"m{i}"),
                "--listen-client-urls", client, "--advertise-client-urls", client,
                "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", cluster,
                "--logger", "zap", "--log-level", "warn"]
        if self.tls:
            argv += ["--cert-file", self.tls["cert"], "--key-file", self.tls["key"]]
        if self.client_ca:
            argv += ["--client-cert-auth", "--trusted-ca-file", self.client_ca]
        return Process(name, self.network.inside(name, argv) if self.network else argv, os.path.join(self.dir, f"m{i}.log"))

    def url(self, name=None, members=None, options=""):
        hosts = ",".join(f"{self.hosts[i]}:{self.ports[i]}" for i in (members or range(len(self.members))))
        return f"etcd://{hosts}/{name or self.name}" + (f"?{options}" if options else "")

    def answers(self, i):
        """Does member i answer, with a leader? (plain HTTP only)"""
        if not self.members[i].alive():
            raise Failure(f"{self.members[i].name} ended with status {self.members[i].popen.returncode}:\n{self.members[i].tail()}")
        try:
            with urllib.request.urlopen(f"http://{self.hosts[i]}:{self.ports[i]}/health", timeout=2) as r:
                return r.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def start(self):
        os.makedirs(self.dir, mode=0o700, exist_ok=True)
        for m in self.members:
            m.start()
        if not self.tls:
            for i in range(len(self.members)):
                wait_for(f"etcd on port {self.ports[i]}", lambda i=i: self.answers(i))

    def ctl(self, *args, options=(), check=True):
        """etcdctl (package etcd-client) on all members."""
        scheme = "https" if self.tls else "http"
        endpoints = ",".join(f"{scheme}://{h}:{p}" for h, p in zip(self.hosts, self.ports))
        r = subprocess.run(["etcdctl", "--endpoints", endpoints, *options, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True, timeout=60, env={**os.environ, "ETCDCTL_API": "3"})
        if check and r.returncode != 0:
            raise Failure(f"etcdctl {' '.join(args)}: {r.stderr.strip()}")
        return r

    def kill(self):
        for m in self.members:
            if m.popen is not None:
                m.kill()

    def stop(self):
        """Problems as a list of texts."""
        problems = []
        for m in self.members:
            try:
                if m.popen is not None:
                    m.stop()  # its exit status after SIGTERM is its own affair
            except Failure as e:
                problems.append(str(e))
        return problems
