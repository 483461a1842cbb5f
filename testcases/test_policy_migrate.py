"""Who may move which huge pages, and what the policy calls answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.spec.case import AtLeast, Detector, Needs, Source, TestCase

POLICY_MIGRATE = TestCase(
    name="policy_migrate",
    reproducer=Path(__file__).with_name("policy_migrate.c"),
    paths=(
        "do_mbind",
        "do_migrate_pages",
        "queue_pages_hugetlb",
        "cpuset_migrate_mm_workfn",
    ),
    scenarios=("S05",),
    seconds=3,
    needs=Needs(nodes=2, free_2m=4, options=("CONFIG_CPUSETS",)),
    exercised=(
        AtLeast("moved", 12),
        AtLeast("refused", 2),
        AtLeast("by_cpuset", 2),
        AtLeast("behind_table", 1),
        AtLeast("bound", 8),
        AtLeast("surplus", 1),
        AtLeast("same_user", 2),
        AtLeast("pgmigrate_success", 8, Source.VMSTAT),
    ),
    detectors=(Detector.KASAN, Detector.LOCKDEP),
    quick=1,
)


def test_policy_migrate(trial: Callable[[TestCase], None]) -> None:
    trial(POLICY_MIGRATE)
