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
from harness.guest.ssh import MAX_STREAM
from harness.kernel.built import BuiltKernel
from harness.progress import Progress
from harness.trial.trial import Trial, TrialResult, perform
from harness.trial.verdict import Outcome
from tests.survival import GOOD, maker, qemu_of, wanted

pytestmark = pytest.mark.guest


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
    Row(
        # One task writes from a page that nobody gives it, with the file's lock held; another one
        # waits for that lock, and nothing wakes it.
        "hung task",
        """
        put("/proc/sys/kernel/hung_task_timeout_secs", "3");
        put("/proc/sys/kernel/hung_task_check_interval_secs", "1");
        int uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
        struct uffdio_api api = { .api = UFFD_API };
        char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        struct uffdio_register all = {
            .range = { (unsigned long)page, 4096 }, .mode = UFFDIO_REGISTER_MODE_MISSING };
        if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api) || ioctl(uffd, UFFDIO_REGISTER, &all))
            return 1;
        int fd = open("/tmp/locked", O_RDWR | O_CREAT, 0600);
        if (!fork()) { sleep(1); if (write(fd, "x", 1) < 0) {} _exit(0); }
        return write(fd, page, 1) == 1;
        """,
        *(Outcome.FAIL, ("splat",), 90),
        seconds=60,
    ),
    Row(
        "OOM kills the SSH server",
        """
        put("/proc/self/oom_score_adj", "-900");
        if (system("for p in $(pidof dropbear); do echo 1000 >/proc/$p/oom_score_adj; done")) {}
        put("/proc/sys/vm/nr_hugepages", "420"); /* an emulated guest has less to fill then */
        for (;;) mmap(NULL, 1 << 20, PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        """,
        *(Outcome.ERROR, ("ssh_lost",), 240),
        seconds=180,
    ),
    Row(
        "takes all memory and may not be killed",
        """
        put("/proc/self/oom_score_adj", "-1000");
        put("/proc/sys/vm/nr_hugepages", "420");
        for (;;) mmap(NULL, 1 << 20, PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        """,
        *(Outcome.INCONCLUSIVE, ("memory",), 240),
        seconds=180,
    ),
    Row(
        "the guest's clock jumps, there and back",
        """
        struct timeval jump;
        int n;
        for (n = 0; n < 20; n++) {
            gettimeofday(&jump, NULL);
            jump.tv_sec += n % 2 ? -40000000 : 40000000;
            if (settimeofday(&jump, NULL)) return 1;
            usleep(100000);
        }
        puts("@ count done 1");"""
        + GOOD,
        *(Outcome.PASS, (), 60),
        seconds=30,
    ),
    Row(
        "names and lines that are meant for another place",
        r"""
        puts("@ count ../../../tmp/x 1\n@ count \033]0;x\007 2\n@ fail ../../x \033[2J");"""
        + GOOD,
        *(Outcome.FAIL, ("../../x", "reproducer"), 60),
    ),
)


@pytest.fixture
def trial_of(
    debug_kernel: BuiltKernel, accel: Accel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Trial]:
    return maker(debug_kernel, accel, tmp_path, monkeypatch)


def _param(row: Row) -> object:
    return pytest.param(row, id=row.name, marks=() if row.core else wanted)


@pytest.mark.parametrize("row", [_param(row) for row in ROWS])
def test_row(row: Row, trial_of: Callable[..., Trial], tmp_path: Path) -> None:
    trial = trial_of(row.code, row.append, row.seconds)
    begin = time.monotonic()
    result = perform(trial, tmp_path / "run", Progress())
    took = time.monotonic() - begin - result.boot_seconds
    said = [(reason.oracle, reason.text) for reason in result.verdict.reasons]
    assert result.verdict.outcome is row.outcome, said
    assert not row.oracles or {oracle for oracle, _ in said} & set(row.oracles), said
    assert took < row.deadline, said
    print(f"{row.name}: {result.verdict.outcome.value} after {took:.0f} of {row.deadline:g} s")
    assert not qemu_of(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"run", "wild.c"}
    kept = result.evidence.out
    assert len(kept) <= MAX_STREAM + 100
    assert len(kept) < MAX_STREAM or kept.endswith(b"[cut off by the harness]\n")


@wanted
def test_next_trial_starts_clean(trial_of: Callable[..., Trial], tmp_path: Path) -> None:
    """Behind the worst row: nothing of it is in the next guest."""
    worst = trial_of("for (;;) fork();")
    assert perform(worst, tmp_path / "run", Progress()).verdict.outcome is Outcome.FAIL
    assert not qemu_of(tmp_path)
    good = trial_of('puts("@ count done 1");' + GOOD)
    result = perform(good, tmp_path / "next", Progress())
    assert result.verdict.outcome is Outcome.PASS, result.verdict


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
