"""A fault that waits for userfaultfd, a mapping that goes, copies that fail or race."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, TestCase

UFFD_MISSING = TestCase(
    name="uffd_missing",
    reproducer=Path(__file__).with_name("uffd_missing.c"),
    paths=(
        "handle_userfault",
        "hugetlb_mcopy_atomic_pte",
        "__mcopy_atomic_hugetlb",
        "userfaultfd_release",
        "dup_userfaultfd",
    ),
    scenarios=("S24",),
    seconds=4,
    needs=Needs(nodes=2, cpus=2, free_2m=4, options=("CONFIG_USERFAULTFD",)),
    exercised=(
        AtLeast("vanished", 2),
        AtLeast("refused", 6),
        AtLeast("copied", 4),
        AtLeast("raced", 2),
        AtLeast("moved", 1),
        AtLeast("waited", 2),
        AtLeast("forked", 2),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
    catches=("uffd-missing-uaf",),
    quick=1,
)


def test_uffd_missing(trial: Callable[[TestCase], None]) -> None:
    trial(UFFD_MISSING)
