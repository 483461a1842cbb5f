"""What mprotect() takes away and gives, while the pages migrate and a second CPU touches them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, Source, TestCase

MPROTECT_MIGRATE = TestCase(
    name="mprotect_migrate",
    reproducer=Path(__file__).with_name("mprotect_migrate.c"),
    paths=(
        "hugetlb_change_protection",
        "mprotect_fixup",
        "remove_migration_pte",
    ),
    scenarios=("S10", "S12"),
    seconds=8,
    quick=2,
    needs=Needs(nodes=2, cpus=2, free_2m=8),
    exercised=(
        AtLeast("moved", 20),
        AtLeast("denied", 12),
        AtLeast("allowed", 12),
        AtLeast("shared_tables", 1),
        AtLeast("stayed", 4),
        AtLeast("pgmigrate_success", 5, Source.VMSTAT),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
)


def test_mprotect_migrate(trial: Callable[[TestCase], None]) -> None:
    trial(MPROTECT_MIGRATE)
