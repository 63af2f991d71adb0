"""Writers for the tests that kill, stop and pause things: each knows what it was promised."""

import threading
import time

import redis

from base import connect

AUDIT = """
create table audit (n bigserial primary key, ns text, id text, version bigint, value text, op text);
create function audit() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' then
        insert into audit (ns, id, version, op) values (old.ns, old.id, old.version, tg_op);
        return old;
    end if;
    insert into audit (ns, id, version, value, op) values (new.ns, new.id, new.version, convert_from(new.value, 'utf8'), tg_op);
    return new;
end $$;
create trigger audit after insert or update or delete on forebay.objects for each row execute function audit();
"""


class Writers:
    """`threads` clients; each writes growing numbers to its own keys, and remembers the last acknowledged one."""

    def __init__(self, cluster, threads=4, keys=20, prefix="load", require=None, router=0, timeout=20):
        self.cluster, self.keys, self.prefix, self.require, self.router = cluster, keys, prefix, require, router
        self.timeout = timeout
        self.acked = {}        # key -> highest number that was acknowledged
        self.tried = {}        # key -> highest number that was sent
        self.errors = {}       # first word of the error -> count
        self.texts = set()
        self.writes = 0
        self.slowest = 0.0
        self.stopping = threading.Event()
        self.failure = None
        self.threads = [threading.Thread(target=self._run, args=(t,), daemon=True) for t in range(threads)]

    def start(self):
        for t in self.threads:
            t.start()
        return self

    def stop(self):
        self.stopping.set()
        for t in self.threads:
            t.join(self.timeout + 30)
            assert not t.is_alive(), "a writer hangs"
        if self.failure:
            raise self.failure

    def _open(self):
        r = connect(self.cluster, self.router, socket_timeout=self.timeout, single_connection_client=True)
        if self.require:
            r.execute_command("FB.REQUIRE", self.require)
        return r

    def _count(self, e):
        text = str(e).split(" of pipeline caused error: ")[-1]
        word = text.split(" ")[0] if isinstance(e, redis.ResponseError) else type(e).__name__
        self.errors[word] = self.errors.get(word, 0) + 1
        self.texts.add(text)

    def _run(self, number):
        try:
            r, n = None, 0
            while not self.stopping.is_set():
                n += 1
                key = f"{self.prefix}:{number}-{n % self.keys}"
                started = time.monotonic()
                self.tried[key] = n
                try:
                    if r is None:
                        r = self._open()
                    if n % 3 == 0:
                        p = r.pipeline(transaction=False)
                        p.set(key, n - 1).set(key, n)
                        p.execute()
                    else:
                        r.set(key, n)
                except (redis.ConnectionError, redis.TimeoutError) as e:
                    self._count(e)
                    if r is not None:
                        r.close()
                    r = None
                    self.stopping.wait(0.02)
                    continue
                except redis.ResponseError as e:
                    self._count(e)
                    self.stopping.wait(0.02)
                    continue
                self.acked[key] = n
                self.writes += 1
                self.slowest = max(self.slowest, time.monotonic() - started)
        except BaseException as e:  # noqa: B036
            self.failure = e


def check_history(test, cluster, writers):
    """What P3 promises, from the audit trigger: versions of an object strictly increase, nothing twice, the last is the
    last acknowledged or a later attempt; values never go back."""
    last, versions, wrong = {}, {}, []
    for ns, id, version, value, op in cluster.pg.psql("select ns, id, version, value, op from audit order by n"):
        if op == "DELETE":
            wrong.append(f"{ns}:{id} deleted")
            continue
        key = f"{ns}:{id}"
        if int(version) <= versions.get(key, 0):
            wrong.append(f"{key}: version {version} after {versions[key]}")
        if int(value) < last.get(key, 0):
            wrong.append(f"{key}: value {value} after {last[key]}")
        versions[key], last[key] = int(version), int(value)
    test.assertEqual(wrong[:10], [])
    for w in writers:
        for key, n in w.acked.items():
            if not n <= last.get(key, 0) <= w.tried[key]:
                wrong.append(f"{key}: acknowledged {n}, sent {w.tried[key]}, in PostgreSQL {last.get(key)}")
    test.assertEqual(wrong[:10], [])
    # what a client reads now is what PostgreSQL has
    r = connect(cluster)
    keys = sorted(last)
    for i in range(0, len(keys), 100):
        part = keys[i:i + 100]
        for key, value in zip(part, r.mget(part)):
            if value is None or int(value) != last[key]:
                wrong.append(f"{key}: cache {value}, PostgreSQL {last[key]}")
    test.assertEqual(wrong[:10], [])
