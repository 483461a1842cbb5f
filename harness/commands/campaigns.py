"""harness rate, harness verify, harness trial."""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.campaign.bench import GuestBench, stacked
from harness.campaign.commits import check_patches
from harness.campaign.count import Count, Seen
from harness.campaign.dryrun import describe
from harness.campaign.engine import Engine
from harness.campaign.rate import Tally, Until, measure
from harness.campaign.rate import report as rate_report
from harness.campaign.series import Series
from harness.campaign.verify import Comparison, Finding, Limits, Side, compare, headline
from harness.campaign.verify import report as verify_report
from harness.commands.options import cluster, common, engine_for, parallel, positive
from harness.commands.trials import EXIT_FAIL, EXIT_UNSHOWN, case_of, plan_of
from harness.errors import CompileError, HarnessError, PatchError, UsageError
from harness.progress import Progress, default_progress
from harness.record.folder import RESULTS, RunFolder, check_place, write
from harness.record.text import plain
from harness.spec.case import TestCase
from harness.spec.cases import select
from harness.spec.kernel import KernelSpec, WorkingTree
from harness.stop import keeping
from harness.trial.compile import binary_of, identity

_FROM = "the same command begins anew, harness bisect start --from that folder counts them"
"""Neither a rate nor a comparison goes on where it was."""

STOP = 128
"""What git bisect run reads as "stop", and not as a verdict."""


def add(verbs: Any) -> None:
    rate = verbs.add_parser(
        "rate",
        help="how often a case fails on a kernel: k of n, and what that proves",
        epilog="harness rate anon_fork_migrate -k v5.10-anon-race --runs 50 --width 0.2",
    )
    one_case(rate)
    rate.add_argument("--runs", type=positive, help="runs that count (default 20)")
    rate.add_argument("--for", dest="budget", type=positive, help="seconds in all")
    rate.add_argument("--until-splat", action="store_true", help="stop at the first failure")
    rate.add_argument("--width", type=share, help="stop when the interval is no wider: 0.2")
    rate.add_argument("--confidence", type=share, default=0.95, help="of the interval: 0.95")
    rate.set_defaults(main=run_rate)
    verify = verbs.add_parser(
        "verify",
        help="whether a patch fixes it: kernels with and without, run in turns",
        epilog="harness verify --patch fix.mbox -k v5.10-anon-race --case anon_fork_migrate",
    )
    one_case(verify, positional=False)
    verify.add_argument(
        "--patch", type=Path, action="append", required=True, help="a diff or a mailbox, in order"
    )
    verify.add_argument("--runs", type=positive, default=200, help="of each kernel, at most")
    verify.add_argument("--for", dest="budget", type=positive, help="seconds in all")
    verify.add_argument("--confidence", type=share, default=0.999, help="default 0.999")
    verify.add_argument("--race", default="", help="the bug that counts; default: the first seen")
    verify.set_defaults(main=run_verify)
    trial = verbs.add_parser(
        "trial",
        help="one verdict with the exit status of git bisect run: 0, 1, 125, 128 and more",
        epilog="git bisect run harness trial anon_fork_migrate --tree . --runs 10",
    )
    one_case(trial)
    trial.add_argument("--tree", type=Path, help="build this source tree, configured as --kernel")
    trial.add_argument("--runs", type=positive, default=10, help="until the first failure")
    trial.add_argument("--race", default="", help="the bug that counts as bad; default: any")
    trial.set_defaults(main=run_trial)


def one_case(verb: argparse.ArgumentParser, *, positional: bool = True) -> None:
    """The options of a campaign: one case on one machine, on kernels."""
    told = "a test case, or a C file"
    if positional:
        verb.add_argument("case", help=told)
    else:
        verb.add_argument("--case", required=True, help=told)
    common(verb, several=False)
    verb.add_argument("--time", type=positive, help="seconds a run; default: the case's own")
    verb.add_argument("--results", type=Path, default=RESULTS, help="where run folders go")
    parallel(verb)
    cluster(verb)
    verb.set_defaults(behind=[])


