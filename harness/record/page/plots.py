"""Plots as inline SVG, drawn from numbers alone; every text in them is escaped here."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from harness.record.text import plain

Points = Sequence[Sequence[float]]
"""[seconds, value], in the order of time."""

WIDTH, LEFT, RIGHT = 720, 150, 76
_LANE, _GAP, _TOP, _AXIS = 46, 14, 22, 30
_PLOT = WIDTH - LEFT - RIGHT
_DASHES = ("", "5 3", "2 2", "8 3 2 3")


@dataclass(frozen=True)
class Line:
    """One line of a lane.  ``label`` tells it from the lane's others."""

    label: str
    points: Points


@dataclass(frozen=True)
class Lane:
    """One strip of a timeline, with a scale of its own from 0 (or ``least``) to its greatest."""

    title: str
    unit: str
    lines: tuple[Line, ...]
    least: float = 0.0

    @property
    def most(self) -> float:
        values = [point[1] for line in self.lines for point in line.points]
        return max([*values, self.least + 1.0])


@dataclass(frozen=True)
class Moment:
    """A moment that is marked through all lanes."""

    at: float
    label: str


def per_second(points: Points) -> list[tuple[float, float]]:
    """The slope of a counter that only grows, as steps: [start, rate], and the end."""
    steps: list[tuple[float, float]] = []
    for (t0, v0), (t1, v1) in itertools.pairwise(points):
        rate = max(0.0, (v1 - v0) / (t1 - t0)) if t1 > t0 else 0.0
        steps += [(t0, rate), (t1, rate)]
    return steps


CLOCK = "own_ms"
"""The gauge by which a reproducer tells its own time: 1,000 a second where guest and host agree,
none where the guest stood still.
"""


def lanes_of(
    counters: Mapping[str, Points], counts: Mapping[str, int], console: Points
) -> list[Lane]:
    """What a trial's pace shows: counters as rates, levels by node, clock, and console."""
    lanes = []
    growing = [name for name in counters if name in counts or name.startswith("pgmigrate_")]
    for name in growing:
        points = counters[name]
        if len(points) > 1 and points[-1][1] > points[0][1]:
            lanes.append(Lane(name, "per second", (Line("", per_second(points)),)))
    clock = counters.get(CLOCK, ())
    groups: dict[str, list[Line]] = {}
    for name, points in counters.items():
        if name not in growing and name != CLOCK:
            title, _, node = name.partition(".")
            groups.setdefault(title, []).append(Line(node, _steps(points)))
    lanes += [
        Lane(title, "pages" if "_" in title else "now", tuple(lines))
        for title, lines in groups.items()
    ]
    if len(clock) > 1:
        lanes.append(Lane("guest's clock", "ms per second", (Line("", per_second(clock)),)))
    if len(console) > 1 and console[-1][1] > console[0][1]:
        lanes.append(Lane("console", "bytes per second", (Line("", per_second(console)),)))
    return lanes


def timeline(lanes: Sequence[Lane], end: float, moments: Sequence[Moment], label: str) -> Markup:
    """Lanes over one another, with one axis of time from 0 to ``end``."""
    lasts = [point[0] for lane in lanes for line in lane.lines for point in line.points[-1:]]
    end = max([end, *lasts, 0.1])
    height = _TOP + len(lanes) * (_LANE + _GAP) + _AXIS
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img"'
        f' aria-label="{_text(label)}">'
    ]
    bottom = height - _AXIS
    for at in _ticks(end):
        x = _x(at, end)
        parts.append(f'<line class="grid" x1="{x}" y1="{_TOP}" x2="{x}" y2="{bottom}"/>')
        parts.append(f'<text class="axis" x="{x}" y="{bottom + 15}">{at:g} s</text>')
    for number, lane in enumerate(lanes):
        parts += _lane(lane, _TOP + number * (_LANE + _GAP), end)
    for moment in moments:
        x = _x(min(moment.at, end), end)
        side = "end" if x > WIDTH / 2 else "start"
        parts.append(f'<line class="moment" x1="{x}" y1="{_TOP - 4}" x2="{x}" y2="{bottom}"/>')
        shift = -5 if side == "end" else 5
        parts.append(
            f'<text class="moment" text-anchor="{side}" x="{x + shift}" y="{_TOP - 8}">'
            f"{_text(moment.label)}</text>"
        )
    parts.append("</svg>")
    return Markup("".join(parts))


def _lane(lane: Lane, top: float, end: float) -> list[str]:
    bottom, most, least = top + _LANE, lane.most, lane.least
    parts = [
        f'<text class="lane" x="{LEFT - 10}" y="{top + 20}">{_text(lane.title[:24])}</text>',
        f'<text class="unit" x="{LEFT - 10}" y="{top + 35}">{_text(lane.unit)}</text>',
        f'<line class="base" x1="{LEFT}" y1="{bottom}" x2="{LEFT + _PLOT}" y2="{bottom}"/>',
        f'<text class="scale" x="{LEFT + _PLOT + 6}" y="{top + 9}">{short(most)}</text>',
        f'<text class="scale" x="{LEFT + _PLOT + 6}" y="{bottom + 1}">{short(least)}</text>',
    ]
    labelled: list[float] = []
    for number, line in enumerate(lane.lines):
        if not line.points:
            continue
        coords = [
            (_x(point[0], end), bottom - _LANE * (point[1] - least) / (most - least))
            for point in line.points
        ]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in coords)
        style = f"line c{number % 4}"
        dash = f' stroke-dasharray="{_DASHES[number % 4]}"' if number % 4 else ""
        if len(lane.lines) == 1:
            area = f"{path}L{coords[-1][0]:.1f} {bottom}L{coords[0][0]:.1f} {bottom}Z"
            parts.append(f'<path class="area" d="{area}"/>')
        parts.append(f'<path class="{style}" d="{path}"{dash}/>')
        if line.label:
            y = _apart(min(max(coords[-1][1] + 4, top + 23), bottom - 12), labelled)
            labelled.append(y)
            parts.append(
                f'<text class="tag c{number % 4}" x="{LEFT + _PLOT + 6}" y="{y:.1f}">'
                f"{_text(line.label[:10])}</text>"
            )
    return parts


