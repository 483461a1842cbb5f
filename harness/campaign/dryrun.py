"""What a series would do, as lines that a person can paste: make, gcc, qemu, ssh."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from harness.campaign.series import Series
from harness.guest.accel import choose
from harness.guest.qemu import Launch, command, pasteable
from harness.kernel.build import find
from harness.kernel.build import plan as build_plan
from harness.progress import Progress
from harness.spec.case import TestCase
from harness.spec.kernel import KernelSpec
from harness.spec.machine import MachineSpec
from harness.trial import launch
from harness.trial.compile import FLAGS, LIBRARY

RUN = Path("$RUN")
"""Stands for the trial's folder, which a dry run does not make.  A guest gets its keys over a
serial port once it runs, and the client's key is never written; "harness boot" keeps one."""


def describe(series: Series) -> Iterator[str]:
    for spec in series.kernels:
        yield f"# {spec.name}: {spec.about}"
        yield from build_plan(spec)
    for case in series.cases:
        yield f"# {case.name}"
        yield _compile(case)
    machines = {machine.name: machine for machine in map(series.machine_of, series.cases)}
    for machine in machines.values():
        yield f"# {machine.name}: {machine.about}"
        for spec in series.kernels:
            yield _qemu(series, spec, machine)
    for case in series.cases:
        words = ["-t", str(series.seconds_of(case))] if case.ours else []
        remote = shlex.join([f"/tmp/{case.name}", *words, *case.args])
        if case.payload:
            remote = launch.command(case.payload, series.seconds_of(case))
        yield f"ssh -i $RUN/key -p $PORT root@127.0.0.1 {shlex.quote(remote)}"


def _compile(case: TestCase) -> str:
    if case.payload:
        return f"# as it was built: {case.reproducer}"
    library = sorted(map(str, LIBRARY.glob("*.c")))
    return shlex.join(["gcc", *FLAGS, str(case.reproducer), *library, "-o", case.name])


def _qemu(series: Series, spec: KernelSpec, machine: MachineSpec) -> str:
    built = find(spec)
    launch = Launch(
        image=built.image if built else Path("bzImage"),
        release=built.release if built else "",
        initrd=RUN / "initrd",
        machine=machine,
        accel=choose(Progress(), series.accel),
        console=RUN / "console.log",
        pulse=RUN / "pulse.log",
        qmp=3,
        agent=4,
        append=series.append,
    )
    return " ".join(
        word if word.startswith("$RUN") or "=$RUN" in word else shlex.quote(word)
        for word in pasteable(command(launch))
    )
