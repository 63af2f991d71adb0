"""The whole check of a log, object by object: sessions, levels, versions, an order without versions, PostgreSQL."""

import argparse
import json
import sys
import time

from explain import picture, why
from model import OPS
from ops import FOREVER, LEVELS, BadLog, Op, read_log
from search import Stuck, TooMany, search
from sweep import Found, sweep

DRAINED = "PostgreSQL at the end"


class Row:
    """One change that PostgreSQL was given."""

    __slots__ = ("version", "value", "line")

    def __init__(self, version, value, line):
        self.version, self.value, self.line = version, value, line


class Report:
    def __init__(self):
        self.violations = []  # (key, text with the picture)
        self.given_up = []    # keys with more orders than are followed
        self.objects = self.operations = self.with_version = 0

    @property
    def ok(self):
        return not self.violations and not self.given_up


def merge_sessions(ops):
    """Requests that were sent again are one operation; its answers agree (I15). Gives operations, raises Found."""
    seen, out = {}, []
    for o in ops:
        if o.session is None:
            out.append(o)
            continue
        first = seen.setdefault((o.session, o.request), o)
        if first is o:
            out.append(o)
            continue
        if (o.name, o.args) != (first.name, first.args):
            raise Found(f"session {o.session} used request number {o.request} for two operations", first, o)
        if o.outcome == "ok" and first.outcome == "ok" and \
                (o.result != first.result or (o.version and first.version and o.version != first.version)):
            raise Found(f"request {o.request} of session {o.session} was answered in two ways", first, o)
        one_answer(first, o)
    return out


def one_answer(first, again):
    """Takes a second attempt into the first: from the first try to the first answer that is sure. A refusal says that this
    attempt had no effect; what an attempt before it did stays unknown."""
    first.invoke = min(first.invoke, again.invoke)
    if again.outcome == "ok":
        first.end = min(first.end, again.end) if first.outcome == "ok" else again.end
        first.outcome, first.result = "ok", again.result
        first.version = first.version or again.version
        first.level = first.level or again.level
    elif again.outcome == "unknown" and first.outcome == "fail":
        first.outcome, first.end = "unknown", FOREVER


def check_levels(ops, audit):
    for o in ops:
        if o.outcome != "ok" or o.require is None:
            continue
        if o.level is None:
            o.level = o.require  # the client asked for it and was not refused
        elif LEVELS[o.level] < LEVELS[o.require]:
            raise Found(f"level {o.require} was required, {o.level} was reached, and the answer was a success", o)
    if audit is None:
        return
    newest = max((a.version for a in audit), default=0)
    values = {a.value for a in audit}
    for o in ops:
        if o.outcome == "ok" and o.level == "database" and o.name == "set" and \
                o.args[0] not in values and (o.version is None or o.version > newest):
            raise Found("answered at level database, but PostgreSQL has neither it nor a newer version", o)


def check_audit(rows):
    last = None
    for a in rows:
        if last is not None and a.version == last.version:
            raise Found(f"PostgreSQL was given version {a.version} twice", last, a)
        if last is not None and a.version < last.version:
            raise Found(f"PostgreSQL was given version {a.version} after version {last.version}", last, a)
        last = a


def at_the_end(key, ops, rows):
    """Everything drained: what PostgreSQL has is what a read would give."""
    o = Op()
    o.client, o.key, o.name, o.args, o.outcome, o.line = DRAINED, key, "get", (), "ok", rows[-1].line if rows else 0
    o.invoke = o.end = max([x.invoke for x in ops] + [x.end for x in ops if x.end != FOREVER]) + 1
    o.result, o.version = (rows[-1].value, rows[-1].version) if rows else (None, None)
    o.level = o.require = o.session = o.request = o.conn = o.n = o.ttl = o.before = o.same = None
    return o


def link(ops):
    """What one connection sent before, and which unknown ones are equal."""
    last = {}
    for o in sorted((o for o in ops if o.conn is not None), key=lambda o: (o.n, o.line)):
        before = last.get(o.conn)
        if before is not None and before.end > o.invoke:
            o.before = before
        if o.outcome == "ok":
            last[o.conn] = o
    for o in ops:
        if o.end == FOREVER:
            o.same = (o.name, o.args, o.ttl, o.conn if o.conn is not None else None)


def check_object(key, ops, losses, audit, drained, report):
    worst = max((LEVELS[o.level] for o in losses), default=0)
    rows = audit.get(key, []) if audit is not None else None
    everything = ops
    try:
        ops = merge_sessions(ops)
        check_levels(ops, rows)
        check_audit(rows or [])
        did = [o for o in ops if o.outcome != "fail"] + losses
        if drained and rows is not None and ops:
            did.append(at_the_end(key, ops, rows))
        link(did)
        report.with_version += sweep(did, rows or [], worst)
        search(did, worst)
    except Found as e:
        report.violations.append((key, picture(e.text, everything + losses, rows, e.ops)))
    except Stuck as e:
        report.violations.append((key, picture(why(e, did, ops), did, rows, (e.op,))))
    except TooMany:
        report.given_up.append(key)


def check(ops, audit=None, drained=False):
    """`ops` from read_log; `audit` {key: [Row]} or None; `drained`: all was written when the audit was taken."""
    report, by_key, losses = Report(), {}, []
    for o in ops:
        if o.name == "loss":
            losses.append(o)
        else:
            by_key.setdefault(o.key, []).append(o)
    for key in audit or ():
        by_key.setdefault(key, [])
    for key, own in by_key.items():
        report.objects += 1
        report.operations += len(own)
        if not own:
            report.violations.append((key, f"object {key!r}: PostgreSQL has {audit[key][-1].value!r}, which nobody wrote"))
            continue
        check_object(key, own, losses, audit, drained, report)
    return report


def read_audit(lines):
    out = {}
    for number, text in enumerate(lines, 1):
        try:
            d = text if isinstance(text, dict) else json.loads(text)
            out.setdefault(d["key"], []).append(Row(d["version"], d.get("value"), number))
        except (ValueError, KeyError, TypeError) as e:
            raise BadLog(f"line {number} of the audit file: {e!r}") from None
    return out


def main(argv):
    p = argparse.ArgumentParser(prog="tests/history/check", description="Checks a log of client operations, object by object: "
                                "linearizable, nothing lost, each request once, levels, and what PostgreSQL was given. "
                                "Exit 0 all is well, 1 it is not, 2 the log cannot be read.")
    p.add_argument("log", help="operations, one JSON object a line (README.md)")
    p.add_argument("--audit", metavar="FILE", help="what PostgreSQL was given, in its order: key, version, value")
    p.add_argument("--drained", action="store_true", help="the audit was taken when nothing waited any more: its last rows "
                   "are what a read would have given")
    p.add_argument("--show", type=int, default=3, metavar="N", help="violations to print (3)")
    a = p.parse_args(argv)
    began = time.monotonic()
    try:
        audit = None
        if a.audit:
            with open(a.audit) as f:
                audit = read_audit(f)
        with open(a.log) as f:
            report = check(read_log(f, OPS), audit, a.drained)
    except (OSError, BadLog) as e:
        print(f"{a.log}: {e}", file=sys.stderr)
        return 2
    for _, text in report.violations[:a.show]:
        print(text + "\n")
    for key in report.given_up[:a.show]:
        print(f"object {key!r}: not judged, too many operations were under way at one time")
    print(f"{report.operations} operations on {report.objects} objects, {report.with_version} versions, "
          f"{len(report.violations)} objects wrong, {len(report.given_up)} not judged, {time.monotonic() - began:.1f} s")
    return 0 if report.ok else 1
