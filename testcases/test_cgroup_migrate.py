"""Charges to a hugetlb cgroup, through migrations, limits and the end of the group."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, Source, TestCase


def _cgroup(version: int, catches: tuple[str, ...] = (), quick: int = 0) -> TestCase:
    """The hugetlb controller lives in one hierarchy at a time: a case for each version."""
    return TestCase(
        name=f"cgroup_migrate_v{version}",
        reproducer=Path(__file__).with_name("cgroup_migrate.c"),
        paths=(
            "hugetlb_cgroup_migrate",
            "hugetlb_cgroup_charge_cgroup",
            "hugetlb_cgroup_uncharge_page",
            "hugetlb_cgroup_css_offline",
        ),
        scenarios=("S25",),
        seconds=3,
        args=("-g", str(version)),
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
        catches=catches,
        quick=quick,
    )


CGROUP_MIGRATE_V1 = _cgroup(1, catches=("cgroup-migrate-lost",), quick=1)
CGROUP_MIGRATE_V2 = _cgroup(2)


def test_cgroup_migrate_v1(trial: Callable[[TestCase], None]) -> None:
    trial(CGROUP_MIGRATE_V1)


def test_cgroup_migrate_v2(trial: Callable[[TestCase], None]) -> None:
    trial(CGROUP_MIGRATE_V2)
