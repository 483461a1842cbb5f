"""Who waits for a huge page is killed; no lock, no reference and no page goes with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, Source, TestCase

KILLED_WAITER = TestCase(
    name="killed_waiter",
    reproducer=Path(__file__).with_name("killed_waiter.c"),
    paths=(
        "handle_userfault",
        "hugetlb_no_page",
        "follow_hugetlb_page",
        "migration_entry_wait_huge",
        "put_and_wait_on_page_locked",
        "process_vm_rw",
    ),
    scenarios=("S08", "S24", "S28"),
    seconds=4,
    quick=1,
    needs=Needs(nodes=2, cpus=2, free_2m=4, options=("CONFIG_USERFAULTFD",)),
    exercised=(
        AtLeast("killed", 2),
        AtLeast("interrupted", 2),
        AtLeast("looked", 2),
        AtLeast("killed_moving", 2),
        AtLeast("moved", 2),
        AtLeast("pgmigrate_success", 2, Source.VMSTAT),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
)


def test_killed_waiter(trial: Callable[[TestCase], None]) -> None:
    trial(KILLED_WAITER)
