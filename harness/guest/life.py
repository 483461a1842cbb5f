"""What is known of a guest's life: a log that any thread may read, and the text that says panic."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from harness.errors import GuestLost
from harness.guest.seam import Life, LifeEvent

_PANIC = b"Kernel panic - not syncing"
"""panic() in kernel/panic.c prints it first, in every version there is."""


class LifeLog:
    """Events in the order they were seen; of each kind only the first counts."""

    def __init__(self) -> None:
        self._events: list[Life] = []
        self._lock = threading.Lock()
        self._closed = False

    def add(self, event: LifeEvent, detail: str = "") -> None:
        """Ignored once the log is closed: what QEMU does when it is ended is no event."""
        with self._lock:
            if not self._closed and all(life.event is not event for life in self._events):
                self._events.append(Life(event, time.monotonic(), detail))

    def close(self) -> None:
        with self._lock:
            self._closed = True

    @property
    def closed(self) -> bool:
        return self._closed

    def events(self) -> Sequence[Life]:
        with self._lock:
            return tuple(self._events)

    def check(self, doing: str) -> None:
        """Raise GuestLost when something has ended the guest, or the harness has."""
        events = self.events()
        if events:
            detail = f" ({events[0].detail})" if events[0].detail else ""
            raise GuestLost(f"{doing}: {events[0].event.value}{detail}")
        if self._closed:
            raise GuestLost(f"{doing}: the guest was thrown away")


class Quiet:
    """How long something that should move has not moved, in time that the watcher saw itself.

    A host that stops the watcher too (suspended, starved) adds at most ``step`` seconds:
    the guest had no chance to move either.  ``clock`` is the guest's, where there is one
    (``lived.Lived``); the host's otherwise.
    """

    def __init__(self, clock: Callable[[], float] | None = None, *, step: float = 1.0) -> None:
        self._clock = clock or time.monotonic
        self._step = step
        self._value: object = None
        self._last = self._clock()
        self.seconds = 0.0

    def look(self, value: object) -> float:
        """Seconds since ``value`` changed last."""
        now = self._clock()
        if value != self._value:
            self._value, self.seconds = value, 0.0
        else:
            self.seconds += min(now - self._last, self._step)
        self._last = now
        return self.seconds


class PanicText:
    """Finds the panic's first line in a console that is read in pieces."""

    def __init__(self) -> None:
        self._tail = b""

    def feed(self, data: bytes) -> str:
        """The line that says so, or an empty string."""
        text = self._tail + data
        at = text.find(_PANIC)
        self._tail = text[-len(_PANIC) :]
        if at < 0:
            return ""
        return text[at:].partition(b"\n")[0].decode("utf-8", "replace").strip()[:200]
