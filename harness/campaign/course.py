"""A bisection's log as one document: what was run, what it makes likely, and how that came.  Pure
but for the log that it reads.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.campaign import commits as commits_
from harness.campaign.belief import Floats, Tally
from harness.campaign.bisect import Answer, Ending
from harness.campaign.casebook import Casebook, belief
from harness.campaign.commits import Commits
from harness.campaign.count import Seen
from harness.campaign.logbook import Event, Logbook
from harness.campaign.told import event_line, headline
from harness.errors import UsageError
from harness.spec.kernel import KernelSpec

LOG = "bisect.jsonl"

_SINGLE = 30
"""Up to so many commits each has a row of its own; of more only those that were run, or are
likely, and the stretches between them."""

_LIKELY = 0.005
_MOST_STEPS = 400

Json = dict[str, Any]


def start_of(events: Iterable[Event], file: Path) -> Event:
    """The event that a bisection's log begins with.  Raises UsageError where it is none."""
    first = next(iter(events), {})
    if first.get("event") != "start" or first.get("format") != 1:
        raise UsageError(f"{file}: is no log of a bisection")
    return first


def named(start: Event) -> Commits:
    """The commits as the log names them, to be talked about and not to be built."""
    spec = KernelSpec("", Path(), "", ())
    try:
        made = tuple(
            commits_.Commit(str(name), str(title), spec, str(tree))
            for name, title, tree in start["commits"]
        )
    except (KeyError, TypeError, ValueError):
        raise UsageError("the log of a bisection that names no commits") from None
    if len(made) < 2:
        raise UsageError("the log of a bisection with fewer than two commits")
    return Commits("this bisection", made)


def posterior(book: Casebook, commits: Commits) -> Floats:
    """How likely each hypothesis is: 0 that the good end has the bug already, 1 to n that the
    commit brought it, n + 1 that not even the bad end has it.
    """
    seen = belief(book, commits)
    groups = seen.groups(book.counts)
    prior = np.diff(seen.below)
    found = np.zeros(commits.n + 2)
    for low, high, weight in zip(groups.low, groups.high, groups.weight, strict=True):
        inside = slice(int(low) + 1, int(high) + 1)
        whole = prior[inside].sum()
        if whole > 0.0:
            found[inside] = weight * prior[inside] / whole
    return found


def course(file: Path) -> Json:
    """The document that results/bisect.schema.json describes, of a log that may still grow.

    Raises UsageError for a log that cannot be read.
    """
    events = Logbook(file).read()
    start = start_of(events, file)
    commits = named(start)
    book = Casebook(commits.n)
    steps: list[tuple[Event, str, Floats]] = []
    log: list[Json] = []
    for event in events[1:]:
        book.take(event)
        if line := event_line(event, book, commits):
            log.append({"commit": commits.all[int(event["commit"])].name, "text": line})
        if event["event"] == "run":
            steps.append((event, _what(event, book), posterior(book, commits)))
    last = posterior(book, commits)
    rows = _rows(commits, book, last)
    answer = _answer(events, book, commits, last)
    return {
        "kind": "bisect",
        "schema": 1,
        "title": f"Bisection of {start['case']} on {Path(str(start['kernel'])).stem}",
        "command": [str(word) for word in start.get("command", [])],
        "answer": answer[0],
        "because": "; ".join(line.strip() for line in answer[1:]).replace(",; ", ", "),
        "wanted": {"title": book.title, "race": book.wanted},
        "others": [
            {"title": title, "race": race, "commits": [commits.all[n].name for n in where]}
            for (race, title), where in book.others.items()
        ],
        "spent": round(book.spent, 1),
        "builds": len(book.builds),
        "commits": [_commit(n, commits, book, float(last[n])) for n in range(commits.n + 1)],
        "none": float(last[-1]),
        "rows": [[first, final] for first, final in rows],
        "steps": [
            {
                "commit": int(event["commit"]),
                "seen": what,
                "folder": str(event.get("folder", "")),
                "posterior": [round(float(p[a : b + 1].sum()), 5) for a, b in rows],
            }
            for event, what, p in steps[-_MOST_STEPS:]
        ],
        "log": log,
    }


def _commit(number: int, commits: Commits, book: Casebook, probability: float) -> Json:
    commit, tally = commits.all[number], book.counts.get(number, Tally())
    made: Json = {"id": commit.name, "subject": commit.title, "probability": probability}
    made |= {"runs": tally.runs, "failed": tally.fails}
    if voids := book.voids.get(number):
        made["void"] = len(voids)
    if number in book.skips:
        made["skipped"] = book.skips[number]
    words = [bad for at, bad in book.words if at == number]
    return made | ({"said": "bad" if words[-1] else "good"} if words else {})


def _what(event: Event, book: Casebook) -> str:
    """PASS and FAIL are what counts; VOID says nothing, OTHER showed another bug."""
    seen = str(event["seen"])
    if seen != Seen.FAIL.value:
        return seen
    return seen if book.wanted in [words[1] for words in event.get("sightings", [])] else "OTHER"


def _rows(commits: Commits, book: Casebook, last: Floats) -> Sequence[tuple[int, int]]:
    """Stretches of hypotheses, first and last of each, from the good end to none at all."""
    n = commits.n
    if n <= _SINGLE:
        return [(number, number) for number in range(n + 2)]
    known = {0, n, n + 1, *book.counts, *book.voids, *book.skips}
    alone = sorted(known | {int(number) for number in np.flatnonzero(last > _LIKELY)})
    rows: list[tuple[int, int]] = [(0, 0)]
    for before, at in itertools.pairwise(alone):
        if at - before > 1:
            rows.append((before + 1, at - 1))
        rows.append((at, at))
    return rows


def _answer(events: Sequence[Event], book: Casebook, commits: Commits, last: Floats) -> list[str]:
    """What the last sitting ended with, if nothing was run since; else what is likeliest."""
    for event in reversed(events):
        if event["event"] == "end":
            try:
                ending, probability = Ending(event["ending"]), float(event["probability"])
                answer = Answer(ending, int(event["first"]), int(event["last"]), probability)
            except (KeyError, TypeError, ValueError):
                raise UsageError(f"an event that makes no sense: {event}") from None
            if ending in (Ending.FOUND, Ending.IN_GOOD, Ending.NEVER_BAD, Ending.NOT_EXERCISED):
                return list(headline(answer, book, commits))
            break
        if event["event"] == "run":
            break
    best = int(last.argmax())
    if best == 0:
        what = f"that {commits.all[0].name}, the good end, has it already"
    elif best > commits.n:
        what = "that not even the bad end has it"
    else:
        what = commits.all[best].name
    return [f"Not decided yet; likeliest so far: {what} ({float(last[best]):.1%})"]
