"""Random sequences of commands for the comparison with Redis, made from the tables of both servers.

Which commands: those Forebay serves (COMMAND). With which arguments: as Redis describes them (COMMAND DOCS), so that a new
command is compared from the day it is served. Arguments are valid, nearly valid, or plain wrong.

A sequence is a list of steps: ("cmd", connection, [arguments]), ("inline", connection, bytes), ("raw", connection, bytes),
("sync",) = read what was asked, ("settle", key) = wait until a short expiry is over, ("evict", key) = Forebay alone: into
PostgreSQL and out of memory, ("scan", options...) = all of SCAN. Steps without a sync between them are one pipeline.
"""

from redis_wire import CONTAINERS, Wire, as_bytes, plain

KEYS = 7
PREFIX_BYTES = 9
# Their answers are of one server, or they would end the comparison; corners of theirs are in test_redis_same.py.
LEFT_OUT = {"flushall", "flushdb", "client|kill", "quit", "scan", "client|reply", "hello", "auth", "reset", "wait", "multi", "exec", "discard",
            "watch", "unwatch", "command", "command|list", "command|docs", "command|count", "command|info", "command|getkeys",
            "client|list", "client|no-touch", "client|setinfo"}
VALUES = [b"", b"0", b"1", b"-7", b"10", b"3.5", b"1e3", b"abc", b"9223372036854775807", b"-9223372036854775808", b" 5", b"5 ", b"05", b"+3", b"-0",
          b"nan", b"inf", b"-inf", b"\x00\xff", b"\xf0\x9f\x98\x80", b"99999999999999999999", b"0x10", b"1e-320", b"1e4932", b"0.1", b".5", b"5.",
          b"3.0e3", b"100000000000000000000.5", b"hello world", b"a\r\nb", b"1" * 45]
FIELDS = [b"f", b"g", b"n", b"", b"\xfe\x00", b"long-field-name", b"f2", b"*"]
INTEGERS = [0, 1, -1, 2, 5, 100, -100, 9223372036854775807, -9223372036854775808, 9223372036854775806, 2147483648]
BAD_INTEGERS = ["x", "1.5", "", "9223372036854775808", " 1", "1 ", "+1", "01", "-0", "1e3", "0x1", "--1", "\x00"]
DOUBLES = ["0", "1", "0.1", "-2.5", "3e2", "1e400", "abc", "inf", "-inf", "nan", "5.0e-3", " 1", "1 ", "0x1p3", "", "1e-20", "-1e17", "1e4900", ".5",
           "5.", "+1", "1e", "infinity", "-nan", "3.00000000000000000001", "123456789012345678", "0.30000000000000004", "-0", "1_0"]
SECONDS = [0, -1, 9223372036854775807, 9223372036854775, 9223370000000000, -9223372036854775808, 4000000000]
MILLISECONDS = [0, -1, -5, 9223372036854775807, 9223372036854774807, 9223370000000000000, -9223372036854775808]
AT_SECONDS = [4000000000, 4100000000, 1, 0, -1, 9223372036854775807, 9223372036854775, 253402300800]
AT_MILLISECONDS = [4000000000000, 4100000000000, 1, 0, -1, 9223372036854775807, 253402300800000]
PATTERNS = [b"*", b"f*", b"?", b"[a-f]*", b"[^a]*", b"\\*", b"", b"[", b"*\\", b"x[", b"[f-a]", b"**", b"\xff"]
WORDS = [b"NX", b"XX", b"GT", b"LT", b"EX", b"PX", b"GET", b"KEEPTTL", b"PERSIST", b"COUNT", b"MATCH", b"EXAT", b"bad", b"", b"0", b"100"]


def as_dict(flat):
    return {flat[i].decode(): flat[i + 1] for i in range(0, len(flat), 2)}


class Argument:
    def __init__(self, flat):
        d = as_dict(flat)
        self.name = d["name"].decode()
        self.type = d["type"].decode()
        self.token = d.get("token")
        flags = [f.decode() for f in d.get("flags") or []]
        self.optional, self.multiple = "optional" in flags, "multiple" in flags
        self.multiple_token = "multiple_token" in flags
        self.parts = [Argument(a) for a in d.get("arguments") or []]


