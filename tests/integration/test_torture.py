"""Seeded random clients against random faults; every read must be explained by what was acknowledged before it.

Each unit (a string, a hash, a pair of keys written by one transaction, a mapped row) belongs to one client thread, which
keeps the set of states the unit may be in: one after an acknowledged write or a read, more after a write whose outcome is
not known. Faults: kill -9 and SIGSTOP of processes, snapshots over tiny segments, eviction by a small memory, FLUSHALL,
cluster files applied, PostgreSQL restarted. At the end everything drains, PostgreSQL equals the model, and an audit
trigger has seen only growing versions.

FB_TORTURE_SECONDS (60), FB_TORTURE_SEED (random, printed), FB_TORTURE_FAULTS (comma separated, all).
"""

import os
import random
import signal
import socket
import sys
import threading
import time

import base
from base import ClusterTest, wait_for
from load import DEFINITE, Recorder, check_recorded

SECONDS = float(os.environ.get("FB_TORTURE_SECONDS", "60"))
SEED = int(os.environ.get("FB_TORTURE_SEED", str(random.randrange(1 << 30))))
FAULTS = os.environ.get("FB_TORTURE_FAULTS",
                        "kill_node,stop_node,kill_sync,stop_sync,kill_router,stop_router,snapshot,apply,restart_pg,"
                        "kill_pg,flushall,kill_all").split(",")
CLIENTS = 6
UNITS = 50           # of each kind and client
SLACK = 1.0          # seconds: clocks are one, but threads and paused processes are late
FOREVER = float("inf")

TABLES = """
create table accounts (id bigint primary key, name text, balance bigint, note text default 'fresh');
create table audit (n bigserial primary key, ns text, id text, version bigint, op text);
"""
AUDIT = """
create function audit() returns trigger language plpgsql as $$
begin
    insert into audit (ns, id, version, op) values (new.ns, new.id, new.version, tg_op);
    return new;
end $$;
create trigger audit after insert or update on forebay.objects for each row execute function audit();
"""


def config(extra=0, ms=50):
    text = "[cluster]\nreplicas = 0\npartitions = 16\n"
    for ns, more in (("str", ""), ("hash", ""), ("pair", ""), ("dur", "durability = durable\n")):
        text += f"[namespace {ns}]\nsync_interval = {ms}ms\n{more}"
    text += "[namespace acc]\ntable = accounts\nkey = id\nvalue = row\non_delete = delete\n" \
            f"sync_interval = {ms}ms\nttl = {ms}s\n"
    for i in range(extra):
        text += f"[namespace more{i}]\nsync_interval = 1s\n"
    return text


class Lost(Exception):
    """The connection went away: nobody knows whether the command was carried out."""


class Refused(Exception):
    """An error reply."""


class Client:
    """As much of RESP2 as is needed, without any retry of its own."""

    def __init__(self, port, timeout=20):
        self.port, self.timeout, self.sock, self.buf = port, timeout, None, b""

    def close(self):
        if self.sock:
            self.sock.close()
        self.sock, self.buf = None, b""

    def call(self, *args):
        return self.calls([args])[0]

    def calls(self, commands):
        """Replies in order; errors are returned as Refused."""
        try:
            if self.sock is None:
                self.sock = socket.create_connection(("127.0.0.1", self.port), self.timeout)
                self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            out = b""
            for args in commands:
                out += b"*%d\r\n" % len(args)
                for a in args:
                    a = a if isinstance(a, bytes) else str(a).encode()
                    out += b"$%d\r\n%s\r\n" % (len(a), a)
            self.sock.sendall(out)
            return [self._reply() for _ in commands]
        except OSError as e:
            self.close()
            raise Lost(str(e)) from e

    def _line(self):
        while b"\r\n" not in self.buf:
            self._more()
        line, self.buf = self.buf.split(b"\r\n", 1)
        return line

    def _more(self):
        data = self.sock.recv(65536)
        if not data:
            raise ConnectionError("closed by the router")
        self.buf += data

    def _reply(self):
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest
        if kind == b"-":
            return Refused(rest.decode())
        if kind == b":":
            return int(rest)
        n = int(rest)
        if n < 0:
            return None
        if kind == b"$":
            while len(self.buf) < n + 2:
                self._more()
            data, self.buf = self.buf[:n], self.buf[n + 2:]
            return data
        return [self._reply() for _ in range(n)]


ALLOWED = {"lost", "INDETERMINATE", "DBDOWN", "OVERLOADED", "CLUSTERDOWN", "TRYAGAIN", "LOADING"}


