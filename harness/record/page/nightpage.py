"""The page of a night: what changed against the nights before, and how the rates went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.record.interval import wilson
from harness.record.page.plots import Bar, bars, whisker
from harness.record.page.render import many, percent, render

Json = Mapping[str, Any]

_CHANGES = {
    **{"new": "FAIL", "rate changed": "FAIL", "still there": "INCONCLUSIVE"},
    **{"gone": "PASS", "not seen": "SKIP"},
}


def night_page(document: Json, evidence: Json, keys: Mapping[str, str]) -> str:
    """``keys`` leads from a trial's folder to its place in ``evidence``."""
    lines = [_line(line, document["nights"], keys) for line in document["lines"]]
    kernels = list(dict.fromkeys(cell["kernel"] for cell in document["cells"]))
    cases = sorted({cell["case"] for cell in document["cells"]})
    cells = {(cell["case"], cell["kernel"]): _cell(cell) for cell in document["cells"]}
    voids = [cell for cell in document["cells"] if cell["void"]]
    sections = (
        *(("changes", "What changed", lines), ("bisected", "Bisected", document["bisected"])),
        *(("faults", "Not run", document["faults"]), ("matrix", "Tonight", cells)),
        *(("voids", "What says nothing", voids), ("trials", "Trials", evidence["trials"])),
    )
    return render(
        "night.html.j2",
        **dict(evidence)
        | {
            "lead": _lead(document),
            "contents": [(anchor, name) for anchor, name, there in sections if there],
        },
        title=f"Night {document['date']}, {document['plan']}",
        subtitle=_compared(document["nights"]),
        lines=lines,
        over_nights=len(document["nights"]) > 1,
        bisected=document["bisected"],
        faults=document["faults"],
        commits=document["commits"],
        columns=kernels,
        grid=[(case, [cells.get((case, kernel)) for kernel in kernels]) for case in cases],
        voids=voids,
        command="",
    )


def _lead(document: Json) -> str:
    changes = [line["change"] for line in document["lines"]]
    told = [f"{changes.count(c)} {c}" for c in _CHANGES if c in changes]
    runs = sum(cell["runs"] for cell in document["cells"])
    lead = f"{', '.join(told) or 'Nothing failed'}: {runs} runs count."
    if document["faults"]:
        lead += f" {many(len(document['faults']), 'kernel')} could not be run."
    return lead if document["over"] else f"{lead} The night is not over."


def _compared(nights: Sequence[str]) -> str:
    before = nights[:-1]
    if not before:
        return "the first night of its plan"
    many = f"{len(before)} nights, {before[0]} to {before[-1]}" if before[1:] else before[0]
    return f"compared with {many}"


def _line(line: Json, nights: Sequence[str], keys: Mapping[str, str]) -> dict[str, Any]:
    *before, tonight = line["counts"]
    past = [sum(count[0] for count in before), sum(count[1] for count in before)]
    where = f"{line['case']} on {line['kernel']}"
    return {
        **line,
        "verdict": _CHANGES["gone" if _better(tonight, past) else line["change"]],
        "chance": percent(line["chance"]) if line["chance"] >= 1e-4 else "less than 0.01 %",
        "tonight": _share(tonight, "tonight"),
        "before": _share(past, "before"),
        "plot": bars(
            [_bar(night, count) for night, count in zip(nights, line["counts"], strict=False)],
            f"Share of {where} that failed, night by night",
            width=520,
        )
        if len(nights) > 1
        else "",
        "keys": list(dict.fromkeys(keys[name] for name in line["trials"] if name in keys))[:5],
    }


def _better(tonight: Sequence[int], past: Sequence[int]) -> bool:
    """Whether it failed in a smaller share of tonight's runs than before, and did fail."""
    return 0 < tonight[0] * past[1] < past[0] * tonight[1]


def _share(count: Sequence[int], when: str) -> dict[str, Any]:
    failed, runs = count
    low, high = wilson(failed, runs)
    told = f"{failed} of {runs} {when}"
    return {
        "told": f"{failed} of {runs}",
        "whisker": whisker(low, high, failed / runs, told) if runs else "",
    }


def _bar(night: str, count: Sequence[int]) -> Bar:
    failed, runs = count
    if not runs:
        return Bar(night[5:], None)
    low, high = wilson(failed, runs)
    return Bar(night[5:], failed / runs, low, high, f"{failed} of {runs} failed", marked=failed > 0)


def _cell(cell: Json) -> dict[str, Any]:
    verdict = "FAIL" if cell["failed"] else "PASS" if cell["runs"] else "INCONCLUSIVE"
    return {**cell, "verdict": verdict}
