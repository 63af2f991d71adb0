"""Hosts of a test's own, each a network namespace, joined by one bridge; and what goes wrong between them.

The whole test runs in a network and a mount namespace of its own, which end with its last process: nothing outside is seen or
changed, and nothing has to be cleaned up. The test itself is on the bridge: what is cut is the hosts' way to each other, so that it
can always ask them. Needs root, iproute2 and nftables.
"""

import json
import os
import subprocess
import sys

SKIPPED = 77
OWN = "FB_OWN_NETWORK"
TABLE = """
table bridge forebay {
    set cut { type ipv4_addr . ipv4_addr; counter; }
    chain forward { type filter hook forward priority 0; ip saddr . ip daddr @cut drop; }
}
"""


def own_network():
    """Runs this program again in namespaces of its own, unless it already is there; the Network then."""
    if os.environ.get(OWN) != str(os.getpid()):
        if os.geteuid() != 0:
            print("network namespaces need root: skipped", file=sys.stderr)
            sys.exit(SKIPPED)
        os.environ[OWN] = str(os.getpid())  # which stays the same through both execs
        os.execvp("unshare", ["unshare", "--net", "--mount", sys.executable, *sys.argv])
    return Network()


def run(*argv, input=None):
    r = subprocess.run(argv, input=input, stdin=None if input is not None else subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, text=True)
    if r.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: {r.stderr.strip()}")
    return r.stdout


class Network:
    """What Cluster takes as `network`. A host comes to be when its address is first asked for."""

    subnet = "10.77.0.0/24"

    def __init__(self):
        os.makedirs("/run/netns", exist_ok=True)
        run("mount", "-t", "tmpfs", "none", "/run/netns")
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "hosts", "type", "bridge")
        run("ip", "addr", "add", "10.77.0.1/24", "dev", "hosts")
        run("ip", "link", "set", "hosts", "up")
        run("nft", "-f", "-", input=TABLE)
        self.hosts, self.slowed = {}, set()

    def address(self, name):
        if name not in self.hosts:
            n = len(self.hosts) + 10
            run("ip", "netns", "add", name)
            run("ip", "link", "add", f"host{n}", "type", "veth", "peer", "name", "eth0", "netns", name)
            run("ip", "link", "set", f"host{n}", "master", "hosts", "up")
            run("ip", "-n", name, "addr", "add", f"10.77.0.{n}/24", "dev", "eth0")
            run("ip", "-n", name, "link", "set", "lo", "up")
            run("ip", "-n", name, "link", "set", "eth0", "up")
            self.hosts[name] = (f"10.77.0.{n}", f"host{n}")
        return self.hosts[name][0]

    def inside(self, name, argv):
        """The command that runs `argv` on that host, in the same process."""
        self.address(name)
        return ["nsenter", f"--net=/run/netns/{name}", "--", *argv]

    def silence(self, *pairs):
        """Nothing from the first host of a pair gets to the second any more; no side is told."""
        elements = ", ".join(f"{self.address(a)} . {self.address(b)}" for a, b in pairs)
        run("nft", "add", "element", "bridge", "forebay", "cut", f"{{ {elements} }}")

    def cut(self, a, *others):
        """Neither a and one of the others hear each other."""
        self.silence(*[p for b in others for p in ((a, b), (b, a))])

    def isolate(self, a):
        self.cut(a, *[b for b in self.hosts if b != a])

    def slow(self, name, rate):
        """Bytes to and from that host wait for their turn: `rate` as tc takes it."""
        link = self.hosts[name][1]
        shape = ["root", "tbf", "rate", rate, "burst", "16kb", "latency", "2s"]
        run("tc", "qdisc", "replace", "dev", link, *shape)
        run("tc", "-n", name, "qdisc", "replace", "dev", "eth0", *shape)
        self.slowed.add(name)

    def heal(self):
        """All is well again; how many packets were lost or delayed meanwhile: a fault that hit none proves nothing."""
        sets = json.loads(run("nft", "-j", "list", "set", "bridge", "forebay", "cut"))
        elements = [e["elem"] for o in sets["nftables"] if "set" in o for e in o["set"].get("elem", [])]
        hit = sum(e["counter"]["packets"] for e in elements)
        run("nft", "flush", "set", "bridge", "forebay", "cut")
        for name in self.slowed:
            link = self.hosts[name][1]
            hit += sum(q["overlimits"] for q in json.loads(run("tc", "-j", "-s", "qdisc", "show", "dev", link)))
            run("tc", "qdisc", "del", "dev", link, "root")
            run("tc", "-n", name, "qdisc", "del", "dev", "eth0", "root")
        self.slowed.clear()
        return hit
