"""A result without what its folder has on disk: a series keeps thousands of them to its end."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from harness.splat.report import Frame, Splat, Stack
from harness.trial.pace import Pace
from harness.trial.trial import TrialResult


def lean(result: TrialResult) -> TrialResult:
    """What tables, counts and comparisons of reports ask for: no streams, no text, no counters."""
    seen = result.evidence
    kept = replace(
        seen,
        facts=None,
        boot_splats=tuple(map(_headline, seen.boot_splats)),
        splats=tuple(map(_headline, seen.splats)),
        before=None,
        after=None,
        postmortem="",
        coverage=b"",
        out=b"",
        err=b"",
        pace=Pace(),
    )
    return replace(result, evidence=kept, command=())


def _headline(splat: Splat) -> Splat:
    """Stacks stay, for a race is known by them; those of one race are alike."""
    stacks = tuple(Stack(s.name, tuple(map(_shared, s.frames))) for s in splat.stacks)
    return replace(splat, stacks=stacks, text="", scenario="", secondary=())


@lru_cache(maxsize=4096)
def _shared(frame: Frame) -> Frame:
    """The first one that is equal, so that there is one of each."""
    return frame
