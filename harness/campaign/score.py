"""What a suite is worth: which bugs, brought back one at a time, it catches within a budget.

The budget of a bug is the sum of the wall time of its trials, starts of guests included, however
many run at a time; the template that guests are copies of is made before, as the kernel is.  Each
case is run briefly first, then in rounds that get longer.  The control, which is the base without
any bug, is run under the same budget: what fails there is a false alarm.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from pathlib import Path

from harness.campaign.engine import Engine
from harness.campaign.relevance import order
from harness.errors import UsageError
from harness.kernel.built import BuiltKernel
from harness.spec.case import TestCase
from harness.spec.machine import MachineSpec
from harness.trial.evidence import Exercised
from harness.trial.trial import Trial, TrialResult
from harness.trial.verdict import Outcome

BRIEF = 4
"""Seconds of a case's first run where its declaration gives no share of the quick suite."""

_LONGEST = 1 << 20
"""Seconds that a trial is given where no budget ends it; each has less by its own schedule."""

AGAIN = 4
"""Cases after which one that ran already, and fits the patch best, has its own time: a race that it
loses once is likelier to show there than in the case that fits twentieth."""

ROUNDS = 6
"""After the brief one: each case for its own time, then twice that, and so on."""

_ORACLES = {
    "splat": "O1",
    "taint": "O1",
    "panicked": "O1",
    "reset": "O1",
    "shutdown": "O1",
    "kmemleak": "O1",
    "signal": "O2",
    "data": "O3",
    "counters": "O4",
    "leak": "O4",
    "hang": "O5",
    "pulse_lost": "O5",
    "errno": "O6",
    "test": "O6",
    "instrumentation": "O7",
}
_HANGS = ("hung", "lockup", "stall")
_CERTAIN = ("splat", "instrumentation")


@dataclass(frozen=True)
class Attempt:
    """One trial of one case.  ``cost`` is its wall time in seconds, boot included; ``at`` is how
    much of the budget was spent when it splatted or told of a failure, or else when its reproducer
    ended; ``oracle`` is O1 to O7 for a FAIL, else empty.  ``on_control`` tells that the case fails
    on the control too, so that its failing tells of no bug.  ``certain`` tells that the kernel
    itself named what is wrong, which no slow host and no careless case can bring about.
    """

    case: str
    scenarios: tuple[str, ...]
    seconds: int
    outcome: Outcome
    reason: str
    oracle: str
    cost: float
    at: float
    exercised: tuple[Exercised, ...]
    folder: str
    on_control: bool = False
    certain: bool = False


def certain(result: TrialResult) -> bool:
    """Whether a FAIL needs no second look: a report of the kernel, other than of a hang, or of a
    patch that watches it.  Of all else the case says it, and may be wrong once in many runs.
    """
    reason = result.verdict.reasons[0]
    return reason.oracle in _CERTAIN and oracle_of(result) != "O5"


def oracle_of(result: TrialResult) -> str:
    """Which oracle spoke first in a FAIL: O1 to O7 of the list in the README."""
    reason = result.verdict.reasons[0]
    if reason.oracle == "splat" and any(word in reason.text.lower() for word in _HANGS):
        return "O5"
    return _ORACLES.get(reason.oracle, "O1")


