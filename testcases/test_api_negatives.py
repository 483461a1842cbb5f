"""What must be refused, with the errno that it is refused with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, Source, TestCase

API_NEGATIVES = TestCase(
    name="api_negatives",
    reproducer=Path(__file__).with_name("api_negatives.c"),
    paths=(
        "hugetlbfs_file_mmap",
        "hugetlb_get_unmapped_area",
        "hugetlbfs_fallocate",
        "hugetlb_vm_op_split",
    ),
    scenarios=("S29",),
    seconds=2,
    needs=Needs(nodes=2, free_2m=2),
    exercised=(
        AtLeast("refused", 70),
        AtLeast("moved", 6),
        AtLeast("pgmigrate_success", 6, Source.VMSTAT),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
    quick=1,
)


def test_api_negatives(trial: Callable[[TestCase], None]) -> None:
    trial(API_NEGATIVES)
