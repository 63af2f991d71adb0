"""A cluster of real processes on this machine, for tools/quickstart and the tests.

Every process is ours: started here, ended here by its pid, with its own directory below `dir`. Ports are free ones.
"""

import json
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from etcd import Etcd  # noqa: E402
from process import Failure, Process, free_port, wait_for  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PG_SERVER = os.path.join(ROOT, "tests", "integration", "pg_server")


class PostgreSQL:
    """A private server in `dir`, on a unix socket; with a network also on its host there, as `remote` says."""

    def __init__(self, dir, settings=(), network=None):
        self.dir, self.settings, self.network = dir, settings, network
        self.conninfo = self.remote = f"host={dir} port=5432 dbname=forebay user=postgres"
        if network:
            self.remote = self.conninfo.replace(dir, network.address("postgresql"))

    def start(self):
        settings = self.settings
        if self.network:
            hba = self.dir + ".hba"
            with open(hba, "w") as f:
                f.write(f"local all all trust\nhost all all {self.network.subnet} trust\n")
            settings = (*settings, f"listen_addresses={self.network.address('postgresql')}", f"hba_file={hba}")
        self._run("start", *settings)

    def stop(self, mode="fast"):
        self._run("stop", mode)

    def _run(self, verb, *args):
        command = [PG_SERVER, verb, self.dir, *args]
        r = subprocess.run(self.network.inside("postgresql", command) if self.network else command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True)
        if r.returncode != 0:
            raise Failure(f"PostgreSQL {verb}: {r.stderr.strip()}")

    def psql(self, sql, timeout=60):
        """Rows of a statement as lists of text (unaligned, tab-separated)."""
        r = subprocess.run(["psql", "-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-d", self.conninfo, "-c", sql],
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout)
        if r.returncode != 0:
            raise Failure(f"psql: {r.stderr.strip()}")
        return [line.split("\t") for line in r.stdout.splitlines()]

    def script(self, path_or_sql):
        r = subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", self.conninfo, "-f", "-"], input=path_or_sql,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if r.returncode != 0:
            raise Failure(f"psql: {r.stderr.strip()}")


