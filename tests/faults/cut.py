"""Power loss for a directory that a process with the preload library wrote to (cut.c tells what is kept)."""

import os
import random
import shutil

BLOCK = 512


def begin(root, mirror):
    """Counts what is below `root` as durable. No process writes there meanwhile."""
    shutil.rmtree(mirror, ignore_errors=True)
    for part in ("live", "synced", "names"):
        os.makedirs(os.path.join(mirror, part))
    for folder, dirs, files in os.walk(root):
        for name in files:
            path = os.path.join(folder, name)
            ino = os.stat(path).st_ino
            os.link(path, os.path.join(mirror, "live", str(ino)))
            shutil.copyfile(path, os.path.join(mirror, "synced", str(ino)))
        with open(os.path.join(mirror, "names", str(os.stat(folder).st_ino)), "w") as f:
            f.writelines(f"{kind} {os.stat(os.path.join(folder, n)).st_ino} {n}\n"
                         for kind, names in (("d", dirs), ("f", files)) for n in names)


def _read(path):
    try:
        with open(path, "rb") as f:
            return f.read()
    except FileNotFoundError:
        return b""


class Tally(dict):
    def add(self, what, n=1):
        self[what] = self.get(what, 0) + n


def _names_after(durable, now, keep, tally):
    """Names that survive: each file's or directory's change of name is kept or lost as a whole."""
    result = dict(durable)  # name -> (kind, inode)
    changed = sorted({ino for _, ino in durable.values()} ^ {ino for _, ino in now.values()} |
                     {ino for _, ino in durable.values() if {n for n, v in durable.items() if v[1] == ino} !=
                      {n for n, v in now.items() if v[1] == ino}})
    for ino in changed:
        if not keep():
            tally.add("names lost")
            continue
        tally.add("unsynced names kept")
        for name in [n for n, v in result.items() if v[1] == ino]:
            del result[name]
        for name, v in now.items():
            if v[1] == ino:
                result[name] = v
    return result


def _contents_after(synced, live, keep, tally):
    """Blocks that were not synced are kept or lost one by one, and so is a change of the size."""
    if synced == live:
        return synced
    size = len(live) if len(live) == len(synced) or keep() else len(synced)
    out = bytearray(size)
    for at in range(0, size, BLOCK):
        old, new = synced[at:at + BLOCK], live[at:at + BLOCK]
        if old != new and keep():
            tally.add("unsynced blocks kept")
            old = new
        elif old != new:
            tally.add("blocks lost")
        out[at:at + min(len(old), size - at)] = old[:size - at]
    return bytes(out)


def cut(root, mirror, seed, lose=0.5):
    """Replaces `root` by what a power loss leaves; the process that wrote there is dead. lose=1: all that was not synced.
    Returns counts of what was lost and kept."""
    rng = random.Random(seed)
    tally = Tally()
    fresh = root + ".after"
    shutil.rmtree(fresh, ignore_errors=True)

    def keep():
        return rng.random() >= lose

    def build(durable_ino, source, target):
        os.mkdir(target, 0o700)
        durable = {}
        for line in _read(os.path.join(mirror, "names", str(durable_ino))).decode().splitlines():
            kind, ino, name = line.split(" ", 2)
            durable[name] = (kind, int(ino))
        now = {}
        if source:
            with os.scandir(source) as entries:
                now = {e.name: ("d" if e.is_dir() else "f", e.inode()) for e in entries}
        for name, (kind, ino) in sorted(_names_after(durable, now, keep, tally).items()):
            path = os.path.join(target, name)
            if kind == "d":
                at = next((os.path.join(source, n) for n, v in now.items() if v[1] == ino), None)
                build(ino, at, path)
                continue
            data = _contents_after(_read(os.path.join(mirror, "synced", str(ino))), _read(os.path.join(mirror, "live", str(ino))),
                                   keep, tally)
            with open(path, "wb") as f:
                f.write(data)
            os.chmod(path, 0o600)

    build(os.stat(root).st_ino, root, fresh)
    shutil.rmtree(root + ".before", ignore_errors=True)
    os.rename(root, root + ".before")
    os.rename(fresh, root)
    shutil.rmtree(root + ".before")
    shutil.rmtree(mirror)
    return tally
