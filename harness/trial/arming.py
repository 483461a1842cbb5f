"""Whether the detectors were on: a detector that is off makes every test pass."""

from __future__ import annotations

from collections.abc import Sequence

from harness.spec.case import Detector, TestCase
from harness.splat.report import Splat
from harness.trial.evidence import Arming
from harness.trial.facts import Facts
from harness.trial.snapshot import Snapshot


def arming(
    case: TestCase,
    facts: Facts,
    before: Snapshot,
    after: Snapshot | None,
    boot_splats: Sequence[Splat],
    splats: Sequence[Splat],
) -> tuple[Arming, ...]:
    """The state of each detector that ``case`` asks for."""
    return tuple(
        Arming(
            detector,
            facts.has(detector),
            _off(detector, facts, before, boot_splats),
            _off(detector, facts, after, [*boot_splats, *splats]) if after else "not read again",
        )
        for detector in case.detectors
    )


def _off(detector: Detector, facts: Facts, snapshot: Snapshot, reports: Sequence[Splat]) -> str:
    """Why ``detector`` is off; empty while it is on."""
    if 0 < snapshot.console_loglevel < 7:
        return f"the console is silenced (loglevel {snapshot.console_loglevel})"
    if detector is Detector.LOCKDEP and snapshot.debug_locks is not True:
        return "debug_locks is 0: lockdep gives up after its first report"
    if (
        detector is Detector.KASAN
        and "kasan_multi_shot" not in facts.cmdline
        and any(splat.family == "KASAN" for splat in reports)
    ):
        return "it has reported already, and reports once a boot without kasan_multi_shot"
    if detector is Detector.HUNG_TASK and snapshot.hung_task_warnings == 0:
        return "hung_task_warnings is 0: no more hung tasks are reported"
    return ""
