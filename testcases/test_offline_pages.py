"""Pages of every state are taken out of use, with a warning and without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, Source, TestCase

OFFLINE_PAGES = TestCase(
    name="offline_pages",
    reproducer=Path(__file__).with_name("offline_pages.c"),
    paths=(
        "soft_offline_page",
        "memory_failure",
        "gather_hugetlb_stats",
        "dissolve_free_huge_page",
    ),
    scenarios=("S26",),
    seconds=3,
    needs=Needs(nodes=2, free_2m=10, options=("CONFIG_MEMORY_FAILURE", "CONFIG_HWPOISON_INJECT")),
    exercised=(
        AtLeast("softened", 3),
        AtLeast("freed", 1),
        AtLeast("kept", 1),
        AtLeast("killed", 2),
        AtLeast("beside", 1),
        AtLeast("told_of", 2),
        AtLeast("pgmigrate_success", 3, Source.VMSTAT),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
    quick=1,
)


def test_offline_pages(trial: Callable[[TestCase], None]) -> None:
    trial(OFFLINE_PAGES)
