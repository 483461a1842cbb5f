"""Saying what takes long: a live line on a terminal, plain lines elsewhere, always on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from rich.console import Console
from rich.markup import escape
from rich.status import Status


class Stage(Protocol):
    """One piece of long work under way."""

    def note(self, text: str) -> None:
        """Replace the short text that says where the work stands."""


class Progress:
    """Says nothing: for tests and for quiet callers.  The others inherit from it."""

    def say(self, text: str) -> None:
        """A line that stays."""

    @contextmanager
    def stage(self, title: str) -> Iterator[Stage]:
        """Show ``title`` while the block runs, and how long it took when it ends."""
        yield _Quiet()


class _Quiet:
    def note(self, text: str) -> None:
        pass


class PlainProgress(Progress):
    """Plain lines, for logs and pipes: a start, a note at most every ``period`` seconds, an end."""

    def __init__(self, out: TextIO | None = None, period: float = 15.0) -> None:
        self._out = out or sys.stderr
        self._period = period

    def say(self, text: str) -> None:
        print(text, file=self._out, flush=True)

    @contextmanager
    def stage(self, title: str) -> Iterator[Stage]:
        start = time.monotonic()
        self.say(f"{title} ...")
        yield _PlainStage(self, title, start, self._period)
        self.say(f"{title}: {time.monotonic() - start:.1f} s")


class _PlainStage:
    def __init__(self, owner: PlainProgress, title: str, start: float, period: float) -> None:
        self._owner, self._title, self._start, self._period = owner, title, start, period
        self._next = start + period

    def note(self, text: str) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self._period
            self._owner.say(f"{self._title} ({now - self._start:.0f} s): {text}")


class RichProgress(Progress):
    """One live line with a spinner."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._status: Status | None = None

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    @contextmanager
    def stage(self, title: str) -> Iterator[Stage]:
        if self._status is not None:  # a stage inside a stage: only its end is worth a line
            start = time.monotonic()
            yield _RichNote(self._status, title, start)
            self.say(f"{title}: {time.monotonic() - start:.1f} s")
            return
        start = time.monotonic()
        self._status = self._console.status(_plain(title))
        try:
            with self._status:
                yield _RichNote(self._status, title, start)
        finally:
            self._status = None
        self.say(f"{title}: {time.monotonic() - start:.1f} s")


class _RichNote:
    def __init__(self, status: Status, title: str, start: float) -> None:
        self._status, self._title, self._start = status, title, start

    def note(self, text: str) -> None:
        seconds = time.monotonic() - self._start
        width = self._status.console.width - 4  # the spinner, and a border to be sure
        self._status.update(_plain(f"{self._title} ({seconds:.0f} s): {text}"[:width]))


def _plain(text: str) -> str:
    """``text`` with rich's markup switched off: notes carry file names and compiler output."""
    return escape(text)


def default_progress() -> Progress:
    """A live line on a terminal, plain lines elsewhere."""
    return RichProgress() if sys.stderr.isatty() else PlainProgress()
