"""The files of a tree as the checks see them: whole, without comments, without comments and strings."""
import os
import re
import subprocess
from collections import namedtuple

# What is wrong, where, and what to do: printed as path:line: what; use instead
Finding = namedtuple("Finding", "path line what instead")

# This program and its tests name what they forbid.
SELF = ("tools/tidy", "tools/lib/tidy/", "tests/tidy/")

_TOKEN = re.compile(
    r"""(?P<comment>/\*.*?\*/|//[^\n]*)|(?P<string>"(?:\\.|[^"\\\n])*")|(?P<char>'(?:\\.|[^'\\\n])*')""",
    re.S)


def _blank(text):
    return re.sub(r"[^\n]", " ", text)


def without_comments(text):
    """C text of the same length and lines with its comments blank."""
    return _TOKEN.sub(lambda m: _blank(m[0]) if m["comment"] else m[0], text)


def code_only(text):
    """C text of the same length and lines with comments and the insides of strings blank."""
    def part(m):
        if m["comment"]:
            return _blank(m[0])
        return m[0][0] + _blank(m[0][1:-1]) + m[0][-1]
    return _TOKEN.sub(part, text)


class File:
    """One file. `lines` has no line ends; `folder` is "" at the top level."""

    def __init__(self, root, path):
        self.path = path
        self.folder, self.name = os.path.split(path)
        self.ext = os.path.splitext(path)[1]
        with open(os.path.join(root, path), "rb") as f:
            raw = f.read()
        self.binary = b"\0" in raw
        self.text = raw.decode("utf-8", "replace")
        self.lines = self.text.split("\n")
        self.is_c = self.ext in (".c", ".h")
        self._code = self._bare = None

    @property
    def code(self):
        if self._code is None:
            self._code = code_only(self.text)
        return self._code

    @property
    def bare(self):
        if self._bare is None:
            self._bare = without_comments(self.text)
        return self._bare

    def line_of(self, offset):
        return self.text.count("\n", 0, offset) + 1

    def in_tests(self):
        return self.path.startswith("tests/")

    def is_tidy(self):
        return self.path.startswith(SELF)

    def at(self, line, what, instead):
        return Finding(self.path, line, what, instead)


class Tree:
    """All files of a source tree: what git tracks or would track, or every file when it is not a work tree."""

    def __init__(self, root, build=None):
        self.root = os.path.abspath(root)
        self.build = build
        self.paths = self._git_paths()
        if self.paths is None:
            self.paths = self._walk_paths()
        self.files = [File(self.root, p) for p in self.paths]

    def _git_paths(self):
        if not os.path.exists(os.path.join(self.root, ".git")):
            return None
        r = subprocess.run(
            ["git", "-c", "safe.directory=*", "-C", self.root, "ls-files", "-z",
             "--cached", "--others", "--exclude-standard"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        if r.returncode != 0:
            return None
        paths = {p for p in r.stdout.decode().split("\0") if p}
        return sorted(p for p in paths if os.path.isfile(os.path.join(self.root, p)))

    def _walk_paths(self):
        out = []
        for top, dirs, names in os.walk(self.root):
            dirs[:] = sorted(d for d in dirs if not d.startswith(".") and d not in ("__pycache__", "node_modules"))
            out += [os.path.relpath(os.path.join(top, n), self.root) for n in names]
        return sorted(out)

    def c_files(self):
        return [f for f in self.files if f.is_c]

    def text_files(self):
        return [f for f in self.files if not f.binary]

    def has(self, path):
        return path in self.paths
