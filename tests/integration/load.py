"""Writers for the tests that kill, stop and pause things: each knows what it was promised."""

import itertools
import os
import random
import sys
import threading
import time

import redis

from base import ROOT, connect, read

sys.path.insert(0, os.path.join(ROOT, "tests", "history"))
from check_history import check, read_audit  # noqa: E402
from model import OPS  # noqa: E402
from ops import Recorder, read_log  # noqa: E402,F401

# what an error says that is sure to have had no effect
DEFINITE = ("nothing was changed", "nothing changed", "nothing happened", "nothing was done", "no effect")

AUDIT = """
create table audit (n bigserial primary key, ns text, id text, version bigint, value text, op text);
create function audit() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' then
        insert into audit (ns, id, version, op) values (old.ns, old.id, old.version, tg_op);
        return old;
    end if;
    insert into audit (ns, id, version, value, op) values (new.ns, new.id, new.version, convert_from(new.value, 'utf8'), tg_op);
    return new;
end $$;
create trigger audit after insert or update or delete on forebay.objects for each row execute function audit();
"""


class Writers:
    """`threads` clients; each writes growing numbers to its own keys, and remembers the last acknowledged one. With `history`
    (a Recorder) each also reads what the others write and counts with them on one key, and all of it is recorded. `tag` tells
    the keys of one test from those of another on the same cluster; `read` are the tags of others whose keys are read, too."""

    connections = itertools.count(1)

    def __init__(self, cluster, threads=4, keys=20, prefix="load", require=None, router=0, timeout=20, history=None, tag="", read=()):
        self.cluster, self.keys, self.prefix, self.tag = cluster, keys, prefix, tag
        self.read = (tag, *read)
        self.require, self.router = require, router
        self.timeout, self.history = timeout, history
        self.acked = {}        # key -> highest number that was acknowledged
        self.tried = {}        # key -> highest number that was sent
        self.errors = {}       # first word of the error -> count
        self.texts = set()
        self.writes = 0
        self.slowest = 0.0
        self.stopping = threading.Event()
        self.failure = None
        self.threads = [threading.Thread(target=self._run, args=(t,), daemon=True) for t in range(threads)]

    def start(self):
        for t in self.threads:
            t.start()
        return self

    def stop(self):
        self.stopping.set()
        for t in self.threads:
            t.join(self.timeout + 30)
            assert not t.is_alive(), "a writer hangs"
        if self.failure:
            raise self.failure

    def _open(self):
        r = connect(self.cluster, self.router, socket_timeout=self.timeout, single_connection_client=True)
        if self.require:
            r.execute_command("FB.REQUIRE", self.require)
        return r, next(self.connections)

    def _count(self, e):
        text = str(e).split(" of pipeline caused error: ")[-1]
        word = text.split(" ")[0] if isinstance(e, redis.ResponseError) else type(e).__name__
        self.errors[word] = self.errors.get(word, 0) + 1
        self.texts.add(text)

    def _call(self, r, conn, number, commands):
        """One pipeline; its replies, or the first error raised when all of it is recorded."""
        began, replies = Recorder.now(), []
        try:
            p = r.pipeline(transaction=False)
            for c in commands:
                p.execute_command(*c)
            replies = p.execute(raise_on_error=False)
        finally:
            if self.history:
                for i, c in enumerate(commands):
                    self._record(began, conn, number, i, c, replies[i] if replies else ConnectionError())
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

    def _record(self, began, conn, number, i, command, reply):
        name, key, *args = command
        result, version, outcome, ended = None, None, "ok", Recorder.now()
        if isinstance(reply, Exception):
            sure = isinstance(reply, redis.ResponseError) and any(d in str(reply) for d in DEFINITE)
            outcome = "fail" if sure or name == "FB.GET" else "unknown"
        elif name == "FB.GET" and reply and reply[0] is not None:
            result, version = reply[0].decode(), reply[1]
        elif name == "INCRBY":
            result = int(reply)
        self.history.write(client=f"{self.prefix}-{number}", key=key, op={"FB.GET": "get", "INCRBY": "incr"}.get(name, "set"),
                           args=[str(a) for a in args] or None, invoke=began, outcome=outcome, result=result, version=version,
                           require=self.require, conn=conn, n=began + i, **({} if outcome == "unknown" else {"return": ended}))

    def _commands(self, number, n, key):
        commands = [("SET", key, n)] if n % 3 else [("SET", key, n - 1), ("SET", key, n)]
        if self.history and n % 2 == 0:
            other = f"{self.prefix}:{random.choice(self.read)}{random.randrange(len(self.threads))}-{random.randrange(self.keys)}"
            commands.append(("FB.GET", other if n % 4 else key))
        if self.history and n % 5 == 0:
            commands.append(("INCRBY", f"{self.prefix}:{self.tag}count-0", 1))
        return commands

    def _run(self, number):
        try:
            r, n = None, 0
            while not self.stopping.is_set():
                n += 1
                key = f"{self.prefix}:{self.tag}{number}-{n % self.keys}"
                started = time.monotonic()
                try:
                    if r is None:
                        r, conn = self._open()
                    self.tried[key] = n
                    self._call(r, conn, number, self._commands(number, n, key))
                except (redis.ConnectionError, redis.TimeoutError) as e:
                    self._count(e)
                    if r is not None:
                        r.close()
                    r = None
                    self.stopping.wait(0.02)
                    continue
                except redis.ResponseError as e:
                    self._count(e)
                    self.stopping.wait(0.02)
                    continue
                self.acked[key] = n
                self.writes += 1
                self.slowest = max(self.slowest, time.monotonic() - started)
        except BaseException as e:  # noqa: B036
            self.failure = e


