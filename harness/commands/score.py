"""harness score."""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from harness.campaign.engine import Engine, local
from harness.campaign.relevance import order
from harness.campaign.score import ROUNDS, Attempt, attempts, find_patches, nearest
from harness.campaign.scorecard import Json, Scorecard, content_of, measured, row
from harness.campaign.series import Series, repeat, series
from harness.commands import payload
from harness.commands.options import common, parallel, positive
from harness.errors import BootError, CompileError, GuestLost, PatchError, UsageError
from harness.guest.accel import choose
from harness.guest.boot import boot
from harness.kernel.build import build
from harness.kernel.built import BuiltKernel
from harness.progress import Progress, default_progress
from harness.record.folder import RESULTS, RunFolder, write
from harness.spec.case import TestCase
from harness.spec.cases import quick, select
from harness.spec.kernel import GUESTS, KernelSpec, load_kernel
from harness.spec.machine import MachineSpec
from harness.spec.suite import load_suite, suite_names
from harness.trial.compile import binary_of
from harness.trial.verdict import Outcome

_CHECKS = "control-checks"
"""The row of cases and tests that failed with a bug, run without it."""

_SPARE = 1
"""Guests beyond those that have CPUs of their own.  Of a brief trial a third is waiting, for a copy
to start or for an answer; the budget is time on the wall, so another guest makes use of that."""

BUGS = GUESTS / "patches" / "reintroduce"
INSTRUMENTS = GUESTS / "patches" / "instrument"


def add(verbs: Any) -> None:
    score = verbs.add_parser(
        "score",
        help="bring bugs back, one at a time, and count which ones the suite catches",
        description="Builds the base with each patch of a folder, one at a time, and runs the "
        "suite on it until something fails or the budget is spent; then the base alone, which "
        "must stay clean. A patch that does not apply or build is named, and the rest goes on. "
        "Exit status: 0 where every bug was caught and the control is clean, 1 otherwise.",
        epilog="harness score --patches ~/bugs --base v5.10-debug --budget 120 --json score.json",
    )
    common(score)
    score.add_argument(
        "--patches", type=Path, default=BUGS, help="a folder of diffs, one bug each, or one diff"
    )
    score.add_argument("--base", help="the kernel that they apply to (the same as --kernel)")
    score.add_argument(
        "--budget", type=positive, default=120, help="seconds a bug, on the wall (default 120)"
    )
    score.add_argument(
        "--suite",
        default="all",
        help="all, quick, names of cases with commas between, or other people's: "
        + ", ".join(suite_names()),
    )
    payload.source(score)
    score.add_argument("--bug", action="append", help="only these of the patches, by name")
    score.add_argument("--json", type=Path, help="the score; what is in it already is not run")
    score.add_argument("--results", type=Path, default=RESULTS, help="where run folders go")
    score.add_argument("--no-control", action="store_true", help="leave the control out")
    score.add_argument(
        "--instrument", action="store_true", help="lay the instrumentation patches over each bug"
    )
    parallel(score, "one more than have CPUs of their own")
    score.set_defaults(main=run_score)


def run_score(args: argparse.Namespace) -> int:
    names = [*(args.kernel or []), *([args.base] if args.base else [])]
    if len(set(names)) > 1:
        raise UsageError("harness score takes one base kernel")
    base = names[0] if names else args.default_kernel
    cases = _suite(args.suite, args.tree, base)
    patches = _chosen(find_patches(args.patches), args.bug)
    instrument = find_patches(INSTRUMENTS) if args.instrument else []
    plan = series([base], args.machine, cases, accel=args.accel, guests=args.guests)
    if args.dry_run:
        for patch in patches:
            print(f"{patch.stem}: " + ", ".join(c.name for c in order(patch, cases)))
        return 0
    command = ["harness", *sys.argv[1:]]
    folder = RunFolder(command, args.results)
    progress = default_progress()
    largest = max(map(plan.machine_of, cases), key=lambda machine: machine.cpus)
    engine = local(args.guests, largest, progress, spare=_SPARE)
    key = measured(base, args.budget, cases, instrument, args.machine, engine.width)
    card = Scorecard(args.json or folder.path / "score.json", key, command)
    with engine:
        runner = _Runner(plan, args, instrument, card, folder, engine, progress)
        for patch in patches:
            runner.measure("bug", patch)
        if not args.no_control:
            runner.measure("control", None)
    wanted = {patch.stem for patch in patches} | {"control", _CHECKS}
    rows = [each for each in card.rows.values() if each["name"] in wanted]
    show(rows)
    return 0 if perfect(rows) else 1


def perfect(rows: Sequence[Json]) -> bool:
    """Every bug was caught, and no control that was measured raised an alarm."""
    return all(
        row["caught"] is not None if row["kind"] == "bug" else not (row["alarms"] or row["fault"])
        for row in rows
    )


