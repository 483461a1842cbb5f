"""Seconds from the reproducer's start to the first splat, each in a fresh guest.

python benchmarks/first_splat.py [--kernel v5.10-anon-race] [--runs 5] [--case NAME]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from harness.campaign.series import run_series, series
from harness.progress import default_progress
from harness.spec.cases import select


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kernel", default="v5.10-anon-race")
    parser.add_argument("--machine", default="two-nodes")
    parser.add_argument("--case", default="anon_fork_migrate")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--time", type=int, default=60)
    args = parser.parse_args()
    plan = series(
        [args.kernel], args.machine, select([args.case]), seconds=args.time, runs=args.runs
    )
    with tempfile.TemporaryDirectory() as scratch:
        _, results = run_series(
            plan, ["benchmarks/first_splat.py"], default_progress(), results=Path(scratch)
        )
    table = Table("run", "verdict", "first splat, s", "title")
    times = []
    for number, result in enumerate(results, 1):
        seconds = result.evidence.first_splat
        times += [seconds] if seconds is not None else []
        shown = "none" if seconds is None else f"{seconds:.2f}"
        table.add_row(str(number), result.verdict.outcome.value, shown, result.verdict.reason)
    Console(width=100).print(table)
    median = f"{statistics.median(times):.2f} s" if times else "none"
    print(f"splats in {len(times)} of {len(results)} runs, median {median}")


if __name__ == "__main__":
    main()
