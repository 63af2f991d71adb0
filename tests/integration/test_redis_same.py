"""The same commands to a real Redis 7.0 and to Forebay: the bytes of the answers are the same.

Random sequences from a fixed seed, RESP2 and RESP3, and a table of errors. What may differ stands in the file
`differences`, with the reason.
"""

import os
import random
import re
import shutil
import socket
import subprocess
import tempfile

import base
from base import ClusterTest, free_port, wait_for

SEED = int(os.environ.get("FB_TEST_SEED", "20240229"))
ROUNDS = 3000
HERE = os.path.dirname(os.path.abspath(__file__))


def read_differences():
    out = {}
    with open(os.path.join(HERE, "differences")) as f:
        for line in f:
            if line.strip() and not line.startswith("#"):
                command, pattern, _ = (x.strip() for x in line.split(" | "))
                out.setdefault(command, []).append(re.compile(pattern))
    return out


DIFFERENCES = read_differences()


def allowed(name, ours):
    return any(p.search(ours.decode("latin-1")) for p in DIFFERENCES.get(name, ()))



class Wire:
    """A connection that gives the raw bytes of each answer."""

    def __init__(self, port):
        self.s = socket.create_connection(("127.0.0.1", port), 30)
        self.f = self.s.makefile("rb")

    def send(self, commands):
        out = bytearray()
        for args in commands:
            out += b"*%d\r\n" % len(args)
            for a in args:
                a = a if isinstance(a, bytes) else str(a).encode()
                out += b"$%d\r\n%s\r\n" % (len(a), a)
        self.s.sendall(out)

    def answer(self):
        line = self.f.readline()
        if not line:
            return b"EOF"
        kind, n = line[:1], line[1:-2]
        if kind in b"$=" and n != b"-1":
            return line + self.f.read(int(n) + 2)
        if kind in b"*~>" and n != b"-1":
            return line + b"".join(self.answer() for _ in range(int(n)))
        if kind == b"%":
            return line + b"".join(self.answer() for _ in range(2 * int(n)))
        return line

    def call(self, *args):
        self.send([args])
        return self.answer()

    def close(self):
        self.f.close()
        self.s.close()


def unordered(raw):
    """The answer with the elements of the outermost aggregate sorted: for replies in the order of a hash table."""
    f = Replay(raw)
    line = f.line()
    n = int(line[1:-2]) * (2 if line[:1] == b"%" else 1)
    items = [f.one() for _ in range(n)]
    return line, items


class Replay:
    def __init__(self, raw):
        self.raw, self.at = raw, 0

    def line(self):
        end = self.raw.index(b"\r\n", self.at) + 2
        out, self.at = self.raw[self.at:end], end
        return out

    def one(self):
        start = self.at
        line = self.line()
        if line[:1] in b"$=" and line[1:-2] != b"-1":
            self.at += int(line[1:-2]) + 2
        elif line[:1] in b"*~>%" and line[1:-2] != b"-1":
            for _ in range(int(line[1:-2]) * (2 if line[:1] == b"%" else 1)):
                self.one()
        return self.raw[start:self.at]


PAIRS = {"HGETALL"}
SETS = {"HKEYS", "HVALS"}
TIMES = {"TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"}


def same(name, ours, theirs):
    if ours == theirs:
        return True
    if ours[:1] == b"-" or theirs[:1] == b"-":
        return False
    if name in PAIRS and ours[:1] == theirs[:1]:
        (a, x), (b, y) = unordered(ours), unordered(theirs)
        return a == b and sorted(zip(x[::2], x[1::2])) == sorted(zip(y[::2], y[1::2]))
    if name in SETS:
        (a, x), (b, y) = unordered(ours), unordered(theirs)
        return a == b and sorted(x) == sorted(y)
    if name in TIMES and ours[:1] == theirs[:1] == b":":
        x, y = int(ours[1:]), int(theirs[1:])
        return x > 0 and y > 0 and abs(x - y) <= (2000 if name.startswith("P") else 2)
    return False


