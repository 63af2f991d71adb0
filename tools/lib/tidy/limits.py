"""Sizes: long files and long functions are findings unless they are listed here with the reason."""
import re

from .tree import Finding

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 120

# path -> reason. An entry that is no longer needed is a finding too.
LONG_FILES = {
    "tests/unit/node/control_sim.c": "one small world: its coordinator, logs, nodes and the checks over all of them",
}
# (path, function) -> reason
LONG_FUNCTIONS = {
}

_CODE = (".c", ".h", ".py", ".sh")


def functions(f):
    """(name, first line, lines) of each function: its brace stands alone in the first column."""
    code = f.code.split("\n")
    start = None
    for i, line in enumerate(code):
        if line.rstrip() == "{":
            start = i
        elif line.startswith("}") and start is not None:
            head = start
            while head > 0 and code[head - 1].strip() and not code[head - 1].startswith(("}", "#")):
                head -= 1
            m = re.search(r"(\w+)\s*\(", "\n".join(code[head:start]))
            yield (m[1] if m else "?"), start + 1, i - start + 1
            start = None


def check(tree):
    needed_files, needed_functions = set(), set()
    for f in tree.text_files():
        n = f.text.count("\n")
        if f.ext in _CODE and n > FILE_LINES_MAX:
            needed_files.add(f.path)
            if f.path not in LONG_FILES:
                yield f.at(FILE_LINES_MAX + 1, f"{n} lines", "two files, cut by cause; or a reason in LONG_FILES")
        if f.is_c:
            for name, line, n in functions(f):
                if n > FUNCTION_LINES_MAX:
                    needed_functions.add((f.path, name))
                    if (f.path, name) not in LONG_FUNCTIONS:
                        yield f.at(line, f"function {name} has {n} lines",
                                   "smaller ones; or a reason in LONG_FUNCTIONS")
    for path in LONG_FILES:
        if tree.has(path) and path not in needed_files:
            yield Finding(path, 1, "is not long any more", "no entry in LONG_FILES")
    for path, name in LONG_FUNCTIONS:
        if tree.has(path) and (path, name) not in needed_functions:
            yield Finding(path, 1, f"function {name} is not long any more", "no entry in LONG_FUNCTIONS")
