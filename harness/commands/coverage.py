"""harness coverage: which lines of the kernel's huge page code the cases reach."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from harness.campaign.reach import merged
from harness.campaign.series import run_series
from harness.commands import payload
from harness.commands.options import common, parallel, positive
from harness.commands.trials import plan_of
from harness.errors import UsageError
from harness.kernel.build import build
from harness.kernel.built import BuiltKernel
from harness.progress import Progress, default_progress
from harness.record.coverage import (
    Coverage,
    alone,
    counted,
    document,
    info,
    pages,
    percent,
    together,
    untouched,
)
from harness.record.folder import RESULTS, write
from harness.record.load import load_run
from harness.record.table import line
from harness.spec.case import TestCase
from harness.spec.cases import quick, select
from harness.spec.kernel import load_kernel
from harness.spec.suite import load_suite, suite_names
from harness.trial import gcov
from harness.trial.trial import TrialResult

COVERED = "v5.10-gcov"


def add(verbs: Any) -> None:
    verb = verbs.add_parser(
        "coverage",
        help="which lines of the kernel's huge page code the cases reach",
        epilog="harness coverage -k v5.10-gcov --html coverage/",
    )
    verb.add_argument("case", nargs="*", help="test cases; all of them where none is named")
    common(verb, several=False)
    verb.add_argument(
        "--suite",
        default="all",
        help="all, quick, or other people's: " + ", ".join(suite_names()),
    )
    payload.source(verb)
    verb.add_argument("--time", type=positive, help="seconds; default: each case's own")
    verb.add_argument("--results", type=Path, default=RESULTS, help="where run folders go")
    verb.add_argument(
        "--of",
        type=Path,
        action="append",
        metavar="RUN",
        help="the folder of an earlier run of coverage, read instead of running",
    )
    verb.add_argument("--json", type=Path, help="the figures")
    verb.add_argument("--lcov", type=Path, metavar="FILE", help="lcov's tracefile, by case")
    verb.add_argument("--html", type=Path, metavar="DIR", help="pages, by genhtml")
    verb.add_argument(
        "--reach",
        type=Path,
        metavar="FILE",
        help="the functions that each case enters; cases that were not run stay as they are in it",
    )
    parallel(verb)
    verb.set_defaults(main=run_coverage, default_kernel=COVERED)


def run_coverage(args: argparse.Namespace) -> int:
    names = args.kernel or [COVERED]
    if len(names) > 1:
        raise UsageError("harness coverage takes one kernel: its lines are those of one source")
    progress = default_progress()
    if args.dry_run:
        print("\n".join(case.name for case in _cases(args, names[0])))
        return 0
    folders = args.of or []
    cases = [] if folders else _cases(args, names[0])
    kernel = _counting(names[0], args.jobs, progress)
    if not folders:
        folders = [_run(args, cases, progress)]
    by_case, missing = _by_case(folders, kernel, progress)
    if not by_case:
        raise UsageError(
            f"{folders[0]}: no trial in it left counters of {kernel.name}",
            hint="they are kept by harness coverage, and read with the kernel that they came from",
        )
    _write(args, by_case, kernel, missing)
    show(by_case, missing, kernel.coverage)
    return 0


def _cases(args: argparse.Namespace, kernel: str) -> list[TestCase]:
    if args.suite in suite_names() or args.suite.endswith((".yaml", ".yml")):
        return payload.suite_cases(load_suite(args.suite), args.tree, [kernel], args.case)
    if args.suite not in ("all", "quick"):
        raise UsageError(
            f"no suite {args.suite!r}", hint="there are: all, quick, " + ", ".join(suite_names())
        )
    cases = select(args.case)
    return quick(cases) if args.suite == "quick" else cases


def _counting(name: str, jobs: int, progress: Progress) -> BuiltKernel:
    kernel = build(load_kernel(name), progress=progress, jobs=jobs)
    if kernel.coverage is None:
        raise UsageError(
            f"{name}: this kernel counts no lines",
            hint=f"{COVERED} does: CONFIG_GCOV_KERNEL, and GCOV_PROFILE_*.o in its Makefiles",
        )
    return kernel


def _run(args: argparse.Namespace, cases: Sequence[TestCase], progress: Progress) -> Path:
    plan = replace(plan_of(args, cases, seconds=args.time), coverage=True)

    def tell(result: TrialResult) -> None:
        progress.say(line(result))

    folder, _ = run_series(
        plan, ["harness", *sys.argv[1:]], progress, results=args.results, on_result=tell
    )
    progress.say(f"record: {folder / 'result.json'}")
    return folder


def _by_case(
    folders: Sequence[Path], kernel: BuiltKernel, progress: Progress
) -> tuple[dict[str, Coverage], list[str]]:
    """Coverage by case, several trials of one taken together; and cases that left none."""
    assert kernel.coverage
    many: dict[str, list[Coverage]] = {}
    missing = []
    for folder in folders:
        for trial in load_run(folder).trials:
            name = trial["case"]
            file = folder / trial["folder"] / gcov.FILE
            if trial["kernel"].get("content_id") != kernel.content_id or not file.is_file():
                missing.append(f"{name}: {trial['verdict']}")
                continue
            with progress.stage(f"reading the counters of {name}"):
                many.setdefault(name, []).append(counted(file.read_bytes(), kernel.coverage))
    return {name: together(found) for name, found in many.items()}, missing


def _write(
    args: argparse.Namespace,
    by_case: Mapping[str, Coverage],
    kernel: BuiltKernel,
    missing: Sequence[str],
) -> None:
    assert kernel.coverage
    if args.json:
        text = json.dumps(document(by_case, kernel.name, missing, kernel.coverage), indent=1)
        write(args.json, text.encode() + b"\n")
    if args.reach:
        write(args.reach, merged(args.reach, kernel.name, by_case))
    if not (args.lcov or args.html):
        return
    trace = args.lcov or args.html / "coverage.info"
    if args.html:
        args.html.mkdir(parents=True, exist_ok=True)
    write(trace, info(by_case, kernel.coverage).encode())
    if args.html:
        pages(trace, kernel.coverage, args.html)


def show(by_case: Mapping[str, Coverage], missing: Sequence[str], sources: Path | None) -> None:
    """File by case in per cent of lines, what only that case reached, and what nobody did."""
    all_, only = together(by_case.values()), alone(by_case)
    files = list(all_)
    table = Table("case", *(Path(name).name for name in files), "alone", pad_edge=False)
    for case, coverage in sorted(by_case.items()):
        cells = [f"{percent(coverage[n]):.0f}" if n in coverage else "-" for n in files]
        table.add_row(case, *cells, str(sum(map(len, only[case].values())) or ""))
    table.add_section()
    table.add_row("all", *(f"{percent(all_[name]):.1f}" for name in files), "")
    console = Console()
    (console if console.is_terminal else Console(width=110)).print(table)
    print("per cent of lines; alone: lines that no other case reached")
    for text in missing:
        print(f"no counters of {text}")
    for name in files:
        nobody = [(f, size) for file, f, size in untouched(all_, sources) if file == name]
        total = len({function.name for function in all_[name].functions})
        print(f"{name}: of {total} functions no case entered {len(nobody)}, the boot's left out")
        for function, size in nobody[:15]:
            print(f"  {function.name} (line {function.first}, {size} lines)")
