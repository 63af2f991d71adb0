"""Goal: every probe that the document lists is in its program, with as many arguments, no other one is, and none computes anything
for itself while nobody traces. Method: the ELF notes of the programs (readelf -n) against deploy/docs/operations.md."""

import os
import re
import subprocess
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.path.join(ROOT, ".build", "dev", "bin")
PROGRAMS = ("forebay-node", "forebay-router", "forebay-sync")
NOTE = re.compile(r"Provider: forebay\n\s+Name: (\w+)\n\s+Location: 0x([0-9a-f]+), Base: 0x[0-9a-f]+, Semaphore: 0x([0-9a-f]+)\n\s+Arguments: (.*)")


def documented():
    """{program: {probe: number of arguments}}; and how often a line of bpftrace names each."""
    with open(os.path.join(ROOT, "deploy", "docs", "operations.md")) as f:
        text = f.read()
    table, lines = {p: {} for p in PROGRAMS}, {}
    for program, probe, *args in re.findall(r"^\| (forebay-\w+) \| `(\w+)` \| ([^|]*) \| ([^|]*) \|([^|]*)\|", text, re.M):
        table[program][probe] = sum(1 for a in args if a.strip())
    for program, probe in re.findall(r"usdt:/usr/bin/(forebay-\w+):forebay:(\w+)", text):
        lines[program, probe] = lines.get((program, probe), 0) + 1
    return table, lines


def notes(program):
    out = subprocess.run(["readelf", "-n", os.path.join(BIN, program)], stdout=subprocess.PIPE, text=True, check=True).stdout
    return NOTE.findall(out)


class Probes(unittest.TestCase):
    def test_programs_and_document_agree(self):
        table, lines = documented()
        for program in PROGRAMS:
            with self.subTest(program=program):
                found = {}
                for name, location, semaphore, args in notes(program):
                    n = len(args.split())
                    # inlined code has a probe more than once
                    self.assertEqual(found.setdefault(name, n), n, name)
                    self.assertNotEqual(int(location, 16), 0)
                    # a semaphore would be looked at each time
                    self.assertEqual(int(semaphore, 16), 0, name)
                self.assertEqual(found, table[program])
                for probe in found:
                    self.assertGreaterEqual(lines.get((program, probe), 0), 1, f"no line of bpftrace for {program} {probe}")
        self.assertEqual(sum(len(t) for t in table.values()), 13)


if __name__ == "__main__":
    if "--bin" in sys.argv:
        i = sys.argv.index("--bin")
        BIN = os.path.abspath(sys.argv[i + 1])
        del sys.argv[i:i + 2]
    unittest.main(argv=[sys.argv[0], "-v", *sys.argv[1:]])
