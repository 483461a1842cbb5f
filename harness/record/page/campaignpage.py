"""Pages of a bisection, a score and a night, from the documents that results/ describes."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema

from harness.errors import UsageError
from harness.paths import PROJECT
from harness.record.interval import wilson
from harness.record.page.plots import Bar, bars, whisker
from harness.record.page.render import percent, render

Json = Mapping[str, Any]

_SCHEMAS = {"bisect": "bisect", "score": "matrix", "night": "matrix"}
_MOST_BARS = 60


def load_campaign(file: Path) -> dict[str, Any] | None:
    """The document in ``file``; None where it is of another kind.  Raises UsageError."""
    try:
        document = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None  # whoever reads it next says what is wrong with it
    if isinstance(document, dict) and {"measured", "rows", "score"} <= document.keys():
        return _from_score(_checked(file, document, "score"))
    if isinstance(document, list) and all(_is_change(each) for each in document):
        return _from_night(file.stem, document)
    kind = document.get("kind") if isinstance(document, dict) else None
    return _checked(file, document, _SCHEMAS[kind]) if kind in _SCHEMAS else None


def _checked(file: Path, document: dict[str, Any], schema: str) -> dict[str, Any]:
    wrong = next(_validator(schema).iter_errors(document), None)
    if wrong:
        where = "/".join(map(str, wrong.absolute_path)) or "the document"
        raise UsageError(f"{file}: {where}: {wrong.message[:200]}")
    return document


def _from_score(document: Json) -> dict[str, Any]:
    """What ``harness score --json`` wrote, as a matrix of bugs and cases."""
    cases = dict.fromkeys(a["case"] for row in document["rows"] for a in row["attempts"])
    rows = []
    for row in document["rows"]:
        cells: dict[str, Any] = {}
        for attempt in row["attempts"]:
            cell = cells.setdefault(attempt["case"], {"runs": 0, "failed": 0, "seconds": None})
            cell["runs"] += attempt["verdict"] in ("PASS", "FAIL")
            if attempt["verdict"] == "FAIL":
                cell["failed"] += 1
                cell["seconds"] = attempt["at"] if cell["seconds"] is None else cell["seconds"]
        made = {"name": row["name"], "cells": cells, "clean": row["kind"] == "control"}
        rows.append({**made, "about": row.get("fault", "")})
    score, measured = document["score"], document["measured"]
    return {
        **{"kind": "score", "title": f"Score on {measured['base']}", "cases": list(cases)},
        **{"rows": rows, "command": document["command"]},
        "summary": f"{score['caught']} of {score['bugs']} bugs caught within"
        f" {measured['budget']} s each; {score['false_alarms']} false alarms;"
        f" {score['not_run']} could not be measured.",
    }


_CHANGE = {"change", "kernel", "case", "title", "tonight", "before"}


def _is_change(entry: object) -> bool:
    return isinstance(entry, dict) and entry.keys() >= _CHANGE


def _from_night(name: str, changes: Sequence[Json]) -> dict[str, Any]:
    """What ``harness nightly`` wrote of a night: the changes, kernel by case."""
    rows: dict[str, dict[str, Any]] = {}
    for change in changes:
        row = rows.setdefault(
            str(change["kernel"]), {"name": str(change["kernel"]), "clean": True, "cells": {}}
        )
        failed, runs = _of(change["tonight"])
        told = f"{change['change']}: {change['title']} ({_words(change['before'])} before)"
        row["cells"][str(change["case"])] = {"runs": runs, "failed": failed, "changed": told}
    return {
        **{"kind": "night", "title": f"Night {name}", "rows": list(rows.values())},
        "cases": list(dict.fromkeys(str(change["case"]) for change in changes)),
        "summary": f"{len(changes)} changes against the nights before."
        if changes
        else "No change.",
    }


def _of(pair: object) -> tuple[int, int]:
    """(failed, runs) of a night's count."""
    if isinstance(pair, list | tuple) and len(pair) == 2:
        return int(pair[0]), int(pair[1])
    return 0, 0


def _words(pair: object) -> str:
    failed, runs = _of(pair)
    return f"{failed} of {runs}"


@functools.cache
def _validator(name: str) -> jsonschema.Draft202012Validator:
    file = PROJECT / "results" / f"{name}.schema.json"
    return jsonschema.Draft202012Validator(json.loads(file.read_text(encoding="utf-8")))


def campaign_page(document: Json) -> str:
    shown = _bisect(document) if document["kind"] == "bisect" else _score(document)
    return render(
        "campaign.html.j2",
        **{"rows": [], "log": [], "plot": None, "cases": [], **shown},
        kind=document["kind"],
        title=document["title"],
        subtitle=document.get("started", "")[:16].replace("T", " "),
        command=shlex.join(document.get("command", [])),
        made_by=importlib.metadata.version("hugetlb-harness"),
    )


def _bisect(document: Json) -> dict[str, Any]:
    commits = document["commits"]
    best = max((commit["probability"] for commit in commits), default=0.0)
    shown = sorted(range(len(commits)), key=lambda n: -commits[n]["probability"])[:_MOST_BARS]
    values = [
        Bar(
            commits[number]["id"][:8],
            commits[number]["probability"],
            note=f"{percent(commits[number]['probability'])}, {commits[number]['subject']}",
            marked=commits[number]["probability"] == best,
        )
        for number in sorted(shown)
    ]
    tried = [commit for commit in commits if commit["runs"] or commit.get("skipped")]
    return {
        "lead": document.get("answer", ""),
        "plot": bars(
            values, "Probability of each commit, from the good end", scale=max(best, 1e-3)
        ),
        "rows": [
            {**commit, "whisker": _whisker(commit), "best": commit["probability"] == best}
            for commit in (tried if len(commits) > 200 else commits)
        ],
        "log": document.get("log", []),
        "contents": [("posterior", "Posterior"), ("commits", "Commits"), ("log", "Log")],
    }


def _score(document: Json) -> dict[str, Any]:
    rows = []
    for row in document["rows"]:
        cells = []
        for case in document["cases"]:
            cell = row["cells"].get(case)
            cells.append({**cell, "verdict": _meaning(row, cell)} if cell else None)
        rows.append({**row, "row": cells})
    return {
        "lead": document.get("summary", ""),
        "cases": document["cases"],
        "rows": rows,
        "contents": [("matrix", "Matrix")],
    }


def _meaning(row: Json, cell: Json) -> str:
    """How a cell is coloured: on a control a failure is bad, on a bug the lack of one is."""
    if not cell["runs"]:
        return "SKIP"
    if row.get("clean"):
        return "FAIL" if cell["failed"] else "PASS"
    return "PASS" if cell["failed"] else "INCONCLUSIVE"


def _whisker(commit: Json) -> Any:
    if not commit["runs"]:
        return ""
    low, high = wilson(commit["failed"], commit["runs"])
    told = f"{commit['failed']} of {commit['runs']} failed"
    return whisker(low, high, commit["failed"] / commit["runs"], told)
