"""Movers of one range, in opposite directions, while its owner reads and writes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, Source, TestCase

MOVERS_COLLIDE = TestCase(
    name="movers_collide",
    reproducer=Path(__file__).with_name("movers_collide.c"),
    paths=(
        "add_page_for_migration",
        "follow_huge_pmd_pte",
        "isolate_hugetlb",
        "putback_active_hugepage",
    ),
    scenarios=("S03",),
    seconds=6,
    needs=Needs(nodes=2, cpus=2, free_2m=12),
    exercised=(
        AtLeast("moved", 40),
        AtLeast("checked", 50),
        AtLeast("asked", 100),
        AtLeast("pgmigrate_success", 5, Source.VMSTAT),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
    catches=("follow-pmd-nonpresent", "migrate-imap-selfdeadlock"),
    quick=2,
)


def test_movers_collide(trial: Callable[[TestCase], None]) -> None:
    trial(MOVERS_COLLIDE)