class Table:
    """name -> arguments, of the commands that both have."""

    def __init__(self, ours, theirs):
        mine, other = Wire(ours), Wire(theirs)
        served = set()
        for name, flat in as_dict(plain(mine.call("COMMAND", "DOCS"))).items():
            served |= {name, *as_dict(as_dict(flat).get("subcommands") or [])}
        docs = as_dict(plain(other.call("COMMAND", "DOCS")))
        mine.close()
        other.close()
        self.commands = {}
        for name, flat in docs.items():
            doc = as_dict(flat)
            for sub, body in as_dict(doc.get("subcommands") or []).items():
                if sub in served and sub not in LEFT_OUT:
                    self.commands[sub] = [Argument(a) for a in as_dict(body).get("arguments") or []]
            if name in served and name not in LEFT_OUT and name.upper() not in CONTAINERS:
                self.commands[name] = [Argument(a) for a in doc.get("arguments") or []]
        self.names = sorted(self.commands)
        self.on_keys = [n for n in self.names if any(self._has_key(a) for a in self.commands[n])]

    @staticmethod
    def _has_key(a):
        return a.type == "key" or any(Table._has_key(p) for p in a.parts)


class Generator:
    def __init__(self, table, rng, number):
        self.table, self.rng = table, rng
        tagged = rng.random() < 0.5
        self.tagged = tagged
        name = b"%07d" % number
        self.prefix = b"{" + name + b"}" if tagged else rng.choice([b"k" + name + b".", b"n:" + name])
        self.keys = [self.prefix + s for s in (b"a", b"b", b"c", b"d", b"e", b"", b"\x00\xff \r\n" + b"z" * rng.choice([3, 490]))]
        # a few keys are met more often, and mostly with one type, so that commands find what they can work on
        self.hot = rng.sample(self.keys, 3)

    # --- arguments ---

    def key(self):
        return self.rng.choice(self.hot if self.rng.random() < 0.75 else self.keys)

    def value(self):
        r = self.rng
        if r.random() < 0.01:
            return b"y" * r.choice([64, 65, 255, 256, 5119, 5120, 100000])
        return r.choice(VALUES) if r.random() < 0.7 else r.choice([b"x" * r.randint(1, 40), b"%d" % r.randint(-1000, 1000), r.randbytes(r.randint(0, 20))])

    def integer(self, name, command):
        r = self.rng
        if r.random() < 0.08:
            return r.choice(BAD_INTEGERS)
        if name == "milliseconds":
            # GT and LT compare: no two that are nearly the same
            return r.randint(60000, 90000000) if r.random() < 0.7 else r.choice(MILLISECONDS)
        if name == "seconds":
            return r.randint(60, 1000000) if r.random() < 0.7 else r.choice(SECONDS)
        if name == "offset":
            return r.choice([0, 1, 5, 30, -1, 600000000, 536870912])
        if name in ("start", "end"):
            return r.choice(INTEGERS + [3, 7, -3, -2])
        if name in ("cursor", "count"):
            return r.choice([0, 1, 10, -1, 100, 18446744073709551615, 7] if name == "count" else [0, 0, 0, 18446744073709551616, -1, "00", "+0"])
        if name == "index":
            return r.choice([0, 0, 0, 99999999999, -1])
        return r.choice(INTEGERS)

    def text(self, a, command):
        r = self.rng
        if a.name == "field":
            return r.choice(FIELDS[:4] if r.random() < 0.6 else FIELDS)
        if a.name == "connection-name":
            return r.choice([b"name", b"", b"a b", b"\x7f", b"n\n"])
        if a.name in ("section", "parameter"):
            return r.choice([b"server", b"nosuch", b"*"])
        return self.value()

    def one(self, a, command):
        r = self.rng
        if a.type == "key":
            return [self.key()]
        if a.type == "pure-token":
            return [self.case(a.token)]
        if a.type == "oneof":
            return self.argument(r.choice(a.parts), command, always=True)
        if a.type == "block":
            return [x for p in a.parts for x in self.argument(p, command)]
        if a.type == "double" or (a.name == "increment" and command.endswith("float")):
            return [r.choice(DOUBLES)]
        if a.type == "unix-time":
            return [r.choice(AT_MILLISECONDS if "milli" in a.name else AT_SECONDS)]
        if a.type == "integer":
            return [self.integer(a.name, command)]
        if a.type == "pattern":
            return [r.choice(PATTERNS)]
        return [self.text(a, command)]

    def argument(self, a, command, always=False):
        r, out = self.rng, []
        if a.optional and not always and r.random() < 0.5:
            return out
        for i in range(r.choice([1, 1, 2, 3, 4]) if a.multiple else 1):
            if a.token and a.type != "pure-token" and (i == 0 or a.multiple_token):
                out.append(self.case(a.token))
            out += self.one(a, command)
        return out

    def case(self, word):
        p = self.rng.random()
        return word if p < 0.7 else word.lower() if p < 0.9 else bytes(c ^ 32 if chr(c).isalpha() and self.rng.random() < 0.5 else c for c in word)

    # --- commands ---

    def valid(self, name=None):
        r = self.rng
        name = name or r.choice(self.table.on_keys if r.random() < 0.9 else self.table.names)
        words = [self.case(w.upper().encode()) for w in name.split("|")]
        groups = [self.argument(a, name) for a in self.table.commands[name]]
        if r.random() < 0.1:  # options in another order: Redis takes them in any
            fixed = [g for a, g in zip(self.table.commands[name], groups) if not a.optional]
            options = [g for a, g in zip(self.table.commands[name], groups) if a.optional]
            options += [self.argument(a, name, always=True) for a in self.table.commands[name] if a.optional and r.random() < 0.5]
            r.shuffle(options)
            groups = fixed + options
        return words + [x for g in groups for x in g]

    def nearly(self):
        """A valid command with something done to it."""
        r = self.rng
        c = self.valid()
        for _ in range(r.choice([1, 1, 2])):
            i = r.randrange(len(c))
            kind = r.randrange(6)
            if kind == 0 and len(c) > 1:
                del c[max(1, i)]
            elif kind == 1:
                c.insert(max(1, i), r.choice(WORDS))
            elif kind == 2:
                c.append(r.choice([self.key(), self.value(), r.choice(WORDS)]))
            elif kind == 3 and i > 0 and c[i] not in self.keys:
                c[i] = r.choice([*BAD_INTEGERS, *WORDS])
            elif kind == 4 and len(c) > 2:
                j = r.randrange(1, len(c))
                i = max(1, i)
                c[i], c[j] = c[j], c[i]
            elif i > 0:
                c.append(c[i])
        return c if self.harmless(c) else self.valid()

    def harmless(self, c):
        """A shuffle may have made a key of something: only ours may be written."""
        name = c[0].lower().decode("latin-1")
        if len(c) < 2 or name not in self.table.commands or name not in self.table.on_keys:
            return True
        return all(not self._key_at(name, i) or a in self.keys for i, a in enumerate(c) if i > 0)

    @staticmethod
    def _key_at(name, i):
        if name in ("del", "unlink", "exists", "touch", "mget"):
            return True
        return i % 2 == 1 if name in ("mset", "msetnx") else i == 1

    def wrong(self):
        r = self.rng
        kind = r.randrange(5)
        if kind == 0:
            return [r.choice([b"NOSUCH", b"nosuch\r\n", b"", b"GET ", b"g\x00et", b"x" * 300]), *[self.value() for _ in range(r.randint(0, 4))]]
        if kind == 1:
            name = r.choice(self.table.on_keys)
            return [name.upper().encode(), *[self.key() for _ in range(r.choice([0, 1, 2, 3, 5]))]]
        if kind == 2:
            return [self.case(r.choice([b"CLIENT", b"COMMAND", b"CONFIG", b"SLOWLOG"])), r.choice([b"NOSUCH", b"", b"GET", b"getname", b"id", b"x" * 200])]
        if kind == 3:
            return [b"COMMAND", b"GETKEYS", *self.valid()]
        return [b"COMMAND", b"INFO", r.choice(self.table.on_keys).encode(), b"nosuch"]

    def command(self):
        p = self.rng.random()
        c = self.valid() if p < 0.72 else self.nearly() if p < 0.92 else self.wrong() if p < 0.96 else self.seed()
        return self.far(c)

    @staticmethod
    def far(c):
        """No expiry within the time the comparison takes: what is near its end is there or not. short_expiry() makes those."""
        c = list(c)
        name = as_bytes(c[0]).upper()
        for i in range(1, len(c)):
            before = as_bytes(c[i - 1]).upper()
            relative = (i == 2 and name in (b"EXPIRE", b"PEXPIRE", b"SETEX", b"PSETEX")) or before in (b"EX", b"PX")
            if relative and as_bytes(c[i]).isdigit() and len(as_bytes(c[i])) < 6 and int(c[i]) in range(1, 60000):
                c[i] = 70000 + int(c[i])
        return c

    def seed(self):
        """Makes sure that there is something of a useful kind."""
        r = self.rng
        k = self.key()
        if r.random() < 0.02:  # beyond what Redis keeps in one piece
            return [b"HSET", k, *[x for i in range(r.choice([129, 300])) for x in (b"f%d" % i, b"%d" % i)]]
        return r.choice([[b"SET", k, self.value()], [b"HSET", k, b"f", self.value(), b"n", b"5"], [b"DEL", k], [b"SET", k, b"10", b"EX", 1000],
                         [b"SET", k, b"3.25"], [b"SET", k, b"hello world", b"PX", 900000]])

    # --- sequences ---

    def transaction(self):
        r = self.rng
        out = []
        if r.random() < 0.4:
            watched = self.key()
            out.append(("cmd", 0, [b"WATCH", watched, *([self.key()] if r.random() < 0.3 else [])]))
            if r.random() < 0.2:  # absent before and after
                c = r.choice([0, 1])
                out = [("cmd", 0, [b"DEL", watched]), *out, ("cmd", c, [b"SET", watched, b"1"]), ("cmd", c, [b"DEL", watched])]
            if r.random() < 0.5:
                out.append(("cmd", r.choice([0, 1, 1]), [b"SET", watched, b"%d" % r.randrange(9)] if r.random() < 0.5 else self.seed()))
            if r.random() < 0.1:
                out.append(("cmd", 0, [b"UNWATCH"]))
        out.append(("cmd", 0, [b"MULTI"]))
        for _ in range(r.randint(0, 6)):
            p = r.random()
            out.append(("cmd", 0, self.command() if p < 0.9 else r.choice([[b"MULTI"], [b"WATCH", self.key()], [b"UNWATCH"], [b"PING"], [b"MULTI", b"x"],
                                                                           [b"HELLO", r.choice([2, 3, 4])], [b"EXEC", b"x"], [b"DISCARD", b"x"]])))
            if p < 0.05:
                out.append(("cmd", 1, self.seed()))
        out.append(("cmd", 0, [r.choice([b"EXEC", b"EXEC", b"EXEC", b"DISCARD"])]))
        return out

    def inline(self):
        r = self.rng
        k = self.keys[0]
        return ("inline", 0, r.choice([
            b"GET " + k, b"  GET   " + k + b"  ", b'SET ' + k + b' "a b\\x41\\n\\"c"', b"SET " + k + b" 'a\\'b\\n'", b'SET ' + k + b' "unbalanced', b"SET " + k + b" 'x'y",
            b'SET ' + k + b' "x"y', b"", b"   ", b"PING", b"NOSUCH a b", b'ECHO "\\xzz\\a\\t"', b"ECHO ''", b'ECHO ""', b"get " + k + b" extra", b'"PING"']) + r.choice([b"\r\n", b"\n"]))

    def raw(self):
        """Breaks of the protocol: the server says so and closes, or takes no notice."""
        return ("raw", 1, self.rng.choice([
            b"*0\r\n", b"*-1\r\n", b"*-10\r\n", b"*x\r\n", b"*1\r\n+PING\r\n", b"*1\r\n$x\r\n", b"*1\r\n$-1\r\n", b"*1\r\n$-5\r\n", b"*2\r\n$4\r\nECHO\r\n:1\r\n", b"\r\n\r\n",
            b"*99999999999\r\n", b"*\r\n", b"*1\r\n$\r\n", b"*1\r\n$9999999999999\r\n", b"*1 \r\n", b"*+1\r\n$4\r\nPING\r\n", b"*01\r\n$4\r\nPING\r\n",
            b"*1\r\n$04\r\nPING\r\n", b"*2147483648\r\n", b"*1\r\n\r\n", b"$4\r\nPING\r\n", b"*1\r\n$4\r\nPING\r\n*x\r\n"]))

    def connection(self):
        """About one connection: protocol, name, silence."""
        r = self.rng
        c = r.choice([0, 1])
        kind = r.randrange(6)
        if kind == 0:
            return [("cmd", c, [b"HELLO", *r.choice([[2], [3], [], [3, b"SETNAME", b"x"], [2, b"AUTH", b"default", b"x"], [3, b"AUTH", b"u", b"p"], [3, b"BAD"], [1], [4], [b"x"],
                                                     [3, b"SETNAME", b"a b"], [b""], [2, b"AUTH", b"default"]])])]
        if kind == 1:
            return [("cmd", c, [b"RESET"])]
        if kind == 2:
            return [("cmd", c, [b"AUTH", *r.choice([[b"x"], [b"default", b"x"], [b"nobody", b"x"], [b"a", b"b", b"c"], []])])]
        if kind == 3:
            return [("cmd", c, [b"CLIENT", r.choice([b"GETNAME", b"getname"])]), ("cmd", c, [b"CLIENT", b"SETNAME", r.choice([b"n1", b"", b"a b"])]), ("cmd", c, [b"CLIENT", b"GETNAME"])]
        if kind == 4:
            silent = [("cmd", c, self.seed()) for _ in range(r.randint(0, 3))]
            return [("cmd", c, [b"CLIENT", b"REPLY", r.choice([b"OFF", b"SKIP", b"off"])]), *silent, ("cmd", c, [b"CLIENT", b"REPLY", b"ON"])]
        return [("cmd", c, [b"WAIT", *r.choice([[0, 0], [0, 1], [1, 1], [b"x", 1], [0, b"x"], [0, -1], [-1, 1]])])]

    def short_expiry(self):
        r = self.rng
        k, ms = self.key(), r.choice([1, 5, 20])
        return [*r.choice([[("cmd", 0, [b"SET", k, b"v", b"PX", ms])], [("cmd", 0, [b"PEXPIRE", k, ms])], [("cmd", 0, [b"GETEX", k, b"PX", ms])],
                           [("cmd", 0, [b"PSETEX", k, ms, b"7"])]]), ("settle", k)]

    def sequence(self):
        r = self.rng
        steps = [("cmd", 0, [b"HELLO", r.choice([2, 3])]), ("cmd", 1, [b"HELLO", r.choice([2, 3])])]
        one_by_one = r.random() < 0.25
        for _ in range(r.choice([5, 15, 30, 60])):
            p = r.random()
            if p < 0.84:
                steps.append(("cmd", 0 if r.random() < 0.85 else 1, self.command()))
            elif p < 0.90:
                steps += self.transaction() if self.tagged or r.random() < 0.1 else [("cmd", 0, self.seed())]
            elif p < 0.93:
                steps += self.connection()
            elif p < 0.95:
                steps.append(self.inline())
            elif p < 0.96:
                steps.append(("cmd", 0, [r.choice([b"EXEC", b"DISCARD", b"UNWATCH", b"MULTI"])]))
                if steps[-1][2] == [b"MULTI"]:
                    steps.append(("cmd", 0, [b"DISCARD"]))
            elif p < 0.975:
                steps += self.short_expiry()
            elif p < 0.985:
                steps.append(("evict", self.key()))
            elif p < 0.99:
                steps.append(self.raw())
            else:
                steps.append(("cmd", 1, [b"QUIT"]))
            if one_by_one or r.random() < 0.1:
                steps.append(("sync",))
        for k in self.keys:
            steps += [("cmd", 0, [c, k]) for c in (b"TYPE", b"GET", b"HGETALL", b"PTTL")]
        if r.random() < 0.9:
            return steps
        steps.append(("scan", b"COUNT", 1000, b"MATCH", self.prefix + b"*"))
        steps.append(("scan", b"COUNT", 20, b"MATCH", self.prefix + r.choice([b"?", b"[a-c]", b"[^b]", b"a*", b"", b"\\a"]), b"TYPE",
                      r.choice([b"string", b"hash", b"HASH", b"list", b"", b"nosuch"])))
        return steps
