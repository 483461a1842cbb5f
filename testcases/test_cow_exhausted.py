"""A private page is written by its owner when there is no page for the copy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, TestCase

COW_EXHAUSTED = TestCase(
    name="cow_exhausted",
    reproducer=Path(__file__).with_name("cow_exhausted.c"),
    paths=(
        "hugetlb_cow",
        "hugetlb_wp",
        "unmap_ref_private",
    ),
    scenarios=("S19",),
    seconds=5,
    needs=Needs(nodes=2, cpus=2, free_2m=2),
    exercised=(
        AtLeast("rounds", 2),
        AtLeast("stolen", 3),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
    catches=("cow-unmap-ref-deadlock",),
    quick=2,
)


def test_cow_exhausted(trial: Callable[[TestCase], None]) -> None:
    trial(COW_EXHAUSTED)
