"""The simulator: its compiled search is the harness's own, run for run."""

from __future__ import annotations

import functools
import sys

import pytest

from harness.campaign.belief import Prior
from harness.campaign.search import Policy
from harness.paths import PROJECT

sys.path.insert(0, str(PROJECT / "benchmarks"))

from bisect_sim import Cell, World, capacity, limit, ours, quick

MIXED = Prior(rate=((0.3, 0.5, 2.0), (0.7, 3.0, 1.0)), alarm=((0.6, 0.5, 200.0), (0.4, 1.0, 50.0)))


@pytest.mark.parametrize(
    ("cell", "prior"),
    [
        (Cell(16, 0.9, 0.0, 1.0), None),
        (Cell(16, 0.3, 0.02, 10.0), None),
        (Cell(1000, 0.5, 0.01, 10.0), None),
        (Cell(1000, 0.6, 0.0, 60.0), MIXED),
    ],
)
def test_compiled_search_makes_the_same_runs(cell: Cell, prior: Prior | None) -> None:
    pytest.importorskip("numba")
    for seed in range(4):
        slow, fast = (search(World(cell, seed), Policy(), prior) for search in (ours, quick))
        assert (slow.right, slow.runs, slow.builds) == (fast.right, fast.runs, fast.builds)
        assert fast.stated == pytest.approx(slow.stated, rel=1e-9)


def test_dice_are_those_that_runs_throw() -> None:
    cell = Cell(8, 0.4, 0.1, 1.0)
    one, other = World(cell, 7), World(cell, 7)
    dice = iter(other.dice())
    for commit in (0, 8, 3, 8, 5, 1, 8) * 5:
        clean = next(dice) >= cell.alarm
        quiet = commit < other.culprit or next(dice) >= cell.rate
        assert one.run(commit) is not (clean and quiet)


def test_limit_of_what_is_known_by_hand() -> None:
    assert capacity(1.0) == pytest.approx(1.0, abs=1e-6)  # a run of a noiseless search is a bit
    assert capacity(0.5) == pytest.approx(0.3219, abs=1e-4)  # of a Z channel: log2(5/4)
    assert limit(Cell(16, 1.0, 0.0, 3.0)) == pytest.approx(4 + 4 * 3)
    assert capacity(0.5, 0.01) < capacity(0.5)


def test_ideal_search_of_what_is_known_by_hand() -> None:
    pytest.importorskip("numba")
    from ideal_search import solve

    # One commit, and 0.9 asked: its prior of 0.95 is enough once the bad end has failed.
    assert solve(1, 1.0, 12, 0.9, greedy=False).by_rate == pytest.approx((1 / 0.9, 2.0), abs=0.01)
    # At 0.975 its parent has to be built, and to pass once: a third of 0.05 is left.
    assert solve(1, 3.0, 12, 0.975, greedy=False).mean == pytest.approx(4.0, abs=0.05)
    greedy, ideal = (solve(3, 1.0, 12, 0.975, greedy=policy) for policy in (True, False))
    assert ideal.mean < greedy.mean


def cheapest_by_hand(cell: Cell, price: float, most: int) -> float:
    """Of all policies that end after ``most`` passes: each run of each commit, tried."""

    @functools.cache
    def cost(passes: tuple[int, ...]) -> float:
        """``passes`` are those of the commits 1 to L-1, and L has failed."""
        last = len(passes) + 1
        weights = [(1.0 - cell.rate) ** sum(passes[c:]) for c in range(last)]
        whole = sum(weights)
        best = price * (1.0 - max(weights) / whole)
        if sum(passes) == most:
            return best
        for i in range(last - 1):
            fails = cell.rate * sum(weights[: i + 1]) / whole
            more = (*passes[:i], passes[i] + 1, *passes[i + 1 :])
            once = 1.0 + (0.0 if passes[i] else cell.build)
            best = min(best, once + fails * cost(passes[:i]) + (1.0 - fails) * cost(more))
        return best

    return cost((0,) * (cell.n - 1))


@pytest.mark.parametrize("rate", [0.5, 0.2])
def test_least_cost_is_what_all_policies_pay(rate: float) -> None:
    pytest.importorskip("numba")
    from least_cost import Grid, bound, cheapest

    cell, price = Cell(4, rate, 0.0, 2.0), 8.0 / rate
    exact = cheapest_by_hand(cell, price, 14)
    assert 0.95 * exact < cheapest(cell, price, Grid(1.0 - rate, 14)) <= exact
    # Coarser grids prove less, and never too much.
    for steps in (2, 4):
        assert 0.6 * exact < cheapest(cell, price, Grid((1.0 - rate) ** steps, 3)) <= exact
    # Who may be wrong in three of four cases guesses.
    assert bound(cell, 0.25, 6) == pytest.approx(0.0, abs=1e-6)
    assert bound(cell, 0.99, 6) > bound(cell, 0.9, 6) > 0.0


def test_proof_of_what_is_known_by_hand() -> None:
    pytest.importorskip("numba")
    from least_cost import proof

    # Five passes are worth 1 in 32, which is less than 1 in 19.  Two failures of 1 in 2, and builds
    # of culprit and parent; where the culprit is the bad end (one in four) one of each.
    told = 5 + 0.75 * 2 / 0.5 + 0.25 * 1 / 0.5 + 1.75 * 3.0
    assert proof(Cell(4, 0.5, 0.0, 3.0), 0.95, told=True) == pytest.approx(told)
    # It always fails, which nobody knows: after f failures k passes are worth 1 in (f+1+k over k).
    # Two and three are 1 in 20, or three and three where more is asked: 1 in 35.
    for confidence, runs in ((0.95, 5), (0.97, 6)):
        cell = Cell(10**9, 1.0 - 1e-9, 0.0, 0.0)
        assert proof(cell, confidence, told=False) == pytest.approx(runs, abs=1e-6)
