"""What k failures of n runs prove.  Pure.

All of it is closed forms and short sums, so that no library of statistics has to be installed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def fisher(a_fails: int, a_runs: int, b_fails: int, b_runs: int) -> float:
    """Fisher's exact test: how likely two counts that differ at least so much are, where both
    have one rate (two-sided).
    """
    fails, runs = a_fails + b_fails, a_runs + b_runs
    if not a_runs or not b_runs:
        return 1.0

    def weight(k: int) -> float:
        return _choose(a_runs, k) + _choose(b_runs, fails - k) - _choose(runs, fails)

    least, most = max(0, fails - b_runs), min(fails, a_runs)
    seen = weight(a_fails)
    # The slack takes equal tables for equal that differ by rounding.
    tail = [weight(k) for k in range(least, most + 1) if weight(k) <= seen + 1e-9]
    return min(1.0, math.fsum(map(math.exp, tail)))


def _choose(n: int, k: int) -> float:
    """The logarithm of n over k."""
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def quantiles(
    times: Sequence[float], quiet: Sequence[float], shares: Sequence[float]
) -> list[float | None]:
    """Times until which a share of runs have failed, by the estimate of Kaplan and Meier.

    ``quiet`` are the lengths of runs that did not fail: they may have failed later.  None where
    the runs were too short to say.
    """
    events = sorted([(time, 0) for time in times] + [(time, 1) for time in quiet])
    found: list[float | None] = [None] * len(shares)
    alive = 1.0
    for number, (time, censored) in enumerate(events):
        if censored:
            continue
        alive *= 1.0 - 1.0 / (len(events) - number)
        for at, share in enumerate(shares):
            if found[at] is None and 1.0 - alive >= share - 1e-12:
                found[at] = time
    return found


class Fixed:
    """Evidence that a patched kernel fails less often than the baseline, run beside it.

    The value is an e-process: were the patched kernel at least as bad as the baseline, the
    probability that it *ever* passes 1/a is at most a, so it may be looked at after every run.
    Each pair of runs multiplies it by the ratio of two probabilities of its outcome: that of a
    baseline which fails as often as it has so far beside a patched kernel which never fails,
    and that of the nearest pair of kernels with one rate (the mean of the two).  One failure of
    the patched kernel makes it 0: it then still fails.
    """

    def __init__(self) -> None:
        self.log = 0.0
        self.pairs = self.fails = 0

    def pair(self, baseline_failed: bool, patched_failed: bool) -> None:
        rate = self.guess
        mean = rate / 2.0
        if patched_failed:
            self.log = -math.inf
        else:
            baseline = rate / mean if baseline_failed else (1.0 - rate) / (1.0 - mean)
            self.log += math.log(baseline) - math.log(1.0 - mean)
        self.pairs += 1
        self.fails += baseline_failed

    @property
    def guess(self) -> float:
        """The baseline's rate as known before the next pair: fixed before it is looked at."""
        return (self.fails + 0.5) / (self.pairs + 1.0)

    def shows(self, confidence: float) -> bool:
        return self.log >= -math.log(1.0 - confidence)

    def more(self, confidence: float) -> int | None:
        """About how many further pairs it takes; None while the baseline has never failed."""
        if not self.fails:
            return None
        rate = self.guess
        mean = rate / 2.0
        each = rate * math.log(2.0) + (1.0 - rate) * math.log((1.0 - rate) / (1.0 - mean))
        each -= math.log(1.0 - mean)
        return max(0, math.ceil((-math.log(1.0 - confidence) - self.log) / each))
