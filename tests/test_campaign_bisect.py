"""The loop of a bisection: what it asks for, what it keeps, what it says at the end."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest

from harness.campaign.bisect import Bisection, Budget, Ending, forecast
from harness.campaign.count import Count, Seen
from harness.campaign.logbook import Logbook
from harness.campaign.told import report
from harness.errors import CompileError, EnvironmentFault, UsageError
from tests.fake_bench import OTHER, RACE, VOID, FakeBench, commits_of, fail, passed, racing


def bisection(tmp_path: Path, n: int = 16, **settings: object) -> Bisection:
    log = Logbook(tmp_path / "bisect.jsonl")
    return Bisection(commits_of(n), log, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [1, 3])
def test_names_the_culprit_and_keeps_every_run(tmp_path: Path, width: int) -> None:
    under = bisection(tmp_path)
    bench = FakeBench(racing(11, 0.6), width=width)
    answer = under.run(bench, Budget())
    assert (answer.ending, answer.first, answer.last) == (Ending.FOUND, 11, 11)
    assert answer.probability >= 0.975
    events = under.log.read()
    assert sum(event["event"] == "run" for event in events) == len(bench.started)
    assert {str(e["commit"]) for e in events if e["event"] == "build"} == set(bench.built)
    assert under.book.wanted == RACE.race
    assert under.book.counts[11].fails
    assert under.book.counts[10].passes


def test_several_guests_spread_over_commits(tmp_path: Path) -> None:
    under = bisection(tmp_path, n=64)
    bench = FakeBench(racing(30, 0.3, seed=4), width=4)
    assert under.run(bench, Budget()).first == 30
    together = [set(bench.started[at : at + 4]) for at in range(0, len(bench.started) - 3)]
    assert any(len(names) > 1 for names in together)


def test_goes_on_after_a_kill_where_it_was(tmp_path: Path) -> None:
    first = bisection(tmp_path)
    assert first.run(FakeBench(racing(5, 0.4)), Budget(runs=9)).ending is Ending.BUDGET
    with first.log.path.open("ab") as file:
        file.write(b'{"event": "run", "commit": 16, "se')  # killed while it wrote
    second = bisection(tmp_path)
    assert second.book.counts == first.book.counts
    assert second.run(FakeBench(racing(5, 0.4, seed=2)), Budget()).first == 5
    assert len([e for e in second.log.read() if e["event"] == "run"]) == second.book.runs


def test_another_bug_counts_for_nothing_and_is_named(tmp_path: Path) -> None:
    """Every commit from 4 on dies of another bug now and then; the culprit is 12."""
    race, other = racing(12, 0.6), racing(4, 0.3, seed=9)

    def outcome(name: str) -> Count:
        found = race(name)
        if found.seen is Seen.FAIL:
            return found
        return fail(OTHER) if other(name).seen is Seen.FAIL else passed()

    under = bisection(tmp_path)
    assert under.run(FakeBench(outcome), Budget()).first == 12
    seen = under.book.others[OTHER.race, OTHER.title]
    assert seen
    assert min(seen) >= 4


def test_bug_is_in_good_already(tmp_path: Path) -> None:
    answer = bisection(tmp_path).run(FakeBench(racing(0, 0.5)), Budget())
    assert answer.ending is Ending.IN_GOOD
    assert answer.probability >= 0.95


def test_bad_end_that_never_fails(tmp_path: Path) -> None:
    under = bisection(tmp_path, patience=25)
    bench = FakeBench(lambda name: passed())
    answer = under.run(bench, Budget())
    assert answer.ending is Ending.NEVER_BAD
    assert set(bench.started) == {"16"}
    assert len(bench.started) == 25


def test_case_that_is_never_exercised(tmp_path: Path) -> None:
    bench = FakeBench(lambda name: VOID)
    answer = bisection(tmp_path).run(bench, Budget())
    assert answer.ending is Ending.NOT_EXERCISED
    assert "only 0 of 20 needed" in answer.why
    assert len(bench.started) == 3


def test_case_that_the_guest_lacks_something_for_is_run_once(tmp_path: Path) -> None:
    bench = FakeBench(lambda name: Count(Seen.VOID, why="needs 4 nodes", lacking=True))
    assert bisection(tmp_path).run(bench, Budget()).ending is Ending.NOT_EXERCISED
    assert len(bench.started) == 1


def test_commits_that_do_not_build_or_boot_are_skipped(tmp_path: Path) -> None:
    """8 does not compile, 7 does not boot; the culprit is 8, which is then not told from 9."""
    race = racing(8, 0.7)

    def outcome(name: str) -> Count:
        return Count(Seen.VOID, why="no boot", booted=False) if name == "7" else race(name)

    under = bisection(tmp_path)
    bench = FakeBench(outcome, broken={"8": CompileError("mm/a.c does not compile")})
    answer = under.run(bench, Budget())
    assert answer.ending is Ending.FOUND
    assert (answer.first, answer.last) == (7, 9)
    assert under.book.skips.keys() == {7, 8}
    assert "mm/a.c" in under.book.skips[8]


def test_commit_is_not_skipped_for_what_happens_everywhere(tmp_path: Path) -> None:
    """Half of the runs of any commit say nothing."""
    race, dice = racing(7, 0.8), random.Random(12)
    bench = FakeBench(lambda name: VOID if dice.random() < 0.5 else race(name))
    under = bisection(tmp_path, n=8)
    assert under.run(bench, Budget()).first == 7
    assert not under.book.skips
    assert under.book.voids


def test_bad_end_that_does_not_build_is_the_error(tmp_path: Path) -> None:
    bench = FakeBench(racing(8, 0.7), broken={"16": CompileError("mm/a.c does not compile")})
    with pytest.raises(CompileError):
        bisection(tmp_path).run(bench, Budget())


def test_host_that_fails_ends_it_with_nothing_lost(tmp_path: Path) -> None:
    race, left = racing(8, 0.7), iter(range(6))

    def outcome(name: str) -> Count:
        if next(left, None) is None:
            raise EnvironmentFault("no space left")
        return race(name)

    under = bisection(tmp_path)
    with pytest.raises(EnvironmentFault):
        under.run(FakeBench(outcome), Budget())
    assert bisection(tmp_path).book.runs == 6


def test_commits_that_come_to_one_kernel_are_one(tmp_path: Path) -> None:
    """2 to 16 change nothing that is built: once their ends are seen, 1 is all that is left."""
    images = {str(number): "same" for number in range(1, 17)}
    bench = FakeBench(racing(1, 0.9), images=images)
    answer = bisection(tmp_path).run(bench, Budget())
    assert (answer.first, answer.last) == (1, 1)
    assert len(bench.built) <= 6


def test_runs_of_the_same_kernel_are_told_as_such(tmp_path: Path) -> None:
    """The first patch changes nothing: what was run of it was run of the good end."""
    images = {"0": "same", "1": "same"}
    under = bisection(tmp_path, n=8)
    answer = under.run(FakeBench(racing(0, 0.9), images=images), Budget())
    assert answer.ending is Ending.IN_GOOD
    text = "\n".join(report(answer, under.book, under.commits))
    assert re.search(r"[1-9] of [1-9] runs of it failed", text)


def test_word_of_a_person_weighs_and_can_be_wrong(tmp_path: Path) -> None:
    told = bisection(tmp_path)
    told.note("word", commit=4, word="good")
    told.note("word", commit=6, word="bad")
    bench = FakeBench(racing(5, 0.5))
    assert told.run(bench, Budget()).first == 5
    assert set(bench.started) <= {"16", "3", "4", "5", "6"}
    wrong = Bisection(commits_of(16), Logbook(tmp_path / "wrong.jsonl"))
    wrong.note("word", commit=10, word="good")
    assert wrong.run(FakeBench(racing(5, 0.6)), Budget()).first == 5


def test_forecast_shrinks_as_it_is_learned(tmp_path: Path) -> None:
    under = bisection(tmp_path, n=256)
    assert forecast(under.book, under.commits) is None
    bench = FakeBench(racing(100, 0.4))
    under.run(bench, Budget(runs=12))
    early = forecast(under.book, under.commits)
    assert early
    assert 5 <= early[1] <= 8
    under.run(bench, Budget())
    late = forecast(under.book, under.commits)
    assert late
    assert late[0] < early[0]


def test_log_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    log = Logbook(tmp_path / "bisect.jsonl")
    log.append("run", {"commit": 99, "seen": "PASS", "seconds": 1})
    with pytest.raises(UsageError, match="no commit 99"):
        Bisection(commits_of(16), log)
    log.path.write_text('{"event": "start"}\nrubbish\n')
    with pytest.raises(UsageError, match=r"bisect\.jsonl:2"):
        log.read()


def test_only_one_harness_at_a_time(tmp_path: Path) -> None:
    log = Logbook(tmp_path / "bisect.jsonl")
    with log.held(), pytest.raises(UsageError, match="another harness"), log.held():
        pass


def test_events_are_lines_of_json(tmp_path: Path) -> None:
    log = Logbook(tmp_path / "bisect.jsonl")
    log.append("word", {"commit": 1, "word": "good"})
    assert json.loads(log.path.read_text()) == {"event": "word", "commit": 1, "word": "good"}
