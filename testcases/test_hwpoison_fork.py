"""A hard memory error hits an anonymous huge page while its users fork and exit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, TestCase

HWPOISON_FORK = TestCase(
    name="hwpoison_fork",
    reproducer=Path(__file__).with_name("hwpoison_fork.c"),
    paths=(
        "memory_failure",
        "hwpoison_user_mappings",
        "rmap_walk_anon",
        "anon_vma_fork",
        "unlink_anon_vmas",
        "copy_hugetlb_page_range",
    ),
    scenarios=("S09", "S26"),
    seconds=12,
    needs=Needs(
        nodes=2, cpus=2, free_2m=8, options=("CONFIG_MEMORY_FAILURE", "CONFIG_HWPOISON_INJECT")
    ),
    exercised=(
        AtLeast("poisoned", 6),
        AtLeast("forked", 15),
        AtLeast("aimed", 3),
        AtLeast("answered", 4),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
    catches=("hwpoison-anon-rmap-locked",),
    quick=4,
)


def test_hwpoison_fork(trial: Callable[[TestCase], None]) -> None:
    trial(HWPOISON_FORK)