def check_recorded(test, path, audit=None):
    """The history checker over what a Recorder wrote; `audit` are the rows of the table of that name, all of them."""
    rows = None
    if audit is not None:
        rows = read_audit({"key": id if ns == "default" else f"{ns}:{id}", "version": int(version), "value": value}
                          for ns, id, version, value, _ in audit)
    with open(path) as f:
        report = check(read_log(f, OPS), rows, drained=audit is not None)
    print(f"history: {report.operations} operations on {report.objects} objects, {report.with_version} versions", file=sys.stderr)
    test.assertEqual(report.violations, [], f"the log is {path}\n" + "\n\n".join(t for _, t in report.violations[:3]))
    test.assertEqual(report.given_up, [])
    return report


def check_history(test, cluster, writers):
    """What P3 promises, from the audit trigger: versions of an object strictly increase, nothing twice, the last is the
    last acknowledged or a later attempt; values never go back."""
    last, versions, wrong = {}, {}, []
    for ns, id, version, value, op in cluster.pg.psql("select ns, id, version, value, op from audit order by n"):
        if op == "DELETE":
            wrong.append(f"{ns}:{id} deleted")
            continue
        key = f"{ns}:{id}"
        if int(version) <= versions.get(key, 0):
            wrong.append(f"{key}: version {version} after {versions[key]}")
        if int(value) < last.get(key, 0):
            wrong.append(f"{key}: value {value} after {last[key]}")
        versions[key], last[key] = int(version), int(value)
    test.assertEqual(wrong[:10], [])
    for w in writers:
        for key, n in w.acked.items():
            if not n <= last.get(key, 0) <= w.tried[key]:
                wrong.append(f"{key}: acknowledged {n}, sent {w.tried[key]}, in PostgreSQL {last.get(key)}")
    test.assertEqual(wrong[:10], [])
    # what a client reads now is what PostgreSQL has
    r = connect(cluster)
    keys = sorted(last)
    for i in range(0, len(keys), 100):
        part = keys[i:i + 100]
        for key, value in zip(part, read(part[0], lambda: r.mget(part))):
            if value is None or int(value) != last[key]:
                wrong.append(f"{key}: cache {value}, PostgreSQL {last[key]}")
    test.assertEqual(wrong[:10], [])