class Unit:
    """States: {(value, from, until)}: the value is sure before `from`, gone after `until` (expiry), both FOREVER at most."""

    log = None  # the Recorder of the test

    def __init__(self, kind, key):
        self.kind, self.key = kind, key
        self.states = {(None, FOREVER, FOREVER)}
        self.trail = []

    def wrote(self, value, sent, done, ttl, sure):
        new = (value, FOREVER, FOREVER) if ttl is None else (value, sent + ttl - SLACK, done + ttl + SLACK)
        self.states = {new} if sure else self.states | {new}
        self.record("set", sent, done, [named(value)], None, "ok" if sure else "unknown", None if ttl is None else int(ttl * 1e9))

    def record(self, op, t0, t1, args, result, outcome, ttl=None):
        self.log.write(client=self.key.split("-")[0], key=self.key, op=op, args=args, invoke=int(t0 * 1e9) - 1000, outcome=outcome,
                       result=result, ttl=ttl, **({} if outcome == "unknown" else {"return": int(t1 * 1e9) + 1000}))

    def possible(self, t0, t1):
        out = set()
        for value, lo, hi in self.states:
            if t0 <= hi:
                out.add(value)
            if t1 >= lo:
                out.add(None)
        return out

    def saw(self, value, t0, t1):
        self.record("get", t0, t1, None, named(value), "ok")
        ok = value in self.possible(t0, t1)
        if ok:
            kept = {s for s in self.states if s[0] == value and t0 <= s[2]}
            if value is None:
                kept = {(None, FOREVER, FOREVER)} if not kept or any(s[1] <= t1 for s in self.states) else kept
                # an unknown write may still be on its way only while its command is; it is answered by now
            self.states = kept
        return ok


