"""A block of memory goes offline with huge pages in it, under a writer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, Source, TestCase

MEMORY_BLOCKS = TestCase(
    name="memory_blocks",
    reproducer=Path(__file__).with_name("memory_blocks.c"),
    paths=(
        "offline_pages",
        "start_isolate_page_range",
        "do_migrate_range",
        "dissolve_free_huge_pages",
    ),
    scenarios=("S27",),
    seconds=4,
    quick=1,
    needs=Needs(nodes=2, cpus=2, free_2m=4, memory=400 << 20, options=("CONFIG_MEMORY_HOTREMOVE",)),
    exercised=(
        AtLeast("offlined", 1),
        AtLeast("evicted", 1),
        AtLeast("touched", 50),
        AtLeast("pgmigrate_success", 1, Source.VMSTAT),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
)


def test_memory_blocks(trial: Callable[[TestCase], None]) -> None:
    trial(MEMORY_BLOCKS)
