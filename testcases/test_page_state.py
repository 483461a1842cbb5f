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
        AtLeast("written", 30),
        AtLeast("pgmigrate_success", 5, Source.VMSTAT),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
    quick=1,
    paths=(
        "hugetlb_no_page",
        "hugetlb_cow",
        "migrate_page_states",
        "hugetlbfs_read_iter",
        "hugetlb_mcopy_atomic_pte",
        "hugetlb_report_usage",
        "copy_hugetlb_page_range",
    ),
)


def test_page_state(trial: Callable[[TestCase], None]) -> None:
    trial(PAGE_STATE)
