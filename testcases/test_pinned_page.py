"""A page that is pinned cannot migrate, and is as it was after each attempt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, Source, TestCase

PINNED_PAGE = TestCase(
    name="pinned_page",
    reproducer=Path(__file__).with_name("pinned_page.c"),
    paths=(
        "migrate_huge_page_move_mapping",
        "remove_migration_ptes",
        "putback_active_hugepage",
        "vmsplice_to_pipe",
        "follow_huge_pmd_pte",
        "queue_pages_hugetlb",
        "pagemap_hugetlb_range",
    ),
    scenarios=("S06", "S26"),
    seconds=4,
    needs=Needs(
        nodes=2, cpus=2, free_2m=2, options=("CONFIG_MEMORY_FAILURE", "CONFIG_BLK_DEV_RAM")
    ),
    exercised=(
        AtLeast("refused", 4),
        AtLeast("offline_refused", 4),
        AtLeast("released", 4),
        AtLeast("asked", 300),
        AtLeast("tried", 30),
        AtLeast("direct", 1),
        AtLeast("moved", 1),
        AtLeast("pgmigrate_success", 4, Source.VMSTAT),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
    catches=("softoffline-eio", "follow-pmd-nonpresent"),
    quick=1,
)


def test_pinned_page(trial: Callable[[TestCase], None]) -> None:
    trial(PINNED_PAGE)
