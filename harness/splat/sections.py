"""The stacks of a report: where each begins, and which frames it holds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.splat.facts import Facts
from harness.splat.family import Family
from harness.splat.frames import caller, frame, pointer
from harness.splat.report import Frame, Stack

_AT = re.compile(
    rb"(?:, at: |\bat:\s{0,4})(?:\[<[0-9a-f]{1,16}>\] {0,8})?([A-Za-z_$][\w.$]{0,255})"
    rb"(?:\+0x([0-9a-f]{1,16})/0x([0-9a-f]{1,16}))?"
)
_HELD = re.compile(rb"(?:\d{1,3} locks? held by |locks held by )")
_CHAIN = re.compile(rb"-> #(\d{1,4}) ")

# Lines that begin a named stack, in the words of the reports themselves.
_SECTIONS: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"(?:Call [Tt]race|Backtrace): ?"), "access"),
    (re.compile(rb"\s{0,4}backtrace(?: \(crc \w{1,16}\))?:"), "access"),
    (re.compile(rb"stack backtrace:"), "access"),
    (re.compile(rb"[Aa]llocated by task|Allocated:|kfence-#\d.{1,120}allocated by"), "alloc"),
    (re.compile(rb"[Ff]reed by task|Freed:"), "free"),
    (re.compile(rb"Last (?:potentially related work creation|call_rcu\(\)):"), "last work"),
    (re.compile(rb"Second to last (?:potentially related|call_rcu)"), "second to last work"),
    (re.compile(rb"Uninit was created at:|Local variable "), "alloc"),
    (re.compile(rb"Uninit was stored to memory at:"), "stored"),
    (re.compile(rb"\{[\w-]{1,40}\} state was registered at:"), "registered"),
    (re.compile(rb"\.\.\. which became \w{1,12}-irq-safe at:"), "irq-safe"),
    (re.compile(rb"\.\.\. which became \w{1,12}-irq-unsafe at:"), "irq-unsafe"),
    (re.compile(rb"irq event stamp: "), ""),
)
# What any of the lines above begins with: one cheap look before the many.
_OPENING = re.compile(rb"\s{0,4}(?:[CcBb]a|stack b|\.\.\.|[AaFfLSUk]|\{|irq|-> #|\d)")
# How lines begin that name an instruction pointer.
_POINTS = re.compile(rb"\s{0,16}(?:[RE]?IP: |e?pc : |PC is at )")
# Registers, memory around an address, code bytes: no line of these is about anything else.
_DUMP = re.compile(
    rb"(?:[ >]{0,2}(?:[0-9a-f]{16}|[0-9a-f]{8}): ?[0-9a-f]{2} |Code: |[RE][A-D0-9S][XIP0-9]: "
    rb"[0-9a-f]{8}|CR2: |DR\d: |FS: )"
)
# Families whose first stack stands directly below the head, without "Call Trace:".
BARE_STACKS = frozenset({"KFENCE", "KMSAN", "KCSAN"})
# After these, frames are due.
_FRAMES_DUE = re.compile(
    rb"(?:Call [Tt]race:|Backtrace: ?$|\s{0,4}backtrace(?: \(crc \w{1,16}\))?:"
    rb"|Allocated by task \d{1,9}|Freed by task \d{1,9})"
)
_GLUED = b"Call Trace:"
_NOT_AVAILABLE = b"(stack is not available)"
# Lines that may stand between such a line and its first frame.
_PATIENCE = 15


@dataclass
class Scanned:
    """``names`` are the stacks in the order printed.  ``entries`` are the pointers before each
    backtrace.  ``headers`` counts the lines that promise a backtrace, ``empty`` those of them
    that no frame follows."""

    facts: Facts = field(default_factory=Facts)
    names: list[str] = field(default_factory=list)
    frames: dict[str, list[Frame]] = field(default_factory=dict)
    entries: dict[str, Frame] = field(default_factory=dict)
    headers: int = 0
    empty: int = 0

    def open(self, name: str) -> str:
        """Begin a stack; a name that is taken gets a number, but an empty stack is kept."""
        if not name:
            return name
        unique, number = name, 1
        while self.frames.get(unique):
            number += 1
            unique = f"{name} {number}"
        if unique not in self.frames:
            self.names.append(unique)
            self.frames[unique] = []
        return unique

    @property
    def stacks(self) -> tuple[Stack, ...]:
        return tuple(
            Stack(name, tuple(self.frames[name])) for name in self.names if self.frames[name]
        )

    @property
    def backtraces(self) -> list[list[Frame]]:
        """All backtraces, each led by the instruction pointer that was printed before it."""
        return [
            [*((self.entries[name],) if name in self.entries else ()), *self.frames[name]]
            for name in self.names
            if name.startswith("access")
        ]

    @property
    def backtrace(self) -> list[Frame]:
        """The one to read the blame from: the first with a frame that is sure."""
        for name in self.names:
            if name.startswith("access") and any(frame.sure for frame in self.frames[name]):
                return self.frames[name]
        return []


def scan(family: Family, texts: Sequence[bytes]) -> Scanned:
    """Take the lines of a report apart."""
    found = Scanned()
    facts = found.facts
    current = found.open("access") if family.name in BARE_STACKS else ""
    frames = found.frames.get(current)
    entry: Frame | None = None
    outer: Frame | None = None
    due, over, patience = False, False, 0
    previous = b""
    for text in texts:
        before, previous = previous, text
        plus = b"+0x" in text
        if not plus and _DUMP.match(text):
            continue
        if (plus or b":" in text or b" from " in text) and (named := frame(text)):
            due = False
            if before.endswith(b"at:"):
                facts.locks.append(named)
            elif frames is not None:
                frames.append(named)
                outer = caller(text) if b" from " in text else None
            continue
        if _POINTS.match(text) and (ip := pointer(text)) is not None:
            facts.pointers.append(ip)
            if over:
                pass  # an Oops tells once more where it was
            elif frames:
                frames.append(ip)
            else:
                entry = ip
            continue
        if due:
            patience -= 1
            if patience < 0:
                due, found.empty = False, found.empty + 1
            elif _NOT_AVAILABLE in text:
                due = False
        if not text:
            continue
        if text.endswith(_GLUED):
            text = text[-len(_GLUED) :]  # behind a line of the stack's raw words
        over = over or text.startswith(b"---[ end trace ")
        if (begun := _section(text)) is not None:
            over = False
            if frames is not None and outer is not None:
                frames.append(outer)
            outer = None
            if _FRAMES_DUE.match(text):
                found.empty += due
                due, patience = True, _PATIENCE
                found.headers += 1
            elif begun == "access":
                found.headers += 1
            current = found.open(begun)
            frames = found.frames.get(current)
            if begun == "access" and entry is not None:
                found.entries[current], entry = entry, None
        if b"at:" in text and (at := _AT.search(text)):
            offset, size = at.group(2), at.group(3)
            lock = Frame(
                at.group(1).decode(),
                int(offset, 16) if offset else -1,
                int(size, 16) if size else -1,
            )
            facts.locks.append(lock)
            if frames is not None and current.startswith("held locks"):
                frames.append(lock)
        facts.note(text)
    if frames is not None and outer is not None:
        frames.append(outer)
    found.empty += due
    return found


def _section(text: bytes) -> str | None:
    """The name of the stack that this line begins, if it begins one."""
    if not _OPENING.match(text):
        return None
    for pattern, name in _SECTIONS:
        if pattern.match(text):
            return name
    if chain := _CHAIN.match(text):
        return f"-> #{chain.group(1).decode()}"
    return "held locks" if _HELD.match(text) else None
