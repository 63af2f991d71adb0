"""Connections that give raw answers, and what makes two answers the same. For the comparison with Redis."""

import re
import socket

AGGREGATES = b"*~>%"


class Wire:
    """One connection; answers are their raw bytes, b"EOF" when the server closed, b"TIMEOUT" when none came."""

    def __init__(self, port, timeout=20):
        self.s = socket.create_connection(("127.0.0.1", port), timeout)
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.f = self.s.makefile("rb")
        self.ended = None

    def send_raw(self, raw):
        try:
            self.s.sendall(raw)
        except OSError:
            self.ended = self.ended or b"EOF"

    def send(self, commands):
        self.send_raw(b"".join(encode(c) for c in commands))

    def answer(self):
        if self.ended:
            return self.ended
        try:
            return self._one()
        except TimeoutError:
            self.ended = b"TIMEOUT"
        except (ConnectionError, EOFError, ValueError):
            self.ended = b"EOF"
        return self.ended

    def _one(self):
        line = self.f.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError
        kind, n = line[:1], line[1:-2]
        if kind in b"$=" and n != b"-1":
            body = self.f.read(int(n) + 2)
            if len(body) < int(n) + 2:
                raise EOFError
            return line + body
        if kind in AGGREGATES and n != b"-1":
            return line + b"".join(self._one() for _ in range(int(n) * (2 if kind == b"%" else 1)))
        return line

    def call(self, *args):
        self.send([args])
        return self.answer()

    def close(self):
        self.f.close()
        self.s.close()


def as_bytes(a):
    return a if isinstance(a, bytes) else str(a).encode()


def encode(args):
    out = bytearray(b"*%d\r\n" % len(args))
    for a in args:
        a = as_bytes(a)
        out += b"$%d\r\n%s\r\n" % (len(a), a)
    return bytes(out)


def children(raw):
    """(head line, raw elements) of an aggregate; a map's keys and values in turn."""
    at = raw.index(b"\r\n") + 2
    head, out = raw[:at], []
    while at < len(raw):
        end = _end(raw, at)
        out.append(raw[at:end])
        at = end
    return head, out


def _end(raw, at):
    line_end = raw.index(b"\r\n", at) + 2
    kind, n = raw[at:at + 1], raw[at + 1:line_end - 2]
    if kind in b"$=" and n != b"-1":
        return line_end + int(n) + 2
    at = line_end
    if kind in AGGREGATES and n != b"-1":
        for _ in range(int(n) * (2 if kind == b"%" else 1)):
            at = _end(raw, at)
    return at


def plain(raw):
    """A whole answer as Python values: for what the comparison itself asks."""
    kind, n = raw[:1], raw[1:raw.index(b"\r\n")]
    if kind in b"$=":
        return None if n == b"-1" else raw[raw.index(b"\r\n") + 2:-2]
    if kind in AGGREGATES:
        return None if n == b"-1" else [plain(c) for c in children(raw)[1]]
    return int(n) if kind == b":" else None if kind == b"_" else n


def kind_of(raw):
    """The type of an answer in the words of deploy/docs/commands.md, as RESP3 has it where RESP2 cannot tell."""
    if raw in (b"+OK\r\n", b"$-1\r\n", b"*-1\r\n", b"+QUEUED\r\n"):
        return {b"+": "ok", b"$": "null", b"*": "null array"}[raw[:1]] if raw != b"+QUEUED\r\n" else "queued"
    return {b"+": "simple", b":": "integer", b"$": "bulk", b"*": "array", b"%": "map", b"_": "null", b"=": "verbatim", b"-": "error"}.get(raw[:1], "end")


def is_aggregate(raw):
    return raw[:1] in (b"*", b"~", b">", b"%") and raw[1:2] != b"-"


# What an answer may differ in by the nature of the command: an order no one promises, a clock, a number of one server.

def _pairs(ours, theirs):
    (a, x), (b, y) = children(ours), children(theirs)
    return a == b and sorted(zip(x[::2], x[1::2])) == sorted(zip(y[::2], y[1::2]))


def _set(ours, theirs):
    (a, x), (b, y) = children(ours), children(theirs)
    return a == b and sorted(x) == sorted(y)


