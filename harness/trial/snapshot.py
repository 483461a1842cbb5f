"""Counters of the guest's kernel, read in one command, and what changed between two readings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.spec.case import Source

INSTRUMENTATION = "/sys/kernel/debug/hugetlb_harness"
"""Where an instrumentation patch keeps its counters: one file each, holding one number.  A name
that ends in ``_bad`` counts what must never happen, ``_taken`` how often the place was passed."""

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
    "/proc/cgroups",
    "/sys/fs/cgroup/hugetlb/hugetlb.*usage_in_bytes",
    f"{INSTRUMENTATION}/*",
    "/sys/kernel/debug/tracing/trace_stat/function*",
)


def command(files: Sequence[str] = ()) -> str:
    """One process for all FILES, and for ``files`` that somebody else reads: under TCG and KASAN
    each further fork and exec costs 20 ms.
    """
    return "grep -sH '' " + " ".join((*FILES, *files))


COMMAND = command()

_POOL = re.compile(
    r".*/node(\d{1,4})/hugepages/hugepages-(\d{1,9})kB/(nr|free|surplus)_hugepages\Z"
)
_CGROUP = re.compile(r"/sys/fs/cgroup/hugetlb/(hugetlb\.\w{1,8}(?:\.rsvd)?\.usage_in_bytes)\Z")
_PROFILE = re.compile(r"\s*([A-Za-z_][\w.]{0,120})\s+(\d{1,18})\s")
_KEPT_VMSTAT = ("pgmigrate_", "htlb_", "compact_", "oom_kill", "pgfault", "numa_")
_KEPT_MEMINFO = (
    "HugePages_",
    "Hugepagesize",
    "Hugetlb",
    "MemFree",
    "MemAvailable",
    "HardwareCorrupted",
)


@dataclass(frozen=True)
class Snapshot:
    """One reading.

    ``pools`` maps (node, page size in bytes, "nr" | "free" | "surplus") to pages;
    ``meminfo`` and ``vmstat`` keep what concerns huge pages and migration.
    ``debug_locks`` and ``prove_locking`` are None where the kernel does not have them.
    ``cgroup`` holds the bytes charged to the root hugetlb cgroup (version 1), all groups below
    it included, and "cgroups", how many groups there are, those that cannot die included.
    ``debugfs`` are the counters of instrumentation patches by name; ``functions`` maps a kernel
    function that is profiled to its calls.
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
    cgroup: Mapping[str, int]
    debugfs: Mapping[str, int]
    functions: Mapping[str, int]


