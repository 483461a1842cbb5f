"""What a trial comes to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Outcome(Enum):
    """PASS only with proof; see the README for the whole definition of each."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    SKIP = "SKIP"
    ERROR = "ERROR"


@dataclass(frozen=True)
class Reason:
    """Why: ``oracle`` is who says so (splat, panic, hang, data, counters, armed, exercised...)."""

    oracle: str
    text: str


@dataclass(frozen=True)
class Verdict:
    """One outcome and every reason for it, the weightiest first."""

    outcome: Outcome
    reasons: tuple[Reason, ...] = ()

    @property
    def reason(self) -> str:
        """The first reason in words; empty for a PASS."""
        return self.reasons[0].text if self.reasons else ""
