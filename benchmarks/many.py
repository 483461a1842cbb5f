"""Many trials of a buggy kernel in a row, held to what is asked of them.

python benchmarks/many.py [--runs 200] [--guests 2] [--kernel v5.10-anon-race] [--time 20]

Prints each measure beside what is to be reached, and exits with 1 where one of them is not.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from harness.campaign.series import run_series, series
from harness.progress import default_progress
from harness.record.table import line
from harness.spec.cases import select
from harness.trial.trial import TrialResult

# What the tests have is not installed.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.reach import measures
from tests.survival import qemu_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kernel", default="v5.10-anon-race")
    parser.add_argument("--case", default="anon_fork_migrate")
    parser.add_argument("--machine", default="two-nodes")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--guests", type=int, default=2)
    parser.add_argument("--time", type=int, default=20)
    args = parser.parse_args()
    progress = default_progress()
    plan = series(
        *([args.kernel], args.machine, select([args.case])),
        seconds=args.time,
        runs=args.runs,
        guests=args.guests,
    )
    sizes: list[tuple[float, int]] = []

    def tell(result: TrialResult) -> None:
        sizes.append(footprint())
        progress.say(line(result))

    folder, results = run_series(plan, ["benchmarks/many.py"], progress, on_result=tell)
    rows = measures(args.runs, results, sizes, len(qemu_of(folder.absolute())))
    table = Table("measure", "reach", "measured", "")
    for row in rows:
        table.add_row(row.name, row.reach, row.measured, "held" if row.held else "NOT HELD")
    Console(width=100).print(table)
    boots = statistics.median(result.boot_seconds for result in results)
    print(f"to a guest: {boots:.2f} s, median; load {' '.join(map(str, os.getloadavg()))}")
    print(f"record: {folder / 'result.json'}")
    sys.exit(0 if all(row.held for row in rows) else 1)


def footprint() -> tuple[float, int]:
    """MiB of this process that are resident, and its open files."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20), len(
        list(Path("/proc/self/fd").iterdir())
    )


if __name__ == "__main__":
    main()
