"""Random operations against a model of reservations and pages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, Source, TestCase

RESERVATIONS = TestCase(
    name="reservations",
    reproducer=Path(__file__).with_name("reservations.c"),
    paths=(
        "hugetlb_reserve_pages",
        "hugetlb_unreserve_pages",
        "region_chg",
        "region_add",
        "region_del",
        "vma_needs_reservation",
        "madvise_remove",
        "hugetlb_vm_op_close",
    ),
    scenarios=("S21",),
    seconds=8,
    needs=Needs(nodes=2, free_2m=8),
    exercised=(
        AtLeast("operations", 100),
        AtLeast("moved", 3),
        AtLeast("refused", 1),
        AtLeast("forked", 2),
        AtLeast("split", 3),
        AtLeast("lost", 2),
        AtLeast("pgmigrate_success", 3, Source.VMSTAT),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
    quick=2,
)


def test_reservations(trial: Callable[[TestCase], None]) -> None:
    trial(RESERVATIONS)
