"""A wish to stop: from outside, by a signal, and to other threads, which Ctrl-C does not reach."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from harness.errors import HarnessError


class Terminated(KeyboardInterrupt):
    """SIGTERM, obeyed as Ctrl-C is: guests are ended, and what is kept is told."""


@contextmanager
def terminable() -> Iterator[None]:
    """Raise Terminated at the first SIGTERM of the block.

    Those that follow are ignored: timeout(1) sends one to the process and one to its group, and the
    second must not cut short what the first one began.  Whoever has no patience sends SIGINT.
    A process that was started with SIGTERM ignored goes on ignoring it.
    """

    def obey(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated

    before = signal.getsignal(signal.SIGTERM)
    if before is signal.SIG_IGN or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGTERM, obey)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def keeping(told: Callable[[], str]) -> Iterator[None]:
    """A signal that ends the block carries a note of what is kept and how to go on, ``told``, which
    the command line shows.  The innermost one counts; an empty one is none.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        if not notes(error):
            with suppress(HarnessError):  # a log that cannot be read is told by whoever goes on
                if text := told():
                    error.add_note(text)
        raise


def notes(error: BaseException) -> tuple[str, ...]:
    return tuple(getattr(error, "__notes__", ()))


class Stop:
    """Not set at first; ``set`` runs what stands ready to be run, in the thread that calls it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[Callable[[], None]] = []
        self._set = False

    @property
    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        with self._lock:
            self._set = True
            calls, self._calls = self._calls, []
        for call in calls:
            call()

    @contextmanager
    def calls(self, call: Callable[[], None]) -> Iterator[None]:
        """While the block runs, a stop calls ``call``; at once where it was set before."""
        with self._lock:
            late = self._set
            if not late:
                self._calls.append(call)
        if late:
            call()
        try:
            yield
        finally:
            with self._lock:
                if call in self._calls:
                    self._calls.remove(call)
