"""What the survival tests share: reproducers that go wild, and who still runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.guest.accel import Accel
from harness.kernel.built import BuiltKernel
from harness.spec.case import AtLeast, TestCase
from harness.spec.machine import load_machine
from harness.trial.compile import compile_reproducer
from harness.trial.trial import Trial

wanted = pytest.mark.skipif(
    not os.environ.get("HUGETLB_HARNESS_SURVIVAL"), reason="not of the core: make survival"
)

HEAD = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
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


def maker(
    kernel: BuiltKernel, accel: Accel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Trial]:
    """Makes trials of what a reproducer's main() is to do."""
    monkeypatch.setattr("harness.trial.run.GRACE", 3.0)

    def trial_of(code: str, append: tuple[str, ...] = (), seconds: int = 3) -> Trial:
        source = folder / "wild.c"
        # With --left a reproducer only looks for huge pages outside of any pool (repro.c).
        left = 'if (argc > 1 && !strcmp(argv[1], "--left")) return 0;'
        main = f"int main(int argc, char **argv)\n{{\n{left}\n{code}\n}}\n"
        source.write_text(f"{HEAD}\n{main}")
        return Trial(
            case=TestCase("wild", source, exercised=(AtLeast("done", 1),)),
            binary=compile_reproducer(source),
            seconds=seconds,
            kernel=kernel,
            machine=load_machine("two-nodes"),
            accel=accel.value,
            append=append,
        )

    return trial_of
