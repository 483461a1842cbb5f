"""harness payload: other people's tests, under our oracles."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from harness.commands.options import common, parallel, positive
from harness.commands.trials import plan_of, run_plan
from harness.errors import UsageError
from harness.kernel.selftests import build_selftests
from harness.progress import default_progress
from harness.record.folder import RESULTS
from harness.spec.case import TestCase
from harness.spec.kernel import load_kernel
from harness.spec.suite import Suite, cases_of, load_suite, programs_in, suite_names


def add(verbs: Any) -> None:
    payload = verbs.add_parser(
        "payload",
        help="run other people's tests: LTP's, libhugetlbfs's, the kernel's own",
        epilog="harness payload ltp move_pages12 --from ~/ltp -k v5.10-debug",
    )
    payload.add_argument(
        "suite", help="a suite of testcases/suites: " + ", ".join(suite_names()) + ", or a file"
    )
    payload.add_argument("test", nargs="*", help="its tests; all that the tree has without a name")
    common(payload)
    source(payload)
    payload.add_argument("--results", type=Path, default=RESULTS, help="where run folders go")
    parallel(payload)
    payload.add_argument("--runs", type=positive, default=1, help="fresh guests a test and kernel")
    payload.add_argument("--time", type=positive, help="seconds; default: each test's own")
    payload.set_defaults(main=run_payload)


def source(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--from",
        dest="tree",
        type=Path,
        metavar="DIR",
        help="the suite's tree, built, or where it is installed; the kernel's own tests need none",
    )


def run_payload(args: argparse.Namespace) -> int:
    suite = load_suite(args.suite)
    kernels = args.kernel or [args.default_kernel]
    cases = suite_cases(suite, args.tree, kernels, args.test)
    return run_plan(plan_of(args, cases, seconds=args.time, runs=args.runs), args)


def suite_cases(
    suite: Suite, tree: Path | None, kernels: list[str], names: list[str]
) -> list[TestCase]:
    """Its tests, out of ``tree``; the kernel's own are built from the kernel's source first."""
    if tree:
        return cases_of(suite, programs_in(tree, suite.programs), names, str(tree))
    if not suite.own:
        raise UsageError(
            f"{suite.name}: where is it?", hint="--from DIR names its tree, built by its own make"
        )
    if len(kernels) > 1:
        raise UsageError(
            "one kernel at a time: the tests of the kernel's tree are built from its source"
        )
    built = build_selftests(load_kernel(kernels[0]), suite.programs, default_progress())
    return cases_of(suite, programs_in(built, suite.programs), names)
