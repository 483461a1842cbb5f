"""A boot from the kernel's first instruction, tried again where the emulation has failed."""

from __future__ import annotations

from pathlib import Path

from harness.guest.start import EmulatorFailed, Setup, Start
from harness.guest.vm import QemuGuest
from harness.progress import Progress
from harness.stop import Stop

_TRIES = 3


def cold_boot(
    setup: Setup,
    progress: Progress,
    timeout: float,
    stop: Stop | None = None,
    *,
    ram: Path | None = None,
) -> QemuGuest:
    """Boot and log in.  ``ram`` is the folder where the guest's memory is to be, as files.

    Raises BootError when the guest is not ready within ``timeout`` seconds, and at once when
    it panics or QEMU ends.
    """
    for number in range(1, _TRIES + 1):
        with progress.stage(f"booting {setup.title}") as stage:
            try:
                return Start(setup, stop, ram=ram).run(stage, timeout)
            except EmulatorFailed as failed:
                if number == _TRIES:
                    raise
                kept = setup.run_dir / f"console.{failed.word}{number}.log"
                (setup.run_dir / "console.log").rename(kept)
                progress.say(f"{failed.how} ({kept}): booting once more")
    raise AssertionError("a boot ends or raises")
