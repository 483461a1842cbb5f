"""Counters over time: what plots are drawn from."""

from __future__ import annotations

import itertools

from harness.trial.pace import MAX_COUNTERS, MAX_POINTS, PaceKeeper
from harness.trial.results import parse


def test_points_carry_the_time_at_which_the_line_arrived() -> None:
    keeper = PaceKeeper()
    out = b"@ count moved 1\n@ gauge free_2M.node0 16\n"
    keeper.look(0.1, out, 100)
    keeper.look(0.2, out + b"@ count mov", 150)
    keeper.look(0.3, out + b"@ count moved 7\nrubbish\n@ count moved x\n", 150)
    pace = keeper.pace()
    assert pace.counters["moved"] == ((0.1, 1), (0.3, 7))
    assert pace.counters["free_2M.node0"] == ((0.1, 16),)
    assert pace.console == ((0.1, 100), (0.2, 150), (0.3, 150))


def test_a_long_series_is_thinned_and_keeps_its_ends() -> None:
    keeper = PaceKeeper()
    out = b""
    for second in range(5000):
        out = b"@ count moved %d\n" % (second * 3)
        keeper._read = 0
        keeper.look(float(second), out, second)
    points = keeper.pace().counters["moved"]
    assert len(points) <= MAX_POINTS
    assert points[0] == (0.0, 0)
    assert points[-1] == (4999.0, 4999 * 3)
    apart = [b[0] - a[0] for a, b in itertools.pairwise(points)]
    assert max(apart) <= 5 * 5000 / MAX_POINTS


def test_made_up_names_do_not_fill_the_memory() -> None:
    keeper = PaceKeeper()
    keeper.look(1.0, b"".join(b"@ count c%d 1\n" % n for n in range(5000)), 0)
    assert len(keeper.pace().counters) == MAX_COUNTERS


def test_a_gauge_is_no_rubbish_and_no_count() -> None:
    results = parse(b"@ gauge free 3\n@ gauge free\n@ end\n")
    assert (dict(results.counts), results.rubbish) == ({}, 1)
