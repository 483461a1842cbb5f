"""Where a bisection stands: its events, summed up.  Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.campaign.belief import Belief, Floats, Ints, Tally
from harness.campaign.commits import Commits
from harness.campaign.count import Count, Seen, from_json
from harness.campaign.logbook import Event
from harness.campaign.search import Costs
from harness.errors import UsageError

LINK = 1.0
"""What a build of one file costs in the unit of ``Commit.work``: most of it is linking, and the
unit is set by the builds that were seen."""

_EACH, _MOST = 0.02, 8.0
"""The same for each further file, and at most: a whole kernel."""

FIRST_BUILD, FIRST_RUN = 60.0, 15.0
"""Seconds that a build and a run are thought to take before one was seen."""

VOIDS = 3
"""So many runs of a commit that say nothing, and none that does, at the least: it is skipped."""

LUCK = 0.05
"""How unlikely it has to be that so many runs in a row say nothing, if they do elsewhere too."""


@dataclass(frozen=True)
class Built:
    """``image`` is a digest of what boots, equal for commits that come to the same kernel."""

    image: str
    seconds: float


@dataclass
class Casebook:
    """Counts by commit; what a run showed besides the wanted bug counts for nothing, and is kept.

    ``wanted`` is the race that counts as bad: the first that the bad end showed, unless given.
    """

    n: int
    wanted: str = ""
    title: str = ""
    counts: dict[int, Tally] = field(default_factory=dict)
    voids: dict[int, list[str]] = field(default_factory=dict)
    lacking: set[int] = field(default_factory=set)
    others: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    skips: dict[int, str] = field(default_factory=dict)
    words: list[tuple[int, bool]] = field(default_factory=list)
    builds: dict[int, Built] = field(default_factory=dict)
    run_seconds: list[float] = field(default_factory=list)
    spent: float = 0.0
    taken: set[str] = field(default_factory=set)
    """The folders of runs that were made before."""
    reproducers: set[str] = field(default_factory=set)
    """Those that the runs were made with, as far as the log tells."""

    def take(self, event: Event) -> None:
        """Add one event.  Raises UsageError for one that this bisection cannot have."""
        try:
            self._take(event)
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"an event that makes no sense: {event}: {error!r}") from None

    def _take(self, event: Event) -> None:
        kind = event["event"]
        if kind == "wanted":
            self.wanted, self.title = str(event["race"]), str(event.get("title", ""))
            return
        if kind not in ("run", "build", "skip", "word"):
            return
        commit = int(event["commit"])
        if not 0 <= commit <= self.n:
            raise ValueError(f"there is no commit {commit}")
        if kind == "run":
            count = from_json(event)
            self._run(commit, count)
            self.reproducers |= {count.reproducer} - {""}
            if event.get("earlier"):
                self.taken.add(count.folder)
                return
            seconds = float(event["seconds"])
            self.run_seconds.append(seconds)
            self.spent += seconds
        elif kind == "build":
            self.builds[commit] = Built(str(event["image"]), float(event["seconds"]))
            self.spent += float(event["seconds"])
        elif kind == "skip":
            self.skips[commit] = str(event["why"])
        else:
            self.words.append((commit, event["word"] == "bad"))

    def _run(self, commit: int, count: Count) -> None:
        if count.seen is Seen.FAIL and not self.wanted and commit == self.n and count.sightings:
            self.wanted, self.title = count.sightings[0].race, count.sightings[0].title
        if count.seen is Seen.PASS:
            self._add(commit, Tally(passes=1))
        elif count.seen is Seen.FAIL and self.wanted and count.shows(self.wanted):
            self._add(commit, Tally(fails=1))
        else:
            self.voids.setdefault(commit, []).append(count.why)
        if count.lacking:
            self.lacking.add(commit)
        for sighting in count.sightings[:1]:
            if not count.shows(self.wanted):
                self.others.setdefault((sighting.race, sighting.title), []).append(commit)

    def _add(self, commit: int, tally: Tally) -> None:
        self.counts[commit] = self.counts.get(commit, Tally()) + tally

    @property
    def runs(self) -> int:
        return sum(tally.runs for tally in self.counts.values()) + sum(
            len(reasons) for reasons in self.voids.values()
        )

    def alike(self, commit: int) -> Tally:
        """The runs of ``commit`` and of the commits that came to the same kernel."""
        image = self.builds[commit].image if commit in self.builds else None
        same = [n for n, built in self.builds.items() if image and built.image == image]
        return sum((self.counts.get(n, Tally()) for n in {commit, *same}), Tally())

    def vain(self, commit: int) -> str:
        """Why nothing more is to be had of ``commit``; empty while it is worth running.

        Some runs say nothing on any commit, where a case needs luck to be exercised: it takes
        more of them, one after the other, than the other commits would let expect.
        """
        reasons = self.voids.get(commit, [])
        if commit in self.counts or not reasons:
            return ""
        others = sum(tally.runs for tally in self.counts.values())
        empty = sum(len(where) for at, where in self.voids.items() if at != commit)
        share = (empty + 1) / (others + empty + 2) if others + empty else 0.0
        luck = len(reasons) < VOIDS or share ** len(reasons) > LUCK
        if luck and commit not in self.lacking:
            return ""
        runs = f"{len(reasons)} run" + ("s, none of which counts" if len(reasons) > 1 else "")
        return f"{runs}: {reasons[-1]}"


def fold(n: int, events: Iterable[Event]) -> Casebook:
    book = Casebook(n)
    for event in events:
        book.take(event)
    return book


def belief(book: Casebook, commits: Commits) -> Belief:
    """What the casebook makes likely.  A run of commits that come to one kernel is one."""
    weights = [commit.weight for commit in commits.all[1:]]
    first: dict[str, int] = {}
    for number in sorted(book.builds):
        image = book.builds[number].image
        for between in range(first.setdefault(image, number) + 1, number + 1):
            weights[between - 1] = 0.0
    testable = [number not in book.skips for number in range(book.n + 1)]
    return Belief(book.n, weights=weights, testable=testable, words=book.words)


def costs(book: Casebook, commits: Commits, known: Sequence[int]) -> Costs:
    """In seconds.  ``known`` are the commits whose kernels are there; the last one built is what
    the work tree holds.
    """
    work = np.concatenate(([0.0], np.cumsum([float(c.work) for c in commits.all[1:]])))
    last = next(reversed(book.builds), None)
    there: Floats = np.zeros(book.n + 1)
    there[list(known)] = 1.0

    def units(target: Ints) -> Floats:
        if last is None:
            return np.full(target.size, _MOST)
        return np.asarray(np.minimum(LINK + _EACH * np.abs(work[target] - work[last]), _MOST))

    seen = [built.seconds for built in book.builds.values() if built.seconds > 5.0]
    unit = statistics.median(seen[1:] or seen) if seen else FIRST_BUILD
    run = max(1.0, statistics.fmean(book.run_seconds)) if book.run_seconds else FIRST_RUN
    return Costs(run, lambda target: unit * units(target) * (1.0 - there[target]))


def assumed(book: Casebook, under_way: Iterable[int]) -> dict[int, Tally]:
    """The counts as they will be if all that is under way passes, as most runs do."""
    counts = dict(book.counts)
    for commit in under_way:
        counts[commit] = counts.get(commit, Tally()) + Tally(passes=1)
    return counts
