"""Charges to a hugetlb cgroup, through migrations, limits and the end of the group."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, Source, TestCase

CGROUP_MIGRATE_V1 = TestCase(
    name="cgroup_migrate_v1",
    reproducer=Path(__file__).with_name("cgroup_migrate.c"),
    paths=(
        "hugetlb_cgroup_migrate",
        "hugetlb_cgroup_charge_cgroup",
        "hugetlb_cgroup_uncharge_page",
        "hugetlb_cgroup_css_offline",
    ),
    scenarios=("S25",),
    seconds=3,
    args=("-g", "1"),
    needs=Needs(nodes=2, free_2m=4, options=("CONFIG_CGROUP_HUGETLB",)),
    exercised=(
        AtLeast("rounds", 1),
        AtLeast("moved", 20),
        AtLeast("limited", 8),
        AtLeast("reparented", 1),
        AtLeast("splits", 8),
        AtLeast("pgmigrate_success", 20, Source.VMSTAT),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
    catches=("cgroup-migrate-lost",),
    quick=1,
)

CGROUP_MIGRATE_V2 = TestCase(
    name="cgroup_migrate_v2",
    reproducer=Path(__file__).with_name("cgroup_migrate.c"),
    paths=(
        "hugetlb_cgroup_migrate",
        "hugetlb_cgroup_charge_cgroup",
        "hugetlb_cgroup_uncharge_page",
        "hugetlb_cgroup_css_offline",
    ),
    scenarios=("S25",),
    seconds=3,
    args=("-g", "2"),
    needs=Needs(nodes=2, free_2m=4, options=("CONFIG_CGROUP_HUGETLB",)),
    exercised=(
        AtLeast("rounds", 1),
        AtLeast("moved", 20),
        AtLeast("limited", 8),
        AtLeast("reparented", 1),
        AtLeast("splits", 8),
        AtLeast("pgmigrate_success", 20, Source.VMSTAT),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
)


def test_cgroup_migrate_v1(trial: Callable[[TestCase], None]) -> None:
    trial(CGROUP_MIGRATE_V1)


def test_cgroup_migrate_v2(trial: Callable[[TestCase], None]) -> None:
    trial(CGROUP_MIGRATE_V2)
