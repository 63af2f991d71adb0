#!/usr/bin/env python3
"""Runs random sequences of commands against a real Redis and Forebay, and makes what differs small.

    tools/compare-redis [--seconds N] [--seed S]          as long as you like
    tools/compare-redis --seed S --sequence N             one sequence again

A sequence is given by seed and number alone. What may differ stands in the file `differences` with its reason. Exit status: 0 =
no difference, 1 = differences, printed as the shortest sequence that still shows them.
"""

import argparse
import collections
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(HERE)), "tools", "lib"))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True
from cluster import Cluster, free_port, wait_for  # noqa: E402
from redis_sequences import Generator, Table  # noqa: E402
from redis_wire import CONTAINERS, Differences, Wire, as_bytes, children, encode, is_aggregate, kind_of, name_of, plain, same  # noqa: E402

MARK = b"--this-is-the-end-of-it--"
# What expires later than timestamptz can say never does once it was in PostgreSQL alone.
TIMESTAMPTZ_END_MS = 9224318015999999
CONFIG = "[cluster]\nreplicas = 0\npartitions = 16\n[namespace n]\nsync_interval = 1s\nmax_value = 8MiB\n[namespace default]\nsync_interval = 1s\nmax_value = 8MiB\n"


class Found:
    """The first difference of a run."""

    def __init__(self, what, ours, theirs, at):
        self.what, self.ours, self.theirs, self.at = what, ours, theirs, at

    def kind(self):
        """What makes two differences the same one: while shrinking, and for not telling it twice."""
        return (self.what.split(" ")[0], self.ours[:1], self.theirs[:1])


class Side:
    """The connections to one server."""

    def __init__(self, port, timeout):
        self.port, self.timeout, self.wires = port, timeout, {}

    def wire(self, conn):
        if conn not in self.wires:
            self.wires[conn] = Wire(self.port, self.timeout)
        return self.wires[conn]

    def drop(self, conn):
        if conn in self.wires:
            self.wires.pop(conn).close()

    def close(self):
        for conn in list(self.wires):
            self.drop(conn)


class State:
    """What the harness has to know of a connection to say how many answers come."""

    def __init__(self):
        self.silent = self.skip = self.in_multi = False
        self.queue = []

    def answers(self, c):
        words = [as_bytes(w).upper() for w in c]
        if words[:2] == [b"CLIENT", b"REPLY"] and len(words) == 3 and not self.in_multi:
            if words[2] == b"ON":
                self.silent = self.skip = False
                return True
            if words[2] == b"OFF":
                self.silent = True
                return False
            if words[2] == b"SKIP":
                self.skip = not self.silent or self.skip
                return False
        skip, self.skip = self.skip, False
        if words == [b"RESET"]:
            self.silent = False  # and is answered
            return not skip
        return not (skip or self.silent)


class Diverged(Exception):
    """A difference that is allowed has left the two in different states: nothing more to compare."""


