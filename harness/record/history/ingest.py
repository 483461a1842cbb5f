"""Run folders into the history, each trial whole or not at all, as often as one likes."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import EnvironmentFault, HarnessError, UsageError
from harness.record.history.store import History, explained
from harness.record.load import Run, load_run, run_folders

Json = Mapping[str, Any]

SETTLED = 24 * 3600.0
"""Seconds without a change after which a run folder is not looked at again."""


_ODD = (KeyError, TypeError, AttributeError, ValueError, OverflowError, sqlite3.IntegrityError)
"""What comes of a document that is not as its schema says."""


@dataclass(frozen=True)
class Taken:
    """What an import came to: ``complaints`` are of what could not be read."""

    runs: int = 0
    trials: int = 0
    complaints: tuple[str, ...] = ()


def register(history: History, run: Run) -> None:
    """Make a run known before its first trial, so that catch_up() finds what a crash left."""
    with history.writing() as db:
        _run_row(db, run)


def add_trial(history: History, run: Run, trial: Json) -> None:
    """One trial that just ended."""
    with history.writing() as db:
        _trial_row(db, _run_row(db, run), run, trial)


def add_run(history: History, run: Run) -> int:
    """All trials of a run that are not there yet; how many there were."""
    with history.writing() as db:
        row = _run_row(db, run)
        there = {name for (name,) in db.execute("SELECT folder FROM trial WHERE run = ?", (row,))}
        new = [trial for trial in run.trials if trial["folder"] not in there]
        for trial in new:
            _trial_row(db, row, run, trial)
        db.execute(
            "UPDATE run SET size = ?, changed = ?, settled = ? WHERE id = ?",
            (*run.stamp, int(time.time() - run.stamp[1] / 1e9 > SETTLED), row),
        )
    return len(new)


def import_folders(history: History, folders: list[Path]) -> Taken:
    """Run folders, or folders of run folders.  What cannot be read is told, and the rest taken."""
    runs = trials = 0
    complaints: list[str] = []
    for folder in folders:
        found = list(run_folders(folder))
        if not found:
            raise UsageError(f"{folder}: no run folder (result.json) in it")
        for each in found:
            try:
                run = load_run(each)
                trials += add_run(history, run)
            except (UsageError, *_ODD) as e:
                what = (
                    str(e) if isinstance(e, HarnessError) else f"{each}: not as the schema: {e!r}"
                )
                complaints.append(what)
                continue
            runs += 1
            complaints += run.complaints
    return Taken(runs, trials, tuple(complaints))


def catch_up(history: History) -> None:
    """Take what known runs have grown by: a harness that was killed had no time to tell.

    What stands in the way is no reason to answer nothing: the questions meet it, or do not.
    """
    with contextlib.suppress(EnvironmentFault), explained(history.file):
        for row in list(history.db.execute("SELECT * FROM run WHERE settled = 0")):
            folder = Path(row["folder"])
            try:
                stat = (folder / "result.json").stat()
            except OSError:
                continue
            if (stat.st_size, stat.st_mtime_ns) != (row["size"], row["changed"]) or (
                time.time() - stat.st_mtime > SETTLED
            ):
                with contextlib.suppress(UsageError, *_ODD):
                    add_run(history, load_run(folder))


def documents(history: History, trials: list[int]) -> dict[int, dict[str, Any]]:
    """The whole documents of trials, by their numbers in the history."""
    marks = ",".join("?" * len(trials))
    rows = history.db.execute(f"SELECT trial, json FROM document WHERE trial IN ({marks})", trials)
    return {row["trial"]: unpacked(row["json"]) for row in rows}


def packed(document: Json) -> bytes:
    return zlib.compress(json.dumps(document, separators=(",", ":")).encode(), 6)


def unpacked(blob: bytes) -> dict[str, Any]:
    document = json.loads(zlib.decompress(blob))
    assert isinstance(document, dict)
    return document


def _run_row(db: sqlite3.Connection, run: Run) -> int:
    db.execute(
        "INSERT INTO run (name, started, command, host, folder) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET folder = excluded.folder",
        (run.name, run.started, json.dumps(run.command), json.dumps(run.host), str(run.folder)),
    )
    return int(db.execute("SELECT id FROM run WHERE name = ?", (run.name,)).fetchone()[0])


def _kernel_row(db: sqlite3.Connection, run: Run, kernel: Json) -> int:
    key = _storable(kernel["name"], kernel.get("content_id") or "", kernel.get("release") or "")
    where = "WHERE name = ? AND content_id = ? AND release = ?"
    found = db.execute(f"SELECT id, config IS NULL FROM kernel {where}", key).fetchone()
    if found and not found[1]:
        return int(found[0])
    config = run.folder / f"config-{kernel['name']}"
    blob = None
    if config.is_file() and config.resolve().parent == run.folder.resolve():
        blob = zlib.compress(config.read_bytes())
    if found:
        if blob:
            db.execute("UPDATE kernel SET config = ? WHERE id = ?", (blob, found[0]))
        return int(found[0])
    made = db.execute(
        "INSERT INTO kernel (name, content_id, release, source, compiler, patches, dropped, config)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        _storable(
            *key,
            kernel.get("source", ""),
            kernel.get("compiler", ""),
            json.dumps(kernel.get("patches", [])),
            json.dumps(kernel.get("dropped_options", [])),
            blob,
        ),
    )
    assert made.lastrowid is not None
    return made.lastrowid


def _trial_row(db: sqlite3.Connection, row: int, run: Run, trial: Json) -> None:
    """Everything of one trial; nothing where it is there already."""
    reason = trial["reasons"][0] if trial["reasons"] else {"oracle": "", "text": ""}
    splats = trial["splats"]
    made = db.execute(
        "INSERT INTO trial (run, folder, test_case, verdict, oracle, reason, started, kernel,"
        " machine, boot_seconds, run_seconds, asked_seconds, first_splat_seconds, repeat,"
        " signature, reproducer) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT DO NOTHING",
        _storable(
            *(row, trial["folder"], trial["case"], trial["verdict"]),
            *(reason["oracle"], reason["text"], trial["started"]),
            _kernel_row(db, run, trial["kernel"]),
            trial["machine"]["name"],
            *(trial["boot_seconds"], trial["run_seconds"], trial["asked_seconds"]),
            trial["first_splat_seconds"],
            json.dumps(trial["repeat"]),
            splats[0]["signature"] if splats else "",
            trial["reproducer"].get("id", ""),
        ),
    )
    if made.rowcount == 0:
        return
    number = made.lastrowid
    db.executemany(
        "INSERT INTO splat VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", _splat_rows(number, trial)
    )
    db.executemany(
        "INSERT OR REPLACE INTO counter VALUES (?, ?, ?, ?, ?)", _counter_rows(number, trial)
    )
    db.execute("INSERT INTO document VALUES (?, ?)", (number, packed(trial)))


def _splat_rows(number: int | None, trial: Json) -> Iterator[tuple[Any, ...]]:
    for at_boot, splats in ((0, trial["splats"]), (1, trial["boot_splats"])):
        places = {splat.get("start"): place for place, splat in enumerate(splats)}
        for place, splat in enumerate(splats):
            follows = splat.get("follows")
            yield _storable(
                *(number, place, at_boot, splat["signature"]),
                splat.get("race_key", splat["signature"]),
                *(splat["family"], splat["kind"], splat["title"]),
                *(splat["function"], splat["place"]),
                None if follows is None else places.get(follows),
                splat.get("assertion", ""),
            )


def _counter_rows(number: int | None, trial: Json) -> Iterator[tuple[Any, ...]]:
    for name, value in trial["reproducer"]["counts"].items():
        yield _storable(number, name, "reproducer", min(value, 2**63 - 1), None)
    for count in trial["exercised"]:  # with what was asked for
        reached = count["reached"]
        value = None if reached is None else min(reached, 2**63 - 1)
        yield _storable(number, count["counter"], count["source"], value, count["least"])


def _storable(*values: Any) -> tuple[Any, ...]:
    """SQLite keeps no half of a surrogate pair; a guest's text in JSON may hold one."""
    return tuple(
        value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
        for value in values
    )
