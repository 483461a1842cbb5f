"""Questions to a guest: several in one exchange, and markers on its console.

An exchange costs a guest with KASAN that is emulated a quarter of a second of CPU time, whatever is
asked; a process that it starts costs 40 ms.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from harness.guest.seam import Guest, wait_for

CUT = "harness: cut"

LONGEST = 60.0
"""Seconds of the host that are waited for a marker, however little the guest has of its CPUs."""


def ask(guest: Guest, command: str, timeout: float = 30.0) -> str:
    return guest.run(command, timeout=timeout).out.decode("utf-8", "replace")


def ask_all(guest: Guest, nonce: str, *commands: str, timeout: float = 60.0) -> list[str]:
    """Several commands in one exchange; what each of them printed.  ``nonce`` is nobody else's."""
    cut = f"{CUT} {nonce}"
    said = ask(guest, "".join(f"{command}; echo {cut}; " for command in commands), timeout)
    parts = [part.removeprefix("\n") for part in said.split(cut)]
    return [*parts, *[""] * len(commands)][: len(commands)]


@dataclass(frozen=True)
class Mark:
    """A line for /dev/kmsg that must come out on the console; made before it is written."""

    guest: Guest
    text: str
    start: int

    @classmethod
    def of(cls, guest: Guest, text: str) -> Mark:
        return cls(guest, f"harness: {text}", guest.console_size())

    @property
    def command(self) -> str:
        return f"echo {shlex.quote(self.text)} > /dev/kmsg"

    def end(self, timeout: float) -> int:
        """The console offset behind it, -1 where it did not come within ``timeout`` seconds of the
        guest's."""
        deadline = self.guest.lived() + timeout
        wait_for(lambda: self._end() >= 0 or self.guest.lived() >= deadline, LONGEST)
        return self._end()

    def _end(self) -> int:
        # No pattern: re keeps the last 512, and each guest's is another one.
        text = self.guest.console(self.start)
        at = text.find(self.text.encode())
        end = text.find(b"\n", at) if at >= 0 else -1
        return self.start + end + 1 if end >= 0 else -1