class Generator:
    """Commands as a careless client might send them: mostly valid, on few keys, so that types and values meet."""

    def __init__(self, rng, prefix):
        self.rng, self.prefix = rng, prefix

    def key(self):
        return f"{self.prefix}{self.rng.choice('abcdefgh')}"

    def value(self):
        r = self.rng
        return r.choice(["", "0", "1", "-7", "10", "3.5", "1e3", "abc", "9223372036854775807", "-9223372036854775808", " 5", "05", "+3",
                         "nan", "inf", b"\x00\xff", "x" * r.randint(1, 40), str(r.randint(-1000, 1000)), "99999999999999999999"])

    def field(self):
        return self.rng.choice(["f", "g", "n", "", b"\xfe\x00", "long-field-name"])

    def number(self):
        return self.rng.choice([0, 1, -1, 5, 100, -100, "x", "1.5", 9223372036854775807, -9223372036854775808, "", "9223372036854775808"])

    def amount(self):
        return self.rng.choice(["0", "1", "0.1", "-2.5", "3e2", "1e400", "abc", "inf", "nan", "5.0e-3", " 1", "0x1p3"])

    def seconds(self):
        return self.rng.choice([100, 1000, 5000, 100000, 0, -1, "x", 9223372036854775807])

    def case(self, word):
        return word if self.rng.random() < 0.8 else word.lower()

    def command(self):
        r, k, v, f = self.rng, self.key, self.value, self.field
        # what can expire gets a time far away or in the past: answers must not depend on when they were given
        kinds = [
            lambda: ["GET", k()], lambda: ["SET", k(), v()], lambda: ["SET", k(), v(), *self.set_options()],
            lambda: ["SETNX", k(), v()], lambda: ["SETEX", k(), self.seconds(), v()], lambda: ["PSETEX", k(), self.seconds(), v()],
            lambda: ["GETSET", k(), v()], lambda: ["GETDEL", k()], lambda: ["GETEX", k(), *self.getex_options()],
            lambda: ["MGET", *[k() for _ in range(r.randint(1, 4))]],
            lambda: ["MSET", *[x for _ in range(r.randint(1, 3)) for x in (k(), v())]],
            lambda: ["STRLEN", k()], lambda: ["APPEND", k(), v()], lambda: ["GETRANGE", k(), self.number(), self.number()],
            lambda: ["SUBSTR", k(), 0, -1],
            lambda: ["SETRANGE", k(), r.choice([0, 1, 5, 30, -1, "x"]), v()], lambda: ["INCR", k()], lambda: ["DECR", k()],
            lambda: ["INCRBY", k(), self.number()], lambda: ["DECRBY", k(), self.number()], lambda: ["INCRBYFLOAT", k(), self.amount()],
            lambda: ["HSET", k(), *[x for _ in range(r.randint(1, 3)) for x in (f(), v())]], lambda: ["HSETNX", k(), f(), v()],
            lambda: ["HGET", k(), f()], lambda: ["HMGET", k(), *[f() for _ in range(r.randint(1, 3))]],
            lambda: ["HMSET", k(), f(), v()], lambda: ["HGETALL", k()], lambda: ["HDEL", k(), *[f() for _ in range(r.randint(1, 3))]],
            lambda: ["HEXISTS", k(), f()], lambda: ["HLEN", k()], lambda: ["HKEYS", k()], lambda: ["HVALS", k()],
            lambda: ["HSTRLEN", k(), f()], lambda: ["HINCRBY", k(), f(), self.number()], lambda: ["HINCRBYFLOAT", k(), f(), self.amount()],
            lambda: ["DEL", *[k() for _ in range(r.randint(1, 3))]], lambda: ["UNLINK", k()],
            lambda: ["EXISTS", *[k() for _ in range(r.randint(1, 4))]], lambda: ["TOUCH", k(), k()], lambda: ["TYPE", k()],
            lambda: ["EXPIRE", k(), self.seconds(), *self.expire_options()], lambda: ["PEXPIRE", k(), r.choice([100000, 5000000, -5, "x"]), *self.expire_options()],
            lambda: ["EXPIREAT", k(), r.choice([1, 4000000000, "x", 4100000000])], lambda: ["PEXPIREAT", k(), r.choice([1, 4000000000000])],
            lambda: [r.choice(sorted(TIMES)), k()], lambda: ["PERSIST", k()],
            lambda: ["PING", *([v()] if r.random() < 0.5 else [])], lambda: ["ECHO", v()], lambda: ["SELECT", r.choice([0, "x", ""])],
            lambda: ["NOSUCH", k(), v()], lambda: self.wrong_arity(),
        ]
        c = r.choice(kinds)()
        return [self.case(c[0]), *c[1:]]

    def set_options(self):
        r = self.rng
        options = [["EX", self.seconds()], ["PX", r.choice([500000, 0, "x", -1])], ["EXAT", r.choice([4000000000, 1, "x"])],
                   ["PXAT", 4000000000000], ["KEEPTTL"], ["NX"], ["XX"], ["GET"], ["BAD"], ["EX"]]
        return [self.case(x) if isinstance(x, str) and x.isalpha() and x.isupper() else x
                for o in r.sample(options, r.choice([1, 1, 2, 3])) for x in o]

    def getex_options(self):
        return self.rng.choice([[], ["PERSIST"], ["EX", self.seconds()], ["PX", 900000], ["EXAT", 4000000000], ["BAD"], ["EX"], ["PERSIST", "EX", 5]])

    def expire_options(self):
        return self.rng.choice([[], [], ["NX"], ["XX"], ["GT"], ["LT"], ["NX", "XX"], ["GT", "LT"], ["bad"]])

    def wrong_arity(self):
        r = self.rng
        name = r.choice("GET SET HSET HGET HMSET MSET DEL EXPIRE INCRBY SETRANGE HINCRBY TYPE ECHO TTL GETEX SETEX APPEND PERSIST HDEL MGET".split())
        return [name, *[self.key() for _ in range(r.choice([0, 1, 2, 3, 5]))]]


