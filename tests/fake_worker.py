"""What a worker runs in the tests of the cluster instead of a guest; imported by its processes."""

from __future__ import annotations

import os
import time
from pathlib import Path

from harness.progress import Progress
from harness.trial.evidence import Evidence
from harness.trial.trial import Trial, TrialResult
from harness.trial.verdict import Outcome, Verdict


def at_once(trial: Trial, folder: Path, progress: Progress) -> TrialResult:
    """Leaves what it found of the kernel and the reproducer."""
    assert trial.kernel
    folder.mkdir(parents=True)
    (folder / "console.log").write_bytes(trial.kernel.image.read_bytes())
    (folder / "reproducer.out").write_bytes(trial.binary.read_bytes())
    (folder / "pid").write_text(str(os.getpid()))
    option = trial.kernel.option("CONFIG_KASAN").encode()
    return TrialResult(trial, Verdict(Outcome.PASS), Evidence(out=option), folder, time.time())


def first_hangs(trial: Trial, folder: Path, progress: Progress) -> TrialResult:
    """The first to run the trial 001 stays, until somebody kills its worker."""
    begun = Path(trial.append[0])
    if folder.name.startswith("001") and not begun.exists():
        begun.write_text(str(os.getpid()))
        time.sleep(600)
    return at_once(trial, folder, progress)
