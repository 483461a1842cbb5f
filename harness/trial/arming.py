"""Whether the detectors were on: a detector that is off makes every test pass."""

from __future__ import annotations

from collections.abc import Sequence

from harness.spec.case import Detector, TestCase
from harness.splat.report import Splat
from harness.trial.evidence import Arming
from harness.trial.facts import Facts
from harness.trial.snapshot import Snapshot

TAINT_BAD_PAGE = 1 << 5
"""Set by each KASAN report too: end_report() in mm/kasan/report.c."""


def arming(
    case: TestCase,
    facts: Facts,
    before: Snapshot,
    after: Snapshot | None,
    boot_splats: Sequence[Splat],
    splats: Sequence[Splat],
    *,
    filtered: bool,
) -> tuple[Arming, ...]:
    """The state of each detector that ``case`` asks for.

    ``filtered`` tells that kernel text comes by a console, which obeys the loglevel; what
    comes by /dev/kmsg does not.
    """
    quiet_before = _quiet(before) if filtered else ""
    quiet_after = _quiet(after) if filtered and after else ""
    return tuple(
        Arming(
            detector,
            facts.has(detector),
            quiet_before or _off(detector, facts, before, boot_splats),
            quiet_after or _off(detector, facts, after, [*boot_splats, *splats])
            if after
            else "not read again",
        )
        for detector in case.detectors
    )


def _quiet(snapshot: Snapshot) -> str:
    """Why the console swallows what a detector prints; empty while it does not."""
    if snapshot.console_loglevel < 7 and not snapshot.ignore_loglevel:
        return f"the console is silenced (loglevel {snapshot.console_loglevel})"
    return ""


def _off(detector: Detector, facts: Facts, snapshot: Snapshot, reports: Sequence[Splat]) -> str:
    """Why ``detector`` is off; empty while it is on."""
    if detector is Detector.LOCKDEP and snapshot.debug_locks is not True:
        return "debug_locks is 0: lockdep gives up after its first report"
    if detector is Detector.LOCKDEP and snapshot.prove_locking is False:
        return "prove_locking is 0: a sysctl or a parameter has switched it off"
    if detector is Detector.KASAN and "kasan_multi_shot" not in facts.cmdline:
        if any(splat.family == "KASAN" for splat in reports):
            return "it has reported already, and reports once a boot without kasan_multi_shot"
        # On a machine that runs for long the report may have left the ring buffer.
        if snapshot.tainted & TAINT_BAD_PAGE:
            return "the kernel is tainted B, by a bad page or by its one report"
    if detector is Detector.HUNG_TASK and snapshot.hung_task_warnings == 0:
        return "hung_task_warnings is 0: no more hung tasks are reported"
    return ""
