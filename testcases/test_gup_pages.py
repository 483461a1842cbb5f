"""The kernel reads, writes and holds a process's huge pages, any part of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, Source, TestCase

GUP_PAGES = TestCase(
    name="gup_pages",
    reproducer=Path(__file__).with_name("gup_pages.c"),
    scenarios=("S06", "S28", "S29"),
    seconds=4,
    needs=Needs(nodes=2, free_2m=6),
    exercised=(
        AtLeast("read_over", 72),
        AtLeast("written_over", 27),
        AtLeast("refused", 6),
        AtLeast("held", 3),
        AtLeast("direct", 3),
        AtLeast("populated", 2),
        AtLeast("bordered", 3),
        AtLeast("poked", 4),
        AtLeast("raced", 32),
        AtLeast("pgmigrate_success", 4, Source.VMSTAT),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
    quick=1,
    paths=(
        "follow_hugetlb_page",
        "hugetlb_fault",
        "get_user_pages",
        "gup_pgd_range",
        "follow_huge_pmd",
        "populate_vma_page_range",
        "process_vm_rw",
        "__access_remote_vm",
        "hugetlb_cow",
    ),
)


def test_gup_pages(trial: Callable[[TestCase], None]) -> None:
    trial(GUP_PAGES)
