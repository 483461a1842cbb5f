"""A file is truncated while others fault its pages in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, TestCase

TRUNCATE_FAULT = TestCase(
    name="truncate_fault",
    reproducer=Path(__file__).with_name("truncate_fault.c"),
    paths=(
        "hugetlb_vmtruncate",
        "hugetlb_vmdelete_list",
        "remove_inode_hugepages",
        "hugetlb_no_page",
    ),
    scenarios=("S15",),
    seconds=6,
    needs=Needs(cpus=2, free_2m=4),
    exercised=(
        AtLeast("truncated", 10),
        AtLeast("faulted", 20),
        AtLeast("sigbus", 20),
        AtLeast("late_sigbus", 5),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
    catches=("truncate-isize-late",),
    quick=2,
)


def test_truncate_fault(trial: Callable[[TestCase], None]) -> None:
    trial(TRUNCATE_FAULT)
