"""Groups below groups: charges, limits and refusals of each, versions 1 and 2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, Source, TestCase


def _tree(version: int, quick: int = 0) -> TestCase:
    """The hierarchy is mounted by the reproducer: a guest has neither version."""
    return TestCase(
        name=f"cgroup_tree_v{version}",
        reproducer=Path(__file__).with_name("cgroup_tree.c"),
        paths=(
            "hugetlb_cgroup_migrate",
            "hugetlb_cgroup_charge_cgroup_rsvd",
            "hugetlb_cgroup_css_offline",
            "hugetlb_cgroup_move_parent",
            "hugetlb_event",
        ),
        scenarios=("S25",),
        seconds=2,
        args=("-g", str(version)),
        needs=Needs(nodes=2, free_2m=4, options=("CONFIG_CGROUP_HUGETLB",)),
        exercised=(
            AtLeast("rounds", 1),
            AtLeast("moved", 7),
            AtLeast("refused", 5),
            AtLeast("reparented", 1),
            AtLeast("forked", 1),
            AtLeast("pgmigrate_success", 7, Source.VMSTAT),
        ),
        detectors=(Detector.KASAN, Detector.LOCKDEP),
        quick=quick,
    )


CGROUP_TREE_V1 = _tree(1)
# Version 1 has a share of the quick suite by cgroup_migrate_v1.
CGROUP_TREE_V2 = _tree(2, quick=1)


def test_cgroup_tree_v1(trial: Callable[[TestCase], None]) -> None:
    trial(CGROUP_TREE_V1)


def test_cgroup_tree_v2(trial: Callable[[TestCase], None]) -> None:
    trial(CGROUP_TREE_V2)
