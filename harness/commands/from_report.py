"""harness reproduce --report: a report of somebody else, until the same one comes here."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.campaign.dryrun import describe
from harness.campaign.series import Series, run_series
from harness.errors import UsageError
from harness.progress import default_progress
from harness.record.outside import Match, Report, matches, read_report, same
from harness.record.table import line, show
from harness.record.text import plain
from harness.spec.cases import load_cases
from harness.trial.compile import LIBRARY
from harness.trial.lean import Kept
from harness.trial.trial import TrialResult
from harness.trial.verdict import Outcome

BUDGET = 900
"""Seconds for each kernel where --for does not say otherwise."""

MOST_CASES = 3
NOT_SEEN = 125


def find_cases(file: Path) -> tuple[Report, list[Match]]:
    """The report, told to the person, and the cases to run."""
    report = read_report(file)
    splat = report.splat
    print(f"report: {plain(splat.title)}")
    print(f"  signature {report.signature}, race: {plain(report.race)}")
    if report.others:
        print(f"  and {report.others} more in the file; the first one is looked for")
    if report.kernel:
        print(f"  kernel {plain(report.kernel)}: name one like it with --kernel")
    if report.config:
        print(f"  config {plain(report.config)}")
    library = "".join(f.read_text(encoding="utf-8") for f in sorted(LIBRARY.glob("*.c")))
    found = matches(report, load_cases(), library)[:MOST_CASES]
    if not found:
        raise UsageError(
            f"{file}: no test case drives what its stacks show",
            hint="harness run runs all of them; or write one: see the README",
        )
    for match in found:
        print(f"  {match.case.name}: {'; '.join(match.why)}")
    return report, found


def reproduce(args: argparse.Namespace, report: Report, plan: Series) -> int:
    """Run the cases of ``plan`` until the report's own signature comes (or, where that is asked
    for, any head of its race), or time is over.

    Exit status 0 would say that all is well: 1 the same report came, 125 it did not.
    """
    budget = args.budget or BUDGET
    plan = replace(plan, budget=max(1, budget // len(plan.cases)), runs=args.runs or 0)
    if args.dry_run:
        print("\n".join(describe(plan)))
        return 0
    progress = default_progress()
    results = Kept()
    told: set[str] = set()
    begin = time.monotonic()

    ends = {"signature"} if args.until == "signature" else {"signature", "race"}

    def tell(result: TrialResult) -> None:
        results.append(result)
        progress.say(line(result))
        how = same(report, result.evidence.splats)
        if how and how not in ends and how not in told:
            progress.say(
                "  another head of the report's race; its own signature is waited for"
                " (--until race ends here)"
            )
        told.add(how)

    try:
        run_series(
            plan,
            ["harness", *sys.argv[1:]],
            progress,
            results=args.results,
            on_result=tell,
            enough=lambda result: same(report, result.evidence.splats) in ends,
        )
    finally:
        if results:
            show(results)
            print(f"record: {results[0].folder.parent / 'result.json'}")
    return _conclude(report, results, time.monotonic() - begin)


def _conclude(report: Report, results: Sequence[TrialResult], seconds: float) -> int:
    """Says what matched, the report's own signature before other heads of its race."""
    came: dict[str, list[TrialResult]] = {}
    for result in results:
        came.setdefault(same(report, result.evidence.splats), []).append(result)
    for how, said in (
        ("signature", "the same signature"),
        ("race", f"another head of the same race ({plain(report.race)})"),
    ):
        if how in came:
            first = came[how][0]
            print(
                f"reproduced by {first.trial.case.name}: {said},"
                f" in {len(came[how])} of {len(results)} trials"
            )
            print(f"  {first.folder}")
            if how == "race":
                print("  the report's own signature did not come")
            return 1
    failed = sum(result.verdict.outcome is Outcome.FAIL for result in results)
    others = f"; {failed} failed in another way" if failed else ""
    print(f"not reproduced: {len(results)} trials in {seconds:.0f} s{others}")
    return NOT_SEEN