def _suite(text: str, tree: Path | None, base: str) -> list[TestCase]:
    if text in suite_names() or text.endswith((".yaml", ".yml")):
        return payload.suite_cases(load_suite(text), tree, [base], [])
    cases = select([]) if text in ("all", "quick") else select(text.split(","))
    if text == "quick":
        cases = quick(cases)
    if not cases:
        raise UsageError("no case has a share of the quick suite", hint="quick=SECONDS gives one")
    return cases


def _chosen(patches: Sequence[Path], names: Sequence[str] | None) -> list[Path]:
    unknown = set(names or ()) - {patch.stem for patch in patches}
    if unknown:
        raise UsageError(
            f"no patch {', '.join(sorted(unknown))}",
            hint="there are: " + ", ".join(patch.stem for patch in patches),
        )
    return [patch for patch in patches if not names or patch.stem in names]


class _Runner:
    def __init__(
        self,
        plan: Series,
        args: argparse.Namespace,
        instrument: Sequence[Path],
        card: Scorecard,
        folder: RunFolder,
        engine: Engine,
        progress: Progress,
    ) -> None:
        self._plan, self._args, self._instrument = plan, args, instrument
        self._card, self._folder = card, folder
        self._engine, self._progress = engine, progress
        self._booted = set[tuple[str, str]]()

    def measure(self, kind: str, patch: Path | None) -> None:
        """One bug, or the base by itself; nothing where the scorecard has it."""
        name = patch.stem if patch else "control"
        content = content_of(patch) if patch else ""
        if self._card.known(name, content):
            self._progress.say(f"{name}: measured already")
            return
        plan, budget = self._plan, self._args.budget
        spec = load_kernel(str(self._declare(name, patch)))
        try:
            kernel = build(spec, progress=self._progress, jobs=self._args.jobs)
        except (PatchError, CompileError) as error:  # one patch of many: the others still count
            self._progress.say(f"{name}: {error}")
            self._card.add(row(name, kind, content, [], budget, fault=error.what))
            return
        self._make_template(kernel, plan.machine)
        theirs = bool(plan.cases[0].payload)
        # Other people's tests are tried in the order of their declaration.
        cases = order(patch, plan.cases) if patch and not theirs else list(plan.cases)
        done = self._attempts(
            *(spec, kernel, cases, budget),
            to_the_end=patch is None,
            # Theirs run as long as they run: a third go of each is what the second was.
            rounds=1 if theirs else ROUNDS,
            on_control=self._test_fails_on_base if theirs else self._case_fails_on_base,
        )
        near = nearest(done, patch, cases) if patch else None
        fault = unmeasured(done)
        self._card.add(row(name, kind, content, done, budget, near, fault))
        self._progress.say(line(self._card.rows[name]))

    def _machine_of(self, kernel: BuiltKernel, case: TestCase) -> MachineSpec:
        """The case's machine, with a template of it: of one that is not the usual one when the
        first of its cases is due, for most bugs are caught before."""
        machine = self._plan.machine_of(case)
        self._make_template(kernel, machine)
        return machine

    def _make_template(self, kernel: BuiltKernel, machine: MachineSpec) -> None:
        """Boot it once, which is no trial's time.  One that does not boot is its trials' affair."""
        key = (kernel.content_id, machine.name)
        if key in self._booted:
            return
        self._booted.add(key)
        accel = choose(self._progress, self._plan.accel)
        with (
            contextlib.suppress(BootError, GuestLost),
            tempfile.TemporaryDirectory(prefix="harness-") as folder,
        ):
            boot(
                *(kernel, machine),
                run_dir=Path(folder),
                accel=accel,
                progress=self._progress,
            ).end()

    def _attempts(
        self,
        spec: KernelSpec,
        kernel: BuiltKernel,
        cases: Sequence[TestCase],
        budget: float,
        **how: Any,
    ) -> list[Attempt]:
        plan = self._plan
        return attempts(
            kernel,
            cases,
            budget,
            engine=self._engine,
            binary_of=binary_of,
            machine_of=partial(self._machine_of, kernel),
            folder_of=self._folder.trial_folder,
            keep=lambda result: self._folder.add(result, repeat(plan, spec, result.trial.case)),
            accel=plan.accel,
            **how,
        )

    def _test_fails_on_base(self, attempt: Attempt) -> bool:
        """Whether a test of somebody else's fails on the base too, which is looked at once a test.

        Ours are held to pass there; theirs may ask for what an old kernel does not do.  So what
        the kernel names itself counts whatever they say there, and a failure of another kind too.
        """
        if attempt.certain:
            return False
        cases = [case for case in self._plan.cases if case.name == attempt.case]
        seen = self._checked(attempt.case) or self._check(cases)
        return _failed([each for each in seen if each["oracle"] == attempt.oracle])

    def _case_fails_on_base(self, attempt: Attempt) -> bool:
        """Whether a case of ours fails without the bug as well, in a run as long, once more for
        each bug: what it says wrongly once in many runs must not pass for a catch.
        """
        if attempt.certain:
            return False
        if _failed(self._checked(attempt.case)):
            return True
        cases = [
            replace(case, quick=attempt.seconds)
            for case in self._plan.cases
            if case.name == attempt.case
        ]
        self._progress.say(f"{attempt.case} fails: {attempt.reason}; once more without the bug")
        return _failed(self._check(cases))

    def _checked(self, case: str) -> list[Json]:
        """What is known of the case on the base."""
        rows = [self._card.rows.get(name) for name in (_CHECKS, "control")]
        told = [each for known in rows if known for each in known["attempts"]]
        return [each for each in told if each["case"] == case]

    def _check(self, cases: Sequence[TestCase]) -> list[Json]:
        """Run them on the base, once each, in nobody's budget, and keep what came of it."""
        spec = load_kernel(str(self._declare("control", None)))
        kernel = build(spec, progress=self._progress, jobs=self._args.jobs)
        self._make_template(kernel, self._plan.machine)
        done = self._attempts(spec, kernel, cases, math.inf, to_the_end=True, rounds=0)
        known = self._card.rows.get(_CHECKS)
        checks = row(_CHECKS, "check", "", done, math.inf)
        found = list(checks["attempts"])
        for key in ("attempts", "alarms"):
            checks[key] = [*(known[key] if known else []), *checks[key]]
        self._card.add(checks)
        return found

    def _declare(self, name: str, patch: Path | None) -> Path:
        """The declaration of one bug's kernel, kept with the run so that it can be built again."""
        base = self._plan.kernels[0].file.absolute()
        patches = [*([patch.absolute()] if patch else []), *self._instrument]
        file = self._folder.path / "kernels" / f"{name}.yaml"
        file.parent.mkdir(mode=0o700, exist_ok=True)
        listed = "".join(f"  - {str(path)!r}\n" for path in patches)
        text = f"extends: {str(base)!r}\n" + (f"patches:\n{listed}" if listed else "")
        write(file, text.encode())
        return file


