"""What a trial's reports are to each other: first reports, what came of them, and repetitions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Chain:
    """A report of a trial's document, and those that came of it, as they were printed.

    ``behind`` are titles of what the report's own text ends with, such as a panic.
    """

    first: Json
    after: Sequence[Json] = ()

    @property
    def behind(self) -> list[str]:
        return [str(title) for title in self.first.get("secondary", [])]


def chains(splats: Sequence[Json]) -> list[Chain]:
    """In the order of their first reports.  One that came of a report that is not here, as of one
    while booting, begins a chain of its own.
    """
    made: list[tuple[Json, list[Json]]] = []
    by_start: dict[int, list[Json]] = {}
    for splat in splats:
        root = splat.get("follows")
        after = None if root is None else by_start.get(root)
        if after is None:
            after = []
            made.append((splat, after))
        else:
            after.append(splat)
        by_start[splat["start"]] = after
    return [Chain(first, after) for first, after in made]


def counted(splats: Sequence[Json]) -> list[str]:
    """Each title once, with how often it came."""
    times = Counter(str(splat["title"]) for splat in splats)
    return [title + (f" ({count} times)" if count > 1 else "") for title, count in times.items()]
