"""Where a campaign's trials run: kernels in, counts out, everything kept on the way.

The campaigns above this door (rate, verify, bisect, nightly) see kernels and counts; their tests
hand in another bench.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from harness.campaign.count import Count, count
from harness.campaign.engine import Engine
from harness.campaign.series import Series, repeat
from harness.kernel.build import build
from harness.kernel.built import BuiltKernel
from harness.progress import Progress
from harness.record.folder import RunFolder
from harness.record.table import line
from harness.spec.kernel import KernelSpec
from harness.trial.compile import binary_of, identity
from harness.trial.trial import Trial, TrialResult


@dataclass(frozen=True)
class Ready:
    """A kernel that can be run."""

    spec: KernelSpec
    kernel: BuiltKernel
    seconds: float = 0.0
    """What its build took."""


class Bench(Protocol):
    """One test case on one machine; ``width`` trials at a time."""

    @property
    def width(self) -> int: ...

    @property
    def reproducer(self) -> str:
        """Which build of the reproducer it runs, as Count has it."""

    def build(self, spec: KernelSpec) -> Ready:
        """Raises HarnessError; it may be called in a thread of its own."""

    def start(self, ready: Ready) -> Future[Count]:
        """One fresh guest.  Its record is complete when the future is taken by ``next``."""

    def next(self, timeout: float | None = None) -> list[tuple[Future[Count], Count]]:
        """Those of the started that have ended, at least one unless ``timeout`` seconds pass.

        Raises what the host lacks; what ended besides is handed out by the next call.
        """


class GuestBench:
    """Real guests, on an engine, in a run's folder."""

    def __init__(
        self, plan: Series, engine: Engine, folder: Callable[[], RunFolder], progress: Progress
    ) -> None:
        """``plan`` has one case; its kernels do not matter here.  ``folder`` is called once, for
        the first trial: a campaign that has none leaves nothing behind.
        """
        (self._case,) = plan.cases
        self._plan, self._engine, self._folder = plan, engine, functools.cache(folder)
        self._progress = progress
        self._binary = binary_of(self._case)
        self._made = identity(self._case, self._binary).id
        self._under_way: dict[Future[TrialResult], tuple[Future[Count], Ready]] = {}
        self._faults: list[BaseException] = []

    @property
    def width(self) -> int:
        return self._engine.width

    @property
    def reproducer(self) -> str:
        return self._made

    def build(self, spec: KernelSpec) -> Ready:
        start = time.monotonic()
        kernel = build(spec, progress=self._progress, jobs=self._plan.jobs)
        return Ready(spec, kernel, time.monotonic() - start)

    def start(self, ready: Ready) -> Future[Count]:
        plan, case = self._plan, self._case
        trial = Trial(
            case=case,
            binary=self._binary,
            seconds=plan.seconds_of(case),
            kernel=ready.kernel,
            machine=plan.machine_of(case),
            accel=plan.accel,
            append=plan.append,
        )
        folder = self._folder().trial_folder(f"{case.name}--{ready.spec.name}")
        counted: Future[Count] = Future()
        self._under_way[self._engine.submit(trial, folder)] = (counted, ready)
        return counted

    def next(self, timeout: float | None = None) -> list[tuple[Future[Count], Count]]:
        if self._faults:
            raise self._faults.pop()
        ended = []
        done = wait(self._under_way, timeout, return_when=FIRST_COMPLETED).done
        for future in done:
            counted, ready = self._under_way.pop(future)
            if error := future.exception():
                self._faults.append(error)
                continue
            result = future.result()
            self._progress.say(line(result))
            self._folder().add(result, repeat(self._plan, ready.spec, self._case))
            folder = f"{result.folder.parent.name}/{result.folder.name}"
            counted.set_result(replace(count(result), folder=folder, reproducer=self._made))
            ended.append((counted, counted.result()))
        if self._faults and not ended:
            raise self._faults.pop()
        return ended


def stacked(base: KernelSpec, name: str, patches: Sequence[Path], folder: Path) -> KernelSpec:
    """``base`` with more patches on top, declared in ``folder`` so that it can be run again."""
    file = folder / f"{name}.yaml"
    listed = "".join(f"  - {quoted(patch.absolute())}\n" for patch in patches)
    extends = quoted(base.file.absolute())
    file.write_text(f"extends: {extends}\npatches:\n{listed}", encoding="utf-8")
    patches_ = (*base.patches, *(patch.absolute() for patch in patches))
    return replace(base, name=name, file=file, patches=patches_)


def quoted(path: Path) -> str:
    """As a YAML scalar."""
    return "'" + str(path).replace("'", "''") + "'"
