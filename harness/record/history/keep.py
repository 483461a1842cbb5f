"""The history of runs under way: told of each trial as it ends, and never in its way."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from harness.errors import HarnessError
from harness.record.history.ingest import add_trial, register
from harness.record.history.store import History, history_file
from harness.record.load import Run


class Keeper:
    """Keeps a run's trials in the history, or says once why it cannot.

    A history that is full, damaged or of a newer harness takes no verdict from anybody: the run
    folder holds all of it, and ``harness history import`` takes it up later.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._silent = False
        self._do(lambda history: register(history, run))

    def add(self, trial: Mapping[str, Any]) -> None:
        self._do(lambda history: add_trial(history, self._run, trial))

    def _do(self, step: Callable[[History], None]) -> None:
        file = history_file()
        if file is None:
            return
        try:
            with History(file) as history:
                step(history)
        except HarnessError as error:
            if not self._silent:
                print(f"not kept in the history: {error}", file=sys.stderr)
            self._silent = True
