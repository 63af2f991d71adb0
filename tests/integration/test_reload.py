"""Goal: SIGHUP takes over the whole process file or nothing of it, on every kind of process, and says what it did. Method: the file of
a running process is rewritten; what it does afterwards, its log, metrics and /statusz are compared."""

import json
import os
import re
import signal
import threading

import redis

import base
from base import ClusterTest, connect, wait_for


def read(path):
    with open(path) as f:
        return f.read()


def write(path, text):
    with open(path, "w") as f:
        f.write(text if text.endswith("\n") else text + "\n")


class Reload(ClusterTest):
    settings = {"nodes": 1, "syncs": 1}
    config = "[cluster]\npartitions = 8\n[namespace ns]\nsync_interval = 100ms\n"

    def setUp(self):
        self.confs = {p: read(p.conf) for p in self.cluster.processes()}
        for p in self.cluster.processes():
            p.was = self.reloads(p)

    def tearDown(self):
        for p, text in self.confs.items():
            if read(p.conf) != text:
                self.assertEqual(self.reload(p, text), "ok")

    def reloads(self, p):
        page = p.http("/metrics")[1]
        return sum(float(v) for v in re.findall(r'(?m)^forebay_config_reloads_total\{result="\w+"\} (\S+)$', page))

    def reload(self, p, text):
        """Rewrites the file, sends SIGHUP, waits for the end; what it came to."""
        write(p.conf, text)
        p.popen.send_signal(signal.SIGHUP)
        wait_for(f"{p.name} to reload", lambda: self.reloads(p) == p.was + 1)
        p.was += 1
        return self.status(p)["result"]

    def status(self, p):
        return json.loads(p.http("/statusz")[1])["reload"]

    def add(self, p, section, line):
        text = self.confs[p]
        return text.replace(f"[{section}]\n", f"[{section}]\n{line}\n", 1)

    def last_success(self, p):
        return re.search(r"(?m)^forebay_config_last_reload_successful (\d)$", p.http("/metrics")[1]).group(1)

    def test_common_options(self):
        for p in self.cluster.processes():
            with self.subTest(p=p.name):
                self.assertEqual(self.reload(p, self.add(p, "process", "log_format = json\nlog_level = debug\nwatchdog = 7s")), "ok")
                wait_for("lines of JSON", lambda: p.tail(1).startswith('{"ts":'))
                changes = [json.loads(line)["change"] for line in p.tail(20).splitlines() if '"change"' in line]
                self.assertEqual(len(changes), 3, changes)
                self.assertIn(f"process.log_format logfmt -> json (file {p.conf}:2)", changes)
                self.assertEqual(json.loads(p.http("/statusz")[1])["watchdog"]["limit_ms"], 7000)
                self.assertEqual(self.last_success(p), "1")

    def test_refused_as_a_whole(self):
        """A key that cannot change refuses what could: level stays, the running file is named as the problem, later reloads work."""
        for p in self.cluster.processes():
            with self.subTest(p=p.name):
                text = self.add(p, "process", "log_level = debug").replace(f"listen = {p.admin}", "listen = 127.0.0.1:1")
                line = text.splitlines().index("listen = 127.0.0.1:1") + 1
                self.assertEqual(self.reload(p, text), "refused")
                problem = self.status(p)["problem"]
                self.assertEqual(problem, f"file {p.conf}:{line}: admin.listen cannot change while the process runs: it is {p.admin} "
                                          "and would be 127.0.0.1:1; put it back, or restart the process")
                self.assertIn("nothing was changed", p.tail(3))
                self.assertEqual(self.last_success(p), "0")
                self.assertNotIn("level=debug", p.tail(5))
                self.assertEqual(self.reload(p, self.add(p, "process", "log_levle = debug")), "refused")
                self.assertRegex(self.status(p)["problem"], rf'^{re.escape(p.conf)}:2: unknown key "log_levle".*did you mean "log_level"')
                self.assertEqual(self.reload(p, self.confs[p]), "ok")
                self.assertEqual(self.last_success(p), "1")

    def test_node_limits(self):
        node = self.cluster.nodes[0]
        limit = lambda: json.loads(node.http("/statusz")[1])["status"]["memory_limit_bytes"]  # noqa: E731
        for i in range(4000):
            self.r.set(f"ns:{i}", "x" * 1000)
        self.synced()
        before = json.loads(node.http("/statusz")[1])["status"]["objects"]["clean"]
        self.assertEqual(self.reload(node, self.add(node, "node", "memory = 1MiB\nlog_sync_interval = 5ms\nsnapshot_interval = 1s")), "ok")
        self.assertEqual(limit(), 1 << 20)
        # what is above the lower limit goes, and a round of snapshots comes by the shorter interval
        wait_for("eviction", lambda: json.loads(node.http("/statusz")[1])["status"]["objects"]["clean"] < before / 2)
        wait_for("a snapshot", lambda: json.loads(node.http("/statusz")[1])["status"]["snapshot"]["rounds"] >= 1)
        self.assertEqual(self.r.get("ns:1"), b"x" * 1000)

    def test_router_limits_and_password(self):
        router, port = self.cluster.routers[0], self.cluster.port
        password = os.path.join(router.home, "password")
        old = connect(self.cluster)
        self.assertTrue(old.ping())
        # a password file that is not there refuses the limit beside it
        self.assertEqual(self.reload(router, self.add(router, "router", f"max_clients = 2\npassword_file = {password}")), "refused")
        self.assertIn("No such file", self.status(router)["problem"])
        connect(self.cluster).ping(), connect(self.cluster).ping()
        write(password, "s3cret")
        # many commands under way while the limits change: none is lost
        stop, failures, done = threading.Event(), [], [0]

        def load():
            r = connect(self.cluster)
            try:
                while not stop.is_set():
                    pipe = r.pipeline(transaction=False)
                    for i in range(200):
                        pipe.set(f"ns:p{i}", i)
                    pipe.execute()
                    done[0] += 200
            except redis.RedisError as e:
                failures.append(e)
        thread = threading.Thread(target=load)
        thread.start()
        wait_for("load", lambda: done[0] > 1000)
        self.assertEqual(self.reload(router, self.add(router, "router",
                         f"max_in_flight_per_client = 1\npassword_file = {password}\nidle_timeout = 1h")), "ok")
        seen = done[0]
        wait_for("load under the lower limit", lambda: done[0] > seen + 1000)
        stop.set()
        thread.join()
        self.assertEqual(failures, [])
        self.assertTrue(old.ping())  # who had come in stays
        with self.assertRaises(redis.AuthenticationError):
            redis.Redis(port=port).ping()
        self.assertTrue(redis.Redis(port=port, password="s3cret").ping())
        # the contents of the file alone change
        write(password, "other")
        self.assertEqual(self.reload(router, read(router.conf)), "ok")
        with self.assertRaisesRegex(redis.ResponseError, "^WRONGPASS"):
            redis.Redis(port=port, password="s3cret").ping()
        self.assertTrue(redis.Redis(port=port, password="other").ping())
        self.assertNotIn("s3cret", router.tail(100))
        self.assertNotIn("other", self.status(router)["problem"])

    def test_sync_password(self):
        """A new connection string is used without a break; a wrong one is refused and the old one stays."""
        sync, pg = self.cluster.syncs[0], self.cluster.pg
        file = os.path.join(sync.home, "pg.conninfo")
        old = read(file)
        pg.script("create role other superuser login")
        self.addCleanup(write, file, old)
        users = lambda: {row[0] for row in pg.psql("select distinct usename from pg_stat_activity where application_name like 'forebay-sync/%'")}  # noqa: E731,E501
        write(file, old.strip().replace("user=postgres", "user=nobody_of_that_name"))
        self.assertEqual(self.reload(sync, self.confs[sync]), "refused")
        self.assertRegex(self.status(sync)["problem"], "conninfo_file .*nobody_of_that_name")
        self.assertEqual(users(), {"postgres"})
        self.r.set("ns:before", "1")
        self.synced()
        write(file, old.strip().replace("user=postgres", "user=other"))
        self.assertEqual(self.reload(sync, self.confs[sync]), "ok")

        def moved():
            self.r.set("ns:moves", "1")
            self.r.get("ns:nothere" + os.urandom(8).hex())
            return users() == {"other"}
        wait_for("every connection to be the new user's", moved)
        self.synced()
        self.assertEqual(pg.psql("select convert_from(value, 'utf8') from forebay.objects where ns = 'ns' and id = 'moves'"), [["1"]])
        self.assertNotIn("PostgreSQL does not answer", sync.tail(100))
        write(file, old.strip())
        self.assertEqual(self.reload(sync, self.confs[sync]), "ok")
        wait_for("the old user again", lambda: self.r.set("ns:moves", "2") and self.r.get("ns:x" + os.urandom(8).hex()) is None
                 and users() == {"postgres"})


if __name__ == "__main__":
    base.main()
