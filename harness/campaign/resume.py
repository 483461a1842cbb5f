"""A run that was killed goes on: what it has stays as it is, what it lacks is run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError
from harness.kernel.built import BuiltKernel
from harness.record.folder import RunFolder
from harness.record.load import Run, load_run
from harness.trial.verdict import Outcome


@dataclass(frozen=True)
class Resumed:
    """``run`` as it was found, ``folder`` as it is written to from now on."""

    run: Run
    folder: RunFolder

    def runs_of(self, case: str, kernel: str) -> int:
        return Counter((t["case"], t["kernel"]["name"]) for t in self.run.trials)[case, kernel]

    def check(self, kernel: BuiltKernel) -> None:
        """Raise UsageError where a kernel is not what it was: its trials would not add up."""
        for trial in self.run.trials:
            then = trial["kernel"]
            if then["name"] == kernel.name and then["content_id"] not in (None, kernel.content_id):
                raise UsageError(
                    f"{kernel.name} has changed since this run began: then {then['content_id']},"
                    f" now {kernel.content_id}",
                    hint="run it anew",
                )

    def check_reproducer(self, case: str, made: str) -> None:
        """The same for the reproducer of a case."""
        for trial in self.run.trials:
            then = trial["reproducer"].get("id", "")
            if trial["case"] == case and then not in ("", made):
                raise UsageError(
                    f"the reproducer of {case} has changed since this run began: then {then},"
                    f" now {made}",
                    hint="run it anew",
                )

    def outcomes(self) -> list[Outcome]:
        return [Outcome(trial["verdict"]) for trial in self.run.trials]

    @property
    def cut_short(self) -> list[Path]:
        """Folders of trials that were under way when the run was killed."""
        whole = {trial["folder"] for trial in self.run.trials}
        return sorted(
            path
            for path in self.run.folder.iterdir()
            if path.is_dir() and path.name not in whole and path.name[:3].isdecimal()
        )


def find(name: str, results: Path) -> Run:
    """The run called ``name`` (or a path to it), or else the newest of ``harness run``."""
    if name:
        path = Path(name)
        return _usable(load_run(path if path.is_dir() else results / name))
    for folder in sorted(results.glob("*/result.json"), reverse=True):
        run = load_run(folder.parent)
        if list(run.command[:2]) == ["harness", "run"]:
            return run
    raise UsageError(f"{results}: no run of harness run is there to go on with")


def _usable(run: Run) -> Run:
    if list(run.command[:2]) != ["harness", "run"]:
        raise UsageError(f"{run.folder}: it is not of harness run, but of: {' '.join(run.command)}")
    return run
