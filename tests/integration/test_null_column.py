"""A row whose value column is NULL: no value for readers, a row to update for writers."""

import base
from base import ClusterTest

TABLES = """
create schema app;
create table app.notes (id text primary key, v text, owner text not null);
insert into app.notes select 'n' || g, null, 'me' from generate_series(1, 9) g;
create table app.kept (id text primary key, v text, owner text not null);
insert into app.kept values ('k', 'value', 'me');
"""

CONFIG = """[cluster]
replicas = 0
[namespace notes]
table = app.notes
key = id
value = column:v
sync_interval = 100ms
on_delete = delete
[namespace kept]
table = app.kept
key = id
value = column:v
sync_interval = 100ms
on_delete = null:v
"""


class NullColumn(ClusterTest):
    config = CONFIG
    tables = TABLES

    def row(self, table, id):
        return self.pg.psql(f"select coalesce(v, '<null>'), owner from app.{table} where id = '{id}'")

    def test_read_then_write(self):
        self.assertIsNone(self.r.get("notes:n1"))
        self.assertEqual(self.r.exists("notes:n1"), 0)
        self.assertEqual(self.r.delete("notes:n1"), 0)
        self.r.set("notes:n1", "now")
        self.synced()
        self.assertEqual(self.row("notes", "n1"), [["now", "me"]])

    def test_write_at_once(self):
        self.r.set("notes:n2", "first")
        self.assertEqual(self.r.append("notes:n3", "x"), 1)
        self.assertEqual(self.r.incr("notes:n4"), 1)
        self.assertTrue(self.r.set("notes:n5", "nx", nx=True))
        self.assertIsNone(self.r.set("notes:n6", "xx", xx=True))
        self.synced()
        self.assertEqual([self.row("notes", f"n{i}")[0][0] for i in range(2, 7)], ["first", "x", "1", "nx", "<null>"])

    def test_changed_meanwhile(self):
        self.assertIsNone(self.r.get("notes:n7"))
        self.pg.psql("update app.notes set owner = 'you' where id = 'n7'")
        self.r.set("notes:n7", "mine")
        self.synced()
        self.assertEqual(self.row("notes", "n7"), [["mine", "you"]])

    def test_delete_sets_null(self):
        self.assertEqual(self.r.get("kept:k"), b"value")
        self.assertEqual(self.r.delete("kept:k"), 1)
        self.synced()
        self.assertEqual(self.row("kept", "k"), [["<null>", "me"]])
        self.assertIsNone(self.r.get("kept:k"))
        self.r.set("kept:k", "again")
        self.synced()
        self.assertEqual(self.row("kept", "k"), [["again", "me"]])


if __name__ == "__main__":
    base.main()
