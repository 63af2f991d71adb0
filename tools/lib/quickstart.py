"""tools/quickstart after the build: start everything, tell how to connect, stay or run a command, clean up."""

import argparse
import os
import shlex
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Cluster, Failure  # noqa: E402

TABLES = """
create schema if not exists app;
create table if not exists app.users (
    id bigint primary key,
    name text not null,
    email varchar(120),
    plan text not null default 'free',
    logins int not null default 0,
    created_at timestamptz not null default now()
);
insert into app.users (id, name, email)
    select i, 'user ' || i, 'user' || i || '@example.org' from generate_series(1, 1000) i on conflict do nothing;
"""

CONFIG = """
[cluster]
replicas = {replicas}

[namespace session]
ttl = 30m

[namespace user]
table = app.users
key = id
value = row
"""


def parse(argv):
    p = argparse.ArgumentParser(prog="tools/quickstart", description="A whole Forebay on this machine: a private PostgreSQL, nodes, "
                                "sync processes and a router. Stays until Ctrl-C, or runs COMMAND and stops.")
    p.add_argument("--bin", default=None, help=argparse.SUPPRESS)
    p.add_argument("--nodes", type=int, default=3, metavar="N", help="number of nodes (default 3)")
    p.add_argument("--replicas", type=int, default=None, metavar="R",
                   help="further copies of each partition (default 1, with one node 0)")
    p.add_argument("--port", type=int, default=6380, metavar="P", help="port of the router, 0 = a free one (default 6380; with a COMMAND 0)")
    p.add_argument("--dir", metavar="DIR", help="where everything lives (default: a new directory below /tmp)")
    p.add_argument("--config", metavar="FILE", help="cluster.conf to apply instead of the demo's")
    p.add_argument("--coordinator", choices=("file", "etcd"), default="file",
                   help="where the cluster's map is kept: a directory, or a private etcd (default file)")
    p.add_argument("--keep", action="store_true", help="leave DIR when it ends; starting again with --dir goes on with it")
    p.add_argument("--pg", metavar="CONNINFO", help="use this PostgreSQL instead of a private one")
    p.add_argument("--table", metavar="SCHEMA.TABLE", help="with --pg: serve this table, read-only at first")
    p.add_argument("--key", default="id", metavar="COLUMN", help="with --table: its key column (default id)")
    p.add_argument("-y", "--yes", action="store_true", help="with --pg: do not ask before the schema forebay is created there")
    p.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND ...", help="run this with FOREBAY_URL, FOREBAY_PG, "
                   "FOREBAY_CLUSTER and FOREBAY_DIR set, then stop everything and exit with its status")
    a = p.parse_args(argv)
    if a.command and a.command[0] == "--":
        a.command = a.command[1:]
    if not 1 <= a.nodes <= 16:
        p.error("--nodes must be between 1 and 16")
    if a.replicas is None:
        a.replicas = min(1, a.nodes - 1)
    if not 0 <= a.replicas <= min(6, a.nodes - 1):
        p.error("--replicas must be between 0 and 6, and less than --nodes")
    if a.table and not a.pg:
        p.error("--table needs --pg CONNINFO")
    if a.command and a.port == 6380 and "--port" not in " ".join(argv):
        a.port = 0
    return a


def say(text):
    print(text, file=sys.stderr, flush=True)


def settings_of(a):
    """(cluster.conf text, demo tables)"""
    if a.config:
        with open(a.config) as f:
            return f.read(), ""
    if a.pg:
        ns = a.table.split(".")[-1] if a.table else None
        text = f"[cluster]\nreplicas = {a.replicas}\n"
        if ns:
            text += f"\n[namespace {ns}]\ntable = {a.table}\nkey = {a.key}\nvalue = row\nread_only = yes\n"
        return text, ""
    return CONFIG.format(replicas=a.replicas), TABLES


def confirm_foreign(cluster, config, yes):
    """Nothing is changed in somebody's database before they saw what."""
    say("This mapping will be served:\n" + "".join("    " + line + "\n" for line in config.splitlines() if line))
    say("These statements will be run in your database:\n")
    say(cluster.ctl("db", "setup", "--print").stdout)
    if yes:
        return
    if not sys.stdin.isatty():
        raise Failure("say -y to run them, or run this on a terminal")
    if input("Run them? [y/N] ").strip().lower() not in ("y", "yes"):
        raise Failure("nothing was changed")


def environment(cluster):
    return {"FOREBAY_URL": cluster.url, "FOREBAY_PG": cluster.conninfo, "FOREBAY_CLUSTER": cluster.coordinator,
            "FOREBAY_DIR": cluster.dir}


def write_env(cluster):
    """A file to source in other terminals; a connection string with a password stays the owner's."""
    path = os.path.join(cluster.dir, "env")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w") as f:
        for name, value in environment(cluster).items():
            f.write(f"export {name}={shlex.quote(value)}\n")
        f.write(f"export PATH={shlex.quote(cluster.bin)}:$PATH\n")
    return path


def describe(cluster, a):
    say(f"""
Forebay is up: {len(cluster.nodes)} nodes, {len(cluster.syncs)} sync processes, 1 router, all in {cluster.dir}

  Redis clients      redis-cli -p {cluster.port}          ({cluster.url})
  SQL                psql "{cluster.conninfo}"
  admin CLI          . {write_env(cluster)}
                     forebayctl status""")
    if not a.config and not a.pg:
        say(f"""
  try                redis-cli -p {cluster.port} hset user:1 plan gold
                     redis-cli -p {cluster.port} hgetall user:1
                     psql "{cluster.conninfo}" -c 'select * from app.users where id = 1'   (5 seconds later)""")


def run_command(cluster, command):
    env = {**os.environ, **environment(cluster), "PATH": cluster.bin + ":" + os.environ.get("PATH", "")}
    try:
        return subprocess.call(command, env=env)
    except OSError as e:
        say(f"quickstart: {shlex.join(command)}: {e.strerror}")
        return 127


def main(argv):
    a = parse(argv)
    made = a.dir is None
    dir = a.dir or tempfile.mkdtemp(prefix="forebay-", dir="/tmp")
    for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(s, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    status = 1
    cluster = None
    try:
        config, tables = settings_of(a)
        cluster = Cluster(dir, a.bin, nodes=a.nodes, port=a.port, config=config, conninfo=a.pg, coordinator=a.coordinator)
        if a.pg:
            confirm_foreign(cluster, config, a.yes)
        cluster.start(tables, say)
        if a.command:
            status = run_command(cluster, a.command)
        else:
            describe(cluster, a)
            status = 0  # from here on the end is the user's wish
            say("\nCtrl-C stops it.")
            signal.pause()
    except KeyboardInterrupt:
        status = 130 if a.command else status
        say("")
    except (Failure, OSError, subprocess.TimeoutExpired) as e:
        say(f"quickstart: {e}")
        status = 1
    finally:
        for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(s, signal.SIG_IGN)  # what was begun is cleaned up
        if cluster is not None:
            say("stopping: what was acknowledged is written to the log first")
            for problem in cluster.stop():
                say(f"quickstart: {problem}")
                status = status or 1
            if a.keep or not made:
                say(f"everything stays in {dir}")
            elif status == 0 or a.command:
                cluster.remove()
            else:
                say(f"logs are in {dir}")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
