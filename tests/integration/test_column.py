"""`value = column:<name>` and `value = auto` on tables, composite keys, blind writes."""

import os

import base
from base import ClusterTest, wait_for

KINDS = ("text", "varchar(30)", "bytea", "json", "jsonb")


def name_of(kind):
    return kind.split("(")[0]


TABLES = "create schema app;\n" + "".join(
    f"create table app.{name_of(k)}_t (id text primary key, v {k}, note text default 'kept');\n"
    f"create table app.{name_of(k)}_blind (id bigint primary key, v {k});\n" for k in KINDS) + """
insert into app.text_t values ('old', 'gr\u00fc\u00df'), ('empty', ''), ('null', null);
insert into app.bytea_t values ('old', '\\x00ff00');
insert into app.json_t values ('old', '{ "b":1,  "a":2 }');
insert into app.jsonb_t values ('old', '{"b":1,"a":2}');
create table app.multi (a int, b date, v bytea, primary key (a, b));
insert into app.multi values (1, '2024-02-29', 'x');
create table app.doc (id text primary key, v text);
insert into app.doc values ('sql', 'not json');
create table app.auto_t (id text primary key, v text);
create table app.strict (id int primary key, v text not null, must text not null);
insert into app.strict values (1, 'v', 'm');
"""

CONFIG = "[cluster]\nreplicas = 0\n" + "".join(
    f"[namespace {name_of(k)}]\ntable = app.{name_of(k)}_t\nkey = id\nvalue = column:v\nsync_interval = 100ms\non_delete = delete\n"
    f"[namespace {name_of(k)}blind]\ntable = app.{name_of(k)}_blind\nkey = id\nvalue = column:v\nblind_writes = yes\nsync_interval = 100ms\n"
    for k in KINDS) + """
[namespace multi]
table = app.multi
key = a, b
value = column:v
sync_interval = 100ms
[namespace strict]
table = app.strict
key = id
value = column:v
sync_interval = 100ms
[namespace doc]
table = app.doc
key = id
value = column:v
format = json
sync_interval = 100ms
[namespace cart]
format = json
sync_interval = 100ms
[namespace free]
value = auto
sync_interval = 100ms
"""

VALUES = {"text": "neu \u00e4", "varchar": "short", "json": '{"z": 1,  "a":[]}', "jsonb": '{"a": [], "z": 1}'}


