"""Names of metrics: prefix, base units, _total for what only grows and for nothing else."""
import re

# a unit that is not a base unit -> the base unit
NOT_BASE = {
    "milliseconds": "seconds", "microseconds": "seconds", "nanoseconds": "seconds", "ms": "seconds", "us": "seconds",
    "ns": "seconds", "minutes": "seconds", "hours": "seconds", "kb": "bytes", "mb": "bytes", "gb": "bytes",
    "kib": "bytes", "mib": "bytes", "gib": "bytes", "kilobytes": "bytes", "megabytes": "bytes", "bits": "bytes",
    "percent": "ratio",
}
# The registry adds it to names that come without.
PREFIX = "forebay_"
NAME = re.compile(r"forebay_[a-z][a-z0-9]*(_[a-z0-9]+)*")
# ends that Prometheus itself adds to histograms
RESERVED = ("bucket", "sum", "count")

_REGISTER = re.compile(r'\bfb_(counter|gauge|histogram)_register\s*\(\s*"([^"\n]*)"')
_EMIT = re.compile(r'\bfb_gauge_emit\s*\(\s*[^,;]+,\s*"([^"\n]*)"')
_STRING = re.compile(r'"(forebay_[a-z0-9_]+)"')


def _name(f, line, name, kind):
    if not name.startswith(PREFIX):
        name = PREFIX + name
    if not NAME.fullmatch(name):
        yield f.at(line, f"metric {name} is not a name", "forebay_ and lower-case words with single _ between")
        return
    words = name.split("_")[1:]
    for w in words:
        if w in NOT_BASE:
            yield f.at(line, f"metric {name} is in {w}", NOT_BASE[w])
    if words[-1] in RESERVED and kind != "string":
        yield f.at(line, f"metric {name} ends like a part of a histogram", "another last word")
    if kind == "counter" and words[-1] != "total":
        yield f.at(line, f"counter {name} does not end in _total", name + "_total")
    if kind == "histogram" and words[-1] == "total":
        yield f.at(line, f"histogram {name} ends in _total", "its unit as the last word")
    if "total" in words[:-1]:
        yield f.at(line, f"metric {name} has total in the middle", "total as the last word")


def check(tree):
    for f in tree.c_files():
        if f.in_tests():
            continue
        seen = set()
        for m in _REGISTER.finditer(f.bare):
            seen.add(m.start(2))
            yield from _name(f, f.line_of(m.start()), m[2], m[1])
        for m in _EMIT.finditer(f.bare):
            seen.add(m.start(1))
            yield from _name(f, f.line_of(m.start()), m[1], "gauge")
        for m in _STRING.finditer(f.bare):
            if m.start(1) not in seen:
                yield from _name(f, f.line_of(m.start()), m[1], "string")
