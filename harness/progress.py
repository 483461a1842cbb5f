"""Saying what takes long: a live line on a terminal, plain lines elsewhere, always on stderr.

Threads may share one: each has a live line of its own, and what is said comes in whole lines.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text


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

    def prefixed(self, prefix: str) -> Progress:
        """The same display, each line of it begun with ``prefix``."""
        return _Prefixed(self, prefix)


class _Prefixed(Progress):
    def __init__(self, owner: Progress, prefix: str) -> None:
        self._owner, self._prefix = owner, prefix

    def say(self, text: str) -> None:
        self._owner.say(self._prefix + text)

    @contextmanager
    def stage(self, title: str) -> Iterator[Stage]:
        with self._owner.stage(self._prefix + title) as stage:
            yield stage


class _Quiet:
    def note(self, text: str) -> None:
        pass


class PlainProgress(Progress):
    """Plain lines, for logs and pipes: a start, a note at most every ``period`` seconds, an end."""

    def __init__(self, out: TextIO | None = None, period: float = 15.0) -> None:
        self._out = out or sys.stderr
        self._period = period

    def say(self, text: str) -> None:
        self._out.write(text + "\n")  # in one piece: print() writes the line's end by itself
        self._out.flush()

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
    """One live line with a spinner for each thread that is in a stage."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._lock = threading.RLock()
        self._rows: dict[int, _Row] = {}
        self._live: Live | None = None

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    @contextmanager
    def stage(self, title: str) -> Iterator[Stage]:
        thread = threading.get_ident()
        start = time.monotonic()
        row = self._rows.get(thread)
        if row is not None:  # a stage inside a stage: only its end is worth a line
            yield _RichNote(row, title, start)
        else:
            row = self._rows.setdefault(thread, _Row(title, self._console.width - 4))
            self._show()
            try:
                yield _RichNote(row, title, start)
            finally:
                del self._rows[thread]
                self._show()
        self.say(f"{title}: {time.monotonic() - start:.1f} s")

    def _show(self) -> None:
        """Draw the rows there are; without any, the display goes."""
        with self._lock:
            rows = Group(*(row.spinner for row in tuple(self._rows.values())))
            if not self._rows:
                live, self._live = self._live, None
                if live:
                    live.stop()
            elif self._live is None:
                self._live = Live(rows, console=self._console, transient=True)
                self._live.start()
            else:
                self._live.update(rows)


class _Row:
    """``width`` leaves room for the spinner, and for a border to be sure."""

    def __init__(self, title: str, width: int) -> None:
        self._width = width
        self.spinner = Spinner("dots", _plain(title[:width]), style="status.spinner")

    def show(self, text: str) -> None:
        self.spinner.update(text=_plain(text[: self._width]))


class _RichNote:
    def __init__(self, row: _Row, title: str, start: float) -> None:
        self._row, self._title, self._start = row, title, start

    def note(self, text: str) -> None:
        self._row.show(f"{self._title} ({time.monotonic() - self._start:.0f} s): {text}")


def _plain(text: str) -> Text:
    """``text`` without rich's markup: notes carry file names and compiler output."""
    return Text(text)


def default_progress() -> Progress:
    """A live line on a terminal, plain lines elsewhere."""
    return RichProgress() if sys.stderr.isatty() else PlainProgress()
