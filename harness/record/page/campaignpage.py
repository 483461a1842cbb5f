"""Pages of a bisection, a score and a night, from the documents that results/ describes."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema

from harness.errors import UsageError
from harness.paths import PROJECT
from harness.record.interval import wilson
from harness.record.page.plots import Bar, bars, whisker
from harness.record.page.render import percent, render

Json = Mapping[str, Any]

_SCHEMAS = {"bisect": "bisect", "score": "score", "night": "score"}
_MOST_BARS = 60


def load_campaign(file: Path) -> dict[str, Any] | None:
    """The document in ``file``; None where it is of another kind.  Raises UsageError."""
    try:
        document = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None  # whoever reads it next says what is wrong with it
    kind = document.get("kind") if isinstance(document, dict) else None
    if kind not in _SCHEMAS:
        return None
    wrong = next(_validator(_SCHEMAS[kind]).iter_errors(document), None)
    if wrong:
        where = "/".join(map(str, wrong.absolute_path)) or "the document"
        raise UsageError(f"{file}: {where}: {wrong.message[:200]}")
    assert isinstance(document, dict)
    return document


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
