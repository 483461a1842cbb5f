"""A copy of a template beside a cold boot: seconds to the first command, memory, overhead.

python benchmarks/template.py [--kernel v5.10-debug] [--machine two-nodes] [--runs 9] [--cold 3]

Cold boots and copies take turns, so that both meet the same load of the host.  Memory is what
a copy has for itself (Private_Dirty and Private_Clean of smaps_rollup) and its share of all
(PSS), after its first command.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from harness.guest.accel import Accel, choose
from harness.guest.boot import boot
from harness.kernel.build import build
from harness.kernel.built import BuiltKernel
from harness.progress import Progress, default_progress
from harness.spec.kernel import load_kernel
from harness.spec.machine import MachineSpec, load_machine


@dataclass(frozen=True)
class Row:
    """Seconds from QEMU's start, and MiB."""

    ready: float
    first: float
    second: float
    pss: float
    private: float


def measure(kernel: BuiltKernel, machine: MachineSpec, accel: Accel, *, cold: bool) -> Row:
    with tempfile.TemporaryDirectory() as scratch:
        run_dir = Path(scratch) / "run"
        with boot(
            *(kernel, machine), run_dir=run_dir, accel=accel, progress=Progress(), cold=cold
        ) as guest:
            guest.run("true")
            first = time.monotonic()
            guest.run("true")
            second = time.monotonic()
            memory = smaps(guest.pid)
        return Row(
            guest.ready - guest.started,
            first - guest.started,
            second - first,
            memory["Pss"] / 1024,
            (memory["Private_Dirty"] + memory["Private_Clean"]) / 1024,
        )


def smaps(pid: int) -> dict[str, int]:
    """KiB by name."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    return {line.partition(":")[0]: int(line.split()[1]) for line in lines}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kernel", default="v5.10-debug")
    parser.add_argument("--machine", default="two-nodes")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--cold", type=int, default=3)
    parser.add_argument("--accel", default="")
    args = parser.parse_args()
    progress = default_progress()
    kernel = build(load_kernel(args.kernel), progress=progress)
    machine, accel = load_machine(args.machine), choose(progress, args.accel)
    measure(kernel, machine, accel, cold=False)  # makes the template
    copies: list[Row] = []
    boots: list[Row] = []
    each = -(-args.runs // args.cold)
    for _ in range(args.cold):
        boots.append(measure(kernel, machine, accel, cold=True))
        copies += [measure(kernel, machine, accel, cold=False) for _ in range(each)]
    table = Table("median", "copy", "cold boot", "cold / copy")
    for name, unit in (
        ("ready", "s"),
        ("first", "s to the first command's end"),
        ("second", "s for a further command"),
        ("pss", "MiB, PSS"),
        ("private", "MiB, private"),
    ):
        copy, cold = (
            statistics.median(getattr(row, name) for row in rows) for rows in (copies, boots)
        )
        table.add_row(f"{name}, {unit}", f"{copy:.2f}", f"{cold:.2f}", f"{cold / copy:.1f}")
    console = Console(width=100)
    console.print(
        f"{kernel.name} on {machine.name}, {accel}: {len(copies)} copies, {len(boots)} boots"
    )
    console.print(table)


if __name__ == "__main__":
    main()
