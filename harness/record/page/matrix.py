"""Trials counted: cells of case and kernel, and what failed grouped by what it is."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.record.interval import wilson
from harness.record.page.plots import whisker
from harness.record.page.trialview import SEVERITY, TrialView


@dataclass(frozen=True)
class Cell:
    """All trials of one case in one column; ``failed`` of ``decided`` gave FAIL or PASS."""

    case: str
    column: str
    trials: Sequence[TrialView]

    @property
    def verdict(self) -> str:
        return min((trial.verdict for trial in self.trials), key=SEVERITY.index)

    @property
    def counts(self) -> Counter[str]:
        return Counter(trial.verdict for trial in self.trials)

    @property
    def decided(self) -> int:
        return self.counts["FAIL"] + self.counts["PASS"]

    @property
    def undecided(self) -> int:
        return len(self.trials) - self.decided

    @property
    def failed(self) -> int:
        return self.counts["FAIL"]

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.failed, self.decided)

    @property
    def key(self) -> str:
        """Of the trial that the cell's link leads to: the weightiest that is shown."""
        ordered = sorted(self.trials, key=lambda t: (SEVERITY.index(t.verdict), not t.shown))
        return ordered[0].key

    @property
    def whisker(self) -> Markup:
        low, high = self.interval
        share = self.failed / self.decided if self.decided else 0.0
        return whisker(low, high, share, f"between {100 * low:.0f} % and {100 * high:.0f} %")


@dataclass(frozen=True)
class Matrix:
    """``cells`` row by row; None where a case was not run in a column."""

    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell | None]]]

    @property
    def cells(self) -> list[Cell]:
        return [cell for _, row in self.rows for cell in row if cell]


def matrix(trials: Sequence[TrialView]) -> Matrix:
    columns = list(dict.fromkeys(trial.column for trial in trials))
    cases = sorted({trial.case for trial in trials})
    grouped: dict[tuple[str, str], list[TrialView]] = {}
    for trial in trials:
        grouped.setdefault((trial.case, trial.column), []).append(trial)
    return Matrix(
        columns,
        [
            (
                case,
                [
                    Cell(case, column, grouped[case, column]) if (case, column) in grouped else None
                    for column in columns
                ],
            )
            for case in cases
        ],
    )


@dataclass(frozen=True)
class Head:
    """One signature, of the several under which a race may be seen."""

    title: str
    place: str
    signature: str
    trials: Sequence[TrialView]

    @property
    def median(self) -> float | None:
        times = [t.first_splat for t in self.trials if t.first_splat is not None]
        return statistics.median(times) if times else None

    @property
    def example(self) -> TrialView:
        return next((trial for trial in self.trials if trial.shown), self.trials[0])


@dataclass(frozen=True)
class Finding:
    """One thing that went wrong, however many trials showed it, and under however many heads;
    the most frequent head first.
    """

    verdict: str
    oracle: str
    race: str
    heads: Sequence[Head]

    @property
    def trials(self) -> list[TrialView]:
        return [trial for head in self.heads for trial in head.trials]

    @property
    def title(self) -> str:
        return self.heads[0].title

    @property
    def place(self) -> str:
        return self.heads[0].place

    @property
    def where(self) -> list[tuple[str, str, int]]:
        """(case, column, trials), the most frequent first."""
        counted = Counter((trial.case, trial.column) for trial in self.trials)
        return [(case, column, count) for (case, column), count in counted.most_common()]

    @property
    def example(self) -> TrialView:
        return next((trial for trial in self.trials if trial.shown), self.trials[0])


def findings(trials: Sequence[TrialView]) -> list[Finding]:
    """Everything that is no PASS, the weightiest and most frequent first."""
    grouped: dict[tuple[str, str, str], dict[str, list[TrialView]]] = {}
    for trial in trials:
        if trial.verdict != "PASS":
            key, head = _key(trial)
            grouped.setdefault(key, {}).setdefault(head, []).append(trial)
    made = []
    for (verdict, oracle, race), group in grouped.items():
        heads = sorted((_head(head, seen) for head, seen in group.items()), key=_frequency)
        made.append(Finding(verdict, oracle, race if oracle == "splat" else "", heads))
    return sorted(made, key=lambda f: (SEVERITY.index(f.verdict), -len(f.trials)))


def _frequency(head: Head) -> int:
    return -len(head.trials)


def _key(trial: TrialView) -> tuple[tuple[str, str, str], str]:
    """What a trial is grouped by, and under which head it comes."""
    splats = trial.document["splats"]
    if trial.verdict == "FAIL" and splats:
        signature = str(splats[0]["signature"])
        return (trial.verdict, "splat", splats[0].get("race_key") or signature), signature
    reasons = trial.document["reasons"]
    if not reasons:
        return (trial.verdict, "", ""), ""
    # Numbers differ between two sightings of one thing.
    words = "".join("#" if letter.isdigit() else letter for letter in reasons[0]["text"])
    return (trial.verdict, reasons[0]["oracle"], words), ""


def _head(signature: str, trials: Sequence[TrialView]) -> Head:
    first = trials[0]
    if signature:
        splat = first.document["splats"][0]
        return Head(splat["title"], splat["place"], signature, trials)
    return Head(first.reason or "no reason given", "", "", trials)
