"""What a broken kernel, a wild reproducer or a killed process does, on real guests.

`make survival` runs every row; a plain pytest leaves out those that are not ``core``.

Each row ends in its verdict within its deadline, leaves no QEMU behind, and the trial that comes
next starts clean.  A deadline counts from the end of what the row itself waits for: it is a hang
that is looked for, not speed, so that it is generous on a host that is busy with other things.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.guest.accel import Accel
from harness.guest.seam import wait_for
from harness.kernel.built import BuiltKernel
from harness.progress import Progress
from harness.spec.case import AtLeast, TestCase
from harness.spec.machine import load_machine
from harness.trial.compile import compile_reproducer
from harness.trial.trial import Trial, TrialResult, perform
from harness.trial.verdict import Outcome

pytestmark = pytest.mark.guest

HEAD = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
static void put(const char *file, const char *text)
{
	int fd = open(file, O_WRONLY);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		perror(file);
	close(fd);
}
"""
GOOD = 'puts("@ end"); return 0;'


@dataclass(frozen=True)
class Row:
    """``code`` is the body of main(); ``oracles`` are those of which one must have spoken."""

    name: str
    code: str
    outcome: Outcome
    oracles: tuple[str, ...]
    deadline: float
    append: tuple[str, ...] = ()
    seconds: int = 3
    core: bool = False


ROWS = (
    Row(
        "panic, oops=panic",
        'put("/proc/sysrq-trigger", "c"); pause();',
        *(Outcome.FAIL, ("splat", "panicked"), 60),
        ("oops=panic",),
        core=True,
    ),
    Row(
        "oops without panic",
        'put("/proc/sysrq-trigger", "c"); pause();',
        *(Outcome.FAIL, ("splat",), 60),
    ),
    Row("reboot", 'put("/proc/sysrq-trigger", "b"); pause();', Outcome.FAIL, ("reset",), 60),
    Row("power off", 'put("/proc/sysrq-trigger", "o"); pause();', Outcome.FAIL, ("shutdown",), 60),
    Row(
        "console flood",
        'char line[900]; memset(line, 120, 899); line[899] = 0;for (;;) put("/dev/kmsg", line);',
        *(Outcome.FAIL, ("hang",), 150),
    ),
    Row("never ends", "for (;;) pause();", Outcome.FAIL, ("hang",), 120, core=True),
    Row(
        "forks without end",
        "signal(SIGCHLD, SIG_IGN); for (;;) fork();",
        *(Outcome.FAIL, ("splat", "hang", "pulse_lost", "panicked"), 180),
    ),
    Row(
        "fills /tmp",
        'char block[65536]; int fd = open("/tmp/full", O_WRONLY | O_CREAT, 0600);'
        "memset(block, 1, sizeof(block));"
        "while (write(fd, block, sizeof(block)) > 0) ;" + GOOD,
        *(Outcome.INCONCLUSIVE, ("memory", "reproducer", "exercised"), 180),
        seconds=120,  # to the last page of an emulated guest
    ),
    Row(
        "kills the SSH server",
        'system("kill -9 $(pidof dropbear)"); pause();',
        *(Outcome.ERROR, ("ssh_lost",), 90),
    ),
    Row(
        "output without end",
        "char block[65536]; memset(block, 65, sizeof(block));"
        "for (;;) fwrite(block, 1, sizeof(block), stdout);",
        *(Outcome.FAIL, ("hang",), 150),
    ),
)


def qemu_of(folder: Path) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            argv = entry.read_bytes()
        except OSError:
            continue
        if argv.startswith(b"qemu-system") and str(folder).encode() in argv:
            found.append(int(entry.parent.name))
    return found


@pytest.fixture
def trial_of(
    debug_kernel: BuiltKernel, accel: Accel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Trial]:
    monkeypatch.setattr("harness.trial.run.GRACE", 3.0)

    def trial_of(code: str, append: tuple[str, ...] = (), seconds: int = 3) -> Trial:
        source = tmp_path / "wild.c"
        source.write_text(f"{HEAD}\nint main(void)\n{{\n{code}\n}}\n")
        return Trial(
            case=TestCase("wild", source, exercised=(AtLeast("done", 1),)),
            binary=compile_reproducer(source),
            seconds=seconds,
            kernel=debug_kernel,
            machine=load_machine("two-nodes"),
            accel=accel.value,
            append=append,
        )

    return trial_of


def _param(row: Row) -> object:
    wanted = row.core or bool(os.environ.get("HUGETLB_HARNESS_SURVIVAL"))
    skip = pytest.mark.skipif(not wanted, reason="not of the core: make survival")
    return pytest.param(row, id=row.name, marks=skip)


@pytest.mark.parametrize("row", [_param(row) for row in ROWS])
def test_row(row: Row, trial_of: Callable[..., Trial], tmp_path: Path) -> None:
    trial = trial_of(row.code, row.append, row.seconds)
    begin = time.monotonic()
    result = perform(trial, tmp_path / "run", Progress())
    took = time.monotonic() - begin - result.boot_seconds
    said = [(reason.oracle, reason.text) for reason in result.verdict.reasons]
    assert result.verdict.outcome is row.outcome, said
    assert {oracle for oracle, _ in said} & set(row.oracles), said
    assert took < row.deadline, said
    assert not qemu_of(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_qemu(number: signal.Signals, trial_of: Callable[..., Trial], tmp_path: Path) -> None:
    """Says nothing about the kernel; a QEMU that was stopped is ended with the trial."""
    trial = trial_of("for (;;) pause();", seconds=60)
    results: list[TrialResult] = []
    thread = threading.Thread(
        target=lambda: results.append(perform(trial, tmp_path / "run", Progress()))
    )
    thread.start()
    assert wait_for(lambda: _runs(tmp_path), 120)
    for pid in qemu_of(tmp_path):
        os.kill(pid, number)
    thread.join(90)
    assert results
    (reason,) = results[0].verdict.reasons
    assert results[0].verdict.outcome is Outcome.ERROR, reason
    assert reason.oracle == ("qemu_gone" if number is signal.SIGKILL else "qemu_stopped")
    assert not qemu_of(tmp_path)


def _runs(tmp_path: Path) -> bool:
    console = tmp_path / "run" / "console.log"
    return console.exists() and b"harness: begin wild" in console.read_bytes()
