"""Where in a block of console the next report may begin.

Every head holds at least one marker.  One pattern finds all that begin with a letter that is rare
on a console, the rest are looked for one by one: both are many times faster than any look at
single lines.
"""

from __future__ import annotations

import re

NEVER = 1 << 62

# What the decompressor prints, before the kernel has a log: the line has no prefix.
LOADER = b"Booting the kernel."
# One sweep: the fewer different letters these begin with, the faster.
_SWEPT = re.compile(
    rb"[BWIULPK](?:UG|ARNING: |ARNING:\s|NFO: |NFO:\s|BSAN: |OCKUP|ANIC: |ernel panic|nternal error"
    rb"|nhandled fault|inux version )"
)
# Long and rare: a search for one of these costs next to nothing.
_SOUGHT: tuple[bytes, ...] = (
    b"[ cut here ]",
    b"unreferenced object 0x",
    b" corruption",
    b"double add",
    b"sercopy: ",
    b"nable to handle ",
    b"general protection fault",
    b"double fault",
    b"nsufficient stack space",
    b"stack segment",
    b"divide error",
    b"int3: ",
    b"invalid opcode",
    b"unregister_netdevice: ",
    b"ut of memory: ",
    b"trusty: panic",
    b"lignment trap: ",
    b"Oops: ",
    b": bad p",
    b"VFS: Busy",
    b"VFS: Close",
    b"rust_kernel: panicked",
    LOADER,
)


class Prefilter:
    """The markers in one block, asked for in ascending order."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._nexts = [-1] * (len(_SOUGHT) + 1)

    def next(self, start: int) -> int:
        """Offset of the first marker at or behind ``start``; ``NEVER`` where there is none."""
        nexts = self._nexts
        for index, at in enumerate(nexts):
            if at < start:
                nexts[index] = self._find(index, start)
        return min(nexts)

    def _find(self, index: int, start: int) -> int:
        if index < len(_SOUGHT):
            at = self._data.find(_SOUGHT[index], start)
            return at if at >= 0 else NEVER
        found = _SWEPT.search(self._data, start)
        return found.start() if found else NEVER


def holds_marker(text: bytes) -> bool:
    """Whether a line would be looked at."""
    return Prefilter(text).next(0) != NEVER
