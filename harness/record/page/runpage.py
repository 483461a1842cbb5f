"""The page of one run, and of several runs beside each other."""

from __future__ import annotations

import importlib.metadata
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.record.load import Run
from harness.record.page.matrix import Cell, Finding, Matrix, findings, matrix
from harness.record.page.render import many, render, thousands
from harness.record.page.trialview import SEVERITY, TrialView, brief, detailed

DETAILED = 50
"""Trials that are shown with all that was seen, the ones that tell most."""

LISTED = 1500
"""Trials that get at least a line."""

Seen = Mapping[str, Mapping[str, Any]]
"""What the history knows of signatures."""


def run_page(run: Run, page: Path, seen: Seen) -> str:
    """``page`` is where it will be written: links to files are relative to it."""
    trials = [brief(t, f"trial-{n}") for n, t in enumerate(run.trials, 1)]
    folders = {view.key: run.folder / view.document["folder"] for view in trials}
    return render(
        "run.html.j2",
        **common(trials, lambda view: folders[view.key], page, seen),
        title=f"Run {run.name}",
        subtitle=f"started {run.started[:16].replace('T', ' ')} UTC, {many(len(trials), 'trial')}"
        + (f" on {run.host['machine']}" if run.host.get("machine") else ""),
        notes=list(run.complaints[:5]),
        host=run.host,
        command=shlex.join(run.command),
    )


def compare_page(runs: Sequence[Run], page: Path, seen: Seen) -> str:
    """Runs beside each other, the oldest first; what differs comes first."""
    trials, folders = [], {}
    for number, run in enumerate(runs, 1):
        for at, document in enumerate(run.trials, 1):
            name = document["kernel"]["name"]
            column = f"{name}, run {number}"
            view = brief(document, f"run-{number}-trial-{at}", column)
            trials.append(view)
            folders[view.key] = run.folder / document["folder"]
    context = common(trials, lambda view: folders[view.key], page, seen)
    differences, changed = _differences(context["matrix"], len(runs))
    context["contents"] = [
        *([("differences", "What differs")] if differences else []),
        *context["contents"],
    ]
    both = [each for each in differences if all(each[2])]
    alone = [each for each in differences if not all(each[2])]
    told = (
        f"{many(len(both), 'cell')} differ{'s' * (len(both) == 1)}" if both else "No cell differs"
    )
    if alone:
        told += f"; not run in all of them: {thousands(len(alone))}"
    return render(
        "run.html.j2",
        **context
        | {
            "lead": f"{told}. {context['lead']}",
            **{"both": both, "alone": alone},
            "changed": changed,
            "compared": [run.name for run in runs],
        },
        title="Runs compared",
        subtitle=", ".join(f"run {number}: {run.name}" for number, run in enumerate(runs, 1)),
        notes=[line for run in runs for line in run.complaints[:5]],
        host={},
        command="",
    )


def common(
    trials: Sequence[TrialView],
    folder: Callable[[TrialView], Path | None],
    page: Path | None,
    seen: Seen,
    document: Callable[[TrialView], TrialView] = lambda view: view,
) -> dict[str, Any]:
    """What every page of trials shows.  ``document`` fetches the rest of a trial that is shown."""
    shown = _choose(trials)
    views = {
        view.key: detailed(document(view), folder(view), page) if view.key in shown else view
        for view in trials
    }
    everything = list(views.values())
    table = matrix(everything)
    found = findings(everything)
    failed = [finding for finding in found if finding.verdict == "FAIL"]
    unshown = [finding for finding in found if finding.verdict != "FAIL"]
    details = sorted(
        (view for view in everything if view.shown), key=lambda v: SEVERITY.index(v.verdict)
    )
    rest = [view for view in everything if not view.shown]
    decided = [cell for cell in table.cells if cell.decided]
    rated = decided if any(cell.decided > 1 for cell in decided) else []
    return {
        "lead": _lead(everything, failed),
        "counts": Counter(view.verdict for view in everything),
        "failed": failed,
        "unshown": unshown,
        "matrix": table,
        "changed": frozenset(),
        **{"both": [], "alone": []},
        "compared": [],
        "rated": [cell for cell in rated if cell.failed],
        "quiet": [cell for cell in rated if not cell.failed],
        "over_time": [],
        "signatures": [],
        "seen": seen,
        "trials": details,
        "listed": rest[:LISTED],
        "unlisted": max(0, len(rest) - LISTED),
        "opened": {finding.example.key for finding in failed[:3]},
        "kernels": _kernels(everything),
        "made_by": importlib.metadata.version("hugetlb-harness"),
        "contents": [
            *([("failed", "What failed")] if failed else []),
            *([("unshown", "What was not shown")] if unshown else []),
            *(
                [("matrix", "Verdicts"), ("trials", "Trials"), ("kernels", "Kernels")]
                if everything
                else []
            ),
        ],
    }


