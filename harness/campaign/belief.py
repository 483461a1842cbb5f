"""Which commit did it: what counts of passes and fails make of it.  Pure; no I/O.

Commit 0 is the good end of a range, commit n the bad end.  Hypothesis c, from 1 to n, says that
commits c and later carry the bug.  Hypothesis 0 says that the good end has it already, n+1 that
not even the bad end has it.  A commit with the bug fails in a share p of its runs, one without it
in a share f (false alarms).  Neither is known: both are integrated out under mixtures of
Beta priors, which leaves a closed form of the counts on either side of c.

Commits that nobody ran lie between those that somebody ran; the hypotheses between two
neighbours of the latter are equally likely but for their prior, and are kept as one group.  So
the work grows with the number of commits that were run, not with the length of the range.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Tally:
    """What runs on one commit came to.  VOID runs are counted by nobody."""

    passes: int = 0
    fails: int = 0

    @property
    def runs(self) -> int:
        return self.passes + self.fails

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.passes + other.passes, self.fails + other.fails)


WORD = 50.0
"""How much likelier a person's "good" or "bad" makes it that it is so."""

Beta = tuple[float, float, float]
"""One part of a prior: its share, then a and b of a Beta distribution."""


@dataclass(frozen=True)
class Prior:
    """``rate`` and ``alarm`` are the priors of p and f, each a mixture.

    ``rate`` is flat: priors that lean to rare races make every pass cheaper than it is, and were
    the dearer ones in simulation at any rate from 0.05 up.  ``alarm`` has two parts, for a
    bench's alarm rate is not known beforehand: on most benches a clean run hardly ever fails, on
    some one in a hundred does.  One part, Beta(0.5, 200), is some 3 % cheaper where none fails, up
    to 9 % in a short series, and names a wrong commit in 4.2 instead of 3.0 % where one in a
    hundred does, at a rate of 0.2: that is worse than a few runs more.
    ``in_good`` and ``in_none`` are the shares of the two hypotheses that no commit of the range
    did it.
    """

    rate: tuple[Beta, ...] = ((1.0, 1.0, 1.0),)
    alarm: tuple[Beta, ...] = ((0.8, 0.5, 250.0), (0.2, 1.0, 60.0))
    in_good: float = 0.05
    in_none: float = 0.02


class _Rising:
    """log(x (x+1) ... (x+k-1)) for all k up to what is asked for: the only function that a Beta
    marginal of counts needs, as a table.
    """

    def __init__(self, x: float) -> None:
        self._x = x
        self._table: Floats = np.zeros(1)

    def __call__(self, k: Ints) -> Floats:
        top = int(k.max(initial=0))
        if top >= self._table.size:
            steps = np.log(self._x + np.arange(max(2 * top, 1024), dtype=np.float64))
            self._table = np.concatenate(([0.0], np.cumsum(steps)))
        return self._table[k]


class _Part:
    """The marginal of counts under one Beta distribution, in logarithms."""

    def __init__(self, share: float, a: float, b: float) -> None:
        self._share = math.log(share)
        self._a, self._b, self._ab = _Rising(a), _Rising(b), _Rising(a + b)

    def loglik(self, fails: Ints, passes: Ints) -> Floats:
        return self._share + self._a(fails) + self._b(passes) - self._ab(fails + passes)

    def silent(self, fails: Ints, passes: Ints, more: Ints) -> Floats:
        after, runs = passes + more[:, None], fails + passes
        log = self._b(after) - self._b(passes) - self._ab(runs + more[:, None]) + self._ab(runs)
        return np.exp(log)


class Rate:
    """A rate that nobody knows: what counts say of it, under a mixture of Beta distributions."""

    def __init__(self, parts: Sequence[Beta]) -> None:
        self._parts = [_Part(*part) for part in parts]

    def loglik(self, fails: Ints, passes: Ints) -> Floats:
        """Log of the probability of the counts."""
        whole = self._parts[0].loglik(fails, passes)
        for part in self._parts[1:]:
            whole = np.logaddexp(whole, part.loglik(fails, passes))
        return whole

    def silent(self, fails: Ints, passes: Ints, more: Ints) -> Floats:
        """Probability that each of ``more`` (rows) further runs passes, after counts (columns)."""
        if len(self._parts) == 1:
            return self._parts[0].silent(fails, passes, more)
        whole = self.loglik(fails, passes)
        found: Floats = np.zeros((more.size, fails.size))
        for part in self._parts:
            share = np.exp(part.loglik(fails, passes) - whole)
            found += share * part.silent(fails, passes, more)
        return found


