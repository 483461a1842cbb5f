"""Verdicts for a person at a terminal, 80 columns wide."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

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
    drawn.add_column("kernel", overflow="fold", no_wrap=False)
    drawn.add_column("test case", overflow="fold")
    drawn.add_column("verdict", no_wrap=True)
    drawn.add_column("evidence", overflow="fold", ratio=1)
    for result in results:
        outcome = result.verdict.outcome
        drawn.add_row(
            kernel_name(result),
            result.trial.case.name,
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
        where = f"in {first.function}"
        lines.append(f"{where} at {first.place}" if first.place else where)
        if seen.first_splat is not None:
            lines.append(f"{seen.first_splat:.1f} s after the reproducer's start")
        others = len(seen.splats) - 1
        if others:
            lines.append(f"and {others} more report{'s' if others > 1 else ''} behind it")
    else:
        lines += [reason.text for reason in result.verdict.reasons[:3]]
    counts = [
        f"{e.counter} {'?' if e.reached is None else e.reached}"
        + ("" if e.enough else f" (needs {e.least})")
        for e in seen.exercised
    ]
    if counts:
        lines.append("exercised: " + ", ".join(counts))
    armed = [arming.detector.name for arming in seen.arming if arming.armed]
    if armed:
        lines.append("armed before and after: " + ", ".join(armed))
    if seen.boot_splats:
        lines.append(f"while booting: {seen.boot_splats[0].title}")
    return lines


def kernel_name(result: TrialResult) -> str:
    kernel = result.trial.kernel
    return kernel.name if kernel else result.trial.remote


def line(result: TrialResult) -> str:
    """One line for a log: verdict, case, kernel, reason."""
    reason = f": {result.verdict.reason}" if result.verdict.reasons else ""
    name = result.trial.case.name
    return f"{result.verdict.outcome.value} {name} on {kernel_name(result)}{reason}"


def show(results: Sequence[TrialResult], console: Console | None = None) -> None:
    """The table, at least 80 columns wide where nobody looks."""
    console = console or Console(width=None)
    if not console.is_terminal:
        console = Console(width=100, file=console.file)
    console.print(table(results))
