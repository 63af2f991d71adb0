"""tools/quickstart -- COMMAND: a live cluster for a command, its exit status, and nothing left behind."""

import os
import re
import signal
import subprocess
import tempfile
import unittest

import base
from base import ROOT, wait_for

QUICKSTART = os.path.join(ROOT, "tools", "quickstart")


def processes_of(dir):
    """Pids whose command line names the directory."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if dir.encode() in f.read() and int(pid) != os.getpid():
                    found.append(int(pid))
        except OSError:
            pass
    return found


class Quickstart(unittest.TestCase):
    def run_it(self, *args, timeout=900, env=None):
        r = subprocess.run([QUICKSTART, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                           timeout=timeout, env={**os.environ, **(env or {})})
        return r

    def left_behind(self, dir):
        wait_for("its processes to be gone", lambda: not processes_of(dir), 10)
        self.assertFalse(os.path.exists(dir), dir)

    def test_command(self):
        script = """
            set -e
            port=${FOREBAY_URL##*:}; port=${port%%/*}
            [ "$(redis-cli -p $port hget user:1 plan)" = free ]
            redis-cli -p $port hset user:1 plan gold >/dev/null
            redis-cli -p $port fb.sync user:1 20000 >/dev/null
            [ "$(psql "$FOREBAY_PG" -Atc 'select plan from app.users where id = 1')" = gold ]
            forebayctl health >&2
            [ -d "$FOREBAY_DIR" ] && [ -n "$FOREBAY_CLUSTER" ]
            echo "DIR=$FOREBAY_DIR"
            exit 7
        """
        r = self.run_it("--", "sh", "-c", script)
        self.assertEqual(r.returncode, 7, r.stdout + r.stderr)
        dir = re.search(r"(?m)^DIR=(.*)$", r.stdout).group(1)
        self.left_behind(dir)
        self.assertEqual([l for l in r.stdout.splitlines() if not l.startswith("DIR=")], [], "stdout is the command's alone")

    def test_status_zero_and_missing_command(self):
        r = self.run_it("--nodes", "1", "--", "sh", "-c", "echo DIR=$FOREBAY_DIR")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.left_behind(re.search(r"DIR=(.*)", r.stdout).group(1))
        r = self.run_it("--nodes", "1", "--", "/nonexistent/command")
        self.assertEqual(r.returncode, 127, r.stderr)
        self.assertIn("/nonexistent/command", r.stderr)

    def test_etcd(self):
        r = self.run_it("--coordinator", "etcd", "--nodes", "1", "--", "sh", "-c",
                        "echo DIR=$FOREBAY_DIR; echo $FOREBAY_CLUSTER; redis-cli -u $FOREBAY_URL set a 1; forebayctl health >&2")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertRegex(r.stdout, r"(?m)^etcd://127\.0\.0\.1:\d+/main$")
        self.assertRegex(r.stdout, "(?m)^OK$")
        self.left_behind(re.search(r"DIR=(.*)", r.stdout).group(1))

    def test_keep_and_go_on(self):
        dir = tempfile.mkdtemp(prefix="fbk-", dir="/tmp")
        try:
            for command, answer in (("set kept value", "OK"), ("get kept", "value")):
                r = self.run_it("--nodes", "1", "--dir", dir, "--keep", "--", "sh", "-c", f"redis-cli -u $FOREBAY_URL {command}")
                self.assertEqual((r.returncode, r.stdout.strip()), (0, answer), r.stderr)
                self.assertEqual(processes_of(dir), [])
        finally:
            subprocess.run(["rm", "-rf", dir])

    def test_ended_by_a_signal(self):
        """Ctrl-C while it stays: everything stops and goes away, exit 0."""
        p = subprocess.Popen([QUICKSTART, "--nodes", "1", "--port", "0"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True, start_new_session=True)
        said = []
        try:
            for line in p.stderr:
                said.append(line)
                if "Ctrl-C" in line:
                    break
            dir = re.search(r"all in (\S+)", "".join(said)).group(1)
            self.assertTrue(processes_of(dir))
            p.send_signal(signal.SIGINT)
            out, err = p.communicate(timeout=120)
            self.assertEqual(p.returncode, 0, "".join(said) + err)
            self.left_behind(dir)
        finally:
            if p.poll() is None:
                p.send_signal(signal.SIGTERM)
                p.wait(60)

    def test_bad_arguments(self):
        for args in (["--nodes", "0"], ["--nope"], ["--table", "a.b"], ["--replicas", "7"], ["--nodes", "2", "--replicas", "2"]):
            r = self.run_it(*args)
            self.assertEqual(r.returncode, 2, r.stderr)
        r = self.run_it("--help")
        self.assertEqual(r.returncode, 0)
        self.assertIn("COMMAND", r.stdout)
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as f:
            f.write("[namespace x]\nnonsense = 1\n")
            f.flush()
            r = self.run_it("--config", f.name, "--", "true")
            self.assertEqual(r.returncode, 1)
            self.assertIn("nonsense", r.stderr)


if __name__ == "__main__":
    base.main()
