"""Reports that come again: copies of a line that was printed once, and floods of one report."""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from collections.abc import Mapping

from harness.splat.lines import Line
from harness.splat.report import Splat
from harness.splat.signature import signature

Print = tuple[bytes, tuple[bytes, ...]]

KEPT = 6
"""Sightings of one report that are given; more of it tells nothing new."""
_REMEMBERED = 256
_SIGNATURES = 4096
_PRINTS = 4096
# A report that is skimmed has its end within this many bytes, and no panic behind it.
LONGEST = 32 * 1024
BEHIND = 2048

_BAR = b"=" * 20
_ENDS = b"---[ end trace "
# Stacks of other events than the one that is reported.
_ASIDE = (b"llocated by task", b"reed by task")
_NAMES = re.compile(rb"[^?] ([A-Za-z_$][\w.$]{0,255})\+0x")
_VARYING = b"0123456789abcdefx \t\r\n^>"


def extent(data: bytes, start: int) -> int:
    """Where the report ends whose first line begins at ``start``; -1 where that is not in sight.

    Only a report with a definite end is told: a closing line of "=", or "end trace".
    """
    top = data.find(b"Call ", start, start + LONGEST)
    if top < 0:
        return -1
    ends = (data.find(mark, top, start + LONGEST) for mark in (_BAR, _ENDS))
    found = min((at for at in ends if at >= 0), default=-1)
    end = data.find(b"\n", found) + 1 if found >= 0 else 0
    if not end or end + BEHIND > len(data) or data.find(b"Kernel panic", end, end + BEHIND) >= 0:
        return -1
    return end


def fingerprint(report: bytes) -> Print:
    """What decides a report's signature, without the addresses and numbers of the sighting: its
    text up to the backtrace, and all functions that the backtrace is sure of."""
    aside = (report.find(mark) for mark in _ASIDE)
    own = report[: min((at for at in aside if at >= 0), default=len(report))]
    return own[: own.find(b"Call ")].translate(None, _VARYING), tuple(_NAMES.findall(own))


class Repeats:
    """What was seen, in bounded memory."""

    def __init__(self) -> None:
        self._lines: OrderedDict[tuple[float, str, bytes], None] = OrderedDict()
        self._seen: Counter[str] = Counter()
        self._counted: Counter[str] = Counter()
        self._prints: OrderedDict[Print, str] = OrderedDict()
        self._flooding = False

    @property
    def flooding(self) -> bool:
        """Whether a report came so often that the next ones may well be the same."""
        return self._flooding

    def again(self, print_: Print) -> bool:
        """Count a report that needs no look: it is one that came too often, to the letter."""
        key = self._prints.get(print_)
        if key is None or self._seen[key] < KEPT:
            return False
        self._seen[key] += 1
        self._counted[key] += 1
        return True

    @property
    def counted(self) -> Mapping[str, int]:
        return self._counted

    def copied(self, head: Line) -> bool:
        """Whether this first line was read before, stamp and all.

        A console that also shows the system log has every line twice, some of them in capitals,
        and printk replays what a new console missed.
        """
        if head.stamp < 0:
            return False
        key = (head.stamp, head.context, head.text.lower())
        if key in self._lines:
            return True
        self._lines[key] = None
        if len(self._lines) > _REMEMBERED:
            self._lines.popitem(last=False)
        return False

    def is_news(self, splat: Splat, print_: Print | None = None) -> bool:
        """Count a sighting; whether it is one of the first of its kind."""
        key = signature(splat)
        if print_ is not None:
            self._prints[print_] = key
            if len(self._prints) > _PRINTS:
                self._prints.popitem(last=False)
        if len(self._seen) >= _SIGNATURES and key not in self._seen:
            return True
        self._seen[key] += 1
        self._flooding |= self._seen[key] >= KEPT - 1  # the last one that is given is compared to
        if self._seen[key] <= KEPT:
            return True
        self._counted[key] += 1
        return False
