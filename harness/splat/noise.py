"""Reports at boot that are known, and are nobody's bug under test.

Each stands here with its reason and the day on which it is to be looked at again: a list that
nobody looks at hides the next bug.  An entry whose day has passed fails the project's tests.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from harness.splat.report import Splat

BOOT_SECONDS = 60.0
"""Later than this after the kernel's start, nothing is boot noise."""


@dataclass(frozen=True)
class Noise:
    """``title`` is a pattern for the whole stable title."""

    title: str
    reason: str
    expires: date


NOISE: tuple[Noise, ...] = (
    Noise(
        r"WARNING in topology_sane(?:\.\w+)*",
        "two NUMA nodes in one socket, which a QEMU machine without sockets=2 has: the scheduler"
        " says so, and then does without the node's cache domain",
        date(2027, 6, 30),
    ),
)


def known(splat: Splat, entries: tuple[Noise, ...] = NOISE) -> bool:
    """Whether a report is noise of the boot."""
    return 0 <= splat.stamp < BOOT_SECONDS and any(
        re.fullmatch(entry.title, splat.title) for entry in entries
    )


def expired(today: date, entries: tuple[Noise, ...] = NOISE) -> list[Noise]:
    """The entries that are to be looked at again."""
    return [entry for entry in entries if entry.expires < today]
