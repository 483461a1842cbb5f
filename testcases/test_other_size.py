"""Pages of 2 MiB where the default size is another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, Source, TestCase

OTHER_SIZE = TestCase(
    name="other_size",
    reproducer=Path(__file__).with_name("other_size.c"),
    paths=(
        "hugetlb_reserve_pages",
        "hugetlb_unreserve_pages",
        "huge_add_to_page_cache",
        "alloc_migration_target",
        "hugetlbfs_statfs",
        "hugetlb_vm_op_split",
    ),
    scenarios=("S04", "S23", "S25", "S30"),
    seconds=3,
    needs=Needs(nodes=2, free_2m=4, options=("CONFIG_CGROUP_HUGETLB",)),
    exercised=(
        AtLeast("rounds", 1),
        AtLeast("moved", 40),
        AtLeast("looked", 40),
        AtLeast("charged", 1),
        AtLeast("pgmigrate_success", 40, Source.VMSTAT),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
    machine="default-1g",
    quick=1,
)


def test_other_size(trial: Callable[[TestCase], None]) -> None:
    trial(OTHER_SIZE)
