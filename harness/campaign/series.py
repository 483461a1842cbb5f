"""Trials in a row: every case on every kernel, a number of times, kept as they end."""

from __future__ import annotations

import contextlib
import gc
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from pathlib import Path

from harness.campaign.engine import Engine, local
from harness.campaign.resume import Resumed
from harness.errors import CompileError, HarnessError
from harness.guest.held import HOLD
from harness.kernel.build import build
from harness.kernel.built import BuiltKernel
from harness.progress import Progress
from harness.record.folder import RESULTS, RunFolder, check_place
from harness.spec.case import TestCase
from harness.spec.cases import load_cases
from harness.spec.kernel import KERNELS, KernelSpec, load_kernel
from harness.spec.machine import MACHINES, USUAL_MACHINE, MachineSpec, load_machine
from harness.trial.atsplat import OnSplat
from harness.trial.compile import binary_of, identity
from harness.trial.evidence import Evidence
from harness.trial.lean import Kept
from harness.trial.trial import Trial, TrialResult
from harness.trial.verdict import Outcome, Reason, Verdict


@dataclass(frozen=True)
class Series:
    """What to run.  ``seconds`` None: each case's own time; ``runs`` is the number of fresh guests
    for each case on each kernel, 0 for no limit; ``until_splat`` ends a case on a kernel at its
    first FAIL; ``budget`` are the seconds for each case on each kernel after which no new guest
    is started.  ``guests`` is how many run at a time, None what engine.local() finds right.
    With ``coverage`` each trial keeps the kernel's line counters.
    ``on_splat`` and ``hold`` are a trial's; the first guest that was frozen is the only one.
    A case runs on the machine that it names itself, unless ``machine_asked``: then all run on
    ``machine``.
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
    guests: int | None = None
    machine_asked: bool = False
    coverage: bool = False
    on_splat: OnSplat = OnSplat.STOP
    hold: int = HOLD

    def machine_of(self, case: TestCase) -> MachineSpec:
        return (
            load_machine(case.machine) if case.machine and not self.machine_asked else self.machine
        )

    def seconds_of(self, case: TestCase) -> int:
        return self.seconds or case.seconds


def series(
    kernels: Sequence[str], machine: str, cases: Sequence[TestCase], **settings: object
) -> Series:
    """Read the declarations by name; no ``machine``: each case's own, or else the usual one.

    Raises SpecError before anything long begins.
    """
    specs = tuple(load_kernel(name) for name in kernels)
    plan = Series(
        *(specs, load_machine(machine or USUAL_MACHINE), tuple(cases)),
        machine_asked=bool(machine),
        **settings,  # type: ignore[arg-type]
    )
    for case in cases:
        plan.machine_of(case)
    return plan


def run_series(
    plan: Series,
    command: Sequence[str],
    progress: Progress,
    *,
    results: Path = RESULTS,
    on_result: Callable[[TrialResult], None] = lambda result: None,
    engine: Engine | None = None,
    enough: Callable[[TrialResult], bool] = lambda result: False,
    resumed: Resumed | None = None,
) -> tuple[Path, Kept]:
    """Build, run and record; the run's folder and the results, as they came, without what stands
    on disk (trial/lean.py).  ``on_result`` gets each of them whole.

    Nothing more is begun once ``enough`` says so of a result.  ``resumed`` is a run to go on with:
    its trials count, and its kernels must be those that are built now.

    Reproducers are compiled before anything else: a typing error should not wait for a kernel.
    A kernel that cannot be built ends in one ERROR for each of its cases, and the series goes
    on with the next kernel; the error is raised where it is the only kernel.
    """
    if not resumed:
        check_place(results)
    binaries = {case.name: binary_of(case) for case in plan.cases}
    if resumed:
        for case in plan.cases:
            resumed.check_reproducer(case.name, identity(case, binaries[case.name]).id)
    folder = resumed.folder if resumed else RunFolder(command, results)
    done = Kept()
    over = False
    _look_no_more_at_what_is_there()
    largest = max(map(plan.machine_of, plan.cases), key=lambda m: m.cpus, default=plan.machine)
    with contextlib.closing(folder), engine or local(plan.guests, largest, progress) as engine:
        for spec in plan.kernels:
            try:
                kernel = build(spec, progress=progress, jobs=plan.jobs)
                if resumed:
                    resumed.check(kernel)
            except HarnessError as error:
                if len(plan.kernels) == 1 or resumed:
                    raise
                progress.say(f"{spec.name}: {error}")
                for case in plan.cases:
                    result = _not_built(plan, case, binaries[case.name], spec, error, folder)
                    done.append(result)
                    on_result(result)
                continue
            rows = [
                _Row(plan, _trial(plan, case, kernel, binaries[case.name])) for case in plan.cases
            ]
            if resumed:
                for row in rows:
                    row.begun = resumed.runs_of(row.trial.case.name, kernel.name)
            for row, result in _all_of(rows, engine, folder):
                done.append(result)
                if result.frozen:  # each one takes the memory of a guest, and one is looked into
                    plan = replace(plan, on_splat=OnSplat.STOP)
                    for each in rows:
                        each.trial = replace(each.trial, on_splat=OnSplat.STOP)
                on_result(result)  # first: on a full disk the verdict is told, if not kept
                folder.add(result, repeat(plan, spec, row.trial.case))
                gc.collect()
                if enough(result):
                    over = True
                    for each in rows:
                        each.over = True
            if over:
                break
    return folder.path, done


def _look_no_more_at_what_is_there() -> None:
    """What a trial leaves in cycles, connections most of all, waits for a collection, and that for
    a quarter as much as all that the collector knows of: forty trials.  Without what was there
    before the first one a collection takes milliseconds, and there is one after each trial.
    """
    if not gc.get_freeze_count():
        gc.collect()
        gc.freeze()


def _trial(plan: Series, case: TestCase, kernel: BuiltKernel, binary: Path) -> Trial:
    return Trial(
        case=case,
        binary=binary,
        seconds=plan.seconds_of(case),
        kernel=kernel,
        machine=plan.machine_of(case),
        accel=plan.accel,
        append=plan.append,
        coverage=plan.coverage,
        on_splat=plan.on_splat,
        hold=plan.hold,
    )


@dataclass
class _Row:
    """One case on one kernel, in fresh guests, until runs, budget or the first splat end it."""

    plan: Series
    trial: Trial
    begun: int = 0
    over: bool = False
    started: float = 0.0

    def wants_more(self) -> bool:
        plan = self.plan
        if self.over or (plan.runs and self.begun >= plan.runs):
            return False
        budget = math.inf if plan.budget is None else plan.budget
        return not self.started or time.monotonic() - self.started < budget

    def take(self, result: TrialResult) -> None:
        outcome = result.verdict.outcome
        if self.plan.until_splat and outcome is Outcome.FAIL:
            self.over = True
        if outcome in (Outcome.SKIP, Outcome.ERROR) and not self.plan.runs:
            self.over = True  # the next guest would lack the same


def _all_of(
    rows: Sequence[_Row], engine: Engine, folder: RunFolder
) -> Iterator[tuple[_Row, TrialResult]]:
    """The trials of ``rows``, in their order, as many at a time as the engine runs.

    What is under way when a row is over, or when one cannot be run, still counts.
    """
    under_way: dict[Future[TrialResult], _Row] = {}
    fault: BaseException | None = None
    while True:
        while len(under_way) < engine.width and not fault:
            row = next((row for row in rows if row.wants_more()), None)
            if row is None:
                break
            row.started = row.started or time.monotonic()
            row.begun += 1
            kernel = row.trial.kernel
            assert kernel
            path = folder.trial_folder(f"{row.trial.case.name}--{kernel.name}")
            under_way[engine.submit(row.trial, path)] = row
        if not under_way:
            break
        for future in wait(under_way, return_when=FIRST_COMPLETED).done:
            row = under_way.pop(future)
            if error := future.exception():
                fault = fault or error
                continue
            row.take(future.result())
            yield row, future.result()
    if fault:
        raise fault


def _not_built(
    plan: Series,
    case: TestCase,
    binary: Path,
    spec: KernelSpec,
    error: HarnessError,
    folder: RunFolder,
) -> TrialResult:
    kind = "compile" if isinstance(error, CompileError) else "build"
    seconds, machine = plan.seconds_of(case), plan.machine_of(case)
    trial = Trial(case, binary, seconds, machine=machine, remote=spec.name)
    verdict = Verdict(Outcome.ERROR, (Reason(kind, error.what),))
    path = folder.trial_folder(f"{case.name}--{spec.name}")
    path.mkdir(mode=0o700)
    result = TrialResult(trial, verdict, Evidence(harness_fault=error.what), path, time.time())
    folder.add(result, ["harness", "build", _by_name(KERNELS, spec.name, spec.file)])
    return result


def repeat(plan: Series, spec: KernelSpec, case: TestCase) -> list[str]:
    """The command that repeats one trial of ``plan``."""
    # A declared case with arguments of its own was run by "reproduce" as well.
    declared = {(known.name, known.args) for known in load_cases()}
    own = case.foreign or (case.name, case.args) not in declared
    words = ["--", *case.args] if own and case.args else []
    machine = plan.machine_of(case)
    named = ["reproduce", str(case.reproducer)] if own else ["run", case.name]
    if case.payload:
        test, tree = case.name.removeprefix(f"{case.payload.suite}."), case.payload.tree
        named, words = ["payload", case.payload.suite, test], []
        named += ["--from", str(Path(tree).absolute())] if tree else []
    return [
        "harness",
        *named,
        *("--kernel", _by_name(KERNELS, spec.name, spec.file)),
        *("--machine", _by_name(MACHINES, machine.name, machine.file)),
        *("--time", str(plan.seconds_of(case))),
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
    kernel = result.trial.kernel
    stock = kernel is not None and kernel.vmlinux is None
    return as_declared(result.verdict.outcome, result.trial.case, carries, stock=stock)


def as_declared(
    outcome: Outcome, case: TestCase, carries: Sequence[str], *, stock: bool = False
) -> bool:
    if set(carries) & set(case.catches):
        return outcome is Outcome.FAIL
    return outcome is Outcome.PASS or (stock and outcome is Outcome.INCONCLUSIVE)
