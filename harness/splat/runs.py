"""Lines of one report that stand one behind the other, taken all at once.

Nearly all lines of a report are plain: the kernel's prefix at the begin, printed by the report's
own task right behind the line before, and nothing about them that begins or ends anything.  What
is plain here means what ``lines.records`` and the reader would make of it one by one.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from harness.splat.lines import STAMP

# The prefix of lines.py, at the begin of a line that is far from the longest that is read.
_PLAIN = re.compile(
    rb"(?m)^(?:<\d{1,3}>)?\[ {0,6}(\d{1,9}\.\d{6})\] ?(?:\[ {0,6}([TC]\d{1,8})\])? ?"
    rb"([^\r\n]{0,8000})\r*\n"
)
GLANCE, WINDOW = 512, 8192
"""How many bytes to try at once: a few lines where two tasks print, about a whole report where
one does."""

WALLS: tuple[bytes, ...] = (
    b"---[ end trace ",
    b"=" * 20,
    b" printk messages dropped ",
    b"NMI ",
    b"Task dump",
    b"\x1b",
    b"\x00",
)
"""A line with one of these in it is never taken here."""


class Run(NamedTuple):
    """``size`` is that of the texts, ``end`` the console offset behind the last line, ``stamp``
    that line's."""

    texts: tuple[bytes, ...]
    size: int
    end: int
    stamp: float


def plain_run(
    data: bytes,
    begin: int,
    end: int,
    *,
    base: int,
    context: str,
    stamp: float,
    most: int,
    gap: float,
) -> Run:
    """All lines in ``data[begin:end]``, if they are plain, of ``context``, and no more than
    ``most``; else none.

    ``base`` is the console offset of ``data``; ``stamp`` that of the line before, from which on
    no two may be further apart than ``gap`` seconds.
    """
    none = Run((), 0, base + begin, stamp)
    region = data[begin:end]
    lines = _PLAIN.findall(region) if most > 0 and stamp >= 0 else []
    if not lines or len(lines) != region.count(b"\n") or len(lines) > most:
        return none
    stamps, callers, texts = zip(*lines, strict=True)
    clock = [stamp, *map(float, stamps)]
    if callers.count(context.encode() or None) != len(lines) or max(clock) - min(clock) > gap:
        return none
    if len(STAMP.findall(region)) != len(lines):
        return none  # a line with two messages
    return Run(texts, sum(map(len, texts)) + len(texts), base + end, clock[-1])
