"""harness run --resume: a run that was killed goes on, and what it had stays what it was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.campaign import series as campaign
from harness.cli import main
from harness.guest.seam import wait_for
from harness.kernel.built import BuiltKernel
from harness.progress import Progress
from harness.record.folder import RunFolder
from harness.stop import Stop
from harness.trial.evidence import Evidence
from harness.trial.trial import Trial, TrialResult
from harness.trial.verdict import Outcome, Verdict
from tests.survival import qemu_of

KERNEL = BuiltKernel("v5.10-debug", "one", "5.10", Path("b"), Path("c"), vmlinux=Path("v"))


class Bench:
    """Stands for guests: performs trials until one of them "kills" the harness."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.dies_at, self.ran, self.kernel = 0, list[str](), KERNEL
        self.outcome = Outcome.PASS
        monkeypatch.setattr("harness.campaign.engine.perform", self.perform)
        monkeypatch.setattr(campaign, "build", lambda *a, **k: self.kernel)
        monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0})

    def perform(self, trial: Trial, folder: Path, progress: Progress, stop: Stop) -> TrialResult:
        folder.mkdir(parents=True)
        (folder / "console.log").write_bytes(b"what it said until then")
        self.ran.append(folder.name)
        if len(self.ran) == self.dies_at:
            raise KeyboardInterrupt
        return TrialResult(trial, Verdict(self.outcome), Evidence(), folder, time.time())


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    def call(*words: str) -> int:
        argv = ["run", *words, "--results", str(tmp_path)]
        monkeypatch.setattr(sys, "argv", ["harness", *argv])
        status = main(argv)
        # The lock of a run goes with its process; here all are one.
        for fd in Path("/proc/self/fd").iterdir():
            if Path(os.path.realpath(fd)).parent == tmp_path:
                os.close(int(fd.name))
        return status

    return call


def trials(tmp_path: Path) -> list[str]:
    (record,) = tmp_path.glob("*/result.json")
    return [trial["folder"][:3] for trial in json.loads(record.read_text())["trials"]]


def test_run_goes_on_where_it_was_killed(
    bench: Bench, call: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.dies_at, bench.outcome = 3, Outcome.FAIL
    assert call("anon_fork_migrate", "pool_pressure", "--runs", "2", "--time", "1") == 130
    assert trials(tmp_path) == ["001", "002"]
    (record,) = tmp_path.glob("*/result.json")
    (record.parent / ".result.json.12345").write_text('{"half')
    bench.dies_at, bench.outcome = 0, Outcome.PASS
    capsys.readouterr()
    assert call("--resume") == 1  # what failed before has failed
    assert trials(tmp_path) == ["001", "002", "004", "005"]
    assert bench.ran[3:] == ["004-pool_pressure--v5.10-debug", "005-pool_pressure--v5.10-debug"]
    assert (record.parent / "003-pool_pressure--v5.10-debug/console.log").exists()
    assert not list(record.parent.glob(".*"))
    said = capsys.readouterr().out
    assert "2 FAIL\n" in said
    assert "no verdict, cut short:" in said
    assert call("--resume") == 1
    assert "nothing was left to run" in capsys.readouterr().out
    assert len(bench.ran) == 5


def test_resume_refuses_what_would_not_add_up(
    bench: Bench, call: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("--resume") == 2
    assert "no run of harness run" in capsys.readouterr().err
    bench.dies_at = 2
    assert call("anon_fork_migrate", "--runs", "2") == 130
    assert call("--resume", "--time", "3") == 2
    assert "only --results, -n and --dry-run go with it" in capsys.readouterr().err
    assert call("--resume", "no-such-run") == 2
    (record,) = tmp_path.glob("*/result.json")
    (now,) = {trial["reproducer"]["id"] for trial in json.loads(record.read_text())["trials"]}
    record.write_text(record.read_text().replace(now, "0" * 20))
    assert call("--resume") == 2
    assert "the reproducer of anon_fork_migrate has changed" in capsys.readouterr().err
    record.write_text(record.read_text().replace("0" * 20, now))
    bench.kernel = BuiltKernel("v5.10-debug", "two", "5.10", Path("b"), Path("c"))
    assert call("--resume") == 2
    assert "v5.10-debug has changed since this run began" in capsys.readouterr().err
    assert trials(tmp_path) == ["001"]


def test_run_that_is_under_way_is_left_alone(
    bench: Bench, call: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(["harness", "run", "anon_fork_migrate"], tmp_path)
    assert call("--resume") == 2
    assert "a harness is still at work on this run" in capsys.readouterr().err
    other = RunFolder(["harness", "rate", "x"], tmp_path)
    assert call("--resume", other.name) == 2
    assert "it is not of harness run, but of: harness rate x" in capsys.readouterr().err
    assert folder.path != other.path


@pytest.mark.guest
def test_killed_harness_leaves_results_no_guest_and_can_go_on(
    debug_kernel: BuiltKernel, tmp_path: Path
) -> None:
    """SIGKILL in the middle of the second of three trials, on real guests."""
    argv = [sys.executable, "-m", "harness.cli", "run", "--results", str(tmp_path)]
    words = ["anon_fork_migrate", "--runs", "3", "--time", "4", "-n", "1"]
    with subprocess.Popen(
        [*argv, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as harness:
        second = "*/002-*/console.log"

        def midway() -> bool:
            return any(b"harness: begin" in file.read_bytes() for file in tmp_path.glob(second))

        assert wait_for(midway, 240)
        os.kill(harness.pid, signal.SIGKILL)
    assert wait_for(lambda: not qemu_of(tmp_path), 10)
    assert trials(tmp_path) == ["001"]
    done = subprocess.run([*argv, "--resume"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "going on with" in done.stdout
    assert trials(tmp_path) == ["001", "003", "004"]
    assert not qemu_of(tmp_path)
