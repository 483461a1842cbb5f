"""How often a case fails on a kernel: k of n, what that proves, and when it showed."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from harness.campaign.bench import Bench, Ready
from harness.campaign.count import Count, Seen
from harness.campaign.stats import quantiles
from harness.record.interval import wilson

VOIDS = 3
"""So many runs that say nothing, and none that does, and the next one would say nothing either."""


@dataclass(frozen=True)
class Until:
    """When to stop: after ``runs`` that count, ``seconds`` in all, the first failure where
    ``splat``, or when the interval is no wider than ``width``; whichever comes first.
    """

    runs: int | None = None
    seconds: float | None = None
    splat: bool = False
    width: float | None = None
    confidence: float = 0.95


@dataclass
class Tally:
    """The counts so far, in the order in which they came."""

    counts: list[Count] = field(default_factory=list)

    @property
    def counted(self) -> list[Count]:
        return [count for count in self.counts if count.seen is not Seen.VOID]

    @property
    def fails(self) -> list[Count]:
        return [count for count in self.counts if count.seen is Seen.FAIL]

    @property
    def voids(self) -> list[Count]:
        return [count for count in self.counts if count.seen is Seen.VOID]

    @property
    def vain(self) -> bool:
        """Nothing counted yet, and nothing says that anything will."""
        if self.counted:
            return False
        return len(self.voids) >= VOIDS or any(count.lacking for count in self.voids)

    def interval(self, confidence: float) -> tuple[float, float]:
        return wilson(len(self.fails), len(self.counted), confidence)


def enough(tally: Tally, until: Until, elapsed: float) -> bool:
    counted, fails = tally.counted, tally.fails
    if tally.vain or (until.splat and fails):
        return True
    if until.seconds is not None and elapsed >= until.seconds:
        return True
    if until.runs is not None and len(counted) >= until.runs:
        return True
    low, high = tally.interval(until.confidence)
    return until.width is not None and high - low <= until.width


def measure(
    bench: Bench,
    ready: Ready,
    until: Until,
    on_count: Callable[[Tally], None] = lambda tally: None,
) -> Tally:
    """Run until it is enough.  Runs that are under way then still count."""
    tally, under_way, start = Tally(), 0, time.monotonic()
    while True:
        elapsed = time.monotonic() - start
        over = enough(tally, until, elapsed)
        most = math.inf if until.runs is None else until.runs
        while not over and under_way < bench.width and len(tally.counted) + under_way < most:
            bench.start(ready)
            under_way += 1
        if not under_way:
            return tally
        for _, count in bench.next():
            under_way -= 1
            tally.counts.append(count)
            on_count(tally)


def report(tally: Tally, name: str, confidence: float) -> Iterator[str]:
    """For people, 80 columns wide."""
    fails, counted = len(tally.fails), len(tally.counted)
    if not counted:
        yield f"{name}: no run counts, so nothing is known of its rate"
    else:
        low, high = tally.interval(confidence)
        yield (
            f"{name}: {fails} of {counted} runs failed: {fails / counted:.1%}"
            f" ({100 * confidence:g} % interval: {low:.1%} to {high:.1%})"
        )
    # What a console said last stands in the trial's own report.
    for why, times in Counter(c.why.partition("\n")[0] for c in tally.voids).most_common(5):
        yield f"  {times} run{'s' if times > 1 else ''} left out: {why}"
    yield from _times(tally)
    yield from _signatures(tally.fails)


def _times(tally: Tally) -> Iterator[str]:
    times = [count.first for count in tally.fails if count.first is not None]
    if not times:
        return
    quiet = [count.ran for count in tally.counted if count.first is None]
    shares = (0.1, 0.5, 0.9)
    told = [
        f"{share:.0%} of the runs within {time:.1f} s"
        for share, time in zip(shares, quantiles(times, quiet, shares), strict=True)
        if time is not None
    ]
    exposed = sum(times) + sum(quiet)
    yield f"  first splat: {', '.join(told) or 'in less than a tenth of the runs'}"
    yield (
        f"  {min(times):.1f} s at the soonest, {max(times):.1f} s at the latest;"
        f" one for {exposed / len(times):.1f} s that the reproducer ran"
    )


def _signatures(fails: Sequence[Count]) -> Iterator[str]:
    seen: Counter[tuple[str, str, str]] = Counter()
    for count in fails:
        seen.update({(s.race, s.signature, s.title) for s in count.sightings[:1]})
    for (race, signature, title), times in seen.most_common():
        yield f"  {times:4} x {title}"
        yield f"         {signature}  {race}"
