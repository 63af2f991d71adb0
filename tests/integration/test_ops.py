"""What an operator relies on: admin ports, metrics, limits, draining, configuration from every source."""

import json
import os
import re
import socket
import subprocess
import time

import redis

import base
from base import ClusterTest, connect, free_port, wait_for
from test_clients import Resp

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf'^({NAME})(\{{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)*\}})? (\S+)$')


def check_metrics(text):
    """Problems of a metrics page, as promtool and the format's rules name them."""
    problems, types, helps, seen, current = [], {}, set(), set(), None
    closed = set()
    if not text.endswith("\n"):
        problems.append("no newline at the end")
    for n, line in enumerate(text.splitlines(), 1):
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            if name in types:
                problems.append(f"{n}: second TYPE of {name}")
            if kind not in ("counter", "gauge", "histogram", "summary"):
                problems.append(f"{n}: type {kind}")
            types[name] = kind
        elif line.startswith("# HELP "):
            name = line.split(" ")[2]
            if name in helps:
                problems.append(f"{n}: second HELP of {name}")
            helps.add(name)
        elif line.startswith("#") or not line:
            continue
        else:
            m = SAMPLE.match(line)
            if not m:
                problems.append(f"{n}: not a sample: {line}")
                continue
            name, labels, value = m.groups()
            family = name
            for suffix in ("_bucket", "_sum", "_count"):
                if name.endswith(suffix) and types.get(name[:-len(suffix)]) == "histogram":
                    family = name[:-len(suffix)]
            if family not in types:
                problems.append(f"{n}: {name} has no TYPE")
            elif family not in helps:
                problems.append(f"{n}: {name} has no HELP")
            if family != current:
                if family in closed:
                    problems.append(f"{n}: samples of {family} are not together")
                closed.add(family)
                current = family
            if not name.startswith("forebay_") and not name.startswith("process_"):
                problems.append(f"{n}: {name} has no prefix")
            if types.get(family) == "counter" and not name.endswith("_total"):
                problems.append(f"{n}: counter {name} does not end in _total")
            if types.get(family) == "gauge" and name.endswith("_total"):
                problems.append(f"{n}: gauge {name} ends in _total")
            try:
                v = float(value)
                if types.get(family) == "counter" and not v >= 0:
                    problems.append(f"{n}: counter {name} is {value}")
            except ValueError:
                problems.append(f"{n}: value {value}")
            if (name, labels) in seen:
                problems.append(f"{n}: second sample {name}{labels}")
            seen.add((name, labels))
    for name, kind in types.items():
        if kind == "histogram":
            buckets = re.findall(rf'^{name}_bucket\{{(.*?)le="([^"]+)"\}} (\S+)$', text, re.M)
            by_labels = {}
            for labels, le, v in buckets:
                by_labels.setdefault(labels, []).append((float(le), float(v)))
            for labels, list in by_labels.items():
                if list != sorted(list) or [v for _, v in list] != sorted(v for _, v in list):
                    problems.append(f"{name}{{{labels}}}: buckets do not grow")
                if list[-1][0] != float("inf"):
                    problems.append(f"{name}{{{labels}}}: no +Inf bucket")
    return problems


