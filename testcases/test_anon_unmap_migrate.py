"""Anonymous huge pages are moved, and taken offline, while their owner unmaps them or exits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, Source, TestCase

ANON_UNMAP_MIGRATE = TestCase(
    name="anon_unmap_migrate",
    reproducer=Path(__file__).with_name("anon_unmap_migrate.c"),
    paths=(
        "unmap_and_move_huge_page",
        "rmap_walk_anon",
        "remove_migration_pte",
        "unlink_anon_vmas",
        "__unmap_hugepage_range",
    ),
    scenarios=("S01",),
    seconds=8,
    needs=Needs(nodes=2, cpus=2, free_2m=8),
    exercised=(
        AtLeast("moved", 20),
        AtLeast("unmapped", 10),
        AtLeast("exited", 3),
        AtLeast("pgmigrate_success", 5, Source.VMSTAT),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
)

ANON_SOFT_OFFLINE = TestCase(
    name="anon_soft_offline",
    reproducer=Path(__file__).with_name("anon_unmap_migrate.c"),
    paths=(
        "soft_offline_page",
        "dissolve_free_huge_page",
        "rmap_walk_anon",
        "unlink_anon_vmas",
        "__unmap_hugepage_range",
    ),
    scenarios=("S02", "S26"),
    seconds=8,
    args=("soft",),
    needs=Needs(nodes=2, cpus=2, free_2m=8, options=("CONFIG_MEMORY_FAILURE",)),
    exercised=(
        AtLeast("moved", 20),
        AtLeast("unmapped", 8),
        AtLeast("offlined", 4),
        AtLeast("pgmigrate_success", 5, Source.VMSTAT),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
)


def test_anon_unmap_migrate(trial: Callable[[TestCase], None]) -> None:
    trial(ANON_UNMAP_MIGRATE)


def test_anon_soft_offline(trial: Callable[[TestCase], None]) -> None:
    trial(ANON_SOFT_OFFLINE)
