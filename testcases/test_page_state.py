"""What the kernel tells of each kind of huge page, at each step of its life."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, Source, TestCase

PAGE_STATE = TestCase(
    name="page_state",
    reproducer=Path(__file__).with_name("page_state.c"),
    scenarios=("S04", "S20", "S28"),
    seconds=3,
    needs=Needs(nodes=2, free_2m=4),
    exercised=(
        AtLeast("looked", 40),
        AtLeast("moved", 24),
        AtLeast("kept", 3),
        AtLeast("read_back", 6),
        AtLeast("pgmigrate_success", 5, Source.VMSTAT),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
    quick=1,
    paths=(
        "hugetlb_no_page",
        "huge_add_to_page_cache",
        "set_page_dirty",
        "__SetPageUptodate",
        "page_dup_rmap",
        "hugepage_add_new_anon_rmap",
        "hugetlb_count_add",
        "hugetlb_count_sub",
        "migrate_page_states",
        "hugetlbfs_read_iter",
        "remove_migration_pte",
        "hugetlb_mcopy_atomic_pte",
    ),
)


def test_page_state(trial: Callable[[TestCase], None]) -> None:
    trial(PAGE_STATE)