def share(text: str) -> float:
    """An argparse type: a number between 0 and 1, or a percentage."""
    try:
        value = float(text.removesuffix("%")) / (100.0 if text.endswith("%") else 1.0)
    except ValueError:
        value = 0.0
    if not 0.0 < value < 1.0:
        raise argparse.ArgumentTypeError(f"expected a number between 0 and 1, got {text[:40]!r}")
    return value


def case_named(text: str, arguments: Sequence[str]) -> TestCase:
    if text.endswith(".c"):
        return case_of(Path(text), tuple(arguments))
    case = select([text])[0]
    return replace(case, args=tuple(arguments)) if arguments else case


def plan_for(args: argparse.Namespace) -> Series:
    """One case on one kernel.  Raises UsageError for several kernels."""
    if args.kernel and len(args.kernel) > 1:
        raise UsageError("one --kernel is expected here")
    return plan_of(args, [case_named(args.case, args.behind)], seconds=args.time)


def dry(plan: Series, *more: str) -> int:
    print("\n".join([*describe(plan), *more]))
    return 0


@contextlib.contextmanager
def engine_of(plan: Series, args: argparse.Namespace, progress: Progress) -> Iterator[Engine]:
    """What runs the trials of ``plan``; ``--cluster`` may name another than this host's.

    It is known then that the campaign can start, and nothing was made yet: its results can be kept,
    its reproducers compile, and workers answer.
    """
    check_place(args.results)
    for case in plan.cases:
        binary_of(case)
    largest = max(map(plan.machine_of, plan.cases), key=lambda machine: machine.cpus)
    with engine_for(args.cluster, plan.guests, largest, progress) as engine:
        yield engine


def reproducer_of(case: TestCase) -> str:
    """Which build of its reproducer ``case`` comes to now, as Count has it."""
    return identity(case, binary_of(case)).id


def command() -> list[str]:
    """As it stands in the record of a run."""
    return ["harness", *sys.argv[1:]]


def run_rate(args: argparse.Namespace) -> int:
    plan, progress = plan_for(args), default_progress()
    if args.dry_run:
        return dry(plan)
    runs = args.runs
    if runs is None and not (args.budget or args.until_splat or args.width):
        runs = 20
    until = Until(runs, args.budget, args.until_splat, args.width, args.confidence)
    folder = functools.cache(lambda: RunFolder(command(), args.results))
    seen = Tally()

    def keep(tally: Tally) -> None:
        seen.counts = tally.counts

    def kept() -> str:
        runs = len(seen.counts)
        return f"{runs} runs are kept in {folder().path}; {_FROM}" if runs else ""

    try:
        with keeping(kept), engine_of(plan, args, progress) as engine:
            bench = GuestBench(plan, engine, folder, progress)
            measure(bench, bench.build(plan.kernels[0]), until, keep)
    finally:  # an interrupted one shows what it has
        if seen.counts:
            name = f"{plan.cases[0].name} on {plan.kernels[0].name}"
            _tell(list(rate_report(seen, name, args.confidence)), folder(), "rate.txt")
            low, high = seen.interval(args.confidence)
            facts = {
                **{"case": plan.cases[0].name, "kernel": plan.kernels[0].name},
                **{"reproducer": bench.reproducer, "confidence": args.confidence},
                **{"failed": len(seen.fails), "runs": len(seen.counted)},
                **{"left_out": len(seen.voids), "interval": [low, high]},
            }
            write(folder().path / "rate.json", json.dumps(facts, indent=1).encode() + b"\n")
    if seen.fails:
        return EXIT_FAIL
    return 0 if seen.counted else EXIT_UNSHOWN


def run_verify(args: argparse.Namespace) -> int:
    plan, progress = plan_for(args), default_progress()
    for patch in args.patch:
        if not patch.is_file():
            raise UsageError(f"{patch}: no such patch")
    if args.dry_run:
        return dry(plan, f"# and the same with {', '.join(map(str, args.patch))} on top")
    check_patches(plan.kernels[0], args.patch, progress)
    with engine_of(plan, args, progress) as engine:
        over, found = _verify(plan, engine, args, progress)
    if over is Finding.FIXED:
        return EXIT_FAIL if found.only_patched else 0
    return EXIT_FAIL if over is Finding.STILL_FAILS else EXIT_UNSHOWN


