"""The evaluators' door to the splat reader: ``read(log) -> list of dicts``.

The keys are those that a labelled corpus of consoles is compared by: kind (a coarse class),
title, function, access, and start (a byte offset in the UTF-8 text).
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness.splat import reader
from harness.splat.report import Splat

_CLASSES = {
    "KASAN": "kasan",
    "KFENCE": "kfence",
    "KMSAN": "kmsan",
    "KCSAN": "kcsan",
    "UBSAN": "ubsan",
    "KMEMLEAK": "leak",
    "LOCKDEP": "lockdep",
    "SPINLOCK": "lockdep",
    "PREEMPT": "lockdep",
    "WARNING": "warning",
    "REFCOUNT": "warning",
    "ODEBUG": "warning",
    "RWSEM": "warning",
    "HUNG": "hung-task",
    "SOFTLOCKUP": "soft-lockup",
    "HARDLOCKUP": "soft-lockup",
    "WORKQUEUE": "soft-lockup",
    "RCUSTALL": "rcu-stall",
    "PANIC": "panic",
    "NETDEV": "other",
    "OOM": "other",
    "REBOOT": "other",
    "SLUB": "bug",
    "TRUSTY": "other",
    "TORN": "other",
}
_FAULTS = {
    "general protection fault": "gpf",
    "stack segment fault": "gpf",
    "stack guard page": "bug",
    "NULL pointer dereference": "page-fault",
    "page fault": "page-fault",
    "unhandled fault": "page-fault",
    "internal error": "page-fault",
}


def kind_of(splat: Splat) -> str:
    """The coarse class of a report."""
    if splat.family == "OOPS":
        return _FAULTS.get(splat.kind, "other")
    if splat.kind == "remains of a slab report":
        return "other"
    return _CLASSES.get(splat.family, "bug")


def read(log: str) -> list[dict[str, object]]:
    """What the reader finds in a console, for comparison with labels.

    What came of a report (the panic behind an Oops) is an entry of its own behind it.
    """
    return [
        {
            "kind": kind_of(one),
            "title": one.title,
            "function": one.function,
            "access": one.access,
            "corrupted": bool(one.corrupted),
            "reason": one.corrupted,
            "start": one.start,
        }
        for splat in reader.read(log.encode("utf-8", "surrogatepass"))
        for one in (splat, *splat.secondary)
    ]
