"""Each allocation of each operation fails once, and has to leave no trace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, TestCase

INJECT_BACKOUT = TestCase(
    name="inject_backout",
    reproducer=Path(__file__).with_name("inject_backout.c"),
    paths=(
        "hugetlb_reserve_pages",
        "restore_reserve_on_error",
        "hugetlbfs_fallocate",
        "region_chg",
    ),
    scenarios=("S22",),
    seconds=20,
    needs=Needs(nodes=2, free_2m=4, options=("CONFIG_FAULT_INJECTION", "CONFIG_FAILSLAB")),
    exercised=(
        AtLeast("operations", 6),
        AtLeast("injected", 20),
        AtLeast("errors", 3),
        AtLeast("forks", 20),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
    catches=("restore-reserve-missing",),
    quick=4,
)


def test_inject_backout(trial: Callable[[TestCase], None]) -> None:
    trial(INJECT_BACKOUT)