def _verify(
    plan: Series, engine: Engine, args: argparse.Namespace, progress: Progress
) -> tuple[Finding, Comparison]:
    """Both kernels in turns; an interrupted comparison is told and kept as far as it came."""
    case, base = plan.cases[0], plan.kernels[0]
    folder = RunFolder(command(), args.results)
    bench = GuestBench(plan, engine, lambda: folder, progress)
    patches = [_copied(patch, folder.path / f"{n:02}-{patch.name}") for n, patch in _numbered(args)]
    patched = stacked(base, f"{base.name}-patched", patches, folder.path)
    limits = Limits(args.confidence, args.runs, args.budget)
    seen: list[Comparison] = []
    over: Finding | None = None

    def keep(found: Comparison, side: Side, count: Count) -> None:
        seen[:] = [found]

    def kept() -> str:
        return f"the runs until now are kept in {folder.path}; {_FROM}" if seen else ""

    try:
        # The patched one first: a patch that does not apply or compile is known at once.
        with keeping(kept):
            with_patch = bench.build(patched)
            without = bench.build(base)
            over, found = compare(bench, without, with_patch, limits, args.race, keep)
        seen[:] = [found]
    finally:
        if seen:
            finding = over or seen[0].finding(over=True) or Finding.NOT_ENOUGH
            machine = plan.machine_of(case).name
            lines = list(verify_report(finding, seen[0], case.name, machine))
            _tell(lines, folder, "verify.txt")
            facts = {"finding": finding.value, "sentence": headline(finding, seen[0])}
            facts |= {"case": case.name, "reproducer": bench.reproducer}
            write(folder.path / "verify.json", json.dumps(facts, indent=1).encode() + b"\n")
    return over, found


def _numbered(args: argparse.Namespace) -> Iterator[tuple[int, Path]]:
    yield from enumerate(args.patch, 1)


def _copied(file: Path, to: Path) -> Path:
    """The record keeps what was verified, whatever becomes of the file."""
    write(to, file.read_bytes())
    return to


def _tell(lines: Sequence[str], folder: RunFolder, name: str) -> None:
    """Print, and keep beside the trials."""
    text = "\n".join(plain(line) for line in lines)
    print(text)
    print(f"record: {folder.path}")
    write(folder.path / name, text.encode() + b"\n")


def run_trial(args: argparse.Namespace) -> int:
    """A verdict about a tree.  What says nothing about it is 125 or stops the bisection."""
    try:
        return _trial(args)
    except (CompileError, PatchError) as error:
        print(f"harness trial: cannot be built: {error}", file=sys.stderr)
        return EXIT_UNSHOWN
    except HarnessError as error:
        print(f"harness trial: {error}", file=sys.stderr)
        return STOP + error.exit_code


def _trial(args: argparse.Namespace) -> int:
    plan, progress = plan_for(args), default_progress()
    spec = plan.kernels[0] if args.tree is None else of_tree(plan.kernels[0], args.tree)
    if args.dry_run:
        return dry(replace(plan, kernels=(spec,)))
    try:
        binary_of(plan.cases[0])
    except CompileError as error:  # a mistake in the reproducer is no property of a commit
        raise UsageError(error.what) from None
    with engine_of(plan, args, progress) as engine:
        bench = GuestBench(plan, engine, lambda: RunFolder(command(), args.results), progress)
        tally = measure(bench, bench.build(spec), Until(args.runs, splat=not args.race))
    bad = [c for c in tally.fails if not args.race or c.shows(args.race)]
    for line in rate_report(tally, f"{plan.cases[0].name} on {spec.name}", 0.95):
        print(plain(line))
    if bad:
        return EXIT_FAIL
    return 0 if any(count.seen is Seen.PASS for count in tally.counts) else EXIT_UNSHOWN


def of_tree(base: KernelSpec, tree: Path) -> KernelSpec:
    """The source tree ``tree`` with the configuration of ``base``, without its patches."""
    if base.prebuilt:
        raise UsageError(f"{base.name}: an image has no configuration to build {tree} with")
    source = WorkingTree(tree.expanduser().resolve())
    return replace(base, name=f"{base.name}-tree", sources=(source,), patches=())
