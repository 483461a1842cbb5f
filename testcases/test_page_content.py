"""What a huge page holds when it comes: zeroes, or all of the original."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, Source, TestCase

PAGE_CONTENT = TestCase(
    name="page_content",
    reproducer=Path(__file__).with_name("page_content.c"),
    scenarios=("S04", "S16", "S20", "S24"),
    seconds=3,
    needs=Needs(nodes=2, free_2m=6),
    exercised=(
        AtLeast("fresh", 15),
        AtLeast("copied", 18),
        AtLeast("moved", 4),
        AtLeast("pgmigrate_success", 4, Source.VMSTAT),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
    quick=1,
    paths=(
        "clear_huge_page",
        "copy_user_huge_page",
        "hugetlb_no_page",
        "hugetlb_cow",
        "hugetlbfs_fallocate",
        "hugetlb_mcopy_atomic_pte",
        "copy_huge_page_from_user",
        "migrate_page_copy",
        "follow_hugetlb_page",
    ),
)


def test_page_content(trial: Callable[[TestCase], None]) -> None:
    trial(PAGE_CONTENT)
