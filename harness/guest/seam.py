"""The one seam to a guest: what a trial may ask.  Real guests and the tests' fake both fit."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class LifeEvent(Enum):
    """What can end a guest's life, or our sight of it."""

    PANICKED = "the kernel panicked (pvpanic)"
    RESET = "the guest rebooted"
    SHUTDOWN = "the guest shut itself down"
    QEMU_GONE = "the QEMU process ended"
    QEMU_STOPPED = "the QEMU process is stopped or does not answer on QMP"
    PULSE_LOST = "user space of the guest stopped beating"
    PULSE_FLOODED = "something in the guest writes over its pulse"
    SSH_LOST = "the SSH link is gone or silent while the guest lives"

    @property
    def kernel(self) -> bool:
        """Whether this speaks of the kernel under test, or only of the harness and its host."""
        return self in _KERNEL_EVENTS


_KERNEL_EVENTS = {
    LifeEvent.PANICKED,
    LifeEvent.RESET,
    LifeEvent.SHUTDOWN,
    LifeEvent.PULSE_LOST,
}


@dataclass(frozen=True)
class Life:
    """One event of a guest's life: when (time.monotonic()), and what is known of it."""

    event: LifeEvent
    at: float
    detail: str = ""


@dataclass(frozen=True)
class Completed:
    """A command that ended in the guest.

    ``status`` is the exit status, 128 + the signal number where a signal ended it
    (the remote shell's convention).
    """

    status: int
    out: bytes
    err: bytes


@dataclass(frozen=True)
class Load:
    """What is brought to the guest: ``content`` for the file ``path``."""

    content: bytes
    path: str
    mode: int = 0o755


NOT_TAKEN = 120
"""The exit status that says so."""


class Running(Protocol):
    """A command under way in the guest."""

    def poll(self) -> Completed | None:
        """What it came to, or None while it runs.  Never blocks; out and err so far are kept."""

    def so_far(self) -> tuple[bytes, bytes]:
        """Standard output and standard error until now."""

    def tell(self, data: bytes) -> None:
        """Its standard input, where it was started with a load; it ends with that."""

    def kill(self) -> None:
        """End it and all that it started, SIGKILL.  Returns at once, also on a dead guest."""


class Guest(Protocol):
    """A machine that runs, and what is known of its life."""

    def console(self, offset: int = 0) -> bytes:
        """The raw console from byte ``offset`` on, as captured until now."""

    def console_size(self) -> int:
        """Bytes of console captured until now."""

    def life(self) -> Sequence[Life]:
        """What happened to it, oldest first; empty while it is well.  Never blocks."""

    def run(self, command: str, *, timeout: float = 30.0, stdin: bytes = b"") -> Completed:
        """Run a shell command to its end.

        Raises GuestLost at once when the guest dies meanwhile, and after ``timeout`` seconds.
        """

    def start(self, command: str, load: Load | None = None) -> Running:
        """Start a shell command, in its own process group, and return at once.

        With a ``load`` it begins when that has arrived whole, or else ends with NOT_TAKEN, and its
        input stays open until it is told something.  Raises GuestLost.
        """

    def lived(self) -> float:
        """Seconds that it could have run until now, from any moment on: the host's clock without
        what it waited for the host's CPUs, where that is known.  Never goes backwards."""

    def postmortem(self) -> str:
        """What can be learned without the guest's help: QMP status, registers of every CPU."""

    def end(self) -> None:
        """Throw the guest away.  Idempotent."""

    @property
    def boot_end(self) -> int:
        """Console offset at which boot ended: what stands before belongs to the boot."""

    @property
    def command(self) -> tuple[str, ...]:
        """The exact QEMU command line; empty where the harness did not boot the guest."""


def wait_for(condition: Callable[[], bool], timeout: float, *, interval: float = 0.02) -> bool:
    """Poll ``condition`` every ``interval`` seconds; False when ``timeout`` seconds passed."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(interval)
    return True
