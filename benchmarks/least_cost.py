"""The least that any search can pay, also one that is told the failure rate.

python benchmarks/least_cost.py [--n 16] [--builds 1,10] [--rates .9,.5,.2,.05] [--accuracy .97]

A lower bound, computed and not simulated, of the mean cost of every policy that names the culprit
rightly in a share --accuracy of all cases, where the culprit is any of n commits with the same
probability, clean commits never fail, and the policy knows all of that and the rate.  Beside it the
limit of bisect_sim.py, and what both come to where the bad end has to fail once before anything
else: its runs tell such a policy nothing, so that they are paid besides.

How: let a wrong answer cost a price.  Any policy pays in the mean at least what the cheapest one
does then, less the price times the errors that it is allowed.  The cheapest one comes by dynamic
programming over beliefs.  After a failure at L only the culprits 1 to L are left, and culprit c
weighs q to the number of passes of the commits c to L-1.  Only some of these beliefs are kept:
those whose weights are powers of a step, and not too small.  All others are mixtures of those, and
who is told for nothing which part of a mixture holds pays no more than who is not.  So a finer step
and more depth bring the bound nearer to what the best policy pays, and never beyond.  A build is
charged when its commit first tells something, which is no earlier than it is made.

Then what the proof alone costs one who knows the culprit beforehand, and the rate, but has to leave
behind counts that prove it to --confidence: failures of the culprit and of the bad end, and enough
passes of the culprit's parent.  Once to a reader who knows the rate, and once to one who does not,
as the harness does not: for whom a pass is worth what the failures say that it is.

Takes some minutes with numba, and days without.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

import numpy as np
from bisect_sim import Cell, limit
from compiled import njit
from numpy.typing import NDArray

from harness.campaign.belief import Prior, Rate

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SWEEPS = 2
"""How often what lies beyond the depth is looked at; each time the bound can only rise."""


@dataclass(frozen=True)
class Grid:
    """Weights of beliefs: ``step`` to the powers 0 to ``deep``."""

    step: float
    deep: int


def grid_of(rate: float, most: int) -> Grid:
    """As many passes a step as leave less than two thirds; ``most`` steps, or fewer where a
    thousandth is left.
    """
    passes = max(1, round(math.log(0.6) / math.log(1.0 - rate)))
    step = (1.0 - rate) ** passes
    return Grid(step, min(most, math.ceil(math.log(1e-3) / math.log(step))))


def bound(cell: Cell, accuracy: float, deep: int) -> float:
    """Of the mean cost.  Any price of an error proves one: the best is found on a coarser grid."""
    assert not cell.alarm
    coarse = grid_of(cell.rate, min(7, deep))
    prices = [share / cell.rate for share in (2.0, 4.0, 8.0, 12.0, 16.0, 20.0, 25.0, 30.0, 40.0)]

    def proved(price: float, grid: Grid) -> float:
        return cheapest(cell, price, grid) - price * (1.0 - accuracy)

    price = max(prices, key=lambda price: proved(price, coarse))
    return proved(price, grid_of(cell.rate, deep))


def proof(cell: Cell, confidence: float, told: bool) -> float:
    """The mean cost of a proof that the culprit is not its parent, where either is as likely.

    The culprit may be the bad end itself: then one failure and one build do.
    """
    odds = (1.0 - confidence) / confidence
    ends = 1.0 / cell.n
    if told:
        passes = math.ceil(math.log(odds) / math.log(1.0 - cell.rate))
        runs = (2.0 - ends) / cell.rate + passes
    else:
        runs = (1.0 - ends) * _untold(cell.rate, odds, 2) + ends * _untold(cell.rate, odds, 1)
    return runs + (2.0 - ends) * cell.build


def _untold(rate: float, odds: float, least: int) -> float:
    """Mean runs until failures (``least`` or more), passes of what has the bug and passes of the
    parent leave no more than ``odds``, by the cheapest policy.  The parent is run last: nothing is
    learned from its passes that is not known before.
    """
    deep, flat = math.ceil(40.0 / rate), Rate(Prior().rate)
    more = np.arange(deep + 1)
    after = np.zeros(deep + 1)  # with one failure more; beyond them all it costs nothing
    for fails in range(60, -1, -1):
        quiet = np.arange(deep + 1)
        silent = flat.silent(np.full_like(quiet, fails), quiet, more)
        enough = np.where((silent <= odds).any(axis=0), (silent <= odds).argmax(axis=0), deep)
        now = np.zeros(deep + 1)
        for passes in range(deep - 1, -1, -1):
            on = 1.0 + rate * after[passes] + (1.0 - rate) * now[passes + 1]
            now[passes] = min(on, enough[passes]) if fails >= least else on
        after = now
    return float(after[0])


def cheapest(cell: Cell, price: float, grid: Grid) -> float:
    """No policy costs less in the mean, where a wrong answer costs ``price``."""
    top = cell.n + grid.deep + 2
    choose = np.array([[math.comb(a, b) for b in range(cell.n + 1)] for a in range(top)])
    sizes = [int(choose[grid.deep + m - 1, m - 1]) for m in range(1, cell.n + 1)]
    starts = np.cumsum([0, *sizes])
    values = np.zeros(int(starts[-1]))
    known = (cell.rate, cell.build, price, grid.step, grid.deep, choose, starts, values)
    for culprits in range(1, cell.n + 1):
        for _ in range(SWEEPS):
            _sweep(culprits, *known)
    return float(values[starts[cell.n - 1]]) / cell.n


@njit
def _rank(passes: Ints, first: int, end: int, choose: Ints) -> int:
    """The place of a belief among those of as many culprits: ``passes`` of commits first to end."""
    rank, whole = 0, 0
    for i in range(first, end):
        whole += passes[i]
        rank += choose[whole + i - first, i - first + 1]
    return rank


@njit
def _sweep(
    culprits: int,
    rate: float,
    build: float,
    price: float,
    step: float,
    deep: int,
    choose: Ints,
    starts: Ints,
    values: Floats,
) -> None:
    """Costs of all beliefs about 1 to ``culprits``, of which the last failed.

    Each is multiplied by the sum of the belief's weights, where that of the last culprit is 1.
    """
    wide = culprits - 1  # commits that can be run: 1 to wide, passes[0] is that of commit 1
    mine = starts[culprits - 1]
    sums = np.full(wide, deep, np.int64)  # passes up to each commit, in steps
    passes = np.zeros(wide, np.int64)
    powers = step ** np.arange(deep + 2)
    stay = 1.0 - rate / (1.0 - step)  # of a pass: q = stay + (1 - stay) * step
    move = 1.0 - stay
    before = np.zeros(wide + 1, np.int64)  # ranks of the commits below
    above = np.zeros(wide + 1, np.int64)  # of those from here on, with one pass more
    share = np.zeros(wide + 1)  # weights of culprits up to here
    at = choose[deep + wide, wide] - 1
    while at >= 0:
        whole = 0
        for i in range(wide):
            passes[i] = sums[i] - (sums[i - 1] if i else 0)
            before[i + 1] = before[i] + choose[sums[i] + i, i + 1]
            whole = sums[i]
        for i in range(wide - 1, -1, -1):
            above[i] = above[i + 1] + choose[sums[i] + 1 + i, i + 1]
        # Culprit i+1 has passed at commits i+1 and on.
        for i in range(wide):
            share[i + 1] = share[i] + powers[whole - (sums[i - 1] if i else 0)]
        weight = share[wide] + 1.0
        best = price * (weight - 1.0)
        for i in range(wide):
            bad = share[i + 1]
            after = weight - bad + step * bad
            cost = weight
            if passes[i] == 0:
                cost += build * (rate * bad + move * after)
            cost += rate * powers[whole - (sums[i - 1] if i else 0)] * values[starts[i] + before[i]]
            if whole < deep:
                cost += move * values[mine + before[i] + above[i]]
            else:
                # The lowest culprits would weigh less than is kept: they do not, or are out.
                low = 0
                while low < i and passes[low] == 0:
                    low += 1
                rest = culprits - low - 1
                passes[i] += 1
                gone = values[starts[rest - 1] + _rank(passes, low + 1, wide, choose)]
                passes[low] -= 1
                kept = values[mine + _rank(passes, 0, wide, choose)]
                if passes[low] == 0:
                    kept -= build * (after - (low + 1) * powers[deep] * (step - 1.0))
                passes[low] += 1
                passes[i] -= 1
                cost += move * max(gone, step * kept + (1.0 - step) * gone)
            best = min(best, cost / move)
        values[mine + at] = max(best, values[mine + at])
        # The one before.
        at -= 1
        if at >= 0:
            i = 0
            while sums[i] == 0:
                i += 1
            sums[: i + 1] = sums[i] - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    numbers = lambda text: [float(word) for word in text.split(",")]  # noqa: E731
    parser.add_argument("--n", type=int, default=16)
    parser.add_argument("--builds", type=numbers, default=[1.0])
    parser.add_argument("--rates", type=numbers, default=[0.9, 0.5, 0.2, 0.05])
    parser.add_argument("--accuracy", type=float, default=0.97)
    parser.add_argument("--confidence", type=float, default=0.95, help="of the proof")
    parser.add_argument("--deep", type=int, default=11, help="powers of the step that are kept")
    args = parser.parse_args()
    kinds = ("least", "bad end too", "proof, told", "proof, untold")
    print(f"{'rate':>5} {'build':>5} {'limit':>6} " + " ".join(f"{kind:>14}" for kind in kinds))
    for rate in args.rates:
        for build in args.builds:
            cell = Cell(args.n, rate, 0.0, build)
            least = bound(cell, args.accuracy, args.deep)
            known, unknown = (proof(cell, args.confidence, told) for told in (True, False))
            costs = (least, least + 1.0 / rate, known, unknown)
            shown = " ".join(f"{cost:>8.1f} {cost / limit(cell):.2f}x" for cost in costs)
            print(f"{rate:>5g} {build:>5g} {limit(cell):>6.1f} {shown}", flush=True)


if __name__ == "__main__":
    main()
