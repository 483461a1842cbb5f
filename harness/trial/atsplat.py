"""What becomes of the guest when an oracle speaks while it runs: --on-splat stop|freeze|dump."""

from __future__ import annotations

import contextlib
import time
from enum import Enum
from pathlib import Path
from typing import Protocol

from harness.errors import HarnessError

DUMP = "memory.kdump"
"""What a dump is called in the folder of its trial."""
STEP = 0.005
"""Seconds of a step; a line of a report takes about as long on an emulated CPU."""


class OnSplat(Enum):
    STOP = "stop"
    FREEZE = "freeze"
    DUMP = "dump"

    def __str__(self) -> str:
        return self.value


class Stoppable(Protocol):
    """What this asks of a guest."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def dump(self, path: Path) -> None:
        """Write its memory; the guest is paused."""


class AtSplat:
    """For one trial.  ``dumped`` and ``frozen`` tell what was done, ``problem`` what was not.

    What goes wrong here is told and changes no verdict.
    """

    def __init__(self, guest: Stoppable, wanted: OnSplat, folder: Path) -> None:
        self._guest, self._wanted, self._folder = guest, wanted, folder
        self._begun = self._paused = False
        self.dumped: Path | None = None
        self.frozen = False
        self.problem = ""

    def begun(self) -> None:
        """At the first sign: the task that reports is still in the middle of it, and its stack
        tells what it was about.  That is what is dumped, also of a guest that is to be frozen.
        """
        if self._begun or self._wanted is OnSplat.STOP:
            return
        self._begun = True
        path = self._folder / DUMP
        try:
            self._guest.pause()
            self._paused = True
            self._guest.dump(path)
            self.dumped = path
        except HarnessError as error:
            self.problem = error.what
        if self._wanted is OnSplat.DUMP:
            with contextlib.suppress(HarnessError):  # one that has ended does not go on
                self._guest.resume()

    @property
    def by_steps(self) -> bool:
        """Whether the guest goes on only in ``step``: it is to stop where its report ends, not a
        hundred million instructions later.
        """
        return self._wanted is OnSplat.FREEZE and self._paused

    def step(self) -> None:
        """Let the guest run on for STEP seconds."""
        try:
            self._guest.resume()
            time.sleep(STEP)
            self._guest.pause()
        except HarnessError as error:
            self._paused = False
            self.problem = error.what

    def complete(self) -> None:
        """When the console has the whole report: who is to be frozen is paused already."""
        self.frozen = self.by_steps
