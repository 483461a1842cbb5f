"""What the kernel's own counters say against it: the instrumentation oracle and their sums."""

from __future__ import annotations

from collections.abc import Iterator

from harness.spec.case import Source, TestCase
from harness.trial.snapshot import Snapshot, disagreements, growth

BAD = "_bad"
"""How the names of instrumentation counters end that count what must never happen."""


def faults(case: TestCase, before: Snapshot, after: Snapshot) -> Iterator[tuple[str, str]]:
    """Each counter that went beyond its limit, and each sum that is wrong, as (oracle, text)."""
    declared = {(limit.counter, limit.source) for limit in case.limits}
    for limit in case.limits:
        grown = growth(before, after, limit.counter, limit.source)
        if grown is not None and grown > limit.most:
            text = f"{limit.counter} ({limit.source.value}): {grown}, at most {limit.most} expected"
            yield "instrumentation", text
    for name in sorted(after.debugfs):
        if not name.endswith(BAD) or (name, Source.DEBUGFS) in declared:
            continue
        if grown := growth(before, after, name, Source.DEBUGFS):
            text = f"{name} ({Source.DEBUGFS.value}): {grown}, none expected"
            yield "instrumentation", text + _taken(name, before, after)
    said = set(disagreements(before))
    for text in disagreements(after):
        if text not in said:
            yield "counters", text


def _taken(bad: str, before: Snapshot, after: Snapshot) -> str:
    """How often the place was passed at all, where that is counted too."""
    taken = growth(before, after, bad.removesuffix(BAD) + "_taken", Source.DEBUGFS)
    return "" if taken is None else f"; the path was taken {taken} times"
