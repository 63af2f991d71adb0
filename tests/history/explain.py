"""Tells a violation to a person: what is wrong in one line, then the operations of the object around it."""

from ops import FOREVER
from sweep import effect, writers

AROUND = 8


def short(v):
    text = repr(sorted(v)) if isinstance(v, frozenset) else repr(v)
    return text if len(text) <= 40 else text[:36] + "..." + text[-1]


def line(o, zero, marked):
    """One operation, times in ms since the first of the object."""
    end = "      ..." if o.end == FOREVER else f"{(o.end - zero) / 1e6:9.3f}"
    result = {"ok": f"-> {short(o.result)}", "fail": "-> refused", "unknown": "-> unknown"}[o.outcome]
    more = "".join(f"  {name} {value}" for name, value in (("version", o.version), ("level", o.level), ("session", o.session),
                                                            ("request", o.request)) if value is not None)
    args = " ".join(short(a) for a in o.args)
    return f"{'>>' if marked else '  '} {(o.invoke - zero) / 1e6:9.3f} {end}  {str(o.client):<14} {o.name} {args} {result}{more}"


def picture(text, ops, rows, marked):
    key = next((o.key for o in ops if o.name != "loss"), "?")
    ops = sorted(ops, key=lambda o: (o.invoke, o.line))
    at = [i for i, o in enumerate(ops) if o in marked]
    first, last = (min(at), max(at)) if at else (len(ops) - 1, len(ops) - 1)
    # the operations around each of those marked, whatever lies between
    near = [i for i in range(len(ops)) if any(abs(i - m) <= AROUND for m in (at or [last]))]
    zero = ops[0].invoke
    out = [f"object {key!r}: {text}", "    begin ms    end ms  client         operation"]
    before = None
    for i in near:
        if before is not None and i > before + 1:
            out.append(f"     ... {i - before - 1} more")
        out.append(line(ops[i], zero, i in at))
        before = i
    for a in marked:
        if a not in ops and hasattr(a, "value"):
            out.append(f">> PostgreSQL, row {a.line} of the audit: version {a.version}, {short(a.value)}")
    if rows and not any(hasattr(a, "value") for a in marked):
        out.append(f"   PostgreSQL was given {len(rows)} versions, the last {rows[-1].version}: {short(rows[-1].value)}")
    return "\n".join(out)


def seen_later(ops, value, op):
    return any(o.name == "get" and o.outcome == "ok" and o.result == value and o.end > op.end for o in ops)


def why(stuck, did, everything):
    """The kind of thing that happened, as far as values tell it."""
    op, states = stuck.op, stuck.states
    possible = ", ".join(sorted({short(s) for s in states})[:4])
    tail = f" (possible before it: {possible})"
    if op.name == "incr":
        return counter(op, did) + tail
    if op.name != "get":
        return f"no order of the operations gives {op.name} the result {short(op.result)}" + tail
    by = writers([o for o in everything if o.name != "loss"]) or {}
    value, made = op.result, by.get(op.result, [])
    if value is not None and by and not made:
        return f"{op.client} read {short(value)}, which nobody wrote" + tail
    if made and all(o.outcome == "fail" for o in made):
        return f"a refused write had an effect: {op.client} read {short(value)}" + tail
    if made and all(o.invoke > op.end for o in made):
        return f"{op.client} read {short(value)} before anybody wrote it" + tail
    born = min((o.invoke for o in made), default=-1)
    newer = [o for o in did if by and effect(o) and o.end < op.invoke and o.invoke > born and
             (o.name == "del" or o.args[-1] != value)]
    if newer:
        last = max(newer, key=lambda o: o.end)
        wrote = None if last.name == "del" else last.args[-1]
        kind = "an old value was read" if seen_later(did, wrote, op) else "an acknowledged write is lost"
        return f"{kind}: {last.name} {short(wrote)} was answered{f' at level {last.level}' if last.level else ''} " \
               f"before {op.client} read {short(value)}" + tail
    return f"no order of the operations explains {short(value)}, read by {op.client}" + tail


def counter(op, did):
    """INCR: an effect too few or too many."""
    begun = [o for o in did if o.name == "incr" and o.invoke < op.end]
    if len([o for o in did if o.name not in ("incr", "get", "loss")]) == 0 and all(int(o.args[0]) > 0 for o in begun):
        most = sum(int(o.args[0]) for o in begun)
        least = sum(int(o.args[0]) for o in begun if o.outcome == "ok" and o.end < op.invoke) + int(op.args[0])
        if op.result > most:
            return f"a write was carried out twice: incr gave {op.result}, all that began before add up to {most}"
        if op.result < least:
            return f"an acknowledged write is lost: incr gave {op.result}, what had been answered adds up to {least}"
    return f"no order of the operations gives incr the result {op.result}"