@dataclass(frozen=True)
class Groups:
    """The posterior, group by group: group g holds the hypotheses ``low[g] < c <= high[g]``.

    ``weight`` sums to 1.  ``bad_*`` and ``clean_*`` are the counts on either side.
    """

    low: Ints
    high: Ints
    weight: Floats
    bad_fails: Ints
    bad_passes: Ints
    clean_fails: Ints
    clean_passes: Ints


@dataclass(frozen=True)
class Leader:
    """The likeliest answer: the hypotheses ``first`` to ``last``, which no run can tell apart
    (mostly one), and the probability that it is right.
    """

    first: int
    last: int
    probability: float


class Belief:
    """A range of ``n`` commits, and how to read counts of runs on them.

    ``weights`` are relative prior weights of the hypotheses 1 to n, equal where not given; a
    commit that changes nothing in what is built has 0.  ``testable`` tells of commits 0 to n
    which ones can be run at all.  ``words`` are what people say: (commit, whether it is bad).  A
    word weighs, and runs can still prove it wrong.
    """

    def __init__(
        self,
        n: int,
        prior: Prior | None = None,
        weights: Sequence[float] | None = None,
        testable: Sequence[bool] | None = None,
        words: Sequence[tuple[int, bool]] = (),
    ) -> None:
        self.n = n
        self.prior = prior or Prior()
        inner = np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)
        inner = inner / max(inner.sum(), 1e-300)
        share = 1.0 - self.prior.in_good - self.prior.in_none
        whole = np.concatenate(([self.prior.in_good], share * inner, [self.prior.in_none]))
        for commit, bad in words:
            agrees = np.arange(n + 2) <= commit
            whole[agrees if bad else ~agrees] *= WORD
        whole = whole / whole.sum()
        self.below: Floats = np.concatenate(([0.0], np.cumsum(whole)))
        """``below[c]`` is the prior of all hypotheses smaller than c."""
        self.testable = (
            np.ones(n + 1, dtype=bool) if testable is None else np.asarray(testable, dtype=bool)
        )
        self.rate, self.alarm = Rate(self.prior.rate), Rate(self.prior.alarm)

    @cached_property
    def places(self) -> Ints:
        """The commits that can be run."""
        return np.flatnonzero(self.testable)

    def only(self, commits: Collection[int]) -> Belief:
        """The same belief where nothing but ``commits`` can be run."""
        made = copy.copy(self)
        made.__dict__.pop("places", None)
        kept = np.zeros(self.n + 1, dtype=bool)
        kept[list(commits)] = True
        made.testable = self.testable & kept
        return made

    def mass(self, low: Ints, high: Ints) -> Floats:
        """Prior of the hypotheses ``low < c <= high``."""
        return self.below[high + 1] - self.below[low + 1]

    def groups(self, counts: Mapping[int, Tally]) -> Groups:
        """The posterior after ``counts``."""
        seen = sorted(commit for commit, tally in counts.items() if tally.runs)
        edges = np.array([-1, *seen, self.n + 1], dtype=np.int64)
        fails = np.array([0, *(counts[commit].fails for commit in seen)], dtype=np.int64)
        passes = np.array([0, *(counts[commit].passes for commit in seen)], dtype=np.int64)
        clean_fails, clean_passes = np.cumsum(fails), np.cumsum(passes)
        bad_fails, bad_passes = clean_fails[-1] - clean_fails, clean_passes[-1] - clean_passes
        low, high = edges[:-1], edges[1:]
        with np.errstate(divide="ignore"):
            log = np.log(self.mass(low, high))
        log = log + self.rate.loglik(bad_fails, bad_passes)
        log = log + self.alarm.loglik(clean_fails, clean_passes)
        weight = np.exp(log - log.max())
        weight = weight / weight.sum()
        return Groups(low, high, weight, bad_fails, bad_passes, clean_fails, clean_passes)

    def leader(self, groups: Groups) -> Leader:
        """The likeliest hypothesis, or set of them that no testable commit parts."""
        best = Leader(0, 0, 0.0)
        for g in np.argsort(groups.weight)[::-1]:
            weight = float(groups.weight[g])
            if weight <= best.probability:
                break
            low, high = int(groups.low[g]), int(groups.high[g])
            inside = self.inside(low, high)
            edges = np.concatenate(([low], inside, [high]))
            parts = self.mass(edges[:-1], edges[1:])
            at = int(parts.argmax())
            probability = weight * float(parts[at] / max(parts.sum(), 1e-300))
            if probability > best.probability:
                best = Leader(int(edges[at]) + 1, int(edges[at + 1]), probability)
        return best

    def inside(self, low: int, high: int) -> Ints:
        """The testable commits between the edges of a group."""
        first, last = max(low + 1, 0), min(high, self.n + 1)
        return np.flatnonzero(self.testable[first:last]) + first
