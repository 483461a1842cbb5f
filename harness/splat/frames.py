"""Stack frames: from a printed line to a Frame, and a function's own name."""

from __future__ import annotations

import re

from harness.splat.report import Frame

# What gcc and clang add to the name of a function that they cloned or split.
_CLONE = re.compile(r"\.(?:isra|constprop|part|cold|llvm|lto_priv)[.\d]*")

# "func+0x12/0x34", with what may stand before it: "[<ffffffff81000000>]" up to 4.10, powerpc's
# "[stack] [address]", "? ".
_FRAME = re.compile(
    rb"\s{0,16}(?:<{1,2}[A-Z#]{2,6}>{1,2}\s{1,4}){0,2}(?:\[<?[0-9a-f ]{1,24}>?\] {0,8}){0,2}"
    rb"(\? )?([A-Za-z_$][\w.$]{0,255})\+0x([0-9a-f]{1,16})/0x([0-9a-f]{1,16})"
    rb"(?: \[[\w-]{1,64}\])?(?: ([\w./-]{1,255}:\d{1,7}))?"
)
# A frame that a symboliser wrote: "func file.c:12 [inline]", or "func (file.c:12)", the way of
# scripts/decode_stacktrace.sh.
_PLACED = re.compile(
    rb"\s{0,16}(?:\[< {0,8}inline {0,8}>\] {0,4})?(\? )?([A-Za-z_$][\w.$]{0,255}) "
    rb"\(?([\w./-]{1,250}\.[chSsi]:\d{1,7})[^)]{0,400}\)?\s{0,16}(?:\[[\w-]{1,64}\])?\s{0,16}$"
)
# 32-bit ARM: "[<addr>] (callee) from [<addr>] (caller+0x1/0x2)", without addresses since 5.19.
_ARM = re.compile(
    rb"\s{0,16}(?:\[<[0-9a-f]{8}>\] )?\(?([A-Za-z_$][\w.$]{0,255})\)? from "
    rb"(?:\[<[0-9a-f]{8}>\] )?\(?([A-Za-z_$][\w.$]{0,255})\+0x([0-9a-f]{1,8})/0x([0-9a-f]{1,8})"
)
# x86 "RIP: 0010:func+0x1/0x2", 4.x "RIP: 0010:[<addr>]  [<addr>] func+0x1/0x2", i386 "EIP:",
# arm64 "pc : func+0x1/0x2", arm "PC is at func+0x1/0x2".
_POINTER = re.compile(
    rb"\s{0,16}(?:RIP: (?:0010:)?|E?IP: (?:00\d\d:)?|e?pc : |PC is at )\s{0,4}"
    rb"(?:\[<[0-9a-f]{1,16}>\]\s{0,4}){0,2}(?:\[[\w ]{1,24}\] ?)?"
    rb"([A-Za-z_$][\w.$]{0,255})(?=\+0x| [\w./-]{1,255}:\d)"
    rb"(?:\+0x([0-9a-f]{1,16})(?:/0x([0-9a-f]{1,16}))?)?"
    rb"(?: \[[\w-]{1,64}\])?(?: ([\w./-]{1,255}:\d{1,7}))?"
)


def base_name(function: str) -> str:
    """The name in the source: without what the compiler appended."""
    return _CLONE.sub("", function) if "." in function else function


def frame(text: bytes) -> Frame | None:
    """The frame that a line of a backtrace names, if it is one."""
    if b"+0x" in text and (found := _FRAME.match(text)):
        stale, function, offset, size, place = found.groups()
        sure = stale is None and b"(unreliable)" not in text
        where = place.decode() if place else ""
        made = (function.decode(), int(offset, 16), int(size, 16), sure, where, False)
        return tuple.__new__(Frame, made)  # half of the time of Frame(...)
    if b":" in text and (found := _PLACED.match(text)):
        stale, function, place = found.groups()
        return Frame(
            function.decode(),
            sure=stale is None,
            place=place.decode(),
            inlined=b"inline" in text,
        )
    if b" from " in text and (found := _ARM.match(text)):
        return Frame(found.group(1).decode())
    return None


def caller(text: bytes) -> Frame | None:
    """The frame that a line of a 32-bit ARM backtrace names beside its own: the one further out.

    The next line names it again, but the outermost has no line of its own.
    """
    if b" from " not in text or (found := _ARM.match(text)) is None:
        return None
    return Frame(found.group(2).decode(), int(found.group(3), 16), int(found.group(4), 16))


def pointer(text: bytes) -> Frame | None:
    """The frame of an instruction pointer line (RIP, EIP, pc); None in user space."""
    found = _POINTER.match(text)
    if found is None:
        return None
    function, offset, size, place = found.groups()
    return Frame(
        function.decode(),
        int(offset, 16) if offset else -1,
        int(size, 16) if size else -1,
        place=place.decode() if place else "",
    )