class Ops(ClusterTest):
    settings = {"nodes": 2, "syncs": 2, "router_options": {"max_client_output": "1MiB"}}
    config = """
[cluster]
replicas = 0
partitions = 16
[namespace small]
max_value = 100
sync_interval = 100ms
[namespace tight]
max_dirty_bytes = 64KiB
sync_interval = 100ms
"""

    def test_admin_ports(self):
        self.r.set("small:1", "x")
        self.r.get("small:1")
        for p in self.cluster.processes():
            with self.subTest(p=p.name):
                self.assertEqual(p.http("/livez")[0], 200)
                self.assertEqual(p.http("/readyz")[0], 200)
                self.assertEqual(p.http("/nothing")[0], 404)
                status, body = p.http("/statusz")
                self.assertEqual(status, 200)
                self.assertIn(p.name, json.dumps(json.loads(body)))
                status, body = p.http("/metrics")
                self.assertEqual(status, 200)
                self.assertEqual(check_metrics(body), [])
                self.assertIn("forebay_build_info{", body)
                self.assertNotIn("small:1", body)

    def test_named_metrics(self):
        """The names of the interface, on the process they belong to."""
        page = {kind: self.cluster_page(list) for kind, list in
                (("node", self.cluster.nodes), ("sync", self.cluster.syncs), ("router", self.cluster.routers))}
        for kind, names in (("router", "requests_total request_duration_seconds router_retries_total rejected_total map_epoch"),
                            ("node", "cache_hits_total cache_misses_total objects memory_bytes evictions_total expired_total dirty_bytes "
                                     "oldest_dirty_timestamp_seconds sync_enqueued_total sync_coalesced_total dead_letters partitions "
                                     "log_fsync_duration_seconds coordinator_up"),
                            ("sync", "sync_rows_total sync_batch_rows sync_batch_duration_seconds sync_retries_total db_up loads_total "
                                     "load_duration_seconds")):
            for name in names.split():
                with self.subTest(process=kind, name=name):
                    self.assertRegex(page[kind], rf"(?m)^# TYPE forebay_{name} ")

    def cluster_page(self, list):
        return list[0].http("/metrics")[1]

    def test_admin_port_does_not_wait_for_a_slow_reader(self):
        host, port = self.cluster.nodes[0].admin.split(":")
        idle = [socket.create_connection((host, int(port)), 5) for _ in range(20)]
        try:
            for s in idle:
                s.sendall(b"GET /met")
            started = time.monotonic()
            self.assertEqual(self.cluster.nodes[0].http("/livez")[0], 200)
            self.assertLess(time.monotonic() - started, 3)
            bad = socket.create_connection((host, int(port)), 5)
            bad.sendall(b"\x00\xff garbage\r\n\r\n" * 100)
            bad.close()
            self.assertEqual(self.cluster.nodes[0].http("/livez")[0], 200)
        finally:
            for s in idle:
                s.close()

    # bad input

    def test_protocol_errors_close_only_that_connection(self):
        good = Resp(self.cluster.port)
        good.call("SET", "good", "1")
        for data, text in ((b"*1\r\n:5\r\n", "-ERR Protocol error: expected '$', got ':'\r\n"),
                           (b"*100000000\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
                           (b"*1\r\n$-5\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
                           (b"*1\r\n$99999999999\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
                           (b"x" * 70000, "-ERR Protocol error: too big inline request\r\n"),
                           (b"SET \"a\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n")):
            with self.subTest(data=data[:20]):
                s = socket.create_connection(("127.0.0.1", self.cluster.port), 10)
                s.sendall(data)
                got = b""
                while True:
                    try:
                        part = s.recv(4096)
                    except ConnectionResetError:
                        break
                    if not part:
                        break
                    got += part
                s.close()
                self.assertEqual(got.decode(), text)
                self.assertEqual(good.call("GET", "good"), b"1")
        # what came before the error is answered
        s = socket.create_connection(("127.0.0.1", self.cluster.port), 10)
        s.sendall(b"PING\r\n*1\r\n:5\r\n")
        f = s.makefile("rb")
        self.assertEqual(f.readline(), b"+PONG\r\n")
        self.assertTrue(f.readline().startswith(b"-ERR Protocol error"))
        self.assertEqual(f.readline(), b"")
        f.close()
        s.close()
        good.close()

    def test_limits_are_named(self):
        self.r.set("small:fits", "x" * 100)
        self.assertRegex(self.error("SET", "small:big", "x" * 101), "101 bytes.*max_value.*100.*small")
        self.assertRegex(self.error("APPEND", "small:fits", "x"), "max_value.*100")
        self.assertRegex(self.error("HSET", "small:h", "f", "x" * 200), "max_value.*100")
        self.assertRegex(self.error("SETRANGE", "small:fits", "100", "x"), "max_value.*100")
        self.assertEqual(self.r.get("small:fits"), b"x" * 100)
        self.assertTrue(self.r.set("default-limit", "x" * (128 << 10)))
        self.assertRegex(self.error("SET", "default-limit", "x" * ((128 << 10) + 1)), "max_value.*131072")
        self.assertRegex(self.error("SET", "k" * 513, "x"), "512")
        self.assertRegex(self.error("GET", "k" * 513), "512")
        self.assertTrue(self.r.set("k" * 512, "x"))
        self.assertRegex(self.error("HSET", "h", "f" * 65536, "x"), "65535")
        self.synced()
        self.r.delete("k" * 512)

    def test_slow_client_is_cut(self):
        self.r.set("big", "x" * 100000)
        s = socket.create_connection(("127.0.0.1", self.cluster.port), 10)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        request = b"*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n"
        s.settimeout(30)
        with self.assertRaises((ConnectionResetError, BrokenPipeError)):
            for _ in range(100000):  # never reads an answer
                s.sendall(request * 10)
        s.close()
        self.assertEqual(self.r.get("big"), b"x" * 100000)
        wait_for("the metric", lambda: re.search(r'(?m)^forebay_rejected_total\{reason="[^"]*output[^"]*"\} [1-9]',
                                                 self.cluster.routers[0].http("/metrics")[1]))

    def test_max_dirty_bytes(self):
        self.r.set("tight:clean", "c")
        self.synced()
        self.cluster.ctl("sync", "pause", "-n", "tight", "-y")
        try:
            refused = None
            for i in range(2000):
                try:
                    self.r.set(f"tight:{i}", "x" * 1000)
                except redis.ResponseError as e:
                    refused = str(e)
                    break
            self.assertIsNotNone(refused, "max_dirty_bytes does not limit")
            self.assertRegex(refused, '^OVERLOADED .*"tight".*max_dirty_bytes.*nothing happened')
            self.assertEqual(self.r.get("tight:clean"), b"c")
            self.assertEqual(self.r.get("tight:0"), b"x" * 1000)
            self.assertEqual(self.r.delete("tight:0"), 1)
            self.assertIsNone(self.r.get("tight:0"))
            self.assertTrue(self.r.set("small:other", "x"))  # other namespaces go on
            self.assertRegex(self.cluster.nodes[0].http("/metrics")[1] + self.cluster.nodes[1].http("/metrics")[1] +
                             self.cluster.routers[0].http("/metrics")[1], r'(?m)^forebay_rejected_total\{.*overload.*\} [1-9]')
        finally:
            self.cluster.ctl("sync", "resume", "-n", "tight")
        self.synced()
        self.assertTrue(self.r.set("tight:again", "x" * 1000))

    # configuration

    def run_process(self, kind, *args, env=None):
        return subprocess.run([os.path.join(base.BIN, f"forebay-{kind}"), *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=30, env={**os.environ, **(env or {})})

    def test_check_and_print_config(self):
        for kind, p in (("node", self.cluster.nodes[0]), ("sync", self.cluster.syncs[0]), ("router", self.cluster.routers[0])):
            with self.subTest(kind=kind):
                r = self.run_process(kind, "--config", p.conf, "--check-config")
                self.assertEqual((r.returncode, r.stdout), (0, f"{p.conf}: configuration is ok\n"), r.stderr)
                r = self.run_process(kind, "--config", p.conf, "--print-config", "--process.zone=z1",
                                     env={"FOREBAY_PROCESS__LOG_LEVEL": "warn"})
                self.assertEqual(r.returncode, 0, r.stderr)
                self.assertRegex(r.stdout, rf"name = {p.name} .*forebay.conf:2")
                self.assertRegex(r.stdout, r"zone = z1 .*flag --process.zone")
                self.assertRegex(r.stdout, r"log_level = warn .*FOREBAY_PROCESS__LOG_LEVEL")
                self.assertRegex(r.stdout, r"log_format = logfmt .*default")
                sample = self.run_process(kind, "--config-help").stdout
                self.assertIn("[process]", sample)
                self.assertEqual(self.run_process(kind, "--version").returncode, 0)
                self.assertEqual(self.run_process(kind, "--help").returncode, 0)
        # one file may serve all processes of a machine
        shared = os.path.join(self.dir, "shared.conf")
        with open(shared, "w") as f:
            f.write(f"[process]\nname = x\ncoordinator = {self.cluster.coordinator}\n[node]\ndata_dir = {self.dir}/x\n[router]\nlisten = 127.0.0.1:0\n"
                    f"[sync]\nconninfo_file = {self.cluster.syncs[0].home}/pg.conninfo\n")
        for kind in ("node", "sync", "router"):
            r = self.run_process(kind, "--config", shared, "--check-config")
            self.assertEqual(r.returncode, 0, r.stderr)
        r = self.run_process("node", "--config", shared, "--check-config", env={"FOREBAY_NODE__MEMROY": "1GiB"})
        self.assertEqual(r.returncode, 1)
        self.assertIn("FOREBAY_NODE__MEMROY", r.stderr)

    def test_environment_overrides_the_file_and_json_logs(self):
        port, admin = free_port(), free_port()
        p = subprocess.Popen([os.path.join(base.BIN, "forebay-router"), "--config", self.cluster.routers[0].conf, "--process.name=router-env"],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             env={**os.environ, "FOREBAY_ROUTER__LISTEN": f"127.0.0.1:{port}", "FOREBAY_ADMIN__LISTEN": f"127.0.0.1:{admin}",
                                  "FOREBAY_PROCESS__LOG_FORMAT": "json"})
        try:
            def works():
                try:
                    return redis.Redis(port=port).set("env", "1")
                except redis.RedisError:
                    return False
            wait_for("the router", works)
        finally:
            p.terminate()
            out, err = p.communicate(timeout=30)
        self.assertEqual(p.returncode, 0, err)
        lines = err.splitlines()
        self.assertGreater(len(lines), 1)
        for line in lines:
            o = json.loads(line)
            for k in ("ts", "level", "msg"):
                self.assertIn(k, o)
            self.assertEqual(o["name"], "router-env")

    # draining

    def test_sigterm_drains(self):
        """Everything acknowledged is there after all processes stopped and started; nobody hears of a broken promise."""
        sent = {}
        for i in range(500):
            self.r.set(f"drain:{i}", i)
            sent[f"drain:{i}"] = str(i).encode()
        order = self.cluster.routers + self.cluster.syncs + self.cluster.nodes
        for p in order:
            started = time.monotonic()
            self.assertEqual(p.stop(20), 0, p.name)
            self.assertLess(time.monotonic() - started, 15, p.name)
            self.assertNotIn("level=error", p.tail(100))
        for p in order:
            p.start()
        self.cluster.wait_ready()

        def read():
            try:
                return self.r.mget(list(sent)) == list(sent.values())
            except redis.RedisError:
                return False
        wait_for("every value", read)
        self.synced()

    def test_sigterm_answers_what_is_in_flight(self):
        c = Resp(self.cluster.port)
        for i in range(2000):
            c.send("SET", f"inflight:{i % 50}", i)
        c.read()  # the router has them
        router = self.cluster.routers[0]
        router.popen.terminate()
        got = 1
        try:
            while True:
                try:
                    a = c.read()
                except ConnectionResetError:  # commands it did not read any more
                    break
                if a is EOFError:
                    break
                self.assertEqual(a, "OK")
                got += 1
            self.assertEqual(router.popen.wait(20), 0)
        finally:
            c.close()
            router.popen.wait(20)
            router.start()
            wait_for("the router", router.ready)
        self.assertGreater(got, 0)
        values = [int(v) for v in self.r.mget([f"inflight:{i}" for i in range(50)]) if v]
        self.assertGreaterEqual(max(values) + 1, got)

    def test_sighup_reloads(self):
        for p in self.cluster.processes():
            p.popen.send_signal(1)
        for p in self.cluster.processes():
            self.assertEqual(p.http("/livez")[0], 200)
            self.assertTrue(p.alive())


if __name__ == "__main__":
    base.main()
