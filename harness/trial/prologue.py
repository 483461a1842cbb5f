"""The start of every trial: one exchange brings the reproducer, asks, and waits for the word to go.

To start the reproducer then costs no further exchange (see ask.py).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.errors import GuestLost
from harness.guest.seam import NOT_TAKEN, Completed, Guest, Load, Running
from harness.trial.ask import CUT

HELD = "} </dev/null 2>/dev/null; read -r word && "
"""Between what is done at once and the command that waits."""

_GO = b"go\n"
_DEADLINE = 60.0
_SLOWEST = 200_000
"""Bytes a second that a guest takes in at the least; an emulated CPU decrypts a few million."""
_LOOK = 0.005


@dataclass(frozen=True)
class Begun:
    """The command that waits: ``seam.Running`` of it alone.  ``said`` are the answers before."""

    said: Sequence[str]
    running: Running
    skip: int

    def go(self) -> None:
        self.running.tell(_GO)

    def poll(self) -> Completed | None:
        done = self.running.poll()
        return done and replace(done, out=done.out[self.skip :])

    def so_far(self) -> tuple[bytes, bytes]:
        out, err = self.running.so_far()
        return out[self.skip :], err

    def tell(self, data: bytes) -> None:
        self.running.tell(data)

    def kill(self) -> None:
        self.running.kill()


def begin(guest: Guest, nonce: str, load: Load, asked: Sequence[str], command: str) -> Begun:
    """Bring ``load``, run what is ``asked``, and have ``command`` wait; ``nonce`` marks the ends
    of the answers.  Raises GuestLost.
    """
    cut = f"{CUT} {nonce}"
    questions = "".join(f"{part}; echo {cut}; " for part in asked)
    running = guest.start("{ " + questions + HELD + command, load)
    end = f"{cut}\n".encode()
    deadline = time.monotonic() + _DEADLINE + len(load.content) / _SLOWEST
    doing = f"bringing {load.path}"
    while (out := running.so_far()[0]).count(end) < len(asked):
        if life := guest.life():
            raise GuestLost(f"{doing}: {life[0].event.value}")
        if (done := running.poll()) is not None:
            why = done.err.decode("utf-8", "replace").strip()[:200]
            if done.status == NOT_TAKEN:
                raise GuestLost(f"{doing}: it did not arrive whole ({why or 'no place for it'})")
            raise GuestLost(f"{doing}: the guest's shell ended ({done.status})")
        if time.monotonic() >= deadline:
            running.kill()
            raise GuestLost(f"{doing}: no end within {_DEADLINE:g} s")
        time.sleep(_LOOK)
    skip = out.rindex(end) + len(end)
    said = out[:skip].decode("utf-8", "replace").split(f"{cut}\n")[:-1]
    return Begun(said, running, skip)
