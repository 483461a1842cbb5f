"""Results without what their folders have on disk: a series keeps thousands of them to its end."""

from __future__ import annotations

import io
import pickle
import tempfile
import zlib
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import overload

from harness.splat.report import Frame, Splat, Stack
from harness.trial.pace import Pace
from harness.trial.trial import Trial, TrialResult


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


class Kept(Sequence[TrialResult]):
    """Lean results in the order they came, in a file without a name: ten thousand of them take no
    memory of this process, where each would take ten kilobytes.
    """

    def __init__(self, results: Iterable[TrialResult] = ()) -> None:
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - it lasts as this does
        self._ends = array("Q", [0])
        self._held: dict[int, TrialResult] = {}
        self._trials: list[Trial] = []
        for result in results:
            self.append(result)

    def append(self, result: TrialResult) -> None:
        data = self._packed(lean(result))
        end = self._ends[-1]
        try:
            self._file.seek(end)
            end += _write(self._file, data)
        except OSError:  # a full disk takes no result from anybody
            self._held[len(self)] = lean(result)
        self._ends.append(end)

    def _packed(self, result: TrialResult) -> bytes:
        stream = io.BytesIO()
        _Pickler(stream, self._trials).dump(result)
        return zlib.compress(stream.getbuffer(), 1)

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> TrialResult: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[TrialResult]: ...

    def __getitem__(self, index: int | slice) -> TrialResult | Sequence[TrialResult]:
        places = range(len(self))[index]
        if not isinstance(places, int):
            return [self[place] for place in places]
        if places in self._held:
            return self._held[places]
        begin, end = self._ends[places : places + 2]
        self._file.seek(begin)
        stream = io.BytesIO(zlib.decompress(self._file.read(end - begin)))
        found = _Unpickler(stream, self._trials).load()
        assert isinstance(found, TrialResult)
        return found


def _write(file: io.FileIO, data: bytes) -> int:
    """All of it: without a buffer a file takes what there is room for."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
    return len(data)


class _Pickler(pickle.Pickler):
    """What was run is the same for hundreds of results, and is written once."""

    def __init__(self, stream: io.BytesIO, trials: list[Trial]) -> None:
        super().__init__(stream, pickle.HIGHEST_PROTOCOL)
        self._trials = trials

    def persistent_id(self, value: object) -> int | None:
        if not isinstance(value, Trial):
            return None
        for number, trial in enumerate(self._trials):
            if trial is value:
                return number
        self._trials.append(value)
        return len(self._trials) - 1


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO, trials: list[Trial]) -> None:
        super().__init__(stream)
        self._trials = trials

    def persistent_load(self, number: int) -> Trial:
        return self._trials[number]
