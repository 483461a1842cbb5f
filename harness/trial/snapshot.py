"""Counters of the guest's kernel, read in one command, and what changed between two readings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

FILES = (
    "/proc/vmstat",
    "/proc/meminfo",
    "/proc/lockdep_stats",
    "/proc/sys/kernel/prove_locking",
    "/proc/sys/kernel/tainted",
    "/proc/sys/kernel/printk",
    "/sys/module/printk/parameters/ignore_loglevel",
    "/proc/sys/kernel/hung_task_warnings",
    "/sys/devices/system/node/node*/hugepages/hugepages-*/*_hugepages",
)

COMMAND = "grep -sH '' " + " ".join(FILES)
"""One process for all files: under TCG and KASAN each further fork and exec costs 20 ms."""

_POOL = re.compile(
    r".*/node(\d{1,4})/hugepages/hugepages-(\d{1,9})kB/(nr|free|surplus)_hugepages\Z"
)
_KEPT_VMSTAT = ("pgmigrate_", "htlb_", "compact_", "oom_kill", "pgfault", "numa_")
_KEPT_MEMINFO = ("HugePages_", "Hugetlb", "MemFree", "MemAvailable")


@dataclass(frozen=True)
class Snapshot:
    """One reading.

    ``pools`` maps (node, page size in bytes, "nr" | "free" | "surplus") to pages;
    ``meminfo`` and ``vmstat`` keep what concerns huge pages and migration.
    ``debug_locks`` and ``prove_locking`` are None where the kernel does not have them.
    """

    pools: Mapping[tuple[int, int, str], int]
    meminfo: Mapping[str, int]
    vmstat: Mapping[str, int]
    debug_locks: bool | None
    prove_locking: bool | None
    tainted: int
    console_loglevel: int
    ignore_loglevel: bool
    hung_task_warnings: int | None


def parse(text: str) -> Snapshot:
    """Read what COMMAND prints; lines of any other shape are passed over."""
    pools: dict[tuple[int, int, str], int] = {}
    meminfo: dict[str, int] = {}
    vmstat: dict[str, int] = {}
    debug_locks: bool | None = None
    proving: bool | None = None
    warnings: int | None = None
    tainted, loglevel, ignored = 0, 0, False
    for line in text.splitlines():
        file, _, content = line.partition(":")
        match = _POOL.match(file)
        if match and (number := _number(content)) is not None:
            pools[int(match[1]), int(match[2]) << 10, match[3]] = number
        elif file == "/proc/vmstat" and content.startswith(_KEPT_VMSTAT):
            name, _, value = content.partition(" ")
            if (number := _number(value)) is not None:
                vmstat[name] = number
        elif file == "/proc/meminfo" and content.startswith(_KEPT_MEMINFO):
            name, _, value = content.partition(":")
            if (number := _number(value)) is not None:
                meminfo[name] = number
        elif file == "/proc/lockdep_stats" and content.strip().startswith("debug_locks:"):
            debug_locks = _number(content.partition(":")[2]) == 1
        elif file == "/proc/sys/kernel/prove_locking":
            proving = _number(content) != 0
        elif file == "/proc/sys/kernel/tainted":
            tainted = _number(content) or 0
        elif file == "/proc/sys/kernel/printk":
            loglevel = _number(content) or 0
        elif file == "/sys/module/printk/parameters/ignore_loglevel":
            ignored = content == "Y"
        elif file == "/proc/sys/kernel/hung_task_warnings":
            warnings = _number(content)
    return Snapshot(
        *(pools, meminfo, vmstat, debug_locks, proving, tainted),
        *(loglevel, ignored, warnings),
    )


def _number(text: str) -> int | None:
    """The number that ``text`` begins with; a kernel whose memory is corrupted prints anything."""
    match = re.match(r"\s*(-?[0-9]{1,20})(?!\S)", text)
    return int(match[1]) if match else None


@dataclass(frozen=True)
class Drift:
    """A counter that should be as it was and is not.  ``node`` is -1 for the whole machine."""

    counter: str
    node: int
    before: int
    after: int

    def __str__(self) -> str:
        where = f"node {self.node}: " if self.node >= 0 else ""
        return f"{where}{self.counter} was {self.before}, is {self.after}"


def pool_drift(before: Snapshot, after: Snapshot) -> tuple[Drift, ...]:
    """Huge page counters that differ: a run gives back every page and every reservation."""
    drifts = [
        Drift(f"{kind}_hugepages ({size >> 20} MiB)", node, pages, after.pools[node, size, kind])
        for (node, size, kind), pages in sorted(before.pools.items())
        if after.pools.get((node, size, kind), pages) != pages
    ]
    drifts += [
        Drift(name, -1, value, after.meminfo[name])
        for name, value in sorted(before.meminfo.items())
        if name.startswith("HugePages_") and after.meminfo.get(name, value) != value
    ]
    return tuple(drifts)


def growth(before: Snapshot, after: Snapshot, counter: str) -> int | None:
    """How much a counter of /proc/vmstat grew; None where this kernel does not have it."""
    if counter not in before.vmstat or counter not in after.vmstat:
        return None
    return after.vmstat[counter] - before.vmstat[counter]
