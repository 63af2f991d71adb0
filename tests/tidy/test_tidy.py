#!/usr/bin/env python3
"""Goal: each rule of tools/tidy fires on what it forbids and on nothing else.

Method: a small clean tree in a temporary folder; each test changes one thing and compares the findings.
"""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
TIDY = os.path.join(TOP, "tools", "tidy")
sys.path.insert(0, os.path.join(TOP, "tools", "lib"))
from tidy import symbols  # noqa: E402
from tidy.text import guard_of  # noqa: E402


def header(path, body=""):
    g = guard_of(path)
    return f"/* What {path} promises. */\n#ifndef {g}\n#define {g}\n{body}\n#endif\n"


def clean_tree():
    """path -> text of a tree without findings."""
    t = {
        "CMakeLists.txt": "project(x C)\n",
        "README.md": "# x\n",
        "LICENSE": "free\n",
        "proto/base/sources.cmake": "fb_add_library(fb_base SOURCES base/buf.c base/log.c)\n",
        "proto/base/buf.h": header("proto/base/buf.h"),
        "proto/base/buf.c": '/* Buffers of bytes. */\n#include "proto/base/buf.h"\n\n#include <string.h>\n',
        "proto/base/log.c": "/* Lines of text. */\n#include <unistd.h>\n",
        "proto/rt/sources.cmake": "fb_add_library(fb_rt SOURCES rt/rt.c)\n",
        "proto/rt/rt.h": header("proto/rt/rt.h", '#include "proto/base/buf.h"\n'),
        "proto/rt/rt.c": '/* Threads. */\n#include "proto/rt/rt.h"\n\n#include <pthread.h>\n#include <urcu.h>\n',
        "node/core/README.md": "# core\n",
        "node/README.md": "# node\n",
        "node/core/sources.cmake": "foreach(t lane)\n  add(core/${t}.c)\nendforeach()\n",
        "node/core/lane.h": header("node/core/lane.h"),
        "node/core/lane_impl.h": header("node/core/lane_impl.h", '#include "node/core/lane.h"\n'),
        "node/core/lane.c": '/* A lane. */\n#include "node/core/lane_impl.h"\n#include "proto/base/buf.h"\n\n'
                            'int lane(struct lane *l)\n{\n    return l->sleep(1) + snprintf(l->p, 4, "strcpy(");\n}\n',
        "tests/CMakeLists.txt": "fb_add_test(a SOURCES unit/a_test.c)\n",
        "tests/unit/a_test.c": '/* Goal: a. */\n#include "node/core/lane.h"\n#include <cmocka.h>\n\n'
                               'static void t(void)\n{\n    srand(1);\n    if (fork() == 0)\n        usleep(rand());\n}\n',
    }
    return t


