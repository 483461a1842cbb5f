"""Migrations to a pool that is empty, reserved, or changes its size meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, Source, TestCase

POOL_PRESSURE = TestCase(
    name="pool_pressure",
    reproducer=Path(__file__).with_name("pool_pressure.c"),
    paths=(
        "alloc_migrate_huge_page",
        "move_hugetlb_state",
        "set_max_huge_pages",
        "gather_surplus_pages",
    ),
    scenarios=("S07",),
    seconds=3,
    needs=Needs(nodes=2, free_2m=4),
    exercised=(
        AtLeast("surplus_moved", 6),
        AtLeast("pool_moved", 2),
        AtLeast("reserved_moved", 1),
        AtLeast("resized", 4),
        AtLeast("exact", 3),
        AtLeast("pgmigrate_success", 10, Source.VMSTAT),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
    catches=("surplus-node-lost",),
    quick=2,
)


def test_pool_pressure(trial: Callable[[TestCase], None]) -> None:
    trial(POOL_PRESSURE)
