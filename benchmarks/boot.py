"""Seconds from QEMU's start to a ready guest, and from there to the end of a first command.

python benchmarks/boot.py [--kernel v5.10-debug] [--machine two-nodes] [--runs 5] [--accel auto]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from harness.guest.accel import choose
from harness.guest.boot import boot
from harness.kernel.build import build
from harness.progress import default_progress
from harness.spec.kernel import load_kernel
from harness.spec.machine import load_machine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kernel", default="v5.10-debug")
    parser.add_argument("--machine", default="two-nodes")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--accel", default="")
    parser.add_argument("--append", action="append", default=[])
    args = parser.parse_args()
    progress = default_progress()
    kernel = build(load_kernel(args.kernel), progress=progress)
    machine = load_machine(args.machine)
    accel = choose(progress, args.accel)
    rows: list[tuple[float, float, float]] = []
    for _ in range(args.runs):
        with tempfile.TemporaryDirectory() as scratch:
            with boot(
                *(kernel, machine),
                run_dir=Path(scratch) / "run",
                accel=accel,
                progress=progress,
                append=args.append,
            ) as guest:
                guest.run("true")
                end = time.monotonic()
            begin, ready = guest.started, guest.ready
            rows.append((ready - begin, end - ready, end - begin))
    table = Table("run", "boot to ready, s", "ready to first command, s", "total, s")
    for number, row in enumerate(rows, 1):
        table.add_row(str(number), *(f"{seconds:.2f}" for seconds in row))
    medians = (statistics.median(column) for column in zip(*rows, strict=True))
    table.add_row("median", *(f"{seconds:.2f}" for seconds in medians))
    Console(width=100).print(f"{kernel.name} on {machine.name}, {accel}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
