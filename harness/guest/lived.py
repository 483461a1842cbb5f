"""Time as a guest has it: the host's clock, without what QEMU's threads waited for a CPU.

On a host with more to do than CPUs a guest may get a tenth of one.  Whoever says that it hangs
because a beat, an answer or an end did not come within so many of the host's seconds says that of
the host.  A guest that does hang is idle or spins: its threads wait for no CPU, or get one, and its
time goes on as the host's does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

_NANO = 1e9


def waits(pid: int) -> dict[int, float]:
    """Seconds that each thread was runnable and did not run, by thread id; empty where it is gone.

    proc(5): /proc/PID/task/TID/schedstat; a kernel without CONFIG_SCHED_INFO tells nothing, and
    the host's clock is all there is.
    """
    found: dict[int, float] = {}
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return found
    for thread in threads:
        try:
            found[int(thread.name)] = int((thread / "schedstat").read_bytes().split()[1]) / _NANO
        except (OSError, ValueError, IndexError):
            continue  # it has ended, or nobody counts
    return found


class Lived:
    """``seconds`` is the host's time since construction without the wait of the thread that waited
    longest: what is expected of a guest may need any of its CPUs.

    The kernel tells of a wait when it is over.  What was given too much until then is kept back,
    so that the time never goes backwards.
    """

    def __init__(
        self, pid: int, waits_of: Callable[[int], Mapping[int, float]] | None = None
    ) -> None:
        self._pid, self._waits_of = pid, waits_of or waits
        self._start = time.monotonic()
        self._before = dict(self._waits_of(pid))
        self._lived = 0.0

    def seconds(self) -> float:
        now = self._waits_of(self._pid)
        # A thread that is new has waited since it was made, which is not before we looked.
        longest = max((now[tid] - self._before.get(tid, 0.0) for tid in now), default=0.0)
        self._lived = max(self._lived, time.monotonic() - self._start - longest)
        return self._lived
