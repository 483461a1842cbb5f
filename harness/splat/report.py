"""One kernel report, as a value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

_DEADLOCKED = "System is deadlocked on memory"
"""out_of_memory() in mm/oom_kill.c panics so when nothing is left that it may kill."""


class Frame(NamedTuple):  # a report has a hundred, and a console many reports: cheap to make
    """One line of a stack.  ``place`` is file:line where symbols were at hand.

    ``sure`` is False for the ``?`` frames that the unwinder merely found on the stack.
    ``offset`` and ``size`` are those of ``function+0xoffset/0xsize``; -1 where not printed.
    ``inlined`` marks a function that only a symboliser can see: the frame behind it is its caller.
    """

    function: str
    offset: int = -1
    size: int = -1
    sure: bool = True
    place: str = ""
    inlined: bool = False


@dataclass(frozen=True)
class Stack:
    """A named list of frames: "access", "alloc", "free", "held locks", ..."""

    name: str
    frames: tuple[Frame, ...]


@dataclass(frozen=True)
class Slab:
    """The slab object that a memory report is about: its cache, its size, and where in it.

    ``offset`` is in bytes from the object's begin, -1 where not printed; ``side`` says on which
    side of the object the access was: "inside", "left" or "right".
    """

    cache: str
    size: int
    offset: int = -1
    side: str = ""

    def __str__(self) -> str:
        where = f", {self.offset} bytes {self.side}" if self.offset >= 0 else ""
        return f"{self.cache} of size {self.size}{where}"


@dataclass(frozen=True)
class Splat:
    """One kernel report.

    ``family`` is the detector's name (KASAN, LOCKDEP, WARNING, BUG, OOPS, HUNG, PANIC...);
    ``kind`` what it found (use-after-free, circular locking...); ``title`` a stable headline
    without addresses, pids and numbers; ``headline`` the line as printed.  ``function`` is the
    one to blame.
    ``start`` and ``end`` are byte offsets in the text that was read.
    ``cpu`` is -1 where not printed; ``kernel`` the release; ``taint`` the letters of taint,
    "" for a kernel that was not tainted.  ``stamp`` is in seconds since boot, -1 without
    time stamps.  ``scenario`` is lockdep's drawing of how it may deadlock.  ``secondary`` are
    the reports that came of this one and stand in its text: the panic behind an Oops.
    ``follows`` is the ``start`` of the report that this one came of, as far as that can be told
    (``cascade.py``); -1 for one that stands for itself.
    ``corrupted`` says why the report is not to be trusted word for word (lines of it are missing,
    or another report cuts into it), "" for a sound one.  ``build_id`` is the kernel's, where it
    prints it (CONFIG_STACKTRACE_BUILD_ID), and ``build`` its number ("#5"), which each build of a
    tree counts up.  ``assertion`` is what the source demanded, where the kernel says so:
    "VM_BUG_ON_PAGE(page_mapped(page))", or what is wrong with the page.
    """

    family: str
    kind: str
    title: str
    headline: str
    function: str
    start: int
    end: int
    task: str = ""
    access: str = ""
    size: int = 0
    stacks: tuple[Stack, ...] = field(default=())
    text: str = ""
    cpu: int = -1
    kernel: str = ""
    taint: str = ""
    stamp: float = -1.0
    slab: Slab | None = None
    scenario: str = ""
    secondary: tuple[Splat, ...] = ()
    corrupted: str = ""
    build_id: str = ""
    build: str = ""
    assertion: str = ""
    follows: int = -1

    @property
    def is_bug(self) -> bool:
        """False for what tells of the machine's size, not of the kernel: it ran out of memory."""
        return self.family != "OOM" and _DEADLOCKED not in self.title

    @property
    def place(self) -> str:
        """file:line of the blamed function, where symbols were at hand."""
        for stack in self.stacks:
            for frame in stack.frames:
                if frame.sure and frame.function == self.function and frame.place:
                    return frame.place
        return ""
