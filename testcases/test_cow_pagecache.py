"""One file, shared by one and copied by others, while all of it migrates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, Source, TestCase

COW_PAGECACHE = TestCase(
    name="cow_pagecache",
    reproducer=Path(__file__).with_name("cow_pagecache.c"),
    paths=(
        "hugetlb_cow",
        "hugetlb_wp",
        "copy_hugetlb_page_range",
        "rmap_walk_file",
    ),
    scenarios=("S20",),
    seconds=5,
    needs=Needs(nodes=2, cpus=2, free_2m=10),
    exercised=(
        AtLeast("rounds", 2),
        AtLeast("copied", 8),
        AtLeast("moved", 10),
        AtLeast("pgmigrate_success", 10, Source.VMSTAT),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
    quick=2,
)


def test_cow_pagecache(trial: Callable[[TestCase], None]) -> None:
    trial(COW_PAGECACHE)
