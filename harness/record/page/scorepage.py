"""The page of a score: which bugs the suite catches, by which case, and how soon."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.record.page.plots import reach
from harness.record.page.render import render, seconds

Json = Mapping[str, Any]

ORACLES = {
    **{"O1": "splat", "O2": "signal", "O3": "data", "O4": "counters", "O5": "hang"},
    **{"O6": "return codes", "O7": "instrumentation"},
}
_ORDER = ("missed", "not measured", "caught")


def score_page(document: Json, evidence: Json, keys: Mapping[str, str]) -> str:
    """``keys`` leads from an attempt's folder to its trial in ``evidence``."""
    measured, score = document["measured"], document["score"]
    bugs = [_bug(row, measured["budget"], keys) for row in document["rows"] if row["kind"] == "bug"]
    controls = [_control(row, keys) for row in document["rows"] if row["kind"] == "control"]
    cases = sorted({a["case"] for row in document["rows"] for a in row["attempts"]})
    by_oracle = Counter(bug["oracle"] for bug in bugs if bug["oracle"])
    lead = (
        f"{score['caught']} of {score['bugs']} bugs were caught within {measured['budget']} s each."
    )
    if score["not_run"]:
        lead += f" {score['not_run']} could not be measured."
    if controls:
        lead += f" {_alarms(score['false_alarms'])} on the control."
    else:
        lead += " The control was not run: nothing is said of false alarms."
    return render(
        "score.html.j2",
        **dict(evidence)
        | {
            "lead": lead,
            "contents": [
                ("bugs", "Bugs"),
                *([("controls", "Control")] if controls else []),
                *([("matrix", "Tried")] if cases else []),
                *([("trials", "Trials")] if evidence["trials"] else []),
            ],
        },
        title=f"Score on {measured['base']}",
        subtitle=f"{len(measured['cases'])} cases, {measured['budget']} s for each bug"
        + (f", on {measured['machine']}" if measured["machine"] else ""),
        budget=measured["budget"],
        bugs=sorted(bugs, key=lambda bug: (_ORDER.index(bug["outcome"]), -(bug["at"] or 0))),
        controls=controls,
        by_oracle=by_oracle.most_common(),
        cases=cases,
        grid=[_grid(row, cases, keys) for row in document["rows"] if row["attempts"]],
        command=shlex.join(document["command"]),
    )


def _alarms(count: int) -> str:
    return f"{count or 'No'} false alarm{'' if count == 1 else 's'}"


def _bug(row: Json, budget: float, keys: Mapping[str, str]) -> dict[str, Any]:
    caught = row["caught"]
    spent = max((attempt["at"] for attempt in row["attempts"]), default=0.0)
    outcome = "caught" if caught else "missed" if row["attempts"] else "not measured"
    told = caught or row["nearest"] or {}
    at = caught["at"] if caught else None
    label = f"caught after {seconds(at)}" if caught else f"missed, {seconds(spent)} spent"
    return {
        "name": row["name"],
        "outcome": outcome,
        "verdict": {"caught": "PASS", "missed": "FAIL"}.get(outcome, "SKIP"),
        "case": told.get("case", ""),
        "oracle": ORACLES.get(caught["oracle"], "") if caught else "",
        "at": at,
        "reach": reach(caught["at"] if caught else spent, budget, bool(caught), label),
        "tried": len(row["attempts"]),
        "said": _fault(row["fault"]) if outcome == "not measured" else told.get("reason", ""),
        "key": keys.get(told.get("folder", ""), ""),
    }


def _fault(text: str) -> str:
    """Without the folders of the host that measured."""
    return " ".join(Path(word).name if word.startswith("/") else word for word in text.split())


def _control(row: Json, keys: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": row["name"],
        "tried": len(row["attempts"]),
        "alarms": [{**alarm, "key": keys.get(alarm["folder"], "")} for alarm in row["alarms"]],
        "fault": row["fault"],
    }


def _grid(row: Json, cases: list[str], keys: Mapping[str, str]) -> dict[str, Any]:
    cells: dict[str, dict[str, Any]] = {}
    for attempt in row["attempts"]:  # the last one tells most: it is the one that caught it
        word, glyph, style = _mark(attempt["verdict"], row["kind"] == "control")
        cells[attempt["case"]] = {
            **{"word": word, "glyph": glyph, "style": style},
            "at": seconds(attempt["at"]) if attempt["verdict"] == "FAIL" else "",
            "key": keys.get(attempt["folder"], ""),
        }
    return {"name": row["name"], "cells": [cells.get(case) for case in cases]}


def _mark(verdict: str, control: bool) -> tuple[str, str, str]:
    """Word, glyph and colour: what is good on a bug is bad on a control."""
    if verdict == "FAIL":
        return ("false alarm", "✗", "FAIL") if control else ("caught", "●", "PASS")
    if verdict == "PASS":
        return ("quiet", "✓", "PASS") if control else ("quiet", "·", "quiet")
    return verdict.lower(), "?", "INCONCLUSIVE"
