"""Runs that were made before a bisection began, of kernels that it comes to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.campaign.count import Count, Seen, Sighting
from harness.campaign.series import Series, repeat
from harness.record.load import Run, load_run, readable, run_folders
from harness.trial.verdict import Outcome

Earlier = Mapping[str, Sequence[Count]]
"""Counts by the content id of their kernel: what was built from other sources is another one."""


def earlier(
    folders: Iterable[Path],
    plan: Series,
    reproducer: str,
    say: Callable[[str], None] = lambda text: None,
) -> Earlier:
    """What ``folders`` hold of ``plan``'s case, run in the same way with the same ``reproducer``.

    Runs of another build of it are no runs of this one; ``say`` is told of them.  Raises
    UsageError for a folder in which nothing was recorded.
    """
    found: dict[str, list[Count]] = defaultdict(list)
    for folder in folders:
        for run in [load_run(each) for each in run_folders(folder)] or [load_run(folder)]:
            others = 0
            with readable(run):
                for content, count in _counts(run, plan):
                    if count.reproducer == reproducer:
                        found[content].append(count)
                    else:
                        others += 1
            if others:
                say(f"{run.folder}: {others} runs do not count: made with another reproducer")
    return found


def _counts(run: Run, plan: Series) -> Iterator[tuple[str, Count]]:
    (case,) = plan.cases
    ours = _but_kernel(repeat(plan, plan.kernels[0], case))
    for trial in run.trials:
        content = trial["kernel"].get("content_id")
        if content and _but_kernel(trial["repeat"]) == ours:
            count = _count(trial, f"{run.name}/{trial['folder']}", case.foreign)
            yield content, replace(count, reproducer=str(trial["reproducer"].get("id", "")))


def _but_kernel(words: Sequence[str]) -> list[str]:
    """A command without its kernel: case, machine, time and options have to be the same."""
    at = words.index("--kernel") if "--kernel" in words else len(words)
    return [*words[:at], *words[at + 2 :]]


def _count(trial: Mapping[str, Any], folder: str, foreign: bool) -> Count:
    """As count.py does it, from what the record has of a trial."""
    outcome, reasons = Outcome(trial["verdict"]), trial["reasons"]
    ran, first = float(trial["run_seconds"]), trial.get("first_splat_seconds")
    if outcome is Outcome.FAIL:
        seen = tuple(_sightings(trial))
        return Count(Seen.FAIL, seen, _why(reasons), first, ran, folder=folder)
    if outcome is Outcome.INCONCLUSIVE and foreign and not trial["splats"]:
        reasons = [reason for reason in reasons if reason["oracle"] != "exercised"]
        outcome = outcome if reasons else Outcome.PASS
    if outcome is Outcome.PASS:
        return Count(Seen.PASS, ran=ran, folder=folder)
    booted = not any(reason["oracle"] in ("boot", "build", "compile") for reason in reasons)
    lacking = outcome is Outcome.SKIP
    return Count(
        Seen.VOID, why=_why(reasons), ran=ran, booted=booted, lacking=lacking, folder=folder
    )


def _why(reasons: Sequence[Mapping[str, Any]]) -> str:
    return str(reasons[0]["text"]) if reasons else ""


def _sightings(trial: Mapping[str, Any]) -> Iterator[Sighting]:
    races: set[str] = set()
    for splat in trial["splats"]:
        race = str(splat["race_key"])
        if splat.get("follows") is None and race not in races:
            races.add(race)
            yield Sighting(str(splat["signature"]), race, str(splat["title"]))
    for reason in () if races else trial["reasons"]:
        oracle = str(reason["oracle"])
        if oracle not in races:
            races.add(oracle)
            yield Sighting(oracle, oracle, str(reason["text"]))
