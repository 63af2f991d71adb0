"""Unmapped keys: memory speed in front, forebay.objects behind."""

import base
from base import Background, ClusterTest, connect, wait_for


class Strings(ClusterTest):
    settings = {"nodes": 2, "syncs": 2}
    config = "[cluster]\nreplicas = 0\n[namespace session]\nsync_interval = 200ms\n[namespace default]\nsync_interval = 200ms\n"

    def test_set_reaches_postgresql(self):
        self.assertTrue(self.r.set("session:a", b"\x00binary\xff"))
        self.assertEqual(self.r.get("session:a"), b"\x00binary\xff")
        rows = wait_for("the row", lambda: self.pg.psql(
            "select kind, encode(value, 'hex') from forebay.objects where ns = 'session' and id = 'a'"))
        self.assertEqual(rows, [["string", b"\x00binary\xff".hex()]])

    def test_read_through_after_eviction(self):
        self.r.set("session:evict", "v1")
        self.synced()
        self.assertEqual(self.r.execute_command("FB.EVICT", "session:evict"), 1)
        self.assertEqual(self.r.get("session:evict"), b"v1")

    def test_delete_removes_the_row(self):
        self.r.set("gone", "x")
        self.synced()
        self.assertEqual(self.pg.psql("select count(*) from forebay.objects where id = 'gone'"), [["1"]])
        self.assertEqual(self.r.delete("gone"), 1)
        self.assertIsNone(self.r.get("gone"))
        self.synced()
        self.assertEqual(self.pg.psql("select count(*) from forebay.objects where id = 'gone'"), [["0"]])

    def test_hash_is_jsonb(self):
        self.r.hset("session:h", mapping={"name": "Ann", "n": "1"})
        self.assertEqual(self.r.hincrby("session:h", "n", 41), 42)
        self.synced()
        rows = self.pg.psql("select kind, fields->>'name', fields->>'n' from forebay.objects where ns = 'session' and id = 'h'")
        self.assertEqual(rows, [["hash", "Ann", "42"]])

    def test_changes_coalesce(self):
        for i in range(500):
            self.r.incr("counter")
        self.synced()
        rows = self.pg.psql("select convert_from(value, 'utf8') from forebay.objects where id = 'counter'")
        self.assertEqual(rows, [["500"]])

    def test_hot_key_reaches_postgresql(self):
        """A key that is written all the time is not passed over, whatever version of it is on disk by now."""
        def write(stop):
            r = connect(self.cluster)
            while not stop.is_set():
                p = r.pipeline(transaction=False)
                for _ in range(20):
                    p.incr("session:hot")
                p.execute()
        writer = Background(write)
        try:
            for _ in range(3):
                now = int(wait_for("the key", lambda: self.r.get("session:hot")))
                wait_for(f"{now} in PostgreSQL", lambda: self.pg.psql(
                    f"select 1 from forebay.objects where id = 'hot' and convert_from(value, 'utf8')::bigint >= {now}"), 8)
        finally:
            writer.stop()
        self.synced()
        self.assertEqual(self.pg.psql("select convert_from(value, 'utf8') from forebay.objects where id = 'hot'"),
                         [[self.r.get("session:hot").decode()]])

    def test_multi_key_over_partitions(self):
        keys = {f"m{i}": str(i).encode() for i in range(300)}
        self.r.mset(keys)
        self.assertEqual(self.r.mget(list(keys)), list(keys.values()))
        self.assertEqual(self.r.exists(*keys), 300)
        self.assertEqual(self.r.delete(*list(keys)[:100]), 100)
        self.assertEqual(sum(v is not None for v in self.r.mget(list(keys))), 200)

    def test_pipeline_sees_its_own_writes(self):
        for n in range(20):
            p = self.r.pipeline(transaction=False)
            for i in range(100):
                p.set(f"p{i % 7}", f"{n}-{i}")
                p.get(f"p{i % 7}")
            answers = p.execute()
            self.assertEqual(answers[1::2], [f"{n}-{i}".encode() for i in range(100)])

    def test_transaction(self):
        p = self.r.pipeline()
        p.set("{t}a", 1).incr("{t}a").hset("{t}h", "f", "v").get("{t}a")
        self.assertEqual(p.execute(), [True, 2, 1, b"2"])
        p = self.r.pipeline()
        p.set("a", 1).set("b", 2)
        with self.assertRaisesRegex(Exception, "CROSSSLOT"):
            p.execute()

    def test_watch(self):
        import redis
        self.r.set("w", 1)
        other = connect(self.cluster)
        with self.r.pipeline() as p:
            p.watch("w")
            p.multi()
            p.set("w", 2)
            other.set("w", 3)
            with self.assertRaises(redis.WatchError):
                p.execute()
        self.assertEqual(self.r.get("w"), b"3")

    def test_expiry_deletes_the_row(self):
        self.r.set("session:e", "x", px=400)
        self.assertGreater(self.r.pttl("session:e"), 0)
        wait_for("expiry", lambda: self.r.get("session:e") is None)
        self.synced()
        wait_for("the row to go", lambda: self.pg.psql("select count(*) from forebay.objects where id = 'e'") == [["0"]])

    def test_compare_and_swap(self):
        self.r.set("cas", "1")
        value, ver = self.r.execute_command("FB.GET", "cas")[:2]
        self.assertEqual(value, b"1")
        new = self.r.execute_command("FB.SETIF", "cas", ver, "2")
        self.assertGreater(int(new), int(ver))
        self.assertIsNone(self.r.execute_command("FB.SETIF", "cas", ver, "3"))
        self.assertEqual(self.r.get("cas"), b"2")

    def test_fb_sync_waits_for_postgresql(self):
        self.r.set("now", "1")
        self.r.execute_command("FB.SYNC", "now", 10000)
        self.assertEqual(self.pg.psql("select convert_from(value, 'utf8') from forebay.objects where id = 'now'"), [["1"]])

    def test_scan_sees_resident_keys(self):
        want = {f"scan:{i}".encode() for i in range(500)}
        for k in want:
            self.r.set(k, "x")
        self.assertEqual(set(self.r.scan_iter(match="scan:*", count=50)), want)


if __name__ == "__main__":
    base.main()
