"""What single lines of a report say beside its stacks: who, where, on which kernel, to what."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.splat.lines import plain
from harness.splat.report import Frame, Slab

# lib/dump_stack.c dump_stack_print_info() and, up to 4.x, show_regs_print_info().
_WHO = re.compile(
    rb"CPU: (\d{1,5}) (?:UID: \d{1,10} )?PID: (\d{1,8}) Comm: (.{1,64}?) "
    rb"(?:Kdump: loaded )?(?:Not tainted|Tainted: ([A-Z][A-Z ]{0,40})) {0,12}"
    rb"(?:\(?(\d[\w.+~-]{2,80})(?: (#\d{1,9})\b)?(?:.{0,80}? ([0-9a-f]{40})(?![0-9a-f]))?)?"
)
_BY = re.compile(
    rb" (?:by task|held by|by interrupt on) (.{1,80}?)(?: on cpu (\d{1,5}))?:?\s{0,8}$"
)
# kernel/locking/lockdep.c print_kernel_ident(): "5.10.218 #5 Not tainted".
_IDENT = re.compile(
    rb"(\d[\w.+~-]{2,80}) (#\d{1,9})?\S{0,40} (?:Not tainted|Tainted: ([A-Z][A-Z ]{0,40}?) *$)"
)
_ACCESS = re.compile(
    rb"(?:BUG: KFENCE: .{1,40}?)?\b([Rr]ead|[Ww]rite|read-write)(?: \(marked\))?"
    rb"(?: at 0x\w{1,16}|(?: to \w{1,20})? of (?:size (\d{1,10})|(\d{1,10}) bytes)"
    rb"| at addr(?:ess)? [0-9a-fx<>]{1,20}| to 0x\w{1,16} of (\d{1,10}) bytes| in [A-Za-z_]"
    rb"| access at)"
)
_PAGE_ACCESS = re.compile(rb"#PF: \w{1,16} (read|write) access|#PF: error_code\(0x")
_CALLER = re.compile(
    rb"(?:caller is |\s{0,8}last function: )(?:\[<[0-9a-f]{1,16}>\] )?([A-Za-z_$][\w.$]{0,255})"
)
# mm/kasan/report.c describe_object(), up to 4.8 "Object at ffff..., in cache kmalloc-64 size: 64".
_CACHE = re.compile(
    rb" which belongs to the cache (\S{1,64}) of size (\d{1,9})"
    rb"|Object at [0-9a-f]{8,16}, in cache (\S{1,64}) size: (\d{1,9})"
    rb"|kfence-#\d{1,5}[: ].{1,80}size=(\d{1,9}), cache=(\S{1,64})"
)
_INSIDE = re.compile(
    rb"The buggy address is located (\d{1,9}) bytes (inside|to the (?:left|right)) of"
)
# What was asserted, or what is wrong with the page: mm/debug.c, include/linux/debug_locks.h.
_ASSERTION = re.compile(
    rb"page dumped because: (?!kasan)(.{1,200})|(DEBUG_[A-Z]{1,20}_WARN_ON\(.{1,200}\))"
)
_SCENARIO = re.compile(rb"\s{0,4}Possible (?:interrupt )?unsafe locking scenario")
_SCENARIO_END = re.compile(rb" ?\*\*\* DEADLOCK|\s{0,4}(?:\d{1,3} locks? held by |stack backtrace)")
_SCENARIO_LINES = 24


@dataclass
class Facts:
    """Filled line by line; what a report does not say stays empty."""

    task: str = ""
    cpu: int = -1
    kernel: str = ""
    taint: str = ""
    build_id: str = ""
    access: str = ""
    size: int = 0
    caller: str = ""
    cache: str = ""
    object_size: int = 0
    offset: int = -1
    side: str = ""
    build: str = ""
    assertion: str = ""
    pointers: list[Frame] = field(default_factory=list)
    locks: list[Frame] = field(default_factory=list)

    @property
    def slab(self) -> Slab | None:
        if not self.cache:
            return None
        return Slab(self.cache, self.object_size, self.offset, self.side)

    def note(self, text: bytes) -> None:
        """Take what this line says; the first word on each matter counts."""
        if self.cpu < 0 and b"CPU: " in text and (found := _WHO.search(text)):
            self.cpu = int(found.group(1))
            self.task = self.task or f"{plain(found.group(3))}/{plain(found.group(2))}"
            self.kernel = plain(found.group(5) or b"")
            self.taint = _letters(found.group(4))
            self.build = plain(found.group(6) or b"")
            self.build_id = plain(found.group(7) or b"")
        elif b"by " in text and not self.task and (found := _BY.search(text)):
            self.task = plain(found.group(1))
        elif b" #" in text and not self.kernel and (found := _IDENT.match(text)):
            self.kernel, self.taint = plain(found.group(1)), _letters(found.group(3))
            self.build = plain(found.group(2) or b"")
        if not self.access and (b"ead" in text or b"rite" in text or b"#PF" in text):
            if found := _ACCESS.search(text):
                self.access = found.group(1).decode().lower().partition("-")[0]
                size = found.group(2) or found.group(3) or found.group(4)
                self.size = int(size) if size else 0
            elif (found := _PAGE_ACCESS.match(text)) and found.group(1):
                self.access = found.group(1).decode()
        if b"c" in text and not self.caller and (found := _CALLER.match(text)):
            self.caller = found.group(1).decode()
        if (b"because" in text or b"_WARN_ON" in text) and (found := _ASSERTION.search(text)):
            self.assertion = plain(found.group(1) or found.group(2))
        if not self.cache and b"cache" in text and (found := _CACHE.search(text)):
            self.cache = plain(found.group(1) or found.group(3) or found.group(6))
            self.object_size = int(found.group(2) or found.group(4) or found.group(5))
        if self.offset < 0 and b"bytes" in text and (found := _INSIDE.match(text)):
            self.offset = int(found.group(1))
            self.side = found.group(2).decode().rpartition(" ")[2]


def _letters(taint: bytes | None) -> str:
    """``G    B D W`` as ``BDW``: the letters, without G, which says that all modules are free."""
    return "".join(plain(taint or b"").split()).replace("G", "")


def scenario(texts: Sequence[bytes]) -> str:
    """Lockdep's drawing of the deadlock, "" where it drew none."""
    for number, text in enumerate(texts):
        if b"unsafe locking" in text and _SCENARIO.match(text):
            drawn = []
            for line in texts[number : number + _SCENARIO_LINES]:
                if _SCENARIO_END.match(line):
                    break
                drawn.append(plain(line).rstrip())
            return "\n".join(drawn).strip("\n")
    return ""
