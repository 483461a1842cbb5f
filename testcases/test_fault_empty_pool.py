"""A page is touched all the time while it migrates, and there is no other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, Source, TestCase

FAULT_EMPTY_POOL = TestCase(
    name="fault_empty_pool",
    reproducer=Path(__file__).with_name("fault_empty_pool.c"),
    paths=(
        "hugetlb_fault",
        "hugetlb_no_page",
        "try_to_unmap_one",
    ),
    scenarios=("S07", "S08"),
    seconds=8,
    needs=Needs(nodes=2, cpus=2, free_2m=1),
    exercised=(
        AtLeast("touched", 1000),
        AtLeast("moved", 20),
        AtLeast("pgmigrate_success", 20, Source.VMSTAT),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
    catches=("fault-alloc-race-sigbus",),
    quick=2,
)


def test_fault_empty_pool(trial: Callable[[TestCase], None]) -> None:
    trial(FAULT_EMPTY_POOL)
