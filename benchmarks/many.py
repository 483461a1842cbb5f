"""Many trials of a buggy kernel in a row: verdicts, errors, orphans, and what the harness grows.

python benchmarks/many.py [--runs 200] [--guests 2] [--kernel v5.10-anon-race] [--time 20]
"""

from __future__ import annotations

import argparse
import collections
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
    verdicts = collections.Counter(result.verdict.outcome.value for result in results)
    table = Table("measure", "value")
    table.add_row("verdicts", str(dict(verdicts)))
    table.add_row("QEMU processes left", str(len(qemu_of(folder.absolute()))))
    edge = max(1, len(sizes) // 10)
    for name, index in (("MiB resident", 0), ("open files", 1)):
        # The first tenth still fills caches: symbols, connections, threads.
        early = statistics.median(size[index] for size in sizes[edge : 2 * edge])
        late = statistics.median(size[index] for size in sizes[-edge:])
        table.add_row(f"{name}, 2nd tenth and last", f"{early:.0f}, {late:.0f}")
    boots = statistics.median(result.boot_seconds for result in results)
    table.add_row("s to a guest, median", f"{boots:.2f}")
    overhead = [
        result.wall_seconds - result.evidence.seconds for result in results if result.wall_seconds
    ]
    table.add_row("s beside the reproducer's own, median", f"{statistics.median(overhead):.2f}")
    Console(width=100).print(table)
    print(f"record: {folder / 'result.json'}")


def footprint() -> tuple[float, int]:
    """MiB of this process that are resident, and its open files."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20), len(
        list(Path("/proc/self/fd").iterdir())
    )


if __name__ == "__main__":
    main()
