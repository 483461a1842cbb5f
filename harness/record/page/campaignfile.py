"""Documents of campaigns, as results/*.schema.json describe them: read, and told apart."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import jsonschema

from harness.errors import UsageError
from harness.paths import PROJECT

KINDS = ("bisect", "night", "score")


def load_campaign(file: Path) -> tuple[str, dict[str, Any]] | None:
    """Kind and document of ``file``; None where it is of no campaign.  Raises UsageError."""
    try:
        document = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None  # whoever reads it next says what is wrong with it
    if not isinstance(document, dict):
        return None
    kind = document.get("kind")
    if {"measured", "rows", "score"} <= document.keys():
        kind = "score"
    if kind not in KINDS:
        return None
    return kind, checked(file, document, kind)


def checked(file: Path, document: dict[str, Any], kind: str) -> dict[str, Any]:
    """``document`` if it is one of ``kind``.  Raises UsageError that says where it is not."""
    wrong = next(_validator(kind).iter_errors(document), None)
    if wrong:
        where = "/".join(map(str, wrong.absolute_path)) or "the document"
        raise UsageError(f"{file}: {where}: {wrong.message[:200]}")
    return document


@functools.cache
def _validator(kind: str) -> jsonschema.Draft202012Validator:
    file = PROJECT / "results" / f"{kind}.schema.json"
    return jsonschema.Draft202012Validator(json.loads(file.read_text(encoding="utf-8")))
