"""Rates and comparisons: what counts prove, and how often they are wrong."""

from __future__ import annotations

import math
import random
from itertools import cycle

import pytest

from harness.campaign.bench import Ready
from harness.campaign.count import Count, Seen, as_json, count, from_json
from harness.campaign.rate import Until, measure
from harness.campaign.rate import report as rate_report
from harness.campaign.series import series
from harness.campaign.stats import Fixed, fisher, quantiles
from harness.campaign.verify import Finding, Limits, compare, headline, report
from harness.spec.cases import select
from harness.trial.verdict import Outcome
from tests.fake_bench import OTHER, RACE, VOID, FakeBench, fail, passed, racing, spec_of
from tests.test_series import judged

CASE = select(["anon_fork_migrate"])[0]


def ready(bench: FakeBench, name: str) -> Ready:
    return bench.build(spec_of(name))


def test_fisher_is_the_exact_test() -> None:
    assert fisher(8, 10, 1, 10) == pytest.approx(0.005477, abs=1e-6)
    assert fisher(3, 10, 3, 10) == pytest.approx(1.0)
    assert fisher(0, 0, 3, 10) == 1.0
    assert fisher(0, 300, 40, 300) < 1e-9


def test_quantiles_know_that_quiet_runs_may_fail_later() -> None:
    assert quantiles([1.0, 2.0, 3.0, 4.0], [], (0.5, 1.0)) == [2.0, 4.0]
    assert quantiles([1.0, 2.0], [5.0, 5.0], (0.5, 0.9)) == [2.0, None]
    assert quantiles([3.0], [1.0], (0.5,)) == [3.0]
    assert quantiles([], [5.0], (0.5,)) == [None]


@pytest.mark.parametrize("rate", [0.1, 0.4, 0.9])
def test_fixed_is_seldom_said_of_what_is_not(rate: float) -> None:
    """Looked at after every pair, for 300 pairs: the error over all looks is what was asked."""
    dice, wrong, sims = random.Random(7), 0, 2000
    for _ in range(sims):
        fixed = Fixed()
        for _ in range(300):
            fixed.pair(dice.random() < rate, dice.random() < rate)
            if fixed.shows(0.9):
                wrong += 1
            if fixed.log == -math.inf or fixed.shows(0.9):
                break
    # 10 % are allowed; more than 12 % of 2000 would come by chance once in 400 tries.
    assert wrong / sims <= 0.12
    assert wrong / sims <= 0.1 or rate < 0.1


def test_fixed_is_said_soon_and_its_forecast_holds() -> None:
    dice, needed, told = random.Random(3), [], []
    for _ in range(40):
        fixed = Fixed()
        while not fixed.shows(0.999):
            fixed.pair(dice.random() < 0.5, patched_failed=False)
            if fixed.pairs == 10:
                told.append(10 + (fixed.more(0.999) or 0))
        needed.append(fixed.pairs)
    assert 10 < sum(needed) / len(needed) < 25
    assert sum(needed) / len(needed) == pytest.approx(sum(told) / len(told), rel=0.25)


def test_rate_counts_what_counts() -> None:
    outcomes = cycle([passed(), fail(first=2.0), VOID, fail(OTHER, first=4.0)])
    bench = FakeBench(lambda name: next(outcomes), width=2)
    tally = measure(bench, ready(bench, "k"), Until(runs=12))
    assert len(tally.counted) == 12
    assert len(tally.voids) == 4
    text = "\n".join(rate_report(tally, "case on k", 0.95))
    assert "8 of 12 runs failed: 66.7 %" in text.replace("%", " %").replace("  ", " ")
    assert RACE.signature in text
    assert OTHER.signature in text
    assert "only 0 of 20 needed" in text
    assert "50%" in text


def test_rate_stops_when_told() -> None:
    bench = FakeBench(racing(0, 0.5))
    assert len(measure(bench, ready(bench, "1"), Until(splat=True)).fails) == 1
    narrow = measure(bench, ready(bench, "1"), Until(width=0.3))
    low, high = narrow.interval(0.95)
    assert high - low <= 0.3
    assert 30 < len(narrow.counted) < 60
    vain = FakeBench(lambda name: VOID)
    assert len(measure(vain, ready(vain, "1"), Until(runs=20)).counts) == 3


def verified(
    bench: FakeBench, limits: Limits | None = None, wanted: str = ""
) -> tuple[Finding, str, str]:
    """Kernel 9 is the baseline, kernel 1 the patched one."""
    sides = ready(bench, "9"), ready(bench, "1")
    finding, found = compare(bench, *sides, limits or Limits(), wanted)
    return finding, headline(finding, found), "\n".join(report(finding, found, "case", "two-nodes"))


@pytest.mark.parametrize("width", [1, 2])
def test_patch_that_mends_it(width: int) -> None:
    bench = FakeBench(racing(5, 0.8), width=width)
    finding, sentence, text = verified(bench)
    assert finding is Finding.FIXED
    assert sentence.startswith("fixed, with 99.9")
    assert "Tested-by:" in text
    assert abs(bench.started.count("1") - bench.started.count("9")) <= 1
    assert len(bench.started) < 40


def test_patch_that_mends_nothing() -> None:
    bench = FakeBench(racing(0, 0.5))
    finding, sentence, _ = verified(bench)
    assert finding is Finding.STILL_FAILS
    assert sentence.startswith("still fails: 1 of ")


def test_patch_that_trades_one_bug_for_another() -> None:
    race, other = racing(5, 0.9), racing(0, 0.4, seed=8)

    def outcome(name: str) -> Count:
        if name == "1" and other(name).seen is Seen.FAIL:
            return fail(OTHER)
        return race(name)

    finding, _, text = verified(FakeBench(outcome))
    assert finding is Finding.FIXED
    assert f"other splat: {OTHER.title}" in text


def test_too_few_runs_say_how_many_more() -> None:
    finding, sentence, _ = verified(FakeBench(racing(5, 0.5)), Limits(runs=4))
    assert finding is Finding.NOT_ENOUGH
    assert "needs about" in sentence
    finding, sentence, _ = verified(FakeBench(racing(10, 0.5)), Limits(runs=4))
    assert finding is Finding.NEVER_FAILED
    assert "never failed in 4 runs" in sentence


def test_nothing_counts() -> None:
    bench = FakeBench(lambda name: VOID)
    finding, sentence, _ = verified(bench)
    assert finding is Finding.NOTHING_COUNTS
    assert "only 0 of 20 needed" in sentence
    assert len(bench.started) < 8


def test_count_is_the_same_after_the_log() -> None:
    for each in (
        passed(),
        fail(),
        VOID,
        Count(Seen.VOID, booted=False, lacking=True, folder="r/t"),
    ):
        assert from_json(as_json(each)) == each


def test_trial_counts_by_its_verdict() -> None:
    plan = series(["v5.10-debug"], "two-nodes", [CASE])
    assert count(judged(plan, Outcome.PASS)).seen is Seen.PASS
    failed = count(judged(plan, Outcome.FAIL))
    assert failed.seen is Seen.FAIL
    assert failed.sightings[0].race == "x"  # the oracle, where there is no splat
    for outcome in (Outcome.INCONCLUSIVE, Outcome.ERROR, Outcome.SKIP):
        assert count(judged(plan, outcome)).seen is Seen.VOID
    assert count(judged(plan, Outcome.SKIP)).lacking