def schedule(cases: Sequence[TestCase], rounds: int = ROUNDS) -> Iterator[tuple[TestCase, int]]:
    """Cases with their seconds: brief runs of all first, and after every fourth of them one more
    of those that fit best, the first, the second, the first, the third, the first, and so on; then
    longer and longer ones."""
    for number, case in enumerate(cases, 1):
        yield case, case.quick or min(BRIEF, case.seconds)
        if rounds and number % AGAIN == 0:
            go = number // AGAIN
            again = cases[0 if go % 2 else go // 2]
            yield again, again.seconds
    for turn in range(rounds):
        for case in cases:
            yield case, case.seconds << turn


def attempts(
    kernel: BuiltKernel,
    cases: Sequence[TestCase],
    budget: float,
    *,
    engine: Engine,
    binary_of: Callable[[TestCase], Path],
    machine_of: Callable[[TestCase], MachineSpec],
    folder_of: Callable[[str], Path],
    keep: Callable[[TrialResult], None],
    to_the_end: bool = False,
    accel: str = "",
    rounds: int = ROUNDS,
    on_control: Callable[[Attempt], bool] = lambda attempt: False,
) -> list[Attempt]:
    """Trials until one is a FAIL or the budget is spent, which is seconds of the clock on the wall,
    however many guests share them; with ``to_the_end`` a FAIL ends nothing, and each case is run
    once whatever it costs: of a case that never ran nobody can say that it raises no false alarm.

    No other trial is begun that the rest of the budget has no second for; the last one is cut
    short by what is left.  A case that is skipped is not tried again, nor one that ``on_control``
    knows to fail without the bug; what that takes to find out is nobody's budget, and it is asked
    of the FAIL that would be the bug's catch alone.
    """
    done: list[Attempt] = []
    # What is not compiled yet is nobody's budget.
    binaries = {case.name: binary_of(case) for case in cases}
    begun, paused = time.monotonic(), 0.0

    def spent() -> float:
        return time.monotonic() - begun - paused

    over = False
    dropped: set[str] = set()
    under_way: dict[Future[TrialResult], float] = {}
    turns = schedule(cases, rounds)
    owed = {case.name for case in cases} if to_the_end else set()
    while True:
        while len(under_way) < engine.width and not over:
            left = int(min(budget - spent(), _LONGEST))
            wanted = (t for t in turns if t[0].name not in dropped)
            turn = next((t for t in wanted if left >= 1 or t[0].name in owed), None)
            if turn is None:
                over = True
                break
            case, seconds = turn[0], turn[1] if owed else min(turn[1], left)
            owed.discard(case.name)
            # Nor is a machine that has to be booted once.
            asked = time.monotonic()
            machine = machine_of(case)
            paused += time.monotonic() - asked
            trial = Trial(
                *(case, binaries[case.name], seconds),
                *(kernel, machine, accel),
            )
            path = folder_of(f"{case.name}--{kernel.name}")
            began = spent()
            under_way[engine.submit(trial, path)] = began
        if not under_way:
            return done
        for future in wait(under_way, return_when=FIRST_COMPLETED).done:
            began = under_way.pop(future)
            result = future.result()
            keep(result)
            # Not until now: what had ended while the control was asked waited for us.
            attempt = _attempt(result, result.wall_seconds or spent() - began, began)
            failed = attempt.outcome is Outcome.FAIL
            if failed and not to_the_end and attempt.at <= budget and not over:
                asked = time.monotonic()
                attempt = replace(attempt, on_control=on_control(attempt))
                paused += time.monotonic() - asked
            done.append(attempt)
            if attempt.outcome is Outcome.SKIP or attempt.on_control:
                dropped.add(attempt.case)
            over = over or (failed and not to_the_end and not attempt.on_control)


def _attempt(result: TrialResult, cost: float, began: float) -> Attempt:
    case, verdict, seen = result.trial.case, result.verdict, result.evidence
    seconds = [t for t in (seen.first_splat, seen.first_failure) if t is not None]
    at = began + min(cost, result.boot_seconds + min(seconds, default=seen.seconds))
    failed = verdict.outcome is Outcome.FAIL
    return Attempt(
        *(case.name, case.scenarios, result.trial.seconds, verdict.outcome, verdict.reason),
        *(oracle_of(result) if failed else "", round(cost, 1), round(at, 1)),
        *(result.evidence.exercised, f"{result.folder.parent.name}/{result.folder.name}"),
        certain=failed and certain(result),
    )


def caught_by(done: Sequence[Attempt], budget: float) -> Attempt | None:
    """The first FAIL within the budget; a trial that began in it may end beyond."""
    failed = (a for a in done if a.outcome is Outcome.FAIL and not a.on_control)
    return next((attempt for attempt in failed if attempt.at <= budget), None)


def nearest(done: Sequence[Attempt], patch: Path, cases: Sequence[TestCase]) -> Attempt | None:
    """Of a bug that nobody caught: the attempt of the case that its diff is closest to."""
    for case in order(patch, cases):
        tried = [attempt for attempt in done if attempt.case == case.name]
        if tried:
            return max(tried, key=lambda attempt: attempt.seconds)
    return None


def find_patches(folder: Path) -> list[Path]:
    """The patches of ``folder``, or the one that it is itself, by name.  Raises UsageError."""
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder of patches")
    found = sorted(p for ending in ("*.patch", "*.diff", "*.mbox") for p in folder.glob(ending))
    if not found:
        raise UsageError(f"{folder}: no patch in it", hint="expected *.patch, *.diff or *.mbox")
    stems = [patch.stem for patch in found]
    for stem in stems:
        if stems.count(stem) > 1:
            raise UsageError(f"{folder}: two patches are called {stem}")
    return found
