"""Page lock, i_mmap_rwsem and fault mutex of one file: movers, first touches and writers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, Source, TestCase

LOCK_TRIANGLE = TestCase(
    name="lock_triangle",
    reproducer=Path(__file__).with_name("lock_triangle.c"),
    paths=(
        "hugetlb_no_page",
        "rmap_walk_file",
        "remove_migration_ptes",
        "unmap_and_move_huge_page",
    ),
    scenarios=("S31", "S17"),
    seconds=8,
    needs=Needs(nodes=2, cpus=2, free_2m=6),
    exercised=(
        AtLeast("moved", 20),
        AtLeast("faulted", 20),
        AtLeast("written", 15),
        AtLeast("pgmigrate_success", 5, Source.VMSTAT),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
    catches=("migrate-file-no-imap-lock", "migrate-lock-order-abba"),
    quick=2,
)


def test_lock_triangle(trial: Callable[[TestCase], None]) -> None:
    trial(LOCK_TRIANGLE)
