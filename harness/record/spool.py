"""A run's trials, encoded, in one file on disk: a run of 10,000 keeps none of them in memory.

``result.json`` is made of it as often as that is cheap; what it does not have yet stands here when
a harness is killed.  It ends with the run.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

NAME = "trials.part"
_BETWEEN = b",\n"


class Spool:
    """``count`` trials are in it; ``trials`` are those that it begins with."""

    def __init__(self, folder: Path, trials: Iterable[bytes] = ()) -> None:
        self._file = folder / f".{NAME}.{os.getpid()}"
        self._size = 0
        self.count = 0
        self._file.write_bytes(b"")
        for trial in trials:
            self.add(trial)
        # One that a killed harness left stays until all that it holds is in this one.
        self._file = self._file.replace(folder / NAME)

    def add(self, trial: bytes) -> None:
        """Append it whole, or raise OSError and leave the file as it was."""
        data = (_BETWEEN if self.count else b"") + trial
        with self._file.open("ab") as file:
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                os.truncate(self._file, self._size)
                raise
        self._size += len(data)
        self.count += 1

    def copy(self, into: IO[bytes]) -> None:
        if self.count:
            with self._file.open("rb") as file:
                shutil.copyfileobj(file, into, 1 << 18)

    def remove(self) -> None:
        self._file.unlink(missing_ok=True)


def spooled(folder: Path) -> Iterator[Any]:
    """The trials in a spool that a killed harness left; what was cut short at its end is none."""
    try:
        text = (folder / NAME).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    decoder = json.JSONDecoder()
    at = 0
    while at < len(text):
        try:
            trial, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return
        yield trial
        at += len(_BETWEEN)
