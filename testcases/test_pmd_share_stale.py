"""A process on a CPU of its own, whose pages below a shared PMD table are taken away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, Source, TestCase

PMD_SHARE_STALE = TestCase(
    name="pmd_share_stale",
    reproducer=Path(__file__).with_name("pmd_share_stale.c"),
    paths=(
        "huge_pmd_unshare",
        "try_to_unmap_one",
        "hugetlb_vmdelete_list",
        "hugetlb_change_protection",
    ),
    scenarios=("S13", "S12"),
    seconds=8,
    needs=Needs(nodes=2, cpus=2, free_2m=6),
    exercised=(
        AtLeast("migrations", 3),
        AtLeast("truncations", 3),
        AtLeast("holes", 3),
        AtLeast("splits", 2),
        AtLeast("shared_tables", 5),
        AtLeast("pgmigrate_success", 5, Source.VMSTAT),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
    catches=("unmap-unshare-noflush", "migrate-unshare-missing"),
    quick=4,
)


def test_pmd_share_stale(trial: Callable[[TestCase], None]) -> None:
    trial(PMD_SHARE_STALE)
