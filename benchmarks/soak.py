"""The control must never fail and the buggy kernel always: k failures of n for each.

python benchmarks/soak.py [--runs 10] [--time 60]
"""

from __future__ import annotations

import argparse
import collections

from rich.console import Console
from rich.table import Table

from harness.campaign.series import run_series, series
from harness.progress import default_progress
from harness.record.table import kernel_name, line
from harness.spec.cases import select


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kernel", action="append", default=[])
    parser.add_argument("--machine", default="two-nodes")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--time", type=int, default=60)
    args = parser.parse_args()
    kernels = args.kernel or ["v5.10-anon-race", "v5.10-debug"]
    plan = series(
        kernels, args.machine, select(["anon_fork_migrate"]), seconds=args.time, runs=args.runs
    )
    progress = default_progress()
    folder, results = run_series(
        plan,
        ["benchmarks/soak.py"],
        progress,
        on_result=lambda result: progress.say(line(result)),
    )
    table = Table("kernel", "runs", "verdicts", "moved, least")
    for name in kernels:
        mine = [result for result in results if kernel_name(result) == name]
        counts = collections.Counter(result.verdict.outcome.value for result in mine)
        moved = min(result.evidence.results.counts.get("moved", 0) for result in mine)
        table.add_row(name, str(len(mine)), str(dict(counts)), str(moved))
    Console(width=100).print(table)
    print(f"record: {folder / 'result.json'}")


if __name__ == "__main__":
    main()
