"""What is known of one kind of report: the row of the families' table."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum


class Blame(Enum):
    """Where a family's report names the function to blame."""

    STACK = "the first frame of the backtrace that is not of the machinery"
    POINTER = "the instruction pointer, then the backtrace"
    LOCK = "the frame that takes, frees or holds the lock"
    SAFE = "the function that takes the lock in an interrupt"
    WAIT = "the first frame below the sleeping and locking primitives"
    ENTRY = "the way into the kernel, below the interrupt"
    CALLER = "the frame after 'caller is' or 'last function:'"
    HEAD = "the first line itself"
    NOBODY = "no function is to blame"


@dataclass(frozen=True)
class Family:
    """One kind of report.

    ``head`` is matched at the start of a line's text; a group ``function`` in it names a
    candidate for the blame, ``access`` and ``size`` what was done.  ``title`` may use ``{kind}``
    and named groups of ``head``; " in FUNCTION" is appended where a function is known.
    ``bars`` says that a line of "=" ends the report.  ``young`` heads join a report of the same
    context that has no backtrace yet; ``joins`` heads join any open report of the context.
    ``part`` heads are ordinary lines of an open report, and stand for one whose head was lost;
    ``torn`` heads are not whole.  ``stacked`` says that a backtrace is due.
    ``vague`` heads are words that a program may print as well: on a console whose kernel does
    not prefix its lines, they need more than themselves.
    """

    name: str
    kind: str
    head: re.Pattern[bytes]
    title: str
    blame: Blame = Blame.STACK
    bars: bool = False
    young: bool = False
    joins: bool = False
    part: bool = False
    torn: bool = False
    stacked: bool = True
    vague: bool = False

    @property
    def alone(self) -> bool:
        """Whether its report is its first line only: a panic that follows is another event."""
        return self.blame is Blame.NOBODY

    @property
    def opens(self) -> bool:
        """Whether another head may follow as a part of this report, before the backtrace."""
        return self.name in _OPENING


_OPENING = {"OOPS", "BUG", "LIST", "USERCOPY", "KMEMLEAK", "PANIC", "TRUSTY", "RUST"}


def head(pattern: str) -> re.Pattern[bytes]:
    """A pattern for console bytes, written as text."""
    return re.compile(pattern.encode())


@dataclass(frozen=True)
class Refinement:
    """What a WARNING or a BUG is really about, told by the lines before its head or by the head.

    ``tells`` is searched in the lines of the report up to its first backtrace.
    """

    names: tuple[str, ...]
    tells: re.Pattern[bytes]
    name: str
    kind: str
    title: str
