"""Mutants: every name of proto/base/mutant.h is asked for by the code of some process."""
import re

from .tree import Finding

LIST = "proto/base/mutant.h"


def check(tree):
    header = next((f for f in tree.c_files() if f.path == LIST), None)
    if header is None:
        return
    names = {m[1]: header.line_of(m.start()) for m in re.finditer(r"\bX\((\w+),", header.text) if m[1] != "name"}
    used = set()
    for f in tree.c_files():
        if f.path == LIST:
            continue
        for m in re.finditer(r"\bFB_MUTANT\((\w+)\)", f.code):
            used.add(m[1])
            if m[1] not in names:
                yield f.at(f.line_of(m.start()), f"mutant {m[1]} is not in the list", f"a line in {LIST}")
    for name, line in names.items():
        if name not in used and name != "none":
            yield Finding(LIST, line, f"mutant {name} is asked for nowhere", f"FB_MUTANT({name}) at a check, or no line")