class Tormentor:
    """One client thread and the units it owns."""

    def __init__(self, test, number):
        self.test, self.number = test, number
        self.rng = random.Random(SEED * 1000 + number)
        self.units = []
        for i in range(UNITS):
            name = f"{number}-{i}"
            self.units += [Unit("string", f"str:{name}"), Unit("string", f"dur:{name}"), Unit("string", f"plain-{name}"),
                           Unit("hash", f"hash:{name}"), Unit("pair", f"pair:{{{name}}}"), Unit("row", f"acc:{number * 1000 + i}")]
        self.ops = self.unsure = self.refused = 0
        self.errors = {}
        self.failure = None
        self.conns = [Client(p.port) for p in test.cluster.routers]
        self.versions = {}

    def run(self, stop):
        try:
            while not stop.is_set():
                self.step(self.rng.choice(self.units), stop)
        except BaseException as e:  # noqa: B036
            self.failure = e
        finally:
            for c in self.conns:
                c.close()

    def count(self, e):
        text = str(e)
        word = text.split(" ")[0] if isinstance(e, Refused) else "lost"
        self.errors.setdefault(word, [0, text])[0] += 1

    def attempt(self, commands):
        """Replies, or None when nobody knows; raises Refused when it is sure that nothing happened."""
        client = self.rng.choice(self.conns)
        self.ops += 1
        try:
            replies = client.calls(commands)
        except Lost as e:
            self.unsure += 1
            self.count(e)
            time.sleep(0.05)
            return None
        for r in replies:
            if isinstance(r, Refused):
                self.count(r)
                time.sleep(0.01)
                if any(d in str(r) for d in DEFINITE):
                    self.refused += 1
                    raise r
                self.unsure += 1
                return None
        return replies

    def value(self):
        n = self.rng.choice((8, 8, 100, 1000, 4000))
        return (b"%x." % self.rng.getrandbits(60)) * (n // 8)

    def step(self, u, stop):
        reads = self.rng.random() < 0.5
        if len(u.states) > 20:
            reads = True
        try:
            getattr(self, ("read_" if reads else "write_") + u.kind)(u)
        except Refused as e:
            u.trail.append((time.time(), "refused", str(e)))

    def check(self, u, value, t0, t1, what):
        before = set(u.states)
        u.trail.append((t1, what, short(value)))
        if not u.saw(value, t0, t1):
            raise AssertionError(f"{u.key}: {what} gave {short(value)}, possible were "
                                 f"{[(short(s[0]), s[1], s[2]) for s in before]} at {t0}..{t1}\n" +
                                 "\n".join(repr(t) for t in u.trail[-30:]))

    def change(self, u, commands, value, ttl=None, what=""):
        """A write that gives `value` if it is carried out. Returns the replies, None when nobody knows."""
        t0 = time.time()
        replies = None
        try:
            replies = self.attempt(commands)
        except Refused:
            u.trail.append((time.time(), what + " refused", short(value)))
            raise
        u.wrote(value, t0, time.time(), ttl, replies is not None)
        u.trail.append((time.time(), what + (" ok" if replies is not None else " unknown"), short(value)))
        return replies

    # strings
    def read_string(self, u):
        t0 = time.time()
        r = self.attempt([("GET", u.key)])
        if r is not None:
            self.check(u, r[0], t0, time.time(), "GET")

    def write_string(self, u):
        what = self.rng.random()
        if what < 0.45:
            v = self.value()
            self.change(u, [("SET", u.key, v)], v, what="SET")
        elif what < 0.55:
            v, ttl = self.value(), self.rng.choice((0.3, 3, 1000))
            self.change(u, [("SET", u.key, v, "PX", int(ttl * 1000))], v, ttl, what=f"SET PX {ttl}")
        elif what < 0.65:
            self.change(u, [("DEL", u.key)], None, what="DEL")
        elif what < 0.7:
            self.attempt([("FB.EVICT", u.key)])
        elif what < 0.8:
            self.setif(u)
        else: # two writes in one pipeline: the second decides, the first may be seen alone
            a, b = self.value(), self.value()
            t0 = time.time()
            try:
                r = self.attempt([("SET", u.key, a), ("SET", u.key, b)])
            except Refused:
                r = None
            if r is None:
                u.wrote(a, t0, time.time(), None, False)
            u.wrote(b, t0, time.time(), None, r is not None)
            u.trail.append((time.time(), "SET SET " + ("ok" if r else "unknown"), short(a), short(b)))

    def setif(self, u):
        t0 = time.time()
        r = self.attempt([("FB.GET", u.key)])
        if r is None:
            return
        value, ver = r[0][0], int(r[0][1])
        self.check(u, value, t0, time.time(), f"FB.GET {ver}")
        new = self.value()
        r = self.attempt_setif(u, ver, new)
        if r is not None and r[0] is not None and int(r[0]) <= ver:
            raise AssertionError(f"{u.key}: version {r[0]} after {ver}")

    def attempt_setif(self, u, ver, new):
        t0 = time.time()
        r = self.attempt([("FB.SETIF", u.key, ver, new)])
        if r is None:
            u.wrote(new, t0, time.time(), None, False)
        elif r[0] is not None:
            u.wrote(new, t0, time.time(), None, True)
        u.trail.append((time.time(), f"FB.SETIF {ver} gave {r}", short(new)))
        return r

    # hashes
    def read_hash(self, u):
        t0 = time.time()
        r = self.attempt([("HGETALL", u.key)])
        if r is not None:
            self.check(u, as_hash(r[0]), t0, time.time(), "HGETALL")

    def write_hash(self, u):
        if len(u.states) > 1:
            return self.read_hash(u)
        have = dict(next(iter(u.states))[0] or ())
        what = self.rng.random()
        if what < 0.6:
            f, v = b"f%d" % self.rng.randrange(6), self.value()[:200]
            have[f] = v
            self.change(u, [("HSET", u.key, f, v)], freeze(have), what=f"HSET {f}")
        elif what < 0.8:
            f = b"f%d" % self.rng.randrange(6)
            have.pop(f, None)
            self.change(u, [("HDEL", u.key, f)], freeze(have), what=f"HDEL {f}")
        elif what < 0.9:
            have[b"n"] = b"%d" % (int(have.get(b"n", 0)) + 7)
            r = self.change(u, [("HINCRBY", u.key, "n", 7)], freeze(have), what="HINCRBY")
            if r is not None and r[0] != int(have[b"n"]):
                raise AssertionError(f"{u.key}: HINCRBY gave {r[0]}, {have[b'n']} was right")
        else:
            self.change(u, [("DEL", u.key)], None, what="DEL")

    # two keys of one transaction: both or none
    def keys(self, u):
        return u.key + "a", u.key + "b"

    def read_pair(self, u):
        t0 = time.time()
        a, b = self.keys(u)
        r = self.attempt([("MULTI",), ("GET", a), ("GET", b), ("EXEC",)])
        if r is not None:
            self.check(u, tuple(r[3]) if r[3] != [None, None] else None, t0, time.time(), "EXEC")

    def write_pair(self, u):
        a, b = self.keys(u)
        if self.rng.random() < 0.85:
            v = self.value()
            self.change(u, [("MULTI",), ("SET", a, v + b"a"), ("SET", b, v + b"b"), ("EXEC",)], (v + b"a", v + b"b"), what="EXEC SET SET")
        else:
            self.change(u, [("MULTI",), ("DEL", a), ("DEL", b), ("EXEC",)], None, what="EXEC DEL DEL")

    # rows
    def read_row(self, u):
        t0 = time.time()
        r = self.attempt([("HMGET", u.key, "name", "balance")])
        if r is not None:
            v = tuple(r[0])
            self.check(u, v if v != (None, None) else None, t0, time.time(), "HMGET")

    def write_row(self, u):
        if len(u.states) > 1:
            return self.read_row(u)
        have = next(iter(u.states))[0]
        what = self.rng.random()
        n = b"%d" % self.rng.randrange(1 << 40)
        if have is None or what < 0.4:
            name = b"n" + n
            self.change(u, [("HSET", u.key, "name", name, "balance", n)], (name, n), what="HSET 2")
        elif what < 0.8:
            self.change(u, [("HSET", u.key, "balance", n)], (have[0], n), what="HSET 1")
        else:
            self.change(u, [("DEL", u.key)], None, what="DEL")


def freeze(h):
    return frozenset(h.items()) or None


def as_hash(flat):
    return freeze(dict(zip(flat[::2], flat[1::2])))


def named(v):
    """A value as the log has it: what tells it from others of its key."""
    if isinstance(v, bytes):
        return f"{len(v)}:{v[:16].hex()}"
    if isinstance(v, frozenset):
        return sorted([named(k), named(x)] for k, x in v)
    return [named(x) for x in v] if isinstance(v, tuple) else v


def short(v):
    if isinstance(v, bytes):
        return f"{v[:16]!r}*{len(v)}"
    if isinstance(v, tuple):
        return tuple(short(x) for x in v)
    if isinstance(v, frozenset):
        return sorted((k, short(x)) for k, x in v)
    return v


class Torture(ClusterTest):
    settings = {"nodes": 2, "syncs": 2, "routers": 2,
                "node_options": {"memory": "1MiB", "segment_bytes": "1MiB", "snapshot_log_bytes": "2MiB", "threads": 2,
                                 "log_sync_interval": "20ms"}}
    config = config()
    tables = TABLES

    applied = [0, 0]
    extra = 0

    def fault(self, rng, name):
        c = self.cluster
        group = {"node": c.nodes, "sync": c.syncs, "router": c.routers}.get(name.split("_")[-1])
        if name.startswith("kill_") and group:
            p = rng.choice(group)
            self.dead(p)
            p.kill()
            time.sleep(rng.choice((0, 0, 0.5)))
            p.start()
        elif name.startswith("stop_") and group:
            p = rng.choice(group)
            p.kill(signal.SIGSTOP)
            try:
                time.sleep(rng.choice((0.1, 1, 4)))
            finally:
                p.kill(signal.SIGCONT)
        elif name == "kill_all":
            for p in c.processes():
                self.dead(p)
                p.kill()
            for p in c.processes():
                p.start()
        elif name == "snapshot":
            c.ctl("snapshot", "create", check=False)
        elif name == "apply":
            if rng.random() < 0.3:
                self.extra = rng.randrange(4)
            self.apply(config(self.extra, rng.choice((20, 50, 300))))
        elif name in ("restart_pg", "kill_pg"):
            c.pg.stop("fast" if name == "restart_pg" else "immediate")
            time.sleep(rng.choice((0, 1, 3)))
            c.pg.start()
        elif name == "flushall":
            client = Client(rng.choice(c.routers).port)
            try:
                client.call("FLUSHALL")
            except Lost:
                pass
            client.close()

    def apply(self, text):
        """A new cluster file. It is refused while keys it may capture are not in PostgreSQL yet, or a process is away."""
        path = os.path.join(self.cluster.dir, "cluster.conf")
        with open(path, "w") as f:
            f.write(text)
        self.cluster.ctl("sync", "flush", check=False)
        r = self.cluster.ctl("config", "apply", path, "-y", check=False)
        self.applied[r.returncode == 0] += 1

    def dead(self, p):
        """A process that ended by itself is a failure, told with its log."""
        if p.popen is not None and p.popen.poll() is not None:
            self.fail(f"{p.name} ended with status {p.popen.returncode}:\n{p.tail(60)}")

    def test_torture(self):
        print(f"seed {SEED}, {SECONDS:g} s", file=sys.stderr)
        self.pg.script(AUDIT)
        Unit.log = Recorder(os.path.join(self.dir, "history.jsonl"))
        rng = random.Random(SEED)
        stop = threading.Event()
        clients = [Tormentor(self, i) for i in range(CLIENTS)]
        threads = [threading.Thread(target=c.run, args=(stop,), daemon=True) for c in clients]
        for t in threads:
            t.start()
        events = []
        deadline = time.monotonic() + SECONDS
        try:
            while time.monotonic() < deadline and not any(c.failure for c in clients):
                time.sleep(rng.choice((0.05, 0.3, 1, 2)))
                name = rng.choice(FAULTS)
                if not name:
                    continue
                events.append((time.time(), name))
                self.fault(rng, name)
                for p in self.cluster.processes():
                    self.dead(p)
        finally:
            stop.set()
            for t in threads:
                t.join(90)
        self.assertFalse([t for t in threads if t.is_alive()], "a client hangs")
        for c in clients:
            if c.failure:
                print("\n".join(map(repr, events[-30:])), file=sys.stderr)
                raise c.failure
        totals = {}
        for c in clients:
            for word, (n, text) in c.errors.items():
                totals.setdefault(word, [0, text])[0] += n
        print(f"{len(events)} faults, {sum(c.ops for c in clients)} commands, {sum(c.unsure for c in clients)} of unknown "
              f"outcome, {sum(c.refused for c in clients)} refused: {totals}; "
              f"{self.applied[1]} cluster files taken, {self.applied[0]} refused", file=sys.stderr)
        self.assertLessEqual(set(totals), ALLOWED, "errors that no fault explains")
        self.settle(clients)
        Unit.log.close()
        check_recorded(self, Unit.log.path)

    def settle(self, clients):
        self.cluster.wait_ready()
        wait_for("service", lambda: self.serves(clients))
        for c in clients: # what is unknown is known after a read
            for u in c.units:
                wait_for(f"a read of {u.key}", lambda: self.read(c, u))
        time.sleep(3.5 + 2 * SLACK) # short expiries are over
        for c in clients:
            for u in c.units:
                wait_for(f"a read of {u.key}", lambda: self.read(c, u))
        self.synced(90)
        self.compare(clients)

    def serves(self, clients):
        for p in self.cluster.routers:
            client = Client(p.port)
            try:
                replies = client.calls([("GET", u.key) for c in clients for u in c.units if u.kind == "string"])
            except Lost:
                return False
            finally:
                client.close()
            if any(isinstance(r, Refused) for r in replies):
                return False
        return True

    def read(self, c, u):
        before = c.ops
        try:
            n = c.unsure
            getattr(c, "read_" + u.kind)(u)
            return c.unsure == n and c.ops > before
        except Refused:
            return False

    def compare(self, clients):
        """PostgreSQL against the model."""
        rows = {}
        for ns, id, kind, value, fields in self.pg.psql(
                "select ns, id, kind, coalesce(encode(value, 'hex'), ''), coalesce((select string_agg(encode(convert_to(key, 'utf8'), 'hex') "
                "|| '=' || encode(convert_to(value, 'utf8'), 'hex'), ',') from jsonb_each_text(fields)), '') from forebay.objects "
                "where expires_at is null or expires_at > now()"):
            key = id if ns == "default" else f"{ns}:{id}"
            rows[key] = bytes.fromhex(value) if kind == "string" else frozenset(
                tuple(bytes.fromhex(x) for x in f.split("=")) for f in fields.split(",") if f)
        accounts = {f"acc:{id}": (name.encode(), balance.encode())
                    for id, name, balance in self.pg.psql("select id, name, balance from accounts")}
        wrong = []
        for c in clients:
            for u in c.units:
                if u.kind == "pair":
                    a, b = (rows.get(k) for k in c.keys(u))
                    have = (a, b) if (a, b) != (None, None) else None
                else:
                    have = accounts.get(u.key) if u.kind == "row" else rows.get(u.key)
                now = time.time()
                if have not in u.possible(now, now):
                    wrong.append(f"{u.key}: PostgreSQL has {short(have)}, possible {[short(s[0]) for s in u.states]}\n" +
                                 "\n".join(repr(t) for t in u.trail[-12:]))
        self.assertEqual(len(wrong), 0, f"{len(wrong)} differ:\n" + "\n".join(wrong[:5]))
        backwards = self.pg.psql("select ns, id, version, before from (select *, lag(version) over (partition by ns, id order by n) "
                                 "as before, lag(op) over (partition by ns, id order by n) as b from audit) x where before >= version limit 10")
        self.assertEqual(backwards, [], "versions that do not grow")
        self.assertEqual(self.pg.psql("select ns, id, sqlstate, message from forebay.dead_letter limit 5"), [])
        conflicts = self.pg.psql("select count(*) from forebay.conflict_log")
        print(f"conflicts with our own writes: {conflicts[0][0]}", file=sys.stderr)


if __name__ == "__main__":
    base.main()
