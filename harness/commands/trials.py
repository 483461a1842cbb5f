"""harness run, harness reproduce."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.campaign.dryrun import describe
from harness.campaign.series import Series, expected, run_series, series
from harness.commands.options import common, positive
from harness.errors import UsageError
from harness.progress import Progress, default_progress
from harness.record.folder import RESULTS
from harness.record.table import kernel_name, line, show
from harness.spec.case import TestCase
from harness.spec.cases import load_cases, select
from harness.spec.kernel import load_kernel
from harness.trial.trial import TrialResult
from harness.trial.verdict import Outcome

EXIT_FAIL, EXIT_ERROR, EXIT_UNSHOWN = 1, 3, 125


def add(verbs: Any) -> None:
    run = verbs.add_parser(
        "run",
        help="run test cases on kernels and judge them",
        epilog="harness run -k v5.10-debug anon_fork_migrate --time 60",
    )
    run.add_argument("case", nargs="*", help="test cases; all of them where none is named")
    _recorded(run)
    run.add_argument("--runs", type=positive, default=1, help="fresh guests a case and kernel")
    run.add_argument("--time", type=positive, help="seconds; default: each case's own")
    run.add_argument(
        "--as-declared",
        action="store_true",
        help="exit 0 when each verdict is the declared one: FAIL where the kernel carries a bug"
        " that the case catches, PASS elsewhere",
    )
    run.set_defaults(main=run_cases)
    reproduce = verbs.add_parser(
        "reproduce",
        help="run any C file until it splats",
        epilog="harness reproduce repro.c -k v6.1-debug --until-splat --for 3600",
    )
    reproduce.add_argument("file", type=Path, help="a C file, such as a syzbot reproducer")
    reproduce.add_argument("args", nargs="*", help="arguments of the program (after --)")
    _recorded(reproduce)
    reproduce.add_argument("--runs", type=positive, help="fresh guests, at most (default 1)")
    reproduce.add_argument("--time", type=positive, default=60, help="seconds in each guest")
    reproduce.add_argument("--for", dest="budget", type=positive, help="seconds in all")
    reproduce.add_argument("--until-splat", action="store_true", help="go on until the first splat")
    reproduce.set_defaults(main=reproduce_file)


def _recorded(verb: argparse.ArgumentParser) -> None:
    common(verb)
    verb.add_argument("--results", type=Path, default=RESULTS, help="where run folders go")
    verb.add_argument("-n", "--dry-run", action="store_true", help="print what would be run")


def run_cases(args: argparse.Namespace) -> int:
    plan = _plan(args, select(args.case), seconds=args.time, runs=args.runs)
    return _run(plan, args)


def reproduce_file(args: argparse.Namespace) -> int:
    plan = _plan(
        args,
        [_case_of(args.file, tuple(args.args))],
        seconds=args.time,
        runs=args.runs or (0 if args.until_splat or args.budget else 1),
        until_splat=args.until_splat or args.budget is not None or bool(args.runs),
        budget=args.budget,
    )
    return _run(plan, args)


def _case_of(file: Path, arguments: tuple[str, ...]) -> TestCase:
    """The test case whose reproducer ``file`` is; a foreign one where it is nobody's."""
    if not file.is_file():
        raise UsageError(f"{file}: no such C file")
    for case in load_cases():
        if case.reproducer.resolve() == file.resolve():
            return replace(case, args=arguments or case.args)
    return TestCase(name=file.stem, reproducer=file.resolve(), args=arguments, foreign=True)


def _plan(args: argparse.Namespace, cases: Sequence[TestCase], **settings: Any) -> Series:
    return series(
        args.kernel or [args.default_kernel],
        args.machine,
        cases,
        accel=args.accel,
        append=tuple(args.append),
        jobs=args.jobs,
        **settings,
    )


def _run(plan: Series, args: argparse.Namespace) -> int:
    if args.dry_run:
        print("\n".join(describe(plan)))
        return 0
    progress = default_progress()
    command = ["harness", *sys.argv[1:]]
    folder, results = run_series(
        plan, command, progress, results=args.results, on_result=_teller(progress)
    )
    show(results)
    print(f"record: {folder / 'result.json'}")
    if getattr(args, "as_declared", False):
        return _as_declared(results)
    return status(results)


def _teller(progress: Progress) -> Any:
    return lambda result: progress.say(line(result))


def status(results: Sequence[TrialResult]) -> int:
    """The exit status that tells what the table tells."""
    outcomes = {result.verdict.outcome for result in results}
    if Outcome.FAIL in outcomes:
        return EXIT_FAIL
    if Outcome.ERROR in outcomes:
        return EXIT_ERROR
    return EXIT_UNSHOWN if outcomes - {Outcome.PASS} else 0


def _as_declared(results: Sequence[TrialResult]) -> int:
    """Each verdict against its kernel's declaration; one line for each that differs."""
    differ = 0
    for result in results:
        carries = load_kernel(kernel_name(result)).carries
        if not expected(result, carries):
            differ += 1
            print(f"not as declared: {line(result)}")
    if not differ:
        print("every verdict is the declared one")
    return EXIT_FAIL if differ else 0
