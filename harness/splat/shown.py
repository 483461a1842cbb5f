"""Reports for people and for programs: as JSON values, and as text that can go into a mail."""

from __future__ import annotations

import re
from collections.abc import Mapping

from harness.splat.classes import class_of
from harness.splat.report import Frame, Splat, Stack
from harness.splat.signature import race_key, signature
from harness.splat.skips import is_report_code

Json = dict[str, object]

# Stacks as a reader of mail expects them, in this order; what is not here goes last.
_ORDER = ("access", "alloc", "free")
_TITLES = {
    "access": "Call trace:",
    "alloc": "Allocated by:",
    "free": "Freed by:",
    "held locks": "Locks held:",
}
_MOST_FRAMES = 24
# Host names, firmware, and addresses say where it ran, not what went wrong.
_ADDRESS = re.compile(r"\b(?:0x)?[0-9a-f]{12,16}\b")
_PID = re.compile(r"/\d{1,8}$")


def as_json(splat: Splat, *, place: str = "", times: int = 1) -> Json:
    """All that is known of one report, stacks included; the text as printed is left out.

    ``follows`` is the ``start`` of the report that this one came of, None for one of its own.
    """
    return {
        "kind": class_of(splat),
        "title": splat.title,
        "function": splat.function,
        "access": splat.access,
        "corrupted": bool(splat.corrupted),
        "start": splat.start,
        "end": splat.end,
        "family": splat.family,
        "what": splat.kind,
        "headline": splat.headline,
        "reason": splat.corrupted,
        "size": splat.size,
        "task": splat.task,
        "cpu": splat.cpu,
        "kernel": splat.kernel,
        "build": splat.build,
        "assertion": splat.assertion,
        "taint": splat.taint,
        "stamp": splat.stamp,
        "slab": str(splat.slab or ""),
        "scenario": splat.scenario,
        "place": place or splat.place,
        "signature": signature(splat),
        "race_key": race_key(splat),
        "stacks": {
            stack.name: [frame_text(frame) for frame in stack.frames] for stack in splat.stacks
        },
        "times": times,
        "follows": splat.follows if splat.follows >= 0 else None,
        "is_bug": splat.is_bug,
    }


def listed(splat: Splat) -> list[Splat]:
    """A report and what came of it in its own text: each is a report that the kernel made."""
    return [splat, *splat.secondary]


def frame_text(frame: Frame) -> str:
    """``? func+0x1/0x2 file:line``, as far as it is known."""
    offset = f"+{frame.offset:#x}/{frame.size:#x}" if frame.offset >= 0 <= frame.size else ""
    place = f" {frame.place}" if frame.place else ""
    inlined = " [inline]" if frame.inlined else ""
    return f"{'' if frame.sure else '? '}{frame.function}{offset}{place}{inlined}"


def as_mail(splat: Splat, *, times: int = 1) -> str:
    """What a maintainer needs of a report, and nothing of the machine it came from.

    Frames that the unwinder only guessed, the reporting code, registers, memory dumps, addresses,
    task ids and the host's hardware are left out.
    """
    lines = [splat.title, ""]
    facts: Mapping[str, str] = {
        "Kernel": f"{splat.kernel}{', tainted: ' + splat.taint if splat.taint else ''}",
        "Task": _PID.sub("", splat.task),
        "Access": f"{splat.access} of {splat.size} bytes" if splat.access and splat.size else "",
        "Because": splat.assertion,
        "Object": str(splat.slab or ""),
        "Where": f"{splat.function}, {splat.place}" if splat.place else splat.function,
        "Seen": f"{times} times" if times > 1 else "",
        "After": "another report of its task, and may have come of that"
        if splat.follows >= 0
        else "",
        "Beware": f"the report is not whole: {splat.corrupted}" if splat.corrupted else "",
    }
    lines += [f"{name + ':':<8} {value}" for name, value in facts.items() if value]
    lines += ["", _ADDRESS.sub("(address)", splat.headline)]
    for stack in sorted(splat.stacks, key=_rank):
        lines += _stack(stack)
    if splat.scenario:
        lines += ["", splat.scenario]
    if splat.secondary:
        lines += ["", "What came of it:", *(f"  {one.title}" for one in splat.secondary)]
    return "\n".join(lines) + "\n"


def _rank(stack: Stack) -> tuple[int, str]:
    return (_ORDER.index(stack.name) if stack.name in _ORDER else len(_ORDER), "")


def _stack(stack: Stack) -> list[str]:
    if stack.name == "pointer":
        return []
    frames = [frame for frame in stack.frames if frame.sure]
    while frames and is_report_code(frames[0].function):
        del frames[0]
    if not frames:
        return []
    more = len(frames) - _MOST_FRAMES
    listed = [f"  {frame_text(frame)}" for frame in frames[:_MOST_FRAMES]]
    return [
        "",
        _TITLES.get(stack.name, f"{stack.name}:"),
        *listed,
        *([f"  ({more} more)"] if more > 0 else []),
    ]
