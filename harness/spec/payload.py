"""Other people's tests as test cases: what their program needs beside it, and how it speaks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

PASSED = "passed"
"""The count of checks that passed; a test that checked nothing has exercised nothing."""


class Dialect(Enum):
    """How a program tells its results: see harness/trial/dialects.py."""

    LTP = "ltp"
    KSELFTEST = "kselftest"
    LIBHUGETLBFS = "libhugetlbfs"


@dataclass(frozen=True)
class Payload:
    """Makes a test case of somebody else's program: ``TestCase.reproducer`` is the program itself.

    ``files`` are laid beside it in one folder of the guest, by the names that they have there.
    ``command`` is run in that folder by the guest's shell, the program's own arguments included.
    ``runtime`` is how long the program runs by itself, in seconds, 0 for one that just ends; an
    LTP test with a runtime is told to take a share of it that fits its time.
    ``debian`` runs it in the Debian root of a machine that has one.
    ``keeps`` says why its pools and counters may differ when it has ended by itself, so
    that they are no failure; empty where they must be as they were.
    ``tree`` is the folder that its programs were taken from, empty for the kernel's own.
    """

    suite: str
    dialect: Dialect
    command: tuple[str, ...]
    files: tuple[tuple[str, Path], ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    runtime: int = 0
    debian: bool = False
    keeps: str = ""
    tree: str = ""
