"""The harness's search, compiled, for simulations that would take it hours.

The same sums as harness/campaign/belief.py and search.py, commit by commit instead of as arrays:
tests/test_simulator.py holds the two beside each other, run for run.  Needs numba.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from compiled import njit
from numpy.typing import NDArray

from harness.campaign.belief import Belief, Beta
from harness.campaign.search import LADDER, NEGLIGIBLE, NOTHING, SHARES, Policy

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

UNHEARD = 1e-13
"""Groups below this probability change no sum."""


def tables(parts: Sequence[Beta], most: int) -> Floats:
    """By part: the logarithms of its share, and of the rising factorials of a, b and a + b."""
    made = np.zeros((len(parts), 3, most + 1))
    for row, (_, a, b) in zip(made, parts, strict=True):
        for table, x in zip(row, (a, b, a + b), strict=True):
            table[1:] = np.cumsum(np.log(x + np.arange(most, dtype=np.float64)))
    return made


class Compiled:
    """A search of ``belief``, whose commits can all be run, under ``policy``."""

    def __init__(self, belief: Belief, policy: Policy, most: int) -> None:
        assert belief.testable.all()
        deep = most + int(LADDER[-1]) + 1
        self._n, self._below, self._policy, self._most = belief.n, belief.below, policy, most
        self._rate = tables(belief.prior.rate, deep)
        self._alarm = tables(belief.prior.alarm, deep)
        self._shares = [
            np.log(np.array([part[0] for part in parts]))
            for parts in (belief.prior.rate, belief.prior.alarm)
        ]

    def run(self, culprit: int, rate: float, alarm: float, build: float, dice: Floats) -> Any:
        """(culprit, probability, runs, builds); the culprit is -1 where there is no answer.

        ``dice`` are what a World draws, one after the other.
        """
        return _run(
            self._n,
            self._below,
            self._rate,
            self._shares[0],
            self._alarm,
            self._shares[1],
            self._policy.calibrate,
            self._policy.enough,
            self._most,
            culprit,
            rate,
            alarm,
            build,
            dice,
            LADDER.astype(np.int64),
            SHARES,
        )


@njit
def _loglik(table: Floats, shares: Floats, fails: int, passes: int) -> float:
    whole = -math.inf
    for part in range(table.shape[0]):
        one = shares[part] + table[part, 0, fails] + table[part, 1, passes]
        one -= table[part, 2, fails + passes]
        high, low = max(whole, one), min(whole, one)
        whole = high + math.log1p(math.exp(low - high)) if low > -math.inf else high
    return whole


@njit
def _silent(table: Floats, shares: Floats, fails: int, passes: int, more: int) -> float:
    whole = _loglik(table, shares, fails, passes) if table.shape[0] > 1 else 0.0
    runs, found = fails + passes, 0.0
    for part in range(table.shape[0]):
        log = table[part, 1, passes + more] - table[part, 1, passes]
        log += table[part, 2, runs] - table[part, 2, runs + more]
        if table.shape[0] > 1:
            log += shares[part] + table[part, 0, fails] + table[part, 1, passes]
            log -= table[part, 2, runs] + whole
        found += math.exp(log)
    return found


@njit
def _entropy(p: float) -> float:
    p = min(max(p, 1e-15), 1.0 - 1e-15)
    q = 1.0 - p
    return -(p * math.log2(p) + q * math.log2(q))


@njit
def _run(
    n: int,
    below: Floats,
    rates: Floats,
    rate_shares: Floats,
    alarms: Floats,
    alarm_shares: Floats,
    calibrate: int,
    enough: float,
    most: int,
    culprit: int,
    rate: float,
    alarm: float,
    build: float,
    dice: Floats,
    ladder: Ints,
    shares: Floats,
) -> tuple[int, float, int, int]:
    seen, fails, passes = np.zeros((3, n + 1), np.int64)
    count, runs, cast = 0, 0, 0
    low, high = np.zeros(n + 2, np.int64), np.zeros(n + 2, np.int64)
    weight = np.zeros(n + 2)
    rungs = ladder.size
    bad_fails, bad_passes = np.zeros(n + 2, np.int64), np.zeros(n + 2, np.int64)
    clean_fails, clean_passes = np.zeros(n + 2, np.int64), np.zeros(n + 2, np.int64)
    silent_bad, silent_clean = np.zeros((rungs, n + 2)), np.zeros((rungs, n + 2))
    doubt_bad, doubt_clean = np.zeros((rungs, n + 2)), np.zeros((rungs, n + 2))
    wide = 2 * shares.size
    near = np.zeros(wide, np.int64)
    commits, group = np.zeros((n + 2) * 2, np.int64), np.zeros((n + 2) * 2, np.int64)
    share = np.zeros((n + 2) * 2)
    while runs < most:
        chosen = n
        if fails[n] >= calibrate:
            # The groups, and how likely each is.
            total_fails, total_passes = 0, 0
            for at in range(count):
                total_fails += fails[seen[at]]
                total_passes += passes[seen[at]]
            groups, f, p, top = count + 1, 0, 0, -math.inf
            for g in range(groups):
                low[g] = seen[g - 1] if g else -1
                high[g] = seen[g] if g < count else n + 1
                if g:
                    f += fails[low[g]]
                    p += passes[low[g]]
                clean_fails[g], clean_passes[g] = f, p
                bad_fails[g], bad_passes[g] = total_fails - f, total_passes - p
                mass = below[high[g] + 1] - below[low[g] + 1]
                weight[g] = math.log(mass) if mass > 0.0 else -math.inf
                weight[g] += _loglik(rates, rate_shares, bad_fails[g], bad_passes[g])
                weight[g] += _loglik(alarms, alarm_shares, f, p)
                top = max(top, weight[g])
            whole = 0.0
            for g in range(groups):
                weight[g] = math.exp(weight[g] - top)
                whole += weight[g]
            most_likely = 0.0
            for g in range(groups):
                weight[g] /= whole
                most_likely = max(most_likely, weight[g])
            if most_likely >= enough:
                best, named = 0.0, -1
                for g in range(groups):
                    mass = below[high[g] + 1] - below[low[g] + 1]
                    for h in range(low[g] + 1, high[g] + 1):
                        one = weight[g] * (below[h + 1] - below[h]) / max(mass, 1e-300)
                        if one > best:
                            best, named = one, h
                if best >= enough:
                    return named, best, runs, count - (fails[n] + passes[n] > 0)
            # Where to look: the ends of groups, then what is inside of them.
            found = 0
            for g in range(groups - 1):
                commits[found], group[found], share[found] = high[g], g, 1.0
                found += 1
            for g in range(groups):
                first, last = low[g] + 1, min(high[g], n + 1) - 1
                base = below[low[g] + 1]
                mass = below[high[g] + 1] - base
                if weight[g] < NEGLIGIBLE or last < first or mass <= 0.0:
                    continue
                for k in range(wide):
                    if last - first < wide:
                        near[k] = first + k
                    else:
                        wanted = base + shares[k % shares.size] * mass
                        above = np.searchsorted(below[1 : n + 2], wanted)
                        near[k] = above if k < shares.size else above - 1
                    near[k] = min(max(near[k], first), last)
                near.sort()
                for k in range(wide):
                    if k == 0 or near[k] != near[k - 1]:
                        commits[found], group[found] = near[k], g
                        share[found] = (below[near[k] + 1] - base) / mass
                        found += 1
            # What is to be learned for what it costs.
            for r in range(rungs):
                for g in range(groups):
                    if weight[g] < UNHEARD:
                        silent_bad[r, g] = silent_clean[r, g] = 0.0
                        doubt_bad[r, g] = doubt_clean[r, g] = 0.0
                        continue
                    bad = _silent(rates, rate_shares, bad_fails[g], bad_passes[g], ladder[r])
                    f, p = clean_fails[g], clean_passes[g]
                    clean = _silent(alarms, alarm_shares, f, p, ladder[r])
                    silent_bad[r, g], silent_clean[r, g] = weight[g] * bad, weight[g] * clean
                    doubt_bad[r, g] = weight[g] * _entropy(bad)
                    doubt_clean[r, g] = weight[g] * _entropy(clean)
                for bads, cleans in ((silent_bad, silent_clean), (doubt_bad, doubt_clean)):
                    # From here on: what all groups before and all behind come to.
                    up, left = 0.0, 0.0
                    for g in range(groups):
                        left += cleans[r, g]
                    for g in range(groups):
                        bad, clean = bads[r, g], cleans[r, g]
                        bads[r, g] = up + left  # the group's own is clean
                        cleans[r, g] = bad - clean
                        up += bad
                        left -= clean
            per, chosen, worth = -1.0, -1, 0.0
            chosen_rung = rungs
            for c in range(found):
                before, expected, g = 1.0, 0.0, group[c]
                there = fails[commits[c]] + passes[commits[c]] or commits[c] == n
                price = 0.0 if there else build
                for r in range(rungs):
                    silence = silent_bad[r, g] + share[c] * silent_clean[r, g]
                    doubt = doubt_bad[r, g] + share[c] * doubt_clean[r, g]
                    step = ladder[r] - (ladder[r - 1] if r else 0)
                    expected += step * 0.5 * (before + silence)
                    before = silence
                    if per * (price + expected) > 1.0:
                        break  # no outcome of two is worth more than a bit
                    bits = max(0.0, _entropy(silence) - doubt)
                    one = bits / (price + expected + 0.5 * (1.0 - silence))
                    if one > per or (one == per and r < chosen_rung):
                        per, chosen, worth, chosen_rung = one, commits[c], bits, r
            if worth < NOTHING:
                break
        # One run of it.
        runs += 1
        clean = dice[cast] >= alarm
        cast += 1
        quiet = True
        if chosen >= culprit:
            quiet = dice[cast] >= rate
            cast += 1
        if fails[chosen] + passes[chosen] == 0:
            at = count
            while at and seen[at - 1] > chosen:
                seen[at] = seen[at - 1]
                at -= 1
            seen[at] = chosen
            count += 1
        if clean and quiet:
            passes[chosen] += 1
        else:
            fails[chosen] += 1
    return -1, 0.0, runs, count - (fails[n] + passes[n] > 0)
