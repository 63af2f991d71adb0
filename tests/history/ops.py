"""What an operation is, and how logs of them are written and read (README.md has the format)."""

import json
import threading
import time

LEVELS = {"local": 1, "replicated": 2, "durable": 3, "database": 4}
FOREVER = float("inf")
LOADED = 1 << 40  # versions below name a row that was loaded: they say nothing about order


class BadLog(Exception):
    """The log itself is wrong: which line, and what is wrong with it."""


class Op:
    """One operation on one object. `slot`, `events` and the rest of the search live in search.py."""

    __slots__ = ("client", "key", "name", "args", "invoke", "end", "outcome", "result", "version", "level", "require",
                 "session", "request", "conn", "n", "line", "before", "ttl", "same")

    def known(self):
        return self.outcome == "ok"


def freeze(v):
    """Values as they are compared: lists and objects become something that can be a member of a set."""
    if isinstance(v, list):
        return tuple(freeze(x) for x in v)
    if isinstance(v, dict):
        return frozenset((k, freeze(x)) for k, x in v.items())
    return v


FIELDS = {"client", "key", "op", "args", "invoke", "return", "outcome", "result", "version", "level", "require", "session",
          "request", "conn", "n", "ttl"}


def parse(d, line, names):
    if not isinstance(d, dict):
        raise BadLog(f"line {line}: not an object")
    for field in ("key", "op", "invoke", "outcome"):
        if field not in d:
            raise BadLog(f"line {line}: no field {field!r}")
    if not d.keys() <= FIELDS:
        raise BadLog(f"line {line}: unknown field {min(d.keys() - FIELDS)!r}")
    o = Op()
    o.line, o.key, o.name, o.outcome = line, d["key"], d["op"], d["outcome"]
    o.client = d.get("client", "?")
    o.args = freeze(d.get("args", []))
    o.invoke, o.end = d["invoke"], d.get("return")
    o.result, o.version = freeze(d.get("result")), d.get("version")
    o.level, o.require = d.get("level"), d.get("require")
    o.session, o.request, o.conn, o.n, o.ttl = d.get("session"), d.get("request"), d.get("conn"), d.get("n"), d.get("ttl")
    o.before, o.same = None, None
    if o.name not in names:
        raise BadLog(f"line {line}: unknown operation {o.name!r}; known are {', '.join(sorted(names))}")
    if o.outcome not in ("ok", "fail", "unknown"):
        raise BadLog(f"line {line}: outcome {o.outcome!r} is none of ok, fail, unknown")
    for level in (o.level, o.require):
        if level is not None and level not in LEVELS:
            raise BadLog(f"line {line}: level {level!r} is none of {', '.join(LEVELS)}")
    if (o.conn is None) != (o.n is None):
        raise BadLog(f"line {line}: conn and n belong together")
    if (o.session is None) != (o.request is None):
        raise BadLog(f"line {line}: session and request belong together")
    if o.name == "loss" and o.level is None:
        raise BadLog(f"line {line}: a loss says by its level what it spares")
    if o.outcome == "unknown":
        o.end = FOREVER
    elif not isinstance(o.end, int):
        raise BadLog(f"line {line}: a finished operation needs its time of return")
    if not isinstance(o.invoke, int) or o.end < o.invoke:
        raise BadLog(f"line {line}: it returned before it was invoked")
    return o


def read_log(lines, names):
    """Operations of a log, in its order. `lines` are JSON texts or dictionaries."""
    for number, text in enumerate(lines, 1):
        if isinstance(text, dict):
            yield parse(text, number, names)
            continue
        try:
            d = json.loads(text)
        except ValueError as e:
            raise BadLog(f"line {number}: {e}") from None
        yield parse(d, number, names)


class Recorder:
    """Writes such a log. Any thread may use it; one line a finished operation, a line at a time."""

    def __init__(self, path):
        self.path, self.file, self.lock = path, open(path, "w"), threading.Lock()

    now = staticmethod(time.monotonic_ns)

    def write(self, **fields):
        text = json.dumps({k: v for k, v in fields.items() if v is not None or k == "result"}, separators=(",", ":"))
        with self.lock:
            self.file.write(text + "\n")

    def close(self):
        with self.lock:
            self.file.close()