def _apart(y: float, others: Sequence[float]) -> float:
    for other in others:
        if abs(y - other) < 11:
            y = other + 11
    return y


def _steps(points: Points) -> list[tuple[float, float]]:
    """A level holds until the next look."""
    steps: list[tuple[float, float]] = []
    for at, value in points:
        if steps:
            steps.append((at, steps[-1][1]))
        steps.append((at, value))
    return steps


def _x(seconds: float, end: float) -> float:
    return round(LEFT + _PLOT * seconds / end, 1)


def _ticks(end: float) -> list[float]:
    """Four to eight round moments."""
    step = 10 ** math.floor(math.log10(end))
    for share in (0.1, 0.2, 0.25, 0.5, 1.0):
        if end / (step * share) <= 8:
            step *= share
            break
    return [round(step * n, 6) for n in range(int(end / step) + 1)]


def short(value: float) -> str:
    """A number in at most five characters."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def whisker(low: float, high: float, share: float, label: str) -> Markup:
    """An interval of a rate on a scale from 0 to 1."""
    width, height = 160, 18
    x = [4 + (width - 8) * value for value in (low, high, share)]
    return Markup(
        f'<svg class="whisker" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' role="img" aria-label="{_text(label)}">'
        f'<line class="base" x1="4" y1="9" x2="{width - 4}" y2="9"/>'
        f'<rect class="range" x="{x[0]:.1f}" y="5" width="{max(2.0, x[1] - x[0]):.1f}" height="8"'
        f' rx="3"/><circle class="dot" cx="{x[2]:.1f}" cy="9" r="4"/></svg>'
    )


def reach(at: float, most: float, caught: bool, label: str) -> Markup:
    """How much of a budget was spent, and whether it ended with what was looked for."""
    width, height = 150, 18
    x = 4 + (width - 8) * min(1.0, at / most if most else 1.0)
    end = f'<circle class="dot" cx="{x:.1f}" cy="9" r="4.5"/>' if caught else ""
    style = "reach" if caught else "reach missed"
    return Markup(
        f'<svg class="{style}" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' role="img" aria-label="{_text(label)}">'
        f'<line class="base" x1="4" y1="9" x2="{width - 4}" y2="9"/>'
        f'<line class="spent" x1="4" y1="9" x2="{x:.1f}" y2="9"/>{end}</svg>'
    )


@dataclass(frozen=True)
class Bar:
    """One bar with its interval; ``share`` None where nothing was decided."""

    label: str
    share: float | None
    low: float = 0.0
    high: float = 1.0
    note: str = ""
    marked: bool = False


def bars(values: Sequence[Bar], label: str, *, scale: float = 1.0, width: int = WIDTH) -> Markup:
    """Bars side by side from 0 to ``scale``, with intervals as whiskers where they say anything."""
    left, right, top, high, foot = 44, 8, 10, 120, 34
    step = (width - left - right) / max(1, len(values))
    height = top + high + foot
    parts = [
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img"'
        f' aria-label="{_text(label)}">'
    ]
    for share in (0.0, 0.5, 1.0):
        y = top + high * (1 - share)
        parts.append(f'<line class="grid" x1="{left}" y1="{y}" x2="{width - right}" y2="{y}"/>')
        text = f"{100 * share * scale:.3g} %"
        parts.append(f'<text class="scale-left" x="{left - 6}" y="{y + 4}">{text}</text>')
    every = max(1, math.ceil(len(values) / 12))
    for number, bar in enumerate(values):
        x = left + step * number
        if bar.share is not None:
            y = top + high * (1 - min(1.0, bar.share / scale))
            kind = "bar marked" if bar.marked else "bar"
            parts.append(
                f'<rect class="{kind}" x="{x + step * 0.15:.1f}" y="{y:.1f}"'
                f' width="{max(1.0, step * 0.7):.1f}" height="{max(1.0, top + high - y):.1f}">'
                f"<title>{_text(f'{bar.label}: {bar.note}')}</title></rect>"
            )
            if bar.high - bar.low < 1.0 and scale == 1.0:
                middle = x + step / 2
                y0, y1 = top + high * (1 - bar.low), top + high * (1 - bar.high)
                parts.append(
                    f'<line class="interval" x1="{middle:.1f}" y1="{y0:.1f}" x2="{middle:.1f}"'
                    f' y2="{y1:.1f}"/>'
                )
        if number % every == 0:
            parts.append(
                f'<text class="axis" x="{x + step / 2:.1f}" y="{top + high + 16}">'
                f"{_text(bar.label[:10])}</text>"
            )
    parts.append("</svg>")
    return Markup("".join(parts))


def _text(text: str) -> str:
    return str(escape(plain(text)))
