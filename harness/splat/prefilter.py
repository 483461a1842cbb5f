"""Where in a block of console the next report may begin.

Every head holds at least one marker.  Behind a prefix, heads begin where it ends, and one pattern
that looks only there finds them all.  On any other console they may stand anywhere in the line:
there, one pattern finds those that begin with a letter that is rare, and the rest are looked for
one by one.  Both are many times faster than any look at single lines.
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
    b"page dumped because: VM_",
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


# What heads begin with, behind the "] " that ends a prefix of the kernel; "cut here" too.
_BEHIND_PREFIX = re.compile(
    rb"\] {0,2}(?:B(?:UG[ :]|ooting the k)|W(?:ARNING:|atchdog: )|U(?:BSAN: |n(?:able|handled) )"
    rb"|I(?:NFO:|nsufficient stack|nternal error: )|\[ (?:INFO|BUG|WARNING): |-{4,60}\[ cut here \]"
    rb"|k(?:ernel BUG at |memleak: unreferenced)|Kernel (?:BUG|panic) |O(?:ops: |ut of memory: )"
    rb"|u(?:nre(?:ferenced object 0x|gister_netdevice: )|sercopy: |nable to handle )"
    rb"|general protection fault|PANIC: |d(?:ouble fault|ivide error)|in(?:t3: |valid opcode)"
    rb"|s(?:lab (?:double|corr)|tack segment)|list_(?:add|del) |(?:prev->next|next->prev) "
    rb"|page dumped because: "
    rb"|NMI (?:BUG|[Ww]atchdog): |w(?:atchdog: |orkqueue: BUG)|r(?:cu: INFO|ust_kernel: panicked)"
    rb"|Memory cgroup [Oo]ut of memory: |out of memory: |Alignment trap: |Linux version |VFS: [BC]"
    rb"|trusty: panic|(?:mm|arch)/|\d{4}/\d\d/\d\d )"
)


class Nexts:
    """Where any of some words stands next in one block, asked for in ascending order."""

    def __init__(
        self, data: bytes, words: tuple[bytes, ...], swept: re.Pattern[bytes] | None = None
    ) -> None:
        self._data, self._words, self._swept = data, words, swept
        self._nexts = [-1] * (len(words) + (swept is not None))
        self._least = -1

    def next(self, start: int) -> int:
        """Offset of the first one at or behind ``start``; ``NEVER`` where there is none."""
        if self._least < start:
            nexts = self._nexts
            for index, at in enumerate(nexts):
                if at < start:
                    nexts[index] = self._find(index, start)
            self._least = min(nexts)
        return self._least

    def _find(self, index: int, start: int) -> int:
        if index < len(self._words):
            at = self._data.find(self._words[index], start)
            return at if at >= 0 else NEVER
        found = self._swept.search(self._data, start) if self._swept else None
        return found.start() if found else NEVER


def markers(data: bytes, *, prefixed: bool = False) -> Nexts:
    """The markers of a block: no first line of a report is without one.

    ``prefixed`` says that all lines of the kernel in it have a prefix.
    """
    if prefixed and b"\x1b" not in data and b"\x00" not in data:  # these may stand in a head
        return Nexts(data, (LOADER,), _BEHIND_PREFIX)
    return Nexts(data, _SOUGHT, _SWEPT)


def holds_marker(text: bytes, *, prefixed: bool = False) -> bool:
    """Whether a line would be looked at."""
    return markers(text, prefixed=prefixed).next(0) != NEVER
