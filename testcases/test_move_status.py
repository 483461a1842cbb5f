"""Each page that move_pages() is asked for has an answer of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, Source, TestCase

MOVE_STATUS = TestCase(
    name="move_status",
    reproducer=Path(__file__).with_name("move_status.c"),
    scenarios=("S04", "S05", "S06"),
    seconds=3,
    needs=Needs(nodes=2, free_2m=14),
    exercised=(
        AtLeast("calls", 16),
        AtLeast("answers", 300),
        AtLeast("moved", 30),
        AtLeast("refused", 2),
        AtLeast("around_held", 3),
        AtLeast("pgmigrate_success", 30, Source.VMSTAT),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
    quick=1,
    paths=(
        "do_pages_move",
        "do_move_pages_to_node",
        "store_status",
        "add_page_for_migration",
        "move_pages_and_store_status",
        "do_pages_stat",
        "kernel_move_pages",
        "isolate_hugetlb",
        "unmap_and_move_huge_page",
        "migrate_pages",
        "putback_movable_pages",
        "do_mbind",
    ),
)


def test_move_status(trial: Callable[[TestCase], None]) -> None:
    trial(MOVE_STATUS)
