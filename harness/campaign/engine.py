"""Where trials run: one after the other, or several side by side on this host.

An engine takes a plain value and gives the future of a plain value, and knows nothing of why.
Whoever hands in trials keeps at most ``width`` of them under way, or lets the engine queue them.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from harness.progress import Progress
from harness.spec.machine import MachineSpec
from harness.stop import Stop
from harness.trial.trial import Trial, TrialResult, perform


class Engine(Protocol):
    """Used as a context manager: left by an exception, it ends what is under way."""

    @property
    def width(self) -> int:
        """How many trials it runs at a time, at most."""

    def submit(self, trial: Trial, folder: Path) -> Future[TrialResult]:
        """Run ``trial``, its files in ``folder``, which no other trial has.

        The future's exception is what perform() raises: EnvironmentFault.
        """

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class SerialEngine:
    """In the calling thread: ``submit`` returns when the trial has ended, and Ctrl-C ends it."""

    width = 1

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def submit(self, trial: Trial, folder: Path) -> Future[TrialResult]:
        future: Future[TrialResult] = Future()
        _fill(future, trial, folder, self._progress, Stop())
        return future

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is under way."""


class LocalEngine:
    """Several at a time on this host, each in a thread.

    Threads, not processes: a trial waits, for QEMU does the work and is a process of its own,
    ended by its warden however the harness ends.  Threads share one progress display, one
    table of file:line for each kernel, and start without the second that the imports take.
    Nothing of a trial is global: its folder is its own, QEMU takes a free port of the host's
    and tells it, and the monitor is an inherited socket pair without a name.
    """

    def __init__(self, width: int, progress: Progress) -> None:
        self.width = width
        self._progress = progress
        self._stop = Stop()
        self._queue: queue.SimpleQueue[tuple[Future[TrialResult], Trial, Path] | None]
        self._queue = queue.SimpleQueue()
        # Daemons: what does not end in time must not keep a harness alive that was interrupted.
        self._threads = [
            threading.Thread(target=self._work, name=f"trials-{number}", daemon=True)
            for number in range(width)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, trial: Trial, folder: Path) -> Future[TrialResult]:
        future: Future[TrialResult] = Future()
        self._queue.put((future, trial, folder))
        return future

    def _work(self) -> None:
        while job := self._queue.get():
            future, trial, folder = job
            if self._stop.is_set:
                future.cancel()
            if future.set_running_or_notify_cancel():
                progress = self._progress.prefixed(f"[{folder.name.partition('-')[0]}] ")
                with contextlib.suppress(BaseException):  # it is the future's now
                    _fill(future, trial, folder, progress, self._stop)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._stop.set()
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join(15 if error is not None else None)


def _fill(
    future: Future[TrialResult], trial: Trial, folder: Path, progress: Progress, stop: Stop
) -> None:
    """Whatever goes wrong is the future's; Ctrl-C goes on to the caller too."""
    try:
        result = perform(trial, folder, progress, stop)
    except BaseException as error:
        future.set_exception(error)
        if not isinstance(error, Exception):
            raise
    else:
        future.set_result(result)


def local(
    guests: int | None, machine: MachineSpec, progress: Progress, *, spare: int = 0
) -> Engine:
    """The engine of this host for ``guests`` at a time; None: as many as have CPUs of their own,
    and ``spare`` more, which take the CPUs while others wait for an answer.

    Never more than there are CPUs: a guest that is not scheduled misses deadlines, and its
    races are not those of a machine.  Memory decides when each of them starts, measured then
    (guest/admission.py).
    """
    cpus = len(os.sched_getaffinity(0))
    width = guests or min(cpus, max(1, cpus // machine.cpus) + spare)
    if width > cpus:
        progress.say(f"{width} guests at a time are asked for; {cpus} CPUs carry {cpus}")
        width = cpus
    return SerialEngine(progress) if width == 1 else LocalEngine(width, progress)
