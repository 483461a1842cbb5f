"""From a built kernel and a machine to a fresh guest that takes commands."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

from harness.errors import EnvironmentFault
from harness.guest import debian
from harness.guest.accel import Accel
from harness.guest.admission import admit
from harness.guest.cold import cold_boot
from harness.guest.start import Setup
from harness.guest.template import Unusable, fresh_copy
from harness.guest.vm import QemuGuest
from harness.kernel.built import BuiltKernel
from harness.progress import Progress
from harness.spec.machine import MachineSpec
from harness.stop import Stop

DISK = 256 << 20
"""Bytes that the run folder's disk must have free: a race that is lost prints 60 MB."""


def boot(
    kernel: BuiltKernel,
    machine: MachineSpec,
    *,
    run_dir: Path,
    accel: Accel,
    progress: Progress,
    timeout: float = 180.0,
    append: Sequence[str] = (),
    stop: Stop | None = None,
    cold: bool = False,
) -> QemuGuest:
    """A guest of ``kernel`` on ``machine`` that nothing has run in, logged in to.

    A copy of a template, unless ``cold``; where no copy is to be had, a boot takes over, and
    that is told once.  ``run_dir`` gets console.log (raw, from the boot's first byte),
    pulse.log and qemu.log.  Raises BootError when the guest is not ready within ``timeout``
    seconds, and at once when it panics or QEMU ends; EnvironmentFault when the host has too
    little memory or disk.  A ``stop`` ends it with an error; with one, it waits for memory that
    other guests of this process may give.
    """
    run_dir = run_dir.absolute()
    run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_disk(run_dir)
    if machine.root:
        debian.archive(machine.root, progress)
    setup = Setup(kernel, machine, run_dir, accel, tuple(append))
    timeout += setup.clearing
    slot = admit(machine, stop)
    try:
        guest = _start(setup, progress, timeout, stop, cold=cold)
    except BaseException:
        slot.release()
        raise
    slot.pid = guest.pid
    guest.at_end(slot.release)
    return guest


def _start(
    setup: Setup, progress: Progress, timeout: float, stop: Stop | None, *, cold: bool
) -> QemuGuest:
    if not cold:
        try:
            return fresh_copy(setup, progress, timeout, stop)
        except Unusable as why:
            _tell_once(progress, f"{setup.title}: no template: {why}; guests are booted instead")
    return cold_boot(setup, progress, timeout, stop)


_told: set[str] = set()
_telling = threading.Lock()


def _tell_once(progress: Progress, text: str) -> None:
    with _telling:
        if text in _told:
            return
        _told.add(text)
    progress.say(text)


def check_disk(run_dir: Path) -> None:
    """Raise EnvironmentFault, with the numbers, where the disk does not suffice."""
    free = shutil.disk_usage(run_dir).free
    if free < DISK:
        raise EnvironmentFault(
            f"{run_dir}: {free >> 20} MiB of disk are free, a run needs {DISK >> 20} MiB",
            hint="free some, or choose another folder (--results)",
        )
