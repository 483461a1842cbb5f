"""A score as it grows: one row a bug and a control, kept in a JSON file after each of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.campaign.score import Attempt, caught_by
from harness.errors import UsageError
from harness.record.folder import write
from harness.spec.case import TestCase
from harness.trial.verdict import Outcome

SCHEMA_VERSION = 1

Json = dict[str, Any]


class Scorecard:
    """``file`` is read at first, so that what was measured before is not measured again.

    Only rows of the same base, budget, cases and instrumentation are of use: ``key`` holds them,
    reproducers by their content.  Raises UsageError for a file of another measurement.
    """

    def __init__(self, file: Path, key: Json, command: Sequence[str]) -> None:
        self._file, self._key, self._command = file, key, list(command)
        self.rows: dict[str, Json] = {}
        if not file.exists():
            return
        try:
            document = json.loads(file.read_bytes())
            old, rows = document["measured"], {row["name"]: row for row in document["rows"]}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{file}: not a score: {error}") from None
        differing = [name for name, value in key.items() if old.get(name) != value]
        if differing:
            raise UsageError(
                f"{file}: a score of something else: {', '.join(differing)} differ",
                hint="give another file with --json",
            )
        self.rows = rows

    def known(self, name: str, content: str) -> bool:
        """Whether the row of this content was measured already."""
        row = self.rows.get(name)
        return row is not None and row["content"] == content and not row["fault"]

    def add(self, row: Json) -> None:
        self.rows[row["name"]] = row
        write(self._file, json.dumps(self.document(), indent=1).encode() + b"\n")

    def document(self) -> Json:
        rows = list(self.rows.values())
        bugs = [row for row in rows if row["kind"] == "bug"]
        return {
            "schema": SCHEMA_VERSION,
            "command": self._command,
            "measured": self._key,
            "rows": rows,
            "score": {
                "caught": sum(row["caught"] is not None for row in bugs),
                "bugs": len(bugs),
                "not_run": sum(bool(row["fault"]) for row in rows),
                "false_alarms": sum(len(row["alarms"]) for row in rows if row["kind"] != "bug"),
            },
        }


def measured(
    base: str,
    budget: int,
    cases: Sequence[TestCase],
    instrument: Sequence[Path],
    machine: str,
    guests: int = 1,
) -> Json:
    """What a score depends on beside the bugs themselves; ``guests`` share a budget's seconds."""
    return {
        "base": base,
        "budget": budget,
        "guests": guests,
        "machine": machine,
        "instrumentation": [f"{p.stem} {_digest(p.read_bytes())}" for p in instrument],
        "cases": [f"{case.name} {_digest(_content(case))}" for case in cases],
    }


def row(
    name: str,
    kind: str,
    content: str,
    done: Sequence[Attempt],
    budget: float,
    near: Attempt | None = None,
    fault: str = "",
) -> Json:
    """One bug or one control; ``fault`` says why it could not be measured at all."""
    hit = caught_by(done, budget) if kind == "bug" else None
    # A check asks one thing only: does it fail without the bug as well?
    doubts = () if kind == "check" else (Outcome.INCONCLUSIVE, Outcome.ERROR)
    bad = (Outcome.FAIL, *doubts)
    alarms = [a for a in done if a.outcome in bad] if kind != "bug" else []
    return {
        "name": name,
        "kind": kind,
        "content": content,
        "fault": fault,
        "caught": _attempt(hit) if hit else None,
        "nearest": _attempt(near) if near and not hit else None,
        "alarms": [_attempt(alarm) for alarm in alarms],
        "attempts": [_attempt(attempt) for attempt in done],
    }


def _attempt(attempt: Attempt) -> Json:
    return {
        "case": attempt.case,
        "scenarios": list(attempt.scenarios),
        "seconds": attempt.seconds,
        "verdict": attempt.outcome.value,
        "reason": attempt.reason,
        "oracle": attempt.oracle,
        "cost": attempt.cost,
        "at": attempt.at,
        "exercised": all(e.enough for e in attempt.exercised if e.asked),
        "folder": attempt.folder,
        "on_control": attempt.on_control,
    }


def _content(case: TestCase) -> bytes:
    return repr((case.args, case.seconds, case.quick)).encode() + case.reproducer.read_bytes()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def content_of(patch: Path) -> str:
    return _digest(patch.read_bytes())