class Cluster:
    """Nodes, sync processes and routers over a coordinator: "file", "etcd" (a private one), or an Etcd that is the caller's.
    With a network (`address(name)`, `inside(name, argv)`, `subnet`) each process has a host of its own there, not loopback."""

    def __init__(self, dir, bin, nodes=3, syncs=2, routers=1, replicas=0, port=0, host="127.0.0.1", config="", conninfo=None,
                 node_options=None, sync_options=None, router_options=None, pg_settings=(), coordinator="file", etcd_members=1,
                 network=None):
        self.dir, self.bin, self.host = os.path.abspath(dir), bin, host
        self.replicas, self.network = replicas, network
        os.makedirs(self.dir, exist_ok=True)
        os.chmod(self.dir, 0o755)
        self.pg = None if conninfo else PostgreSQL(os.path.join(self.dir, "pg"), pg_settings, network)
        self.conninfo = conninfo or self.pg.remote
        self.etcd = Etcd(os.path.join(self.dir, "etcd"), etcd_members, network=network) if coordinator == "etcd" else None
        self.coordinator = (self.etcd.url() if self.etcd else coordinator.url() if isinstance(coordinator, Etcd)
                            else "file://" + os.path.join(self.dir, "coordinator"))
        self.config = config
        self.options = {"node": node_options or {}, "sync": sync_options or {}, "router": router_options or {}}
        self.port = port or free_port()
        self.nodes = [self._process("node", i + 1) for i in range(nodes)]
        self.syncs = [self._process("sync", i + 1) for i in range(syncs)]
        self.routers = [self._process("router", i + 1) for i in range(routers)]

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"

    def processes(self):
        return self.nodes + self.syncs + self.routers

    def _process(self, kind, number):
        name = f"{kind}-{number}"
        home = os.path.join(self.dir, name)
        conf = os.path.join(home, "forebay.conf")
        argv = [os.path.join(self.bin, f"forebay-{kind}"), "--config", conf]
        p = Process(name, self.network.inside(name, argv) if self.network else argv, os.path.join(home, "log"))
        p.kind, p.home, p.conf = kind, home, conf
        p.host = self.network.address(name) if self.network else "127.0.0.1"
        p.port = self.port if kind == "router" and number == 1 else free_port()
        p.admin = f"{p.host}:{free_port()}"
        return p

    def write_config(self, p):
        os.makedirs(p.home, exist_ok=True)
        sections = {"process": {"name": p.name, "coordinator": self.coordinator}, "admin": {"listen": p.admin}}
        if p.kind == "node":
            sections["node"] = {"listen": f"tcp://{p.host}:{p.port}", "data_dir": os.path.join(p.home, "data")}
        elif p.kind == "sync":
            conninfo_file = os.path.join(p.home, "pg.conninfo")
            fd = os.open(conninfo_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(fd, "w") as f:
                f.write(self.conninfo + "\n")
            sections["sync"] = {"conninfo_file": conninfo_file, "listen": f"tcp://{p.host}:{p.port}"}
        else:
            sections["router"] = {"listen": f"{p.host if self.network else self.host}:{p.port}"}
        sections.setdefault(p.kind, {}).update(self.options[p.kind])
        with open(p.conf, "w") as f:
            for section, values in sections.items():
                f.write(f"[{section}]\n" + "".join(f"{k} = {v}\n" for k, v in values.items()))

    def ctl(self, *args, check=True, timeout=60, input=None):
        """Runs forebayctl against this cluster; returns CompletedProcess (text)."""
        r = subprocess.run([os.path.join(self.bin, "forebayctl"), "--cluster", self.coordinator, *args], input=input,
                           stdin=None if input is not None else subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True, timeout=timeout)
        if check and r.returncode != 0:
            raise Failure(f"forebayctl {' '.join(args)}: exit {r.returncode}: {r.stderr.strip() or r.stdout.strip()}")
        return r

    def ctl_json(self, *args):
        return json.loads(self.ctl("-o", "json", *args).stdout)

    def apply(self, config):
        path = os.path.join(self.dir, "cluster.conf")
        with open(path, "w") as f:
            f.write(config)
        return self.ctl("config", "apply", path, "-y")

    def db_setup(self):
        path = os.path.join(self.dir, "admin.conninfo")
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w") as f:
            f.write(self.conninfo + "\n")
        self.ctl("db", "setup", "--conninfo-file", path, "-y")

    def start(self, tables="", progress=lambda text: None):
        """PostgreSQL, schema, configuration, then every process; returns when the cluster is healthy."""
        if self.pg:
            progress("starting PostgreSQL")
            self.pg.start()
        if self.etcd:
            progress("starting etcd")
            self.etcd.start()
        if tables:
            self.pg.script(tables)
        progress("creating the schema forebay")
        self.db_setup()
        if self.config:
            self.apply(self.config)
        progress(f"starting {len(self.nodes)} nodes, {len(self.syncs)} sync processes, {len(self.routers)} routers")
        for p in self.processes():
            self.write_config(p)
            p.start()
        self.wait_ready()

    def wait_ready(self, timeout=60):
        for p in self.processes():
            wait_for(f"{p.name} to be ready ({p.http('/readyz')[1].strip()})", p.ready, timeout)

    def wait_synced(self, timeout=60):
        """Until nothing is dirty on any node."""
        def clean():
            for p in self.nodes:
                status, body = p.http("/statusz")
                if status != 200:
                    return False
                o = json.loads(body)
                o = o.get("status", o)
                if o.get("state") != "serving" or o["objects"]["dirty"] - o["objects"]["parked"] > 0 or o["objects"]["tombstone"] > 0:
                    return False
            return True
        wait_for("every change to be in PostgreSQL", clean, timeout)

    def stop(self):
        """Routers first, so that nobody asks those that go; returns problems as a list of texts."""
        problems = []
        for p in self.routers + self.syncs + self.nodes:
            try:
                if p.popen is not None and p.stop() not in (0, None):
                    problems.append(f"{p.name} ended with status {p.popen.returncode}:\n{p.tail()}")
            except Failure as e:
                problems.append(str(e))
        if self.etcd:
            problems += self.etcd.stop()
        if self.pg and os.path.isdir(os.path.join(self.pg.dir, "data")):
            try:
                self.pg.stop()
            except Failure as e:
                problems.append(str(e))
        return problems

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)
