"""The end of what each test that failed had printed, once more: the last thing to be seen of a long run.

failed_tests.py BUILD-DIRECTORY   after ctest there
"""

import os
import re
import sys

LINES = 30

logs = os.path.join(sys.argv[1], "Testing", "Temporary")
with open(os.path.join(logs, "LastTestsFailed.log"), errors="replace") as f:
    failed = [line.split(":", 1)[1].strip() for line in f if ":" in line]
with open(os.path.join(logs, "LastTest.log"), errors="replace") as f:
    log = f.read()
for name in failed:
    m = re.search(rf"^\d+/\d+ Test: {re.escape(name)}\n.*?^Output:\n-+\n(.*?)^<end of output>", log, re.M | re.S)
    lines = m[1].rstrip().split("\n") if m else ["(nothing is in the log of this one)"]
    print(f"\n==== {name}, the last lines ====", *lines[-LINES:], sep="\n")
