"""Peers that speak the frames of a router or a sync process badly: they lose their connection, nobody else notices."""

import json
import os
import random
import socket
import struct

import base
from base import ClusterTest, wait_for

PROTOCOL_VERSION = 3  # FB_PROTOCOL_VERSION in proto/wire/frame.h
OPS = [*range(1, 9), *range(20, 28), *range(40, 48), *range(60, 64), *range(80, 85), 90, *range(100, 104)]
KEYS = [b"a", b"session:1", b"user:1", b"user:x", b"{t}1", b"", b"k" * 512]


def varint(n):
    out = b""
    while n > 0x7f:
        out += bytes([n & 0x7f | 0x80])
        n >>= 7
    return out + bytes([n])


def field(number, wire, value):
    tag = varint(number << 3 | wire)
    if wire == 0:
        return tag + varint(value)
    if wire == 1:
        return tag + struct.pack("<Q", value)
    return tag + varint(len(value)) + value


def frame(kind, tail=b"", count=0, extra=b""):
    header = field(1, 0, kind) + field(2, 1, 77) + field(4, 0, count) + extra
    return struct.pack("<II", 4 + len(header) + len(tail), len(header)) + header + tail


def hello(role, name, cluster):
    h = field(1, 0, PROTOCOL_VERSION) + field(2, 0, role) + field(3, 2, name.encode()) + field(4, 2, cluster) + field(5, 1, 4711)
    return frame(1, extra=field(6, 2, h))


def items(args):
    return b"".join(struct.pack("<I", len(a)) + a for a in args)


def request(rnd, part_of, epoch, op=None, seq=1):
    key = rnd.choice(KEYS)
    op = op or rnd.choice(OPS)
    if op == 90:
        args = [request(rnd, part_of, epoch, rnd.choice([o for o in OPS if o != 90])) for _ in range(rnd.randrange(4))]
    else:
        args = [rnd.choice([b"", b"1", b"-5", b"1.5", b"name", b"x" * 300, os.urandom(4), b"string"]) for _ in range(rnd.randrange(4))]
    encoded = items(args)
    part = rnd.choice([part_of(key), part_of(key), part_of(key), rnd.randrange(256), 0xffff])
    a = rnd.choice([0, 1, -1, 10, 2**40, -2**63, 2**63 - 1])
    b = rnd.choice([0, 1, 10, 2**40, 2**63 - 1, -2**63])
    return struct.pack("<IHHHHIqqII", seq, op, rnd.choice([0, 1, 2, 4, 8, 16, 0x80, 0x1ff]), part, len(key), epoch, a, b,
                       rnd.choice([0, 0, 0, 1, 2]) << 24 | len(args), len(encoded)) + key + encoded


def text(b):
    return struct.pack("<I", len(b)) + b


def sync_message(rnd, kind):
    part = struct.pack("<H", rnd.choice([0, 1, 77, 255, 300]))
    ns = text(rnd.choice([b"default", b"session", b"user", b"nobody", b""]))
    u64 = lambda: struct.pack("<Q", rnd.choice([0, 1, 1 << 40, (1 << 40) + 1, (1 << 40) + 1000, 2**63 - 1, 2**64 - 1]))  # noqa: E731
    value = text(rnd.choice([b"", b"v", b"\x01\x00\x01\x00\x00\x00nv", os.urandom(9)]))
    id = text(rnd.choice(KEYS))
    if kind == 5:
        return part + u64() + ns + u64() + struct.pack("<I", rnd.choice([0, 1, 1000, 2**32 - 1]))
    if kind == 7:
        return part + u64() + ns + u64() + u64() + u64()
    if kind == 9:
        return (part + u64() + bytes([rnd.randrange(5), rnd.randrange(4)]) + struct.pack("<I", rnd.randrange(2**32)) + u64() + u64()
                + u64() + u64() + ns + id + value)
    return (bytes([rnd.randrange(7)]) + part + u64() + ns + id + u64() + bytes([rnd.randrange(4)]) + struct.pack("<I", 9) + b"23505\0"
            + text(b"message") + value)


