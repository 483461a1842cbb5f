"""How sure k failures in n trials make of a rate."""

from __future__ import annotations

import math
from statistics import NormalDist


def wilson(failed: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a binomial proportion; (0, 1) without trials.

    It stays within 0 and 1 and says something also for no failure and for nothing but failures,
    where the usual formula gives a width of zero.
    """
    if not trials:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = failed / trials
    middle = share + z * z / (2 * trials)
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    whole = 1 + z * z / trials
    low = 0.0 if not failed else max(0.0, (middle - half) / whole)
    high = 1.0 if failed == trials else min(1.0, (middle + half) / whole)
    return low, high
