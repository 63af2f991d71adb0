"""What each operation does to one object.

A state is (value, from, until, undo). `value` is a text, a set of fields, or None for absent. An object that expires is
sure to be there before `from` and sure to be gone after `until` (FOREVER both: it does not expire). `undo` is what a loss
may go back to: (value, from, until, highest level written since).

`OPS[name](state, op)` gives the values after it, as (value, from, until), one for each way it can have gone that agrees
with its result; none when there is no such way. Of an operation with an unknown outcome the result is not asked.
"""

from ops import FOREVER, LEVELS, freeze

SLACK = 1_000_000_000  # ns: an expiry may be this early or late, as it is some other process's clock
START = (None, FOREVER, FOREVER, frozenset())


def views(state, op):
    """What the operation may find: the value while it lives, None once it may have expired."""
    value, lo, hi, _ = state
    if lo == FOREVER:
        return [state[:3]]
    found = []
    if op.invoke <= hi:
        found.append((value, lo, hi))
    if op.end >= lo:
        found.append((None, FOREVER, FOREVER))
    return found


def agrees(op, result):
    return op.outcome != "ok" or op.result == result


def lives(op, value):
    if op.ttl is None:
        return (value, FOREVER, FOREVER)
    return (value, op.invoke + op.ttl - SLACK, op.end + op.ttl + SLACK)


def op_get(state, op):
    return [v for v in views(state, op) if agrees(op, v[0])]


def op_init(_state, op):
    return [lives(op, op.args[0])]


def op_set(_state, op):
    return [lives(op, op.args[0])]


def op_setnx(state, op):
    out = []
    for v in views(state, op):
        if v[0] is None:
            out += [lives(op, op.args[0])] if agrees(op, 1) else []
        elif agrees(op, 0):
            out.append(v)
    return out


def op_getset(state, op):
    return [lives(op, op.args[0]) for v in views(state, op) if agrees(op, v[0])]


def op_del(state, op):
    return [(None, FOREVER, FOREVER) for v in views(state, op) if agrees(op, 0 if v[0] is None else 1)]


def op_cas(state, op):
    """Compare and swap by value: expected, new; 1 when it was swapped."""
    out = []
    for v in views(state, op):
        if v[0] == op.args[0]:
            out += [lives(op, op.args[1])] if agrees(op, 1) else []
        elif agrees(op, 0):
            out.append(v)
    return out


def op_incr(state, op):
    out = []
    for value, lo, hi in views(state, op):
        try:
            n = int(value or 0) + int(op.args[0])
        except (TypeError, ValueError):
            continue
        if agrees(op, n):
            out.append((str(n), lo, hi))
    return out


def op_append(state, op):
    return [((v[0] or "") + op.args[0], v[1], v[2]) for v in views(state, op)
            if agrees(op, len(v[0] or "") + len(op.args[0]))]


def op_hset(state, op):
    """Fields and values, in pairs; the result is how many are new."""
    out = []
    for value, lo, hi in views(state, op):
        h = dict(value or ())
        new = dict(zip(op.args[::2], op.args[1::2]))
        if agrees(op, len(new.keys() - h.keys())):
            out.append((freeze({**h, **new}), lo, hi))
    return out


def op_hdel(state, op):
    out = []
    for value, lo, hi in views(state, op):
        h = dict(value or ())
        if agrees(op, len(h.keys() & set(op.args))):
            left = freeze({k: v for k, v in h.items() if k not in op.args}) or None
            out.append((left, lo, hi) if left else (None, FOREVER, FOREVER))
    return out


def op_hincr(state, op):
    out = []
    for value, lo, hi in views(state, op):
        h = dict(value or ())
        n = int(h.get(op.args[0], 0)) + int(op.args[1])
        if agrees(op, n):
            out.append((freeze({**h, op.args[0]: str(n)}), lo, hi))
    return out


def op_loss(state, _op):
    return [state[:3]]  # what it takes back is in `after`


OPS = {"get": op_get, "init": op_init, "set": op_set, "setnx": op_setnx, "getset": op_getset, "del": op_del, "cas": op_cas,
       "incr": op_incr, "append": op_append, "hset": op_hset, "hdel": op_hdel, "hincr": op_hincr, "loss": op_loss}
READS = {"get"}
UNIQUE = {"get", "init", "set", "setnx", "getset", "del", "cas", "loss"}  # a value is made by the operation that names it


def after(state, op, worst):
    """All states after `op`. `worst` is the highest level any loss of this log spares: what more than that has passed is
    never gone back to."""
    if op.name == "loss":
        spared = LEVELS[op.level]
        out = {state}
        for value, lo, hi, level in state[3]:
            if level < spared:
                out.add((value, lo, hi, frozenset(u for u in state[3] if u[3] >= spared)))
        return out
    undo = state[3]
    if not worst:
        return {v + (undo,) for v in OPS[op.name](state, op)}
    out = set()
    level = LEVELS[op.level or "local"] if op.outcome == "ok" else 0
    for v in OPS[op.name](state, op):
        if op.name in READS or v == state[:3]:
            out.add(v + (undo,))
            continue
        passed = {(u[0], u[1], u[2], max(u[3], level)) for u in undo} | {state[:3] + (level,)}
        out.add(v + (frozenset(u for u in passed if u[3] < worst),))
    return out
