"""SIGTERM and SIGINT to a campaign: what it keeps, and the command that goes on, in its last line.

The trials are no guests'; the signals are real, and sent while one of them runs.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.campaign.count import Count
from harness.cli import main
from harness.progress import Progress
from harness.stop import Stop
from harness.trial.trial import Trial, TrialResult
from tests.fake_bench import FakeBench, fail, passed
from tests.fake_kernel import diff_of, make_tree
from tests.test_campaign_commits import mailbox
from tests.test_resume import Bench

CASE = "anon_fork_migrate"

SIGNALS = pytest.mark.parametrize(
    ("number", "status", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
    ids=["SIGINT", "SIGTERM"],
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A kernel, k.yaml, and patches on it.  A SIGTERM that nobody minds fails the test, and does
    not end it; what came before is back when the command is over.
    """

    def die(*args: object) -> None:
        pytest.fail("nobody minds the signal")

    monkeypatch.setenv("HUGETLB_HARNESS_CACHE", str(tmp_path / "cache"))
    tree = make_tree(tmp_path / "linux")
    (tmp_path / "k.yaml").write_text(f"source: {{tree: {tree}}}\nconfig: [guest]\n")
    mailbox(tmp_path / "series.mbox", *(diff_of("a", n + 1, was=n) for n in range(1, 4)))
    (tmp_path / "fix.patch").write_text(diff_of("b", 2))
    before = signal.signal(signal.SIGTERM, die)
    yield tmp_path
    assert signal.signal(signal.SIGTERM, before) is die


def send(number: signal.Signals) -> None:
    """As timeout(1) does: to the process, and to its group again."""
    os.kill(os.getpid(), number)
    if number is signal.SIGTERM:
        os.kill(os.getpid(), number)


def bench(monkeypatch: pytest.MonkeyPatch, then: Count, number: signal.Signals, at: int) -> None:
    """Every run comes to ``then``; the signal comes once, in the run ``at``."""
    turns = itertools.count(1)

    def outcome(name: str) -> Count:
        if next(turns) == at:
            send(number)
        return then

    fake = FakeBench(outcome)
    for module in ("bisects", "campaigns", "nights"):
        monkeypatch.setattr(f"harness.commands.{module}.GuestBench", lambda *args: fake)
        nothing: Callable[..., object] = lambda *args: contextlib.nullcontext()  # noqa: E731
        monkeypatch.setattr(f"harness.commands.{module}.engine_of", nothing)
    monkeypatch.setattr("harness.commands.bisects.reproducer_of", lambda case: "")


@SIGNALS
def test_bisection(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
    status: int,
    word: str,
) -> None:
    bench(monkeypatch, fail(), number, at=3)
    argv = ["bisect", "start", CASE, "-k", str(place / "k.yaml"), "-n", "2"]
    argv += ["--series", str(place / "series.mbox"), "--results", str(place / "results")]
    assert main(argv) == status
    last = capsys.readouterr().err.splitlines()[-1]
    (log,) = (place / "results").glob("*/bisect.jsonl")
    kept = rf"{word}; 2 runs and \d builds are kept in {log}"
    assert re.fullmatch(f"{kept}; go on with: harness bisect resume {log.parent} -n 2", last)
    assert main(shlex.split(last.partition("go on with: harness ")[2])) == 1
    out = capsys.readouterr().out
    assert "the good end, base, has it already" in out
    runs = sum(json.loads(line)["event"] == "run" for line in log.read_text().splitlines())
    assert runs > 2
    assert f"{runs} runs and" in out


@SIGNALS
@pytest.mark.parametrize("verb", ["rate", "verify"])
def test_what_does_not_go_on_says_so(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    verb: str,
    number: signal.Signals,
    status: int,
    word: str,
) -> None:
    bench(monkeypatch, passed(), number, at=3)
    words = [CASE] if verb == "rate" else ["--patch", str(place / "fix.patch"), "--case", CASE]
    argv = [verb, *words, "-k", str(place / "k.yaml"), "--results", str(place / "results")]
    assert main(argv) == status
    out, err = capsys.readouterr()
    (folder,) = re.findall("record: (.*)", out)
    assert re.fullmatch(
        f"{word}; .*runs.* kept in {folder}; the same command begins anew,"
        " harness bisect start --from that folder counts them",
        err.splitlines()[-1],
    )
    assert (Path(folder) / f"{verb}.json").is_file()


@SIGNALS
def test_night(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
    status: int,
    word: str,
) -> None:
    bench(monkeypatch, passed(), number, at=3)
    plan, results = place / "plan.yaml", place / "results"
    plan.write_text(f"kernels: [{place / 'k.yaml'}]\ncases: [{CASE}]\nruns: 5\n")
    argv = ["nightly", str(plan), "--date", "2026-01-01", "--results", str(results)]
    assert main(argv) == status
    told, _, command = capsys.readouterr().err.splitlines()[-1].partition("; go on with: harness ")
    log = results / "nightly" / "plan" / "nights.jsonl"
    assert told == f"{word}; 2 runs are kept in {log}"
    assert main(shlex.split(command)) == 0
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [event["event"] for event in events].count("trial") == 5
    assert {event["night"] for event in events} == {"2026-01-01"}


@SIGNALS
def test_run(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
    status: int,
    word: str,
) -> None:
    monkeypatch.delenv("HUGETLB_HARNESS_CACHE")  # its reproducer is compiled once, and not for this
    trials = Bench(monkeypatch)

    def perform(trial: Trial, folder: Path, progress: Progress, stop: Stop) -> TrialResult:
        if len(trials.ran) == 2:
            send(number)
        return trials.perform(trial, folder, progress, stop)

    monkeypatch.setattr("harness.campaign.engine.perform", perform)
    argv = ["run", CASE, "--runs", "3", "--time", "1", "--results", str(place / "results")]
    monkeypatch.setattr(sys, "argv", ["harness", *argv])
    assert main(argv) == status
    (record,) = (place / "results").glob("*/result.json")
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"{word}; 2 trials of this sitting are kept in {record.parent};"
        f" go on with: harness run --resume {record.parent}"
    )


def test_before_anything_was_run(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench(monkeypatch, fail(), signal.SIGTERM, at=1)
    monkeypatch.setattr("harness.campaign.commits.series", lambda *args: send(signal.SIGTERM))
    argv = ["bisect", "start", CASE, "-k", str(place / "k.yaml")]
    argv += ["--series", str(place / "series.mbox"), "--results", str(place / "results")]
    assert main(argv) == 143
    assert capsys.readouterr().err.endswith("terminated; what was recorded stays\n")
    assert not list((place / "results").iterdir())
