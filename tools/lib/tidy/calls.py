"""Banned calls, each with its replacement."""
import re

# name -> (replacement, allowed in tests). Tests may start processes, poll with short pauses and use a seeded rand().
BANNED = {
    "strcpy": ("snprintf, or memcpy of a known length", False),
    "strcat": ("snprintf at the end, or fb_buf_printf", False),
    "sprintf": ("snprintf", False),
    "vsprintf": ("vsnprintf", False),
    "strtok": ("strcspn and a view", False),
    "gets": ("fgets", False),
    "alloca": ("a fixed array of the limit in proto/base/bounds.h, or fb_xmalloc", False),
    "sleep": ("a condition with a deadline", False),
    "usleep": ("a condition with a deadline, or nanosleep where only time can help", True),
    "system": ("posix_spawn", True),
    "popen": ("posix_spawn", True),
    "rand": ("fb_random in io/, a number of the event in core/", True),
    "srand": ("fb_random in io/, a seed of the event in core/", True),
    "atoi": ("fb_parse_i64", True),
    "atol": ("fb_parse_i64", True),
    "fork": ("posix_spawn; threads run already", True),
}

# (path, call) -> reason
EXCEPT = {
    ("tests/sim/main.c", "fork"): "a process for each seed, from a process with one thread",
}

_CALL = re.compile(r"(?<![\w.>])(" + "|".join(BANNED) + r")\s*\(")


def check(tree):
    for f in tree.c_files():
        for m in _CALL.finditer(f.code):
            instead, tests_may = BANNED[m[1]]
            if not (tests_may and f.in_tests()) and (f.path, m[1]) not in EXCEPT:
                yield f.at(f.line_of(m.start()), f"{m[1]}() is banned", instead)
