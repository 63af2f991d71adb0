"""Form of files: guards, first lines, own header first, line length, blanks, leftover words, paths of one machine."""
import re

from .layers import includes

COLUMNS_MAX = 120
# Words that promise work instead of doing it.
WORDS = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
# A folder of one developer's machine; not the middle of a longer path.
MACHINE = re.compile(r"(?<![\w.$})/-])/(home|work|root|Users)/")

_CODE = (".c", ".h", ".py", ".sh", ".cmake", ".proto", ".sql")


def guard_of(path):
    return "FB_" + re.sub(r"[^A-Za-z0-9]", "_", path).upper() + "_"


def _guard(f):
    want = guard_of(f.path)
    m = re.search(r"^[ \t]*#[ \t]*ifndef[ \t]+(\w+)[ \t]*\n[ \t]*#[ \t]*define[ \t]+(\w+)[ \t]*$", f.bare, re.M)
    first = re.search(r"^[ \t]*#", f.bare, re.M)
    if f.path == "tests/unit/cmocka.h" and re.search(r"^#pragma once", f.bare, re.M):
        return
    if not m or not first or first.start() != m.start():
        yield f.at(1, "no include guard around the header", f"#ifndef {want} and #define {want}")
    elif m[1] != want or m[2] != want:
        yield f.at(f.line_of(m.start()), f"include guard {m[1]}", want)


def _first_comment(f):
    first = f.lines[0] if f.lines else ""
    body = re.sub(r"^(/\*+|//|#!?)\s*", "", first)
    if not first.startswith(("/*", "//")):
        yield f.at(1, "the first line does not say what the file is responsible for", "a comment of one sentence")
    elif len(re.sub(r"[^A-Za-z]", "", body)) < 4:
        yield f.at(1, "the first comment line is empty", "one sentence on what the file is responsible for")


def _own_header_first(f, tree):
    own = f.path[:-2] + ".h"
    if not tree.has(own):
        return
    for line, system, name in includes(f):
        if not system and name == own:
            return
        header = next((h for h in tree.c_files() if h.path == name), None)
        # an inner header of the same folder stands for the own one when it begins with it
        if header and header.folder == f.folder and any(n == own for _, _, n in includes(header)):
            return
        yield f.at(line, f"the first include is {name}", f'"{own}", so that it proves to stand alone')
        return


def _lines(f):
    for i, line in enumerate(f.lines, 1):
        if line != line.rstrip():
            yield f.at(i, "blanks at the end of the line", "none")
        if f.ext in _CODE:
            if "\t" in line:
                yield f.at(i, "a tab", "4 spaces")
            columns = len(re.sub(r"\s*\\$", "", line))  # the \ of a long table is not content
            if f.is_c and columns > COLUMNS_MAX:
                yield f.at(i, f"{columns} columns", f"at most {COLUMNS_MAX} (clang-format wraps at 100)")
    if f.text and not f.text.endswith("\n"):
        yield f.at(len(f.lines), "no newline at the end of the file", "one")


def _words(f):
    if f.is_tidy():
        return
    for i, line in enumerate(f.lines, 1):
        m = WORDS.search(line)
        if m:
            yield f.at(i, f"the word {m[1]}", "the work itself, or an issue")
        m = MACHINE.search(line)
        if m:
            yield f.at(i, f"a path of one machine, /{m[1]}/", "a path relative to the tree, or a temporary folder")


def check(tree):
    for f in tree.text_files():
        if f.path.startswith("tests/fuzz/corpus/"):
            continue
        if f.is_c:
            yield from _first_comment(f)
        if f.ext == ".h":
            yield from _guard(f)
        if f.ext == ".c":
            yield from _own_header_first(f, tree)
        if f.ext != ".md" and f.name != "LICENSE":
            yield from _lines(f)
        yield from _words(f)