class Tidy(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="forebay-tidy-")
        self.addCleanup(shutil.rmtree, self.dir)

    def run_tidy(self, tree, *args):
        for path, text in tree.items():
            full = os.path.join(self.dir, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8", newline="") as f:
                f.write(text)
        r = subprocess.run([sys.executable, TIDY, "--root", self.dir, *args], stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, universal_newlines=True, check=False)
        self.assertIn(r.returncode, (0, 1), r.stderr)
        out = r.stdout.splitlines()
        self.assertEqual(r.returncode, 1 if out else 0)
        for line in out:
            self.assertRegex(line, r"^[^:]+:\d+: .+; use .+ instead$")
        return out

    def changed(self, path, *edits, **more):
        """Findings after edits (old, new) of one file of the clean tree."""
        tree = clean_tree()
        tree.update(more.get("files", {}))
        for old, new in edits:
            self.assertIn(old, tree[path])
            tree[path] = tree[path].replace(old, new, 1)
        return self.run_tidy(tree)

    def one(self, found, start, word):
        self.assertEqual(len(found), 1, found)
        self.assertTrue(found[0].startswith(start), found[0])
        self.assertIn(word, found[0])

    def lane(self, text):
        """Findings after one line put into the body of node/core/lane.c (line 7)."""
        return self.changed("node/core/lane.c", ("    return", f"    {text}\n    return"))

    def test_clean(self):
        self.assertEqual(self.run_tidy(clean_tree()), [])

    @unittest.skipUnless(shutil.which("clang-format-14"), "clang-format-14 is not installed")
    def test_form(self):
        style = {".clang-format": "BasedOnStyle: LLVM\nIndentWidth: 4\nColumnLimit: 100\nBreakBeforeBraces: Linux\n"}
        found = self.changed("node/core/lane.c", ("    return", "  return"), files=style)
        self.one([f for f in found if f.startswith("node/core/lane.c")], "node/core/lane.c:", "not formatted")

    def test_arrows(self):
        core = ("node/core/lane.c", '#include "proto/base/buf.h"')
        found = self.changed(core[0], (core[1], '#include "proto/rt/rt.h"'))
        self.one(found, "node/core/lane.c:3: ", "against the arrows")
        found = self.changed("proto/base/buf.c", ("#include <string.h>", '#include "proto/rt/rt.h"'))
        self.one(found, "proto/base/buf.c:4: ", "against the arrows")
        found = self.changed(core[0], (core[1], '#include "node/core/none.h"'))
        self.one(found, "node/core/lane.c:3: ", "not a header of this tree")

    def test_headers_of_the_store_stay_plain(self):
        store = {"node/store/store.h": header("node/store/store.h", '#include "proto/rt/rt.h"')}
        found = self.run_tidy({**clean_tree(), **store})
        self.one(found, "node/store/store.h:4: ", "against the arrows")

    def test_libraries(self):
        for name in ("nng/nng.h", "urcu.h", "urcu/rculfhash.h", "libpq-fe.h", "uv.h", "microhttpd.h", "jansson.h",
                     "protobuf-c/protobuf-c.h", "forebay.pb-c.h", "cmocka.h", "pthread.h", "unistd.h", "sys/socket.h",
                     "time.h", "stdatomic.h"):
            found = self.changed("node/core/lane.c", ('#include "proto/base/buf.h"', f"#include <{name}>"))
            self.one(found, "node/core/lane.c:3: ", name)
        found = self.changed("proto/rt/rt.c", ("<urcu.h>", "<nng/nng.h>"))
        self.one(found, "proto/rt/rt.c:5: ", "nng")
        self.assertEqual(self.changed("node/core/lane.c", ("/* A lane. */", "/* No <uv.h>\n#include <uv.h>\n */")), [])

    def test_other_tests(self):
        other = {"tests/unit/b/b.h": header("tests/unit/b/b.h")}
        found = self.changed("tests/unit/a_test.c", ('"node/core/lane.h"', '"tests/unit/b/b.h"'), files=other)
        self.one(found, "tests/unit/a_test.c:2: ", "another test")

    def test_calls(self):
        for call in ("strcpy(a, b)", "strcat(a, b)", "sprintf(a, b)", "vsprintf(a, b, c)", "strtok(a, b)", "gets(a)",
                     "system(a)", "popen(a, b)", "rand()", "srand(1)", "sleep (1)", "usleep(1)", "alloca(1)",
                     "atoi(a)", "atol(a)", "fork()"):
            self.one(self.lane(f"x = {call};"), "node/core/lane.c:7: ", call.split("(")[0].strip() + "() is banned")
        self.assertEqual(self.lane("fb_sleep(1), o.system(2), snprintf(a, 1, b); /* fork() */"), [])

    def test_calls_in_tests(self):
        for call in ("sleep(1)", "strcpy(a, b)", "sprintf(a, b)"):
            found = self.changed("tests/unit/a_test.c", ("srand(1)", call))
            self.one(found, "tests/unit/a_test.c:7: ", "is banned")

    def test_guard(self):
        found = self.changed("proto/base/buf.h", ("#ifndef FB_PROTO_BASE_BUF_H_", "#ifndef BUF_H"))
        self.one(found, "proto/base/buf.h:2: ", "FB_PROTO_BASE_BUF_H_")
        found = self.changed("proto/base/buf.h", ("#ifndef FB_PROTO_BASE_BUF_H_\n", "#if 1\n"))
        self.one(found, "proto/base/buf.h:1: ", "no include guard")

    def test_own_header_first(self):
        found = self.changed("proto/base/buf.c", ('#include "proto/base/buf.h"\n', ""),
                             ("#include <string.h>", '#include <string.h>\n#include "proto/base/buf.h"'))
        self.one(found, "proto/base/buf.c:3: ", "the first include is string.h")

    def test_first_comment(self):
        found = self.changed("proto/base/log.c", ("/* Lines of text. */\n", ""))
        self.one(found, "proto/base/log.c:1: ", "responsible")
        found = self.changed("proto/base/log.c", ("/* Lines of text. */", "/* - */"))
        self.one(found, "proto/base/log.c:1: ", "empty")

    def test_lines(self):
        self.one(self.lane("x = 1; " + "y" * 115), "node/core/lane.c:7: ", "126 columns")
        self.assertEqual(self.lane("x = 1; " + "y" * 100), [])
        self.one(self.lane("\tx = 1;"), "node/core/lane.c:7: ", "tab")
        self.one(self.lane("x = 1; "), "node/core/lane.c:7: ", "blanks")
        found = self.changed("proto/base/log.c", ("unistd.h>\n", "unistd.h>"))
        self.one(found, "proto/base/log.c:2: ", "no newline")

    def test_words(self):
        for word in ("TODO", "FIXME", "XXX", "HACK"):
            self.one(self.lane(f"x = 1; /* {word}: later */"), "node/core/lane.c:7: ", word)
            self.one(self.changed("README.md", ("# x", f"# {word}")), "README.md:1: ", word)
        self.assertEqual(self.lane('x = "/tmp/a-XXXXXX"; /* HACKATHON */'), [])

    def test_machine_paths(self):
        for path in ("/home/me/x", "/work/x", "/root/.x", "/Users/me"):
            self.one(self.lane(f'x = "{path}";'), "node/core/lane.c:7: ", "one machine")
        self.assertEqual(self.lane('x = "$root/home/x" "a/work/b" "/worker/";'), [])

    def test_top_level(self):
        self.one(self.run_tidy({**clean_tree(), "Makefile": "all:\n"}), "Makefile:1: ", "top level")
        shutil.rmtree(self.dir)
        self.assertEqual(self.run_tidy({**clean_tree(), ".editorconfig": "root = true\n"}), [])

    def test_readme(self):
        tree = clean_tree()
        del tree["node/core/README.md"]
        self.one(self.run_tidy(tree), "node/core:1: ", "no README.md")

    def test_unlisted(self):
        new = {"node/core/new.c": "/* Something new. */\n"}
        self.one(self.run_tidy({**clean_tree(), **new}), "node/core/new.c:1: ", "no CMake file")
        new["node/core/sources.cmake"] = "# core/new.c\nadd(core/lane.c)\n"
        self.one(self.run_tidy({**clean_tree(), **new}), "node/core/new.c:1: ", "no CMake file")
        new["node/core/sources.cmake"] = "foreach(t lane new)\n  add(core/${t}.c)\nendforeach()\n"
        self.assertEqual(self.run_tidy({**clean_tree(), **new}), [])

    def test_long_file(self):
        tree = clean_tree()
        tree["proto/base/log.c"] += "\n" * 598
        self.assertEqual(self.run_tidy(tree), [])
        tree["proto/base/log.c"] += "\n"
        self.one(self.run_tidy(tree), "proto/base/log.c:601: ", "601 lines")

    def test_long_function(self):
        self.assertEqual(self.lane("x = 1;\n" * 116), [])
        self.one(self.lane("x = 1;\n" * 117), "node/core/lane.c:6: ", "function lane has 121 lines")

    def test_metrics(self):
        bad = {
            'fb_counter_register("forebay_requests", 0, "x");': "does not end in _total",
            'fb_histogram_register("forebay_wait_ms", 0);': "is in ms",
            'fb_gauge_register("forebay_memory_mib", 0);': "is in mib",
            'fb_gauge_emit(out, "forebay_Objects", 0, 1);': "is not a name",
            'fb_counter_register("wait_milliseconds_total", 0, "x");': "is in milliseconds",
            'fb_gauge_register("forebay_rows_count", 0);': "part of a histogram",
            'X("forebay_total_rows");': "total in the middle",
            'fb_histogram_register("forebay_wait_seconds_total", 0);': "histogram",
        }
        for text, word in bad.items():
            self.one(self.lane(text), "node/core/lane.c:7: ", word)
        good = ('fb_counter_register("forebay_requests_total", 0, "x");',
                'fb_counter_register("requests_total", 0, "x");',
                'fb_histogram_register("forebay_wait_seconds", 0);', 'fb_gauge_emit(out, "memory_bytes", 0, 1);')
        for text in good:
            self.assertEqual(self.lane(text), [])

    def test_git_tree(self):
        """Ignored files are not looked at; new ones are, and deleted ones are not missed."""
        tree = clean_tree()
        tree.update({".gitignore": "out/\n", "out/x.c": "strcpy(a, b)\n", "deploy/gone.md": "x\n"})
        self.run_tidy(tree, "--only", "calls")
        git = ["git", "-c", "safe.directory=*", "-c", "user.name=t", "-c", "user.email=t@t", "-C", self.dir]
        subprocess.run(git + ["init", "-q"], check=True)
        subprocess.run(git + ["add", "-A"], check=True)
        del tree["deploy/gone.md"], tree["out/x.c"]
        os.remove(os.path.join(self.dir, "deploy/gone.md"))
        self.assertEqual(self.run_tidy(tree), [])
        self.one(self.run_tidy({"deploy/x.sh": "# TODO\n"}), "deploy/x.sh:1: ", "TODO")

    def test_usage(self):
        for args in (["--root", os.path.join(self.dir, "none")], ["--only", "nothing"], ["--build", "/none"]):
            r = subprocess.run([sys.executable, TIDY, *args], stderr=subprocess.DEVNULL, check=False)
            self.assertEqual(r.returncode, 2)
        r = subprocess.run([sys.executable, TIDY, "--help"], stdout=subprocess.PIPE, universal_newlines=True, check=True)
        self.assertIn("--root", r.stdout)


class Symbols(unittest.TestCase):
    """Archives of one or two objects, compiled here."""

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="forebay-tidy-")
        self.addCleanup(shutil.rmtree, self.dir)

    def archive(self, name, **objects):
        """An archive whose members are name.c.o as CMake makes them."""
        out = []
        for member, text in objects.items():
            src, obj = os.path.join(self.dir, member + ".c"), os.path.join(self.dir, member + ".c.o")
            with open(src, "w", encoding="utf-8") as f:
                f.write(text)
            subprocess.run([os.environ.get("CC", "cc"), "-w", "-O0", "-c", "-o", obj, src], check=True)
            out.append(obj)
        path = os.path.join(self.dir, name)
        subprocess.run(["ar", "rcs", path, *out], check=True)
        return path

    def found(self, path, below=(), prefix=""):
        return [f.what for f in symbols.check_archive(path, "core.a", list(below), prefix)]

    def test_system_calls(self):
        calls = "clock_gettime time getrandom rand pthread_create open read write socket send printf fopen".split()
        for c in calls:
            path = self.archive("core.a", x=f"extern long {c}(); long f(void) {{ return {c}(); }}")
            self.assertEqual(self.found(path), [f"calls {c}"])
            os.remove(path)

    def test_computation(self):
        path = self.archive("core.a", x="""
            extern void *malloc(), *memcpy(), free(); extern int snprintf(), __snprintf_chk();
            int g(void);
            int f(char *p)
            {
                free(memcpy(malloc(1), p, 1));
                return snprintf(p, 1, p) + __snprintf_chk(p) + g();
            }
        """, y="int g(void) { return 1; }")
        self.assertEqual(self.found(path), [])

    def test_below(self):
        base = self.archive("base.a", buf="int fb_buf(void) { return 1; }", clock="int fb_now(void) { return 1; }")
        path = self.archive("core.a", x="int fb_buf(), fb_now(), json_x();"
                                        "int f(void) { return fb_buf() + fb_now() + json_x(); }")
        self.assertEqual(self.found(path, [base], "json_"), ["calls fb_now"])
        self.assertEqual(self.found(path, [base]), ["calls fb_now", "calls json_x"])
        self.assertEqual(self.found(path), ["calls fb_buf", "calls fb_now", "calls json_x"])


if __name__ == "__main__":
    unittest.main()
