"""Charges to the subpool of a hugetlbfs mount, through migrations, refusals and the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, Source, TestCase

QUOTA_MOUNT = TestCase(
    name="quota_mount",
    reproducer=Path(__file__).with_name("quota_mount.c"),
    paths=(
        "hugepage_subpool_get_pages",
        "hugepage_subpool_put_pages",
        "hugetlbfs_statfs",
        "hugetlbfs_migrate_page",
    ),
    scenarios=("S23",),
    seconds=3,
    needs=Needs(nodes=2, free_2m=4),
    exercised=(
        AtLeast("rounds", 1),
        AtLeast("moved", 12),
        AtLeast("full", 1),
        AtLeast("starved", 2),
        AtLeast("named", 1),
        AtLeast("pgmigrate_success", 12, Source.VMSTAT),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
    catches=("subpool-private-lost",),
    quick=1,
)


def test_quota_mount(trial: Callable[[TestCase], None]) -> None:
    trial(QUOTA_MOUNT)
