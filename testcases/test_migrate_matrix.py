"""Every kind of huge page by every way to move it, there, back, and back again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.spec.case import AtLeast, Detector, Needs, Source, TestCase

PRIVATE = ("anon", "private-file", "uffd-private")
SHARED = ("shared-file", "memfd", "shm", "fallocated", "uffd-shared")
WAYS = ("move_pages", "mbind", "migrate_pages")


def _matrix(size: str, group: str, kinds: tuple[str, ...]) -> TestCase:
    """The rows of one group of kinds; each cell counts the pages that arrived."""
    small = size == "2M"
    return TestCase(
        name=f"migrate_matrix[{size}-{group}]",
        reproducer=Path(__file__).with_name("migrate_matrix.c"),
        paths=(
            "do_pages_move",
            "do_mbind",
            "do_migrate_pages",
            "queue_pages_hugetlb",
            "hugetlbfs_migrate_page",
        ),
        scenarios=("S04",),
        # A page of 1 GiB is copied for seconds where the guest is emulated.
        seconds=3 if small else 30,
        args=("-p", size, "-k", ",".join(kinds)),
        needs=Needs(nodes=2, free_2m=4) if small else Needs(nodes=2, free_1g=1),
        exercised=(
            *(
                AtLeast(f"{kind}:{way}", 3)
                for kind in kinds
                for way in WAYS
                if small or way != "move_pages"  # which finds no page of 1 GiB before 6.0
            ),
            AtLeast("pgmigrate_success", 9 if small else 6, Source.VMSTAT),
        ),
        detectors=(Detector.KASAN, Detector.LOCKDEP),
        machine="" if small else "gigantic",
        quick=1 if small else 0,
    )


MATRIX_2M_PRIVATE = _matrix("2M", "private", PRIVATE)
MATRIX_2M_SHARED = _matrix("2M", "shared", SHARED)
# A page of 1 GiB is cleared and copied for seconds: one kind of either group.
MATRIX_1G_PRIVATE = _matrix("1G", "private", ("anon",))
MATRIX_1G_SHARED = _matrix("1G", "shared", ("memfd",))


@pytest.mark.parametrize(
    "case",
    (MATRIX_2M_PRIVATE, MATRIX_2M_SHARED, MATRIX_1G_PRIVATE, MATRIX_1G_SHARED),
    ids=lambda case: case.name.partition("[")[2].rstrip("]"),
)
def test_migrate_matrix(trial: Callable[[TestCase], None], case: TestCase) -> None:
    trial(case)
