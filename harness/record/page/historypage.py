"""The page of a whole history: from its rows alone, with documents only for what is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from markupsafe import Markup

from harness.record.history import questions
from harness.record.history.ingest import documents
from harness.record.history.store import History
from harness.record.interval import wilson
from harness.record.page.plots import Bar, bars
from harness.record.page.render import many, render
from harness.record.page.runpage import common, with_document
from harness.record.page.trialview import TrialView

_CELLS = 12
"""Cells whose rate is drawn over time: those that failed most."""

_BARS = 40


def history_page(history: History, page: Path) -> str:
    rows = [dict(row) for row in questions.every_trial(history)]
    folders = {f"trial-{row['id']}": Path(row["run_folder"]) / row["folder"] for row in rows}
    trials = [_view(row) for row in rows]
    totals = questions.totals(history)

    def whole(view: TrialView) -> TrialView:
        number = int(view.key.rpartition("-")[2])
        return with_document(view, documents(history, [number])[number])

    found = [dict(row) for row in questions.signatures(history) if row["own"]]
    context = common(
        trials, lambda v: folders[v.key], page, {r["signature"]: r for r in found}, whole
    )
    context["over_time"] = _over_time(rows)
    context["signatures"] = found[:200]
    context["contents"] += [("time", "Over time")] if context["over_time"] else []
    context["contents"] += [("signatures", "Splats")] if found else []
    return render(
        "run.html.j2",
        **context,
        title="History",
        subtitle=f"{many(totals.trials, 'trial')} in {many(totals.runs, 'run')}"
        + (f", {totals.first[:10]} to {totals.last[:10]}" if totals.trials else ""),
        notes=[],
        host={},
        command="",
    )


def _view(row: Mapping[str, Any]) -> TrialView:
    """A stand-in for the document, with what counting needs."""
    splats = []
    if row["signature"]:
        splats = [
            {
                **{"signature": row["signature"], "title": row["title"], "place": row["place"]},
                "race_key": row["race_key"],
            }
        ]
    document = {
        **{"splats": splats, "first_splat_seconds": row["first_splat_seconds"]},
        "reasons": [{"oracle": row["oracle"], "text": row["reason"]}] if row["reason"] else [],
        "started": row["started"],
        "kernel": {
            **{"name": row["kernel"], "content_id": row["content_id"], "release": row["release"]},
            **{"source": row["source"], "compiler": row["compiler"]},
        },
    }
    return TrialView(
        key=f"trial-{row['id']}",
        case=row["test_case"],
        kernel=row["kernel"],
        column=row["kernel"],
        verdict=row["verdict"],
        document=document,
        shown=False,
        reason=row["reason"],
    )


def _over_time(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, Markup]]:
    """The share that failed, in equal stretches of time, of the cells that failed most."""
    cells: dict[tuple[str, str, str], list[tuple[int, bool]]] = {}
    for row in rows:
        if row["verdict"] in ("PASS", "FAIL"):
            day = date.fromisoformat(row["started"][:10]).toordinal()
            key = (row["test_case"], row["kernel"], row["reproducer"])
            cells.setdefault(key, []).append((day, row["verdict"] == "FAIL"))
    days = [day for cell in cells.values() for day, _ in cell]
    if len(set(days)) < 2:
        return []
    first, last = min(days), max(days)
    stretch = max(1, -(-(last - first + 1) // _BARS))
    failing = {key: cell for key, cell in cells.items() if any(failed for _, failed in cell)}
    worst = sorted(failing, key=lambda key: -sum(failed for _, failed in failing[key]))[:_CELLS]
    made = []
    for key in worst:
        values = []
        for begin in range(first, last + 1, stretch):
            told = [failed for day, failed in failing[key] if begin <= day < begin + stretch]
            label = date.fromordinal(begin).isoformat()[2:]
            if not told:
                values.append(Bar(label, None))
                continue
            low, high = wilson(sum(told), len(told))
            note = f"{sum(told)} of {len(told)} failed"
            values.append(Bar(label, sum(told) / len(told), low, high, note, marked=any(told)))
        title = f"{key[0]} on {key[1]}"
        if sum(key[:2] == other[:2] for other in cells) > 1:
            title += f" (reproducer {key[2][:8] or 'not recorded'})"
        made.append((title, bars(values, f"Share of {title} that failed, from {values[0].label}")))
    return made
