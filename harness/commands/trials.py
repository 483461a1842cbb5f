"""harness run, harness reproduce."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.campaign.dryrun import describe
from harness.campaign.series import Series, expected, run_series, series
from harness.commands import from_report
from harness.commands.options import common, parallel, positive
from harness.errors import UsageError
from harness.progress import default_progress
from harness.record.folder import RESULTS
from harness.record.table import kernel_name, line, show
from harness.spec.case import TestCase
from harness.spec.cases import load_cases, quick, select
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
        "--quick",
        action="store_true",
        help="the quick suite: the cases that have a share of it, each for its short time",
    )
    run.add_argument(
        "--as-declared",
        action="store_true",
        help="exit 0 when each verdict is the declared one: FAIL where the kernel carries a bug"
        " that the case catches, PASS elsewhere",
    )
    run.set_defaults(main=run_cases)
    reproduce = verbs.add_parser(
        "reproduce",
        usage="harness reproduce FILE | --report FILE [options] [-- arguments of the program]",
        help="run any C file until it splats, or what a report shows until it comes here",
        epilog="harness reproduce repro.c -k v6.1-debug --until-splat --for 3600",
    )
    reproduce.add_argument("file", type=Path, nargs="?", help="a C file, as syzbot has them")
    reproduce.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="a mail, a syzbot page's text or a dmesg: the cases that its stacks point to are run"
        " until the same signature or race comes; exit status 1 it came, 125 it did not",
    )
    _recorded(reproduce)
    reproduce.add_argument("--runs", type=positive, help="fresh guests, at most (default 1)")
    reproduce.add_argument("--time", type=positive, default=60, help="seconds in each guest")
    reproduce.add_argument(
        "--for", dest="budget", type=positive, help="seconds in all for each kernel"
    )
    reproduce.add_argument("--until-splat", action="store_true", help="go on until the first splat")
    reproduce.set_defaults(main=reproduce_file, behind=[])


def _recorded(verb: argparse.ArgumentParser) -> None:
    common(verb)
    verb.add_argument("--results", type=Path, default=RESULTS, help="where run folders go")
    parallel(verb)


def run_cases(args: argparse.Namespace) -> int:
    cases = select(args.case)
    if args.quick:
        cases = quick(cases)
        if not cases:
            raise UsageError(
                f"no part of the quick suite: {', '.join(args.case)}",
                hint="a case has a part by quick=SECONDS in its declaration",
            )
    plan = plan_of(args, cases, seconds=args.time, runs=args.runs)
    return run_plan(plan, args)


def reproduce_file(args: argparse.Namespace) -> int:
    if (args.file is None) == (args.report is None):
        raise UsageError("one of the two is wanted: a C file, or --report FILE")
    if args.report:
        report, found = from_report.find_cases(args.report)
        plan = plan_of(args, [match.case for match in found], seconds=args.time)
        return from_report.reproduce(args, report, plan)
    plan = plan_of(
        args,
        [case_of(args.file, tuple(args.behind))],
        seconds=args.time,
        runs=args.runs or (0 if args.until_splat or args.budget else 1),
        until_splat=args.until_splat or args.budget is not None or bool(args.runs),
        budget=args.budget,
    )
    return run_plan(plan, args)


def case_of(file: Path, arguments: tuple[str, ...]) -> TestCase:
    """The test case whose reproducer ``file`` is; a foreign one where it is nobody's."""
    if not file.is_file():
        raise UsageError(f"{file}: no such C file")
    for case in load_cases():
        if case.reproducer.resolve() == file.resolve():
            return replace(case, args=arguments or case.args)
    # The name stands in markers, paths and tables: it may be nothing that they would change.
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", file.stem).strip("-.") or "reproducer"
    return TestCase(name=name, reproducer=file.resolve(), args=arguments, foreign=True)


def plan_of(args: argparse.Namespace, cases: Sequence[TestCase], **settings: Any) -> Series:
    return series(
        args.kernel or [args.default_kernel],
        args.machine,
        cases,
        accel=args.accel,
        append=tuple(args.append),
        jobs=args.jobs,
        guests=args.guests,
        **settings,
    )


def run_plan(plan: Series, args: argparse.Namespace) -> int:
    if args.dry_run:
        print("\n".join(describe(plan)))
        return 0
    progress = default_progress()
    command = ["harness", *sys.argv[1:]]
    results: list[TrialResult] = []

    def tell(result: TrialResult) -> None:
        results.append(result)
        progress.say(line(result))

    try:
        run_series(plan, command, progress, results=args.results, on_result=tell)
    finally:  # an interrupted series shows what it has
        if results:
            show(results)
            print(f"record: {results[0].folder.parent / 'result.json'}")
    if getattr(args, "as_declared", False):
        return _as_declared(plan, results)
    return status(results)


def status(results: Sequence[TrialResult]) -> int:
    """The exit status that tells what the table tells."""
    outcomes = {result.verdict.outcome for result in results}
    if Outcome.FAIL in outcomes:
        return EXIT_FAIL
    if Outcome.ERROR in outcomes:
        return EXIT_ERROR
    return EXIT_UNSHOWN if outcomes - {Outcome.PASS} else 0


def _as_declared(plan: Series, results: Sequence[TrialResult]) -> int:
    """Each verdict against its kernel's declaration; one line for each that differs."""
    carries = {spec.name: spec.carries for spec in plan.kernels}
    differ = [r for r in results if not expected(r, carries[kernel_name(r)])]
    for result in differ:
        print(f"not as declared: {line(result)}")
    if not differ:
        print("every verdict is the declared one")
        return 0
    # What says nothing about a kernel is no verdict against it.
    return EXIT_ERROR if all(r.verdict.outcome is Outcome.ERROR for r in differ) else EXIT_FAIL
