"""Which commit did it: the loop that runs what the search asks for, and keeps all of it.

Builds run in a thread of their own where several guests run at a time, so that guests on kernels
that are there already do not wait for the next one.  What is under way is taken for a pass while
the next run is chosen: runs spread over commits by themselves.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from harness.campaign.belief import Belief, Leader
from harness.campaign.bench import Bench, Ready
from harness.campaign.casebook import Casebook, assumed, belief, costs, fold
from harness.campaign.commits import Commits
from harness.campaign.count import Count, as_json
from harness.campaign.earlier import Earlier
from harness.campaign.logbook import Event, Logbook
from harness.campaign.search import Batch, Policy, consider
from harness.errors import CompileError, PatchError, UsageError

PATIENCE = 100
"""So many runs of the bad end without a failure, and the bug is not looked for any longer."""

_POLL = 0.5
"""Seconds between two looks at a build while guests run."""


class Ending(Enum):
    FOUND = "found"
    IN_GOOD = "in good"
    NEVER_BAD = "never bad"
    NOT_EXERCISED = "not exercised"
    BUDGET = "budget"
    NOTHING_LEFT = "nothing left"


@dataclass(frozen=True)
class Budget:
    """``runs`` and ``seconds`` are those of this sitting; None: no limit."""

    runs: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Answer:
    """``first`` to ``last`` are the commits that may be it, mostly one; ``probability`` that it
    is among them.  ``why`` says what stood in the way.
    """

    ending: Ending
    first: int = 0
    last: int = 0
    probability: float = 0.0
    why: str = ""


@dataclass
class Bisection:
    """One bisection under way: ``book`` sums up what ``log`` holds, ``earlier`` are runs that may
    be of its commits.  ``reproducer`` is that of all runs, as Count has it.
    """

    commits: Commits
    log: Logbook
    policy: Policy = field(default_factory=Policy)
    on_event: Callable[[Event, Casebook], None] = lambda event, book: None
    image_of: Callable[[Ready], str] = lambda ready: ready.kernel.content_id
    patience: int = PATIENCE
    earlier: Earlier = field(default_factory=dict)
    reproducer: str = ""
    book: Casebook = field(init=False)

    def __post_init__(self) -> None:
        events = self.log.read() if self.log.path.exists() else []
        self.book = fold(self.commits.n, events)

    def note(self, event: str, **facts: object) -> None:
        """Keep, then count, then tell."""
        made = self.log.append(event, facts)
        self.book.take(made)
        self.on_event(made, self.book)

    def take_over(self, commit: int, counts: Iterable[Count]) -> None:
        """Runs of ``commit`` that were made before this bisection; each is taken once."""
        for count in counts:
            if count.folder not in self.book.taken and count.reproducer == self.reproducer:
                self.note("run", commit=commit, earlier=True, **as_json(count))

    def run(self, bench: Bench, budget: Budget) -> Answer:
        """Go on until there is an answer; what has been learned before is built upon.

        Raises UsageError where that was learned with another reproducer.
        """
        if others := self.book.reproducers - {self.reproducer}:
            raise UsageError(
                f"{self.log.path}: its runs were made with another build of the reproducer"
                f" ({', '.join(sorted(others))}; now it is {self.reproducer})",
                hint="start anew: how often another one fails says nothing of this one",
            )
        return _Sitting(self, bench, budget).run()

    def leader(self) -> Leader:
        seen = belief(self.book, self.commits)
        return seen.leader(seen.groups(self.book.counts))


class _Sitting:
    """From a start or a resumption to an answer or an interruption."""

    def __init__(self, owner: Bisection, bench: Bench, budget: Budget) -> None:
        self._owner, self._bench, self._budget = owner, bench, budget
        self._ready: dict[int, Ready] = {}
        self._building: tuple[int, Future[Ready]] | None = None
        self._under_way: dict[Future[Count], tuple[int, float]] = {}
        self._start = time.monotonic()
        self._runs = 0

    @property
    def _book(self) -> Casebook:
        return self._owner.book

    def run(self) -> Answer:
        while True:
            answer = self._stop() or self._fill()
            if not self._under_way and not self._building:
                if answer:
                    return answer
                continue
            if not answer or self._under_way:
                self._collect()
            else:
                self._end_build(wait_for_it=True)

    def _stop(self) -> Answer | None:
        """What ends the sitting, whatever is under way."""
        book, n = self._book, self._owner.commits.n
        if why := book.vain(n):
            return Answer(Ending.NOT_EXERCISED, why=why)
        if n in book.skips:
            return Answer(Ending.NOT_EXERCISED, why=f"the bad end is skipped: {book.skips[n]}")
        end = book.counts.get(n)
        if end and not end.fails and end.runs >= self._owner.patience:
            return Answer(Ending.NEVER_BAD, why=f"the bad end passed {end.passes} times of as many")
        if self._budget.runs is not None and self._runs >= self._budget.runs:
            return self._leading(Ending.BUDGET, f"{self._runs} runs were made")
        elapsed = time.monotonic() - self._start
        if self._budget.seconds is not None and elapsed >= self._budget.seconds:
            return self._leading(Ending.BUDGET, f"{elapsed:.0f} s are over")
        return None

    def _leading(self, ending: Ending, why: str) -> Answer:
        leader = self._owner.leader()
        return Answer(ending, leader.first, leader.last, leader.probability, why)

    def _fill(self) -> Answer | None:
        """Start what is worth starting; an answer where nothing more is wanted."""
        while len(self._under_way) < self._bench.width:
            if self._stop():
                return None
            book, commits = self._book, self._owner.commits
            seen = belief(book, commits)
            runs_on = [commit for commit, _ in self._under_way.values()]
            price = costs(book, commits, list(self._ready))
            step = consider(seen, assumed(book, runs_on), price, self._owner.policy)
            if not isinstance(step, Batch):
                if self._under_way:
                    return None  # the answer waits for what it takes for granted
                return self._answer(step, seen)
            if self._begin(step.commit):
                continue
            if not self._ready or self._bench.width == 1:
                return None
            # A build is under way: guests go on with what is there, if that tells anything.
            step = consider(
                seen.only(self._ready), assumed(book, runs_on), price, self._owner.policy
            )
            if not isinstance(step, Batch) or step.commit not in self._ready:
                return None
            self._begin(step.commit)
        return None

    def _begin(self, commit: int) -> bool:
        """Run ``commit``, or see to it that it is built; whether a run was started."""
        ready = self._ready.get(commit)
        if ready:
            begun = time.monotonic()
            self._runs += 1
            self._under_way[self._bench.start(ready)] = (commit, begun)
            return True
        if self._building is None:
            spec = self._owner.commits.all[commit].spec
            self._building = (commit, _started(lambda: self._bench.build(spec)))
            if self._bench.width == 1:
                self._end_build(wait_for_it=True)
        return False

    def _collect(self) -> None:
        """Take in what has ended: runs, and the build."""
        if self._building and not self._under_way:
            self._end_build(wait_for_it=True)
            return
        for future, count in self._bench.next(_POLL if self._building else None):
            commit, begun = self._under_way.pop(future)
            seconds = round(time.monotonic() - begun, 2)
            self._owner.note("run", commit=commit, seconds=seconds, **as_json(count))
            self._skip_if_vain(commit, count)
        self._end_build(wait_for_it=False)

    def _skip_if_vain(self, commit: int, count: Count) -> None:
        book = self._book
        if commit in book.skips or commit == self._owner.commits.n:
            return
        if why := book.vain(commit):
            self._owner.note("skip", commit=commit, why=why)

    def _end_build(self, *, wait_for_it: bool) -> None:
        if self._building is None:
            return
        commit, future = self._building
        if wait_for_it:
            wait([future])
        elif not future.done():
            return
        self._building = None
        try:
            ready = future.result()
        except (CompileError, PatchError) as error:
            if commit == self._owner.commits.n:
                raise
            self._owner.note("skip", commit=commit, why=f"does not build: {error.what}")
            return
        self._ready[commit] = ready
        image = self._owner.image_of(ready)
        if self._book.builds.get(commit) is None or ready.seconds > 5.0:
            self._owner.note("build", commit=commit, seconds=round(ready.seconds, 2), image=image)
        self._owner.take_over(commit, self._owner.earlier.get(ready.kernel.content_id, ()))

    def _answer(self, step: Leader | None, seen: Belief) -> Answer:
        if step is None:
            return self._leading(Ending.NOTHING_LEFT, "no run of what is left would tell anything")
        n = self._owner.commits.n
        if step.first > n:
            return Answer(Ending.NEVER_BAD, step.first, step.last, step.probability)
        if step.last == 0:
            return Answer(Ending.IN_GOOD, 0, 0, step.probability)
        first, last = max(step.first, 1), min(step.last, n)
        share = np.diff(seen.below)[first : last + 1]
        kept = [first + number for number, weight in enumerate(share) if weight > 0.0]
        return Answer(Ending.FOUND, kept[0], kept[-1], step.probability)


def _started(build: Callable[[], Ready]) -> Future[Ready]:
    """A build in a thread that no interrupted harness waits for: make ends with the harness."""
    future: Future[Ready] = Future()

    def work() -> None:
        try:
            future.set_result(build())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, name="build", daemon=True).start()
    return future


def forecast(book: Casebook, commits: Commits) -> tuple[int, int] | None:
    """About how many more runs and builds it takes; None before the bad end has failed.

    From the entropy that is left and what a run gives at the rate seen so far; a rate that
    nobody knows costs about half as much again.
    """
    end = book.counts.get(commits.n)
    if not end or not end.fails:
        return None
    seen = belief(book, commits)
    groups = seen.groups(book.counts)
    inside = seen.mass(groups.low, groups.high)
    parts = np.diff(seen.below)
    bits = 0.0
    for g in np.flatnonzero(groups.weight > 1e-9):
        low, high = int(groups.low[g]), int(groups.high[g])
        share = parts[low + 1 : high + 1] * (groups.weight[g] / inside[g])
        share = share[share > 0.0]
        bits -= float((share * np.log2(share)).sum())
    rates = (groups.bad_fails + 0.5) / (groups.bad_fails + groups.bad_passes + 1.0)
    rate = min(0.99, float((groups.weight * rates).sum()))
    each = math.log2(1.0 + rate * (1.0 - rate) ** ((1.0 - rate) / rate))
    proof = math.log(40.0) / rate
    return math.ceil(1.4 * bits / each + proof), math.ceil(bits)
