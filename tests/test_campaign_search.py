"""The search for a culprit: against sums done the long way, and against simulated commits."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.campaign import search
from harness.campaign.belief import Belief, Beta, Floats, Leader, Prior, Tally
from harness.campaign.search import Batch, Costs, Policy, consider

GRID = (np.arange(4000) + 0.5) / 4000


def density(parts: Sequence[Beta]) -> Floats:
    """The prior at each point of the grid."""
    whole: Floats = np.zeros(GRID.size)
    for share, a, b in parts:
        weight: Floats = GRID ** (a - 1) * (1 - GRID) ** (b - 1)
        whole += share * weight / weight.sum()
    return whole


def by_hand(belief: Belief, counts: Mapping[int, Tally]) -> list[float]:
    """The posterior of each hypothesis, integrated on a grid."""
    rate, alarm = density(belief.prior.rate), density(belief.prior.alarm)
    found = []
    for c in range(belief.n + 2):
        likelihood = 1.0
        for weight, bad in ((rate, True), (alarm, False)):
            fails = sum(t.fails for j, t in counts.items() if (j >= c) is bad)
            passes = sum(t.passes for j, t in counts.items() if (j >= c) is bad)
            likelihood *= float((weight * GRID**fails * (1 - GRID) ** passes).sum())
        found.append(likelihood * float(belief.below[c + 1] - belief.below[c]))
    return [x / sum(found) for x in found]


# Priors without a pole at an end, where a grid of 4000 points would be a poor integral.
SMOOTH = Prior(rate=((1.0, 2.0, 3.0),), alarm=((0.7, 2.0, 40.0), (0.3, 3.0, 9.0)))
COUNTS = {9: Tally(2, 3), 5: Tally(4, 0), 7: Tally(1, 1), 0: Tally(3, 0)}


def test_posterior_is_what_the_integral_says() -> None:
    belief = Belief(9, SMOOTH, weights=[1, 1, 0, 1, 2, 1, 1, 1, 1])
    exact = by_hand(belief, COUNTS)
    groups = belief.groups(COUNTS)
    for g in range(groups.weight.size):
        inside = exact[int(groups.low[g]) + 1 : int(groups.high[g]) + 1]
        assert groups.weight[g] == pytest.approx(sum(inside), rel=1e-3)
    leader = belief.leader(groups)
    best = max(range(11), key=lambda c: exact[c])
    assert (leader.first, leader.last) == (best, best)
    assert leader.probability == pytest.approx(exact[best], rel=1e-3)


def test_worth_of_a_run_is_its_mutual_information() -> None:
    belief = Belief(9, SMOOTH)
    exact = by_hand(belief, COUNTS)

    def entropy(ps: Sequence[float]) -> float:
        return -sum(p * math.log2(p) for p in ps if p > 0)

    def bits(commit: int) -> float:
        rest = 0.0
        for more in (Tally(passes=1), Tally(fails=1)):
            counts = {**COUNTS, commit: COUNTS.get(commit, Tally()) + more}
            # The chance of this outcome: the ratio of what the data are worth with and without.
            chance = sum(
                exact[c] * predict(belief, COUNTS, c, commit, bool(more.fails)) for c in range(11)
            )
            rest += chance * entropy(by_hand(belief, counts))
        return entropy(exact) - rest

    groups = belief.groups(COUNTS)
    commits, group, share = search._candidates(belief, groups)
    worth, runs = search._worth(belief, groups, group, share)
    assert set(map(int, commits)) == set(range(10))
    for column, commit in enumerate(commits):
        assert worth[0, column] == pytest.approx(bits(int(commit)), abs=2e-4)
    assert np.all(runs[0] == 1.0)
    assert np.all(np.diff(runs, axis=0) >= 0.0)


def predict(belief: Belief, counts: Mapping[int, Tally], c: int, commit: int, fails: bool) -> float:
    """Probability of one more outcome at ``commit`` if ``c`` is right."""
    bad = commit >= c
    weight = density(belief.prior.rate if bad else belief.prior.alarm)
    for j, tally in counts.items():
        if (j >= c) == bad:
            weight = weight * GRID**tally.fails * (1 - GRID) ** tally.passes
    mean = float((weight * GRID).sum() / weight.sum())
    return mean if fails else 1 - mean


def free(commits: NDArray[np.int64]) -> Floats:
    return np.zeros(commits.size)


def bisect(
    belief: Belief, fails: Callable[[int], bool], policy: Policy | None = None, most: int = 3000
) -> tuple[Leader | Batch | None, dict[int, Tally]]:
    counts: dict[int, Tally] = {}
    for _ in range(most):
        step = consider(belief, counts, Costs(1.0, free), policy or Policy())
        if not isinstance(step, Batch):
            return step, counts
        more = Tally(fails=1) if fails(step.commit) else Tally(passes=1)
        counts[step.commit] = counts.get(step.commit, Tally()) + more
    return None, counts


def world(culprit: int, rate: float, alarm: float, seed: int) -> Callable[[int], bool]:
    dice = random.Random(seed)
    return lambda commit: (
        dice.random() < (rate + (1 - rate) * alarm if commit >= culprit else alarm)
    )


@pytest.mark.parametrize(("n", "rate", "alarm"), [(300, 0.5, 0.0), (300, 0.2, 0.01), (8, 0.3, 0.0)])
def test_names_the_culprit(n: int, rate: float, alarm: float) -> None:
    right, sims = 0, 30
    for seed in range(sims):
        culprit = random.Random(-seed - 1).randint(1, n)
        found, _ = bisect(Belief(n), world(culprit, rate, alarm, seed))
        assert isinstance(found, Leader)
        assert found.probability >= 0.975
        right += found.first == found.last == culprit
    assert right >= sims - 3  # 97.5 % each: four wrong of 30 would come once in 150 tries


def test_bug_that_good_has_already() -> None:
    found, counts = bisect(Belief(200), world(0, 0.4, 0.0, 1))
    assert isinstance(found, Leader)
    assert (found.first, found.last) == (0, 0)
    assert counts[0].fails, "said of a good end that was never seen to fail"


def test_parent_and_culprit_were_both_run() -> None:
    for seed in range(5):
        found, counts = bisect(Belief(50), world(20, 0.5, 0.0, seed))
        assert isinstance(found, Leader)
        assert counts[found.first].fails
        assert counts[found.first - 1].passes >= 3
        assert not counts[found.first - 1].fails


def test_commits_that_cannot_be_run_are_named_together() -> None:
    testable: Sequence[bool] = [commit not in (19, 20, 21) for commit in range(51)]
    found, counts = bisect(Belief(50, testable=testable), world(20, 0.5, 0.0, 3))
    assert isinstance(found, Leader)
    assert (found.first, found.last) == (19, 22)
    assert not set(counts) & {19, 20, 21}


def test_commit_that_changes_nothing_is_never_named() -> None:
    weights = [0.0 if 10 <= commit <= 25 else 1.0 for commit in range(1, 51)]
    found, _ = bisect(Belief(50, weights=weights), world(9, 0.6, 0.0, 4))
    assert isinstance(found, Leader)
    assert (found.first, found.last) == (9, 9)


def test_bad_end_that_never_fails_is_never_explained_away() -> None:
    found, counts = bisect(Belief(50), lambda commit: False, most=100)
    assert found is None
    assert counts == {50: Tally(passes=100)}


def test_a_build_that_costs_much_is_made_less_often() -> None:
    def builds(price: float) -> int:
        counts: dict[int, Tally] = {}
        fails = world(70, 0.2, 0.0, 5)
        costs = Costs(
            1.0, lambda commits: np.array([0.0 if c in counts else price for c in commits])
        )
        while isinstance(step := consider(Belief(128), counts, costs, Policy()), Batch):
            more = Tally(fails=1) if fails(step.commit) else Tally(passes=1)
            counts[step.commit] = counts.get(step.commit, Tally()) + more
        return len(counts)

    assert builds(200.0) <= 9 < builds(0.01)
