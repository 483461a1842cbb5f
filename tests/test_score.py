"""What a suite is worth: the schedule within a budget, and the scorecard that is kept."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import jsonschema
import pytest

from harness.campaign import relevance, score, scorecard
from harness.campaign.relevance import order
from harness.campaign.series import Series
from harness.commands import score as score_command
from harness.errors import UsageError
from harness.kernel.built import BuiltKernel
from harness.paths import PROJECT
from harness.progress import Progress
from harness.spec.case import AtLeast, TestCase
from harness.spec.machine import MachineSpec, load_machine
from harness.trial.evidence import Evidence
from harness.trial.trial import Trial, TrialResult
from harness.trial.verdict import Outcome, Reason, Verdict

SCHEMA = json.loads((PROJECT / "results" / "score.schema.json").read_text())


@pytest.fixture
def cases(tmp_path: Path) -> list[TestCase]:
    made = []
    for name, text in (("fork", "copy_hugetlb_page_range"), ("punch", "hugetlbfs_punch_hole")):
        source = tmp_path / f"{name}.c"
        source.write_text(f"/* {text}() */\n")
        made.append(TestCase(name, source, seconds=10, exercised=(AtLeast("moved", 1),)))
    return made


class Clock:
    """Trials cost what they say, without anybody waiting."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


class FakeEngine:
    """Each trial boots for 8 s and runs for its time; ``fails`` names the case that fails."""

    width = 1

    def __init__(self, clock: Clock, fails: str = "") -> None:
        self.clock, self.fails, self.ran = clock, fails, list[tuple[str, int]]()

    def submit(self, trial: Trial, folder: Path) -> Future[TrialResult]:
        self.ran.append((trial.case.name, trial.seconds))
        self.clock.now += 8 + trial.seconds
        bad = trial.case.name == self.fails
        verdict = Verdict(Outcome.FAIL, (Reason("data", "lost"),)) if bad else Verdict(Outcome.PASS)
        seen = Evidence(seconds=trial.seconds)
        future: Future[TrialResult] = Future()
        wall = 8.0 + trial.seconds
        result = TrialResult(trial, verdict, seen, folder, 0.0, boot_seconds=8.0, wall_seconds=wall)
        future.set_result(result)
        return future

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


def attempts(
    cases: list[TestCase], budget: float, monkeypatch: pytest.MonkeyPatch, **more: Any
) -> tuple[list[score.Attempt], FakeEngine]:
    clock = Clock()
    engine = more.pop("engine", None) or FakeEngine(clock, more.pop("fails", ""))
    monkeypatch.setattr(score, "time", engine.clock)
    done = score.attempts(
        BuiltKernel("buggy", "id", "5.10", Path("bzImage"), Path("config")),
        cases,
        budget,
        engine=engine,
        binary_of=lambda case: case.reproducer,
        machine_of=more.pop("machine_of", lambda case: load_machine("two-nodes")),
        folder_of=Path,
        keep=lambda result: None,
        **more,
    )
    return done, engine


def test_brief_runs_come_first_and_the_budget_ends_them(
    cases: list[TestCase], monkeypatch: pytest.MonkeyPatch
) -> None:
    done, engine = attempts(cases, 60, monkeypatch)
    assert engine.ran == [("fork", 4), ("punch", 4), ("fork", 10), ("punch", 10)]
    assert sum(attempt.cost for attempt in done) == 60
    assert score.caught_by(done, 60) is None


