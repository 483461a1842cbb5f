"""A thread on another CPU keeps using a page that its process has lost, or may not write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, TestCase

STALE_TLB = TestCase(
    name="stale_tlb",
    reproducer=Path(__file__).with_name("stale_tlb.c"),
    scenarios=("S10", "S09", "S15", "S16", "S20"),
    seconds=5,
    needs=Needs(nodes=2, cpus=2, free_2m=4),
    exercised=(
        AtLeast("copied", 3),
        AtLeast("isolated", 3),
        AtLeast("migrated", 3),
        AtLeast("denied", 9),
        AtLeast("removed", 3),
        AtLeast("zeroed", 3),
        AtLeast("beyond", 3),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
    quick=2,
    paths=(
        "hugetlb_cow",
        "copy_hugetlb_page_range",
        "hugetlb_change_protection",
        "__unmap_hugepage_range",
        "try_to_unmap_one",
        "move_hugetlb_page_tables",
        "hugetlb_vmtruncate",
    ),
)


def test_stale_tlb(trial: Callable[[TestCase], None]) -> None:
    trial(STALE_TLB)