def _clock(tolerance):
    def same_clock(ours, theirs):
        if ours[:1] != b":" or theirs[:1] != b":":
            return False
        x, y = int(ours[1:]), int(theirs[1:])
        return x > 0 and y > 0 and abs(x - y) <= tolerance
    return same_clock


def _hscan(ours, theirs, part):
    (_, x), (_, y) = children(ours), children(theirs)
    if len(x) != 2 or len(y) != 2:
        return False
    (_, mine), (_, other) = children(x[1]), children(y[1])
    mine, other = set(zip(mine[::2], mine[1::2])), set(zip(other[::2], other[1::2]))
    return mine >= other if part or x[0] != y[0] else mine == other  # a large hash comes in parts there


def _hello(ours, theirs):
    mine, other = children(ours), children(theirs)
    at = [i for i, e in enumerate(other[1]) if e == b"$2\r\nid\r\n"]
    if mine[0] != other[0] or len(at) != 1:
        return False
    for _, e in (mine, other):
        if not re.fullmatch(rb":\d+\r\n", e[at[0] + 1]):
            return False
        e[at[0] + 1] = b""
    return mine[1] == other[1]


def _form(ours, theirs):
    """Only the type: the content is of one server."""
    return ours[:1] == theirs[:1] and (ours[:1] != b"=" or ours.split(b"\r\n", 1)[1][:4] == theirs.split(b"\r\n", 1)[1][:4])


def _bulk_or_null(ours, theirs):
    """What is under way in the same pipeline is seen or not."""
    return all(a[:1] in b"$_" for a in (ours, theirs))


RULES = {
    "HGETALL": _pairs, "HKEYS": _set, "HVALS": _set, "HSCAN": _hscan, "HELLO": _hello,
    "TTL": _clock(2), "PTTL": _clock(2000), "EXPIRETIME": _clock(2), "PEXPIRETIME": _clock(2000),
    "CLIENT ID": _form, "CLIENT INFO": _form, "CLIENT LIST": _form, "INFO": _form, "TIME": _form, "DBSIZE": _form,
    "RANDOMKEY": _bulk_or_null, "SCAN": _form, "COMMAND": _form, "COMMAND COUNT": _form, "COMMAND LIST": _form, "COMMAND DOCS": _form,
    "CONFIG GET": _form, "CLIENT HELP": _form, "COMMAND HELP": _form, "CONFIG HELP": _form,
    # what is slow is a matter of the machine
    "SLOWLOG GET": _form, "SLOWLOG LEN": _form,
}
CONTAINERS = {"CLIENT", "COMMAND", "CONFIG", "SLOWLOG"}


def name_of(command):
    """GET, CLIENT ID: what rules and the list of differences go by."""
    words = [as_bytes(a).decode("latin-1").upper() for a in command[:2]]
    return " ".join(words) if words[:1] and words[0] in CONTAINERS and len(words) == 2 else (words or [""])[0]


def same(command, ours, theirs):
    if ours == theirs:
        return True
    if ours[:1] == b"-" or theirs[:1] == b"-" or b"EOF" in (ours, theirs) or b"TIMEOUT" in (ours, theirs):
        return False
    rule = RULES.get(name_of(command))
    try:
        if rule is _hscan:
            return _hscan(ours, theirs, part=as_bytes(command[2]) != b"0")
        return rule is not None and rule(ours, theirs)
    except (ValueError, IndexError):
        return False


class Differences:
    """The file of deliberate differences: COMMAND | our answer | Redis's answer | reason."""

    def __init__(self, path):
        self.rows, self.used = [], {}
        with open(path) as f:
            for number, line in enumerate(f, 1):
                if line.strip() and not line.startswith("#"):
                    parts = [x.strip() for x in line.split(" | ")]
                    if len(parts) != 4 or not parts[3]:
                        raise ValueError(f"{path}:{number}: must be COMMAND | our answer | Redis's answer | reason")
                    self.rows.append((parts[0], re.compile(parts[1]), re.compile(parts[2]), number))

    def allow(self, command, ours, theirs, place=""):
        name, mine, other = name_of(command), ours.decode("latin-1"), theirs.decode("latin-1")
        for row, a, b, number in self.rows:
            if row in (name, place) or row == "*":
                if a.search(mine) and b.search(other):
                    self.used[number] = self.used.get(number, 0) + 1
                    return True
        return False
