"""One trial from end to end: a plain value in, a plain value out."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import BootError, GuestLost, HarnessError
from harness.guest.accel import choose
from harness.guest.boot import boot
from harness.guest.held import HOLD, hold
from harness.guest.seam import Guest
from harness.guest.vm import QemuGuest
from harness.kernel.built import BuiltKernel
from harness.progress import Progress
from harness.spec.case import TestCase
from harness.spec.machine import MachineSpec
from harness.splat.reader import read
from harness.splat.symbols import symbols_of
from harness.stop import Stop
from harness.trial import gcov
from harness.trial.atsplat import AtSplat, OnSplat
from harness.trial.evidence import Evidence
from harness.trial.facts import options_of
from harness.trial.judge import judge
from harness.trial.run import Settings, run
from harness.trial.verdict import Outcome, Reason, Verdict

_RIP = re.compile(r"RIP=([0-9a-f]{16})")
"""As QEMU's "info registers" prints it."""


@dataclass(frozen=True)
class Trial:
    """What to run.  ``binary`` is the compiled reproducer; ``accel`` is as in accel.choose().

    With ``coverage`` the kernel's line counters are kept in the trial's folder.
    ``hold`` is for how many seconds a guest stays that ``on_splat`` froze.
    ``kernel`` and ``machine`` are None for a machine that is booted already (``remote``).
    """

    case: TestCase
    binary: Path
    seconds: int
    kernel: BuiltKernel | None = None
    machine: MachineSpec | None = None
    accel: str = ""
    remote: str = ""
    append: tuple[str, ...] = ()
    coverage: bool = False
    on_splat: OnSplat = OnSplat.STOP
    hold: int = HOLD


@dataclass(frozen=True)
class TrialResult:
    """What was seen.  ``folder`` holds the raw console and what else was kept.

    ``boot_seconds`` is the time from QEMU's start to the guest being ready; ``command`` the
    exact QEMU line; ``wall_seconds`` is all that the trial took.

    ``dumped`` is the guest's memory at the splat, ``frozen`` the name of the guest that was
    left paused there, ``problem`` why there is none where it was wanted.
    """

    trial: Trial
    verdict: Verdict
    evidence: Evidence
    folder: Path
    started: float
    boot_seconds: float = 0.0
    command: tuple[str, ...] = ()
    dumped: Path | None = None
    frozen: str = ""
    problem: str = ""
    wall_seconds: float = 0.0


def perform(
    trial: Trial, folder: Path, progress: Progress, stop: Stop | None = None
) -> TrialResult:
    """Boot a fresh guest, run, judge, throw the guest away.

    Never raises for what the guest does; raises EnvironmentFault only for what the host
    lacks before there is anything to record.  A ``stop`` ends it soon, with a result that is
    of no use.
    """
    stop = stop or Stop()
    assert trial.kernel and trial.machine
    started, begin = time.time(), time.monotonic()
    title = f"{trial.case.name} on {trial.kernel.name}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        guest = boot(
            trial.kernel,
            trial.machine,
            run_dir=folder,
            accel=choose(progress, trial.accel),
            progress=progress,
            append=trial.append,
            stop=stop,
        )
    except (BootError, GuestLost) as error:
        console = folder / "console.log"
        splats = tuple(read(console.read_bytes())) if console.is_file() else ()
        reason = Reason("boot", _with_splat(str(error), [splat.title for splat in splats]))
        seen = Evidence(boot_splats=splats, harness_fault=str(error))
        return TrialResult(trial, Verdict(Outcome.ERROR, (reason,)), seen, folder, started)
    boot_seconds = time.monotonic() - begin
    at, frozen = AtSplat(guest, trial.on_splat, folder), ""
    try:
        with progress.stage(f"run {title} for {trial.seconds} s"), stop.calls(guest.end):
            settings = replace(_settings(trial), at_splat=at)
            evidence = run(guest, trial.case, trial.binary.read_bytes(), settings)
        command = guest.command
        if not at.frozen:
            guest.end()
        if evidence.coverage:
            (folder / gcov.FILE).write_bytes(evidence.coverage)
        evidence = with_places(evidence, trial.kernel)
        verdict = judge(trial.case, evidence)
        if at.frozen and not stop.is_set:
            frozen = _hold(guest, trial, verdict, at)
    finally:
        if not frozen:
            guest.end()
    return TrialResult(
        *(trial, verdict, evidence, folder, started, boot_seconds, command),
        dumped=at.dumped,
        frozen=frozen,
        problem=at.problem,
        wall_seconds=time.monotonic() - begin,
    )


def _hold(guest: QemuGuest, trial: Trial, verdict: Verdict, at: AtSplat) -> str:
    """Give the frozen guest to a keeper; its name, empty where that did not work."""
    assert trial.kernel and trial.machine
    try:
        return hold(guest, trial.kernel, trial.machine, verdict.reason, trial.hold).name
    except (HarnessError, OSError) as error:
        at.problem = f"not held: {error}"
        return ""


def perform_on(
    trial: Trial, folder: Path, progress: Progress, connect: Callable[[], Guest]
) -> TrialResult:
    """The same on a machine that is booted already; its console is kept in ``folder`` too."""
    started = time.time()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    guest = connect()
    try:
        with progress.stage(f"run {trial.case.name} on {trial.remote} for {trial.seconds} s"):
            evidence = run(guest, trial.case, trial.binary.read_bytes(), _settings(trial))
        (folder / "console.log").write_bytes(guest.console(0))
    finally:
        guest.end()
    return TrialResult(trial, judge(trial.case, evidence), evidence, folder, started)


def _settings(trial: Trial) -> Settings:
    """Options from the build's own config; a remote machine is asked for its config instead."""
    if trial.kernel is None:
        return Settings(trial.seconds)
    kernel = trial.kernel
    options = {name: kernel.option(name) for name in options_of(trial.case)}
    return Settings(trial.seconds, options, coverage=trial.coverage)


def with_places(evidence: Evidence, kernel: BuiltKernel) -> Evidence:
    """Addresses of every splat, and of where each CPU was at the end, to file:line."""
    if kernel.vmlinux is None:
        return evidence
    symbols = symbols_of(kernel.vmlinux)
    count = len(evidence.splats)
    places = symbols.symbolise_all([*evidence.splats, *evidence.boot_splats])
    names = symbols.name([int(rip, 16) for rip in _RIP.findall(evidence.postmortem)])
    return replace(
        evidence,
        splats=tuple(places[:count]),
        boot_splats=tuple(places[count:]),
        postmortem=_RIP.sub(
            lambda found: f"{found[0]} {names.get(int(found[1], 16), '')}".rstrip(),
            evidence.postmortem,
        ),
    )


def _with_splat(text: str, titles: list[str]) -> str:
    return f"{titles[0]} while booting: {text}" if titles else text
