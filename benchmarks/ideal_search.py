"""What the best search of all would cost on a few commits: by dynamic programming.

python benchmarks/ideal_search.py [--n 4] [--build 1] [--most 22]

It knows no rate but for the flat prior, and stops where the harness's search stops.  Of all
policies it is the one with the smallest cost in the mean over that prior; beside it, by the same
sums, the greedy policy of the harness (bits per cost).  Clean commits never fail here, which both
know.  Games longer than --most runs are cut, and what they would still cost is guessed: take a
larger one and see whether the figures stay.  Without numba it takes hours.

A state is: the lowest commit that failed; fails and passes, summed, of the commits from there on;
the passes of each commit below.  All states of as many runs are a layer, and layers are solved
from the longest game to the shortest.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from bisect_sim import Cell, limit
from compiled import njit
from numpy.typing import NDArray

from harness.campaign.belief import Prior
from harness.campaign.search import Policy

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RATES = np.array([0.9, 0.5])
"""Where the cost is told: a game at a lower rate is too long for all of its states to be kept."""


@dataclass(frozen=True)
class Found:
    """``mean`` is the expected cost over the prior once the bad end has failed, ``by_rate`` the
    whole cost at each of RATES, over all culprits.
    """

    mean: float
    by_rate: tuple[float, ...]


def solve(n: int, build: float, most: int, enough: float, greedy: bool) -> Found:
    prior = np.full(n + 1, (1.0 - Prior().in_good) / n)
    prior[0] = Prior().in_good
    log = np.array([math.lgamma(k + 1) for k in range(2 * most + 40)])
    choose = np.array([[math.comb(a, b) for b in range(n + 3)] for a in range(most + n + 4)])
    mean, by_rate = _solve(n, build, most, enough, greedy, choose, log, prior, RATES)
    return Found(float(mean), tuple(map(float, by_rate)))


@njit
def _rank(state: Ints, choose: Ints) -> int:
    """The place of a state in its layer, in the order of _next."""
    left, rank = state.sum(), 0
    for i in range(state.size - 1):
        behind = state.size - 1 - i
        rank += choose[left + behind, behind] - choose[left - state[i] + behind, behind]
        left -= state[i]
    return rank


@njit
def _next(state: Ints) -> bool:
    last = state.size - 1
    while last >= 0 and state[last] == 0:
        last -= 1
    if last <= 0:
        return False
    moved, state[last] = state[last], 0
    state[last - 1] += 1
    state[-1] = moved - 1
    return True


@njit
def _posterior(state: Ints, lowest: int, log: Floats, prior: Floats, weight: Floats) -> int:
    """Of the culprits 0 (in good) to ``lowest``; the likeliest is returned."""
    fails, passes = state[-2], state[-1]
    for c in range(lowest, -1, -1):
        if c < lowest:
            passes += state[c]
        weight[c] = math.log(prior[c]) + log[fails] + log[passes] - log[fails + passes + 1]
    weight[: lowest + 1] = np.exp(weight[: lowest + 1] - weight[: lowest + 1].max())
    weight[: lowest + 1] /= weight[: lowest + 1].sum()
    return int(weight[: lowest + 1].argmax())


@njit
def _fails(state: Ints, lowest: int, commit: int, weight: Floats) -> float:
    """The probability that a run of ``commit`` fails."""
    chance, passes = 0.0, state[-1]
    for c in range(lowest, -1, -1):
        if c < lowest:
            passes += state[c]
        if commit >= c:
            chance += weight[c] * (state[-2] + 1.0) / (state[-2] + passes + 2.0)
    return chance


@njit
def _greedy(state: Ints, lowest: int, log: Floats, weight: Floats, build: float) -> int:
    """The commit with the most bits per cost, over batches of 1 to 16 runs."""
    best, chosen, fails = -1.0, 0, state[-2]
    for i in range(lowest):
        before, runs = 1.0, 0.0
        for k in range(1, 17):
            silence, doubt, passes = 0.0, 0.0, state[-1]
            for c in range(lowest, -1, -1):
                if c < lowest:
                    passes += state[c]
                quiet = 1.0
                if i >= c:
                    ratio = log[passes + k] - log[passes]
                    ratio += log[fails + passes + 1] - log[fails + passes + k + 1]
                    quiet = math.exp(ratio)
                    doubt += weight[c] * _nats(quiet)
                silence += weight[c] * quiet
            runs += 0.5 * (before + silence)
            before = silence
            cost = runs + 0.5 * (1.0 - silence) + (0.0 if state[i] else build)
            worth = (_nats(silence) - doubt) / cost
            if worth > best:
                best, chosen = worth, i
    return chosen


@njit
def _nats(p: float) -> float:
    p = min(max(p, 1e-15), 1.0 - 1e-15)
    return -(p * math.log(p) + (1.0 - p) * math.log(1.0 - p))


@njit
def _solve(
    n: int,
    build: float,
    most: int,
    enough: float,
    greedy: bool,
    choose: Ints,
    log: Floats,
    prior: Floats,
    rates: Floats,
) -> Any:
    parts = n + 2  # passes of the commits 0 to n-1; fails and passes from the lowest bad on
    weight, after = np.zeros(n + 1), np.zeros(parts, np.int64)
    later, told_later = np.zeros((n + 1, 1)), np.zeros((n + 1, 1, n + 1, rates.size))
    whole, mean = np.zeros(rates.size), 0.0
    for runs in range(most, 0, -1):
        size = choose[runs + parts - 1, parts - 1]
        now, told = np.zeros((n + 1, size)), np.zeros((n + 1, size, n + 1, rates.size))
        state = np.zeros(parts, np.int64)
        state[-1] = runs
        at, more = -1, True
        while more:
            at += 1
            for lowest in range(n + 1):
                if state[-2] == 0 or state[lowest:n].sum() > 0:
                    continue
                likeliest = _posterior(state, lowest, log, prior, weight)
                if weight[likeliest] >= enough:
                    continue
                if runs == most:
                    need = math.log((1.0 - weight[likeliest]) / (1.0 - enough))
                    now[lowest, at] = max(1.0, need * (runs + 2.0) / (state[-2] + 1.0))
                    told[lowest, at] = now[lowest, at]
                    continue
                wanted = _greedy(state, lowest, log, weight, build) if greedy else -1
                best = math.inf
                for i in range(lowest + 1):
                    if wanted not in (-1, i):
                        continue
                    cost = 1.0 + (build if i < lowest and state[i] == 0 else 0.0)
                    # It fails: all from there on is bad.
                    after[:] = state
                    after[-2] += 1
                    after[-1] += after[i:n].sum()
                    after[i:n] = 0
                    bad = _rank(after, choose)
                    after[:] = state
                    after[i if i < lowest else -1] += 1
                    good = _rank(after, choose)
                    chance = _fails(state, lowest, i, weight)
                    value = cost + chance * later[i, bad] + (1.0 - chance) * later[lowest, good]
                    if value < best:
                        best = value
                        now[lowest, at] = value
                        for c in range(lowest + 1):
                            for r in range(rates.size):
                                p = rates[r] if i >= c else 0.0
                                gone = told_later[i, bad, c, r] if i >= c else 0.0
                                kept = told_later[lowest, good, c, r]
                                told[lowest, at, c, r] = cost + p * gone + (1.0 - p) * kept
            more = _next(state)
        # The bad end is run until it fails first.
        state[:] = 0
        state[-2], state[-1] = 1, runs - 1
        start = _rank(state, choose)
        for r in range(rates.size):
            chance = rates[r] * (1.0 - rates[r]) ** (runs - 1)
            whole[r] += chance * (runs + told[n, start, 1:, r].mean())
        mean = now[n, start]
        later, told_later = now, told
    return mean, whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=4)
    parser.add_argument("--build", type=float, default=1.0)
    parser.add_argument("--most", type=int, default=22)
    args = parser.parse_args()
    for greedy in (True, False):
        found = solve(args.n, args.build, args.most, Policy().enough, greedy)
        shown = "  ".join(
            f"at {rate:g}: {cost:.2f}, {cost / limit(Cell(args.n, rate, 0.0, args.build)):.2f}x"
            for rate, cost in zip(RATES, found.by_rate, strict=True)
        )
        name = "greedy" if greedy else "ideal"
        print(f"{name:>6}  mean once the bad end failed: {found.mean:.2f}  {shown}", flush=True)


if __name__ == "__main__":
    main()
