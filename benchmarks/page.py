"""The page of 10,000 trials: out of the history, and of one run.  CPU seconds, and megabytes."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from harness.record.history.ingest import add_run
from harness.record.history.store import History
from harness.record.load import Run, load_run
from harness.record.page.historypage import history_page
from harness.record.page.runpage import run_page

# What the tests have is not installed.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests import record_samples as samples


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--trials", type=int, default=10_000)
    args = options.parse_args()
    made = samples.many(args.trials)
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch)
        with History(base / "h.db") as history:
            for at in range(0, args.trials, 20):
                run = Run(f"r{at:06}", made[at]["started"], [], {}, base, made[at : at + 20])
                add_run(history, run)
        begin = time.process_time()
        with History(base / "h.db", readonly=True) as history:
            text = history_page(history, base / "h.html")
        told(f"history of {args.trials} trials", time.process_time() - begin, text)
        (base / "run").mkdir()
        (base / "run" / "result.json").write_text(json.dumps(samples.run(made)))
        begin = time.process_time()
        text = run_page(load_run(base / "run"), base / "run" / "report.html", {})
        told(f"run of {args.trials} trials, its document read", time.process_time() - begin, text)


def told(what: str, seconds: float, text: str) -> None:
    print(f"{what}: {seconds:.2f} s CPU, {len(text.encode()) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