def _choose(trials: Sequence[TrialView]) -> set[str]:
    """The trials that are shown whole: of each finding the first, of each cell the weightiest,
    and then more of what failed.
    """
    if len(trials) <= DETAILED:
        return {trial.key for trial in trials}
    firsts = [head.trials[0] for finding in findings(trials) for head in finding.heads]
    cells = [min(c.trials, key=lambda t: SEVERITY.index(t.verdict)) for c in matrix(trials).cells]
    rest = sorted(trials, key=lambda t: SEVERITY.index(t.verdict))
    order = dict.fromkeys(view.key for view in [*firsts, *cells, *rest])
    return set(list(order)[:DETAILED])


def _lead(trials: Sequence[TrialView], failed: Sequence[Finding]) -> str:
    """The whole in a sentence."""
    counts = Counter(trial.verdict for trial in trials)
    if not trials:
        return "No trial was recorded."
    if failed:
        first = failed[0]
        place = f" at {first.place}" if first.place else ""
        heads = f" ({len(first.heads)} heads of one race)" if len(first.heads) > 1 else ""
        others = f", and {many(len(failed) - 1, 'other thing')}" if len(failed) > 1 else ""
        told = f"{counts['FAIL']} of {many(len(trials), 'trial')} failed"
        return f"{told}: {first.title}{place}{heads}{others}."
    if counts["PASS"] == len(trials):
        return f"All of {many(len(trials), 'trial')} passed: exercised, armed, and quiet."
    left = len(trials) - counts["PASS"]
    return (
        f"Nothing failed, but {left} of {many(len(trials), 'trial')} showed nothing:"
        " see what was not shown."
    )


def _kernels(trials: Sequence[TrialView]) -> list[dict[str, Any]]:
    kernels: dict[tuple[str, str], dict[str, Any]] = {}
    for trial in trials:
        kernel = trial.document["kernel"]
        key = (kernel["name"], kernel.get("content_id") or "")
        kernels.setdefault(
            key,
            {
                **{"name": key[0], "content_id": key[1], "release": kernel.get("release", "")},
                **{"source": kernel.get("source", ""), "compiler": kernel.get("compiler", "")},
                "patches": kernel.get("patches", []),
                "dropped": kernel.get("dropped_options", []),
                "inexact": kernel.get("inexact_patches", []),
            },
        )
    return list(kernels.values())


def _differences(
    table: Matrix, runs: int
) -> tuple[list[tuple[str, str, list[Cell | None]]], frozenset[tuple[str, str]]]:
    """Cells of one case and kernel that are not alike in all runs."""
    found, changed = [], set()
    kernels = dict.fromkeys(column.rpartition(", run ")[0] for column in table.columns)
    for case, row in table.rows:
        cells = {cell.column: cell for cell in row if cell}
        for kernel in kernels:
            beside = [cells.get(f"{kernel}, run {number}") for number in range(1, runs + 1)]
            there = [cell for cell in beside if cell]
            if len({cell.verdict if cell else "" for cell in beside}) > 1 and there:
                found.append((case, kernel, beside))
                changed |= {(case, cell.column) for cell in there}
    return found, frozenset(changed)


def with_document(view: TrialView, document: Mapping[str, Any]) -> TrialView:
    return replace(view, document=document)
