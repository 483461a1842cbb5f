"""Run folders read back: by this harness, an older one, or half copied from elsewhere."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, UsageError
from harness.paths import PROJECT
from harness.record.document import SCHEMA_VERSION
from harness.record.spool import spooled

_NEEDED = {
    **{"case": str, "verdict": str, "reasons": list, "started": str, "folder": str},
    **{"repeat": list, "kernel": dict, "machine": dict, "boot_seconds": (int, float)},
    **{"run_seconds": (int, float), "asked_seconds": int, "splats": list, "boot_splats": list},
    **{"armed": list, "exercised": list, "reproducer": dict, "counters": dict, "life": list},
}
"""What every reader of a trial relies on; the whole of it is results/result.schema.json."""

_VERDICTS = {"PASS", "FAIL", "INCONCLUSIVE", "SKIP", "ERROR"}


@dataclass(frozen=True)
class Run:
    """One run as its result.json tells it.  ``stamp`` is that file's size and time in ns.

    ``complaints`` tell of trials that were passed over because they cannot be read.
    """

    name: str
    started: str
    command: Sequence[str]
    host: dict[str, str]
    folder: Path
    trials: list[dict[str, Any]] = field(default_factory=list)
    stamp: tuple[int, int] = (-1, -1)
    complaints: tuple[str, ...] = ()


def run_folders(folder: Path) -> Iterator[Path]:
    """``folder`` itself, or the run folders in it, oldest first by name."""
    if (folder / "result.json").is_file():
        yield folder
        return
    if folder.is_file() and folder.name == "result.json":
        yield folder.parent
        return
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    for each in sorted(folder.iterdir()):
        if (each / "result.json").is_file():
            yield each


def load_run(folder: Path) -> Run:
    """Raises UsageError, which says what is wrong with the file, and where."""
    file = folder / "result.json" if folder.is_dir() else folder
    try:
        stat = file.stat()
        document = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise UsageError(f"{folder}: not a run folder: no result.json in it") from None
    except (OSError, RecursionError) as error:
        raise UsageError(f"{file}: cannot be read: {error}") from None
    except ValueError as error:
        raise UsageError(f"{file}: half copied, or not JSON: {error}") from None
    if not isinstance(document, dict) or not isinstance(document.get("trials"), list):
        raise UsageError(f"{file}: expected the result of a run, with trials")
    if document.get("schema") != SCHEMA_VERSION:
        raise UsageError(
            f"{file}: version {document.get('schema')!r} of the schema;"
            f" this harness reads version {SCHEMA_VERSION}"
        )
    trials, complaints = [], []
    kept = document["trials"]
    for number, trial in enumerate([*kept, *islice(spooled(file.parent), len(kept), None)], 1):
        if wrong := _wrong(trial):
            complaints.append(f"{file}: trial {number} is passed over: {wrong}")
        else:
            trial.setdefault("first_splat_seconds", None)
            trials.append(trial)
    return Run(
        name=str(document.get("run", folder.name)),
        started=str(document.get("started", "")),
        command=[str(word) for word in document.get("command", [])],
        host={str(k): str(v) for k, v in dict(document.get("host", {})).items()},
        folder=file.parent.absolute(),
        trials=trials,
        stamp=(stat.st_size, stat.st_mtime_ns),
        complaints=tuple(complaints),
    )


@contextlib.contextmanager
def readable(run: Run) -> Iterator[None]:
    """Whatever goes wrong with what is made of ``run`` is told as what is wrong with its file.

    To look at each value beforehand would cost more than all that is made of most runs.  An error
    that the file has no part in is ours, and goes on.
    """
    try:
        yield
    except HarnessError:
        raise
    except Exception:
        if wrong := _against_schema(run):
            raise UsageError(f"{run.folder / 'result.json'}: {wrong}") from None
        raise


def _against_schema(run: Run) -> str:
    import jsonschema  # which takes longer to load than most runs to read

    schema = json.loads((PROJECT / "results" / "result.schema.json").read_text(encoding="utf-8"))
    one = jsonschema.Draft202012Validator(
        {"$ref": "#/$defs/trial", "$defs": schema["$defs"], "$schema": schema["$schema"]}
    )
    for number, document in enumerate(run.trials, 1):
        if error := next(one.iter_errors(document), None):
            where = "/".join(map(str, error.absolute_path))
            return f"trial {number}: {where + ': ' if where else ''}{error.message[:200]}"
    return ""


def _wrong(trial: object) -> str:
    """What a trial lacks of what is relied on; empty for one that can be read."""
    if not isinstance(trial, dict):
        return "not an object"
    for key, kind in _NEEDED.items():
        if not isinstance(trial.get(key), kind):  # type: ignore[arg-type]
            return f"{key!r} is missing or of another type"
    if trial["verdict"] not in _VERDICTS:
        return f"no verdict is called {trial['verdict']!r}"
    if ".." in Path(trial["folder"]).parts or Path(trial["folder"]).is_absolute():
        return "its folder is not below the run's"
    return ""
