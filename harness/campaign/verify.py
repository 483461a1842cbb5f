"""Whether a patch fixes it: the kernel without it and with it, run in turns.

The wanted bug is the first one that the baseline shows.  A patched kernel that shows the same is
not fixed, whatever the counts; one that never does is called fixed when the counts could not
well have come about otherwise (see ``stats.Fixed``), however often they were looked at.
"""

from __future__ import annotations

import math
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import Enum

from harness.campaign.bench import Bench, Ready
from harness.campaign.count import Count, Seen, Sighting
from harness.campaign.rate import VOIDS
from harness.campaign.stats import Fixed


class Finding(Enum):
    FIXED = "fixed"
    STILL_FAILS = "still fails"
    NOT_ENOUGH = "not enough runs"
    NEVER_FAILED = "the baseline never failed"
    NOTHING_COUNTS = "no run counts"


@dataclass(frozen=True)
class Limits:
    """``runs`` are those of each kernel at most, ``seconds`` those of all."""

    confidence: float = 0.999
    runs: int = 200
    seconds: float | None = None


@dataclass
class Side:
    """The runs of one kernel."""

    name: str
    counts: list[Count] = field(default_factory=list)

    def fails(self, race: str) -> int:
        return sum(count.shows(race) for count in self.counts)

    def judged(self, race: str) -> list[bool]:
        """Whether each run that says anything of the wanted bug shows it.

        One that was ended by another splat does not say.
        """
        return [
            count.shows(race)
            for count in self.counts
            if count.seen is Seen.PASS or count.shows(race)
        ]

    @property
    def voids(self) -> list[Count]:
        return [count for count in self.counts if count.seen is Seen.VOID]


@dataclass
class Comparison:
    """What is known so far.  ``wanted`` is given, or the first that the baseline shows."""

    baseline: Side
    patched: Side
    limits: Limits
    wanted: str = ""
    title: str = ""
    elapsed: float = 0.0

    def take(self, side: Side, count: Count) -> None:
        side.counts.append(count)
        if side is self.baseline and not self.wanted and count.sightings:
            self.wanted = count.sightings[0].race
        if not self.title:
            shown = (s for s in count.sightings if s.race == self.wanted)
            self.title = next((s.title for s in shown), "")

    @property
    def evidence(self) -> Fixed:
        """Pair by pair, in the order of the runs of each side."""
        fixed = Fixed()
        pairs = zip(
            self.baseline.judged(self.wanted), self.patched.judged(self.wanted), strict=False
        )
        for baseline, patched in pairs:
            fixed.pair(baseline, patched)
        return fixed

    def finding(self, *, over: bool) -> Finding | None:
        """None while more runs are wanted and ``over`` is False."""
        if self.wanted and self.patched.fails(self.wanted):
            return Finding.STILL_FAILS
        if self.wanted and self.evidence.shows(self.limits.confidence):
            return Finding.FIXED
        for side in (self.baseline, self.patched):
            lacking = any(count.lacking for count in side.counts)
            if len(side.voids) == len(side.counts) and (len(side.counts) >= VOIDS or lacking):
                return Finding.NOTHING_COUNTS
        if not over:
            return None
        return Finding.NOT_ENOUGH if self.wanted else Finding.NEVER_FAILED

    @property
    def others(self) -> dict[str, Counter[Sighting]]:
        """What else was seen, for each side by its name."""
        return {
            side.name: Counter(
                sighting
                for count in side.counts
                if not count.shows(self.wanted)
                for sighting in count.sightings[:1]
            )
            for side in (self.baseline, self.patched)
        }

    @property
    def only_patched(self) -> list[Sighting]:
        """Bugs that only the patched kernel showed."""
        before = {sighting.race for sighting in self.others[self.baseline.name]}
        return [s for s in self.others[self.patched.name] if s.race not in before]


def compare(
    bench: Bench,
    baseline: Ready,
    patched: Ready,
    limits: Limits,
    wanted: str = "",
    on_count: Callable[[Comparison, Side, Count], None] = lambda found, side, count: None,
) -> tuple[Finding, Comparison]:
    """Run both in turns until one of the findings is certain or the limits are reached."""
    found = Comparison(Side(baseline.spec.name), Side(patched.spec.name), limits, wanted)
    sides = ((found.baseline, baseline), (found.patched, patched))
    begun = [0, 0]
    under_way: dict[Future[Count], Side] = {}
    start = time.monotonic()
    over = False
    while True:
        found.elapsed = time.monotonic() - start
        over = over or found.finding(over=False) is not None
        over = over or (limits.seconds is not None and found.elapsed >= limits.seconds)
        while not over and len(under_way) < bench.width and min(begun) < limits.runs:
            turn = 0 if begun[0] <= begun[1] else 1
            side, ready = sides[turn]
            begun[turn] += 1
            under_way[bench.start(ready)] = side
        if not under_way:
            finding = found.finding(over=True)
            assert finding
            return finding, found
        for future, count in bench.next():
            side = under_way.pop(future)
            found.take(side, count)
            on_count(found, side, count)


def headline(finding: Finding, found: Comparison) -> str:
    """The finding with the figures that it rests on, in one sentence."""
    wanted = found.wanted
    before, after = found.baseline.judged(wanted), found.patched.judged(wanted)
    baseline = f"baseline fails {sum(before)} of {len(before)}"
    if finding is Finding.FIXED:
        confidence = 1.0 - math.exp(-found.evidence.log)
        shown = min(confidence, 0.9999)
        return f"fixed, with {shown:.2%} confidence after {len(after)} clean runs ({baseline})"
    if finding is Finding.STILL_FAILS:
        return f"still fails: {sum(after)} of {len(after)} runs ({baseline})"
    if finding is Finding.NOT_ENOUGH:
        more = found.evidence.more(found.limits.confidence)
        needs = f"needs about {more} more of each kernel" if more is not None else "needs more"
        return f"not enough runs: {needs} ({len(after)} clean so far, {baseline})"
    if finding is Finding.NEVER_FAILED:
        return f"not enough runs: the baseline itself never failed in {len(before)} runs"
    side = found.baseline if len(found.baseline.voids) else found.patched
    return f"no run of {side.name} counts: {side.voids[-1].why}"


def report(finding: Finding, found: Comparison, case: str, machine: str) -> Iterator[str]:
    """For people, and ready to be pasted under a Tested-by."""
    wrapped = textwrap.wrap(headline(finding, found), 76)
    yield from wrapped
    if found.title:
        yield f"  wanted: {found.title}"
        yield f"          {found.wanted}"
    for name, seen in found.others.items():
        for sighting, times in seen.most_common():
            yield f"  other splat: {sighting.title} ({times} x on {name})"
    for side in (found.baseline, found.patched):
        for why, times in Counter(count.why for count in side.voids).most_common(3):
            yield f"  left out, {times} x on {side.name}: {why}"
    if finding is Finding.FIXED:
        yield ""
        yield "Tested-by: YOUR NAME <your@address>"
        yield f"# {case} on {machine}, fresh guests in turns, {found.elapsed:.0f} s"
        yield f"# without: {_counts(found.baseline, found)}; with: {_counts(found.patched, found)}"


def _counts(side: Side, found: Comparison) -> str:
    judged = side.judged(found.wanted)
    return f"{sum(judged)} of {len(judged)} runs fail"
