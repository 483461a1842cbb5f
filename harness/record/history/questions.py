"""What a history is asked, each answer rows of plain values."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import UsageError
from harness.record.history.store import History, explained

Row = sqlite3.Row


@dataclass(frozen=True)
class Totals:
    """What is in a history, in one line."""

    runs: int
    trials: int
    verdicts: dict[str, int]
    first: str
    last: str


def totals(history: History) -> Totals:
    ask = history.db.execute
    verdicts = {row[0]: row[1] for row in ask("SELECT verdict, count(*) FROM trial GROUP BY 1")}
    first, last = ask("SELECT min(started), max(started) FROM trial").fetchone()
    runs = ask("SELECT count(*) FROM run").fetchone()[0]
    return Totals(int(runs), sum(verdicts.values()), verdicts, first or "", last or "")


def runs(history: History, last: int) -> list[Row]:
    return _ask(
        history,
        """SELECT run.name AS run, run.started, run.command, run.folder,
                  (SELECT count(*) FROM trial WHERE run = run.id) AS trials,
                  (SELECT count(*) FROM trial WHERE run = run.id AND verdict = 'PASS') AS passed,
                  (SELECT count(*) FROM trial WHERE run = run.id AND verdict = 'FAIL') AS failed
           FROM run ORDER BY run.started DESC, run.id DESC LIMIT ?""",
        (last,),
    )


def rates(history: History, case: str = "", kernel: str = "") -> list[Row]:
    """k of n for each case on each kernel, content ids and reproducers told apart, the newest
    first.
    """
    return _ask(
        history,
        "SELECT * FROM rates WHERE (?1 = '' OR test_case = ?1) AND (?2 = '' OR kernel = ?2)"
        " ORDER BY test_case, last_run DESC",
        (case, kernel),
    )


def signatures(history: History, case: str = "", kernel: str = "") -> list[Row]:
    """Every signature that was seen, the one seen last first; ``own`` counts the trials where it
    did not come of another report.
    """
    return _ask(
        history,
        """SELECT splat.signature, splat.race_key, splat.title, splat.function,
                  min(trial.started) AS first_seen, max(trial.started) AS last_seen,
                  count(DISTINCT trial.id) AS trials,
                  count(DISTINCT CASE WHEN splat.follows IS NULL THEN trial.id END) AS own,
                  group_concat(DISTINCT kernel.name) AS kernels
           FROM splat JOIN trial ON trial.id = splat.trial
                      JOIN kernel ON kernel.id = trial.kernel
           WHERE NOT splat.at_boot AND (?1 = '' OR trial.test_case = ?1)
                 AND (?2 = '' OR kernel.name = ?2)
           GROUP BY splat.signature ORDER BY last_seen DESC""",
        (case, kernel),
    )


def signature(history: History, text: str) -> str:
    """The one signature that begins with ``text``; UsageError where none or several do."""
    found = [
        str(row[0])
        for row in history.db.execute(
            "SELECT DISTINCT signature FROM splat"
            " WHERE substr(signature, 1, length(?1)) = ?1 AND NOT at_boot LIMIT 5",
            (text,),
        )
    ]
    if text and len(found) == 1:
        return found[0]
    if found and text:
        raise UsageError(f"several signatures begin with {text!r}: {', '.join(found)}")
    raise UsageError(
        f"no signature {text!r} was seen", hint="harness history signatures lists them"
    )


def sightings(history: History, wanted: str) -> list[Row]:
    """A signature by kernel and day: how many trials showed it, of how many of the same cases."""
    return _ask(
        history,
        """WITH shown AS (
             SELECT DISTINCT trial.id, trial.kernel, trial.test_case,
                    trial.reproducer, substr(trial.started, 1, 10) AS day
             FROM splat JOIN trial ON trial.id = splat.trial
             WHERE splat.signature = ? AND NOT splat.at_boot)
           SELECT kernel.name AS kernel, kernel.release, kernel.content_id, shown.test_case,
                  shown.day, count(*) AS seen,
                  (SELECT count(*) FROM trial
                   WHERE trial.test_case = shown.test_case AND trial.kernel = shown.kernel
                         AND trial.reproducer = shown.reproducer
                         AND substr(trial.started, 1, 10) = shown.day
                         AND trial.verdict IN ('PASS', 'FAIL')) AS decided
           FROM shown JOIN kernel ON kernel.id = shown.kernel
           GROUP BY shown.kernel, shown.test_case, shown.reproducer, shown.day
           ORDER BY shown.day, kernel.name""",
        (wanted,),
    )


def examples(history: History, wanted: str, most: int) -> list[Row]:
    """The newest trials that showed a signature, the one with the fullest evidence first."""
    return _ask(
        history,
        """SELECT trial.id, run.name AS run, run.folder AS run_folder, trial.folder,
                  trial.test_case, kernel.name AS kernel, trial.started, trial.first_splat_seconds
           FROM splat JOIN trial ON trial.id = splat.trial JOIN run ON run.id = trial.run
                      JOIN kernel ON kernel.id = trial.kernel
           WHERE splat.signature = ? AND NOT splat.at_boot
           GROUP BY trial.id ORDER BY min(splat.place_in_trial), trial.started DESC LIMIT ?""",
        (wanted, most),
    )


def kernels(history: History) -> list[Row]:
    return _ask(history, "SELECT * FROM kernels ORDER BY last_run DESC", ())


def select(history: History, query: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Any question in SQL.  The file is opened read-only: no answer changes it."""
    try:
        with explained(history.file):
            cursor = history.db.execute(query)
            names = [column[0] for column in cursor.description or ()]
            return names, [tuple(row) for row in cursor]
    except (sqlite3.OperationalError, sqlite3.ProgrammingError, sqlite3.Warning) as error:
        raise UsageError(
            f"SQL: {error}",
            hint="the views are runs, trials, splats, signatures, rates, kernels, counters",
        ) from None


def _ask(history: History, query: str, values: Sequence[object]) -> list[Row]:
    with explained(history.file):
        return list(history.db.execute(query, values))


def every_trial(history: History) -> list[Row]:
    """All trials, the newest first, with the head of their first splat; no documents."""
    return _ask(
        history,
        """SELECT trial.id, trial.folder, trial.test_case, trial.verdict, trial.oracle,
                  trial.reason, trial.started, trial.first_splat_seconds, trial.signature,
                  trial.reproducer, run.folder AS run_folder, kernel.name AS kernel,
                  kernel.content_id, kernel.release, kernel.source, kernel.compiler,
                  splat.title, splat.place, splat.race_key
           FROM trial JOIN run ON run.id = trial.run JOIN kernel ON kernel.id = trial.kernel
                LEFT JOIN splat ON splat.trial = trial.id AND splat.at_boot = 0
                                   AND splat.place_in_trial = 0
           ORDER BY trial.started DESC, trial.id DESC""",
        (),
    )
