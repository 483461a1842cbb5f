"""Kernel configuration: fragments over allnoconfig, and what Kconfig made of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

_SET = re.compile(r"(CONFIG_\w+)=(.*)")
_UNSET = re.compile(r"# (CONFIG_\w+) is not set")


def options(text: str) -> Iterator[tuple[str, str]]:
    """Each option that ``text`` sets, with its value; "n" for "is not set"."""
    for line in text.splitlines():
        if match := _SET.fullmatch(line.strip()):
            yield match[1], match[2].strip()
        elif match := _UNSET.fullmatch(line.strip()):
            yield match[1], "n"


def dropped(fragments: Sequence[Path], final: str) -> tuple[str, ...]:
    """What fragments ask for and ``final`` does not have.

    An option that a later fragment sets differently counts as the later one asks.
    """
    got = dict(options(final))
    asked: dict[str, tuple[str, Path]] = {}
    for fragment in fragments:
        for name, value in options(fragment.read_text(encoding="utf-8", errors="replace")):
            asked[name] = (value, fragment)
    return tuple(
        f"{name}: asked {value}, got {got.get(name, 'n')} ({fragment.name})"
        for name, (value, fragment) in asked.items()
        if got.get(name, "n") != value
    )


def decides_config(path: str) -> bool:
    """Whether a source file can change what Kconfig makes of the same fragments."""
    name = path.rpartition("/")[2]
    return (
        name.startswith("Kconfig")
        or path == "Makefile"
        or path.startswith("scripts/")
        or re.fullmatch(r"arch/\w+/Makefile", path) is not None
    )
