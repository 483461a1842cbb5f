"""How many guests at a time the host's memory carries: measured whenever one is to start.

A guest may come to use all that it was promised.  What is free now, less what the guests of this
process may still grow by, must hold the next one whole; it waits until that is so.  Copies of a
template share what they have not written, so that this is measured and not added up.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, field
from pathlib import Path

from harness.doctor import memory_available
from harness.errors import EnvironmentFault
from harness.spec.machine import MachineSpec
from harness.stop import Stop

OVERHEAD = 768 << 20
"""Bytes of host memory that QEMU takes beside the guest's: translated code most of all."""
_LOOK = 0.5

_changed = threading.Condition()
_admitted: list[Slot] = []


@dataclass(eq=False)
class Slot:
    """Memory that one guest may take, ``need`` bytes; held until ``release``."""

    need: int
    pid: int = field(default=0)

    def grows_by(self) -> int:
        """Bytes that it may still take."""
        return max(0, self.need - _private(self.pid))

    def release(self) -> None:
        with _changed, contextlib.suppress(ValueError):  # released before
            _admitted.remove(self)
            _changed.notify_all()


def admit(machine: MachineSpec, stop: Stop | None = None) -> Slot:
    """Room for one more guest; with a ``stop``, which ends the waiting, waited for.

    Raises EnvironmentFault, with the numbers, where there is none, and no guest of this process
    whose end would make some.
    """
    need = machine.memory + OVERHEAD
    with _changed:
        while True:
            available = memory_available()
            promised = sum(slot.grows_by() for slot in _admitted)
            if available - promised >= need:
                slot = Slot(need)
                _admitted.append(slot)
                return slot
            if not _admitted or stop is None or stop.is_set:
                raise EnvironmentFault(
                    f"machine {machine.name} needs {need >> 20} MiB of memory (guest"
                    f" {machine.memory >> 20}, QEMU {OVERHEAD >> 20}), available are"
                    f" {(available - promised) >> 20} MiB",
                    hint=f"end something, or give the nodes in {machine.file} less memory",
                )
            _changed.wait(_LOOK)


def _private(pid: int) -> int:
    """Bytes that a process has for itself; 0 where that is not known."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    for line in status.splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) << 10
    return 0
