"""The books of a pool through all that an administrator and programs can do to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, TestCase

POOL_BOOKS = TestCase(
    name="pool_books",
    reproducer=Path(__file__).with_name("pool_books.c"),
    scenarios=("S07", "S21", "S23", "S30"),
    seconds=3,
    needs=Needs(nodes=2, free_2m=6),
    exercised=(
        AtLeast("steps", 25),
        AtLeast("refused", 3),
        AtLeast("surplus", 7),
        AtLeast("agreed", 200),
        AtLeast("at_once", 48),
        AtLeast("fetched", 8),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
    quick=1,
    paths=(
        "set_max_huge_pages",
        "adjust_pool_surplus",
        "alloc_pool_huge_page",
        "free_pool_huge_page",
        "gather_surplus_pages",
        "return_unused_surplus_pages",
        "hugetlb_acct_memory",
        "alloc_surplus_huge_page",
        "nr_hugepages_store_common",
        "hugetlb_report_meminfo",
        "hugetlb_report_node_meminfo",
        "hugetlb_sysctl_handler",
        "hugetlb_overcommit_handler",
        "alloc_huge_page",
    ),
)


def test_pool_books(trial: Callable[[TestCase], None]) -> None:
    trial(POOL_BOOKS)
