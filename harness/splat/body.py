"""From the lines of one report to a Splat."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from harness.splat import blame, soundness
from harness.splat.draft import Draft, Head
from harness.splat.facts import scenario
from harness.splat.families import REFINEMENTS
from harness.splat.frames import base_name, frame
from harness.splat.lines import plain
from harness.splat.report import Splat, Stack
from harness.splat.sections import Scanned, scan

# Lines below the head in which a refinement may still find what the report is about.
_OPENING = 12
_REFINED = frozenset(name for refinement in REFINEMENTS for name in refinement.names)
_ADDRESSES = re.compile(r"0x[0-9a-f]{2,16}|\b[0-9a-f]{8,16}\b")
_NUMBERS = re.compile(r"(?<![A-Za-z_])\d{1,20}\b")


def stable(title: str) -> str:
    """A title without the addresses and numbers that differ from sighting to sighting."""
    return " ".join(_NUMBERS.sub("NUM", _ADDRESSES.sub("ADDR", title)).split())


def build(draft: Draft) -> Splat:
    """The report of a draft; what stands before its head belongs to it too."""
    first, *others = draft.heads
    whole = _splat(first, draft.texts, first.at, draft.start, draft.end)
    doubts = soundness.doubt(whole.splat, first.family, whole.scanned, draft)
    begin = whole.splat.start
    secondary = tuple(_came_of_it(head, draft, begin) for head in others)
    if not secondary and not doubts:
        return whole.splat
    return replace(whole.splat, secondary=secondary, corrupted=doubts)


def _came_of_it(head: Head, draft: Draft, begin: int) -> Splat:
    """A secondary report.  A trap is where it struck, whoever may be to blame for it."""
    built = _splat(head, draft.texts[head.at :], 0, head.line.start, draft.end)
    splat = replace(built.splat, text="", follows=begin)
    pointers = built.scanned.facts.pointers
    if splat.kind in {"invalid opcode", "int3"} and pointers and splat.function:
        struck = base_name(pointers[0].function)
        title = splat.title.removesuffix(f" in {splat.function}") + f" in {struck}"
        splat = replace(splat, function=struck, title=title)
    return splat


def _group(head: re.Match[bytes], name: str) -> str:
    value = head.groupdict().get(name)
    return plain(value).strip() if value else ""


class _Built:
    def __init__(self, splat: Splat, scanned: Scanned) -> None:
        self.splat, self.scanned = splat, scanned


def _splat(head: Head, texts: Sequence[bytes], at: int, start: int, end: int) -> _Built:
    family, match = head.family, head.match
    scanned = scan(family, texts)
    facts = scanned.facts
    name, kind, stem = family.name, family.kind, family.title
    if name in _REFINED:
        opening = [text for text in texts[: at + _OPENING] if frame(text) is None]
        for refinement in REFINEMENTS:
            if name in refinement.names and any(refinement.tells.search(t) for t in opening):
                name, kind, stem = refinement.name, refinement.kind, refinement.title
                break
    what = _group(match, "what")
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
            word=_group(match, "word"),
            lock=_group(match, "lock"),
        )
    )
    trail = blame.Trail(
        head=_group(match, "function"),
        pointers=facts.pointers,
        access=scanned.backtrace,
        stacks=scanned.backtraces,
        locks=facts.locks,
        caller=facts.caller,
        safe=scanned.frames.get("irq-safe", ()),
    )
    to_blame = blame.function(family, name, kind, trail)
    if to_blame:
        other = _group(match, "other")
        title += f" in {to_blame}" + (f" / {base_name(other)}" if other else "")
    listed = scanned.stacks
    if facts.pointers:
        listed = (Stack("pointer", tuple(facts.pointers[:1])), *listed)
    splat = Splat(
        family=name,
        kind=kind,
        title=title,
        headline=plain(texts[at]).strip(),
        function=to_blame,
        start=start,
        end=end,
        task=facts.task,
        access=facts.access,
        size=facts.size,
        stacks=listed,
        text=plain(b"\n".join(texts)) + "\n",
        cpu=facts.cpu,
        kernel=facts.kernel,
        taint=facts.taint,
        build_id=facts.build_id,
        build=facts.build,
        assertion=_group(match, "assertion") or facts.assertion,
        stamp=head.line.stamp,
        slab=facts.slab,
        scenario=scenario(texts) if name == "LOCKDEP" else "",
    )
    return _Built(splat, scanned)
