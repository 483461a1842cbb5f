"""What a bisection has to say, for people, 80 columns wide."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator

from harness.campaign.belief import Tally
from harness.campaign.bisect import Answer, Ending, forecast
from harness.campaign.casebook import Casebook
from harness.campaign.commits import Commits
from harness.campaign.count import Seen
from harness.campaign.logbook import Event
from harness.record.interval import wilson


def event_line(event: Event, book: Casebook, commits: Commits) -> str:
    """One event as it comes; empty for those that nobody waits for."""
    kind = event["event"]
    if kind not in ("run", "build", "skip", "word"):
        return ""
    number = int(event["commit"])
    name = commits.all[number].name
    if kind == "build":
        same = [n for n, b in book.builds.items() if b.image == event["image"] and n != number]
        like = f", the same kernel as {commits.all[same[0]].name}" if same else ""
        return f"{name}: built in {float(event['seconds']):.0f} s{like}"
    if kind == "skip":
        return f"{name}: skipped: {event['why']}"
    if kind == "word":
        return f"{name}: {event['word']}, says a person"
    tally = book.counts.get(number, Tally())
    what = str(event["seen"])
    shown = [words[1] for words in event.get("sightings", [])]
    if what == Seen.FAIL.value and book.wanted not in shown:
        what = f"another bug ({event['sightings'][0][2]}), which does not count"
    elif what == Seen.VOID.value:
        what = f"does not count: {event.get('why', '')}"
    if event.get("earlier"):
        what += f" in {event.get('folder') or 'an earlier run'}"
    return f"{name}: {what}; {tally.fails} of {tally.runs} failed so far"


def report(answer: Answer, book: Casebook, commits: Commits) -> Iterator[str]:
    """The answer, and the counts that it rests on."""
    yield from headline(answer, book, commits)
    yield ""
    yield from counts(book, commits)
    if book.title:
        yield f"  counted as bad: {book.title}"
        yield f"                  {book.wanted}"
    for (race, title), where in book.others.items():
        at = ", ".join(f"{commits.all[n].name} ({times}x)" for n, times in Counter(where).items())
        yield f"  another bug, not counted: {title}"
        yield f"                  {race}, at {at}"


def headline(answer: Answer, book: Casebook, commits: Commits) -> Iterator[str]:
    """The answer alone: what it is, and on the lines behind it why."""
    n = commits.n
    if answer.ending is Ending.FOUND:
        if answer.first == answer.last:
            commit = commits.all[answer.first]
            yield f"{commit.name} is the first bad commit"
            yield f"  {commit.title}"
        else:
            yield "The first bad commit is one of these, which no run tells apart:"
            for commit in commits.all[answer.first : answer.last + 1]:
                yield f"  {commit.name} {commit.title}"
        before, after = book.alike(answer.first - 1), book.alike(answer.last)
        yield f"  with {answer.probability:.1%} confidence: {_of(after)} failed with it,"
        yield f"  {_of(before)} without"
        if wrong := _against(answer, book, commits):
            yield f"  against what was said: {wrong}"
    elif answer.ending is Ending.IN_GOOD:
        good = book.alike(0)
        yield f"No commit of the range did it: the good end, {commits.all[0].name}, has it already"
        yield f"  with {answer.probability:.1%} confidence: {_of(good)} of it failed"
        yield "  look further back, from an older good"
    elif answer.ending is Ending.NEVER_BAD:
        tally = book.counts.get(n, Tally())
        yield f"The bad end, {commits.all[n].name}, does not fail: {_of(tally)} failed"
        yield from _never_failed(tally)
    elif answer.ending is Ending.NOT_EXERCISED:
        yield f"No run of the bad end, {commits.all[n].name}, says anything"
        yield from textwrap.wrap(answer.why, 76, initial_indent="  ", subsequent_indent="  ")
        if n not in book.lacking and n not in book.skips:
            yield "  more time a run (--time) may do, or another machine (-m)"
    elif not book.counts.get(n, Tally()).fails:
        yield f"Not decided: {answer.why}, and the bad end, {commits.all[n].name}, never failed"
        yield from _never_failed(book.counts.get(n, Tally()))
    else:
        yield f"Not decided: {answer.why}"
        if answer.ending is Ending.BUDGET and (expected := forecast(book, commits)):
            runs, builds = expected
            yield f"  about {runs} more runs and {builds} builds are to be expected"
        if answer.probability > 0.0:
            yield f"  likeliest so far: {_named(answer, commits)} ({answer.probability:.1%})"


def _never_failed(tally: Tally) -> Iterator[str]:
    if tally.runs:
        high = wilson(tally.fails, tally.runs)[1]
        yield f"  it may fail in up to {high:.1%} of the runs (95 %)"
        yield "  more time a run (--time) may help; harness rate measures how often it fails"


def _named(answer: Answer, commits: Commits) -> str:
    if answer.first > commits.n:
        return "that not even the bad end has it"
    if answer.last == 0:
        return "that the good end has it already"
    first, last = (commits.all[max(0, min(n, commits.n))] for n in (answer.first, answer.last))
    return first.name if first is last else f"{first.name} to {last.name}"


def _against(answer: Answer, book: Casebook, commits: Commits) -> str:
    said = [
        f"{commits.all[commit].name} is {'bad' if bad else 'good'}"
        for commit, bad in book.words
        if bad != (commit >= answer.last)
    ]
    return ", ".join(said)


def _of(tally: Tally) -> str:
    return f"{tally.fails} of {tally.runs} runs"


def counts(book: Casebook, commits: Commits) -> Iterator[str]:
    """A line for each commit that something is known of."""
    words = dict(book.words)
    known = {*book.counts, *book.voids, *book.skips, *words}
    for number in sorted(known):
        commit, tally = commits.all[number], book.counts.get(number, Tally())
        parts = [f"{tally.fails} of {tally.runs} failed"] if tally.runs else []
        if voids := book.voids.get(number):
            parts.append(f"{len(voids)} left out")
        if why := book.skips.get(number):
            parts.append("skipped: " + why.partition("\n")[0][:60])
        if number in words:
            parts.append("said to be " + ("bad" if words[number] else "good"))
        yield f"  {commit.name:>12}  {', '.join(parts):<24}  {commit.title[:36]}".rstrip()
    before = f" ({len(book.taken)} made before)" if book.taken else ""
    yield (
        f"  {book.runs} runs{before} and {len(book.builds)} builds of {commits.n} commits"
        f" in {book.spent:.0f} s of work"
    )
    yield f"  the commits: {commits.told}"
