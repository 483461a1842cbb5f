"""What grew while a trial ran: counters and the console, with the time at which each was seen."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_POINTS = 240
"""Points kept of one counter: a second of them for four minutes, every other one for eight, ..."""

MAX_COUNTERS = 64
"""A reproducer whose memory is corrupted may make up names without end."""

_SAMPLE = re.compile(rb"@ (?:count|gauge) (\S{1,64}) ([0-9]{1,19})\r?")

LATE = "late_ms"
"""Milliseconds that a reproducer went on for counts that it did not reach in its time (repro.c)."""

Points = tuple[tuple[float, int], ...]
"""(seconds since the reproducer's start, value)."""


@dataclass(frozen=True)
class Pace:
    """``counters`` are those of "@ count" and "@ gauge" lines, by the time at which the line
    arrived; ``console`` is the console's size in bytes, counted from its first byte."""

    counters: Mapping[str, Points] = field(default_factory=dict)
    console: Points = ()


class PaceKeeper:
    """Takes looks at a run under way.  A series that grows too long loses every other point."""

    def __init__(self) -> None:
        self._read = 0
        self._counters: dict[str, _Series] = {}
        self._console = _Series()

    def look(self, seconds: float, out: bytes, console: int) -> None:
        """``out`` is all of the reproducer's output so far, ``console`` the console's size."""
        end = out.rfind(b"\n") + 1
        for line in out[self._read : end].split(b"\n") if end > self._read else ():
            if found := _SAMPLE.fullmatch(line):
                self._add(found[1].decode("utf-8", "backslashreplace"), seconds, int(found[2]))
        self._read = max(self._read, end)
        self._console.add(seconds, console)

    def _add(self, name: str, seconds: float, value: int) -> None:
        if name in self._counters or len(self._counters) < MAX_COUNTERS:
            self._counters.setdefault(name, _Series()).add(seconds, value)

    def last(self, name: str) -> tuple[float, int] | None:
        """The newest point of a counter; None where there is no such line yet."""
        series = self._counters.get(name)
        return series.points()[-1] if series else None

    def pace(self) -> Pace:
        counters = {name: series.points() for name, series in self._counters.items()}
        return Pace(counters, self._console.points())


class _Series:
    """Points in the order of time; a value that stays is kept by its first and last sighting."""

    def __init__(self) -> None:
        self._points: list[tuple[float, int]] = []
        self._apart = 0.0

    def add(self, seconds: float, value: int) -> None:
        points = self._points
        point = (round(seconds, 3), value)
        stays = len(points) > 1 and points[-1][1] == points[-2][1] == value
        if stays or (len(points) > 1 and seconds - points[-2][0] < self._apart):
            points[-1] = point
        else:
            points.append(point)
        if len(points) > MAX_POINTS:
            del points[1:-1:2]
            # New points stand as far apart as those that were left.
            self._apart = 2 * (points[-1][0] - points[0][0]) / MAX_POINTS

    def points(self) -> Points:
        return tuple(self._points)
