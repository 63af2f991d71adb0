"""Shape of the tree: the top level, READMEs, and that CMake knows every C file."""
import os
import re

from .tree import Finding

TOP_LEVEL = ("CMakeLists.txt", "README.md", "LICENSE", "node", "router", "proto", "sync", "tests", "deploy", "tools")
# Processes and their cores say purpose, threads, states and rules of access.
README = ("router", "router/core", "node", "node/core", "sync", "sync/core")


def _top(tree):
    for name in sorted({p.split("/")[0] for p in tree.paths}):
        if name not in TOP_LEVEL and not name.startswith("."):
            yield Finding(name, 1, "a new name at the top level, which is fixed", "a folder below " + ", ".join(
                t for t in TOP_LEVEL if "." not in t and t != "LICENSE"))


def _readme(tree):
    for folder in README:
        if any(f.folder == folder and f.is_c for f in tree.files) or \
                (any(f.path.startswith(folder + "/") for f in tree.files) and "/" not in folder):
            if not tree.has(folder + "/README.md"):
                yield Finding(folder, 1, "no README.md", "one that says purpose, threads, states, rules of access")


def _expand(text):
    """CMake text with comments gone and each foreach over plain words written out."""
    text = re.sub(r"#[^\n]*", "", text)
    def unroll(m):
        var, *words = m[1].split()
        if words[:1] == ["IN"]:
            words = [w for w in words[1:] if w not in ("LISTS", "ITEMS")]
        return "\n".join(m[2].replace("${%s}" % var, w) for w in words)
    return re.sub(r"foreach\(([^)]*)\)(.*?)endforeach\(\)", unroll, text, flags=re.S)


def listed(tree):
    """Paths of the C files that some CMake file names. A list may be included from a folder above its own."""
    out = set()
    for f in tree.files:
        if f.name != "CMakeLists.txt" and f.ext != ".cmake":
            continue
        for token in re.findall(r"(?:\$\{\w+\}/)?[\w./+-]+\.c\b", _expand(f.text)):
            token = re.sub(r"^\$\{\w+\}/", "", token)
            folder = f.folder
            while True:
                out.add(os.path.normpath(os.path.join(folder, token)))
                if not folder:
                    break
                folder = os.path.dirname(folder)
    return out


def _unlisted(tree):
    known = listed(tree)
    for f in tree.files:
        if f.ext == ".c" and f.path not in known:
            yield f.at(1, "no CMake file lists it", "a line in the folder's sources.cmake, or delete it")


def check(tree):
    yield from _top(tree)
    yield from _readme(tree)
    yield from _unlisted(tree)