class Run:
    """One sequence against both."""

    def __init__(self, ports, differences, timeout=20):
        self.sides = [Side(p, timeout) for p in ports]
        self.differences = differences
        self.states = collections.defaultdict(State)
        self.asked = []  # (step number, connection, command) whose answers are still to be read
        self.out = {}
        self.conn = 0
        self.compared = collections.Counter()
        self.errors = set()
        self.kinds = set()

    def run(self, steps, keys):
        try:
            for side in self.sides:
                gone = side.wire(0).call("DEL", *keys)
                if gone[:1] != b":":
                    return Found("DEL of all keys", gone, b":", 0)
            for at, step in enumerate(steps):
                getattr(self, "do_" + step[0])(at, *step[1:])
            self.do_sync(len(steps))
        except Diverged as d:
            return d.args[0]
        finally:
            for side in self.sides:
                side.close()
                w = Wire(side.port)
                gone = w.call("DEL", *keys)
                w.close()
                if gone[:1] != b":":
                    raise AssertionError(f"the keys of a sequence were not deleted: {gone}")
        return None

    def judge(self, at, conn, command, ours, theirs):
        state, name = self.states[conn], name_of(command)
        self.kinds.add((name, kind_of(ours)))
        self.compared[name.split(" ")[0] if name.split(" ")[0] not in CONTAINERS else name] += 1
        if theirs[:1] == b"-":
            self.errors.add((name, theirs))
        if b"TIMEOUT" in (ours, theirs):
            raise Diverged(Found(" ".join([name, "did not answer in time"]), ours, theirs, at) if ours != theirs else None)
        if self.exec_same(state, name, ours, theirs):
            pass
        elif not same(command, ours, theirs):
            place = "in MULTI" if state.in_multi else ""
            if not self.differences.allow(command, ours, theirs, place):
                raise Diverged(Found(name, ours, theirs, at))
            if ours[:1] != b"-" or theirs[:1] != b"-":
                raise Diverged(None)
        if theirs == b"+QUEUED\r\n":
            state.queue.append(command)
        elif name == "MULTI" and theirs == b"+OK\r\n":
            state.in_multi, state.queue = True, []
        elif (name in ("EXEC", "DISCARD") and (theirs[:1] != b"-" or theirs.startswith(b"-EXECABORT"))) or name in ("RESET", "QUIT"):
            state.in_multi = False

    def exec_same(self, state, name, ours, theirs):
        if name != "EXEC" or not is_aggregate(ours) or not is_aggregate(theirs):
            return False
        (a, mine), (b, other) = children(ours), children(theirs)
        if a != b or len(mine) != len(state.queue):
            return False
        for c, x, y in zip(state.queue, mine, other):
            self.kinds.add((name_of(c), kind_of(x)))
            self.compared[name_of(c).split(" ")[0]] += 1
            if not same(c, x, y) and not self.differences.allow(c, x, y, "in EXEC"):
                return False
            if not same(c, x, y) and (x[:1] == b"-") != (y[:1] == b"-"):
                raise Diverged(None)
        return True

    # --- steps ---

    def do_cmd(self, at, conn, command):
        if conn != self.conn:
            self.do_sync(at)
            self.conn = conn
        if command and as_bytes(command[0]).upper() == b"CLIENT":
            self.do_sync(at)  # what it means depends on whether a transaction is open
        self.out[conn] = self.out.get(conn, b"") + encode(command)
        self.asked.append((at, conn, command, self.states[conn].answers(command)))
        if command and as_bytes(command[0]).upper() == b"QUIT":
            self.do_sync(at)

    def do_sync(self, _at):
        out, self.out = self.out, {}
        asked, self.asked = self.asked, []
        for conn, raw in out.items():
            for side in self.sides:
                side.wire(conn).send_raw(raw)
        for at, conn, command, answers in asked:
            if answers:
                ours, theirs = [side.wire(conn).answer() for side in self.sides]
                self.judge(at, conn, command, ours, theirs)
        for conn in {c for _, c, _, _ in asked}:
            self.reopen(conn)

    def reopen(self, conn):
        if any(side.wires[conn].ended for side in self.sides):
            for side in self.sides:
                side.drop(conn)
            self.states.pop(conn, None)

    def do_raw(self, at, conn, raw):
        """Bytes of any kind, then a word that comes back: all answers before it."""
        self.do_sync(at)
        self.conn = conn
        state = self.states[conn]
        if state.in_multi or state.silent or state.skip:
            return
        got = []
        for side in self.sides:
            w, answers = side.wire(conn), []
            w.send_raw(raw + encode([b"ECHO", MARK]))
            while len(answers) < 10 and (not answers or not (answers[-1] in (b"EOF", b"TIMEOUT") or MARK in answers[-1])):
                answers.append(w.answer())
            got.append(answers)
        label = [b"RAW", raw]
        if len(got[0]) != len(got[1]):
            raise Diverged(Found("RAW " + repr(raw), b"".join(got[0]), b"".join(got[1]), at))
        for ours, theirs in zip(*got):
            self.judge(at, conn, label, ours, theirs)
        self.reopen(conn)

    do_inline = do_raw

    def do_scan(self, at, *options):
        """A whole SCAN: the same keys, in whatever order and however often."""
        self.do_sync(at)
        keys = []
        for side in self.sides:
            w, cursor, seen = Wire(side.port, side.timeout), b"0", set()
            while True:
                cursor, found = plain(w.call("SCAN", cursor, *options))
                seen |= set(found)
                if cursor == b"0":
                    break
            w.close()
            keys.append(repr(sorted(seen)).encode())
        self.compared["SCAN"] += 1
        if keys[0] != keys[1]:
            raise Diverged(Found("SCAN", *keys, at))

    def do_settle(self, at, key):
        """Until a short expiry is over on both: what is near its end may be there or not."""
        self.do_sync(at)
        for side in self.sides:
            w = Wire(side.port, side.timeout)
            wait_for("a short expiry", lambda w=w: not 0 <= plain(w.call("PTTL", key)) < 3000, 10)
            w.close()

    def do_evict(self, at, key):
        self.do_sync(at)
        w = Wire(self.sides[0].port, 30)
        if plain(w.call("PEXPIRETIME", key)) > TIMESTAMPTZ_END_MS:
            return w.close()
        done = w.call("FB.SYNC", key, 20000)
        if done[:1] != b":":
            w.close()
            raise Diverged(Found("FB.SYNC", done, b"(the object must get into PostgreSQL)", at))
        w.call("FB.EVICT", key)
        w.close()


