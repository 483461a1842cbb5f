"""Last munmap, close, unlink and umount, a mount a round, while a page of the file migrates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, Source, TestCase

UMOUNT_MIGRATE = TestCase(
    name="umount_migrate",
    reproducer=Path(__file__).with_name("umount_migrate.c"),
    paths=(
        "hugetlbfs_evict_inode",
        "hugetlbfs_put_super",
        "unmap_and_move_huge_page",
        "hugetlb_page_mapping_lock_write",
    ),
    scenarios=("S18",),
    seconds=12,
    needs=Needs(nodes=2, cpus=2, free_2m=6),
    exercised=(
        AtLeast("moved", 4),
        AtLeast("files", 6),
        AtLeast("spoilt", 6),
        AtLeast("mounts", 2),
        AtLeast("pgmigrate_success", 5, Source.VMSTAT),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
    catches=("mapping-lock-drop-hack",),
    quick=4,
)


def test_umount_migrate(trial: Callable[[TestCase], None]) -> None:
    trial(UMOUNT_MIGRATE)
