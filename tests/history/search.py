"""Is there an order of the operations of one object that explains every result? Asks for no versions.

Wing and Gong, Testing and Verifying Concurrent Objects (1993), as Lowe does it in Testing for linearizability (2017):
just-in-time linearization with memory. The events are walked in the order of time. A configuration is (state of the object,
which of the operations under way have taken effect). When an operation returns, each configuration is followed by every
order of operations under way that ends with it, and those where it cannot have had its result are given up. The set of
configurations is the memory: two orders that come to the same are followed once. When none is left, nothing explains that
operation. Objects are checked one by one, as linearizability is local (Herlihy and Wing 1990).

Operations whose outcome is unknown never return and may take effect at any later time, or never. Among equal ones the
earliest goes first, and a configuration is dropped when another has the same state and has used up fewer of them.
"""

from collections import deque

from model import START, after
from ops import FOREVER

LIMIT = 10000  # configurations at one return


class TooMany(Exception):
    """The object has more orders than are followed."""


class Stuck(Exception):
    """Nothing explains `op`; `states` are those that were possible when it returned."""

    def __init__(self, op, states):
        super().__init__()
        self.op, self.states = op, states


def order(ops):
    """(time, 0 invoke / 1 return, op): what is told at one instant counts as concurrent."""
    events = [(o.invoke, 0, i, o) for i, o in enumerate(ops)] + [(o.end, 1, i, o) for i, o in enumerate(ops) if o.end != FOREVER]
    events.sort(key=lambda e: e[:3])
    return events


class Configurations:
    """A set of configurations without those that are worse than another: the same but for more of the unknown ones used up."""

    def __init__(self, unknown):
        self.unknown, self.groups, self.count = unknown, {}, 0

    def add(self, state, done):
        """False when it, or a better one, is in already."""
        used = done & self.unknown
        group = self.groups.setdefault((state, done & ~self.unknown), [])
        if any(u & used == u for u in group):
            return False
        group.append(used)
        self.count += 1
        if self.count > LIMIT:
            raise TooMany()
        return True


def candidates(pending, done):
    """Operations under way that may take effect next."""
    tried = set()
    for o, bit in pending.items():
        if done & bit:
            continue
        if o.before is not None and o.before in pending and not done & pending[o.before]:
            continue  # its connection sent another one before it
        if o.end == FOREVER:
            if o.same in tried:
                continue
            tried.add(o.same)
        yield o, bit


def absorb(state, done, reads, pending):
    """Reads under way that agree with the state take effect at once: they change nothing, and it cannot be too early."""
    if state[1] != FOREVER:
        return done
    value, more = state[0], True
    while more:
        more = False
        for o, bit in reads:
            if not done & bit and o.result == value and (o.before not in pending or done & pending[o.before]):
                done, more = done | bit, True
    return done


def finish(configs, op, pending, unknown, worst):
    """Configurations in which `op` has taken effect. Few steps come before many, so the better ones come first."""
    bit, seen, result, kept = pending[op], Configurations(unknown), set(), Configurations(unknown)
    reads = [(o, b) for o, b in pending.items() if o.name == "get" and o.outcome == "ok"]
    configs = {(s, absorb(s, done, reads, pending)) for s, done in configs}
    todo = deque(c for c in sorted(configs, key=lambda c: c[1].bit_count()) if seen.add(*c))
    while todo:
        state, done = todo.popleft()
        if done & bit:
            if kept.add(state, done & ~bit):
                result.add((state, done & ~bit))
            continue
        for o, b in candidates(pending, done):
            if o.name == "get" and state[1] == FOREVER:
                continue  # it did not agree
            for s in after(state, o, worst):
                then = absorb(s, done | b, reads, pending)
                if seen.add(s, then):
                    todo.append((s, then))
    return result


def search(ops, worst=0):
    """Returns when there is an order; raises Stuck or TooMany."""
    configs, pending, free, unknown, bits = {(START, 0)}, {}, [], 0, 0
    for _, returned, _, op in order(ops):
        if not returned:
            if free:
                bit = free.pop()
            else:
                bit, bits = 1 << bits, bits + 1
            pending[op] = bit
            if op.end == FOREVER:
                unknown |= bit
            continue
        bit = pending[op]
        if len(pending) == 1 and configs == {(state := next(iter(configs))[0], 0)}:
            then = {(s, 0) for s in after(state, op, worst)}
        else:
            then = finish(configs, op, pending, unknown, worst)
        if not then:
            raise Stuck(op, {s[0] for s, _ in configs})
        del pending[op]
        free.append(bit)
        configs = then
