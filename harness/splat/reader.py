"""Console text to splats: one forward pass, fed in chunks of any size.

Most of a console is no report.  While none is open, the reader jumps from one ``MARKER`` of the
families to the next and never takes apart what lies between.  While one is open, every line is
given to the report of the context (task or CPU) that printed it.

A report is given as soon as it is known to be complete: at ``---[ end trace``, at the closing
line of "=" of the memory checkers, at the next report's first line in the same context, when
nothing was added for ``QUIET_SECONDS`` of the kernel's own clock, when it has grown to
``MAX_LINES`` or ``MAX_BYTES``, or at ``finish()``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from harness.splat import body
from harness.splat.families import MARKERS, head_of
from harness.splat.family import Family
from harness.splat.frames import frame
from harness.splat.lines import STAMP, Line, parse
from harness.splat.report import Splat

MAX_LINE = 16384
MAX_LINES = 2500
MAX_BYTES = 256 * 1024
MAX_OPEN = 64
QUIET_SECONDS = 5.0
# How many lines may stand between "cut here" and the head that it announces.
PREAMBLE = 12
# Lines before the first frame of a report in which a "young" head still belongs to it.
YOUTH = 12

_CUT = b"[ cut here ]"
_END_TRACE = b"---[ end trace "
_BAR = re.compile(rb"={20,200}\s{0,4}$")
_NMI = re.compile(rb"Sending NMI (?:from|to) |NMI backtrace for cpu ")
_STOPS = (_CUT, *MARKERS)
_NEVER = 1 << 62


@dataclass
class _Draft:
    """A report under way.  Without ``family`` it is only the preamble after "cut here"."""

    context: str
    lines: list[Line] = field(default_factory=list)
    family: Family | None = None
    head: re.Match[bytes] | None = None
    at: int = 0
    size: int = 0
    framed: bool = False
    nmi: bool = False

    def add(self, line: Line) -> None:
        self.lines.append(line)
        self.size += len(line.text) + 1
        if not self.framed and b"+0x" in line.text and frame(line.text) is not None:
            self.framed = True

    @property
    def young(self) -> bool:
        return not self.framed and len(self.lines) - self.at <= YOUTH

    @property
    def full(self) -> bool:
        return len(self.lines) >= MAX_LINES or self.size >= MAX_BYTES


class Reader:
    """Reads a console as it grows.  Where the chunks are cut does not change what is found.

    ``prefixed`` says from the start that the kernel prefixes its lines (CONFIG_PRINTK_TIME), so
    that a line without a prefix is user space; otherwise the first prefix seen tells.
    ``booted`` says that the kernel's banner has passed already: the next one is a reboot.
    ``base`` is the console offset of the first byte that will be fed.
    """

    def __init__(self, *, prefixed: bool = False, booted: bool = False, base: int = 0) -> None:
        self._prefixed = prefixed
        self._booted = booted
        self._position = base
        self._tail = bytearray()
        self._open: dict[str, _Draft] = {}
        self._done: list[Splat] = []
        self._seen_head = -1

    @property
    def pending(self) -> bool:
        """Whether a report has begun and is not complete yet."""
        return any(draft.family is not None for draft in self._open.values())

    @property
    def seen_head(self) -> int:
        """Console offset of the first report's first line, -1 while there was none.

        Known as soon as that line has ended, long before the report is complete.
        """
        return self._seen_head

    def feed(self, chunk: bytes) -> list[Splat]:
        """Take more console; give the reports that are complete now, oldest first."""
        cut = chunk.rfind(b"\n") + 1
        if cut:
            if self._tail:
                first = chunk.find(b"\n") + 1
                self._tail += chunk[:first]
                self._block(bytes(self._tail))
                self._tail.clear()
                self._block(chunk[first:cut])
            else:
                self._block(chunk[:cut])
            self._tail += chunk[cut:]
        else:
            self._tail += chunk
        while len(self._tail) > MAX_LINE:
            piece = bytes(self._tail[:MAX_LINE])
            del self._tail[:MAX_LINE]
            self._block(piece)
        return self._take()

    def finish(self) -> list[Splat]:
        """The console has ended: give what is still open."""
        if self._tail:
            rest = bytes(self._tail)
            self._tail.clear()
            self._block(rest)
        for context in list(self._open):
            self._close(context)
        return self._take()

    def _take(self) -> list[Splat]:
        done, self._done = self._done, []
        return sorted(done, key=lambda splat: splat.start)

    def _block(self, data: bytes) -> None:
        """Read whole lines (or one piece of an endless one) that stand at ``_position``."""
        base, position, size = self._position, 0, len(data)
        self._position += size
        found = STAMP.search(data) if not self._prefixed else None
        prefix_at = found.start() if found else (-1 if self._prefixed else _NEVER)
        nexts = [_find(data, stop, 0) for stop in _STOPS]
        stop = min(nexts)
        while position < size:
            if not self._open:
                if stop == _NEVER:
                    break
                start = max(position, data.rfind(b"\n", position, stop) + 1)
                position = start + (stop - start) // MAX_LINE * MAX_LINE
            limit = min(size, position + MAX_LINE)
            end = data.find(b"\n", position, limit) + 1 or limit
            marked = stop < end
            line = parse(data[position:end], base + position, prefixed=prefix_at < end)
            if marked and head_of(line.text) is None and STAMP.search(line.text):
                line = parse(data[position:end], base + position, prefixed=True, glued=True)
            if line.kernel:
                self._line(line, marked)
            position = end
            if marked:
                for index, at in enumerate(nexts):
                    if at < end:
                        nexts[index] = _find(data, _STOPS[index], end)
                stop = min(nexts)
        self._prefixed = self._prefixed or found is not None

    def _line(self, line: Line, marked: bool) -> None:
        if self._open:
            self._expire(line)
        draft = self._open.get(line.context)
        if marked:
            if _CUT in line.text:
                if draft is None or draft.framed or draft.family is None:
                    self._close(line.context)
                    draft = self._begin(line.context)
                draft.add(line)
                return
            if (match := head_of(line.text)) is not None:
                self._head(line, *match)
                return
        if draft is None:
            draft = self._foreign(line)
            if draft is None:
                return
        self._body(line, draft)

    def _head(self, line: Line, family: Family, head: re.Match[bytes]) -> None:
        if family.name == "REBOOT":
            for context in list(self._open):
                self._close(context)
            if not self._booted:
                self._booted = True
                return
        draft = self._open.get(line.context)
        if draft is not None and draft.family is not None:
            if (family.joins and not draft.family.alone) or (
                family.young and draft.young and draft.family.opens
            ):
                draft.add(line)
                return
            self._close(line.context)
            draft = None
        if draft is None:
            draft = self._begin(line.context)
        draft.family, draft.head, draft.at = family, head, len(draft.lines)
        draft.add(line)
        if self._seen_head < 0:
            self._seen_head = line.start
        if family.name == "REBOOT":
            self._close(line.context)

    def _body(self, line: Line, draft: _Draft) -> None:
        context = draft.context
        text = line.text
        if draft.family is None:
            draft.add(line)
            if len(draft.lines) > PREAMBLE:
                del self._open[context]
            return
        if text.startswith(b"=") and _BAR.match(text):
            if draft.family.bars and draft.framed:
                draft.add(line)
                self._close(context)
            elif draft.framed:
                self._close(context)
            else:
                draft.add(line)
            return
        draft.add(line)
        if b"NMI " in text and _NMI.match(text):
            draft.nmi = True
        if text.startswith(_END_TRACE) or draft.full:
            self._close(context)

    def _foreign(self, line: Line) -> _Draft | None:
        """The report that asked other CPUs for their backtraces, for what these print."""
        if line.context.startswith("C"):
            for draft in self._open.values():
                if draft.nmi:
                    return draft
        return None

    def _begin(self, context: str) -> _Draft:
        if len(self._open) >= MAX_OPEN:
            self._close(next(iter(self._open)))
        self._open[context] = draft = _Draft(context)
        return draft

    def _expire(self, line: Line) -> None:
        if line.stamp < 0:
            return
        for context, draft in list(self._open.items()):
            last = draft.lines[-1].stamp
            if 0 <= last < line.stamp - QUIET_SECONDS:
                self._close(context)

    def _close(self, context: str) -> None:
        draft = self._open.pop(context, None)
        if draft is not None and draft.family is not None and draft.head is not None:
            self._done.append(body.build(draft.family, draft.head, draft.at, draft.lines))


def _find(data: bytes, what: bytes, start: int) -> int:
    at = data.find(what, start)
    return at if at >= 0 else _NEVER


def read(text: bytes) -> list[Splat]:
    """All reports of a whole console, in the order of their first lines.

    The whole text tells whether the kernel prefixes its lines.  A boot log that does not begin
    with the banner cannot tell a first boot from a reboot: it takes the first banner as a boot.
    """
    stamp = STAMP.search(text)
    banner = text.find(b"Linux version ")
    booted = stamp is not None and stamp.start() < text.rfind(b"\n", 0, max(banner, 0))
    reader = Reader(prefixed=stamp is not None, booted=booted)
    return sorted([*reader.feed(text), *reader.finish()], key=lambda splat: splat.start)
