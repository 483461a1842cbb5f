"""What can still be read of a damaged history, copied to a new one."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import EnvironmentFault, HarnessError, UsageError
from harness.record.history.ingest import add_trial, unpacked
from harness.record.history.store import History
from harness.record.load import Run

_BROKEN = (sqlite3.DatabaseError, zlib.error, ValueError, AssertionError)


@dataclass(frozen=True)
class Salvaged:
    """``lost`` counts trials that are known to have been there and could not be read."""

    trials: int
    lost: int


def salvage(damaged: Path, new: Path) -> Salvaged:
    """Trials hold their whole document, so that one page of the file is all that each needs."""
    if not damaged.is_file():
        raise UsageError(f"{damaged}: no such history")
    if new.exists():
        raise UsageError(f"{new}: is there already", hint="name a file that is not")
    try:
        made = _copy(damaged, new)
    except HarnessError:
        _remove(new)
        raise
    if not made.trials:
        _remove(new)
        raise EnvironmentFault(
            f"{damaged}: no trial can be read of it",
            hint="harness history import takes up the run folders, where those are still there",
        )
    return made


def _copy(damaged: Path, new: Path) -> Salvaged:
    saved = lost = 0
    with _readable(damaged) as old, History(new) as history:
        for number in _numbers(old):
            try:
                run, document = _trial(old, number)
                add_trial(history, run, document)
                saved += 1
            except (*_BROKEN, KeyError, TypeError, LookupError):
                lost += 1
    return Salvaged(saved, lost)


def _remove(new: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{new}{suffix}").unlink(missing_ok=True)


_HEAD = b"SQLite format 3\0\x10\0\x02\x02\0\x40\x20\x20"
"""The first bytes of every history: the format's name, pages of 4,096 bytes, written by WAL."""


@contextlib.contextmanager
def _readable(damaged: Path) -> Iterator[sqlite3.Connection]:
    """The file, or a copy with its first bytes mended, without which SQLite takes it for no
    database at all.
    """
    with contextlib.ExitStack() as stack:
        file = damaged.absolute()
        with file.open("rb") as stream:
            head = stream.read(len(_HEAD))
        if head != _HEAD:
            file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "history.db"
            for suffix in ("", "-wal"):
                if Path(f"{damaged}{suffix}").is_file():
                    shutil.copyfile(f"{damaged}{suffix}", f"{file}{suffix}")
            with file.open("r+b") as stream:
                stream.write(_HEAD)
        name = str(file).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
        # Only a copy may be touched, were it to take in what its -wal holds.
        mode = "ro" if head == _HEAD else "rw"
        opened = sqlite3.connect(f"file:{name}?mode={mode}", uri=True)
        old = stack.enter_context(contextlib.closing(opened))
        old.row_factory = sqlite3.Row
        yield old


def _numbers(old: sqlite3.Connection) -> Iterator[int]:
    """Every trial's number that either table still gives: forward, then backward past a hole."""
    seen: set[int] = set()
    for column, table in (("id", "trial"), ("trial", "document")):
        for order in ("ASC", "DESC"):
            with contextlib.suppress(*_BROKEN):
                for row in old.execute(f"SELECT {column} FROM {table} ORDER BY {column} {order}"):
                    if row[0] not in seen:
                        seen.add(int(row[0]))
                        yield int(row[0])


def _trial(old: sqlite3.Connection, number: int) -> tuple[Run, dict[str, Any]]:
    row = old.execute("SELECT json FROM document WHERE trial = ?", (number,)).fetchone()
    document = unpacked(row[0])
    name, started, command, host, folder = f"salvaged-{number}", document["started"], [], {}, ""
    with contextlib.suppress(*_BROKEN, TypeError):
        found = old.execute(
            "SELECT run.* FROM run JOIN trial ON trial.run = run.id WHERE trial.id = ?", (number,)
        ).fetchone()
        name, started, folder = found["name"], found["started"], found["folder"]
        command, host = json.loads(found["command"]), json.loads(found["host"])
    return Run(name, started, command, host, Path(folder)), document