class Hostile(ClusterTest):
    settings = {"nodes": 1, "syncs": 1}
    config = ("[cluster]\nreplicas = 0\n[namespace session]\nsync_interval = 100ms\n"
              "[namespace user]\ntable = app.users\nkey = id\nvalue = row\n")
    tables = "create schema app; create table app.users (id bigint primary key, name text);"

    def setUp(self):
        self.node = self.cluster.nodes[0]
        with open(os.path.join(self.cluster.dir, "coordinator", "state")) as f:
            keys = json.load(f)["keys"]
        meta = keys["meta"] if isinstance(keys, dict) else next(k for k in keys if k["key"] == "meta")
        value = meta["value"] if isinstance(meta["value"], dict) else json.loads(meta["value"])
        self.uuid = bytes.fromhex(value["cluster"].replace("-", ""))
        self.parts = {}
        for k in KEYS:
            if k:
                self.parts[k] = self.cluster.ctl_json("key", "locate", "--", k.decode())["partition"]

    def connect(self, role, name):
        s = socket.create_connection(("127.0.0.1", self.node.port), timeout=10)
        s.sendall(hello(role, name, self.uuid))
        return s

    def drain(self, s):
        """What the node answers until it closes or is silent; its bytes do not matter, only that it lives."""
        s.settimeout(0.05)
        try:
            while s.recv(1 << 20):
                pass
        except OSError:
            pass

    def still_serves(self):
        self.assertTrue(self.node.alive(), self.node.tail(40))
        wait_for("the node to answer", lambda: self.r.set("session:alive", "1"))
        self.assertEqual(self.r.get("session:alive"), b"1")

    def test_garbage(self):
        rnd = random.Random(1)
        for n in range(60):
            with socket.create_connection(("127.0.0.1", self.node.port), timeout=10) as s:
                s.sendall(bytes(rnd.randrange(256) for _ in range(rnd.randrange(1, 400))) if n % 3 else b"GET / HTTP/1.0\r\n\r\n")
                self.drain(s)
        self.still_serves()

    def test_wrong_cluster(self):
        with socket.create_connection(("127.0.0.1", self.node.port), timeout=10) as s:
            s.sendall(hello(1, "stranger", b"\x01" * 16))
            s.settimeout(10)
            answer = b""
            try:
                while chunk := s.recv(4096):
                    answer += chunk
            except ConnectionResetError:
                pass
            self.assertIn(b"cluster", answer)
        self.still_serves()

    def records(self):
        o = json.loads(self.node.http("/statusz")[1])
        return o.get("status", o)["records"]

    def test_requests(self):
        rnd = random.Random(2)
        before = self.records()
        for n in range(80):
            with self.connect(1, f"router-{n}") as s:
                for _ in range(10):
                    batch = [request(rnd, lambda k: self.parts.get(k, 5), 1, seq=i) for i in range(20)]
                    data = frame(2, b"".join(batch), len(batch))
                    if rnd.randrange(4) == 0:
                        at = rnd.randrange(8, len(data))
                        data = data[:at] + bytes([rnd.randrange(256)]) + data[at + 1:]
                    try:
                        s.sendall(data)
                    except OSError:
                        break
                self.drain(s)
        self.still_serves()
        self.assertGreater(self.records(), before + 100)  # what was well formed was carried out

    def test_sync_messages(self):
        rnd = random.Random(3)
        for n in range(60):
            with self.connect(3, f"stranger-{n}") as s:
                for _ in range(20):
                    kind = rnd.choice([5, 7, 9, 10])
                    data = frame(kind, b"".join(sync_message(rnd, kind) for _ in range(3)), 3)
                    try:
                        s.sendall(data)
                    except OSError:
                        break
                self.drain(s)
        self.still_serves()

    def foreign(self):
        return next(float(x.split()[1]) for x in self.node.http("/metrics")[1].splitlines() if x.startswith("forebay_foreign_frames_total"))

    def test_messages_of_another_role(self):
        """Only sync processes say what is in PostgreSQL: a router that does is cut off, and nothing of it counts."""
        self.r.set("session:kept", "v")
        before = self.foreign()
        rnd = random.Random(4)
        for role, kinds in ((1, (5, 7, 9, 10, 16)), (4, (5, 7, 9, 10, 16)), (3, (2, 3, 4, 6))):
            for kind in kinds:
                with self.connect(role, f"stranger-{role}-{kind}") as s:
                    # each time the whole number space of positions: "all of it is in PostgreSQL"
                    tail = b"".join(sync_message(rnd, kind) if kind in (5, 7, 9, 10) else struct.pack("<Q", 2**63) for _ in range(3))
                    s.sendall(frame(kind, tail, 3))
                    s.settimeout(10)
                    try:
                        while s.recv(1 << 16):
                            pass
                    except ConnectionResetError:
                        pass  # closed; a time-out would be an error
        self.assertEqual(self.foreign(), before + 14)
        self.still_serves()


if __name__ == "__main__":
    base.main()
