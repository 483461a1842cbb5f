"""One line of a console: what is kernel text in it, when it was printed, and by whom.

The shape of a printk prefix is that of ``info_print_prefix()`` in kernel/printk/printk.c:
``<prio>`` (only in /dev/kmsg dumps and with console ``loglevel`` marks), ``[seconds.micros]``
(CONFIG_PRINTK_TIME) and ``[ T123]`` or ``[ C1]``, the thread or the CPU that printed
(CONFIG_PRINTK_CALLER, since 5.1).  All repetitions are bounded: no input makes them slow.
"""

from __future__ import annotations

import re
from typing import NamedTuple

STAMP = re.compile(rb"\[ {0,6}\d{1,9}\.\d{6}\]")
_PREFIX = re.compile(rb"(?:<\d{1,3}>)?\[ {0,6}(\d{1,9}\.\d{6})\] ?(?:\[ {0,6}([TC]\d{1,8})\])? ?")
_PRIO = re.compile(rb"<\d{1,3}>")
_ESCAPE = re.compile(rb"\x1b(?:\[[0-9;?]{0,32}[A-Za-z]|[()][0-9A-B]|[=>78])?")


class Line(NamedTuple):
    """``text`` is what the kernel printed, without prefix, escapes, NUL and line end.

    ``start`` and ``end`` are byte offsets in the console.  ``context`` is the caller id
    ("T123", "C1"), or "" where the kernel prints none.  ``stamp`` is in seconds since boot,
    -1 where there is none.  ``kernel`` is False for a line of user space.
    """

    start: int
    end: int
    text: bytes
    context: str = ""
    stamp: float = -1.0
    kernel: bool = True


def parse(raw: bytes, start: int, *, prefixed: bool, glued: bool = False) -> Line:
    """Take one raw console line apart.

    On a console where the kernel prefixes its lines (``prefixed``), a line without a prefix is
    user space.  The prefix may begin in mid-line: kernel text cuts into what a program prints.
    ``glued`` takes the last prefix of the line: the message before it lost its line end.
    """
    end = start + len(raw)
    if b"\x1b" in raw:
        raw = _ESCAPE.sub(b"", raw)
    if b"\x00" in raw:
        raw = raw.replace(b"\x00", b"")
    found = _PREFIX.search(raw)
    if found is None:
        if not prefixed and (prio := _PRIO.match(raw)):
            raw = raw[prio.end() :]
        return Line(start, end, raw.rstrip(b"\r\n"), kernel=not prefixed)
    if glued and raw.count(b"[") > 1:
        *_, found = _PREFIX.finditer(raw)
    context = found.group(2)
    return Line(
        start,
        end,
        raw[found.end() :].rstrip(b"\r\n"),
        context.decode() if context else "",
        float(found.group(1)),
    )


def plain(text: bytes) -> str:
    """Kernel text as a string; bytes that are not UTF-8 stay visible as escapes."""
    return text.decode("utf-8", "backslashreplace")
