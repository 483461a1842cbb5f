"""Windows on a file that begin in its middle, through moves, holes and cuts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, Source, TestCase

FILE_WINDOWS = TestCase(
    name="file_windows",
    reproducer=Path(__file__).with_name("file_windows.c"),
    scenarios=("S04", "S15", "S16", "S17", "S29"),
    seconds=4,
    needs=Needs(nodes=2, free_2m=8),
    exercised=(
        AtLeast("looked", 60),
        AtLeast("moved", 8),
        AtLeast("absent", 8),
        AtLeast("zero", 6),
        AtLeast("reads", 1),
        AtLeast("kept", 30),
        AtLeast("private_holes", 21),
        AtLeast("interrupted", 1),
        AtLeast("pgmigrate_success", 8, Source.VMSTAT),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
    quick=1,
    paths=(
        "hugetlbfs_punch_hole",
        "hugetlb_vmdelete_list",
        "hugetlb_vmtruncate",
        "remove_inode_hugepages",
        "hugetlbfs_fallocate",
        "hugetlbfs_read_iter",
        "rmap_walk_file",
        "hugetlb_fault",
        "vma_hugecache_offset",
        "linear_hugepage_index",
        "__unmap_hugepage_range",
        "hugetlb_change_protection",
    ),
)


def test_file_windows(trial: Callable[[TestCase], None]) -> None:
    trial(FILE_WINDOWS)
