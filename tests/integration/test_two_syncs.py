"""Two sync processes: one paused or killed in the middle of load; nothing is applied twice or out of order."""

import signal
import subprocess

import base
from base import ClusterTest, wait_for
from load import AUDIT, Writers, check_history


class TwoSyncs(ClusterTest):
    settings = {"nodes": 2, "syncs": 2}
    config = """
[cluster]
replicas = 0
partitions = 16
[namespace load]
sync_interval = 50ms
[namespace other]
sync_interval = 50ms
"""

    def setUp(self):
        self.pg.script("drop table if exists audit cascade; drop function if exists audit cascade;")
        self.pg.script(AUDIT)

    def writing(self, writers, count=200):
        """Load goes on, and what was acknowledged at the end of it gets to PostgreSQL whoever is away."""
        goal = writers.writes + count
        wait_for("writes", lambda: writers.failure or writers.writes >= goal)
        want = dict(writers.acked)

        def arrived():
            have = {f"{ns}:{id}": int(v) for ns, id, v in self.pg.psql(
                "select ns, id, convert_from(value, 'utf8') from forebay.objects")}
            return all(have.get(k, 0) >= n for k, n in want.items())
        wait_for("every feed to move", arrived, 60)

    def finish(self, writers):
        writers.stop()
        self.synced()
        check_history(self, self.cluster, [writers])
        self.assertEqual(writers.errors, {}, writers.texts)
        self.assertEqual(self.pg.psql("select count(*) from forebay.dead_letter"), [["0"]])

    def test_paused_and_resumed(self):
        writers = Writers(self.cluster).start()
        try:
            self.writing(writers)
            p = self.cluster.syncs[0]
            p.popen.send_signal(signal.SIGSTOP)
            try:
                self.writing(writers)
            finally:
                p.popen.send_signal(signal.SIGCONT)
            self.writing(writers)
        finally:
            writers.stop()
        self.finish(writers)

    def test_paused_inside_a_transaction(self):
        """The paused process holds the locks of a transaction until PostgreSQL ends it; then the fence decides."""
        writers = Writers(self.cluster, prefix="other").start()
        paused = blocker = None
        try:
            self.writing(writers)
            # a lock of somebody else's stops one of them in the middle of its transaction
            blocker = subprocess.Popen(["psql", "-X", "-q", "-d", self.pg.conninfo], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                       text=True)
            blocker.stdin.write("begin; select 1 from forebay.objects where ns = 'other' for update;\n")
            blocker.stdin.flush()
            name = wait_for("a process that waits for the lock", lambda: self.pg.psql(
                "select application_name from pg_stat_activity where wait_event_type = 'Lock' and application_name like 'forebay%'"))[0][0]
            paused = next(p for p in self.cluster.syncs if p.name in name)
            paused.popen.send_signal(signal.SIGSTOP)
            blocker.communicate("rollback;\n", timeout=30)
            wait_for("its transaction to stay open", lambda: self.pg.psql(
                f"select 1 from pg_stat_activity where state like 'idle in transaction%' and application_name = '{name}'"))
            self.writing(writers)
            paused.popen.send_signal(signal.SIGCONT)
            self.writing(writers)
        finally:
            if paused:
                paused.popen.send_signal(signal.SIGCONT)
            if blocker and blocker.poll() is None:
                blocker.kill()
            writers.stop()
        self.finish(writers)

    def test_killed(self):
        writers = Writers(self.cluster).start()
        try:
            self.writing(writers)
            for p in self.cluster.syncs:
                p.kill()
                self.writing(writers)
                p.start()
                wait_for("it to be ready", p.ready)
        finally:
            writers.stop()
        self.finish(writers)

    def test_none_for_a_while(self):
        """Without any sync process resident objects go on; misses say so; all of it drains afterwards."""
        self.r.set("other:warm", "1")
        self.synced()
        self.pg.script("truncate audit")
        for p in self.cluster.syncs:
            p.stop()
        writers = None
        try:
            for i in range(200):
                self.r.set("other:warm", i + 2)
            self.assertEqual(self.r.get("other:warm"), b"201")
            self.assertRegex(self.error("GET", "other:never-seen"), "^DBDOWN ")
            writers = Writers(self.cluster, threads=2).start()
            wait_for("writes", lambda: writers.failure or writers.writes > 200)
        finally:
            for p in self.cluster.syncs:
                p.start()
            if writers:
                writers.stop()
        self.cluster.wait_ready()
        self.finish(writers)
        self.assertEqual(self.pg.psql("select convert_from(value, 'utf8') from forebay.objects where id = 'warm'"), [["201"]])


if __name__ == "__main__":
    base.main()