class Columns(ClusterTest):
    settings = {"nodes": 2, "syncs": 1}
    config = CONFIG
    tables = TABLES

    def test_read_through(self):
        self.assertEqual(self.r.get("text:old"), "gr\u00fc\u00df".encode())
        self.assertEqual(self.r.get("text:empty"), b"")
        self.assertIsNone(self.r.get("text:null"))
        self.assertIsNone(self.r.get("text:none"))
        self.assertEqual(self.r.get("bytea:old"), b"\x00\xff\x00")
        self.assertEqual(self.r.get("json:old"), b'{ "b":1,  "a":2 }')
        self.assertEqual(self.r.get("jsonb:old"), b'{"a": 2, "b": 1}')

    def test_set_and_read_back(self):
        for ns, value in VALUES.items():
            with self.subTest(ns=ns):
                self.r.set(f"{ns}:new", value)
                self.assertEqual(self.r.get(f"{ns}:new"), value.encode())
                self.synced()
                self.assertEqual(self.pg.psql(f"select v, note from app.{ns}_t where id = 'new'"), [[value, "kept"]])
                self.assertEqual(self.r.execute_command("FB.EVICT", f"{ns}:new"), 1)
                self.assertEqual(self.r.get(f"{ns}:new"), value.encode())
                self.assertEqual(self.r.delete(f"{ns}:new"), 1)
                self.synced()
                self.assertEqual(self.pg.psql(f"select count(*) from app.{ns}_t where id = 'new'"), [["0"]])

    def test_binary_round_trip(self):
        values = {f"bin{i}": os.urandom(n) for i, n in enumerate((0, 1, 255, 4096, 100000))}
        values["zeros"] = b"\x00" * 100
        values["text"] = b"\\x41 not hex"
        for id, v in values.items():
            self.r.set(f"bytea:{id}", v)
        self.synced()
        for id, v in values.items():
            self.assertEqual(self.pg.psql(f"select encode(v, 'hex') from app.bytea_t where id = '{id}'"), [[v.hex()]])
            self.assertEqual(self.r.execute_command("FB.EVICT", f"bytea:{id}"), 1)
            self.assertEqual(self.r.get(f"bytea:{id}"), v)

    def test_update_keeps_other_columns(self):
        self.pg.psql("insert into app.text_t values ('keep', 'a', 'mine')")
        self.r.append("text:keep", "b")
        self.synced()
        self.assertEqual(self.pg.psql("select v, note from app.text_t where id = 'keep'"), [["ab", "mine"]])

    def test_blind_writes(self):
        for ns, value in VALUES.items():
            self.r.set(f"{ns}blind:1", value)
            self.pg.psql(f"insert into app.{ns}_blind values (2, null)")
            self.r.set(f"{ns}blind:2", value)
        self.r.set("byteablind:1", b"\x00\x01")
        self.synced()
        for ns, value in VALUES.items():
            self.assertEqual(self.pg.psql(f"select id, v from app.{ns}_blind order by id"), [["1", value], ["2", value]])
        self.assertEqual(self.pg.psql("select encode(v, 'hex') from app.bytea_blind"), [["0001"]])

    def misses_answered(self):
        try:
            self.r.get("text:asked")
        except base.redis.ResponseError:
            return False
        return True

    def test_blind_writes_with_postgresql_away(self):
        self.cluster.pg.stop("immediate")
        try:
            self.r.set("textblind:900", "written")
            self.assertEqual(self.r.get("textblind:900"), b"written")
            self.assertRegex(self.error("SET", "text:never-seen", "x"), "^DBDOWN")
        finally:
            self.cluster.pg.start()
        wait_for("PostgreSQL to be seen", lambda: self.cluster.ctl("sync", "flush", check=False).returncode == 0)
        wait_for("misses to be answered", self.misses_answered)
        self.synced()
        self.assertEqual(self.pg.psql("select v from app.text_blind where id = 900"), [["written"]])

    def test_composite_key(self):
        self.assertEqual(self.r.get("multi:1/2024-02-29"), b"x")
        self.r.set("multi:2/2024-03-01", b"\x01\x02")
        self.synced()
        self.assertEqual(self.pg.psql("select encode(v, 'hex') from app.multi where a = 2 and b = '2024-03-01'"), [["0102"]])
        for bad in ("multi:2", "multi:02/2024-03-01", "multi:2/2024-3-1", "multi:2/2024-03-01/x"):
            self.assertRegex(self.error("GET", bad), "id|column")

    def test_refusals(self):
        self.assertRegex(self.error("SET", "json:x", "{bad"), '"v".*JSON')
        self.assertRegex(self.error("SET", "jsonb:x", "nope"), '"v".*JSON')
        self.assertRegex(self.error("SET", "varchar:x", "x" * 31), '"v".*too long')
        self.assertRegex(self.error("SET", "text:x", b"a\x00"), '"v".*zero byte')
        self.assertRegex(self.error("SET", "text:x", b"\xff"), '"v".*UTF-8')
        self.assertRegex(self.error("SET", "strict:2", "x"), 'column "must" of app.strict needs a value')
        self.assertRegex(self.error("HSET", "text:old", "f", "v"), "^WRONGTYPE")
        self.assertRegex(self.error("SET", "text:old", "v", "EX", "10"), "expire")
        self.assertRegex(self.error("EXPIRE", "text:old", "10"), "expire")
        self.r.set("strict:1", "changed")
        self.synced()
        self.assertEqual(self.pg.psql("select v, must from app.strict"), [["changed", "m"]])

    def test_format_json(self):
        for ns, stored in (("doc", "select v from app.doc"),
                           ("cart", "select convert_from(value, 'UTF8') from forebay.objects where ns = 'cart'")):
            with self.subTest(ns=ns):
                where = " and id = 'a'" if "where" in stored else " where id = 'a'"
                refusal = f'^(ERR )?value is not JSON: .*"{ns}" has format = json \\(nothing changed\\)'
                self.assertRegex(self.error("SET", f"{ns}:a", "{bad"), refusal)
                self.assertIsNone(self.r.get(f"{ns}:a"))
                self.r.set(f"{ns}:a", '{"n": 1}')
                self.assertRegex(self.error("APPEND", f"{ns}:a", "x"), refusal)
                self.synced()
                self.assertEqual(self.pg.psql(stored + where), [['{"n": 1}']])
        self.assertEqual(self.r.get("doc:sql"), b"not json")
        self.assertEqual(self.r.hset("cart:h", "f", "{bad"), 1)

    def test_auto(self):
        self.r.set("free:s", b"\x00bytes")
        self.r.hset("free:h", mapping={"f": "v", b"bin\xff": b"\x00"})
        self.synced()
        self.assertEqual(self.pg.psql("select id, kind from forebay.objects where ns = 'free' order by id"), [["h", "hash"], ["s", "string"]])
        for k in ("free:s", "free:h"):
            self.assertEqual(self.r.execute_command("FB.EVICT", k), 1)
        self.assertEqual(self.r.get("free:s"), b"\x00bytes")
        self.assertEqual(self.r.hgetall("free:h"), {b"f": b"v", b"bin\xff": b"\x00"})


if __name__ == "__main__":
    base.main()