class SameAsRedis(ClusterTest):
    settings = {"nodes": 2, "syncs": 1}
    config = "[cluster]\nreplicas = 0\npartitions = 16\n"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.redis_dir = tempfile.mkdtemp(prefix="fb-redis-", dir="/tmp")
        cls.redis_port = free_port()
        cls.redis = subprocess.Popen(["redis-server", "--port", str(cls.redis_port), "--bind", "127.0.0.1", "--dir", cls.redis_dir, "--save", "",
                                      "--appendonly", "no"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def up():
            try:
                w = Wire(cls.redis_port)
                w.close()
                return True
            except OSError:
                return False
        wait_for("redis-server", up)

    @classmethod
    def tearDownClass(cls):
        cls.redis.terminate()
        cls.redis.wait(20)
        shutil.rmtree(cls.redis_dir, ignore_errors=True)
        super().tearDownClass()

    def both(self, proto):
        pair = Wire(self.cluster.port), Wire(self.redis_port)
        for w in pair:
            w.call("HELLO", proto)
        return pair

    def compare(self, commands, ours, theirs, wrong, context=""):
        for c, a, b in zip(commands, ours, theirs):
            if not same(c[0].upper(), a, b) and not allowed(c[0].upper(), a):
                wrong.append(f"{context}{c}\n      Forebay {a[:300]!r}\n      Redis   {b[:300]!r}")

    def run_random(self, proto, seed):
        rng = random.Random(seed)
        g = Generator(rng, f"r{proto}-{seed}-")
        ours, theirs = self.both(proto)
        wrong, done = [], 0
        while done < ROUNDS and len(wrong) < 20:
            commands = [g.command() for _ in range(rng.choice([1, 1, 1, 20, 100]))]
            for w in (ours, theirs):
                w.send(commands)
            a, b = [ours.answer() for _ in commands], [theirs.answer() for _ in commands]
            self.compare(commands, a, b, wrong)
            done += len(commands)
            if wrong:  # bring both to the same state again
                for w in (ours, theirs):
                    w.call("DEL", *[f"{g.prefix}{c}" for c in "abcdefgh"])
        for k in "abcdefgh":
            name = f"{g.prefix}{k}"
            for c in (["TYPE", name], ["GET", name], ["HGETALL", name], ["PTTL", name]):
                self.compare([c], [ours.call(*c)], [theirs.call(*c)], wrong, "at the end: ")
        ours.close()
        theirs.close()
        self.assertEqual(wrong, [], f"seed {seed}, RESP{proto}:\n" + "\n".join(wrong))

    def test_random_resp2(self):
        self.run_random(2, SEED)

    def test_random_resp3(self):
        self.run_random(3, SEED + 1)

    def test_transactions(self):
        rng = random.Random(SEED + 2)
        for proto in (2, 3):
            g = Generator(rng, f"{{t{proto}}}")
            ours, theirs = self.both(proto)
            wrong, compared = [], 0
            for i in range(300):
                inner = [g.command() for _ in range(rng.randint(0, 6))]
                head = [["WATCH", g.key()]] if rng.random() < 0.3 else []
                if head and rng.random() < 0.5:
                    head.append(["SET", head[0][1], i])
                    if rng.random() < 0.5:  # absent again: it was touched all the same
                        head = [["DEL", head[0][1]], *head, ["DEL", head[0][1]]]
                tail = [rng.choice([["EXEC"], ["EXEC"], ["EXEC"], ["DISCARD"]])]
                if rng.random() < 0.1:
                    inner.append(["MULTI"])
                if rng.random() < 0.1:
                    inner.append(["WATCH", g.key()])
                commands = head + [["MULTI"]] + inner + tail + [["EXEC"], ["DISCARD"], ["UNWATCH"]]
                for w in (ours, theirs):
                    w.send(commands)
                a, b = [ours.answer() for _ in commands], [theirs.answer() for _ in commands]
                compared += 1
                for n, (c, x, y) in enumerate(zip(commands, a, b)):
                    if c == ["EXEC"] and x[:1] == y[:1] == b"*" and x[1:2] != b"-" and y[1:2] != b"-":
                        (l1, i1), (l2, i2) = unordered(x), unordered(y)
                        if l1 != l2:
                            wrong.append(f"EXEC {x!r} {y!r}")
                        else:
                            queued = [q for q, r in zip(commands[len(head) + 1:n], b[len(head) + 1:n]) if r == b"+QUEUED\r\n"]
                            self.compare(queued, i1, i2, wrong, "in EXEC: ")
                    elif not same(c[0].upper(), x, y):
                        wrong.append(f"{c} of {commands}\n      Forebay {x[:300]!r}\n      Redis   {y[:300]!r}")
                if len(wrong) > 5:
                    break
            ours.close()
            theirs.close()
            self.assertGreater(compared, 100)
            self.assertEqual(wrong, [], "\n".join(wrong))

    def test_table(self):
        """Corners that a random walk seldom meets."""
        table = """
            HELLO 4|HELLO x|HELLO 2 FOO|HELLO 3 SETNAME|AUTH x|AUTH a b|AUTH a b c|CLIENT|CLIENT GETNAME|CLIENT SETNAME bad\x20name|CLIENT NOPE
            CLIENT REPLY|CLIENT NO-EVICT on|CLIENT NO-EVICT maybe|SELECT|SELECT 99|SELECT -1|QUIT now|PING a b|ECHO|COMMAND COUNT x|COMMAND NOPE
            COMMAND GETKEYS GET a|COMMAND GETKEYS MSET a 1 b 2|COMMAND GETKEYS PING|COMMAND GETKEYS NOSUCH|COMMAND GETKEYS|COMMAND INFO nosuch
            CONFIG|CONFIG NOPE|CONFIG GET|EXEC|DISCARD|UNWATCH|WATCH|MULTI x|RESET|OBJECT|TIME x|DBSIZE x
            SET a|SET a b EX|SET a b EX x|SET a b EX 0|SET a b PX -5|SET a b EX 1 PX 1|SET a b NX XX|SET a b KEEPTTL EX 5|SET a b NX GET
            SETEX a 0 b|SETEX a x b|PSETEX a 0 b|GETEX a EX|GETEX a EX 0|GETEX a EX 1 PX 1|MSET a|MSET a b c|MSET|MSETNX a
            INCRBY a x|INCRBYFLOAT a x|GETRANGE a x y|SETRANGE a -1 v|SETRANGE a x v|SETRANGE a 600000000 v|EXPIRE a|EXPIRE a x|EXPIRE a 10 NX XX
            EXPIRE a 10 GT LT|EXPIRE a 10 BAD|EXPIRE a 9223372036854775807|PEXPIRE a 9223372036854775807|EXPIREAT a x|HSET a|HSET a b|HSET a b c d
            HMSET a b|HINCRBY a b x|HINCRBYFLOAT a b x|HSCAN a x|HSCAN a|HSCAN a 0 COUNT|HSCAN a 0 COUNT 0|HSCAN a 0 COUNT x|HSCAN a 0 BAD
            SCAN|SCAN x|SCAN 0 COUNT 0|SCAN 0 COUNT x|SCAN 0 MATCH|SCAN 0 BAD 1|TYPE|DEL|UNLINK|EXISTS|TOUCH|TTL|PERSIST|RANDOMKEY x
            GETDEL|GETSET a|APPEND a|STRLEN|HGETALL|HDEL a|HVALS|HKEYS|HLEN|HEXISTS a|HMGET a|HSTRLEN a|HSETNX a b|NOSUCH|get|gEt
            HSCAN none 0|HGETALL none|HMGET none a b|TYPE none|OBJECT HELP x|CLIENT ID x|CLIENT LIST x|CLIENT KILL
        """
        wrong = []
        for proto in (2, 3):
            for line in table.strip().splitlines():
                for text in line.strip().split("|"):
                    command = text.split(" ") if "\x20name" not in text else ["CLIENT", "SETNAME", "bad name"]
                    ours, theirs = self.both(proto)
                    self.compare([command], [ours.call(*command)], [theirs.call(*command)], wrong, f"RESP{proto} ")
                    ours.close()
                    theirs.close()
        self.assertEqual(wrong, [], f"{len(wrong)} differences:\n" + "\n".join(wrong))

    def test_expiry_of_everything(self):
        for proto in (2, 3):
            ours, theirs = self.both(proto)
            for w in (ours, theirs):
                w.send([["SET", "e1", "v", "PX", 30], ["HSET", "e2", "f", "v"], ["PEXPIRE", "e2", 30], ["SET", "e3", "v"], ["PEXPIREAT", "e3", 1]])
                for _ in range(5):
                    w.answer()
            for w in (ours, theirs):
                wait_for("expiry", lambda: w.call("EXISTS", "e1", "e2", "e3") == b":0\r\n")
            commands = [["GET", "e1"], ["TTL", "e1"], ["HGETALL", "e2"], ["TYPE", "e2"], ["SET", "e1", "x", "XX"], ["HSETNX", "e2", "f", "w"],
                        ["TTL", "e2"], ["INCR", "e3"], ["PERSIST", "e3"], ["DEL", "e1", "e2", "e3"]]
            wrong = []
            for c in commands:
                self.compare([c], [ours.call(*c)], [theirs.call(*c)], wrong)
            self.assertEqual(wrong, [], "\n".join(wrong))
            ours.close()
            theirs.close()


if __name__ == "__main__":
    base.main()