def test_a_machine_that_is_booted_once_is_in_nobodys_budget(
    cases: list[TestCase], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine(Clock())

    def machine_of(case: TestCase) -> MachineSpec:
        engine.clock.now += 30
        return load_machine("two-nodes")

    attempts(cases, 60, monkeypatch, engine=engine, machine_of=machine_of)
    assert engine.ran == [("fork", 4), ("punch", 4), ("fork", 10), ("punch", 10)]


class PairEngine(FakeEngine):
    """Two at a time: the clock goes on to whichever ends next."""

    width = 2

    def __init__(self, clock: Clock, fails: str = "") -> None:
        super().__init__(clock, fails)
        self.ends = dict[Future[TrialResult], tuple[float, TrialResult]]()

    def submit(self, trial: Trial, folder: Path) -> Future[TrialResult]:
        began = self.clock.now
        result = super().submit(trial, folder).result()
        future: Future[TrialResult] = Future()
        self.ends[future], self.clock.now = (self.clock.now, result), began
        return future

    def wait(self, under_way: Collection[Future[TrialResult]], **_: object) -> SimpleNamespace:
        future = min(under_way, key=lambda each: self.ends[each][0])
        self.clock.now, result = max(self.clock.now, self.ends[future][0]), self.ends[future][1]
        future.set_result(result)
        return SimpleNamespace(done={future})


def test_two_guests_share_a_budget_of_the_wall(
    cases: list[TestCase], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    engine = PairEngine(clock, "punch")
    monkeypatch.setattr(score, "wait", engine.wait)

    def on_control(attempt: score.Attempt) -> bool:
        clock.now += 1000  # which is nobody's budget
        return True

    done, _ = attempts(cases, 40, monkeypatch, engine=engine, on_control=on_control)
    # Both end after 12 s.  The third go ends while the control is asked; the last is cut short.
    assert engine.ran == [("fork", 4), ("punch", 4), ("fork", 10), ("fork", 20), ("fork", 28)]
    assert [(each.case, each.at) for each in done] == [
        *(("fork", 12), ("punch", 12), ("fork", 30), ("fork", 40), ("fork", 48)),
    ]
    assert clock.now == 1048


def test_first_failure_ends_a_bug_but_not_a_control(
    cases: list[TestCase], monkeypatch: pytest.MonkeyPatch
) -> None:
    done, _ = attempts(cases, 60, monkeypatch, fails="punch")
    hit = score.caught_by(done, 60)
    assert hit is done[-1]
    assert (hit.case, hit.oracle, hit.at) == ("punch", "O3", 24.0)
    done, _ = attempts(cases, 60, monkeypatch, fails="punch", to_the_end=True)
    assert [a.outcome.value for a in done] == ["PASS", "FAIL", "PASS", "FAIL"]


def test_what_fails_without_the_bug_too_tells_of_no_bug(
    cases: list[TestCase], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def on_control(attempt: score.Attempt) -> bool:
        asked.append(attempt.case)
        return True

    done, engine = attempts(cases, 60, monkeypatch, fails="punch", on_control=on_control)
    assert asked == ["punch"]
    assert [name for name, _ in engine.ran] == ["fork", "punch", "fork", "fork"]
    assert score.caught_by(done, 60) is None
    card = scorecard.Scorecard(tmp_path / "s.json", scorecard.measured("b", 60, [], [], ""), [])
    card.add(scorecard.row("bug-a", "bug", "1", done, 60))
    card.add(scorecard.row("checks", "check", "", done, 60))
    jsonschema.validate(card.document(), SCHEMA)
    assert card.document()["score"] == {"caught": 0, "bugs": 1, "not_run": 0, "false_alarms": 1}


@pytest.mark.parametrize(
    ("oracle", "text", "sure"),
    [
        ("splat", "KASAN: use-after-free Read in rmap_walk_anon", True),
        ("splat", "INFO: task hung in pagecache_get_page", False),
        ("instrumentation", "shareable_bad: 1, none expected", True),
        ("counters", "node 0: free_hugepages was 16, is 15", False),
        ("hang", "the reproducer did not end", False),
    ],
)
def test_only_what_the_kernel_names_itself_is_certain(
    cases: list[TestCase], oracle: str, text: str, sure: bool
) -> None:
    verdict = Verdict(Outcome.FAIL, (Reason(oracle, text),))
    trial = Trial(cases[0], cases[0].reproducer, 4)
    assert score.certain(TrialResult(trial, verdict, Evidence(), Path(), 0.0)) is sure


class Checking(score_command._Runner):
    """Knows what the base would say, and runs nothing."""

    def __init__(self, card: scorecard.Scorecard, cases: list[TestCase], says: str) -> None:
        self._plan = SimpleNamespace(cases=cases)  # type: ignore[assignment]
        self._card, self._progress = card, Progress()
        self.says, self.ran = says, list[tuple[str, int]]()

    def _check(self, cases: Sequence[TestCase]) -> list[dict[str, Any]]:
        self.ran += [(case.name, case.quick) for case in cases]
        return [{"case": case.name, "verdict": self.says, "oracle": "O4"} for case in cases]


def test_each_machine_of_a_kernel_gets_one_template_when_it_is_due(
    cases: list[TestCase], monkeypatch: pytest.MonkeyPatch
) -> None:
    booted: list[tuple[str, str]] = []

    def boot(kernel: BuiltKernel, machine: MachineSpec, **_: object) -> SimpleNamespace:
        booted.append((kernel.content_id, machine.name))
        return SimpleNamespace(end=lambda: None)

    monkeypatch.setattr(score_command, "boot", boot)
    monkeypatch.setattr(score_command, "choose", lambda *_: None)
    runner = object.__new__(score_command._Runner)
    runner._plan = Series(kernels=(), machine=load_machine("two-nodes"), cases=tuple(cases))
    runner._progress, runner._booted = Progress(), set()
    one, other = SimpleNamespace(content_id="1"), SimpleNamespace(content_id="2")
    apart = replace(cases[1], machine="default-1g")
    for kernel in (one, other):
        for case in (cases[0], apart, cases[0], apart):
            machine = runner._machine_of(kernel, case)  # type: ignore[arg-type]
            assert machine.name == (case.machine or "two-nodes")
    assert booted == [(k, m) for k in "12" for m in ("two-nodes", "default-1g")]


def test_a_case_is_run_as_long_without_the_bug_before_it_counts(
    cases: list[TestCase], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, _ = attempts(cases, 60, monkeypatch, fails="punch")
    hit = replace(done[-1], seconds=7)
    card = scorecard.Scorecard(tmp_path / "s.json", scorecard.measured("b", 60, [], [], ""), [])
    runner = Checking(card, cases, "PASS")
    assert not runner._case_fails_on_base(hit)
    assert not runner._case_fails_on_base(hit)  # once more for the next bug
    assert runner.ran == [("punch", 7), ("punch", 7)]
    assert not runner._case_fails_on_base(replace(hit, certain=True))
    assert len(runner.ran) == 2
    runner.says = "FAIL"
    assert runner._case_fails_on_base(hit)
    # What failed there once is not asked again, in a score that goes on either.
    card.add(scorecard.row("control", "control", "", done, 60))
    runner.ran.clear()
    assert runner._case_fails_on_base(hit)
    assert not runner.ran


def test_what_a_test_says_on_the_base_strikes_no_other_kind_of_catch(
    cases: list[TestCase], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, _ = attempts(cases, 60, monkeypatch, fails="punch")
    card = scorecard.Scorecard(tmp_path / "s.json", scorecard.measured("b", 60, [], [], ""), [])
    runner = Checking(card, cases, "FAIL")
    hit = replace(done[-1], oracle="O4")
    assert runner._test_fails_on_base(hit)
    assert not runner._test_fails_on_base(replace(hit, oracle="O2"))
    assert not runner._test_fails_on_base(replace(hit, oracle="O1", certain=True))


def test_a_catch_that_was_struck_is_named(
    cases: list[TestCase], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done, _ = attempts(cases, 60, monkeypatch, fails="punch", on_control=lambda attempt: True)
    score_command.show([scorecard.row("bug-a", "bug", "1", done, 60)])
    said = capsys.readouterr().out
    assert "caught 0 of 1" in said
    assert "struck: bug-a by punch, which fails without the bug too\n  lost\n" in said


def test_one_pass_over_the_cases_is_had_without_rounds(
    cases: list[TestCase], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, engine = attempts(cases, math.inf, monkeypatch, rounds=0, to_the_end=True)
    assert engine.ran == [("fork", 4), ("punch", 4)]


def test_a_control_runs_each_case_once_whatever_the_budget(
    cases: list[TestCase], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, engine = attempts(cases, 5, monkeypatch, to_the_end=True)
    assert engine.ran == [("fork", 4), ("punch", 4)]
    _, engine = attempts(cases, 5, monkeypatch)
    assert engine.ran == [("fork", 4)]


def test_who_fits_best_has_more_goes_before_the_rest(cases: list[TestCase]) -> None:
    many = [replace(cases[0], name=f"c{number}") for number in range(13)]
    names = [case.name for case, _ in score.schedule(many, rounds=1)][:16]
    assert names == [
        *("c0", "c1", "c2", "c3", "c0"),
        *("c4", "c5", "c6", "c7", "c1"),
        *("c8", "c9", "c10", "c11", "c0"),
        "c12",
    ]
    assert list(score.schedule(many))[4] == (many[0], many[0].seconds)


def test_a_control_owes_no_case_a_second_go(
    cases: list[TestCase], monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [replace(cases[0], name=f"c{number}") for number in range(8)]
    _, engine = attempts(many, 5, monkeypatch, to_the_end=True)
    assert engine.ran == [(case.name, 4) for case in many]


@pytest.mark.parametrize(("columns", "head"), [("80", "after"), ("120", "O4")])
def test_names_of_bugs_are_whole_in_a_narrow_terminal(
    columns: str, head: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", columns)
    bug: dict[str, Any] = {"kind": "bug", "fault": "", "nearest": None, "attempts": []}
    name = "hwpoison-anon-rmap-locked-historical"
    case = "migrate_matrix[2M-private]"
    hit = {"case": case, "oracle": "O4", "at": 1.2}
    score_command.show(
        [{**bug, "name": name, "caught": hit}, {**bug, "name": f"{name}-2", "caught": None}]
    )
    lines = capsys.readouterr().out.splitlines()
    assert head in lines[1]
    assert [name in line for line in lines].count(True) == 2
    assert any(name in line and "1 s" in line and case in line for line in lines)
    assert lines[-1] == "caught 1 of 2"


def test_perfect_is_all_caught_and_a_clean_control(
    cases: list[TestCase], monkeypatch: pytest.MonkeyPatch
) -> None:
    failed, _ = attempts(cases, 60, monkeypatch, fails="punch")
    clean, _ = attempts(cases, 60, monkeypatch)
    caught = scorecard.row("bug", "bug", "1", failed, 60)
    missed = scorecard.row("bug", "bug", "1", clean, 60, near=clean[0])
    control = scorecard.row("control", "control", "", clean, 60)
    assert score_command.perfect([caught, control])
    assert not score_command.perfect([missed, control])
    assert not score_command.perfect([caught, scorecard.row("control", "control", "", failed, 60)])
    assert not score_command.perfect([scorecard.row("b", "bug", "1", [], 60, fault="no"), control])
    assert "no scenario), exercised" in score_command.line(missed)


def test_a_bug_whose_guests_never_came_to_a_test_is_not_measured(
    cases: list[TestCase], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, _ = attempts(cases, 60, monkeypatch)
    assert score_command.unmeasured(done) == "" == score_command.unmeasured([])
    lost = [replace(each, outcome=Outcome.ERROR, reason="no boot") for each in done]
    assert score_command.unmeasured([*lost, done[0]]) == ""
    fault = score_command.unmeasured(lost)
    assert "no boot" in fault
    card = scorecard.Scorecard(tmp_path / "s.json", scorecard.measured("b", 60, [], [], ""), [])
    card.add(scorecard.row("bug", "bug", "1", lost, 60, fault=fault))
    assert not card.known("bug", "1") and card.document()["score"]["not_run"] == 1


def test_what_is_seen_beyond_the_budget_is_not_caught(
    cases: list[TestCase], monkeypatch: pytest.MonkeyPatch
) -> None:
    done, _ = attempts(cases, 15, monkeypatch, fails="punch")
    assert done[-1].outcome is Outcome.FAIL
    assert score.caught_by(done, 15) is None


def test_order_follows_the_diff_and_not_the_words_at_its_head(
    cases: list[TestCase], tmp_path: Path
) -> None:
    patch = tmp_path / "x.patch"
    body = "diff --git a/f b/f\n@@ -1 +1 @@ static long {}(void)\n-a\n+b\n"
    patch.write_text("about copy_hugetlb_page_range\n" + body.format("hugetlbfs_punch_hole"))
    assert [case.name for case in order(patch, cases)] == ["punch", "fork"]
    patch.write_text("about hugetlbfs_punch_hole\n" + body.format("copy_hugetlb_page_range"))
    assert [case.name for case in order(patch, cases)] == ["fork", "punch"]


def test_order_prefers_cases_that_enter_what_is_changed(
    cases: list[TestCase], tmp_path: Path
) -> None:
    patch = tmp_path / "bug.patch"
    patch.write_text(
        "@@ -1,4 +1,3 @@ static long region_del(struct resv_map *resv, long f)\n"
        " \tfork punch hole;\n-\tfork punch hole;\n"
    )
    assert relevance.functions_of_diff(patch.read_text()) == {"region_del"}
    reach = {"fork": frozenset({"try_to_unmap"}), "punch": frozenset({"region_del"})}
    assert [case.name for case in relevance.order(patch, cases, reach)] == ["punch", "fork"]
    turned = {"fork": reach["punch"], "punch": reach["fork"]}
    assert [case.name for case in relevance.order(patch, cases, turned)] == ["fork", "punch"]
    # Of a function that nobody counts, nothing is said.
    elsewhere = {"fork": frozenset({"a"}), "punch": frozenset({"b"})}
    assert relevance.order(patch, cases, elsewhere) == relevance.order(patch, cases, {})


def test_scorecard_is_kept_resumed_and_counts_false_alarms(
    cases: list[TestCase], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, _ = attempts(cases, 60, monkeypatch, fails="punch")
    key = scorecard.measured("base", 60, cases, [], "", 2)
    file = tmp_path / "score.json"
    card = scorecard.Scorecard(file, key, ["harness", "score"])
    card.add(scorecard.row("bug-a", "bug", "1", done, 60))
    card.add(scorecard.row("bug-b", "bug", "2", [], 60, fault="does not apply"))
    card.add(scorecard.row("control", "control", "", done, 60))
    document = json.loads(file.read_text())
    jsonschema.validate(document, SCHEMA)
    assert document["score"] == {"caught": 1, "bugs": 2, "not_run": 1, "false_alarms": 1}
    again = scorecard.Scorecard(file, key, ["harness", "score"])
    assert again.known("bug-a", "1")
    assert not again.known("bug-a", "changed")
    assert not again.known("bug-b", "2")
    with pytest.raises(UsageError, match="budget"):
        scorecard.Scorecard(file, key | {"budget": 1}, [])
    file.write_text("{")
    with pytest.raises(UsageError, match="not a score"):
        scorecard.Scorecard(file, key, [])


def test_folder_without_patches_is_told(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(UsageError):
            score.find_patches(folder)
