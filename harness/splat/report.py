"""One kernel report, as a value."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Frame:
    """One line of a stack.  ``place`` is file:line where symbols were at hand.

    ``sure`` is False for the ``?`` frames that the unwinder merely found on the stack.
    ``offset`` and ``size`` are those of ``function+0xoffset/0xsize``; -1 where not printed.
    """

    function: str
    offset: int = -1
    size: int = -1
    sure: bool = True
    place: str = ""


@dataclass(frozen=True)
class Stack:
    """A named list of frames: "access", "alloc", "free", "held locks", ..."""

    name: str
    frames: tuple[Frame, ...]


@dataclass(frozen=True)
class Splat:
    """One kernel report.

    ``family`` is the detector's name (KASAN, LOCKDEP, WARNING, BUG, OOPS, HUNG, PANIC...);
    ``kind`` what it found (use-after-free, circular locking...); ``title`` a stable headline
    without addresses, pids and numbers; ``headline`` the line as printed.  ``function`` is the
    one to blame.
    ``start`` and ``end`` are byte offsets in the text that was read.
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

    @property
    def place(self) -> str:
        """file:line of the blamed function, where symbols were at hand."""
        for stack in self.stacks:
            for frame in stack.frames:
                if frame.sure and frame.function == self.function and frame.place:
                    return frame.place
        return ""
