"""The history's figures: ingest of 1,000 run folders, questions over 10,000 trials, 200 kills.

Times are CPU seconds of this process, which the load of the host does not change.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from harness.record.history import questions
from harness.record.history.ingest import add_run, import_folders
from harness.record.history.store import History
from harness.record.load import Run

# What the tests have is not installed.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests import record_samples as samples
from tests.test_history import killed_writers


def timed(step: Callable[[], object]) -> float:
    begin = time.process_time()
    step()
    return time.process_time() - begin


def ingest(base: Path, folders: int) -> None:
    trials = samples.many(folders)
    for number, trial in enumerate(trials):
        samples.write_run(base / "results", samples.run([trial], f"20260101-000000-{number:04x}"))
    with History(base / "ingest.db") as history:
        wall = time.monotonic()
        cpu = timed(lambda: import_folders(history, [base / "results"]))
        wall = time.monotonic() - wall
        assert questions.totals(history).trials == folders
    print(f"ingest of {folders} run folders: {cpu:.1f} s CPU, {wall:.1f} s")


def ask(base: Path, trials: int) -> None:
    file = base / "questions.db"
    with History(file) as history:
        made = samples.many(trials)
        for at in range(0, trials, 20):
            name = f"20260101-000000-{at:04x}"
            add_run(history, Run(name, made[at]["started"], [], {}, base, made[at : at + 20]))
    print(f"history of {trials} trials: {file.stat().st_size / 1e6:.1f} MB")
    with History(file, readonly=True) as history:
        wanted = questions.signatures(history)[0]["signature"]
        for name, question in (
            ("totals", lambda: questions.totals(history)),
            ("runs", lambda: questions.runs(history, 20)),
            ("rates", lambda: questions.rates(history)),
            ("rates of a kernel", lambda: questions.rates(history, kernel="kernel-1")),
            ("signatures", lambda: questions.signatures(history)),
            ("a signature", lambda: questions.signature(history, wanted[:4])),
            ("its sightings", lambda: questions.sightings(history, wanted)),
            ("its examples", lambda: questions.examples(history, wanted, 5)),
            ("kernels", lambda: questions.kernels(history)),
            *(
                (
                    f"view {view}",
                    lambda view=view: questions.select(history, f"SELECT * FROM {view}"),
                )
                for view in ("signatures", "rates", "kernels", "runs")
            ),
        ):
            print(f"  {name}: {1000 * min(timed(question) for _ in range(3)):.0f} ms CPU")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--folders", type=int, default=1000)
    options.add_argument("--trials", type=int, default=10_000)
    options.add_argument("--kills", type=int, default=200)
    args = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch)
        ingest(base, args.folders)
        ask(base, args.trials)
        if args.kills:
            (base / "kills").mkdir()
            finished, found = killed_writers(base / "kills", args.kills, seed=1)
            print(f"killed {args.kills} times: {finished} trials finished, {found} of them found")


if __name__ == "__main__":
    main()