class Compare:
    def __init__(self, ours, theirs, seed, differences=None):
        self.ports, self.seed = (ours, theirs), seed
        self.differences = differences or Differences(os.path.join(HERE, "differences"))
        self.table = Table(ours, theirs)
        self.compared, self.errors, self.kinds, self.sequences = collections.Counter(), set(), set(), 0

    def sequence(self, number):
        g = Generator(self.table, random.Random(f"{self.seed}-{number}"), number % 10000000)
        return g.sequence(), g.keys

    def one(self, number):
        """None, or the text that tells the difference."""
        steps, keys = self.sequence(number)
        run = Run(self.ports, self.differences)
        found = run.run(steps, keys)
        self.compared += run.compared
        self.errors |= run.errors
        self.kinds |= run.kinds
        self.sequences += 1
        return found and self.tell(number, *self.shrink(steps, keys, found))

    def shrink(self, steps, keys, found):
        """Fewer steps, then simpler ones, as long as the same kind of difference shows."""
        kind = found.kind()

        def still(candidate):
            f = Run(self.ports, self.differences, timeout=3).run(candidate, keys)
            return f if f is not None and f.kind() == kind else None
        steps = steps[:found.at + 1]
        if not still(steps):
            return steps, found, " (did not show again)"
        deadline = time.monotonic() + 60
        size = max(1, len(steps) // 2)
        while time.monotonic() < deadline:
            at, any_gone = 0, False
            while at < len(steps):
                candidate = steps[:at] + steps[at + size:]
                f = still(candidate) if candidate else None
                if f:
                    steps, found, any_gone = candidate[:f.at + 1], f, True
                else:
                    at += size
            if size == 1 and not any_gone:
                break
            size = max(1, size // 2)
        for i, s in enumerate(steps):
            if s[0] != "cmd" or time.monotonic() > deadline:
                continue
            for j in range(len(s[2]) - 1, 0, -1):
                for other in (None, keys[0]) if s[2][j] in keys else (None, b"1"):
                    args = list(steps[i][2])
                    if j >= len(args) or args[j] == other or (other is not None and len(as_bytes(args[j])) <= len(other)):
                        continue
                    args[j:j + 1] = [] if other is None else [other]
                    candidate = steps[:i] + [("cmd", s[1], args)] + steps[i + 1:]
                    f = still(candidate)
                    if f:
                        steps, found = candidate, f
                        break
        return steps, found, ""

    def tell(self, number, steps, found, remark):
        lines = [f"{found.what}: seed {self.seed}, sequence {number}{remark}"]
        for s in steps:
            lines.append("  " + (f"{s[1]}> " + " ".join(repr(as_bytes(a))[1:] for a in s[2]) if s[0] == "cmd" else " ".join(map(repr, s))))
        lines.append(f"    Forebay {found.ours[:400]!r}\n    Redis   {found.theirs[:400]!r}")
        return "\n".join(lines)

    def left_over(self):
        """Every sequence deletes its keys: [(port, key, what it is)] of those that are there all the same."""
        out = []
        for port in self.ports:
            w, cursor = Wire(port), b"0"
            while True:
                cursor, found = plain(w.call("SCAN", cursor, "COUNT", 1000))
                out += [(port, k, w.call("TYPE", k), w.call("FB.GET", k)) for k in found]
                if cursor == b"0":
                    break
            w.close()
        return out

    def summary(self):
        commands = sum(self.compared.values())
        unseen = sorted(n for n in self.table.names if n.upper().replace("|", " ") not in self.compared)
        return (f"{self.sequences} sequences, {commands} answers of {len(self.compared)} commands, {len(self.errors)} different errors"
                + (f"; never asked: {' '.join(unseen)}" if unseen else ""))


class RedisServer:
    def __init__(self, dir):
        self.port = free_port()
        self.popen = subprocess.Popen(["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "no"],
                                      stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def up():
            try:
                Wire(self.port).close()
                return True
            except OSError:
                return False
        wait_for("redis-server", up)

    def stop(self):
        self.popen.terminate()
        self.popen.wait(20)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bin", required=True, help=argparse.SUPPRESS)
    p.add_argument("--seconds", type=float, default=60, metavar="N", help="how long (default 60)")
    p.add_argument("--seed", default=str(random.SystemRandom().randrange(10 ** 9)), metavar="S", help="default: a new one, printed")
    p.add_argument("--sequence", type=int, metavar="N", help="only this one")
    p.add_argument("--differences", type=int, default=20, metavar="N", help="stop after so many (default 20)")
    a = p.parse_args()
    dir = tempfile.mkdtemp(prefix="fb-compare-", dir="/tmp")
    cluster = Cluster(dir, os.path.abspath(a.bin), nodes=2, syncs=1, config=CONFIG, node_options={"threads": 2})
    redis, told, problems = None, {}, []
    try:
        cluster.start()
        redis = RedisServer(dir)
        c = Compare(cluster.port, redis.port, a.seed)
        print(f"seed {a.seed}: {len(c.table.names)} commands", flush=True)
        end, number, next_word = time.monotonic() + a.seconds, a.sequence or 0, time.monotonic() + 60
        while time.monotonic() < end and len(told) < a.differences:
            text = c.one(number)
            if text and text.split("seed")[0] + text.split("    Forebay")[-1] not in told:
                told[text.split("seed")[0] + text.split("    Forebay")[-1]] = text
                print(text, flush=True)
            number += 1
            if a.sequence is not None:
                break
            if time.monotonic() > next_word:
                print(c.summary(), flush=True)
                next_word += 60
        left = c.left_over()
        if left:
            problems.append(f"{len(left)} keys are there after their DEL: {left[:5]}")
        letters = cluster.ctl_json("deadletter", "list")
        if letters:
            problems.append(f"PostgreSQL refused {len(letters)} objects: {letters[:3]}")
        print(c.summary())
    finally:
        if redis:
            redis.stop()
        problems += cluster.stop()
        if not problems:
            shutil.rmtree(dir, ignore_errors=True)
    for text in problems:
        print(text)
    return 1 if told or problems else 0


if __name__ == "__main__":
    sys.exit(main())
