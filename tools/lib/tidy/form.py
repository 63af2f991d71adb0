"""Form of C files: what clang-format 14 (pinned, Debian 12's) makes of them by .clang-format."""
import os
import re
import shutil
import subprocess
import sys

from .tree import Finding

PROGRAM = "clang-format-14"


def check(tree):
    files = [f.path for f in tree.text_files() if f.is_c]
    if not files or not os.path.exists(os.path.join(tree.root, ".clang-format")):
        return
    if shutil.which(PROGRAM) is None:
        print(f"tidy: {PROGRAM} is not installed, the form of files was not checked", file=sys.stderr)
        return
    r = subprocess.run([PROGRAM, "--dry-run", *files], cwd=tree.root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    seen = set()
    for m in re.finditer(r"^(\S+?):(\d+):\d+: warning: code should be clang-formatted", r.stderr, re.M):
        if m[1] not in seen:
            seen.add(m[1])
            yield Finding(m[1], int(m[2]), "not formatted from here on", f"{PROGRAM} -i {m[1]}")
