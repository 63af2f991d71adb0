"""Clients as people use them: redis-cli, redis-py, node-redis, ioredis, and bare sockets."""

import json
import os
import shutil
import socket
import subprocess
import unittest

import redis

import base
from base import ClusterTest, connect, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))


class Resp:
    """A socket that speaks RESP2 and RESP3, for what client libraries hide."""

    def __init__(self, port, timeout=20):
        self.s = socket.create_connection(("127.0.0.1", port), timeout)
        self.f = self.s.makefile("rb")

    def send(self, *args):
        out = b"*%d\r\n" % len(args)
        for a in args:
            a = a if isinstance(a, bytes) else str(a).encode()
            out += b"$%d\r\n%s\r\n" % (len(a), a)
        self.s.sendall(out)

    def call(self, *args):
        self.send(*args)
        return self.read()

    def read(self):
        line = self.f.readline()
        if not line:
            return EOFError
        kind, rest = line[:1], line[1:-2]
        if kind in b"+":
            return rest.decode()
        if kind == b"-":
            return redis.ResponseError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"_":
            return None
        if kind == b"#":
            return rest == b"t"
        if kind == b",":
            return float(rest)
        if kind in (b"$", b"="):
            n = int(rest)
            return None if n < 0 else self.f.read(n + 2)[:-2]
        n = int(rest)
        if kind == b"%":
            return {self.read(): self.read() for _ in range(n)}
        if n < 0:
            return None
        return [self.read() for _ in range(n)]

    def close(self):
        self.f.close()
        self.s.close()


