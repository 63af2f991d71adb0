"""A row that PostgreSQL refuses parks alone; its neighbours arrive; the operator decides what becomes of it."""

import json

import redis

import base
from base import Background, ClusterTest, connect, wait_for

TABLES = """
create schema app;
create table app.accounts (id bigint primary key, balance int not null default 0 check (balance < 1000000), note text);
insert into app.accounts (id) select i from generate_series(1, 400) i;
create table app.checked (id text primary key, v text check (v <> 'poison'));
"""


class Poison(ClusterTest):
    settings = {"nodes": 2, "syncs": 2}
    config = """
[cluster]
replicas = 0
partitions = 4
[namespace account]
table = app.accounts
key = id
value = row
sync_interval = 200ms
[namespace word]
table = app.checked
key = id
value = column:v
sync_interval = 200ms
[namespace sure]
table = app.checked
key = id
value = column:v
sync_interval = 200ms
durability = database
"""
    config = config.replace("""[namespace sure]
table = app.checked
key = id
value = column:v
""", """[namespace sure]
table = app.sure
key = id
value = column:v
""")
    tables = TABLES + "create table app.sure (id text primary key, v text check (v <> 'poison'));\n"

    def letters(self):
        return {o["key"]: o for o in self.cluster.ctl_json("deadletter", "list")}

    def parked(self, key):
        return wait_for(f"{key} to be parked", lambda: self.letters().get(key))

    def parked_metric(self):
        total = 0
        for p in self.cluster.nodes:
            for line in p.http("/metrics")[1].splitlines():
                if line.startswith("forebay_dead_letters"):
                    total += float(line.split()[-1])
        return total

    def test_parks_alone(self):
        p = self.r.pipeline(transaction=False)
        for i in range(1, 201):
            p.hset(f"account:{i}", "balance", "2000000" if i in (50, 51, 150) else str(i))
        p.execute()
        for i in (50, 51, 150):
            self.parked(f"account:{i}")
        self.synced()
        rows = dict((int(a), int(b)) for a, b in self.pg.psql("select id, balance from app.accounts where id <= 200"))
        self.assertEqual(rows, {i: 0 if i in (50, 51, 150) else i for i in range(1, 201)})
        letter = self.letters()["account:50"]
        self.assertEqual(letter["sqlstate"], "23514")
        self.assertIn("accounts_balance_check", letter["message"])
        # still readable, and told by inspect
        self.assertEqual(self.r.hget("account:50", "balance"), b"2000000")
        self.assertIn("23514", self.cluster.ctl("key", "inspect", "account:50").stdout)
        # a newer write clears the state and is tried
        self.r.hset("account:50", "balance", "5")
        self.synced()
        self.assertEqual(self.pg.psql("select balance from app.accounts where id = 50"), [["5"]])
        wait_for("its letter to go", lambda: "account:50" not in self.letters())
        for i in (51, 150):
            self.cluster.ctl("deadletter", "discard", f"account:{i}", "-y")
        wait_for("the letters to go", lambda: not self.letters())

    def test_show_retry_discard(self):
        self.r.hset("account:300", mapping={"balance": "7000000", "note": "n"})
        self.parked("account:300")
        shown = json.loads(self.cluster.ctl("-o", "json", "deadletter", "show", "account:300").stdout)
        self.assertEqual(shown["sqlstate"], "23514")
        self.assertIn("7000000", json.dumps(shown))
        self.assertIn("account:300", self.cluster.ctl("deadletter", "list").stdout)
        self.assertIn("account:300", self.cluster.ctl("deadletter", "list", "-n", "account", "--limit", "1000").stdout)
        # retry while the cause is there: parks again with a fresh version
        old = shown["ver"]
        self.cluster.ctl("deadletter", "retry", "account:300", "-y")
        wait_for("a later version to park", lambda: self.letters().get("account:300", {}).get("ver", old) > old)
        # the cause is removed
        self.pg.psql("alter table app.accounts drop constraint accounts_balance_check")
        try:
            self.cluster.ctl("deadletter", "retry", "account:300", "-y")
            wait_for("the row", lambda: self.pg.psql("select balance, note from app.accounts where id = 300") == [["7000000", "n"]])
            wait_for("no letter", lambda: "account:300" not in self.letters())
        finally:
            self.pg.psql("update app.accounts set balance = 0 where id = 300")
            self.pg.psql("alter table app.accounts add constraint accounts_balance_check check (balance < 1000000)")
        # discard takes the row as PostgreSQL has it
        self.r.hset("account:301", "balance", "9000000")
        self.parked("account:301")
        self.cluster.ctl("deadletter", "discard", "account:301", "--dry-run")
        self.assertEqual(self.r.hget("account:301", "balance"), b"9000000")
        self.cluster.ctl("deadletter", "discard", "account:301", "-y")
        wait_for("the row as it is", lambda: self.r.hget("account:301", "balance") == b"0")
        wait_for("no letter", lambda: "account:301" not in self.letters())
        # discard of an insert that was refused: the object is gone
        self.r.set("word:new", "poison")
        self.parked("word:new")
        self.cluster.ctl("deadletter", "discard", "word:new", "-y")
        wait_for("the object to go", lambda: self.r.get("word:new") is None)
        self.synced()
        for verb in ("show", "retry", "discard"):
            r = self.cluster.ctl("deadletter", verb, "account:399", *(["-y"] if verb != "show" else []), check=False)
            self.assertEqual(r.returncode, 1, r)
            self.assertIn("there is no such dead letter", r.stderr)

    def test_metric(self):
        self.assertEqual(self.parked_metric(), 0)
        self.r.set("word:metric", "poison")
        self.parked("word:metric")
        wait_for("the metric", lambda: self.parked_metric() == 1)
        self.r.set("word:metric", "fine")
        self.synced()
        self.assertEqual(self.pg.psql("select v from app.checked where id = 'metric'"), [["fine"]])
        wait_for("the metric", lambda: self.parked_metric() == 0)

    def test_level_database_hears_of_it(self):
        self.assertRegex(self.error("SET", "sure:1", "poison"), "^REJECTED 23514 .*version [0-9]+ is parked")
        self.assertTrue(self.r.set("sure:1", "good"))
        self.assertEqual(self.pg.psql("select v from app.sure where id = '1'"), [["good"]])

    def test_fb_sync_hears_of_it(self):
        self.r.set("word:s", "poison")
        self.assertRegex(self.error("FB.SYNC", "word:s", "20000"), "^REJECTED 23514 ")
        self.assertRegex(self.error("FB.SYNC", "word:s", "20000"), "^REJECTED 23514 ")
        self.r.set("word:s", "good")
        self.r.execute_command("FB.SYNC", "word:s", 20000)
        self.assertEqual(self.pg.psql("select v from app.checked where id = 's'"), [["good"]])

    def test_parked_survives_a_restart(self):
        self.r.set("word:restart", "poison")
        self.parked("word:restart")
        for p in self.cluster.nodes:
            p.kill()
            p.start()
        self.cluster.wait_ready()

        def value():
            try:
                return self.r.get("word:restart")
            except redis.ResponseError:
                return None
        wait_for("the parked value", lambda: value() == b"poison")
        self.assertIn("word:restart", self.letters())
        self.r.set("word:restart", "good")
        self.synced()
        self.assertEqual(self.pg.psql("select v from app.checked where id = 'restart'"), [["good"]])
        wait_for("no letter", lambda: "word:restart" not in self.letters())

    def test_broken_table_stops_only_its_namespace(self):
        """A table that is gone is not the rows' fault: nothing parks, others go on, and it drains when it is back."""
        self.pg.psql("alter table app.checked rename to checked2")
        try:
            self.r.hset("account:350", "note", "goes on")
            try:
                self.r.set("word:later", "waits")
            except redis.ResponseError as e:
                self.assertRegex(str(e), "^DBDOWN")
            wait_for("the other namespace", lambda: self.pg.psql("select note from app.accounts where id = 350") == [["goes on"]])
        finally:
            self.pg.psql("alter table app.checked2 rename to checked")

        def again():
            try:
                return self.r.set("word:later", "waits2")
            except redis.ResponseError:
                return False
        wait_for("the namespace to work again", again, 60)
        self.synced()
        self.assertEqual(self.pg.psql("select v from app.checked where id = 'later'"), [["waits2"]])
        self.assertEqual(self.pg.psql("select count(*) from forebay.dead_letter where id = 'later'"), [["0"]])


if __name__ == "__main__":
    base.main()
