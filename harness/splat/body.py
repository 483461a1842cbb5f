"""From the lines of one report to a Splat."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.splat import blame
from harness.splat.facts import Facts, scenario
from harness.splat.families import REFINEMENTS
from harness.splat.family import Family
from harness.splat.frames import base_name, frame, pointer
from harness.splat.lines import Line, plain
from harness.splat.report import Frame, Splat, Stack

_AT = re.compile(
    rb"(?:, at: |\bat:\s{0,4})(?:\[<[0-9a-f]{1,16}>\] {0,8})?([A-Za-z_$][\w.$]{0,255})"
    rb"(?:\+0x([0-9a-f]{1,16})/0x([0-9a-f]{1,16}))?"
)
# What comes of a report in the same breath; never the first line of one that has another.
_AFTERMATH = re.compile(rb"Kernel panic - not syncing: |PANIC: double fault")
_HELD = re.compile(rb"(?:\d{1,3} locks? held by |locks held by )")
_CHAIN = re.compile(rb"-> #(\d{1,4}) ")

# Lines that begin a named stack, in the words of the reports themselves.
_SECTIONS: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"(?:Call [Tt]race|Backtrace): ?"), "access"),
    (re.compile(rb"\s{0,4}backtrace(?: \(crc \w{1,16}\))?:"), "access"),
    (re.compile(rb"stack backtrace:"), "access"),
    (re.compile(rb"[Aa]llocated by task|kfence-#\d.{1,120}allocated by"), "alloc"),
    (re.compile(rb"[Ff]reed by task"), "free"),
    (re.compile(rb"Last (?:potentially related work creation|call_rcu\(\)):"), "last work"),
    (re.compile(rb"Second to last (?:potentially related|call_rcu)"), "second to last work"),
    (re.compile(rb"Uninit was created at:|Local variable "), "alloc"),
    (re.compile(rb"Uninit was stored to memory at:"), "stored"),
    (re.compile(rb"\{[\w-]{1,40}\} state was registered at:"), "registered"),
    (re.compile(rb"irq event stamp: "), ""),
)


# What any of the lines above begins with: one cheap look before the many.
_OPENING = re.compile(rb"\s{0,4}(?:[CcBb]a|stack b|[AaFfLSUk]|\{|irq|-> #|\d)")
# Registers, memory around an address, code bytes: no line of these is about anything else.
_DUMP = re.compile(
    rb"(?:[ >]{0,2}(?:[0-9a-f]{16}|[0-9a-f]{8}): ?[0-9a-f]{2} |Code: |[RE][A-D0-9S][XIP0-9]: "
    rb"[0-9a-f]{8}|CR2: |DR\d: |FS: )"
)


@dataclass
class _Sections:
    """Stacks under construction, in the order printed; "" is the sink for what is no stack."""

    names: list[str] = field(default_factory=list)
    frames: dict[str, list[Frame]] = field(default_factory=dict)

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

    def stacks(self) -> tuple[Stack, ...]:
        return tuple(
            Stack(name, tuple(self.frames[name])) for name in self.names if self.frames[name]
        )


# Families whose first stack stands directly below the head, without "Call Trace:".
_BARE_STACKS = frozenset({"KFENCE", "KMSAN", "KCSAN"})


def _scan(family: Family, lines: Sequence[Line]) -> tuple[_Sections, Facts]:
    sections, facts = _Sections(), Facts()
    current = sections.open("access") if family.name in _BARE_STACKS else ""
    before = b""
    for line in lines:
        text = line.text
        before, previous = text, before
        if named := frame(text):
            if previous.endswith(b"at:"):
                facts.locks.append(named)
            elif current:
                sections.frames[current].append(named)
            continue
        if (ip := pointer(text)) is not None:
            facts.pointers.append(ip)
            if current and sections.frames[current]:
                sections.frames[current].append(ip)
            continue
        if _DUMP.match(text):
            continue
        if (begun := _section(text)) is not None:
            current = sections.open(begun)
        if b"at:" in text and (at := _AT.search(text)):
            offset, size = at.group(2), at.group(3)
            lock = Frame(
                at.group(1).decode(),
                int(offset, 16) if offset else -1,
                int(size, 16) if size else -1,
            )
            facts.locks.append(lock)
            if current == "held locks" or current.startswith("held locks "):
                sections.frames[current].append(lock)
        facts.note(text)
    return sections, facts


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


_ADDRESSES = re.compile(r"0x[0-9a-f]{2,16}|\b[0-9a-f]{8,16}\b")
_NUMBERS = re.compile(r"(?<![A-Za-z_])\d{1,20}\b")


def stable(title: str) -> str:
    """A title without the addresses and numbers that differ from sighting to sighting."""
    return " ".join(_NUMBERS.sub("NUM", _ADDRESSES.sub("ADDR", title)).split())


def _group(head: re.Match[bytes], name: str) -> str:
    groups = head.groupdict()
    value = groups.get(name)
    return plain(value).strip() if value else ""


def build(family: Family, head: re.Match[bytes], at: int, lines: Sequence[Line]) -> Splat:
    """The report whose first line is ``lines[at]``; what stands before belongs to it too."""
    sections, facts = _scan(family, lines)
    name, kind, stem = family.name, family.kind, family.title
    opening = [line.text for line in lines[: at + 12] if frame(line.text) is None]
    for refinement in REFINEMENTS:
        if name in refinement.names and any(refinement.tells.search(t) for t in opening):
            name, kind, stem = refinement.name, refinement.kind, refinement.title
            break
    what = _group(head, "what")
    kind = stable(kind.format(what=what)).lower() if what else kind
    if name == "PANIC":
        what = what.partition(" in interrupt")[0]
    if name == "UBSAN" and kind == "undefined behaviour":
        kind = "undefined-behaviour"
    access = facts.access if "{access}" in stem else ""
    title = stable(
        stem.format(
            kind=kind,
            access=f" {access.capitalize()}" if access and name == "KASAN" else "",
            what=what,
            word=_group(head, "word"),
            lock=_group(head, "lock"),
        )
    )
    stacks = sections.frames
    lock_frames = facts.locks
    to_blame = blame.function(
        family,
        name,
        head=_group(head, "function"),
        pointer=facts.pointers,
        access=_access_of(stacks),
        others=_others(stacks),
        lock=lock_frames,
        caller=facts.caller,
    )
    if to_blame:
        other = _group(head, "other")
        title += f" in {to_blame}" + (f" / {base_name(other)}" if other else "")
    listed = sections.stacks()
    if facts.pointers:
        listed = (Stack("pointer", tuple(facts.pointers[:1])), *listed)
    return Splat(
        family=name,
        kind=kind,
        title=title,
        headline=plain(lines[at].text).strip(),
        function=to_blame,
        start=lines[0].start,
        end=lines[-1].end,
        task=facts.task,
        access=facts.access,
        size=facts.size,
        stacks=listed,
        text="\n".join(plain(line.text) for line in lines) + "\n",
        cpu=facts.cpu,
        kernel=facts.kernel,
        taint=facts.taint,
        stamp=lines[at].stamp,
        slab=facts.slab,
        scenario=scenario([line.text for line in lines]) if name == "LOCKDEP" else "",
        followed_by=tuple(
            plain(line.text).strip() for line in lines[at + 1 :] if _AFTERMATH.match(line.text)
        ),
    )


def _others(stacks: dict[str, list[Frame]]) -> list[list[Frame]]:
    return [frames for name, frames in stacks.items() if name.startswith("access")]


def _access_of(stacks: dict[str, list[Frame]]) -> list[Frame]:
    """The backtrace to read the blame from: the first with a frame that is sure."""
    for name, frames in stacks.items():
        if name.startswith("access") and any(frame.sure for frame in frames):
            return frames
    return []
