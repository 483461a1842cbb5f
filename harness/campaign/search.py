"""Which commit to run next, and how often: the most that can be learned for what it costs.  Pure.

What a batch of runs is worth is the mutual information between its outcome (did any run fail) and
the hypothesis, and it is divided by what the batch costs: the build, if there is none yet, and as
many runs as are to be expected until the first failure.  A batch that pays back its build is
longer than one on a kernel that is built already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.campaign.belief import Belief, Floats, Groups, Leader, Tally

LADDER = np.array([1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 96, 128, 192, 256, 384])
"""Lengths of a batch that are weighed against each other."""

_STEPS = np.diff(LADDER, prepend=0)[:, None]

SHARES = np.arange(1, 16) / 16.0
"""Where in a group of commits that nobody ran a new one is looked for, by its prior."""

NEGLIGIBLE = 1e-4
"""Groups below this probability are not looked into."""


NOTHING = 1e-9
"""Bits that are none: what rounding leaves of them."""


@dataclass(frozen=True)
class Costs:
    """In one unit, say seconds.  ``build`` gives what it takes to have each of some commits built,
    0 for one that is built already.
    """

    run: float
    build: Callable[[NDArray[np.int64]], Floats]


@dataclass(frozen=True)
class Batch:
    """Run ``commit`` up to ``runs`` times, and no more after the first failure."""

    commit: int
    runs: int
    bits: float
    cost: float


@dataclass(frozen=True)
class Policy:
    """``calibrate`` is how many failures of the bad end are wanted before anything else: without
    one nothing says what a pass is worth, and more come by themselves as the search goes on.
    """

    confidence: float = 0.95
    calibrate: int = 1
    spare: float = 0.5
    """The search goes on until the doubt is this share of what was asked for.  The priors are
    nobody's exact knowledge, and a few more runs at the end are cheap."""

    @property
    def enough(self) -> float:
        return 1.0 - self.spare * (1.0 - self.confidence)


def consider(
    belief: Belief, counts: Mapping[int, Tally], costs: Costs, policy: Policy
) -> Leader | Batch | None:
    """The answer where it is likely enough, else the batch to run next; None where nothing that
    can be run would tell anything more.
    """
    end = counts.get(belief.n, Tally())
    if belief.testable[belief.n] and end.fails < policy.calibrate:
        return Batch(belief.n, 1, 0.0, costs.run)
    groups = belief.groups(counts)
    if groups.weight.max() >= policy.enough:
        leader = belief.leader(groups)
        if leader.probability >= policy.enough:
            return leader
    return _best(belief, groups, costs)


def _best(belief: Belief, groups: Groups, costs: Costs) -> Batch | None:
    commits, group, share = _candidates(belief, groups)
    if not commits.size:
        return None
    bits, runs = _worth(belief, groups, group, share)
    cost = costs.build(commits)[None, :] + runs * costs.run
    per = bits / cost
    row, column = np.unravel_index(int(per.argmax()), per.shape)
    if bits[row, column] < NOTHING:
        return None
    return Batch(
        int(commits[column]),
        int(LADDER[row]),
        float(bits[row, column]),
        float(cost[row, column]),
    )


def _candidates(
    belief: Belief, groups: Groups
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Commits worth a look, the group that each lies in (or ends), and the share of that group's
    weight at or below it.
    """
    ran = np.arange(groups.high.size - 1)
    inside, group = _inside(belief, groups)
    low, high = groups.low[group], groups.high[group]
    base = belief.below[low + 1]
    at = (belief.below[inside + 1] - base) / (belief.below[high + 1] - base)
    return (
        np.concatenate((groups.high[:-1], inside)),
        np.concatenate((ran, group)),
        np.concatenate((np.ones(ran.size), at)),
    )


def _inside(belief: Belief, groups: Groups) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Commits between those that were run, and their groups: all of a small group, and of a large
    one those that part its prior in SHARES.
    """
    there = belief.places
    first = np.searchsorted(there, groups.low + 1)
    end = np.searchsorted(there, groups.high)
    base = belief.below[groups.low + 1]
    whole = belief.below[groups.high + 1] - base
    looked = np.flatnonzero((groups.weight >= NEGLIGIBLE) & (end > first) & (whole > 0.0))
    if not looked.size:
        return looked, looked
    first, last = first[looked, None], end[looked, None] - 1
    wanted = base[looked, None] + SHARES * whole[looked, None]
    above = np.searchsorted(belief.below[there + 1], wanted)
    # Those below too: one of the two may be far off.
    near = np.concatenate((above, above - 1), axis=1)
    small = last - first < near.shape[1]
    near = np.where(small, first + np.arange(near.shape[1]), near).clip(first, last)
    commits, one = np.unique(there[near], return_index=True)
    return commits, looked[one // near.shape[1]]


def _entropy(p: Floats) -> Floats:
    """Of a coin, in bits."""
    p = np.minimum(np.maximum(p, 1e-15), 1.0 - 1e-15)
    q = 1.0 - p
    found: Floats = p * np.log2(p)
    found += q * np.log2(q)
    return np.negative(found, out=found)


def _worth(
    belief: Belief, groups: Groups, group: NDArray[np.int64], share: Floats
) -> tuple[Floats, Floats]:
    """Bits and expected runs of each batch length (rows) at each candidate (columns)."""
    weight = groups.weight
    bad = belief.rate.silent(groups.bad_fails, groups.bad_passes, LADDER)
    clean = belief.alarm.silent(groups.clean_fails, groups.clean_passes, LADDER)
    silence = _at(weight * bad, weight * clean, group, share)
    doubt = _at(weight * _entropy(bad), weight * _entropy(clean), group, share)
    bits = (_entropy(silence) - doubt).clip(0.0)
    # The run after k silent ones is made with the probability that they were silent.
    before = np.concatenate((np.ones((1, silence.shape[1])), silence[:-1]))
    runs = np.cumsum(_STEPS * 0.5 * (before + silence), axis=0) + 0.5 * (1.0 - silence)
    return bits, runs


def _at(bad: Floats, clean: Floats, group: NDArray[np.int64], share: Floats) -> Floats:
    """Sums over the hypotheses: those at or below a candidate say that it is bad."""
    up, left = bad.cumsum(axis=1) - bad, clean.cumsum(axis=1)
    whole = up + left[:, -1:] - left + clean
    return np.asarray(whole[:, group] + share * (bad - clean)[:, group])
