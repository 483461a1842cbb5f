"""A report under way: the lines so far, and where its heads stand among them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from harness.splat.family import Family
from harness.splat.frames import frame
from harness.splat.lines import Line

MAX_LINES = 2500
MAX_BYTES = 256 * 1024
# How many lines may stand between "cut here" and the head that it announces.
PREAMBLE = 12
# Lines before the first frame of a report in which a "young" head still belongs to it.
YOUTH = 14
# Lines in a row that are not of the kind that only reports have: it is over.
IDLE = 150
# Lines of others that are waited for a word on what came of a report that is complete.
LINGER = 24

# Lines that only reports have, beside frames: registers, stack sections, memory, locks.
_OWN = re.compile(
    rb"\s{0,4}(?:[RE][A-D0-9S][XIP0-9]: |Call |Modules linked|Hardware name|\{|#\d|->"
    rb"|[0-9a-f]{8,16}[: ]|>|Allocated by|Freed by|The buggy|x\d{1,2} ?: |r\d{1,2} ?: "
    rb"|\d{1,3} locks? held|lock\(|stack backtrace|NMI backtrace|Sending NMI)"
)
# What a frame begins with, in all its shapes.
_INDENT = (b" ", b"\t", b"[")
_NMI = re.compile(rb"Sending NMI (?:from|to) |NMI backtrace for cpu |Task dump for CPU ")
# What the kernel still says once a report is complete.
_AFTERWARDS = re.compile(
    rb"(?:Kernel panic - |Kernel Offset|Rebooting in|Disabling lock debugging|Dumping ftrace"
    rb"|RIP: |Code: |RSP: |[RE][A-D0-9S][XIP0-9]: |[CD]R\d: |FS: |CS: |PKRU: |note: |Modules linked"
    rb"|---\[ end |Fixing recursive fault|CPU: \d|Hardware name: |Call [Tt]race:"
    rb"|\s{0,4}</?[A-Z]{3,4}>"
    rb"|SMP: stopping|PHYS_OFFSET|CPU features|Memory Limit| {0,3}\(ftrace buffer| {0,4}ret_from)"
)


@dataclass(frozen=True)
class Head:
    """The first line of a report, or of what came of it: ``lines[at]`` of the draft."""

    family: Family
    match: re.Match[bytes]
    at: int


@dataclass
class Draft:
    """A report under way.  Without a head it is only the preamble after "cut here".

    ``ended`` tells that it is complete, and that only what came of it is still waited for;
    ``dropped`` that the kernel could not print all of it; ``cut_by`` the family of the next
    report, where that one began before this was complete.  ``print`` is what a sighting to the
    letter would look like.
    """

    context: str
    lines: list[Line] = field(default_factory=list)
    heads: list[Head] = field(default_factory=list)
    size: int = 0
    framed: bool = False
    nmi: bool = False
    ended: bool = False
    dropped: bool = False
    cut_by: str = ""
    idle: int = 0
    waited: int = 0
    print: tuple[bytes, tuple[bytes, ...]] | None = None

    @property
    def family(self) -> Family | None:
        return self.heads[0].family if self.heads else None

    def begin(self, family: Family, match: re.Match[bytes], line: Line) -> None:
        self.heads.append(Head(family, match, len(self.lines)))
        self.add(line)

    def retells(self, family: Family) -> bool:
        """Whether a first line only says again what the line before did.

        A symboliser writes it once for each function that was inlined, the outermost last.
        """
        at = len(self.lines) - 1
        return (
            bool(self.heads)
            and self.heads[-1].at == at
            and self.heads[-1].family.name == family.name
            and b"[inline]" in self.lines[at].text
        )

    def add(self, line: Line) -> None:
        text = line.text
        self.lines.append(line)
        self.size += len(text) + 1
        if b"+0x" in text and text[:1] in _INDENT and (self.framed or frame(text) is not None):
            self.framed = True
            self.idle = 0
        elif _OWN.match(text):
            self.idle = 0
        else:
            self.idle += 1
        if b"NMI " in text or b"Task dump" in text:
            self.nmi = self.nmi or _NMI.match(text) is not None

    @property
    def young(self) -> bool:
        """Whether it has no backtrace yet, and has hardly begun."""
        return not self.framed and len(self.lines) - self.heads[-1].at <= YOUTH

    @property
    def full(self) -> bool:
        return len(self.lines) >= MAX_LINES or self.size >= MAX_BYTES or self.idle >= IDLE

    @property
    def certain(self) -> bool:
        """Whether the kernel printed it.

        A word that any program may print, on a console where the kernel's lines look like all
        others, needs a backtrace, or to be the last word of the console.
        """
        head = self.heads[0]
        if not head.family.vague or self.lines[head.at].stamp >= 0 or self.framed:
            return True
        return head.family.torn and not any(line.text.strip() for line in self.lines[head.at + 1 :])

    def takes(self, family: Family) -> bool:
        """Whether a report of this family, in the same context, came of this one."""
        mine = self.heads[0].family
        if mine.alone:
            return False
        if family.joins:
            return True
        return family.young and not self.ended and self.young and mine.opens


def afterwards(text: bytes) -> bool:
    """Whether a line behind a complete report still speaks of it."""
    return not text or _AFTERWARDS.match(text) is not None
