"""Goal: the history checker sees what it is there for, says it in words, and finds nothing wrong with what is right.
Method: the smallest wrong history of each kind with the message it must print, then right ones that look alike; random
histories made by a real register, whose results are right by construction, and the same with one result changed, judged
by trying every order; the program itself on files."""

import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from check_history import check, read_audit  # noqa: E402
from model import OPS, START, after  # noqa: E402
from ops import FOREVER, BadLog, read_log  # noqa: E402

V = 1 << 40  # versions of epoch 1


def op(times, name, *args, result=None, client=None, outcome="ok", key="k", **more):
    """`times` is "begin-end" in ms; "begin-" has an unknown outcome."""
    begin, end = times.split("-")
    d = {"client": client or "c", "key": key, "op": name, "args": list(args), "invoke": int(begin) * 1_000_000,
         "outcome": outcome if end else "unknown", "result": result, **more}
    if end:
        d["return"] = int(end) * 1_000_000
    return d


def judge(log, audit=None, drained=False):
    return check(read_log(log, OPS), read_audit(audit) if audit is not None else None, drained)


def row(version, value, key="k"):
    return {"key": key, "version": version, "value": value}


class Wrong(unittest.TestCase):
    def wrong(self, expect, log, audit=None, drained=False, marked=None):
        report = judge(log, audit, drained)
        self.assertEqual(len(report.violations), 1, f"nothing found of: {expect}")
        text = report.violations[0][1]
        self.assertIn(expect, text)
        self.assertTrue(text.startswith("object 'k': "), text)
        if marked is not None:
            self.assertIn(marked, "\n".join(x for x in text.splitlines() if x.startswith(">>")), text)
        return text

    def test_stale_read(self):
        text = self.wrong("an old value was read: set 'b' was answered before r read 'a'",
                          [op("0-1", "set", "a"), op("2-3", "set", "b"), op("4-5", "get", result="a", client="r"),
                           op("6-7", "get", result="b", client="r")], marked="get  -> 'a'")
        self.assertIn("0.000     1.000  c              set 'a'", text)

    def test_lost_write(self):
        self.wrong("an acknowledged write is lost: set 'b' was answered at level durable before r read 'a'",
                   [op("0-1", "set", "a"), op("2-3", "set", "b", require="durable"), op("4-5", "get", result="a", client="r")])

    def test_lost_first_write(self):
        self.wrong("an acknowledged write is lost: set 'a' was answered before r read None",
                   [op("0-1", "set", "a"), op("2-3", "get", result=None, client="r")])

    def test_lost_deletion(self):
        self.wrong("an acknowledged write is lost: del None was answered before r read 'a'",
                   [op("0-1", "set", "a"), op("2-3", "del", result=1), op("4-5", "get", result="a", client="r")])

    def test_nobody_wrote_it(self):
        self.wrong("r read 'x', which nobody wrote", [op("0-1", "set", "a"), op("2-3", "get", result="x", client="r")])

    def test_from_the_future(self):
        self.wrong("r read 'b' before anybody wrote it", [op("0-1", "get", result="b", client="r"), op("2-3", "set", "b")])

    def test_refused_write_had_an_effect(self):
        self.wrong("a refused write had an effect: r read 'b'",
                   [op("0-1", "set", "a"), op("2-3", "set", "b", outcome="fail"), op("4-5", "get", result="b", client="r")])

    def test_reads_that_do_not_agree(self):
        """Two writes at once: readers one after the other see them in two orders."""
        self.wrong("no order of the operations explains 'a', read by r2",
                   [op("0-9", "set", "a"), op("0-9", "set", "b", client="d"), op("1-2", "get", result="a", client="r1"),
                    op("3-4", "get", result="b", client="r1"), op("5-6", "get", result="a", client="r2")])

    def test_unknown_write_comes_and_goes(self):
        self.wrong("no order of the operations explains 'a'",
                   [op("0-1", "set", "a"), op("2-", "set", "b"), op("4-5", "get", result="b"), op("6-7", "get", result="a")])

    def test_counter_lost(self):
        self.wrong("an acknowledged write is lost: incr gave 1, what had been answered adds up to 2",
                   [op("0-1", "incr", 1, result=1), op("2-3", "incr", 1, result=1)])

    def test_counter_twice(self):
        self.wrong("a write was carried out twice: incr gave 3, all that began before add up to 2",
                   [op("0-1", "incr", 1, result=1), op("2-3", "incr", 1, result=3)])

    def test_two_incrs_with_one_result(self):
        self.wrong("no order of the operations gives incr the result 1",
                   [op("0-5", "incr", 1, result=1), op("1-5", "incr", 1, result=1, client="d"),
                    op("2-5", "incr", 1, result=3, client="e")])

    def test_two_winners_of_setnx(self):
        self.wrong("no order of the operations gives setnx the result 1",
                   [op("0-5", "setnx", "a", result=1), op("1-6", "setnx", "b", result=1, client="d")])

    def test_cas_lost_update(self):
        self.wrong("no order of the operations gives cas the result 1",
                   [op("0-1", "set", "a"), op("2-5", "cas", "a", "b", result=1), op("2-5", "cas", "a", "c", result=1, client="d")])

    def test_pipeline_out_of_order(self):
        """Two commands of one connection under way at once: the second may not come first."""
        self.wrong("no order of the operations explains 'a'",
                   [op("0-5", "set", "a", conn=1, n=1), op("0-5", "set", "b", conn=1, n=2), op("6-7", "get", result="a", client="r")])

    def test_field_lost(self):
        self.wrong("no order of the operations explains",
                   [op("0-1", "hset", "f", "1", result=1), op("2-3", "hset", "g", "2", result=1),
                    op("4-5", "get", result={"g": "2"})])

    def test_expired_too_early(self):
        self.wrong("an acknowledged write is lost",
                   [op("0-1", "set", "a", ttl=60_000_000_000), op("30000-30001", "get", result=None)])

    def test_lives_after_its_time(self):
        self.wrong("no order of the operations explains 'a'",
                   [op("0-1", "set", "a", ttl=2_000_000_000), op("30000-30001", "get", result="a")])

    # versions
    def test_version_goes_back(self):
        self.wrong(f"a read of version {V + 1} began after version {V + 2} had been answered",
                   [op("0-3", "set", "a"), op("0-3", "set", "b", client="d"), op("4-5", "get", result="b", version=V + 2),
                    op("6-7", "get", result="a", version=V + 1)])

    def test_version_of_two_values(self):
        self.wrong(f"version {V + 1} is two values: 'a' and 'b'",
                   [op("0-9", "set", "a"), op("0-9", "set", "b", client="d"), op("1-2", "get", result="a", version=V + 1),
                    op("3-4", "get", result="b", version=V + 1)])

    def test_version_given_twice(self):
        self.wrong(f"version {V + 1} was given to two writes",
                   [op("0-1", "incr", 1, result=1, version=V + 1), op("0-3", "del", result=1, version=V + 1)])

    def test_write_below_what_was_read(self):
        self.wrong(f"a write of version {V + 1} began after version {V + 2} had been answered",
                   [op("0-1", "set", "a", version=V + 2), op("2-3", "set", "b", version=V + 1)])

    def test_read_before_its_write_by_version(self):
        self.wrong(f"a read of version {V + 1} was answered before its write began",
                   [op("0-1", "get", result="1", version=V + 1), op("2-3", "incr", 1, result=1, version=V + 1)])

    def test_written_twice_by_versions(self):
        """The retry of a write whose answer was lost was carried out again, over what another had written."""
        self.wrong(f"a write was carried out twice: 'a' is version {V + 1} and version {V + 3}",
                   [op("0-9", "set", "a"), op("1-2", "get", result="a", version=V + 1),
                    op("3-8", "set", "b", client="d"), op("5-6", "get", result="a", version=V + 3)])

    # sessions and levels
    def test_request_answered_in_two_ways(self):
        self.wrong("request 7 of session s was answered in two ways",
                   [op("0-1", "incr", 1, result=1, session="s", request=7), op("2-3", "incr", 1, result=2, session="s", request=7)])

    def test_request_number_used_twice(self):
        self.wrong("session s used request number 7 for two operations",
                   [op("0-1", "incr", 1, result=1, session="s", request=7), op("2-3", "set", "x", session="s", request=7)])

    def test_retried_request_done_twice(self):
        self.wrong("a write was carried out twice: incr gave 3",
                   [op("0-", "incr", 1, session="s", request=7), op("1-2", "incr", 1, result=1, session="s", request=7),
                    op("3-4", "incr", 1, result=3)])

    def test_level_not_reached(self):
        self.wrong("level durable was required, replicated was reached, and the answer was a success",
                   [op("0-1", "set", "a", require="durable", level="replicated")])

    def test_loss_takes_a_durable_write(self):
        self.wrong("an acknowledged write is lost: set 'b' was answered at level durable",
                   [op("0-1", "set", "a", level="local"), op("2-3", "set", "b", level="durable"),
                    op("4-5", "loss", level="durable", key="*"), op("6-7", "get", result="a")])

    def test_loss_takes_what_was_before_a_durable_one(self):
        self.wrong("set", [op("0-1", "set", "a", level="durable"), op("2-3", "set", "b", level="local"),
                           op("4-5", "loss", level="durable", key="*"), op("6-7", "get", result=None)])

    # PostgreSQL
    def test_postgresql_twice(self):
        self.wrong(f"PostgreSQL was given version {V + 1} twice", [op("0-1", "set", "a")], [row(V + 1, "a"), row(V + 1, "a")])

    def test_postgresql_backwards(self):
        self.wrong(f"PostgreSQL was given version {V + 1} after version {V + 2}",
                   [op("0-1", "set", "a"), op("2-3", "set", "b")], [row(V + 2, "b"), row(V + 1, "a")])

    def test_postgresql_misses_the_last(self):
        self.wrong("an acknowledged write is lost: set 'b' was answered before PostgreSQL at the end read 'a'",
                   [op("0-1", "set", "a"), op("2-3", "set", "b")], [row(V + 1, "a")], drained=True)

    def test_postgresql_has_nothing(self):
        self.wrong("PostgreSQL at the end read None", [op("0-1", "set", "a")], [], drained=True)

    def test_postgresql_invents(self):
        self.wrong("PostgreSQL has 'z', which nobody wrote", [op("0-1", "set", "a", key="other")], [row(V + 1, "z")])

    def test_postgresql_in_another_order(self):
        """It ends at the right value, but the versions say another order than the clients saw."""
        self.wrong(f"a write of version {V + 1} began after version {V + 2} had been answered",
                   [op("0-1", "set", "a"), op("2-3", "set", "b")], [row(V + 1, "b"), row(V + 2, "a")])

    def test_database_level_without_a_row(self):
        self.wrong("answered at level database, but PostgreSQL has neither it nor a newer version",
                   [op("0-1", "set", "a"), op("2-3", "set", "b", level="database")], [row(V + 1, "a")])


