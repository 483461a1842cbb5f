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
    return _CLONE.sub("", function)


def _text(raw: bytes | None) -> str:
    return raw.decode("ascii", "replace") if raw else ""


def frame(text: bytes) -> Frame | None:
    """The frame that a line of a backtrace names, if it is one."""
    if found := _FRAME.match(text):
        return Frame(
            _text(found.group(2)),
            int(found.group(3), 16),
            int(found.group(4), 16),
            sure=found.group(1) is None and b"(unreliable)" not in text,
            place=_text(found.group(5)),
        )
    if b":" in text and (found := _PLACED.match(text)):
        return Frame(
            _text(found.group(2)),
            sure=found.group(1) is None,
            place=_text(found.group(3)),
            inlined=b"inline" in text,
        )
    if found := _ARM.match(text):
        return Frame(_text(found.group(1)))
    return None


def caller(text: bytes) -> Frame | None:
    """The frame that a line of a 32-bit ARM backtrace names beside its own: the one further out.

    The next line names it again, but the outermost has no line of its own.
    """
    if b" from " not in text or (found := _ARM.match(text)) is None:
        return None
    return Frame(_text(found.group(2)), int(found.group(3), 16), int(found.group(4), 16))


def pointer(text: bytes) -> Frame | None:
    """The frame of an instruction pointer line (RIP, EIP, pc); None in user space."""
    found = _POINTER.match(text)
    if found is None:
        return None
    return Frame(
        _text(found.group(1)),
        int(found.group(2), 16) if found.group(2) else -1,
        int(found.group(3), 16) if found.group(3) else -1,
        place=_text(found.group(4)),
    )
