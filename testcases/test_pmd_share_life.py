"""The life of a shared PMD table: faults, forks, mprotect(), splits, exits, and migration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, Source, TestCase

PMD_SHARE_LIFE = TestCase(
    name="pmd_share_life",
    reproducer=Path(__file__).with_name("pmd_share_life.c"),
    paths=(
        "huge_pmd_share",
        "huge_pmd_unshare",
        "hugetlb_vm_op_split",
        "copy_hugetlb_page_range",
    ),
    scenarios=("S12",),
    seconds=8,
    needs=Needs(nodes=2, cpus=2, free_2m=6),
    exercised=(
        AtLeast("moved", 5),
        AtLeast("shared_tables", 10),
        AtLeast("lives", 20),
        AtLeast("checked", 50),
        AtLeast("pgmigrate_success", 5, Source.VMSTAT),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
)


def test_pmd_share_life(trial: Callable[[TestCase], None]) -> None:
    trial(PMD_SHARE_LIFE)