def parse(text: str) -> Snapshot:
    """Read what COMMAND prints; lines of any other shape are passed over."""
    pools: dict[tuple[int, int, str], int] = {}
    meminfo: dict[str, int] = {}
    vmstat: dict[str, int] = {}
    debug_locks: bool | None = None
    proving: bool | None = None
    warnings: int | None = None
    tainted, loglevel, ignored = 0, 0, False
    cgroup: dict[str, int] = {}
    debugfs: dict[str, int] = {}
    functions: dict[str, int] = {}
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
        elif file.startswith(INSTRUMENTATION + "/") and (number := _number(content)) is not None:
            debugfs[file.removeprefix(INSTRUMENTATION + "/")] = number
        elif "/trace_stat/function" in file and (hit := _PROFILE.match(content)):
            functions[hit[1]] = functions.get(hit[1], 0) + int(hit[2])  # a file for each CPU
        elif file == "/proc/cgroups" and content.startswith("hugetlb\t"):
            cgroup["cgroups"] = _number(content.split("\t")[2]) or 0
        elif (match := _CGROUP.match(file)) and (number := _number(content)) is not None:
            cgroup[match[1]] = number
    return Snapshot(
        *(pools, meminfo, vmstat, debug_locks, proving, tainted),
        *(loglevel, ignored, warnings, cgroup, debugfs, functions),
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


def pool_drift(before: Snapshot, after: Snapshot, *, own: bool = True) -> tuple[Drift, ...]:
    """Counters that differ: a run gives back every page, reservation and charge.

    ``own`` tells that the guest is the harness's own; elsewhere others make cgroups too.
    """
    drifts = [
        Drift(_pool_name(kind, size), node, pages, after.pools[node, size, kind])
        for (node, size, kind), pages in sorted(before.pools.items())
        if after.pools.get((node, size, kind), pages) != pages
    ]
    drifts += [
        Drift(name, -1, value, after.meminfo[name])
        for name, value in sorted(before.meminfo.items())
        if name.startswith("HugePages_") and after.meminfo.get(name, value) != value
    ]
    drifts += [
        Drift(_CGROUP_WORDS.get(name, name), -1, before.cgroup.get(name, 0), value)
        for name, value in sorted(after.cgroup.items())
        if own and (name != "cgroups" or name in before.cgroup)
        if value != before.cgroup.get(name, 0)
    ]
    return tuple(drifts)


def _pool_name(kind: str, size: int) -> str:
    return f"{kind}_hugepages ({size >> 20} MiB)"


def set_anew(before: Snapshot, after: Snapshot) -> frozenset[str]:
    """The counters of pools that were emptied and filled again by their total: the kernel then
    spreads the pages over the nodes as its turn goes, so that some lie on another node.

    As many in all, and what a node has more of is free there: a page that was lost, or that is
    counted for the wrong node, looks otherwise.
    """
    found = set[str]()
    for size in {size for _, size, _ in before.pools}:
        nodes = {node for node, each, _ in before.pools if each == size}

        def grown(node: int, kind: str, size: int = size) -> int:
            key = (node, size, kind)
            return after.pools.get(key, 0) - before.pools.get(key, 0)

        if not sum(grown(node, "nr") for node in nodes) and all(
            grown(node, "nr") == grown(node, "free") and not grown(node, "surplus")
            for node in nodes
        ):
            found |= {_pool_name(kind, size) for kind in ("nr", "free")}
    return frozenset(found)


_CGROUP_WORDS = {"cgroups": "num_cgroups of hugetlb in /proc/cgroups"}


def disagreements(snapshot: Snapshot) -> tuple[str, ...]:
    """Counters of one reading that contradict each other, in words.

    /proc/meminfo counts the default size; its sums are those of the nodes, and what is reserved
    is free (resv_huge_pages <= free_huge_pages, which the kernel relies on).
    """
    size = snapshot.meminfo.get("Hugepagesize", 0) << 10
    told = []
    for name, kind in (
        ("HugePages_Total", "nr"),
        ("HugePages_Free", "free"),
        ("HugePages_Surp", "surplus"),
    ):
        parts = [n for (_, s, k), n in snapshot.pools.items() if (s, k) == (size, kind)]
        if parts and name in snapshot.meminfo and sum(parts) != snapshot.meminfo[name]:
            told.append(f"{name} is {snapshot.meminfo[name]}, its nodes have {sum(parts)}")
    reserved = snapshot.meminfo.get("HugePages_Rsvd", 0)
    free = snapshot.meminfo.get("HugePages_Free", reserved)
    if reserved > free:
        told.append(f"HugePages_Rsvd is {reserved}, more than the {free} of HugePages_Free")
    return tuple(told)


def growth(
    before: Snapshot, after: Snapshot, counter: str, source: Source = Source.VMSTAT
) -> int | None:
    """How much a counter of the kernel's grew; None where this kernel does not have it."""
    first, last = _counters(before, source), _counters(after, source)
    if counter not in last:
        return None
    if counter not in first and source is Source.VMSTAT:
        return None
    return last[counter] - first.get(counter, 0)


def _counters(snapshot: Snapshot, source: Source) -> Mapping[str, int]:
    if source is Source.DEBUGFS:
        return snapshot.debugfs
    return snapshot.functions if source is Source.FUNCTION else snapshot.vmstat
