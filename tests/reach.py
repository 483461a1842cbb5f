"""What is asked of many trials in a row, and whether it was reached."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness.trial.trial import TrialResult
from harness.trial.verdict import Outcome

OVERHEAD = 1.5
"""Seconds of a trial beside the reproducer's own."""

GROWTH = (("MiB resident", " MiB", 0.25), ("open files", "", 0.25))
"""What is not to grow, and what is none in a hundred trials."""

LEAST = 20
"""Trials that a line can be laid through."""


@dataclass(frozen=True)
class Growth:
    """How something grew over a hundred trials, and the standard error of that.

    ``late`` is the median of the last tenth.
    """

    per_hundred: float
    error: float
    late: float

    def within(self, allowed: float) -> bool:
        """Whether it is nothing, as far as can be told, or less than ``allowed``."""
        return self.per_hundred <= max(allowed, 2 * self.error)


_PARTS = 10


def growth(values: Sequence[float]) -> Growth:
    """The line through the medians of ten parts, but for the first fifth: caches fill there.

    Medians of parts, since neighbours are not independent of each other.  Ten trials at least.
    """
    edges = [len(values) * part // _PARTS for part in range(_PARTS + 1)]
    parts = [values[begin:end] for begin, end in pairwise(edges)]
    middle = [statistics.fmean(edge) for edge in pairwise(edges)][2:]
    level = [statistics.median(part) for part in parts][2:]
    slope, base = statistics.linear_regression(middle, level)
    spread = sum((y - base - slope * x) ** 2 for x, y in zip(middle, level, strict=True))
    mean = statistics.fmean(middle)
    error = (spread / (len(middle) - 2) / sum((x - mean) ** 2 for x in middle)) ** 0.5
    return Growth(100 * slope, 100 * error, level[-1])


@dataclass(frozen=True)
class Row:
    name: str
    reach: str
    measured: str
    held: bool


def measures(
    runs: int, results: Sequence[TrialResult], sizes: Sequence[tuple[float, int]], left: int
) -> list[Row]:
    """What is asked of trials in a row."""
    counts = Counter(result.verdict.outcome for result in results)
    told = ", ".join(f"{number} {outcome.value}" for outcome, number in counts.items())
    spent = [r.wall_seconds - r.evidence.seconds for r in results if r.wall_seconds]
    overhead = statistics.median(spent) if spent else math.inf
    rows = [
        Row("verdicts", f"{runs}", told, len(results) == runs),
        Row("ERROR", "0", f"{counts[Outcome.ERROR]}", not counts[Outcome.ERROR]),
        Row("QEMU processes left", "0", f"{left}", not left),
    ]
    for index, (name, unit, allowed) in enumerate(GROWTH):
        if len(sizes) < LEAST:
            rows.append(Row(name, "none", f"{LEAST} trials tell", held=False))
            continue
        grown = growth([size[index] for size in sizes])
        measured = f"{grown.per_hundred:+.2f} ± {grown.error:.2f}{unit}, {grown.late:.0f} at last"
        rows.append(Row(f"{name} / 100 trials", "none", measured, grown.within(allowed)))
    reach, measured = f"<= {OVERHEAD} s", f"{overhead:.2f} s"
    return [*rows, Row("overhead a trial, median", reach, measured, overhead <= OVERHEAD)]
