"""Verdicts for a person at a terminal, 80 columns wide."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from harness.trial.evidence import Exercised
from harness.trial.trial import TrialResult
from harness.trial.verdict import Outcome

COLOURS = {
    Outcome.PASS: "bold green",
    Outcome.FAIL: "bold red",
    Outcome.INCONCLUSIVE: "bold yellow",
    Outcome.SKIP: "cyan",
    Outcome.ERROR: "bold magenta",
}


def table(results: Sequence[TrialResult]) -> Table:
    """One row a trial: kernel, verdict, and the evidence in a few short lines."""
    drawn = Table(show_lines=True, pad_edge=False)
    drawn.add_column("kernel, test case", overflow="fold")
    drawn.add_column("verdict", no_wrap=True)
    drawn.add_column("evidence", overflow="fold", ratio=1)
    for result in results:
        outcome = result.verdict.outcome
        drawn.add_row(
            Group(Text(kernel_name(result), style="bold"), Text(result.trial.case.name)),
            Text(outcome.value, style=COLOURS[outcome]),
            Group(*(Text(line) for line in evidence_lines(result))),
        )
    return drawn


def evidence_lines(result: TrialResult) -> list[str]:
    """What a person needs to believe the verdict."""
    seen = result.evidence
    lines: list[str] = []
    if seen.splats:
        first = seen.splats[0]
        lines.append(first.headline)
        if first.assertion:
            lines.append(first.assertion)
        if first.function:
            lines.append(f"in {first.function}")
        if first.place:
            lines.append(f"at {first.place}")
        if seen.first_splat is not None:
            lines.append(f"{seen.first_splat:.1f} s after the reproducer's start")
        others = len(seen.splats) - 1
        if others:
            lines.append(f"and {others} more report{'s' if others > 1 else ''} behind it")
    else:
        lines += [reason.text for reason in result.verdict.reasons[:3]]
    if seen.splats and seen.results.counts:
        told = ", ".join(f"{name} {value}" for name, value in seen.results.counts.items())
        lines.append(f"told until then: {told}")
    elif seen.exercised and not seen.splats:
        lines.append("exercised: " + ", ".join(map(_count, seen.exercised)))
    armed = [arming.detector.name for arming in seen.arming if arming.armed]
    if armed:
        lines.append("armed before and after: " + ", ".join(armed))
    if seen.boot_splats:
        lines.append(f"while booting: {seen.boot_splats[0].title}")
    return lines


def _count(count: Exercised) -> str:
    reached = "?" if count.reached is None else count.reached
    needs = "" if count.enough else f" (needs {count.least})"
    return f"{count.counter} {reached}{needs}"


def kernel_name(result: TrialResult) -> str:
    kernel = result.trial.kernel
    return kernel.name if kernel else result.trial.remote


def line(result: TrialResult) -> str:
    """One line for a log: verdict, case, kernel, reason."""
    reason = f": {result.verdict.reason}" if result.verdict.reasons else ""
    name = result.trial.case.name
    return f"{result.verdict.outcome.value} {name} on {kernel_name(result)}{reason}"


def at_splat_lines(result: TrialResult) -> list[str]:
    """What can be looked into now, and how."""
    lines = []
    if result.dumped:
        size = result.dumped.stat().st_size >> 20
        lines.append(f"  dump: {result.dumped} ({size} MiB); harness drgn {result.dumped}")
    if result.frozen:
        lines.append(
            f"  frozen for {result.trial.hold} s as {result.frozen}:"
            " harness gdb, harness drgn, harness shell; harness halt ends it"
        )
    if result.problem:
        lines.append(f"  --on-splat {result.trial.on_splat} failed: {result.problem}")
    return lines


def show(results: Sequence[TrialResult]) -> None:
    """The table, as wide as the terminal, 100 columns where there is none."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=100)
    console.print(table(results))
