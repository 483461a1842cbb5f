"""Trials in a row leave nothing in the harness's memory, and the fit that tells so can tell."""

from __future__ import annotations

import gc
import random
import sys
import time
from pathlib import Path

import pytest

from harness.campaign import series as campaign
from harness.campaign.series import run_series, series
from harness.kernel.built import BuiltKernel
from harness.progress import Progress
from harness.spec.cases import select
from harness.stop import Stop
from harness.trial.evidence import Evidence
from harness.trial.judge import judge
from harness.trial.lean import Kept
from harness.trial.run import Settings, run
from harness.trial.trial import Trial, TrialResult
from harness.trial.verdict import Outcome, Verdict
from tests.fake import FakeGuest, Script
from tests.reach import growth, measures

CONSOLE = Path(__file__).with_name("consoles") / "v5.10-anon-race-1.log"
KERNEL = BuiltKernel("v5.10-anon-race", "one", "5.10", Path("b"), Path("c"))
OPTIONS = {"CONFIG_KASAN": "y", "CONFIG_PROVE_LOCKING": "y", "CONFIG_HUGETLBFS": "y"}


@pytest.fixture(autouse=True)
def _bench(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guests that report a race at once, each from another process and another time."""
    monkeypatch.setattr("harness.trial.run.DRAIN_QUIET", 0.0)
    monkeypatch.setattr("os.fsync", lambda file: None)
    monkeypatch.setenv("HUGETLB_HARNESS_HISTORY", "")
    text = CONSOLE.read_bytes()
    report = text[text.index(b"=" * 60) :].partition(b"\n")[2]
    number = iter(range(10_000))

    def perform(trial: Trial, folder: Path, progress: Progress, stop: Stop) -> TrialResult:
        folder.mkdir(parents=True)
        said = report.replace(b"T72]", b"T%d]" % (100 + next(number)))
        seen = run(
            FakeGuest(Script(said=said, status=None)), trial.case, b"x", Settings(1, OPTIONS)
        )
        return TrialResult(trial, judge(trial.case, seen), seen, folder, time.time())

    monkeypatch.setattr("harness.campaign.engine.perform", perform)
    monkeypatch.setattr(campaign, "build", lambda *a, **k: KERNEL)


def test_trials_in_a_row_leave_nothing_in_memory(tmp_path: Path) -> None:
    """Counted in blocks of memory and in files, which no other process moves."""
    case = select(["anon_fork_migrate"])
    plan = series(["v5.10-anon-race"], "two-nodes", case, seconds=1, runs=60, guests=1)
    blocks: list[float] = []
    files: list[float] = []

    def tell(result: TrialResult) -> None:
        gc.collect()
        blocks.append(sys.getallocatedblocks())
        files.append(len(list(Path("/proc/self/fd").iterdir())))

    _, results = run_series(plan, ["x"], Progress(), results=tmp_path, on_result=tell)
    assert len(results) == 60
    assert {result.verdict.outcome for result in results} == {Outcome.FAIL}
    assert results[0].evidence.splats[0].family == "KASAN"
    # One result alone is 300 blocks.
    assert growth(blocks).per_hundred < 1000, blocks
    assert growth(files).per_hundred == 0, files


def test_kept_results_are_what_was_given(tmp_path: Path) -> None:
    case = select(["anon_fork_migrate"])[0]
    trials = [Trial(case, Path("/b"), seconds) for seconds in (1, 2)]
    given = [
        TrialResult(
            *(trials[n % 2], Verdict(Outcome.PASS), Evidence(seconds=float(n)), tmp_path, 1.0),
            wall_seconds=float(n),
        )
        for n in range(20)
    ]
    kept = Kept(given)
    assert list(kept) == given
    assert kept[-1] == given[-1]
    assert kept[3:5] == given[3:5]
    assert kept[4].trial is trials[0]
    with pytest.raises(IndexError):
        kept[20]


def test_full_disk_takes_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = select(["anon_fork_migrate"])[0]
    given = [
        TrialResult(Trial(case, Path("/b"), 1), Verdict(Outcome.PASS), Evidence(), tmp_path, at)
        for at in (1.0, 2.0, 3.0)
    ]
    kept = Kept(given[:1])

    def full(file: object, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("harness.trial.lean._write", full)
        kept.append(given[1])
    kept.append(given[2])
    assert list(kept) == given


@pytest.mark.parametrize(("per_trial", "grows"), [(0.0, False), (0.04, True), (-0.01, False)])
def test_fit_tells_growth_from_noise(per_trial: float, grows: bool) -> None:
    chance = random.Random(7)
    sizes = [90 + min(n, 10) / 2 + per_trial * n + chance.gauss(0, 0.3) for n in range(200)]
    found = growth(sizes)
    assert found.per_hundred == pytest.approx(100 * per_trial, abs=4 * found.error + 0.1)
    assert found.within(0.25) is not grows


@pytest.mark.parametrize(
    ("broken", "row"),
    [
        ("", ""),
        ("one is missing", "verdicts"),
        ("ERROR", "ERROR"),
        ("orphan", "QEMU processes left"),
        ("memory", "MiB resident / 100 trials"),
        ("files", "open files / 100 trials"),
        ("slow", "overhead a trial, median"),
    ],
)
def test_benchmark_says_which_row_is_not_held(broken: str, row: str, tmp_path: Path) -> None:
    trial = Trial(select(["anon_fork_migrate"])[0], Path("/b"), 1)
    wall = 4.0 if broken == "slow" else 3.2
    results = [
        TrialResult(
            *(trial, Verdict(Outcome.FAIL), Evidence(seconds=2.0), tmp_path, 1.0), wall_seconds=wall
        )
        for _ in range(40)
    ]
    if broken == "one is missing":
        results.pop()
    if broken == "ERROR":
        results[7] = TrialResult(trial, Verdict(Outcome.ERROR), Evidence(), tmp_path, 1.0)
    sizes = [
        (90 + (0.05 * n if broken == "memory" else 0), 11 + (n // 10 if broken == "files" else 0))
        for n in range(40)
    ]
    rows = measures(40, results, sizes, 1 if broken == "orphan" else 0)
    assert [each.name for each in rows if not each.held] == ([row] if row else [])
