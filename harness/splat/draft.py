"""A report under way: the lines so far, and where its heads stand among them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from harness.splat.family import Family
from harness.splat.frames import frame
from harness.splat.lines import Line
from harness.splat.runs import Run

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
    """The first line of a report, or of what came of it: ``texts[at]`` of the draft."""

    family: Family
    match: re.Match[bytes]
    at: int
    line: Line


@dataclass
class Draft:
    """A report under way.  Without a head it is only the preamble after "cut here".

    ``ended`` tells that it is complete, and that only what came of it is still waited for;
    ``dropped`` that the kernel could not print all of it; ``cut_by`` the family of the next
    report, where that one began before this was complete.  ``print`` is what a sighting to the
    letter would look like.  ``start`` and ``end`` are console offsets; ``stamp`` is the last
    line's.
    """

    context: str
    texts: list[bytes] = field(default_factory=list)
    heads: list[Head] = field(default_factory=list)
    size: int = 0
    start: int = -1
    end: int = -1
    stamp: float = -1.0
    nmi: bool = False
    ended: bool = False
    dropped: bool = False
    cut_by: str = ""
    waited: int = 0
    print: tuple[bytes, tuple[bytes, ...]] | None = None
    _framed_at: int = -1
    _unframed: int = 0  # none of the lines before this one is a frame
    _own_end: int = 0  # behind the last line that is known to be a report's own
    _looked_at: int = 0  # from there up to this one, no line is

    @property
    def family(self) -> Family | None:
        return self.heads[0].family if self.heads else None

    def begin(self, family: Family, match: re.Match[bytes], line: Line) -> None:
        self.heads.append(Head(family, match, len(self.texts), line))
        self.add(line)

    def retells(self, family: Family) -> bool:
        """Whether a first line only says again what the line before did.

        A symboliser writes it once for each function that was inlined, the outermost last.
        """
        at = len(self.texts) - 1
        return (
            bool(self.heads)
            and self.heads[-1].at == at
            and self.heads[-1].family.name == family.name
            and b"[inline]" in self.texts[at]
        )

    def add(self, line: Line) -> None:
        text = line.text
        self.texts.append(text)
        self.size += len(text) + 1
        if self.start < 0:
            self.start = line.start
        self.end = max(self.end, line.end)
        self.stamp = line.stamp
        if b"NMI " in text or b"Task dump" in text:
            self.nmi = self.nmi or _NMI.match(text) is not None

    def extend(self, run: Run) -> None:
        """Take more lines, no more than there is ``room``, none of which asks another CPU for its
        backtrace."""
        self.texts += run.texts
        self.size += run.size
        self.end = max(self.end, run.end)
        self.stamp = run.stamp

    @property
    def framed(self) -> bool:
        """Whether a frame was printed."""
        if self._framed_at < 0:
            for at in range(self._unframed, len(self.texts)):
                text = self.texts[at]
                if b"+0x" in text and text[:1] in _INDENT and frame(text) is not None:
                    self._framed_at = at
                    break
            self._unframed = len(self.texts)
        return self._framed_at >= 0

    def _own(self, at: int) -> bool:
        """Whether only reports have a line such as this one."""
        text = self.texts[at]
        if b"+0x" in text and text[:1] in _INDENT and self.framed and at >= self._framed_at:
            return True
        return _OWN.match(text) is not None

    def _idle(self, least: int) -> int:
        """How many lines at the end are such as anything may print; at most that many where it is
        less than ``least``, so that most lines need no look."""
        size = len(self.texts)
        if size - self._own_end >= least:
            for at in range(size - 1, max(self._own_end, self._looked_at) - 1, -1):
                if self._own(at):
                    self._own_end = at + 1
                    break
            self._looked_at = size
        return size - self._own_end

    @property
    def room(self) -> int:
        """How many lines may be added before it could be full by their number."""
        return min(MAX_LINES - len(self.texts), IDLE - self._idle(IDLE // 2)) - 1

    @property
    def young(self) -> bool:
        """Whether it has no backtrace yet, and has hardly begun."""
        return not self.framed and len(self.texts) - self.heads[-1].at <= YOUTH

    @property
    def full(self) -> bool:
        return len(self.texts) >= MAX_LINES or self.size >= MAX_BYTES or self._idle(IDLE) >= IDLE

    @property
    def certain(self) -> bool:
        """Whether the kernel printed it.

        A word that any program may print, on a console where the kernel's lines look like all
        others, needs a backtrace, or to be the last word of the console.
        """
        head = self.heads[0]
        if not head.family.vague or head.line.stamp >= 0 or self.framed:
            return True
        return head.family.torn and not any(text.strip() for text in self.texts[head.at + 1 :])

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
