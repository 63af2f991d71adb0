"""Layering: which folder may include the headers of which, and where libraries and system headers may appear."""
import re

PROTO = ("proto/base", "proto/wire", "proto/cluster", "proto/coord", "proto/rt", "proto/net")
_PLAIN = ("proto/base", "proto/wire", "proto/cluster")

# folder -> folders whose headers it may include, besides its own. The arrows of the tree:
# base <- wire, cluster <- core <- io <- main; base <- rt <- net, coord <- io.
ARROWS = {
    "proto/base": (),
    "proto/wire": ("proto/base",),
    "proto/cluster": ("proto/base",),
    "proto/rt": ("proto/base",),
    "proto/coord": ("proto/base", "proto/cluster", "proto/rt"),
    "proto/net": ("proto/base", "proto/wire", "proto/rt"),
    "router/resp": _PLAIN,
    "router/core": _PLAIN + ("router/resp",),
    "router/io": PROTO + ("router/resp", "router/core"),
    "router": PROTO + ("router/resp", "router/core", "router/io"),
    "node/store": ("proto/base", "proto/rt"),
    "node/core": _PLAIN + ("node/store",),
    "node/disk": ("proto/base", "proto/wire", "proto/rt"),
    "node/control": ("proto/base", "proto/cluster"),
    "node/io": PROTO + ("node/core", "node/store", "node/disk", "node/control"),
    "node": PROTO + ("node/core", "node/store", "node/disk", "node/control", "node/io"),
    "sync/pg": _PLAIN,
    "sync/core": _PLAIN,
    "sync/io": PROTO + ("sync/core", "sync/pg"),
    "sync": PROTO + ("sync/core", "sync/pg", "sync/io"),
    "tools/ctl": PROTO + ("sync/pg", "node/disk"),
}

# One header that a folder may include although the arrow is missing, with the reason.
FACES = {
    ("sync/core", "sync/pg/pg.h"): "plain structs of batches and outcomes; links nothing of sync/pg",
}

# The partition core includes the headers of the store, so these stay free of the store's libraries.
FACE_HEADERS = {"node/store": ("proto/base",), "sync/pg/pg.h": _PLAIN}

# Libraries: where their headers may be included (a folder, or one file).
LIBRARIES = {
    r"nng/": ("proto/net",),
    r"urcu": ("proto/rt", "node/store"),
    r"libpq-fe\.h": ("sync/pg", "tests/unit/pg"),
    r"uv\.h": ("router/io", "router/main.c"),
    r"microhttpd\.h": ("proto/rt",),
    r"jansson\.h": ("proto/cluster", "proto/coord", "node/io", "sync/io", "sync/pg", "tools/ctl",
                     "tests/unit/rt"),
    r"curl/": ("proto/coord",),
    r"xxhash\.h": ("proto/base",),
    r"protobuf-c/": ("proto/wire",),
    r".*\.pb-c\.h": ("proto/wire",),
    r"cmocka\.h": ("tests",),
}

# Folders whose code is computation only, and the headers of C that need nothing of the system.
PURE = ("proto/base", "proto/wire", "proto/cluster", "router/resp", "router/core", "node/core", "node/control",
        "sync/core")
PURE_HEADERS = frozenset(
    h + ".h" for h in "assert ctype errno float inttypes limits math stdalign stdarg stdbool stddef stdint stdio"
    " stdlib string strings".split())
# The files of proto/base whose responsibility is the system.
PURE_EXCEPT = {
    "proto/base/clock.c": ("time.h",),
    "proto/base/log.c": ("stdatomic.h", "time.h", "unistd.h"),
    "proto/base/random.c": ("sys/random.h",),
    "proto/base/probe.h": ("sys/sdt.h",),
}

_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+([<"])([^>"\n]+)[>"]', re.M)


def includes(f):
    """(line, is_system, name) of each #include."""
    for m in _INCLUDE.finditer(f.bare):
        yield f.line_of(m.start()), m[1] == "<", m[2]


def _within(path, folder):
    return path == folder or path.startswith(folder + "/")


def _library(f, line, name):
    for pattern, where in LIBRARIES.items():
        if re.match(pattern, name):
            if not any(_within(f.path, w) for w in where):
                yield f.at(line, f"<{name}> outside {' and '.join(where)}", f"the functions of {where[0]}")
            return
    if f.folder in PURE and name not in PURE_HEADERS and name not in PURE_EXCEPT.get(f.path, ()):
        yield f.at(line, f"<{name}> in {f.folder}, which is computation only",
                   "an event in and an effect out, done in io/ or proto/rt")


def _project(f, line, name, tree):
    folder = name.rpartition("/")[0]
    if name.endswith(".pb-c.h"):
        yield from _library(f, line, name)
        return
    if not folder or not tree.has(name):
        yield f.at(line, f'"{name}" is not a header of this tree',
                   "the path from the top of the tree, or <> for libraries")
        return
    if f.folder not in ARROWS:
        if not f.in_tests():
            yield f.at(line, f"folder {f.folder or 'top level'} is not in the table of layers",
                       "a folder that is, or a new row in tools/lib/tidy/layers.py")
        elif folder.startswith("tests/") and not _within(f.folder, folder) and folder not in TEST_SHARED:
            yield f.at(line, f'"{name}" belongs to another test', "a header of a folder above, or of tests/unit/pg or crash")
        return
    allowed = ARROWS[f.folder]
    if f.ext == ".h":
        allowed = FACE_HEADERS.get(f.path, FACE_HEADERS.get(f.folder, allowed))
    if folder != f.folder and folder not in allowed and (f.folder, name) not in FACES:
        yield f.at(line, f'"{name}" is against the arrows: {f.folder} may not know {folder}',
                   "a header of " + (", ".join(allowed) if allowed else "its own folder"))


# Helpers of tests that other tests may use: a real PostgreSQL.
TEST_SHARED = ("tests/unit/pg", "tests/unit/crash")


def check(tree):
    for f in tree.c_files():
        if f.folder == "proto/schema":
            continue
        for line, system, name in includes(f):
            yield from _library(f, line, name) if system else _project(f, line, name, tree)