def _failed(found: Sequence[Json]) -> bool:
    return any(each["verdict"] == Outcome.FAIL.value for each in found)


def unmeasured(done: Sequence[Attempt]) -> str:
    """Why nobody can say that a bug was missed: its guests never came to a test.  Else empty."""
    lost = [attempt for attempt in done if attempt.outcome is Outcome.ERROR]
    if lost and len(lost) == len(done):
        return f"no trial came to a verdict: {lost[0].reason}"
    return ""


def line(found: Json) -> str:
    """One row in words."""
    name = found["name"]
    if found["fault"]:
        return f"{name}: not measured: {found['fault'].splitlines()[0]}"
    if found["kind"] != "bug":
        alarms, trials = len(found["alarms"]), len(found["attempts"])
        apart = sum(each["cost"] for each in found["attempts"])
        apart_told = f", {apart:.0f} s that no bug was charged" if found["kind"] == "check" else ""
        return f"{name}: {alarms} false alarms in {trials} trials{apart_told}"
    if hit := found["caught"]:
        return f"{name}: caught by {hit['case']} ({hit['oracle']}) after {hit['at']} s"
    near = found["nearest"]
    return f"{name}: NOT caught; nearest: {_nearest(near)}"


def _nearest(near: Json | None) -> str:
    if not near:
        return "no case ran"
    taken = "exercised" if near["exercised"] else "did not take its path"
    return f"{near['case']} ({', '.join(near['scenarios']) or 'no scenario'}), {taken}"


_WIDE = 100
"""Columns that a matrix with whole names of bugs and cases needs."""


def show(rows: Sequence[Json]) -> None:
    """The matrix: bug by oracle, seconds of budget until it was caught, and by which case.  Where
    the terminal is narrow, the seven columns are two.
    """
    console = Console()
    if not console.is_terminal:
        console = Console(width=110)
    oracles = [f"O{number}" for number in range(1, 8)] if console.width >= _WIDE else []
    table = Table(pad_edge=False)
    table.add_column("bug", no_wrap=bool(oracles), overflow="fold")
    for name in oracles or ("by", "after"):
        table.add_column(name, no_wrap=True)
    table.add_column("case", overflow="fold")
    bugs = [each for each in rows if each["kind"] == "bug"]
    for each in bugs:
        hit, near = each["caught"], each["nearest"]
        if hit:
            after = f"{hit['at']:.0f} s"
            cells = [after if oracle == hit["oracle"] else "" for oracle in oracles]
            table.add_row(each["name"], *(cells or (hit["oracle"], after)), hit["case"])
        else:
            told = f"not measured: {each['fault']}" if each["fault"] else ""
            empty = ["" if told else "-"] * (len(oracles) or 2)
            table.add_row(each["name"], *empty, told or f"nearest: {_nearest(near)}")
    console.print(table)
    caught = sum(each["caught"] is not None for each in bugs)
    print(f"caught {caught} of {len(bugs)}")
    for each in bugs:
        for struck in (a for a in each["attempts"] if a["on_control"]):
            print(f"struck: {each['name']} by {struck['case']}, which fails without the bug too")
            print(f"  {struck['reason']}")
    for each in rows:
        if each["kind"] != "bug":
            print(line(each))
            for alarm in each["alarms"]:
                print(f"  {alarm['verdict']} {alarm['case']}: {alarm['reason']}")