class Clients(ClusterTest):
    settings = {"nodes": 2, "syncs": 1}
    config = "[cluster]\nreplicas = 0\n"

    def cli(self, *args, input=None):
        r = subprocess.run(["redis-cli", "-p", str(self.cluster.port), *args], input=input, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=30, stdin=None if input is not None else subprocess.DEVNULL)
        return r.stdout.strip()

    def test_redis_cli(self):
        self.assertEqual(self.cli("ping"), "PONG")
        self.assertEqual(self.cli("set", "cli:a", "hello world"), "OK")
        self.assertEqual(self.cli("get", "cli:a"), "hello world")
        self.assertEqual(self.cli("-3", "hset", "cli:h", "f", "v", "g", "w"), "2")
        self.assertIn("f", self.cli("-3", "--no-raw", "hgetall", "cli:h"))
        self.assertEqual(self.cli("get", "cli:h"), "WRONGTYPE Operation against a key holding the wrong kind of value")
        self.assertIn("redis_version", self.cli("info", "server"))
        lines = self.cli(input="multi\nset {c}a 1\nincr {c}a\nexec\nget {c}a\n").splitlines()
        self.assertEqual(lines, ["OK", "QUEUED", "QUEUED", "OK", "2", "2"])
        self.assertIn("cli:a", self.cli("--scan", "--pattern", "cli:*").split())
        # mass insertion
        data = "".join(f"*3\r\n$3\r\nSET\r\n${len(k)}\r\n{k}\r\n$1\r\nx\r\n" for k in (f"pipe{i}" for i in range(5000)))
        out = self.cli("--pipe", input=data)
        self.assertIn("errors: 0, replies: 5000", out)

    def test_redis_benchmark(self):
        r = subprocess.run(["redis-benchmark", "-p", str(self.cluster.port), "-t", "ping,set,get,incr,hset,mset", "-n", "2000", "-q"],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        self.assertEqual(r.returncode, 0, r.stdout)
        self.assertNotIn("Error", r.stdout)

    def test_redis_py(self):
        r = self.r
        self.assertTrue(r.ping())
        self.assertTrue(r.set("py:a", 1, ex=100, nx=True))
        self.assertIsNone(r.set("py:a", 1, nx=True))
        self.assertEqual(r.incrby("py:a", 5), 6)
        self.assertEqual(r.hset("py:h", mapping={"a": 1, "b": 2}), 2)
        self.assertEqual(r.hgetall("py:h"), {b"a": b"1", b"b": b"2"})
        self.assertEqual(r.info()["redis_version"].split(".")[0], "7")
        self.assertEqual(r.client_getname(), None)
        self.assertTrue(r.client_setname("tester"))
        self.assertIn(r.config_get("maxmemory-policy").get("maxmemory-policy", None) is not None, (True, False))
        p = r.pipeline()  # MULTI on one key
        p.set("{py}x", 1).get("{py}x")
        self.assertEqual(p.execute(), [True, b"1"])
        p = r.pipeline(transaction=False)
        for i in range(1000):
            p.set(f"py:p{i}", i)
        for i in range(1000):
            p.get(f"py:p{i}")
        self.assertEqual(p.execute()[1000:], [str(i).encode() for i in range(1000)])
        r.transaction(lambda p: p.multi() or p.incr("py:tx"), "py:tx")
        self.assertEqual(r.get("py:tx"), b"1")
        with self.assertRaisesRegex(redis.ResponseError, "unknown command 'NOPE', with args beginning with: 'x'"):
            r.execute_command("NOPE", "x")
        d = connect(self.cluster, decode_responses=True)
        self.assertEqual(d.hgetall("py:h"), {"a": "1", "b": "2"})
        url = redis.Redis.from_url(self.cluster.url + "/0")
        self.assertTrue(url.ping())

    def test_many_connections(self):
        conns = [Resp(self.cluster.port) for _ in range(300)]
        try:
            for i, c in enumerate(conns):
                c.send("SET", f"many:{i}", i)
            self.assertEqual([c.read() for c in conns], ["OK"] * 300)
            for i, c in enumerate(conns):
                c.send("GET", f"many:{i}")
            self.assertEqual([c.read() for c in conns], [str(i).encode() for i in range(300)])
        finally:
            for c in conns:
                c.close()

    def test_resp3_bare(self):
        c = Resp(self.cluster.port)
        try:
            hello = c.call("HELLO", "3", "SETNAME", "bare")
            self.assertEqual(hello[b"proto"], 3)
            self.assertEqual(hello[b"server"], b"redis")
            self.assertEqual(c.call("CLIENT", "GETNAME"), b"bare")
            self.assertIsNone(c.call("GET", "none"))
            c.call("HSET", "r3", "a", "1")
            self.assertEqual(c.call("HGETALL", "r3"), {b"a": b"1"})
            self.assertEqual(str(c.call("HELLO", "4")), "NOPROTO unsupported protocol version")
            hello = c.call("HELLO", "2")
            self.assertIsInstance(hello, list)
        finally:
            c.close()

    def test_quit_closes_the_socket(self):
        for proto in ("2", "3"):
            c = Resp(self.cluster.port)
            c.call("HELLO", proto)
            c.send("SET", "q", "1")
            c.send("QUIT")
            c.send("SET", "q", "2")
            self.assertEqual([c.read(), c.read(), c.read()], ["OK", "OK", EOFError])
            c.close()
        self.assertEqual(self.r.get("q"), b"1")

    def test_inline_commands(self):
        s = socket.create_connection(("127.0.0.1", self.cluster.port), 10)
        s.sendall(b"SET inl \"a b\"\r\nGET inl\n\r\nPING\r\n")
        f = s.makefile("rb")
        self.assertEqual([f.readline() for _ in range(4)], [b"+OK\r\n", b"$3\r\n", b"a b\r\n", b"+PONG\r\n"])
        f.close()
        s.close()

    def test_error_texts(self):
        cases = [
            (("NOSUCH",), "ERR unknown command 'NOSUCH', with args beginning with: "),
            (("NOSUCH", "a", "b"), "ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' "),
            (("GET",), "ERR wrong number of arguments for 'get' command"),
            (("SET", "k", "v", "EX", "0"), "ERR invalid expire time in 'set' command"),
            (("SET", "k", "v", "BAD"), "ERR syntax error"),
            (("SELECT", "1"), None),
            (("EXEC",), "ERR EXEC without MULTI"),
            (("CLIENT", "NOPE"), "ERR unknown subcommand 'NOPE'. Try CLIENT HELP."),
        ]
        c = Resp(self.cluster.port)
        try:
            for command, text in cases:
                got = c.call(*command)
                self.assertIsInstance(got, redis.ResponseError, command)
                if text is not None:
                    self.assertEqual(str(got), text)
        finally:
            c.close()


class JavaScript(ClusterTest):
    settings = {"nodes": 1, "syncs": 1}
    config = "[cluster]\nreplicas = 0\n"

    @classmethod
    def setUpClass(cls):
        # the packages stay in the build folder: the registry is asked once
        cls.modules = os.path.join(os.path.dirname(base.BIN), "npm")
        os.makedirs(cls.modules, exist_ok=True)
        if not all(os.path.isdir(os.path.join(cls.modules, "node_modules", m)) for m in ("redis", "ioredis")):
            if not shutil.which("npm"):
                raise unittest.SkipTest("npm is not installed: apt-get install npm")
            r = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--prefix", cls.modules, "redis@5", "ioredis@5"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=180)
            if r.returncode != 0:
                raise AssertionError("npm could not install the packages redis and ioredis; is its registry reachable from here?\n" + r.stdout)
        super().setUpClass()

    def run_js(self, script):
        r = subprocess.run(["node", "-e", script], env={**os.environ, "NODE_PATH": os.path.join(self.modules, "node_modules"),
                                                        "FOREBAY_URL": self.cluster.url},
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual(r.returncode, 0, r.stdout + r.stderr)
        return json.loads(r.stdout.strip().splitlines()[-1])

    NODE_REDIS = """
const { createClient } = require('redis');
(async () => {
  const out = {};
  const c = createClient({ url: process.env.FOREBAY_URL, %s });
  c.on('error', e => { console.error(e); process.exit(1); });
  await c.connect();
  out.ping = await c.ping();
  await c.set('nr:a', '1', { EX: 100 });
  out.incr = await c.incr('nr:a');
  await c.hSet('nr:h', { a: '1', b: 'zwei' });
  out.hash = Object.assign({}, await c.hGetAll('nr:h'));
  out.missing = await c.get('nr:none');
  out.multi = await c.multi().set('{nr}k', 'v').get('{nr}k').exec();
  out.many = (await Promise.all([...Array(1000).keys()].map(async i => { await c.set('nr:m' + i, String(i)); return c.get('nr:m' + i); })))
    .every((v, i) => v === String(i));
  try { await c.sendCommand(['NOSUCH', 'x']); } catch (e) { out.error = e.message; }
  const keys = [];
  for await (const k of c.scanIterator({ MATCH: 'nr:m*', COUNT: 100 })) keys.push(...[].concat(k));
  out.scanned = new Set(keys).size;
  const d = c.duplicate();
  await d.connect();
  out.second = await d.get('nr:a');
  await d.quit();
  await c.quit();
  console.log(JSON.stringify(out));
})().catch(e => { console.error(e); process.exit(1); });
"""

    def check(self, out):
        self.assertEqual(out["ping"], "PONG")
        self.assertEqual(out["incr"], 2)
        self.assertEqual(out["hash"], {"a": "1", "b": "zwei"})
        self.assertIsNone(out["missing"])
        self.assertTrue(out["many"])
        self.assertEqual(out["scanned"], 1000)
        self.assertEqual(out["second"], "2")
        self.assertRegex(out["error"], "^ERR unknown command 'NOSUCH', with args beginning with: 'x'")

    def test_node_redis(self):
        for options in ("RESP: 2", "RESP: 3"):
            with self.subTest(options=options):
                self.r.delete("nr:a")
                out = self.run_js(self.NODE_REDIS % options)
                self.check(out)
                self.assertEqual(out["multi"], ["OK", "v"])

    def test_ioredis(self):
        out = self.run_js("""
const Redis = require('ioredis');
(async () => {
  const out = {};
  const c = new Redis(process.env.FOREBAY_URL);
  c.on('error', e => { console.error(e); process.exit(1); });
  out.ping = await c.ping();
  await c.set('io:a', '1', 'EX', 100);
  out.incr = await c.incr('io:a');
  await c.hset('io:h', { a: '1', b: 'zwei' });
  out.hash = await c.hgetall('io:h');
  out.missing = await c.get('io:none');
  out.multi = await c.multi().set('{io}k', 'v').get('{io}k').exec();
  const p = c.pipeline();
  for (let i = 0; i < 1000; i++) { p.set('io:m' + i, String(i)); p.get('io:m' + i); }
  out.many = (await p.exec()).every(([e, v], i) => e === null && v === (i % 2 ? String((i - 1) / 2) : 'OK'));
  try { await c.call('NOSUCH', 'x'); } catch (e) { out.error = e.message; }
  const keys = new Set();
  for await (const ks of c.scanStream({ match: 'io:m*', count: 100 })) for (const k of ks) keys.add(k);
  out.scanned = keys.size;
  const d = c.duplicate();
  out.second = await d.get('io:a');
  await d.quit();
  await c.quit();
  console.log(JSON.stringify(out));
})().catch(e => { console.error(e); process.exit(1); });
""")
        self.check(out)
        self.assertEqual(out["multi"], [[None, "OK"], [None, "v"]])


if __name__ == "__main__":
    base.main()