class Right(unittest.TestCase):
    def right(self, log, audit=None, drained=False):
        report = judge(log, audit, drained)
        self.assertEqual([t for _, t in report.violations], [])
        self.assertEqual(report.given_up, [])
        return report

    def test_concurrent_writes_in_any_order(self):
        for first, then in (("a", "b"), ("b", "a")):
            self.right([op("0-9", "set", "a"), op("0-9", "set", "b", client="d"), op("1-2", "get", result=first),
                        op("3-4", "get", result=then), op("10-11", "get", result=then)])

    def test_unknown_writes_may_come_late_or_never(self):
        log = [op("0-1", "set", "a"), op("2-", "set", "b"), op("3-4", "get", result="a"), op("90-91", "get", result="b")]
        self.right(log)
        self.right(log[:3] + [op("90-91", "get", result="a")])

    def test_many_unknown_outcomes(self):
        """Counters and values with hundreds of unanswered writes are judged, not given up."""
        log = []
        for i in range(300):
            log.append(op(f"{i}-", "incr", 1))
        log += [op("400-401", "incr", 1, result=120), op("402-403", "incr", 1, result=301)]
        self.right(log)
        log = [op(f"{i}-", "set", f"v{i}") for i in range(200)]
        log += [op(f"{300 + i}-{300 + i}", "get", result=f"v{i * 7}") for i in range(20)]
        self.right(log)

    def test_refused_writes(self):
        self.right([op("0-1", "set", "a"), op("2-3", "set", "b", outcome="fail"), op("4-5", "get", result="a")])

    def test_indeterminate_answer_is_unknown(self):
        for seen in ("a", "b"):
            self.right([op("0-1", "set", "a"), op("2-", "set", "b"), op("4-5", "get", result=seen)])

    def test_pipeline(self):
        self.right([op("0-5", "set", "a", conn=1, n=1), op("0-5", "get", result="a", conn=1, n=2),
                    op("0-5", "set", "b", conn=1, n=3), op("6-7", "get", result="b")])

    def test_retry_of_a_request(self):
        self.right([op("0-", "incr", 1, session="s", request=1), op("3-4", "incr", 1, result=1, session="s", request=1),
                    op("5-6", "incr", 1, result=2, session="s", request=2)])
        # the first attempt may have come after another's write, and its late answer is the same
        self.right([op("0-9", "incr", 1, result=2, session="s", request=1), op("1-2", "incr", 1, result=1, client="d"),
                    op("3-4", "incr", 1, result=2, session="s", request=1)])

    def test_loss_takes_what_was_only_local(self):
        log = [op("0-1", "set", "a", level="durable"), op("2-3", "set", "b", level="local"), op("4-5", "set", "c", level="local"),
               op("6-7", "loss", level="durable", key="*")]
        for seen in "abc":
            self.right(log + [op("8-9", "get", result=seen)])

    def test_expiry(self):
        log = [op("0-1", "set", "a", ttl=5_000_000_000)]
        self.right(log + [op("2-3", "get", result="a"), op("9000-9001", "get", result=None)])
        self.right(log + [op("5000-5001", "get", result="a"), op("5002-5003", "get", result=None)])
        self.right(log + [op("2-3", "set", "b"), op("90000-90001", "get", result="b")])

    def test_versions_and_postgresql(self):
        report = self.right([op("0-1", "set", "a", version=V + 1), op("2-9", "set", "b"), op("3-8", "set", "c", client="d"),
                             op("10-11", "get", result="b", version=V + 3), op("12-13", "get", result="b", version=5)],
                            [row(V + 2, "c"), row(V + 3, "b")], drained=True)
        self.assertGreaterEqual(report.with_version, 4)

    def test_deleted_in_the_end(self):
        self.right([op("0-1", "set", "a"), op("2-3", "del", result=1)], [row(V + 1, "a"), row(V + 2, None)], drained=True)

    def test_given_up_is_told(self):
        """More orders than are followed: not judged is not all right."""
        log = [op(f"{i}-", "hset", f"f{i}", "1") for i in range(30)] + [op("90-91", "get", result={f"f{i}": "1" for i in range(0, 30, 2)})]
        report = judge(log)
        self.assertEqual((report.given_up, report.ok), (["k"], False))


