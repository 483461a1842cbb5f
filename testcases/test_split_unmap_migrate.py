"""VMAs of migrating pages are split, punched and replaced, in children and grandchildren."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, Source, TestCase

SPLIT_UNMAP_ANON = TestCase(
    name="split_unmap_anon",
    reproducer=Path(__file__).with_name("split_unmap_migrate.c"),
    paths=(
        "__split_vma",
        "anon_vma_clone",
        "rmap_walk_anon",
        "unlink_anon_vmas",
    ),
    scenarios=("S11",),
    seconds=10,
    needs=Needs(nodes=2, cpus=2, free_2m=8),
    exercised=(
        AtLeast("moved", 20),
        AtLeast("split", 50),
        AtLeast("unmapped", 50),
        AtLeast("pgmigrate_success", 5, Source.VMSTAT),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
    catches=("anon-rmap-locked-historical",),
)

SPLIT_UNMAP_FILE = TestCase(
    name="split_unmap_file",
    reproducer=Path(__file__).with_name("split_unmap_migrate.c"),
    paths=(
        "__split_vma",
        "rmap_walk_file",
        "unlink_file_vma",
        "huge_pmd_unshare",
    ),
    scenarios=("S11",),
    seconds=6,
    args=("file",),
    needs=Needs(nodes=2, cpus=2, free_2m=8),
    exercised=(
        AtLeast("moved", 20),
        AtLeast("split", 30),
        AtLeast("unmapped", 30),
        AtLeast("pgmigrate_success", 5, Source.VMSTAT),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
    catches=("remove-ptes-rmap-unlocked",),
)


def test_split_unmap_anon(trial: Callable[[TestCase], None]) -> None:
    trial(SPLIT_UNMAP_ANON)


def test_split_unmap_file(trial: Callable[[TestCase], None]) -> None:
    trial(SPLIT_UNMAP_FILE)
