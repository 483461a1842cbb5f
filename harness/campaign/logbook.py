"""What happened in a campaign, one event a line, written before anything is made of it.

A line is on disk before ``append`` returns.  A harness that is killed leaves at most one line cut
in half at the end, which nobody saw the meaning of: reading passes over it, and the next append
removes it.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.errors import EnvironmentFault, UsageError

Event = dict[str, Any]


class Logbook:
    """The file ``path``: JSON lines, each a mapping with the key ``event``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Event]:
        """All events.  Raises UsageError that names the line which is none."""
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be read: {error.strerror}") from None
        found = []
        for number, line in enumerate(content.split(b"\n")[:-1], 1):
            try:
                event = json.loads(line)
                if not isinstance(event["event"], str):
                    raise TypeError
            except (ValueError, KeyError, TypeError):
                raise UsageError(f"{self.path}:{number}: not an event of a campaign") from None
            found.append(event)
        return found

    def append(self, event: str, facts: Mapping[str, Any]) -> Event:
        """Add one event; it is given back as it was written."""
        made = {"event": event, **facts}
        line = json.dumps(made, ensure_ascii=False).encode() + b"\n"
        try:
            with self.path.open("ab+") as file:
                self._end_whole(file.fileno())
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise EnvironmentFault(f"{self.path}: cannot be written: {error.strerror}") from None
        return made

    @staticmethod
    def _end_whole(fd: int) -> None:
        """Cut off what a killed harness wrote of its last line."""
        size = end = os.fstat(fd).st_size
        while end and os.pread(fd, 1, end - 1) != b"\n":
            end -= 1
        if end < size:
            os.ftruncate(fd, end)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Be the only one at work on it.  Raises UsageError when another harness is."""
        with self.path.with_suffix(".lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(f"{self.path}: another harness is at work on it") from None
            yield
