"""A shared mapping of a file that is open for reading only: no page of it may be anonymous."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, Source, TestCase

READONLY_SHAREABLE = TestCase(
    name="readonly_shareable",
    reproducer=Path(__file__).with_name("readonly_shareable.c"),
    paths=(
        "hugetlb_no_page",
        "huge_add_to_page_cache",
        "huge_pmd_share",
    ),
    scenarios=("S14",),
    seconds=4,
    needs=Needs(nodes=2, cpus=2, free_2m=6),
    exercised=(
        AtLeast("rounds", 3),
        AtLeast("moved", 6),
        AtLeast("shared_tables", 6),
        AtLeast("pgmigrate_success", 5, Source.VMSTAT),
        AtLeast("shareable_walked", 6, Source.DEBUGFS),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
    catches=("anon-in-shareable",),
    quick=1,
)


def test_readonly_shareable(trial: Callable[[TestCase], None]) -> None:
    trial(READONLY_SHAREABLE)
