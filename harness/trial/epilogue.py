"""The end of every trial in a guest of our own: its pools must shrink to nothing.

A huge page that somebody still holds, a reservation that nobody gave back and a page that left the
pool's books are seen here, whatever the case was about.  The guest is thrown away afterwards, so
nothing is put back; on a machine that is somebody else's nothing of this is done.
"""

from __future__ import annotations

from harness.trial import snapshot as snapshot_
from harness.trial.snapshot import Drift, Snapshot

SHRINK = (
    "for f in /sys/devices/system/node/node*/hugepages/hugepages-*/nr_hugepages;"
    " do echo 0 >$f; done 2>/dev/null; "
)
COMMAND = SHRINK + snapshot_.COMMAND

KMEMLEAK = "/sys/kernel/debug/kmemleak"
CLEAR = f"[ ! -w {KMEMLEAK} ] || echo clear >{KMEMLEAK}"
"""What the boot left unreferenced is the boot's own."""

SCAN = f"echo scan >{KMEMLEAK}; sleep 6; echo scan >{KMEMLEAK}; cat {KMEMLEAK}"
"""Twice: an object counts as leaked when it is 5 s old and a second scan finds it no more."""

SCANS = f"[ ! -r {KMEMLEAK} ] || echo yes"
"""Whether there is a kmemleak to ask."""

LEFT = "--left"
"""The argument by which a reproducer of ours looks for huge pages outside any pool (repro.c)."""


def remains(snapshot: Snapshot) -> tuple[Drift, ...]:
    """What is left of the pools after they were asked to shrink to nothing."""
    left = [
        Drift(f"{kind}_hugepages ({size >> 20} MiB) of an emptied pool", node, 0, pages)
        for (node, size, kind), pages in sorted(snapshot.pools.items())
        if pages
    ]
    left += [
        Drift(f"{name} of an emptied pool", -1, 0, value)
        for name, value in sorted(snapshot.meminfo.items())
        if name.startswith("HugePages_") and value
    ]
    return tuple(left)


def leaked_objects(said: str) -> tuple[str, ...]:
    """What kmemleak reports: the first lines of each unreferenced object."""
    return tuple(
        line.strip() for line in said.splitlines() if line.startswith("unreferenced object")
    )
