"""Two mapped tables, one referring to the other: nothing is parked, in whatever order clients write."""

import base
from base import ClusterTest

COUNT = 400

TABLES = """
create schema app;
create table app.parent (id int primary key, name text not null);
create table app.child (id int primary key, parent int not null references app.parent, n int);
"""

CONFIG = """[cluster]
replicas = 0
[namespace child]
table = app.child
key = id
value = row
on_delete = delete
sync_interval = 300ms
[namespace parent]
table = app.parent
key = id
value = row
on_delete = delete
sync_interval = 300ms
"""


class ForeignKey(ClusterTest):
    settings = {"nodes": 2, "syncs": 1}
    config = CONFIG
    tables = TABLES

    def counts(self):
        return self.pg.psql("select (select count(*) from app.parent), (select count(*) from app.child)")

    def test_any_order(self):
        for id in range(COUNT):  # the child first, although its parent does not exist yet
            self.r.hset(f"child:{id}", mapping={"parent": id, "n": 1})
            self.r.hset(f"parent:{id}", "name", f"p{id}")
        self.synced()
        self.assertEqual(self.counts(), [[str(COUNT), str(COUNT)]])
        for id in range(0, COUNT, 2):  # to a parent that is made with it
            self.r.hset(f"child:{id}", "parent", COUNT + id)
            self.r.hset(f"parent:{COUNT + id}", "name", "new")
        self.synced()
        self.assertEqual(self.pg.psql(f"select count(*) from app.child where parent >= {COUNT}"), [[str(COUNT // 2)]])
        for id in range(COUNT):  # the parent first, although it still has a child
            self.r.delete(f"parent:{id}")
            self.r.delete(f"child:{id}")
        self.synced()
        self.assertEqual(self.counts(), [[str(COUNT // 2), "0"]])
        self.assertEqual(self.cluster.ctl_json("deadletter", "list"), [])


if __name__ == "__main__":
    base.main()
