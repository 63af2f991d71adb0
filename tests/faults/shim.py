"""A process of a test cluster with the preload library: its rules, and power loss for its directory."""

import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "integration"))
import base  # noqa: E402
from base import wait_for  # noqa: E402

import cut  # noqa: E402


def preload(bin):
    """LD_PRELOAD: the sanitizer's library must come first in programs that have it."""
    program = os.path.join(bin, "forebay-node")
    linked = subprocess.run(["ldd", program], stdout=subprocess.PIPE, text=True, check=True).stdout
    sanitizer = re.search(r"=> (\S*lib[at]san\S*)", linked)
    return " ".join(([sanitizer.group(1)] if sanitizer else []) + [os.path.join(bin, "libforebay_faults.so")])


class Faults:
    """Rules for every process that has `env` (README.md tells their form)."""

    def __init__(self, dir, name, bin=None):
        self.path = os.path.join(dir, name + ".faults")
        self.env = {"LD_PRELOAD": preload(bin or base.BIN), "FB_FAULTS": self.path}
        self.clear()

    def set(self, *rules):
        """These rules and no others from now on; counts begin anew."""
        with open(self.path + ".new", "w") as f:
            f.write("\n".join(rules) + "\n")
        if os.path.exists(self.path + ".hits"):
            os.unlink(self.path + ".hits")
        os.rename(self.path + ".new", self.path)

    def clear(self):
        hits = self.hits()
        self.set()
        return hits

    def hits(self):
        try:
            with open(self.path + ".hits") as f:
                return f.read().splitlines()
        except FileNotFoundError:
            return []

    def wait_hit(self, timeout=30):
        """A fault that did not happen proves nothing."""
        return wait_for("the fault to happen", self.hits, timeout)


class Disk:
    """A directory below which a power loss can be had; one process writes there."""

    def __init__(self, dir, faults):
        self.root, self.mirror = os.path.join(dir, "disk"), os.path.join(dir, "disk-kept")
        os.makedirs(self.root)
        faults.env["FB_FAULTS_CUT"] = f"{self.root}:{self.mirror}"
        cut.begin(self.root, self.mirror)

    def cut(self, seed, lose=0.5):
        tally = cut.cut(self.root, self.mirror, seed, lose)
        cut.begin(self.root, self.mirror)
        return tally


def log_since(process, at):
    with open(process.log, "rb") as f:
        f.seek(at)
        return f.read().decode("utf-8", "replace")


def ended(process, timeout=30):
    """Waits for its end; the exit status (negative: signal)."""
    wait_for(f"{process.name} to end", lambda: not process.alive(), timeout)
    return process.popen.returncode
