"""Threads fault on pages that migrate, with nothing left in the pools."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, Source, TestCase

FAULT_STORM = TestCase(
    name="fault_storm",
    reproducer=Path(__file__).with_name("fault_storm.c"),
    paths=(
        "hugetlb_fault",
        "hugetlb_no_page",
        "migration_entry_wait_huge",
        "follow_huge_pmd_pte",
    ),
    scenarios=("S08",),
    seconds=8,
    needs=Needs(nodes=2, cpus=2, free_2m=8),
    exercised=(
        AtLeast("moved", 20),
        AtLeast("checked", 100),
        AtLeast("filled", 8),
        AtLeast("pgmigrate_success", 5, Source.VMSTAT),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
)


def test_fault_storm(trial: Callable[[TestCase], None]) -> None:
    trial(FAULT_STORM)
