"""What the kernel allocates for huge pages besides the pages goes with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, TestCase

OBJECT_LEAKS = TestCase(
    name="object_leaks",
    reproducer=Path(__file__).with_name("object_leaks.c"),
    scenarios=("S12", "S21", "S23", "S25", "S30"),
    seconds=10,
    args=("groups",),
    needs=Needs(nodes=2, free_2m=6, options=("CONFIG_SLUB_DEBUG", "CONFIG_CGROUP_HUGETLB")),
    exercised=(AtLeast("operations", 10), AtLeast("watched", 100)),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
    paths=(
        "region_add",
        "region_del",
        "resv_map_alloc",
        "resv_map_release",
        "hugetlb_vm_op_close",
        "hugetlb_vm_op_open",
        "hugepage_new_subpool",
        "hugepage_put_subpool",
        "unlock_or_release_subpool",
        "huge_pmd_share",
        "huge_pmd_unshare",
        "hugetlbfs_evict_inode",
        "hugetlb_cgroup_css_alloc",
    ),
)


def test_object_leaks(trial: Callable[[TestCase], None]) -> None:
    trial(OBJECT_LEAKS)
