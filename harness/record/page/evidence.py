"""The trials that a campaign's document names, where their run folders are at hand."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.record.load import load_run
from harness.record.page.runpage import Seen, common
from harness.record.page.trialview import TrialView, brief

MOST = 500
"""Trials that a page of a campaign looks up; the run pages have them all."""


def evidence(
    names: Sequence[str], results: Path, beside: Path, page: Path, seen: Seen
) -> tuple[dict[str, Any], dict[str, str]]:
    """What common() makes of the trials, and the key of each name on the page.

    A name is RUN/TRIAL below ``results``, or TRIAL below ``beside``.
    """
    documents: dict[Path, dict[str, Any]] = {}
    views: list[TrialView] = []
    keys: dict[str, str] = {}
    folders: dict[str, Path] = {}
    for name in list(dict.fromkeys(name for name in names if name))[:MOST]:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            continue
        path = (results if "/" in name else beside) / name
        if path.parent not in documents:
            documents[path.parent] = {}
            with contextlib.suppress(UsageError):
                trials = load_run(path.parent).trials
                documents[path.parent] = {trial["folder"]: trial for trial in trials}
        if document := documents[path.parent].get(path.name):
            keys[name] = f"trial-{len(views) + 1}"
            folders[keys[name]] = path
            views.append(brief(document, keys[name]))
    return common(views, lambda view: folders[view.key], page, seen), keys
