"""A trial's document, arranged for a reader."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from harness.record.chains import chains, counted
from harness.record.page.plots import Moment, lanes_of, timeline
from harness.record.page.render import seconds
from harness.record.page.splatview import SplatView, chain_view

Json = Mapping[str, Any]

SEVERITY = ("FAIL", "ERROR", "INCONCLUSIVE", "SKIP", "PASS")
"""The weightiest first: a cell of the matrix shows the weightiest of its trials."""

_SPLATS = 3


@dataclass(frozen=True)
class CounterRow:
    """A counter of the guest before and after; ``drifted`` where it should have come back."""

    name: str
    before: int | None
    after: int | None
    drifted: bool


@dataclass(frozen=True)
class TrialView:
    """``key`` names it within the page; ``shown`` tells whether its detail is in the page;
    ``told`` are the reasons that need words.
    """

    key: str
    case: str
    kernel: str
    column: str
    verdict: str
    document: Json
    shown: bool = True
    reason: str = ""
    told: Sequence[Json] = ()
    files: Sequence[tuple[str, str]] = ()
    splats: Sequence[SplatView] = ()
    more_splats: Sequence[str] = ()
    boot_splats: Sequence[SplatView] = ()
    plot: Markup = field(default_factory=Markup)
    plot_rows: Sequence[tuple[str, str, str]] = ()
    counters: Sequence[CounterRow] = ()
    repeat: str = ""
    qemu: str = ""

    @property
    def first_splat(self) -> float | None:
        value = self.document.get("first_splat_seconds")
        return None if value is None else float(value)


def brief(document: Json, key: str, column: str = "") -> TrialView:
    """What rows and cells need."""
    reasons = document["reasons"]
    return TrialView(
        key=key,
        case=document["case"],
        kernel=document["kernel"]["name"],
        column=column or document["kernel"]["name"],
        verdict=document["verdict"],
        document=document,
        shown=False,
        reason=reasons[0]["text"] if reasons else "",
    )


def detailed(view: TrialView, folder: Path | None, page: Path | None) -> TrialView:
    """The same with all that was seen.  ``folder`` is the trial's own, ``page`` the page's file:
    files are linked where both are known, and the folder is still there.
    """
    document = view.document
    sources = document.get("sources", [])
    reports = chains(document["splats"])
    pace = document.get("pace", {"counters": {}, "console": []})
    lanes = lanes_of(pace["counters"], document["reproducer"]["counts"], pace["console"])
    return TrialView(
        key=view.key,
        case=view.case,
        kernel=view.kernel,
        column=view.column,
        verdict=view.verdict,
        document=document,
        reason=view.reason,
        # Reports are shown themselves.
        told=[r for r in document["reasons"] if not reports or r["oracle"] != "splat"],
        files=_files(folder, page),
        splats=[chain_view(chain, sources) for chain in reports[:_SPLATS]],
        more_splats=counted([chain.first for chain in reports[_SPLATS:]]),
        boot_splats=[chain_view(c, ()) for c in chains(document["boot_splats"])[:_SPLATS]],
        plot=_plot(document, lanes) if lanes else Markup(""),
        plot_rows=[
            (lane.title, line.label, f"{line.points[0][1]:.6g} to {line.points[-1][1]:.6g}")
            for lane in lanes
            for line in lane.lines
            if line.points
        ],
        counters=_counters(document["counters"]),
        repeat=shlex.join(document["repeat"]),
        qemu=_shell(document.get("qemu", [])),
    )


def _plot(document: Json, lanes: Sequence[Any]) -> Markup:
    moments = []
    first = document.get("first_splat_seconds")
    if first is not None:
        moments.append(Moment(first, f"splat after {seconds(first)}"))
    elif document["reproducer"]["overdue"]:
        moments.append(Moment(document["run_seconds"], "ended from outside: overdue"))
    for life in document["life"]:
        moments.append(Moment(document["run_seconds"], life["event"].lower().replace("_", " ")))
    told = f"; {moments[0].label}" if moments else ""
    label = (
        f"{document['case']} on {document['kernel']['name']}: counters over"
        f" {seconds(document['run_seconds'])}{told}. The table below has the numbers."
    )
    return timeline(lanes, document["run_seconds"], moments, label)


def _counters(counters: Json) -> list[CounterRow]:
    before, after = counters["before"], counters["after"]
    drifted = {(d["counter"], d["node"]) for d in counters["drift"]}
    rows = []
    for name, node, value in _values(before) if before else ():
        then = {(n, o): v for n, o, v in _values(after)} if after else {}
        rows.append(
            CounterRow(
                f"node {node}: {name}" if node >= 0 else name,
                value,
                then.get((name, node)),
                (name, node) in drifted,
            )
        )
    return rows


def _values(snapshot: Json) -> list[tuple[str, int, int]]:
    pools = [
        (f"{pool['counter']}_hugepages ({pool['size'] >> 20} MiB)", pool["node"], pool["pages"])
        for pool in snapshot["pools"]
    ]
    meminfo = [(n, -1, v) for n, v in snapshot["meminfo"].items() if n.startswith("HugePages_")]
    vmstat = [(n, -1, v) for n, v in snapshot["vmstat"].items() if n.startswith("pgmigrate_")]
    return [*pools, *meminfo, *vmstat]


def _files(folder: Path | None, page: Path | None) -> list[tuple[str, str]]:
    """(name, link) of what was kept beside: relative, so that both can be moved together."""
    if folder is None or page is None or not folder.is_dir():
        return []
    base = os.path.relpath(folder, page.parent)
    names = sorted(each.name for each in folder.iterdir() if each.is_file())
    return [(name, quote(f"{base}/{name}")) for name in names if not name.startswith(".")]


def _shell(words: Sequence[str]) -> str:
    text = ""
    for word in words:
        text += ("" if not text else " \\\n  " if word.startswith("-") else " ") + shlex.quote(word)
    return text
