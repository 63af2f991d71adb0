"""The same commands to a real Redis 7.0 and to Forebay: the bytes of the answers are the same, RESP2 and RESP3.

Random sequences from a fixed seed (redis_sequences.py makes them, tools/compare-redis runs as many as you like), and a table of
corners. What may differ stands in the file `differences` with its reason; a row that nothing needs fails too.
"""

import os
import re
import shutil
import subprocess
import tempfile

import base
from base import ClusterTest, wait_for
from redis_compare import CONFIG, Compare, RedisServer, Run
from redis_wire import Differences, Wire, same

SEED = os.environ.get("FB_TEST_SEED", "20240229")
SEQUENCES = int(os.environ.get("FB_TEST_SEQUENCES", "500"))
HERE = os.path.dirname(os.path.abspath(__file__))


class SameAsRedis(ClusterTest):
    settings = {"nodes": 2, "syncs": 1}
    config = CONFIG
    differences = Differences(os.path.join(HERE, "differences"))

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.redis_dir = tempfile.mkdtemp(prefix="fb-redis-", dir="/tmp")
        cls.redis = RedisServer(cls.redis_dir)
        cls.ports = (cls.cluster.port, cls.redis.port)

    @classmethod
    def tearDownClass(cls):
        cls.redis.stop()
        shutil.rmtree(cls.redis_dir, ignore_errors=True)
        super().tearDownClass()

    def both(self, proto):
        pair = [Wire(p) for p in self.ports]
        for w in pair:
            w.call("HELLO", proto)
        return pair

    def compare(self, commands, ours, theirs, wrong, context=""):
        for c, a, b in zip(commands, ours, theirs):
            if not same(c, a, b) and not self.differences.allow(c, a, b, context):
                wrong.append(f"{context} {c}\n      Forebay {a[:300]!r}\n      Redis   {b[:300]!r}")

    def test_random(self):
        c = Compare(*self.ports, SEED, self.differences)
        told = []
        for number in range(SEQUENCES):
            text = c.one(number)
            if text:
                told.append(text)
            if len(told) == 5:
                break
        self.assertEqual(told, [], "\n".join(told) + "\nto see one again: tools/compare-redis --seed S --sequence N")
        self.assertEqual(self.cluster.ctl_json("deadletter", "list"), [], "PostgreSQL refused what Redis accepts")
        self.assertEqual(c.left_over(), [])
        if SEQUENCES >= 500:
            self.types_are_those_of_the_documents(c.kinds)
            self.assertNotIn("never asked", c.summary())
            self.assertGreater(len(c.errors), 150)

    def types_are_those_of_the_documents(self, seen):
        """deploy/docs/commands.md says what each command answers: that, and all of that."""
        text = subprocess.run([os.path.join(base.BIN, "forebay-commands")], check=True, stdout=subprocess.PIPE, text=True).stdout
        text = text[:text.index("## Arity")]
        documented = {m[1]: set(m[2].split(", ")) for m in re.finditer(r"^\| `([A-Z.]+(?: [A-Z-]+(?=[ `]))?)[^`]*` \| [^|]* \| ([^|]*) \|", text, re.M)}
        wrong = []
        for name, kind in sorted(seen):
            fits = {"bulk": {"bulk", "verbatim"}, "array": {"array", "map"}, "null": {"null", "null array"}}.get(kind, {kind})
            if name in documented and kind not in ("error", "queued", "end") and not fits & documented[name]:
                wrong.append(f"{name} answered {kind}; the document says {documented[name]}")
        for name in {n for n, _ in seen} & set(documented):
            of = {k for n, k in seen if n == name}
            fits = {k: {k, {"verbatim": "bulk", "map": "array", "null array": "null"}.get(k)} for k in documented[name]}
            wrong += [f"{name} never answered {k}" for k in documented[name] if not fits[k] & of]
        self.assertGreater(len(documented), 80)
        self.assertEqual(wrong, [])

    def test_a_difference_is_seen_and_made_small(self):
        """FB.GET is the difference: Redis does not know it."""
        c = Compare(*self.ports, "x", self.differences)
        key = b"k0000000.a"
        steps = [("cmd", 0, [b"SET", key, b"%d" % i]) for i in range(20)] + [("cmd", 0, [b"FB.GET", key])] + [("cmd", 0, [b"GET", key])] * 20
        found = Run(self.ports, self.differences).run(steps, [key])
        self.assertEqual(found.what, "FB.GET")
        steps, found, remark = c.shrink(steps, [key], found)
        self.assertEqual((len(steps), steps[-1][2][0], remark), (1, b"FB.GET", ""))

    def test_table(self):
        """Corners that a random walk seldom meets; commands of one sequence stand between semicolons."""
        table = """
            HELLO 4|HELLO x|HELLO 2 FOO|HELLO 3 SETNAME|AUTH x|AUTH a b|AUTH a b c|CLIENT|CLIENT GETNAME|CLIENT SETNAME bad_name|CLIENT NOPE
            CLIENT REPLY|CLIENT NO-EVICT on|CLIENT NO-EVICT maybe|SELECT|SELECT 99|SELECT -1|QUIT now|PING a b|ECHO|COMMAND COUNT x|COMMAND NOPE
            COMMAND GETKEYS GET a|COMMAND GETKEYS MSET a 1 b 2|COMMAND GETKEYS PING|COMMAND GETKEYS NOSUCH|COMMAND GETKEYS|COMMAND INFO nosuch
            CONFIG|CONFIG NOPE|CONFIG GET|EXEC|DISCARD|UNWATCH|WATCH|MULTI x|RESET|OBJECT|TIME x|DBSIZE x
            SET a|SET a b EX|SET a b EX x|SET a b EX 0|SET a b PX -5|SET a b EX 1 PX 1|SET a b NX XX|SET a b KEEPTTL EX 5|SET a b NX GET
            SETEX a 0 b|SETEX a x b|PSETEX a 0 b|GETEX a EX|GETEX a EX 0|GETEX a EX 1 PX 1|MSET a|MSET a b c|MSET|MSETNX a
            INCRBY a x|INCRBYFLOAT a x|GETRANGE a x y|SETRANGE a -1 v|SETRANGE a x v|SETRANGE a 600000000 v|EXPIRE a|EXPIRE a x|EXPIRE a 10 NX XX
            EXPIRE a 10 GT LT|EXPIRE a 10 BAD|EXPIRE a 10 LONG|HELLO 3 LONG|EXPIRE a 9223372036854775807|PEXPIRE a 9223372036854775807|EXPIREAT a x|HSET a|HSET a b|HSET a b c d
            HMSET a b|HINCRBY a b x|HINCRBYFLOAT a b x|HSCAN a x|HSCAN a|HSCAN a 0 COUNT|HSCAN a 0 COUNT 0|HSCAN a 0 COUNT x|HSCAN a 0 BAD
            SCAN|SCAN x|SCAN 0 COUNT 0|SCAN 0 COUNT x|SCAN 0 MATCH|SCAN 0 BAD 1|TYPE|DEL|UNLINK|EXISTS|TOUCH|TTL|PERSIST|RANDOMKEY x
            GETDEL|GETSET a|APPEND a|STRLEN|HGETALL|HDEL a|HVALS|HKEYS|HLEN|HEXISTS a|HMGET a|HSTRLEN a|HSETNX a b|NOSUCH|get|gEt
            MULTI;DBSIZE|MULTI;EXEC x;GET a|MULTI;CLIENT REPLY OFF|MULTI;SET a;GET a;EXEC|MULTI;SELECT x;SELECT 99999999999;EXEC
            MULTI;HGETALL none;HELLO 3;HGETALL none;HELLO 2;GET none;EXEC;HGETALL none|WATCH w1;MULTI;SET w1 1;SET w2 1;EXEC
            HSET sh f v;HSCAN sh 0 MATCH|HSCAN none 0 MATCH|HSET sh f v;HSCAN sh 0 COUNT x|HSCAN none 0 COUNT x|SET ss v;HSCAN ss 0 BAD|HSET sh f v;HSCAN sh x
            GETEX none EX 0|SET ss v;GETEX ss EX 0|SET ss v;GETEX ss EX x|HSET sh f v;GETEX sh EX 0|HSET sh f v;INCRBYFLOAT sh x|SET ss v;INCRBYFLOAT ss x
            HSET sh f v;SETRANGE sh 536870912 x|SET ss 1;INCRBYFLOAT ss inf|SETRANGE none 536870912 x
            SUBSTR a 0 -1|SCAN 0 TYPE|SCAN 0 TYPE nosuch COUNT 100000|CLIENT REPLY SKIP x|SELECT 99999999999|SELECT 2147483648|SELECT -99999999999
            COMMAND INFO get|COMMAND INFO hset expire mset|COMMAND GETKEYS SET a b EX 5|COMMAND GETKEYS HSCAN|COMMAND DOCS nosuch|COMMAND LIST FILTERBY
            HSCAN none 0|HGETALL none|HMGET none a b|TYPE none|OBJECT HELP x|CLIENT ID x|CLIENT LIST x|CLIENT KILL
        """
        wrong = []
        for proto in (2, 3):
            for line in table.strip().splitlines():
                for text in line.strip().split("|"):
                    pair, queued = self.both(proto), False
                    for words in text.split(";"):
                        command = [w.replace("_", " ").replace("LONG", "x" * 300) for w in words.split(" ")]
                        a, b = [re.sub(rb"(?<=\$2\r\nid\r\n:)\d+", b"ID", w.call(*command)) for w in pair]
                        self.compare([command], [a], [b], wrong, "in MULTI" if queued else f"RESP{proto}")
                        queued = queued or words == "MULTI"
                    for w in pair:
                        w.close()
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

    def test_zz_every_difference_is_needed(self):
        """Last by its name: a row of `differences` that no test above met is out of date."""
        unused = [f"line {number}: {name}" for name, _, _, number in self.differences.rows if number not in self.differences.used]
        self.assertEqual(unused, [])


if __name__ == "__main__":
    base.main()
