"""A hole is punched while others fault its pages in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, TestCase

PUNCH_FAULT = TestCase(
    name="punch_fault",
    reproducer=Path(__file__).with_name("punch_fault.c"),
    paths=(
        "hugetlbfs_punch_hole",
        "remove_inode_hugepages",
        "hugetlb_vmdelete_list",
        "hugetlb_no_page",
    ),
    scenarios=("S16",),
    seconds=6,
    needs=Needs(cpus=2, free_2m=8),
    exercised=(
        AtLeast("punched", 10),
        AtLeast("faulted", 100),
        AtLeast("zeroed", 10),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP, Detector.DEBUG_VM),
    catches=("punch-mapped-not-unmapped",),
    quick=2,
)


def test_punch_fault(trial: Callable[[TestCase], None]) -> None:
    trial(PUNCH_FAULT)
