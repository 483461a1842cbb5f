"""Result lines of a reproducer: see testcases/lib/repro.h for who writes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

MAX_FAILURES = 50
"""A reproducer that finds lost data may say so a million times; the first ones tell all."""

_COUNT = re.compile(r"[0-9]{1,20}")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
"""What a terminal would obey: failures are shown to a person."""


@dataclass(frozen=True)
class Results:
    """What a reproducer said of its own run.

    ``failures`` are (oracle, text).  ``ended`` tells that it came to its own end.
    ``broken`` is why somebody else's test could not be carried through: no failure, and no pass.
    ``rubbish`` counts result lines that make no sense: a reproducer whose memory is
    corrupted may print anything.
    """

    counts: Mapping[str, int]
    failures: tuple[tuple[str, str], ...] = ()
    skip: str = ""
    ended: bool = False
    rubbish: int = 0
    broken: tuple[str, ...] = ()


def parse(out: bytes) -> Results:
    """Read standard output; a last line that is cut in half is passed over."""
    counts: dict[str, int] = {}
    failures: list[tuple[str, str]] = []
    skip, ended, rubbish = "", False, 0
    text = printable(out)
    for line in text[: text.rfind("\n") + 1].split("\n"):
        if not line.startswith("@ "):
            continue
        words = line[2:].split(" ", 2)
        match words:
            case ["count", name, value] if _COUNT.fullmatch(value):
                counts[name] = int(value)
            case ["gauge", _, value] if _COUNT.fullmatch(value):
                pass  # a level at one moment: only its course in time says something
            case ["fail", oracle, what]:
                if len(failures) < MAX_FAILURES:
                    failures.append((oracle, what))
            case ["skip", *rest]:
                skip = " ".join(rest)
            case ["end"]:
                ended = True
            case _:
                rubbish += 1
    return Results(counts, tuple(failures), skip, ended, rubbish)


def printable(out: bytes) -> str:
    """Output as text that no terminal obeys; lines stay lines."""
    return _CONTROL.sub(
        lambda found: f"\\x{ord(found[0]):02x}", out.decode("utf-8", "backslashreplace")
    )
