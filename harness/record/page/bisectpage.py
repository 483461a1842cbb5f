"""The page of a bisection: where it came in, how sure that is, and by which runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.record.interval import wilson
from harness.record.page.coursemap import Step, course_map
from harness.record.page.plots import WIDTH, Bar, bars, whisker
from harness.record.page.render import percent, render, seconds

Json = Mapping[str, Any]

_MOST_BARS = 60


def bisect_page(document: Json, evidence: Json) -> str:
    """``document`` is one of results/bisect.schema.json; ``evidence`` what of its trials is at
    hand, as runpage.common() arranges it.
    """
    commits = document["commits"]
    belief = [*(float(each["probability"]) for each in commits), float(document.get("none", 0.0))]
    best = max(range(len(belief)), key=belief.__getitem__)
    rows = document.get("rows") or [[number, number] for number in range(len(belief))]
    steps = document.get("steps", [])
    names = [_name(first, last, commits) for first, last in rows]
    shown = [
        {**each, "number": number, "whisker": _whisker(each), "best": number == best}
        for number, each in enumerate(commits)
    ]
    known = [
        each
        for each in shown
        if each["best"]
        or each["runs"]
        or each["probability"] >= 0.005
        or {"skipped", "said", "void"} & each.keys()
    ]
    known = known if len(shown) > 40 else shown
    return render(
        "bisect.html.j2",
        **dict(evidence)
        | {
            "contents": [
                ("posterior", "Posterior"),
                *([("course", "Course")] if steps else []),
                ("commits", "Commits"),
                ("log", "Log"),
                *([("trials", "Trials")] if evidence["trials"] else []),
            ],
        },
        title=document["title"],
        subtitle=_subtitle(document),
        answer=document.get("answer", ""),
        because=document.get("because", ""),
        wanted=document.get("wanted", {"title": "", "race": ""}),
        others=document.get("others", []),
        posterior=_bars(rows, names, belief),
        course=course_map(
            names,
            [Step(_row(rows, step["commit"]), step["seen"], step["posterior"]) for step in steps],
            _row(rows, best),
            f"{len(steps)} runs, from left to right. The log below tells each of them in words.",
        )
        if steps
        else "",
        at_none=belief[-1],
        rows=known,
        left=len(shown) - len(known),
        log=document.get("log", []),
        command=" ".join(document.get("command", [])),
    )


def _subtitle(document: Json) -> str:
    runs = sum(each["runs"] + each.get("void", 0) for each in document["commits"])
    told = f"{runs} runs of {len(document['commits']) - 1} commits"
    if "builds" in document:
        told += f", {document['builds']} builds"
    return told + (f", {seconds(document['spent'])} of work" if "spent" in document else "")


def _name(first: int, last: int, commits: Sequence[Json]) -> str:
    n = len(commits) - 1
    if first > n:
        return "none has it"
    if first < last:
        return f"{last - first + 1} commits between"
    name = str(commits[first]["id"])[:12]
    return f"{name}: good end has it" if first == 0 else name


def _row(rows: Sequence[Sequence[int]], number: int) -> int:
    return next((at for at, (first, last) in enumerate(rows) if first <= number <= last), 0)


def _bars(rows: Sequence[Sequence[int]], names: Sequence[str], belief: Sequence[float]) -> Any:
    shares = [sum(belief[first : last + 1]) for first, last in rows]
    best = max(shares, default=0.0)
    order = sorted(range(len(rows)), key=lambda number: -shares[number])[:_MOST_BARS]
    values = [
        Bar(
            "none" if rows[number][0] >= len(belief) - 1 else names[number].partition(":")[0],
            shares[number],
            note=percent(shares[number]),
            marked=shares[number] == best,
        )
        for number in sorted(order)
    ]
    label = "Probability of each commit, from the good end; the table has the numbers"
    return bars(values, label, width=min(WIDTH, 60 + 56 * len(values)))


def _whisker(commit: Json) -> Any:
    if not commit["runs"]:
        return ""
    low, high = wilson(commit["failed"], commit["runs"])
    told = f"{commit['failed']} of {commit['runs']} failed"
    return whisker(low, high, commit["failed"] / commit["runs"], told)
