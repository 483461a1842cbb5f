"""First faults look for a page table to share while its users come and go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, TestCase

PMD_SHARE_FAULT = TestCase(
    name="pmd_share_fault",
    reproducer=Path(__file__).with_name("pmd_share_fault.c"),
    paths=(
        "huge_pmd_share",
        "huge_pte_alloc",
        "huge_pmd_unshare",
        "copy_hugetlb_page_range",
    ),
    scenarios=("S12",),
    seconds=5,
    needs=Needs(nodes=2, cpus=2, free_2m=3),
    exercised=(
        AtLeast("mapped", 10),
        AtLeast("shared", 3),
        AtLeast("forked", 1),
        AtLeast("met", 20),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
    catches=("fault-alloc-unlocked",),
    quick=2,
)


def test_pmd_share_fault(trial: Callable[[TestCase], None]) -> None:
    trial(PMD_SHARE_FAULT)
