"""Undefined symbols of the archives without I/O: only what is below them and computes may be called."""
import os
import re
import subprocess

from .tree import Finding

# archive -> (folder in the build tree, archives of ours it may call, symbols of libraries it may call)
ARCHIVES = {
    "librouter_resp.a": ("router", ("libfb_wire.a", "libfb_cluster.a", "libfb_base.a"), ""),
    "librouter_core.a": ("router", ("librouter_resp.a", "libfb_wire.a", "libfb_cluster.a", "libfb_base.a"), ""),
    "libnode_core.a": ("node", ("libnode_store.a", "libfb_wire.a", "libfb_cluster.a", "libfb_base.a"), ""),
    "libnode_control.a": ("node", ("libfb_cluster.a", "libfb_base.a"), ""),
    "libsync_core.a": ("sync", ("libfb_wire.a", "libfb_cluster.a", "libfb_base.a"), ""),
    "libfb_wire.a": ("proto", ("libfb_messages.a", "libfb_base.a"), "protobuf_c_"),
    "libfb_cluster.a": ("proto", ("libfb_base.a",), "json_"),
}
# Objects of proto/base that are the system: not for the archives above.
SYSTEM_OBJECTS = ("clock.c.o", "random.c.o", "log.c.o")
# Functions of those objects, or of the C library, that nevertheless only compute.
COMPUTE = frozenset("""
    memchr memcmp memcpy memmove memset memmem memrchr mempcpy
    strchr strrchr strchrnul strcmp strncmp strcasecmp strncasecmp strlen strnlen strspn strcspn strstr strpbrk strdup
    strndup strtod strtof strtold strtol strtoll strtoul strtoull bcmp bsearch qsort qsort_r abs labs llabs
    tolower toupper isalpha isdigit isalnum isspace isxdigit isupper islower isprint ispunct
    snprintf vsnprintf malloc calloc realloc free aligned_alloc posix_memalign reallocarray abort
    floor ceil trunc round rint nearbyint lround llround llrint lrint fmod pow exp exp2 log log2 log10 sqrt fabs fabsl
    floorl ceill truncl roundl fmodl powl frexp ldexp modf isinf isnan signbit finite finitel copysign
""".split())
# What compilers and instrumentation add.
_RUNTIME = re.compile(
    r"__(asan|ubsan|tsan|msan|sanitizer|gcov|llvm|stack_chk|errno_location|ctype_|popcount|clz|ctz|mulo|u?mod|u?div"
    r"|mul[tx]|float|fix|assert_fail|isoc|fpclassify|isinf|isnan|signbit|finite)\w*|_GLOBAL_OFFSET_TABLE_"
    r"|llvm_gc(ov|da)_\w+")


def _nm(path, *flags):
    r = subprocess.run(["nm", "-A", *flags, path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                       check=True, universal_newlines=True)
    for line in r.stdout.splitlines():
        where, _, rest = line.partition(": ")
        words = (rest or where).split()
        if len(words) < 2:
            continue
        member = re.split(r":", where.split()[0])[1] if ":" in where else "?"
        yield member, words[-2], words[-1]


def defined(path):
    """Symbols that an archive gives to others, without those of the system's objects."""
    return {name for member, kind, name in _nm(path, "--defined-only", "-g") if member not in SYSTEM_OBJECTS}


def undefined(path):
    return sorted({(member, name) for member, kind, name in _nm(path, "--undefined-only") if kind in "Uw"})


def plain(name):
    """The function behind a checked or versioned form: __memcpy_chk and __isoc99_sscanf."""
    m = re.fullmatch(r"__(?:isoc\d\d_)?(\w+?)(?:_chk)?", name)
    return m[1] if m else name


def check_archive(path, own, below, prefix=""):
    """Findings for one archive; `below` are archives whose functions it may call."""
    known = set()
    for a in below:
        if os.path.exists(a):
            known |= defined(a)
    known |= {n for _, _, n in _nm(path, "--defined-only", "-g")}
    for member, name in undefined(path):
        if name in known or plain(name) in COMPUTE or _RUNTIME.fullmatch(name) or (prefix and name.startswith(prefix)):
            continue
        yield Finding(f"{own}({member})", 1, f"calls {name}", "an event in and an effect out, done in io/ or proto/rt")


def check(tree):
    if not tree.build:
        return
    for name, (folder, below, prefix) in ARCHIVES.items():
        path = os.path.join(tree.build, folder, name)
        if not os.path.exists(path):
            yield Finding(path, 1, "the archive is missing", "a complete build")
            continue
        where = {a: ARCHIVES[a][0] for a in ARCHIVES}
        where.update({"libfb_base.a": "proto", "libfb_messages.a": "proto", "libnode_store.a": "node"})
        yield from check_archive(path, name, [os.path.join(tree.build, where[a], a) for a in below], prefix)
