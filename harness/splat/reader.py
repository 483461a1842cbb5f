"""Console text to splats: one forward pass, fed in chunks of any size.

Most of a console is no report.  While none is open, the reader jumps from one marker of the
families to the next (``prefilter.py``) and never takes apart what lies between.  While one is
open, every line is given to the report of the context (task or CPU) that printed it.

A report is complete at ``---[ end trace``, at the closing line of "=" of the memory checkers, at
the next report's first line in the same context, when nothing was added for ``QUIET_SECONDS`` of
the kernel's own clock, or when it has grown to its bound.  It is given when the next line shows
that nothing more came of it (a panic is a part of the report that led to it), or at ``finish()``.

A kernel that lost a race prints one report without end.  After ``repeats.KEPT`` sightings of one
report the further ones are counted, not given: ``Reader.repeated``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from harness.splat import body
from harness.splat.cascade import Cascades
from harness.splat.draft import LINGER, MAX_BYTES, PREAMBLE, Draft, afterwards
from harness.splat.families import head_of
from harness.splat.family import Family
from harness.splat.lines import STAMP, Line, records
from harness.splat.prefilter import LOADER, NEVER, Nexts, markers
from harness.splat.repeats import Print, Repeats, extent, fingerprint
from harness.splat.report import Splat
from harness.splat.runs import GLANCE, WALLS, WINDOW, plain_run

MAX_LINE = 16384
MAX_OPEN = 64
QUIET_SECONDS = 5.0
# CPUs print a little out of order; a clock that went back to its begin is that of another boot.
BACK_SECONDS = 30.0
BOOT_SECONDS = 10.0

_CUT = b"[ cut here ]"
# mm/debug.c dump_page(): what VM_BUG_ON_PAGE() and its like found, right before "cut here".
_ASSERTED = b"page dumped because: VM_"
_END_TRACE = b"---[ end trace "
_DROPPED = b" printk messages dropped "
_BAR = re.compile(rb"={20,200}\s{0,4}$")


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
        self._open: dict[str, Draft] = {}
        self._done: list[Splat] = []
        self._copies: set[str] = set()  # the contexts whose last first line was printed before
        self._seen_head = -1
        self._unfinished = False
        self._repeats = Repeats()
        self._cascades = Cascades()
        self._print: Print | None = None
        self._window = GLANCE

    @property
    def pending(self) -> bool:
        """Whether a report has begun and was not given yet."""
        return any(draft.heads for draft in self._open.values())

    @property
    def complete(self) -> bool:
        """Whether each report that has begun has come to its end, as far as the text tells; what
        came of it may still follow.
        """
        drafts = [draft for draft in self._open.values() if draft.heads]
        return self._seen_head >= 0 and all(draft.ended for draft in drafts)

    @property
    def seen_head(self) -> int:
        """Console offset of the first report's first line, -1 while there was none.

        Known as soon as that line has ended, long before the report is complete.
        """
        return self._seen_head

    @property
    def repeated(self) -> Mapping[str, int]:
        """How many further sightings of a report, by its signature, were counted, not given."""
        return self._repeats.counted

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
            self._unfinished = True
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
        prefix_at = found.start() if found else (-1 if self._prefixed else NEVER)
        filtered, walls = markers(data, prefixed=prefix_at < 0), Nexts(data, WALLS)
        stop = filtered.next(0)
        while position < size:
            if not self._open:
                if stop == NEVER:
                    break
                start = max(position, data.rfind(b"\n", position, stop) + 1)
                position = start + (stop - start) // MAX_LINE * MAX_LINE
            elif prefix_at <= position:
                wall = min(stop, walls.next(position), size)
                last = data.rfind(b"\n", position, min(wall, position + self._window)) + 1
                if after := self._plain(data, position, last):
                    position = after
                    continue
            limit = min(size, position + MAX_LINE)
            end = data.find(b"\n", position, limit) + 1 or limit
            marked = stop < end
            if marked and self._repeats.flooding and (after := self._skim(data, position)):
                position, stop = after, filtered.next(after)
                continue
            raw = data[position:end]
            if self._open and _DROPPED in raw:
                for draft in self._open.values():
                    draft.dropped = draft.dropped or not draft.ended
            bare = marked and raw.strip() == LOADER  # it prints before the kernel has a log
            for line in records(raw, base + position, prefixed=prefix_at < end and not bare):
                self._line(line, marked)
            position = end
            if marked:
                stop = filtered.next(end)
        self._prefixed = self._prefixed or found is not None

    def _plain(self, data: bytes, start: int, end: int) -> int:
        """Take the plain lines in ``data[start:end]`` that belong to the only open report; the end
        of the last one, 0 where there is none."""
        draft = next(iter(self._open.values()))
        if end <= start or len(self._open) > 1 or draft.ended or draft.nmi or not draft.heads:
            return 0
        run = plain_run(
            data,
            start,
            end,
            base=self._position - len(data),
            context=draft.context,
            stamp=draft.stamp,
            most=draft.room,
            gap=QUIET_SECONDS,
        )
        if not run.texts or draft.size + run.size >= MAX_BYTES:
            self._window = GLANCE
            return 0
        self._window = WINDOW
        draft.extend(run)
        return run.end - self._position + len(data)

    def _skim(self, data: bytes, start: int) -> int:
        """Pass over a report that came too often already; its end, 0 where it must be read."""
        self._print = None
        if not all(draft.ended for draft in self._open.values()):
            return 0
        end = extent(data, start)
        if end < 0:
            return 0
        self._print = fingerprint(data[start:end])
        if not self._repeats.again(self._print):
            return 0
        for context in list(self._open):
            self._close(context)
        return end

    def _line(self, line: Line, marked: bool) -> None:
        if self._open:
            self._expire(line)
        draft = self._open.get(line.context)
        if marked:
            if _CUT in line.text or line.text.startswith(_ASSERTED):
                if draft is None or draft.ended or (draft.heads and draft.framed):
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
        if family.torn and self._unfinished:
            return  # the console ends in mid-line: what it would have said is not known
        if family.name == "REBOOT":
            for context in list(self._open):
                self._close(context)
            was, self._booted = self._booted, line.text != LOADER  # the banner comes behind it
            if not was:
                return
        elif self._repeats.copied(line):
            self._copies = {*sorted(self._copies)[-MAX_OPEN:], line.context}
            return
        draft = self._open.get(line.context)
        if draft is not None and draft.heads:
            if draft.retells(family):
                draft.heads.pop()
                draft.begin(family, head, line)
                return
            if draft.takes(family):
                draft.begin(family, head, line)
                return
            if family.part and not draft.ended:
                self._body(line, draft)
                return
            if not draft.ended:
                draft.cut_by = family.name
            self._close(line.context)
            draft = None
        if family.part and line.context in self._copies:
            return
        self._copies.discard(line.context)
        if draft is None:
            draft = self._begin(line.context)
        draft.begin(family, head, line)
        if self._seen_head < 0:
            self._seen_head = line.start
        if family.name == "REBOOT":
            self._close(line.context)

    def _body(self, line: Line, draft: Draft) -> None:
        text = line.text
        if line.copy and draft.heads and not draft.heads[0].line.copy:
            return  # the kernel's own line was read already, or will be
        if not draft.heads:
            draft.add(line)
            if len(draft.texts) > PREAMBLE:
                del self._open[draft.context]
            return
        if draft.ended:
            if afterwards(text) or (draft.heads[-1].at > 0 and len(draft.heads) > 1):
                draft.add(line)
                if draft.full:
                    self._close(draft.context)
            else:
                self._close(draft.context)
            return
        if text.startswith(b"=") and _BAR.match(text):
            if draft.heads[0].family.bars and draft.framed:
                draft.add(line)
                draft.ended = True
            elif draft.framed:
                self._close(draft.context)
            else:
                draft.add(line)
            return
        draft.add(line)
        if text.startswith(_END_TRACE):
            draft.ended = True
        elif draft.full:
            self._close(draft.context)

    def _foreign(self, line: Line) -> Draft | None:
        """The report that asked other CPUs for their backtraces, for what these print."""
        if line.context.startswith("C"):
            for draft in self._open.values():
                if draft.nmi and not draft.ended:
                    return draft
        return None

    def _begin(self, context: str) -> Draft:
        if len(self._open) >= MAX_OPEN:
            self._close(next(iter(self._open)))
        self._open[context] = draft = Draft(context)
        draft.print, self._print = self._print, None
        return draft

    def _expire(self, line: Line) -> None:
        for context, draft in list(self._open.items()):
            last = draft.stamp
            if draft.ended:
                draft.waited += line.context != context
            quiet = 0 <= last < line.stamp - QUIET_SECONDS
            restarted = 0 <= line.stamp < min(BOOT_SECONDS, last - BACK_SECONDS)
            if quiet or restarted or draft.waited > LINGER:
                self._close(context)

    def _close(self, context: str) -> None:
        draft = self._open.pop(context, None)
        if draft is not None and draft.heads and draft.certain:
            splat = body.build(draft)
            if self._repeats.is_news(splat, draft.print):
                follows = self._cascades.follows(splat)
                self._done.append(splat if follows < 0 else replace(splat, follows=follows))


def opened(first: bytes) -> Reader:
    """A reader for a console of which the first part is at hand, or all of it.

    That part tells whether the kernel prefixes its lines.  A boot log that does not begin with
    the banner cannot tell a first boot from a reboot: it takes the first banner as a boot.
    """
    return Reader(prefixed=STAMP.search(first) is not None, booted=_ran_before_boot(first))


def read(text: bytes) -> list[Splat]:
    """All reports of a whole console, in the order of their first lines.

    Of one report that comes again and again the first ``repeats.KEPT`` sightings are given.
    """
    reader = opened(text)
    return sorted([*reader.feed(text), *reader.finish()], key=lambda splat: splat.start)


def _ran_before_boot(text: bytes) -> bool:
    """Whether a kernel had been up for a second when the first boot message came."""
    boots = [at for at in (text.find(LOADER), text.find(b"Linux version ")) if at >= 0]
    first = text.rfind(b"\n", 0, min(boots, default=0)) + 1
    return any(float(found.group()[1:-1]) >= 1.0 for found in STAMP.finditer(text, 0, first))
