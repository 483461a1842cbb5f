"""Who only looks at pages while they migrate: smaps, pagemap, mem, futexes, core dumps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, Source, TestCase

OBSERVERS = TestCase(
    name="observers",
    reproducer=Path(__file__).with_name("observers.c"),
    paths=(
        "smaps_hugetlb_range",
        "pagemap_hugetlb_range",
        "gather_hugetlb_stats",
        "mincore_hugetlb",
        "__access_remote_vm",
        "get_futex_key",
        "do_coredump",
        "follow_hugetlb_page",
    ),
    scenarios=("S28",),
    seconds=6,
    needs=Needs(nodes=2, cpus=2, free_2m=4, options=("CONFIG_ELF_CORE",)),
    exercised=(
        AtLeast("moved", 10),
        AtLeast("looked", 5),
        AtLeast("told_of", 5),
        AtLeast("read_over", 50),
        AtLeast("woken", 20),
        AtLeast("apart", 1),
        AtLeast("dumped", 1),
        AtLeast("pgmigrate_success", 10, Source.VMSTAT),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
    quick=1,
)


def test_observers(trial: Callable[[TestCase], None]) -> None:
    trial(OBSERVERS)
