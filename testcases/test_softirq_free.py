"""The last reference to a huge page is a socket's, and is dropped in a softirq."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, TestCase

SOFTIRQ_FREE = TestCase(
    name="softirq_free",
    reproducer=Path(__file__).with_name("softirq_free.c"),
    paths=(
        "free_huge_page",
        "free_hpage_workfn",
        "hugepage_subpool_put_pages",
        "unlock_or_release_subpool",
        "update_and_free_page",
        "free_huge_folio",
    ),
    scenarios=("S21", "S23"),
    seconds=3,
    needs=Needs(free_2m=4, options=("CONFIG_INET",)),
    exercised=(
        AtLeast("dropped", 6),
        AtLeast("received", 5),
        AtLeast("umounted", 4),
        AtLeast("surplus", 1),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
    quick=1,
)


def test_softirq_free(trial: Callable[[TestCase], None]) -> None:
    trial(SOFTIRQ_FREE)
