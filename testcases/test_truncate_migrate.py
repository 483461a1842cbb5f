"""A file is truncated and punched while its pages migrate, and i_mmap_rwsem is contended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, Source, TestCase

TRUNCATE_MIGRATE = TestCase(
    name="truncate_migrate",
    reproducer=Path(__file__).with_name("truncate_migrate.c"),
    paths=(
        "hugetlb_vmtruncate",
        "hugetlbfs_punch_hole",
        "remove_inode_hugepages",
        "unmap_and_move_huge_page",
        "rmap_walk_file",
    ),
    scenarios=("S17", "S15"),
    seconds=8,
    needs=Needs(nodes=2, cpus=2, free_2m=8),
    exercised=(
        AtLeast("moved", 20),
        AtLeast("emptied", 24),
        AtLeast("truncated", 15),
        AtLeast("punched", 5),
        AtLeast("faulted", 50),
        AtLeast("beyond", 1),
        AtLeast("pgmigrate_success", 5, Source.VMSTAT),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
    catches=("mapcount-hack-compound",),
    quick=3,
)


def test_truncate_migrate(trial: Callable[[TestCase], None]) -> None:
    trial(TRUNCATE_MIGRATE)
