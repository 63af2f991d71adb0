"""Real processes of ours: started, waited for, ended by pid."""

import itertools
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request


class Failure(Exception):
    """Something a user should read as one message."""


PORTS = range(12000, 32000)
_next_port = itertools.count(os.getpid() * 61)


def free_port():
    """A port that nobody listens on, below the range from which the kernel takes those of outgoing connections: one of that range
    may be somebody's before we listen on it. Never the same twice, and processes that run side by side begin at different places: what
    was free just now may have been promised to another."""
    for _ in PORTS:
        port = PORTS[next(_next_port) % len(PORTS)]
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise Failure("no free port between 12000 and 32000")


def wait_for(what, condition, timeout=30.0):
    """Polls `condition` until it returns something true, which is the result."""
    deadline = time.monotonic() + timeout
    pause = 0.005
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failure(f"waited {timeout:g} s for {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


class Process:
    """One of ours: its command, log file and admin port."""

    def __init__(self, name, argv, log, env=None):
        self.name, self.argv, self.log, self.env = name, argv, log, env
        self.popen = None
        self.admin = None

    def start(self):
        with open(self.log, "ab") as log:
            self.popen = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                          env={**os.environ, **(self.env or {})}, start_new_session=True)

    @property
    def pid(self):
        return self.popen.pid

    def alive(self):
        return self.popen is not None and self.popen.poll() is None

    def kill(self, sig=signal.SIGKILL):
        if self.alive():
            self.popen.send_signal(sig)
        if sig == signal.SIGKILL:
            self.popen.wait()

    def stop(self, timeout=30):
        """SIGTERM and wait; a process that does not end is killed and named."""
        if not self.alive():
            return self.popen.returncode if self.popen else 0
        self.popen.send_signal(signal.SIGCONT)
        self.popen.send_signal(signal.SIGTERM)
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise Failure(f"{self.name} did not stop within {timeout} s and was killed; see {self.log}")

    def tail(self, lines=15):
        try:
            with open(self.log, "rb") as f:
                return b"".join(f.readlines()[-lines:]).decode("utf-8", "replace")
        except OSError:
            return ""

    def http(self, path, timeout=5):
        """(status, body) of the admin port; (0, reason) when it does not answer."""
        try:
            with urllib.request.urlopen(f"http://{self.admin}{path}", timeout=timeout) as r:
                return r.status, r.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()
        except OSError as e:
            return 0, str(e)

    def ready(self):
        if not self.alive():
            raise Failure(f"{self.name} ended with status {self.popen.returncode}:\n{self.tail()}")
        return self.http("/readyz")[0] == 200
