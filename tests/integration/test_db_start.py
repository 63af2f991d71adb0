"""A PostgreSQL that cannot be used stops forebay-sync at its start with one line that says what to do."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import unittest

import base

PG_SERVER = os.path.join(base.ROOT, "tests", "integration", "pg_server")


class DbStart(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="fb-", dir="/tmp")
        os.chmod(cls.dir, 0o755)
        cls.pg_dir = os.path.join(cls.dir, "pg")
        cls.start_pg()
        cls.sql("create role weak login; create role app login password 'the-secret'; create database other; "
                "create database closed; revoke connect on database closed from public; "
                "create database latin encoding 'LATIN1' locale 'C' template template0")
        hba = os.path.join(cls.pg_dir, "data", "pg_hba.conf")
        with open(hba) as f:
            rest = f.read()
        with open(hba, "w") as f:
            f.write("local all app scram-sha-256\n" + rest)
        cls.sql("select pg_reload_conf()")

    @classmethod
    def tearDownClass(cls):
        subprocess.run([PG_SERVER, "stop", cls.pg_dir, "immediate"], check=False)
        shutil.rmtree(cls.dir, ignore_errors=True)

    @classmethod
    def start_pg(cls):
        subprocess.run([PG_SERVER, "start", cls.pg_dir], check=True, stdout=subprocess.DEVNULL)

    @classmethod
    def sql(cls, text, db="forebay"):
        for part in text.split("; "):
            subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", cls.pg_dir, "-U", "postgres", "-d", db,
                            "-c", part], check=True, stdout=subprocess.DEVNULL)

    def info(self, **fields):
        return " ".join(f"{k}={v}" for k, v in {"host": self.pg_dir, "port": 5432, "dbname": "forebay", "user": "postgres",
                                                **fields}.items())

    def setup_schema(self):
        r = subprocess.run([os.path.join(base.BIN, "forebayctl"), "db", "setup", "-y"], stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, env={**os.environ, "FOREBAY_PG": self.info()})
        self.assertEqual(r.returncode, 0, r.stdout)

    def spawn(self, conninfo):
        path = os.path.join(self.dir, "conninfo")
        with open(path, "w") as f:
            f.write(conninfo + "\n")
        os.chmod(path, 0o600)
        coord = os.path.join(self.dir, "coord")
        os.makedirs(coord, exist_ok=True)
        return subprocess.Popen([os.path.join(base.BIN, "forebay-sync"), "--process.name=s", f"--process.coordinator=file://{coord}",
                                 f"--sync.conninfo_file={path}", "--admin.listen=127.0.0.1:0"], stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True)

    def refused(self, conninfo, pattern):
        """Exits with 1 and exactly one line."""
        p = self.spawn(conninfo)
        out, _ = p.communicate(timeout=30)
        self.assertEqual(p.returncode, 1, out)
        self.assertEqual(len(out.strip().splitlines()), 1, out)
        self.assertRegex(out, "^forebay-sync: ")
        self.assertRegex(out, pattern)
        self.assertNotIn("LOCATION", out)
        self.assertNotRegex(out, "-secret")
        return out

    def test_connection(self):
        self.refused(self.info(user="app", password="wrong-secret"),
                     'password authentication failed for user "app"; correct user or password in conninfo_file')
        self.refused(self.info(user="app"), "no password supplied; correct user or password")
        self.refused(self.info(user="nobody"), 'role "nobody" does not exist; correct user')
        self.refused(self.info(dbname="none"), 'database "none" does not exist; create the database')
        self.refused(self.info(dbname="closed", user="weak"), "permission denied .*; grant connect on the database")
        self.refused(self.info(dbname="latin"), "encoding is LATIN1: Forebay needs UTF8")
        self.refused("no conninfo at all", "conninfo cannot be read: write it as host=")

    def test_schema(self):
        self.refused(self.info(dbname="other"), "forebay.objects does not exist; run: forebayctl db setup")
        self.setup_schema()
        self.refused(self.info(user="weak"), "rights are missing; as its owner run: grant usage on schema forebay")
        self.sql("grant usage on schema forebay to weak; grant select on all tables in schema forebay to weak")
        self.refused(self.info(user="weak"), "rights are missing; .*insert, update, delete on forebay.objects")

    def test_away_waits(self):
        self.setup_schema()
        subprocess.run([PG_SERVER, "stop", self.pg_dir, "immediate"], check=True)
        try:
            p = self.spawn(self.info())
            end = threading.Timer(30, p.kill)
            end.start()
            said = []
            for line in p.stdout:
                said.append(line)
                if "no cluster there yet, waiting" in line:  # what is behind the look at PostgreSQL
                    break
            end.cancel()
            self.assertIsNone(p.poll(), said)
            p.send_signal(signal.SIGTERM)
            out, _ = p.communicate(timeout=30)
            self.assertEqual(p.returncode, 0, said + [out])
        finally:
            self.start_pg()

    def ctl(self, *args, **fields):
        r = subprocess.run([os.path.join(base.BIN, "forebayctl"), "db", *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           text=True, env={**os.environ, "FOREBAY_PG": self.info(**fields)})
        self.assertNotEqual(r.returncode, 0, r.stdout)
        self.assertNotIn("LOCATION", r.stdout)
        return r.stdout

    def test_forebayctl(self):
        self.assertRegex(self.ctl("setup", "-y", user="app", password="wrong-secret"), "password authentication failed.*correct user")
        self.assertRegex(self.ctl("setup", "-y", dbname="none"), "create the database or correct dbname")
        self.assertTrue(re.search("permission denied for database", self.ctl("setup", "-y", dbname="other", user="weak")))


if __name__ == "__main__":
    base.main()
