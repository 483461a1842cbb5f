"""A splat of a document, arranged for a reader: what is folded, what stands side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.record.chains import Chain
from harness.splat.blame import is_machinery
from harness.splat.frames import base_name

Json = Mapping[str, Any]

_BESIDE = ("alloc", "free")
_MEMORY = ("KASAN", "KMSAN", "KCSAN", "KFENCE")

_TITLES = {
    "access": "the access",
    "pointer": "where it was",
    "alloc": "allocated",
    "free": "freed",
}

_SHOWN = 14
"""Frames of a stack that are shown before the rest is folded."""


@dataclass(frozen=True)
class Excerpt:
    """Lines of source; ``marked`` is the index of the one that is named."""

    place: str
    first: int
    lines: Sequence[str]
    marked: int


@dataclass(frozen=True)
class FrameView:
    function: str
    place: str
    note: str
    excerpt: Excerpt | None
    blamed: bool


@dataclass(frozen=True)
class Fold:
    """A stretch of a stack; ``why`` is empty for one that is shown."""

    why: str
    frames: Sequence[FrameView]


@dataclass(frozen=True)
class StackView:
    title: str
    folds: Sequence[Fold]
    count: int


@dataclass(frozen=True)
class SplatView:
    """``beside`` are stacks of where an object came from and went, to be read together; ``after``
    are reports that came of this one.
    """

    title: str
    headline: str
    place: str
    signature: str
    race: str
    facts: Sequence[tuple[str, str]]
    stacks: Sequence[StackView]
    beside: Sequence[StackView]
    scenario: str
    corrupted: str
    text: str
    after: Sequence[SplatView] = ()


def chain_view(chain: Chain, sources: Sequence[Json]) -> SplatView:
    """A report with what came of it."""
    return replace(
        splat_view(chain.first, sources), after=[splat_view(splat, ()) for splat in chain.after]
    )


def splat_view(splat: Json, sources: Sequence[Json]) -> SplatView:
    excerpts = {source["place"]: _excerpt(source) for source in sources}
    made = [(s["name"], _stack(s, splat, excerpts)) for s in splat.get("stacks", [])]
    named = [
        ("assertion", splat.get("assertion", "")),
        ("task", splat.get("task", "")),
        ("access", splat.get("access", "")),
        ("object", splat.get("object", "")),
        ("kernel's clock", f"{splat['stamp']:.3f} s" if splat.get("stamp", -1) >= 0 else ""),
        ("ends with", ", ".join(splat.get("secondary", []))),
    ]
    return SplatView(
        title=splat["title"],
        headline=splat["headline"],
        place=splat["place"],
        signature=splat["signature"],
        race=splat.get("race_key", ""),
        facts=[(name, value) for name, value in named if value],
        stacks=[view for name, view in made if name not in _BESIDE],
        beside=[view for name, view in made if name in _BESIDE],
        scenario=splat.get("scenario", ""),
        corrupted=splat.get("corrupted", ""),
        text=splat.get("text", ""),
    )


def _excerpt(source: Json) -> Excerpt:
    line = int(source["place"].rpartition(":")[2])
    return Excerpt(source["place"], source["first"], source["lines"], line - source["first"])


def _stack(stack: Json, splat: Json, excerpts: Mapping[str, Excerpt]) -> StackView:
    """Folded: the reporting on top, what is far down, and what the unwinder is not sure of."""
    top: list[FrameView] = []
    shown: list[FrameView] = []
    down: list[FrameView] = []
    stale: list[FrameView] = []
    for frame in stack["frames"]:
        function = frame["function"]
        blamed = frame["sure"] and function == splat["function"]
        view = FrameView(
            function=function,
            place=frame["place"],
            note="" if frame["offset"] >= 0 or not frame["place"] else "inlined",
            excerpt=excerpts.get(frame["place"]),
            blamed=blamed,
        )
        if not frame["sure"]:
            stale.append(view)
        elif blamed:
            shown.append(view)
        elif is_machinery(base_name(function)):
            (down if shown else top).append(view)
        else:
            (shown if len(shown) < _SHOWN and not down else down).append(view)
    folds = [
        Fold("of the reporting", top),
        Fold("", shown),
        Fold("further down", down),
        Fold("found on the stack, perhaps stale", stale),
    ]
    return StackView(
        _title(stack["name"], splat), [fold for fold in folds if fold.frames], len(stack["frames"])
    )


def _title(name: str, splat: Json) -> str:
    """What a stack is to its reader: the access of a memory report is any other's call trace."""
    if name == "access" and splat["family"] not in _MEMORY:
        return "call trace"
    return _TITLES.get(name, name)