def every_order(ops):
    """The slow truth: is there any order of the finished and any of the unknown ones that explains all results?"""
    sure = [o for o in ops if o.end != FOREVER]
    maybe = [o for o in ops if o.end == FOREVER]
    for n in range(len(maybe) + 1):
        for some in itertools.combinations(maybe, n):
            for order in itertools.permutations(sure + list(some)):
                if any(order[j].end < order[i].invoke for i in range(len(order)) for j in range(i + 1, len(order))):
                    continue
                states = {START}
                for o in order:
                    states = {s for before in states for s in after(before, o, 0)}
                if states:
                    return True
    return False


class AgainstEveryOrder(unittest.TestCase):
    def test_random_histories(self):
        """Small random histories, right and wrong ones: search and trying every order say the same."""
        rng, said = random.Random(4), {True: 0, False: 0}
        for _ in range(1500):
            log = []
            for i in range(rng.randrange(2, 6)):
                begin = rng.randrange(8)
                times = f"{begin}-{begin + rng.randrange(5)}" if rng.random() < 0.8 else f"{begin}-"
                name = rng.choice(("set", "get", "get", "incr", "del", "setnx"))
                args = {"set": (str(rng.randrange(3)),), "incr": (1,), "setnx": ("7",)}.get(name, ())
                result = {"get": rng.choice((None, "0", "1", "2", "7")), "incr": rng.randrange(1, 4),
                          "set": None}.get(name, rng.randrange(2))
                log.append(op(times, name, *args, result=result, client=f"c{i}"))
            truth = every_order(list(read_log(log, OPS)))
            said[truth] += 1
            self.assertEqual(judge(log).ok, truth, json.dumps(log, indent=1))
        self.assertGreater(min(said.values()), 200, said)

    def test_both_methods_agree_on_a_register_with_versions(self):
        """Histories of a real register, right by construction; then one read is given another value and version that were
        there once: when the sweep minds, so does the search, and the other way round."""
        rng, minded = random.Random(5), 0
        for _ in range(300):
            log, version, value, values = [], V, None, {}
            for i in range(60):
                begin = i * 2
                end = begin + rng.randrange(1, 6)
                if rng.random() < 0.5:
                    version, value = version + 1, f"v{i}"
                    values[version] = value
                    log.append(op(f"{begin}-{end}", "set", value, version=version, client=f"c{i}"))
                elif value is not None:
                    log.append(op(f"{begin}-{end}", "get", result=value, version=version, client=f"c{i}"))
            self.assertEqual(judge(log).violations, [])
            read = rng.choice([d for d in log if d["op"] == "get"])
            read["version"] = rng.choice(list(values))
            read["result"] = values[read["version"]]
            with_versions = judge(log).ok
            blind = judge([{k: v for k, v in d.items() if k != "version"} for d in log]).ok
            self.assertFalse(with_versions and not blind, json.dumps(log))
            minded += not with_versions
        self.assertGreater(minded, 150)


