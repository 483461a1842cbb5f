"""Reports that come again: copies of a line that was printed once, and floods of one report."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping

from harness.splat.lines import Line
from harness.splat.report import Splat
from harness.splat.signature import signature

KEPT = 16
"""Sightings of one report that are given; more of it tells nothing new."""
_REMEMBERED = 256
_SIGNATURES = 4096


class Repeats:
    """What was seen, in bounded memory."""

    def __init__(self) -> None:
        self._lines: OrderedDict[tuple[float, str, bytes], None] = OrderedDict()
        self._seen: Counter[str] = Counter()
        self._counted: Counter[str] = Counter()

    @property
    def counted(self) -> Mapping[str, int]:
        return self._counted

    def copied(self, head: Line) -> bool:
        """Whether this first line was read before, stamp and all.

        A console that also shows the system log has every line twice, and printk replays what a
        new console missed.
        """
        if head.stamp < 0:
            return False
        key = (head.stamp, head.context, head.text)
        if key in self._lines:
            return True
        self._lines[key] = None
        if len(self._lines) > _REMEMBERED:
            self._lines.popitem(last=False)
        return False

    def is_news(self, splat: Splat) -> bool:
        """Count a sighting; whether it is one of the first of its kind."""
        key = signature(splat)
        if len(self._seen) >= _SIGNATURES and key not in self._seen:
            return True
        self._seen[key] += 1
        if self._seen[key] <= KEPT:
            return True
        self._counted[key] += 1
        return False
