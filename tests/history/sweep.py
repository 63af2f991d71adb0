"""What versions say. They are the order in which the cluster says it carried the writes of an object out, so one walk in the
order of time is enough: whatever was invoked after something had returned must not be of a lower version.

Versions come from replies to reads and writes and from what PostgreSQL was given; a write whose reply had none is found by
its value, where nobody else wrote the same. Versions below LOADED are of rows that were loaded, and say nothing.
"""

from model import READS, UNIQUE
from ops import FOREVER, LEVELS, LOADED


class Found(Exception):
    def __init__(self, text, *ops):
        super().__init__(text)
        self.text, self.ops = text, ops


def writers(ops):
    """value -> the operations that may have made it; None when values of this object do not tell who made them."""
    by = {}
    for o in ops:
        if o.name not in UNIQUE:
            return None
        if o.name in ("set", "setnx", "getset", "init"):
            by.setdefault(o.args[0], []).append(o)
        elif o.name == "cas":
            by.setdefault(o.args[1], []).append(o)
    return by


def effect(o):
    """Did it certainly write?"""
    if o.outcome != "ok" or o.name in READS or o.name in ("loss", "init"):
        return False
    return o.result == 1 if o.name in ("setnx", "cas", "del") else True


def shown(ops, audit):
    """(version, value, who says so), of what certainly belongs together."""
    for o in ops:
        if o.outcome == "ok" and o.version is not None and o.version >= LOADED:
            if o.name == "get":
                yield o.version, o.result, o
            elif o.name in ("set", "setnx", "getset", "cas") and effect(o):
                yield o.version, o.args[1 if o.name == "cas" else 0], o
            elif o.name == "incr":
                yield o.version, str(o.result), o
    for a in audit:
        if a.version >= LOADED:
            yield a.version, a.value, a


def learn(ops, audit, by):
    """Versions of writes from whoever saw what they wrote: {op: version}. One version is one value, one write one version."""
    value_of, version_of = {}, {}
    for version, value, who in shown(ops, audit):
        if version in value_of and value_of[version][0] != value:
            raise Found(f"version {version} is two values: {value_of[version][0]!r} and {value!r}",
                        value_of[version][1], who)
        value_of.setdefault(version, (value, who))
        one = by.get(value, ()) if by and value is not None else ()
        if len(one) != 1 or one[0].name == "init":
            continue
        if one[0].version is not None and one[0].outcome == "ok" and effect(one[0]) and one[0].version != version:
            raise Found(f"a write was carried out twice: {one[0].args[-1]!r} is version {one[0].version} and {version}", one[0], who)
        if version_of.setdefault(one[0], version) != version:
            raise Found(f"a write was carried out twice: {value!r} is version {version_of[one[0]]} and version {version}",
                        one[0], who)
    for o in ops:
        if o.version is not None and o.version >= LOADED and effect(o):
            version_of[o] = o.version
    return version_of


def floor(versions, losses, op):
    """What a loss spares of what had returned before it."""
    spared = LEVELS[op.level]
    losses.append(op)
    return max((v for o, v in versions.items() if o.end < op.invoke and LEVELS.get(o.level, 0) >= spared), default=0)


def walk(ops, version_of, worst):
    """Nothing goes back in time."""
    events = sorted([(o.invoke, 0, i, o) for i, o in enumerate(ops)] +
                    [(o.end, 1, i, o) for i, o in enumerate(ops) if o.end != FOREVER], key=lambda e: e[:3])
    top, by, asked, used = 0, None, {}, {}
    for _, returned, _, o in events:
        if o.name == "loss":
            if not returned:
                top, by = floor(version_of, [], o), None
            continue
        read = o.name in READS
        version = (o.version if o.outcome == "ok" else None) if read else version_of.get(o)
        if version is None or version < LOADED:
            continue
        if not returned:
            asked[o] = (top, by)
            if not read:
                if version in used:
                    raise Found(f"version {version} was given to two writes", used[version], o)
                used[version] = o
            continue
        low, earlier = asked[o]
        if worst and low > top:
            low = top  # a loss came between
        if version < low or (not read and version == low and earlier is not None and earlier.name not in READS):
            raise Found(f"{'a read' if read else 'a write'} of version {version} began after version {low} had been answered",
                        earlier, o)
        if version > top:
            top, by = version, o
    future(ops, version_of)


def future(ops, version_of):
    """A read cannot have what was only asked for after it was answered."""
    born = {v: o for o, v in version_of.items()}
    for o in ops:
        if o.name in READS and o.outcome == "ok" and o.version in born and born[o.version].invoke > o.end:
            raise Found(f"a read of version {o.version} was answered before its write began", o, born[o.version])


def sweep(ops, audit, worst=0):
    """Raises Found; gives how many operations had a version to look at."""
    version_of = learn(ops, audit, writers(ops))
    walk(ops, version_of, worst)
    return len(version_of) + sum(1 for o in ops if o.name in READS and (o.version or 0) >= LOADED)