class Program(unittest.TestCase):
    def run_it(self, log, audit=None, *more):
        with tempfile.TemporaryDirectory(prefix="fb-history-") as d:
            paths = []
            for name, lines in (("log", log), ("audit", audit)):
                if lines is not None:
                    paths.append(os.path.join(d, name))
                    with open(paths[-1], "w") as f:
                        f.writelines((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines)
            argv = [os.path.join(HERE, "check"), paths[0]] + (["--audit", paths[1]] if audit is not None else [])
            return subprocess.run(argv + list(more), capture_output=True, text=True, timeout=60)

    def test_right(self):
        r = self.run_it([op("0-1", "set", "a")], [row(V + 1, "a")], "--drained")
        self.assertEqual((r.returncode, r.stderr), (0, ""), r.stdout)
        self.assertIn("1 operations on 1 objects, 2 versions, 0 objects wrong, 0 not judged", r.stdout)

    def test_wrong(self):
        r = self.run_it([op("0-1", "set", "a"), op("2-3", "get", result=None)])
        self.assertEqual(r.returncode, 1)
        self.assertIn("object 'k': an acknowledged write is lost", r.stdout)

    def test_bad_logs(self):
        for bad, message in (("{", "line 2"), ({"key": "k"}, "line 2: no field 'op'"), ('[1]', "line 2: not an object"),
                             (op("0-1", "frobnicate"), "line 2: unknown operation 'frobnicate'; known are append, cas"),
                             ({**op("0-1", "get"), "colour": 1}, "line 2: unknown field 'colour'"),
                             ({**op("0-1", "get"), "return": -1}, "line 2: it returned before it was invoked"),
                             ({**op("0-1", "get"), "conn": 1}, "line 2: conn and n belong together"),
                             ({**op("0-1", "get"), "session": 1}, "line 2: session and request belong together"),
                             (op("0-1", "get", level="best"), "line 2: level 'best' is none of local"),
                             (op("0-1", "loss"), "line 2: a loss says by its level what it spares")):
            r = self.run_it([op("0-1", "set", "a"), bad])
            self.assertEqual(r.returncode, 2, r)
            self.assertIn(message, r.stderr)
        r = self.run_it([op("0-1", "set", "a")], ["{}"])
        self.assertEqual((r.returncode, "line 1 of the audit file" in r.stderr), (2, True), r)
        self.assertRaises(BadLog, lambda: list(read_log(["x"], OPS)))


if __name__ == "__main__":
    unittest.main()
