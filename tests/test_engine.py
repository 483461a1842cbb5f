"""Where trials run: one at a time or several, and what an interruption leaves of them."""

from __future__ import annotations

import argparse
import io
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.campaign import series as campaign
from harness.campaign.engine import LocalEngine, SerialEngine, local
from harness.campaign.series import run_series, series
from harness.cli import main, parser
from harness.errors import EnvironmentFault
from harness.guest.seam import wait_for
from harness.kernel.built import BuiltKernel
from harness.progress import PlainProgress, Progress
from harness.spec.cases import select
from harness.spec.machine import load_machine
from harness.stop import Stop
from harness.trial.evidence import Evidence
from harness.trial.trial import Trial, TrialResult
from harness.trial.verdict import Outcome, Verdict

CASE = select(["anon_fork_migrate"])[0]
KERNEL = BuiltKernel("k", "0", "5.10", Path("b"), Path("c"), vmlinux=Path("v"))
TRIAL = Trial(CASE, Path("x"), 1, KERNEL, load_machine("two-nodes"))

Perform = Callable[[Trial, Path, Progress, Stop], TrialResult]


def result_of(trial: Trial, folder: Path, outcome: Outcome = Outcome.PASS) -> TrialResult:
    folder.mkdir(parents=True)
    return TrialResult(trial, Verdict(outcome), Evidence(), folder, time.time())


def performing(monkeypatch: pytest.MonkeyPatch, perform: Perform) -> None:
    monkeypatch.setattr("harness.campaign.engine.perform", perform)


def test_local_engine_runs_as_many_at_a_time_as_it_is_wide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = threading.Barrier(3)  # broken, and an error, unless three run at a time

    def perform(trial: Trial, folder: Path, progress: Progress, stop: Stop) -> TrialResult:
        together.wait(20)
        return result_of(trial, folder)

    performing(monkeypatch, perform)
    with LocalEngine(3, Progress()) as engine:
        futures = [engine.submit(TRIAL, tmp_path / f"{n:03}-x") for n in range(6)]
        folders = {future.result(30).folder for future in futures}
    assert len(folders) == 6


def test_interrupted_engine_stops_what_runs_and_cancels_what_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()

    def perform(trial: Trial, folder: Path, progress: Progress, stop: Stop) -> TrialResult:
        ended = threading.Event()
        with stop.calls(ended.set):
            begun.set()
            assert ended.wait(30)
        return result_of(trial, folder)

    performing(monkeypatch, perform)
    with pytest.raises(KeyboardInterrupt), LocalEngine(2, Progress()) as engine:
        futures = [engine.submit(TRIAL, tmp_path / f"{n:03}-x") for n in range(4)]
        assert begun.wait(20)
        raise KeyboardInterrupt
    assert wait_for(lambda: all(future.done() for future in futures), 20)
    assert [future.cancelled() for future in futures][2:] == [True, True]


@pytest.mark.parametrize("width", [1, 2])
def test_fault_of_one_trial_loses_no_other(
    width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def perform(trial: Trial, folder: Path, progress: Progress, stop: Stop) -> TrialResult:
        if folder.name.startswith("002"):
            raise EnvironmentFault("no memory")
        time.sleep(0.05)
        return result_of(trial, folder)

    performing(monkeypatch, perform)
    monkeypatch.setattr(campaign, "build", lambda *a, **k: KERNEL)
    plan = series(["v5.10-debug"], "two-nodes", [CASE], runs=9, guests=width)
    told: list[TrialResult] = []
    engine = LocalEngine(width, Progress()) if width > 1 else SerialEngine(Progress())
    with pytest.raises(EnvironmentFault, match="no memory"):
        run_series(plan, ["x"], Progress(), results=tmp_path, on_result=told.append, engine=engine)
    (document,) = tmp_path.glob("*/result.json")
    trials = json.loads(document.read_text())["trials"]
    assert [trial["folder"][:3] for trial in trials] == ["001"]
    assert len(told) == 1


def test_trials_under_way_at_the_first_splat_still_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_ended = threading.Event()

    def perform(trial: Trial, folder: Path, progress: Progress, stop: Stop) -> TrialResult:
        if folder.name.startswith("001"):
            return result_of(trial, folder, Outcome.FAIL)
        assert first_ended.wait(20)  # and counted: a third would be begun otherwise
        return result_of(trial, folder)

    performing(monkeypatch, perform)
    monkeypatch.setattr(campaign, "build", lambda *a, **k: KERNEL)
    plan = replace(series(["v5.10-debug"], "two-nodes", [CASE], runs=0), until_splat=True, guests=2)
    _, results = run_series(
        plan,
        ["x"],
        Progress(),
        results=tmp_path,
        on_result=lambda result: first_ended.set(),
        engine=LocalEngine(2, Progress()),
    )
    outcomes = {result.verdict.outcome for result in results}
    assert outcomes == {Outcome.FAIL, Outcome.PASS}
    assert sorted(result.folder.name[:3] for result in results) == ["001", "002"]


def test_width_is_what_the_cpus_carry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)))
    two, four = load_machine("two-nodes"), load_machine("four-nodes")
    out = io.StringIO()
    widths = [
        local(guests, machine, PlainProgress(out)).width
        for guests, machine in ((None, two), (None, four), (8, two), (9, two), (1, two))
    ]
    assert widths == [4, 2, 8, 8, 1]
    assert out.getvalue() == "9 guests at a time are asked for; 8 CPUs carry 8\n"
    assert local(None, two, Progress(), spare=1).width == 5
    assert local(2, two, Progress(), spare=1).width == 2
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0})
    assert local(None, two, Progress()).width == 1
    assert local(None, two, Progress(), spare=1).width == 1


def test_threads_share_one_display_in_whole_lines() -> None:
    out = io.StringIO()
    progress = PlainProgress(out)

    def speak(number: int) -> None:
        mine = progress.prefixed(f"[{number:03}] ")
        for _ in range(50):
            with mine.stage("boot"):
                pass

    threads = [threading.Thread(target=speak, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = out.getvalue().splitlines()
    assert len(lines) == 400
    assert all(re.fullmatch(r"\[00[0-3]\] boot( \.\.\.|: \d+\.\d s)", line) for line in lines)


@pytest.mark.parametrize("words", [["-n"], ["-n", "anon_fork_migrate"], ["-n", "0"]])
def test_number_that_is_missing_is_asked_for(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", *words])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "--dry-run prints what would be run" in said
    assert "number of guests at a time" in said


def test_number_of_guests_reaches_the_series() -> None:
    args: argparse.Namespace = parser().parse_args(["run", "-n", "3"])
    assert args.guests == 3
    assert parser().parse_args(["reproduce", "x.c"]).guests is None


def test_stop_that_came_first_is_obeyed() -> None:
    stop, calls = Stop(), []
    with stop.calls(lambda: calls.append("early")):
        pass
    stop.set()
    with stop.calls(lambda: calls.append("late")):
        assert calls == ["late"]
