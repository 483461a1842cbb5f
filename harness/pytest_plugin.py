"""The door for pytest: ``pytest testcases/ --kernel NAME --machine NAME`` or ``--ssh user@host``.

Boots one fresh guest for each test.  A verdict that is not PASS is a failure with the
verdict's reason, SKIP is a skip; JUnit XML carries verdict, reason and the run's folder.
Holds no logic.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.campaign.series import Series, repeat
from harness.commands.options import DEFAULT_KERNEL, positive
from harness.errors import HarnessError, UsageError
from harness.guest.remote import connect, parse_target
from harness.kernel.build import build
from harness.kernel.built import BuiltKernel
from harness.progress import PlainProgress, Progress
from harness.record.folder import RESULTS, RunFolder
from harness.record.table import at_splat_lines, evidence_lines
from harness.spec.case import TestCase
from harness.spec.kernel import load_kernel
from harness.spec.machine import USUAL_MACHINE, load_machine
from harness.trial.atsplat import OnSplat
from harness.trial.compile import compile_reproducer
from harness.trial.trial import Trial, TrialResult, perform, perform_on
from harness.trial.verdict import Outcome

_FOLDER = pytest.StashKey[RunFolder]()
_FROZE = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("hugetlb harness")
    group.addoption(
        "--kernel",
        action="append",
        default=[],
        help=f"a kernel of guests/kernels/; may be given again (default {DEFAULT_KERNEL})",
    )
    group.addoption("--machine", default="", help="a machine of qemu/ (default: each case's own)")
    group.addoption("--ssh", default="", metavar="USER@HOST[:PORT]", help="a booted machine")
    group.addoption("--ssh-key", type=Path, help="private key for --ssh")
    group.addoption("--ssh-known-hosts", type=Path, help="known_hosts file for --ssh")
    group.addoption("--trial-time", type=positive, help="seconds; default: each case's own")
    group.addoption("--accel", choices=("auto", "kvm", "tcg"), default="")
    group.addoption(
        "--on-splat",
        type=OnSplat,
        choices=tuple(OnSplat),
        default=OnSplat.STOP,
        help="stop, freeze or dump the guest where its kernel reports",
    )
    group.addoption("--results", type=Path, default=RESULTS, help="where the run's folder goes")


def pytest_configure(config: pytest.Config) -> None:
    """What was mistyped is told before anything is collected; later it comes as a traceback."""
    option = config.option
    if option.ssh and option.kernel:
        raise pytest.UsageError("--ssh and --kernel exclude each other")
    try:
        if option.ssh:
            parse_target(option.ssh)
        for name in option.kernel:
            load_kernel(name)
        load_machine(option.machine or USUAL_MACHINE)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "trial" not in metafunc.fixturenames:
        return
    config = metafunc.config
    names = [config.option.ssh] if config.option.ssh else config.option.kernel or [DEFAULT_KERNEL]
    metafunc.parametrize("harness_target", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def harness_target(request: pytest.FixtureRequest) -> Callable[[TestCase], TrialResult]:
    """Runs a case on the kernel or the machine that this parameter names."""
    option = request.config.option
    progress = _Terminal(request.config)
    try:
        if option.ssh:
            return functools.partial(_on_remote, request.config, progress)
        spec = load_kernel(request.param)
        machine = load_machine(option.machine or USUAL_MACHINE)
        plan = Series(
            *((spec,), machine, ()),
            seconds=option.trial_time,
            accel=option.accel,
            machine_asked=bool(option.machine),
            on_splat=option.on_splat,
        )
        kernel = build(spec, progress=progress)
        return functools.partial(_on_guest, request.config, progress, plan, kernel)
    except HarnessError as error:
        fault = str(error)
    pytest.fail(fault, pytrace=False)


@pytest.fixture
def trial(
    harness_target: Callable[[TestCase], TrialResult],
    record_property: Callable[[str, object], None],
) -> Callable[[TestCase], None]:
    """Runs a test case in a fresh guest and turns the verdict into pytest's own outcome."""

    def judge(case: TestCase) -> None:
        fault = ""
        try:
            result = harness_target(case)
        except (HarnessError, OSError) as error:
            fault = str(error)  # failing here would print the one exception behind the other
        if fault:
            record_property("verdict", Outcome.ERROR.value)
            record_property("reason", fault)
            pytest.fail(f"ERROR: {fault}", pytrace=False)
        verdict = result.verdict
        record_property("verdict", verdict.outcome.value)
        record_property("reason", verdict.reason)
        record_property("folder", str(result.folder))
        for line in (*evidence_lines(result), *at_splat_lines(result)):
            print(line)
        print(f"record: {result.folder}")
        if verdict.outcome is Outcome.SKIP:
            pytest.skip(verdict.reason)
        if verdict.outcome is not Outcome.PASS:
            reasons = "\n".join(reason.text for reason in verdict.reasons)
            pytest.fail(f"{verdict.outcome.value}: {reasons}", pytrace=False)

    return judge


class _Terminal(PlainProgress):
    """Past pytest's capturing: a kernel that builds for minutes must not look like a hang."""

    def __init__(self, config: pytest.Config) -> None:
        super().__init__()
        self._reporter = config.pluginmanager.getplugin("terminalreporter")
        self._capture = config.pluginmanager.getplugin("capturemanager")

    def say(self, text: str) -> None:
        if not self._reporter:
            return
        capture = self._capture
        with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
            self._reporter.ensure_newline()
            self._reporter.write_line(text)


def _on_guest(
    config: pytest.Config, progress: Progress, plan: Series, kernel: BuiltKernel, case: TestCase
) -> TrialResult:
    folder = _folder(config)
    trial = Trial(
        case=case,
        binary=compile_reproducer(case.reproducer),
        seconds=plan.seconds_of(case),
        kernel=kernel,
        machine=plan.machine_of(case),
        accel=plan.accel,
        on_splat=OnSplat.STOP if config.stash.get(_FROZE, False) else plan.on_splat,
    )
    result = perform(trial, folder.trial_folder(f"{case.name}--{kernel.name}"), progress)
    if result.frozen:  # one is looked into; each takes the memory of a guest
        config.stash[_FROZE] = True
    folder.add(result, repeat(plan, plan.kernels[0], case))
    return result


def _on_remote(config: pytest.Config, progress: Progress, case: TestCase) -> TrialResult:
    option = config.option
    folder = _folder(config)
    trial = Trial(
        case=case,
        binary=compile_reproducer(case.reproducer),
        seconds=option.trial_time or case.seconds,
        remote=option.ssh,
    )
    result = perform_on(
        trial,
        folder.trial_folder(f"{case.name}--remote"),
        progress,
        lambda: connect(option.ssh, option.ssh_key, progress, known_hosts=option.ssh_known_hosts),
    )
    folder.add(result, _command(config))
    return result


def _folder(config: pytest.Config) -> RunFolder:
    """One run folder a session, made when the first trial needs it."""
    if _FOLDER not in config.stash:
        config.stash[_FOLDER] = RunFolder(_command(config), config.option.results)
    return config.stash[_FOLDER]


def _command(config: pytest.Config) -> list[str]:
    return ["pytest", *map(str, config.invocation_params.args)]
