"""One night against those before it: new, still there, gone, rate changed.  Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from harness.campaign.count import Count, Seen, from_json
from harness.campaign.logbook import Event
from harness.campaign.stats import fisher

GONE, CHANGED = 0.05, 0.01
"""How unlikely chance has to be as an explanation: that a bug did not show, that a rate differs.
Many rates are compared each night, so the second is the stricter one."""

Place = tuple[str, str]
"""Kernel and case."""


class Change(Enum):
    NEW = "new"
    CHANGED = "rate changed"
    STILL = "still there"
    GONE = "gone"
    QUIET = "not seen"


@dataclass
class Night:
    """``counts`` by kernel and case; ``commits`` by kernel, where its source is git; ``faults``
    tells which kernels could not be built.  ``over`` once all of it was run.
    """

    date: str
    counts: dict[Place, list[Count]] = field(default_factory=lambda: defaultdict(list))
    commits: dict[str, str] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    bisects: list[Event] = field(default_factory=list)
    over: bool = False

    def counted(self, place: Place) -> list[Count]:
        return [count for count in self.counts.get(place, []) if count.seen is not Seen.VOID]

    def fails(self, place: Place, race: str) -> int:
        return sum(count.shows(race) for count in self.counted(place))

    def reproducer(self, place: Place) -> str:
        """The one that all of its counts are of."""
        return next((count.reproducer for count in self.counts.get(place, [])), "")


@dataclass(frozen=True)
class Line:
    """One bug of one case on one kernel: failures and runs tonight, and on earlier nights.

    ``chance`` is the probability that chance alone makes such a difference.  ``left_out`` are runs
    of earlier nights with another reproducer: how often that fails is not to be compared.
    """

    change: Change
    place: Place
    race: str
    title: str
    tonight: tuple[int, int]
    before: tuple[int, int]
    chance: float
    left_out: int = 0


def nights_of(events: Iterable[Event]) -> list[Night]:
    """In the order of their dates."""
    found: dict[str, Night] = {}
    for event in events:
        night = found.setdefault(str(event["night"]), Night(str(event["night"])))
        kind = event["event"]
        if kind == "trial":
            place = (str(event["kernel"]), str(event["case"]))
            count = from_json(event)
            if night.counts[place] and night.reproducer(place) != count.reproducer:
                night.counts[place] = []  # it was changed while the night was down
            night.counts[place].append(count)
        elif kind == "kernel":
            kernel, commit = str(event["kernel"]), str(event.get("commit", ""))
            if night.commits.get(kernel, commit) != commit:
                # The branch moved while the night was down: what ran is not what it stands for.
                for place in night.counts:
                    if place[0] == kernel:
                        night.counts[place] = []
            night.commits[kernel] = commit
            night.faults.pop(kernel, None)
        elif kind == "fault":
            night.faults[str(event["kernel"])] = str(event["why"])
        elif kind == "bisect":
            night.bisects.append(event)
        elif kind == "over":
            night.over = True
    return [found[date] for date in sorted(found)]


def compare(tonight: Night, before: Sequence[Night]) -> list[Line]:
    """What tonight's counts say beside those of ``before``; the weightiest first.

    A night that was missed or cut short counts with what it has.  Runs with another reproducer
    tell that a bug was there already, and nothing of its rate.
    """
    lines = []
    titles = _titles([*before, tonight])
    for place, race in titles:
        runs = len(tonight.counted(place))
        if not runs:
            continue
        fails = tonight.fails(place, race)
        ours = tonight.reproducer(place)
        same = [night for night in before if night.reproducer(place) == ours]
        past_runs = sum(len(night.counted(place)) for night in same)
        past = sum(night.fails(place, race) for night in same)
        left_out = sum(len(night.counted(place)) for night in before) - past_runs
        chance = fisher(fails, runs, past, past_runs)
        if fails and not any(night.fails(place, race) for night in before):
            change = Change.NEW
        elif not fails and past:
            change = Change.GONE if chance < GONE else Change.QUIET
        elif not fails:
            change = Change.QUIET
        else:
            change = Change.CHANGED if chance < CHANGED else Change.STILL
        lines.append(
            Line(
                *(change, place, race, titles[place, race]),
                *((fails, runs), (past, past_runs), chance, left_out),
            )
        )
    order = list(Change)
    return sorted(lines, key=lambda line: (order.index(line.change), line.place, line.race))


def _titles(nights: Sequence[Night]) -> Mapping[tuple[Place, str], str]:
    """Every bug that was seen where, with the title of its last sighting."""
    found: dict[tuple[Place, str], str] = {}
    for night in nights:
        for place, counts in night.counts.items():
            for count in counts:
                # The first is the cause of most others.
                for sighting in count.sightings[:1]:
                    found[place, sighting.race] = sighting.title
    return found


def summary(tonight: Night, lines: Sequence[Line], before: int) -> Iterator[str]:
    """For a mail: the subject first."""
    counts = {change: sum(line.change is change for line in lines) for change in Change}
    told = ", ".join(f"{n} {change.value}" for change, n in counts.items() if n)
    runs = sum(len(tonight.counted(place)) for place in tonight.counts)
    yield f"{tonight.date}: {told or 'nothing failed'}"
    yield ""
    yield f"{runs} runs count, compared with {before} earlier night{'s' if before != 1 else ''}"
    for kernel, why in sorted(tonight.faults.items()):
        yield f"NOT RUN {kernel}: {why}"
    for change in Change:
        mine = [line for line in lines if line.change is change]
        if mine:
            yield ""
            yield change.value
        for line in mine:
            yield f"  {line.title}"
            yield f"    {line.place[1]} on {line.place[0]}: {_share(line)}"
            yield f"    {line.race}"
    voids = [
        (place, [count for count in counts if count.seen is Seen.VOID])
        for place, counts in sorted(tonight.counts.items())
    ]
    if any(left for _, left in voids):
        yield ""
        yield "runs that say nothing"
    for (kernel, case), left in voids:
        if left:
            yield f"  {len(left)} of {case} on {kernel}: {left[-1].why}"
    for event in tonight.bisects:
        yield ""
        yield f"bisected: {event['title']}"
        yield from (f"  {line}".rstrip() for line in event["lines"])


def document(plan: str, tonight: Night, before: Sequence[Night]) -> dict[str, Any]:
    """What results/night.schema.json describes: for programs, and for the page."""
    nights = [*before, tonight]
    return {
        **{"kind": "night", "schema": 1, "plan": plan, "date": tonight.date, "over": tonight.over},
        "nights": [night.date for night in nights],
        "lines": [
            {
                **{"change": line.change.value, "kernel": line.place[0], "case": line.place[1]},
                **{"race": line.race, "title": line.title, "chance": line.chance},
                "counts": [
                    [night.fails(line.place, line.race), len(night.counted(line.place))]
                    if night.reproducer(line.place) == tonight.reproducer(line.place)
                    else [0, 0]
                    for night in nights
                ],
                "left_out": line.left_out,
                "trials": [c.folder for c in tonight.counted(line.place) if c.shows(line.race)],
            }
            for line in compare(tonight, before)
        ],
        "cells": [
            {
                **{"kernel": kernel, "case": case, "runs": len(tonight.counted((kernel, case)))},
                "reproducer": tonight.reproducer((kernel, case)),
                "failed": sum(c.seen is Seen.FAIL for c in counts),
                "void": [c.why for c in counts if c.seen is Seen.VOID],
            }
            for (kernel, case), counts in tonight.counts.items()
        ],
        "commits": {kernel: commit for kernel, commit in tonight.commits.items() if commit},
        "faults": dict(tonight.faults),
        "bisected": [
            {key: event[key] for key in ("kernel", "case", "race", "title", "lines")}
            for event in tonight.bisects
        ],
    }


def _share(line: Line) -> str:
    fails, runs = line.tonight
    past, past_runs = line.before
    others = f"; {line.left_out} of another reproducer left out" if line.left_out else ""
    if not past_runs:
        return f"{fails} of {runs} runs tonight, no earlier ones{others}"
    by_chance = f", by chance {line.chance:.1%}" if line.change is not Change.NEW else ""
    return f"{fails} of {runs} runs tonight, {past} of {past_runs} before{by_chance}{others}"


def worse(line: Line) -> bool:
    """Whether a person should get up for it."""
    if line.change is Change.CHANGED:
        return line.tonight[0] * line.before[1] > line.before[0] * line.tonight[1]
    return line.change is Change.NEW
