"""Trials in a row: what is said of them, what repeats them, what one failure leaves of the rest."""

from __future__ import annotations

import dataclasses
import gc
import json
import pickle
import statistics
import tracemalloc
from itertools import pairwise
from pathlib import Path

import pytest

from harness.campaign import series as campaign
from harness.campaign.series import Series, repeat, run_series, series
from harness.cli import main, parser
from harness.commands import trials
from harness.errors import EnvironmentFault, GuestLost
from harness.kernel.built import BuiltKernel
from harness.paths import PROJECT
from harness.progress import Progress
from harness.spec.cases import select
from harness.splat.reader import read
from harness.splat.signature import race_key
from harness.trial.evidence import Evidence
from harness.trial.judge import judge
from harness.trial.trial import Trial, TrialResult, perform
from harness.trial.verdict import Outcome, Reason, Verdict

CASE = select(["anon_fork_migrate"])[0]
KERNEL = BuiltKernel("v5.10-anon-race", "0", "5.10", Path("b"), Path("c"))


@pytest.fixture
def kernel_file(tmp_path: Path) -> Path:
    """A kernel declared outside of the project, below a folder of the same name as its own."""
    file = tmp_path / "kernels" / "mine.yaml"
    file.parent.mkdir()
    file.write_text("extends: v5.10-anon-race\n")
    return file


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    file = tmp_path / "räce.c"
    file.write_text("int main(void) { return 0; }\n")
    return file


def judged(plan: Series, outcome: Outcome) -> TrialResult:
    spec = plan.kernels[0]
    kernel = BuiltKernel(spec.name, "0", "5.10", Path("b"), Path("c"), vmlinux=Path("v"))
    trial = Trial(CASE, Path("x"), 1, kernel, plan.machine)
    return TrialResult(trial, Verdict(outcome, (Reason("x", "y"),)), Evidence(), Path(), 0.0)


def test_what_repeats_a_trial_is_understood(kernel_file: Path, foreign: Path) -> None:
    case = trials.case_of(foreign, ("-x", "a b"))
    assert case.name == "r-ce"
    plan = series([str(kernel_file)], "two-nodes", [case], accel="tcg", append=("-v x",))
    head, *words = repeat(plan, plan.kernels[0], case)
    assert head == "harness"
    at = words.index("--")
    args = parser().parse_args(words[:at])
    assert (args.main, words[at + 1 :]) == (trials.reproduce_file, ["-x", "a b"])
    assert (args.file, args.kernel, args.machine) == (foreign, [str(kernel_file)], "two-nodes")
    assert (args.accel, args.append) == ("tcg", ["-v x"])


def test_what_repeats_a_declared_case() -> None:
    plan = series(["stock"], "two-nodes", [CASE])
    words = repeat(plan, plan.kernels[0], CASE)
    assert words[1:5] == ["run", CASE.name, "--kernel", "stock"]
    other = dataclasses.replace(CASE, args=("-z",))
    assert repeat(plan, plan.kernels[0], other)[-2:] == ["--", "-z"]


def test_arguments_stand_behind_options_too(
    foreign: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reproduce", str(foreign), "-k", "stock", "--dry-run", "--", "-x", "y"]) == 0
    assert "/tmp/r-ce -x y" in capsys.readouterr().out


def test_verb_without_arguments_takes_none() -> None:
    with pytest.raises(SystemExit) as ended:
        main(["kernels", "--", "x"])
    assert ended.value.code == 2


def test_declared_verdict_of_a_kernel_given_by_its_path(kernel_file: Path) -> None:
    plan = series([str(kernel_file)], "two-nodes", [CASE])
    assert trials._as_declared(plan, [judged(plan, Outcome.FAIL)]) == 0
    assert trials._as_declared(plan, [judged(plan, Outcome.PASS)]) == trials.EXIT_FAIL
    assert trials._as_declared(plan, [judged(plan, Outcome.ERROR)]) == trials.EXIT_ERROR


def test_kernel_that_cannot_be_built_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(*args: object, **settings: object) -> BuiltKernel:
        raise EnvironmentFault("no such compiler")

    monkeypatch.setattr(campaign, "build", build)
    plan = series(["v5.10-debug", "v6.1-debug"], "two-nodes", [CASE], seconds=7)
    folder, results = run_series(plan, ["harness"], Progress(), results=tmp_path)
    assert [result.verdict.outcome for result in results] == [Outcome.ERROR] * 2
    first = json.loads((folder / "result.json").read_text())["trials"][0]
    assert first["machine"]["name"] == "two-nodes"
    assert first["asked_seconds"] == 7
    assert not first["started"].startswith("1970")


def test_verdict_that_cannot_be_kept_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = series(["stock"], "two-nodes", [CASE])

    def nothing_left(*args: object) -> None:
        raise EnvironmentFault("no space left")

    result = judged(plan, Outcome.FAIL)
    monkeypatch.setattr(campaign, "build", lambda *a, **k: result.trial.kernel)
    monkeypatch.setattr("harness.campaign.engine.perform", lambda *a: result)
    monkeypatch.setattr("harness.record.folder.RunFolder.add", nothing_left)
    told: list[TrialResult] = []
    with pytest.raises(EnvironmentFault):
        run_series(plan, ["harness"], Progress(), results=tmp_path, on_result=told.append)
    assert told == [result]


def test_guest_lost_while_it_boots_ends_one_trial_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def boot(*args: object, **settings: object) -> None:
        raise GuestLost("QMP human-monitor-command: no answer")

    monkeypatch.setattr("harness.trial.trial.boot", boot)
    monkeypatch.setattr("harness.trial.trial.choose", lambda *a: None)
    plan = series(["v5.10-debug"], "two-nodes", [CASE])
    trial = judged(plan, Outcome.PASS).trial
    assert perform(trial, tmp_path / "t", Progress()).verdict.outcome is Outcome.ERROR


def test_long_series_holds_no_consoles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All is on disk at its end; in memory a trial leaves a few KB of the 300 that it had."""
    console = (PROJECT / "tests/consoles/v5.10-anon-race-4.log").read_bytes()
    parsed = pickle.dumps(tuple(read(console)))

    def perform(trial: Trial, folder: Path, *more: object) -> TrialResult:
        folder.mkdir(parents=True)
        seen = Evidence(splats=pickle.loads(parsed), out=bytes(200_000), postmortem="x" * 20_000)
        return TrialResult(trial, judge(CASE, seen), seen, folder, 1.0)

    sizes: list[int] = []

    def weigh(result: TrialResult) -> None:
        gc.collect()
        sizes.append(tracemalloc.get_traced_memory()[0])

    monkeypatch.setattr(campaign, "build", lambda *a, **k: KERNEL)
    monkeypatch.setattr("harness.campaign.engine.perform", perform)
    monkeypatch.setenv("HUGETLB_HARNESS_HISTORY", "")
    plan = series(["v5.10-anon-race"], "two-nodes", [CASE], runs=60, guests=1)
    tracemalloc.start()
    try:
        folder, results = run_series(
            plan, ["harness"], Progress(), results=tmp_path, on_result=weigh
        )
    finally:
        tracemalloc.stop()
    assert len(json.loads((folder / "result.json").read_text())["trials"]) == 60
    assert not (folder / "trials.part").exists()
    assert all(len(result.evidence.splats) == 3 for result in results)
    assert race_key(results[-1].evidence.splats[0]) == race_key(read(console)[0])
    grown = [after - before for before, after in pairwise(sizes)]
    assert statistics.median(grown) < 15_000
