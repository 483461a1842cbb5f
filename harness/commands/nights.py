"""harness nightly."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import functools
import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

from harness.campaign.bench import Bench, GuestBench
from harness.campaign.dryrun import describe
from harness.campaign.engine import Engine
from harness.campaign.night import document, summary, worse
from harness.campaign.nightly import Nightly
from harness.campaign.series import Series, series
from harness.commands.campaigns import command, engine_of
from harness.commands.options import cluster, parallel, positive
from harness.commands.trials import EXIT_FAIL, EXIT_UNSHOWN
from harness.errors import UsageError
from harness.kernel.source import resolve
from harness.paths import cache_dir
from harness.progress import Progress, default_progress
from harness.record.folder import RESULTS, RunFolder, write
from harness.record.text import plain
from harness.spec.case import TestCase
from harness.spec.kernel import GitSource, KernelSpec
from harness.spec.night import NightPlan, load_night
from harness.stop import keeping


def add(verbs: Any) -> None:
    nightly = verbs.add_parser(
        "nightly",
        help="run a plan, and say what is new, gone or changed since the last nights",
        epilog="examples:\n  harness nightly plan.yaml\n  harness nightly plan.yaml --dry-run\n\n"
        "exit status: 0 nothing is new, 1 something is new or fails more often,"
        " 125 nothing could be said",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    nightly.add_argument("plan", type=Path, help="a YAML file")
    nightly.add_argument("--date", default="", help="of the night, default: today")
    nightly.add_argument("--accel", choices=("auto", "kvm", "tcg"), default="")
    nightly.add_argument("-j", "--jobs", type=positive, default=os.cpu_count() or 1, help="of make")
    nightly.add_argument("--results", type=Path, default=RESULTS, help="where run folders go")
    parallel(nightly)
    cluster(nightly)
    nightly.set_defaults(main=run)


class _Host:
    """This host or a cluster: one bench for each case, all in one run folder."""

    def __init__(self, args: argparse.Namespace, plan: Series, stack: contextlib.ExitStack) -> None:
        self._args, self._plan, self._stack = args, plan, stack
        self._progress = default_progress()
        self._folder = functools.cache(lambda: RunFolder(command(), args.results))
        self._engine: Engine | None = None
        self._benches: dict[str, GuestBench] = {}

    def bench(self, case: TestCase) -> Bench:
        if self._engine is None:
            opened = engine_of(self._plan, self._args, self._progress)
            self._engine = self._stack.enter_context(opened)
        if case.name not in self._benches:
            plan = _only(self._plan, case)
            bench = GuestBench(plan, self._engine, self._folder, self._progress)
            self._benches[case.name] = bench
        return self._benches[case.name]

    def commit(self, spec: KernelSpec) -> str:
        if not any(isinstance(source, GitSource) for source in spec.sources):
            return ""
        return resolve(spec, cache_dir(), Progress()).commit


def _only(plan: Series, case: TestCase) -> Series:
    return Series(
        plan.kernels,
        plan.machine,
        (case,),
        seconds=plan.seconds,
        accel=plan.accel,
        jobs=plan.jobs,
        guests=plan.guests,
        machine_asked=plan.machine_asked,
    )


def run(args: argparse.Namespace) -> int:
    night = load_night(args.plan)
    date = args.date or datetime.date.today().isoformat()
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", date):
        raise UsageError(f"--date: expected a date such as 2026-01-31, got {date!r}")
    plan = _series(night, args)
    if args.dry_run:
        print("\n".join(describe(plan)))
        return 0
    folder = args.results / "nightly" / night.name
    with contextlib.ExitStack() as stack:
        host = _Host(args, plan, stack)
        nightly = Nightly(night, date, folder, host, default_progress().say)
        with keeping(lambda: _kept(nightly, args)):
            tonight, lines, before = nightly.run()
    told = [plain(line) for line in summary(tonight, lines, before)]
    print("\n".join(told))
    write(folder / f"{date}.txt", "\n".join([*told, ""]).encode())
    facts = document(night.name, *nightly.nights())
    write(folder / f"{date}.json", json.dumps(facts, indent=1).encode() + b"\n")
    if any(worse(line) for line in lines):
        return EXIT_FAIL
    counted = any(tonight.counted(place) for place in tonight.counts)
    return 0 if counted and not tonight.faults else EXIT_UNSHOWN


def _kept(nightly: Nightly, args: argparse.Namespace) -> str:
    """What an early end leaves, and the command that goes on, on the day after too."""
    if not nightly.log.path.exists():
        return ""
    words = ["harness", "nightly", str(args.plan), "--date", nightly.date]
    for option, value in (("--accel", args.accel), ("--results", args.results)):
        words += [option, str(value)] if value not in ("", RESULTS) else []
    for option, value in (("-n", args.guests), ("--cluster", args.cluster)):
        words += [option, str(value)] if value else []
    runs = sum(map(len, nightly.nights()[0].counts.values()))
    return f"{runs} runs are kept in {nightly.log.path}; go on with: {shlex.join(words)}"


def _series(night: NightPlan, args: argparse.Namespace) -> Series:
    return series(
        [str(kernel.file) for kernel in night.kernels],
        night.machine,
        night.cases,
        seconds=night.seconds,
        runs=night.runs,
        accel=args.accel,
        jobs=args.jobs,
        guests=args.guests,
    )
