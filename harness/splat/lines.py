"""The records of a console: what is kernel text in a line, when it was printed, and by whom.

The shape of a printk prefix is that of ``info_print_prefix()`` in kernel/printk/printk.c:
``<prio>`` (only in /dev/kmsg dumps and with console ``loglevel`` marks), ``[seconds.micros]``
(CONFIG_PRINTK_TIME) and ``[ T123]`` or ``[ C1]``, the thread or the CPU that printed
(CONFIG_PRINTK_CALLER, since 5.1).  ``dmesg -T`` and the logs of journald and syslog carry dates
instead.  All repetitions are bounded: no input makes them slow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

STAMP = re.compile(rb"\[ {0,6}\d{1,9}\.\d{6}\]")
_PREFIX = re.compile(rb"(?:<\d{1,3}>)?\[ {0,6}(\d{1,9}\.\d{6})\] ?(?:\[ {0,6}([TC]\d{1,8})\])? ?")
_PRIO = re.compile(rb"<\d{1,3}>")
# "[Tue Nov 24 13:50:30 2026] ", "Nov 24 13:50:30 host kernel: ",
# "2026-11-24T13:50:30,123456+00:00 "
_DATED = re.compile(
    rb"(?:<\d{1,3}>)?(?:\[\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}\] "
    rb"|\w{3} [ \d]\d \d\d:\d\d:\d\d \S{1,64} kernel: ?"
    rb"|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.,]?\d{0,6}(?:[+-]\d\d:?\d\d|Z) (?:\S{1,64} kernel: ?)?)"
)
# How syslog introduces the kernel, in capitals too where it writes all in capitals.
_SYSLOG = re.compile(rb"(?i) kernel: {0,4}$")
_ESCAPE = re.compile(rb"\x1b(?:\[[0-9;?]{0,32}[A-Za-z]|[()][0-9A-B]|[=>78])?")


class Line(NamedTuple):
    """``text`` is what the kernel printed, without prefix, escapes, NUL and line end.

    ``start`` and ``end`` are byte offsets in the console.  ``context`` is the caller id
    ("T123", "C1"), or "" where the kernel prints none.  ``stamp`` is in seconds since boot,
    -1 where there is none.  ``whole`` is False for a message that another one cut off.  ``copy``
    is True for what came by way of syslog, on a console where the kernel prints too.
    """

    start: int
    end: int
    text: bytes
    context: str = ""
    stamp: float = -1.0
    whole: bool = True
    copy: bool = False


def records(raw: bytes, start: int, *, prefixed: bool) -> Iterator[Line]:
    """The kernel's messages on one raw console line.

    On a console where the kernel prefixes its lines (``prefixed``), text without a prefix is
    user space.  A prefix may begin in mid-line: kernel text cuts into what a program prints, and
    two messages share a line where the first lost its line end.
    """
    end = start + len(raw)
    if b"\x1b" in raw:
        raw = _ESCAPE.sub(b"", raw)
    if b"\x00" in raw:
        raw = raw.replace(b"\x00", b"")
    found = _PREFIX.search(raw)
    if found is None:
        if not prefixed:
            dated = _DATED.match(raw) or _PRIO.match(raw)
            yield Line(start, end, raw[dated.end() if dated else 0 :].rstrip(b"\r\n"))
        return
    begin = start
    while found is not None:
        following = _PREFIX.search(raw, found.end()) if raw.find(b"[", found.end()) >= 0 else None
        context = found.group(2)
        yield Line(
            begin,
            start + following.start() if following else end,
            raw[found.end() : following.start() if following else len(raw)].rstrip(b"\r\n"),
            context.decode() if context else "",
            float(found.group(1)),
            following is None,
            begin == start and _SYSLOG.search(raw, 0, found.start()) is not None,
        )
        if following:
            begin = start + following.start()
        found = following


def plain(text: bytes) -> str:
    """Kernel text as a string; bytes that are not UTF-8 stay visible as escapes."""
    return text.decode("utf-8", "backslashreplace")
