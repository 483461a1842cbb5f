"""The race of October 2020: migration of an anonymous huge page against fork."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, Source, TestCase

ANON_FORK_MIGRATE = TestCase(
    name="anon_fork_migrate",
    reproducer=Path(__file__).with_name("anon_fork_migrate.c"),
    scenarios=("S01", "S09"),
    seconds=20,
    needs=Needs(nodes=2, cpus=2, free_2m=2),
    exercised=(
        AtLeast("moved", 20),
        AtLeast("forked", 20),
        # Huge pages on 5.10; base pages on 6.1 and later, where one move already counts 512.
        AtLeast("pgmigrate_success", 20, Source.VMSTAT),
    ),
    # Without KASAN the walk over freed memory goes on, nearly always, as if nothing had been.
    detectors=(Detector.KASAN, Detector.LOCKDEP),
    catches=("anon-rmap-locked", "anon-rmap-locked-historical", "remove-ptes-rmap-unlocked"),
    quick=4,
    paths=("migrate_pages", "rmap_walk_anon", "anon_vma_fork", "unlink_anon_vmas"),
)


def test_anon_fork_migrate(trial: Callable[[TestCase], None]) -> None:
    trial(ANON_FORK_MIGRATE)
