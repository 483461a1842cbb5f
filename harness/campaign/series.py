"""Trials in a row: every case on every kernel, a number of times, kept as they end."""

from __future__ import annotations

import itertools
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import CompileError, HarnessError
from harness.kernel.build import build
from harness.kernel.built import BuiltKernel
from harness.progress import Progress
from harness.record.folder import RESULTS, RunFolder
from harness.spec.case import TestCase
from harness.spec.cases import load_cases
from harness.spec.kernel import KERNELS, KernelSpec, load_kernel
from harness.spec.machine import MACHINES, MachineSpec, load_machine
from harness.trial.compile import compile_reproducer
from harness.trial.evidence import Evidence
from harness.trial.trial import Trial, TrialResult, perform
from harness.trial.verdict import Outcome, Reason, Verdict


@dataclass(frozen=True)
class Series:
    """What to run.  ``seconds`` None: each case's own time; ``runs`` is the number of fresh guests
    for each case on each kernel, 0 for no limit; ``until_splat`` ends a case on a kernel at its
    first FAIL; ``budget`` are the seconds for each case on each kernel after which no new guest
    is started.
    """

    kernels: tuple[KernelSpec, ...]
    machine: MachineSpec
    cases: tuple[TestCase, ...]
    seconds: int | None = None
    runs: int = 1
    until_splat: bool = False
    budget: int | None = None
    accel: str = ""
    append: tuple[str, ...] = ()
    jobs: int = os.cpu_count() or 1


def series(
    kernels: Sequence[str], machine: str, cases: Sequence[TestCase], **settings: object
) -> Series:
    """Read the declarations by name.  Raises SpecError before anything long begins."""
    specs = tuple(load_kernel(name) for name in kernels)
    return Series(specs, load_machine(machine), tuple(cases), **settings)  # type: ignore[arg-type]


def run_series(
    plan: Series,
    command: Sequence[str],
    progress: Progress,
    *,
    results: Path = RESULTS,
    on_result: Callable[[TrialResult], None] = lambda result: None,
) -> tuple[Path, list[TrialResult]]:
    """Build, run and record; the run's folder and the results in order.

    Reproducers are compiled before anything else: a typing error should not wait for a kernel.
    A kernel that cannot be built ends in one ERROR for each of its cases, and the series goes
    on with the next kernel; the error is raised where it is the only kernel.
    """
    binaries = {
        case.name: compile_reproducer(case.reproducer, foreign=case.foreign) for case in plan.cases
    }
    folder = RunFolder(command, results)
    done: list[TrialResult] = []
    for spec in plan.kernels:
        try:
            kernel = build(spec, progress=progress, jobs=plan.jobs)
        except HarnessError as error:
            if len(plan.kernels) == 1:
                raise
            progress.say(f"{spec.name}: {error}")
            for case in plan.cases:
                result = _not_built(plan, case, binaries[case.name], spec, error, folder)
                done.append(result)
                on_result(result)
            continue
        for case in plan.cases:
            trial = _trial(plan, case, kernel, binaries[case.name])
            for result in _repeated(plan, trial, folder, progress):
                done.append(result)
                on_result(result)  # first: on a full disk the verdict is told, if not kept
                folder.add(result, repeat(plan, spec, case))
    return folder.path, done


def _trial(plan: Series, case: TestCase, kernel: BuiltKernel, binary: Path) -> Trial:
    return Trial(
        case=case,
        binary=binary,
        seconds=plan.seconds or case.seconds,
        kernel=kernel,
        machine=plan.machine,
        accel=plan.accel,
        append=plan.append,
    )


def _repeated(
    plan: Series, trial: Trial, folder: RunFolder, progress: Progress
) -> Iterator[TrialResult]:
    """One case on one kernel, in fresh guests, until runs, budget or the first splat end it."""
    assert trial.kernel
    title = f"{trial.case.name}--{trial.kernel.name}"
    end = math.inf if plan.budget is None else time.monotonic() + plan.budget
    for _ in range(plan.runs) if plan.runs else itertools.count():
        result = perform(trial, folder.trial_folder(title), progress)
        yield result
        failed = result.verdict.outcome is Outcome.FAIL
        if (plan.until_splat and failed) or time.monotonic() >= end:
            return
        if result.verdict.outcome in (Outcome.SKIP, Outcome.ERROR) and not plan.runs:
            return  # the next guest would lack the same


def _not_built(
    plan: Series,
    case: TestCase,
    binary: Path,
    spec: KernelSpec,
    error: HarnessError,
    folder: RunFolder,
) -> TrialResult:
    kind = "compile" if isinstance(error, CompileError) else "build"
    seconds = plan.seconds or case.seconds
    trial = Trial(case, binary, seconds, machine=plan.machine, remote=spec.name)
    verdict = Verdict(Outcome.ERROR, (Reason(kind, error.what),))
    path = folder.trial_folder(f"{case.name}--{spec.name}")
    path.mkdir(mode=0o700)
    result = TrialResult(trial, verdict, Evidence(harness_fault=error.what), path, time.time())
    folder.add(result, ["harness", "build", _by_name(KERNELS, spec.name, spec.file)])
    return result


def repeat(plan: Series, spec: KernelSpec, case: TestCase) -> list[str]:
    """The command that repeats one trial of ``plan``."""
    # A declared case with arguments of its own was run by "reproduce" as well.
    own = case.foreign or case not in load_cases()
    words = ["--", *case.args] if own and case.args else []
    return [
        "harness",
        *(["reproduce", str(case.reproducer)] if own else ["run", case.name]),
        *("--kernel", _by_name(KERNELS, spec.name, spec.file)),
        *("--machine", _by_name(MACHINES, plan.machine.name, plan.machine.file)),
        *("--time", str(plan.seconds or case.seconds)),
        *(("--accel", plan.accel) if plan.accel else ()),
        # With "=", for a value that begins with a dash would be taken for an option.
        *(f"--append={text}" for text in plan.append),
        *words,
    ]


def _by_name(folder: Path, name: str, file: Path) -> str:
    """What names a declaration from anywhere: its name where it is one of ours, else its path."""
    file = file.absolute()
    return name if file == folder / f"{name}.yaml" else str(file)


def expected(result: TrialResult, carries: Sequence[str]) -> bool:
    """Whether the verdict is the declared one: FAIL where the kernel carries a bug that the case
    is known to catch, PASS elsewhere; a distribution's image has no detectors, and can do no
    better than INCONCLUSIVE.
    """
    outcome = result.verdict.outcome
    if set(carries) & set(result.trial.case.catches):
        return outcome is Outcome.FAIL
    kernel = result.trial.kernel
    if kernel is not None and kernel.vmlinux is None:
        return outcome in (Outcome.PASS, Outcome.INCONCLUSIVE)
    return outcome is Outcome.PASS
