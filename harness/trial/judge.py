"""From evidence to verdict: a pure function, and the only place where a verdict is made.

The order of weight: an oracle that spoke (FAIL) outweighs everything, because a broken
kernel may well take the harness's link down with it; then faults of the harness (ERROR),
then what the guest lacks (SKIP), then what was not shown (INCONCLUSIVE).
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.guest.seam import LifeEvent
from harness.spec.case import TestCase
from harness.trial.evidence import Evidence
from harness.trial.pace import LATE
from harness.trial.snapshot import set_anew
from harness.trial.verdict import Outcome, Reason, Verdict

TAINTS = {
    4: "M: a machine check",
    5: "B: a bad page, or a KASAN report",
    7: "D: it died, by an Oops or a BUG",
    9: "W: it warned",
    14: "L: a soft lockup",
}
"""Bits of /proc/sys/kernel/tainted that a report sets (Documentation/admin-guide/
tainted-kernels.rst): where one is new, there was a report, whether it was read or not."""

_LAST_SIGNAL = 64
"""SIGRTMAX: a status beyond 192 is the reproducer's own, such as the 255 of exit(-1)."""
_SIGNALS = {4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL", 11: "SIGSEGV"}


def judge(case: TestCase, evidence: Evidence) -> Verdict:
    """The verdict, with every reason that speaks for it."""
    for outcome, find in (
        (Outcome.FAIL, _failures),
        (Outcome.ERROR, _errors),
        (Outcome.SKIP, _skips),
        (Outcome.INCONCLUSIVE, _doubts),
    ):
        reasons = tuple(find(case, evidence))
        if reasons:
            return Verdict(outcome, reasons)
    return Verdict(Outcome.PASS)


def _failures(case: TestCase, seen: Evidence) -> Iterator[Reason]:
    splats = [splat for splat in seen.splats if splat.is_bug]
    for splat in splats:
        place = f" ({splat.place})" if splat.place else ""
        because = f": {splat.assertion}" if splat.assertion else ""
        after = ", behind another of its task: may be what came of it"
        after = after if splat.follows >= 0 else ""
        yield Reason("splat", splat.title + place + because + after)
    # A panic for want of memory is no more the kernel's fault than the kills before it.
    starved = not splats and any(not splat.is_bug for splat in seen.splats)
    for life in seen.life:
        if life.event.kernel and not (starved and life.event is LifeEvent.PANICKED):
            detail = f": {life.detail}" if life.detail else ""
            yield Reason(life.event.name.lower(), life.event.value + detail)
    if seen.overdue and not splats and case.ours:
        yield Reason(
            "hang", f"the reproducer did not end: {seen.seconds:.0f} s after its start it still ran"
        )
    for oracle, text in seen.results.failures:
        yield Reason(oracle, text)
    if seen.before and seen.after and not splats:
        new = seen.after.tainted & ~seen.before.tainted
        for bit, meaning in TAINTS.items():
            if new >> bit & 1:
                yield Reason("taint", f"a report tainted the kernel, but none was read: {meaning}")
    for oracle, text in seen.faults:
        if oracle != "counters" or not _keeps(case, seen):
            yield Reason(oracle, text)
    if seen.splats or seen.overdue or any(life.event.kernel for life in seen.life):
        return  # the reproducer was ended from outside: its status and the counters say nothing
    if not case.foreign:
        yield from _signals(seen)
    if not _keeps(case, seen):
        yield from _drifts(case, seen)


def _keeps(case: TestCase, seen: Evidence) -> bool:
    """Whether pools that differ are no failure: somebody else's program may leave files, or may
    have set the pools itself and been ended before it could put them back.
    """
    if case.payload:
        return bool(case.payload.keeps) or not seen.results.ended
    return case.foreign


def _signals(seen: Evidence) -> Iterator[Reason]:
    number = (seen.status or 0) - 128
    if 0 < number <= _LAST_SIGNAL:
        name = _SIGNALS.get(number, f"signal {number}")
        yield Reason("signal", f"the reproducer was ended by {name}")


def _drifts(case: TestCase, seen: Evidence) -> Iterator[Reason]:
    drifts = seen.drift
    if case.payload and seen.before and seen.after:
        own_doing = set_anew(seen.before, seen.after)
        drifts = tuple(d for d in drifts if d.node < 0 or d.counter not in own_doing)
    for drift in drifts:
        yield Reason("counters", str(drift))
    # A page that the drift has named already is missed a second time when the pool shrinks.
    for leak in () if drifts else seen.leaks:
        yield Reason("leak", str(leak))


def _errors(case: TestCase, seen: Evidence) -> Iterator[Reason]:
    if seen.harness_fault:
        yield Reason("harness", seen.harness_fault)
    for life in seen.life:
        if not life.event.kernel:
            detail = f": {life.detail}" if life.detail else ""
            yield Reason(life.event.name.lower(), life.event.value + detail)
    if seen.harness_fault or case.foreign or seen.missing or seen.results.skip:
        return
    if seen.status == 127 or seen.status == 126:
        said = seen.err.decode("utf-8", "backslashreplace").strip()[-200:]
        yield Reason("harness", f"the reproducer could not be started: {said}")


def _skips(case: TestCase, seen: Evidence) -> Iterator[Reason]:
    for text in seen.missing:
        yield Reason("needs", text)
    if seen.results.skip:
        yield Reason("needs", seen.results.skip)


def _doubts(case: TestCase, seen: Evidence) -> Iterator[Reason]:
    for splat in seen.splats:  # no bugs, or it had failed: the guest was too small
        yield Reason("memory", f"the guest ran out of memory: {splat.title}")
    for text in seen.results.broken:
        yield Reason("reproducer", f"the test itself is broken: {text}")
    if case.payload:
        if seen.overdue:
            yield Reason("reproducer", f"it was ended after its {seen.seconds:.0f} s")
        elif not seen.results.ended and not seen.results.broken:
            yield Reason("reproducer", f"exit status {seen.status}, and no result told")
    elif case.ours:
        if not seen.results.ended:
            status = "" if seen.status is None else f" (exit status {seen.status})"
            yield Reason("reproducer", "the reproducer did not come to its own end" + status)
        elif seen.status:
            yield Reason("reproducer", f"exit status {seen.status} without a failure told")
        if seen.results.rubbish:
            yield Reason("reproducer", f"{seen.results.rubbish} result lines make no sense")
    if not all(seen.markers):
        yield Reason("armed", "a marker written to /dev/kmsg did not come out on the console")
    for arming in seen.arming:
        name = arming.detector.name
        if not arming.present:
            yield Reason(
                "armed",
                f"this kernel has no {name} ({arming.detector.value}): "
                "what it would report goes unseen",
            )
        elif arming.before:
            yield Reason("armed", f"{name} was off before the run: {arming.before}")
        elif arming.after:
            yield Reason("armed", f"{name} went off during the run: {arming.after}")
    late = max((ms for _, ms in seen.pace.counters.get(LATE, ())), default=0)
    longer = f", though it went on for {late / 1000:.0f} s more" if late else ""
    for count in seen.exercised:
        if count.asked and not count.enough:
            reached = "nobody counted" if count.reached is None else f"only {count.reached}"
            text = f"{count.counter} ({count.source}): {reached} of {count.least} needed{longer}"
            yield Reason("exercised", text)
    if case.foreign:
        # It never promised to live, as a fuzzer's program often does not, nor to give its pages
        # back: it may leave files, or set the pools itself.
        if not seen.overdue:
            yield from _signals(seen)
            yield from _drifts(case, seen)
        yield Reason(
            "exercised", "nothing says whether the path was taken: no counts with this reproducer"
        )
