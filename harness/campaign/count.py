"""What a trial is to a campaign: a pass, a failure by what was seen, or nothing that counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from harness.splat.signature import race_key, signature
from harness.trial.trial import TrialResult
from harness.trial.verdict import Outcome


class Seen(Enum):
    """VOID says nothing about the bug: not exercised, not armed, not booted."""

    PASS = "PASS"
    FAIL = "FAIL"
    VOID = "VOID"


@dataclass(frozen=True)
class Sighting:
    """One thing that was wrong.  ``race`` is equal for the many heads of one race; for what is no
    splat it is the oracle, and ``signature`` too.
    """

    signature: str
    race: str
    title: str


@dataclass(frozen=True)
class Count:
    """``sightings`` in the order in which they came; the first one is the cause of most others.

    ``first`` are the seconds from the reproducer's start to the first splat, ``ran`` those that it
    ran.  ``why`` tells what makes a VOID one; ``lacking`` that another guest would be the same.
    ``folder`` is the trial's, below the folder of results; ``reproducer`` tells its builds apart
    (trial/compile.py).
    """

    seen: Seen
    sightings: tuple[Sighting, ...] = ()
    why: str = ""
    first: float | None = None
    ran: float = 0.0
    booted: bool = True
    lacking: bool = False
    folder: str = ""
    reproducer: str = ""

    def shows(self, race: str) -> bool:
        return any(sighting.race == race for sighting in self.sightings)


def count(result: TrialResult) -> Count:
    """How ``result`` counts.

    A foreign reproducer can never prove that it exercised anything: its quiet runs are passes
    here, or nothing could be bisected with a reproducer of syzbot's.
    """
    verdict, seen = result.verdict, result.evidence
    outcome, ran = verdict.outcome, seen.seconds
    if outcome is Outcome.FAIL:
        return Count(Seen.FAIL, sightings(result), verdict.reason, seen.first_splat, ran)
    if outcome is Outcome.PASS:
        return Count(Seen.PASS, ran=ran)
    if outcome is Outcome.INCONCLUSIVE and result.trial.case.foreign and not seen.splats:
        doubts = [reason for reason in verdict.reasons if reason.oracle != "exercised"]
        if not doubts:
            return Count(Seen.PASS, ran=ran)
        return Count(Seen.VOID, why=doubts[0].text, ran=ran)
    booted = not any(reason.oracle in ("boot", "build", "compile") for reason in verdict.reasons)
    lacking = outcome is Outcome.SKIP
    return Count(Seen.VOID, why=verdict.reason, ran=ran, booted=booted, lacking=lacking)


def sightings(result: TrialResult) -> tuple[Sighting, ...]:
    """Each race and each oracle once; what came of another report is no bug beside it."""
    found: dict[str, Sighting] = {}
    for splat in result.evidence.splats:
        if splat.follows >= 0:
            continue
        race = race_key(splat)
        found.setdefault(race, Sighting(signature(splat), race, splat.title))
    if not found:
        for reason in result.verdict.reasons:
            found.setdefault(reason.oracle, Sighting(reason.oracle, reason.oracle, reason.text))
    return tuple(found.values())


def as_json(count: Count) -> dict[str, Any]:
    """For a campaign's log; what is at its default is left out."""
    made: dict[str, Any] = {"seen": count.seen.value, "ran": round(count.ran, 2)}
    if count.sightings:
        made["sightings"] = [[s.signature, s.race, s.title] for s in count.sightings]
    if count.why:
        made["why"] = count.why
    if count.first is not None:
        made["first"] = round(count.first, 3)
    if count.folder:
        made["folder"] = count.folder
    if count.reproducer:
        made["reproducer"] = count.reproducer
    if not count.booted:
        made["booted"] = False
    if count.lacking:
        made["lacking"] = True
    return made


def from_json(data: Mapping[str, Any]) -> Count:
    """Raises KeyError, TypeError or ValueError for what as_json() did not write."""
    return Count(
        Seen(data["seen"]),
        tuple(Sighting(*map(str, words)) for words in data.get("sightings", ())),
        str(data.get("why", "")),
        None if data.get("first") is None else float(data["first"]),
        float(data.get("ran", 0.0)),
        bool(data.get("booted", True)),
        bool(data.get("lacking", False)),
        str(data.get("folder", "")),
        str(data.get("reproducer", "")),
    )
