"""The coarse class of a report: the words that tools for consoles have in common."""

from __future__ import annotations

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
    "TRUSTY": "other",
    "VFS": "other",
    "RUST": "other",
    "TORN": "other",
}
_FAULTS = {
    "general protection fault": "gpf",
    "stack segment fault": "gpf",
    "stack guard page": "bug",
    "BUG trap": "bug",
    "NULL pointer dereference": "page-fault",
    "page fault": "page-fault",
    "unhandled fault": "page-fault",
    "internal error": "page-fault",
}


def class_of(splat: Splat) -> str:
    """kasan, lockdep, warning, bug, gpf, page-fault, hung-task, soft-lockup, rcu-stall, ..."""
    if splat.family == "OOPS":
        return _FAULTS.get(splat.kind, "other")
    if splat.kind == "remains of a slab report":
        return "other"
    return _CLASSES.get(splat.family, "bug")
