"""Fork while anonymous huge pages migrate; parent and child must not see each other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, Source, TestCase

FORK_COW_MIGRATE = TestCase(
    name="fork_cow_migrate",
    reproducer=Path(__file__).with_name("fork_cow_migrate.c"),
    paths=(
        "copy_hugetlb_page_range",
        "rmap_walk_anon",
        "remove_migration_pte",
    ),
    scenarios=("S09",),
    seconds=6,
    needs=Needs(nodes=2, cpus=2, free_2m=8),
    exercised=(
        AtLeast("moved", 20),
        AtLeast("forked", 10),
        AtLeast("parent_first", 5),
        AtLeast("child_first", 5),
        AtLeast("pgmigrate_success", 5, Source.VMSTAT),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
    catches=("copy-range-migration-entry",),
    quick=2,
)


def test_fork_cow_migrate(trial: Callable[[TestCase], None]) -> None:
    trial(FORK_COW_MIGRATE)
