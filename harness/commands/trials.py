"""harness run, harness reproduce."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.campaign import resume
from harness.campaign.dryrun import describe
from harness.campaign.series import Series, as_declared, expected, run_series, series
from harness.commands import from_report
from harness.commands.options import at_splat, common, parallel, positive
from harness.errors import UsageError
from harness.progress import default_progress
from harness.record.folder import RESULTS, RunFolder
from harness.record.table import at_splat_lines, kernel_name, line, show
from harness.spec.case import TestCase
from harness.spec.cases import load_cases, quick, select
from harness.stop import keeping
from harness.trial.lean import Kept
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
    run.add_argument(
        "--resume",
        nargs="?",
        const="",
        metavar="RUN",
        help="go on with a run that was killed, as it was called; default: the newest",
    )
    run.set_defaults(main=run_cases, verb=run)
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
        " until the same signature comes; exit status 1 it came, 125 it did not",
    )
    reproduce.add_argument(
        "--until",
        choices=("signature", "race"),
        default="signature",
        help="what ends --report: the same signature, or any head of the same race",
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
    at_splat(verb)


def run_cases(args: argparse.Namespace) -> int:
    if args.resume is not None:
        return _resume(args)
    return run_plan(_plan_of_cases(args), args)


def _plan_of_cases(args: argparse.Namespace) -> Series:
    cases = select(args.case)
    if args.quick:
        cases = quick(cases)
        if not cases:
            raise UsageError(
                f"no part of the quick suite: {', '.join(args.case)}",
                hint="a case has a part by quick=SECONDS in its declaration",
            )
    return plan_of(args, cases, seconds=args.time, runs=args.runs, **_at_splat(args))


def _resume(args: argparse.Namespace) -> int:
    """The recorded command again, in its own folder, less what it has done."""
    wanted = vars(args) | {"resume": None, "results": RESULTS, "guests": None, "dry_run": False}
    if wanted != vars(args.verb.parse_args([])) | {
        k: wanted[k] for k in ("behind", "main", "verb")
    }:
        raise UsageError(
            "--resume goes on as the run was called: only --results, -n and --dry-run go with it"
        )
    run = resume.find(args.resume, args.results)
    words = list(run.command[2:])
    try:
        before = args.verb.parse_args(words[: words.index("--")] if "--" in words else words)
    except SystemExit:
        raise UsageError(f"{run.folder}: its command is not understood any more") from None
    before.guests, before.dry_run = args.guests or before.guests, args.dry_run
    if args.dry_run:
        return run_plan(_plan_of_cases(before), before)
    resumed = resume.Resumed(run, RunFolder.reopen(run))
    return run_plan(_plan_of_cases(before), before, resumed)


def reproduce_file(args: argparse.Namespace) -> int:
    if (args.file is None) == (args.report is None):
        raise UsageError("one of the two is wanted: a C file, or --report FILE")
    if args.report:
        report, found = from_report.find_cases(args.report)
        plan = plan_of(args, [match.case for match in found], seconds=args.time, **_at_splat(args))
        return from_report.reproduce(args, report, plan)
    plan = plan_of(
        args,
        [case_of(args.file, tuple(args.behind))],
        seconds=args.time,
        runs=args.runs or (0 if args.until_splat or args.budget else 1),
        until_splat=args.until_splat or args.budget is not None or bool(args.runs),
        budget=args.budget,
        **_at_splat(args),
    )
    return run_plan(plan, args)


def _at_splat(args: argparse.Namespace) -> dict[str, Any]:
    return {"on_splat": args.on_splat, "hold": args.hold}


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


def run_plan(plan: Series, args: argparse.Namespace, resumed: resume.Resumed | None = None) -> int:
    if args.dry_run:
        print("\n".join(describe(plan)))
        return 0
    progress = default_progress()
    command = ["harness", *sys.argv[1:]]
    results = Kept()

    def tell(result: TrialResult) -> None:
        results.append(result)
        progress.say(line(result))
        for text in at_splat_lines(result):
            progress.say(text)

    def kept() -> str:
        folder = results[0].folder.parent if results else resumed and resumed.run.folder
        if not folder:
            return ""
        again = shlex.join(["harness", "run", "--resume", str(folder)])
        goes_on = f"; go on with: {again}" if resumed or command[1:2] == ["run"] else ""
        return f"{len(results)} trials of this sitting are kept in {folder}{goes_on}"

    try:
        if resumed:
            _tell_what_is_there(resumed)
        with keeping(kept):
            run_series(
                *(plan, command, progress),
                results=args.results,
                on_result=tell,
                resumed=resumed,
            )
    finally:  # an interrupted series shows what it has
        if results:
            show(results)
            print(f"record: {results[0].folder.parent / 'result.json'}")
        elif resumed:
            print(f"nothing was left to run: {resumed.run.folder / 'result.json'}")
    if getattr(args, "as_declared", False):
        return _as_declared(plan, results, resumed)
    return status(results, resumed.outcomes() if resumed else ())


def _tell_what_is_there(resumed: resume.Resumed) -> None:
    counts = Counter(outcome.value for outcome in resumed.outcomes())
    told = ", ".join(f"{number} {name}" for name, number in counts.items()) or "nothing yet"
    print(f"going on with {resumed.run.name}: {told}")
    for path in resumed.cut_short:
        print(f"  no verdict, cut short: {path} (its files stay)")


def status(results: Sequence[TrialResult], before: Sequence[Outcome] = ()) -> int:
    """The exit status that tells what the table tells, and what a resumed run had ``before``."""
    outcomes = {result.verdict.outcome for result in results} | set(before)
    if Outcome.FAIL in outcomes:
        return EXIT_FAIL
    if Outcome.ERROR in outcomes:
        return EXIT_ERROR
    return EXIT_UNSHOWN if outcomes - {Outcome.PASS} else 0


def _as_declared(
    plan: Series, results: Sequence[TrialResult], resumed: resume.Resumed | None = None
) -> int:
    """Each verdict against its kernel's declaration; one line for each that differs."""
    carries = {spec.name: spec.carries for spec in plan.kernels}
    stock = {spec.name for spec in plan.kernels if spec.prebuilt}
    cases = {case.name: case for case in plan.cases}
    differ = [
        (result.verdict.outcome, line(result))
        for result in results
        if not expected(result, carries[kernel_name(result)])
    ]
    for trial in resumed.run.trials if resumed else ():
        name, kernel, outcome = trial["case"], trial["kernel"]["name"], Outcome(trial["verdict"])
        if not as_declared(outcome, cases[name], carries[kernel], stock=kernel in stock):
            differ.append((outcome, f"{outcome.value} {name} on {kernel}"))
    for _, text in differ:
        print(f"not as declared: {text}")
    if not differ:
        print("every verdict is the declared one")
        return 0
    # What says nothing about a kernel is no verdict against it.
    return EXIT_ERROR if all(outcome is Outcome.ERROR for outcome, _ in differ) else EXIT_FAIL
