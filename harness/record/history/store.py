"""The history's file: opened, brought to this version, and never overwritten when it is damaged."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.errors import EnvironmentFault, UsageError
from harness.paths import cache_dir
from harness.record.history.schema import APPLICATION, STEPS, VERSION

VARIABLE = "HUGETLB_HARNESS_HISTORY"
"""Names the history's file; empty: none is kept."""

BUSY = 30.0
"""Seconds to wait for another harness that writes just now."""


def history_file() -> Path | None:
    """Where the history is kept; None where the environment says that none is."""
    named = os.environ.get(VARIABLE)
    if named is None:
        return cache_dir() / "history.db"
    return Path(named).absolute() if named else None


class History:
    """One open history.  ``readonly`` opens nothing that is not there and changes nothing."""

    def __init__(self, file: Path, *, readonly: bool = False) -> None:
        self.file = file
        self.readonly = readonly
        if readonly and not file.is_file():
            raise UsageError(
                f"{file}: no such history",
                hint="harness history import results/ makes one of the run folders",
            )
        with explained(file):
            if not readonly:
                file.parent.mkdir(parents=True, exist_ok=True)
            mode = "ro" if readonly else "rwc"
            name = str(file).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
            self.db = sqlite3.connect(
                f"file:{name}?mode={mode}",
                uri=True,
                timeout=BUSY,
                isolation_level=None,
            )
            self.db.row_factory = sqlite3.Row
            try:
                self._begin()
            except BaseException:
                self.db.close()
                raise

    def _begin(self) -> None:
        db = self.db
        db.execute("PRAGMA foreign_keys = ON")
        version = self._version()
        if version > VERSION:
            self._newer(version)
            return
        if self.readonly:
            if version < VERSION:
                raise UsageError(
                    f"{self.file}: a history of version {version}, this harness writes {VERSION}",
                    hint="harness history import brings it up to date",
                )
            return
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")  # what a person saw told survives a power cut
        if version < VERSION:
            self._migrate()

    def _version(self) -> int:
        version = int(self.db.execute("PRAGMA user_version").fetchone()[0])
        identity = int(self.db.execute("PRAGMA application_id").fetchone()[0])
        tables = int(self.db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
        if identity != APPLICATION and (version or tables):
            raise UsageError(f"{self.file}: an SQLite database, but no history of this harness")
        return version

    def _newer(self, version: int) -> None:
        """A newer harness says from which version on its tables can be read."""
        row = self.db.execute("SELECT value FROM meta WHERE key = 'readable_from'").fetchone()
        if not self.readonly or row is None or int(row[0]) > VERSION:
            raise UsageError(
                f"{self.file}: a history of version {version}; this harness knows {VERSION}",
                hint="use the newer harness, or another file (--history FILE)",
            )

    def _migrate(self) -> None:
        """All steps in one transaction: another harness sees the old version or the new one."""
        with self.writing():
            for step in STEPS[self._version() :]:
                for statement in _statements(step):
                    self.db.execute(statement)
            self.db.execute(f"PRAGMA application_id = {APPLICATION}")
            self.db.execute(f"PRAGMA user_version = {VERSION}")

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of the block is there afterwards, or nothing of it."""
        with explained(self.file):
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield self.db
                self.db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self.db.execute("ROLLBACK")
                raise

    def check(self) -> list[str]:
        """What SQLite finds wrong with the file; empty for a sound one."""
        found: list[str] = []
        try:
            for (line,) in self.db.execute("PRAGMA integrity_check(20)"):
                found += str(line).splitlines()
            for row in self.db.execute("PRAGMA foreign_key_check"):
                found.append(f"{row[0]}: row {row[1]} belongs to no {row[2]}")
        except sqlite3.DatabaseError as error:
            found.append(str(error))
        return [line for line in found if line != "ok"]

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self.db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        if isinstance(error, _DAMAGE):
            with explained(self.file):
                raise error


_DAMAGE = (sqlite3.DatabaseError, zlib.error)


@contextlib.contextmanager
def explained(file: Path) -> Iterator[None]:
    """SQLite's errors in words: a damaged file, a full disk, another writer that does not end."""
    try:
        yield
    except sqlite3.OperationalError as error:
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith("SQLITE_FULL"):
            raise EnvironmentFault(f"{file}: no space left on the disk") from None
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            raise EnvironmentFault(
                f"{file}: another harness has been writing for {BUSY:g} s"
            ) from None
        if name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM", "SQLITE_IOERR")):
            raise EnvironmentFault(
                f"{file}: {error}", hint="give another file with --history"
            ) from None
        raise
    except _DAMAGE as error:
        if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
            raise
        raise EnvironmentFault(
            f"{file}: damaged, or no history at all: {error}",
            hint="nothing was changed; harness history salvage --to NEW reads what can be read",
        ) from None
    except OSError as error:
        raise EnvironmentFault(f"{file}: {error.strerror or error}") from None


def _statements(script: str) -> Iterator[str]:
    """executescript() would commit before each step."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
