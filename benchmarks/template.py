"""A copy of a template beside a cold boot: seconds to the first command, memory, overhead.

python benchmarks/template.py [--kernel v5.10-debug] [--machine two-nodes] [--runs 9] [--cold 3]

Cold boots and copies take turns, so that both meet the same load of the host.  Memory is what
a copy has for itself (Private_Dirty and Private_Clean of smaps_rollup) and its share of all
(PSS), after its first command.  Where virtme-ng is installed (PyPI), it boots the same kernel
beside them, to the first command or to where it stops: it takes the host's file system as the
guest's by 9p or virtiofs, and a kernel without either gets as far as mounting that.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
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


ENDS = {b"ran here": "first command", b"VFS: Cannot open root": "no 9p in the kernel: to its root"}
"""What ends a boot of virtme-ng, and what that was."""


def virtme_ng(kernel: BuiltKernel, machine: MachineSpec, accel: Accel) -> tuple[float, str] | None:
    """Seconds, and what for; None where it is not installed or came to none of the ends."""
    program = shutil.which("vng")
    if program is None:
        return None
    argv = [program, "--run", str(kernel.image), "--cpus", str(machine.cpus), "--verbose"]
    argv += ["--memory", f"{machine.memory >> 20}M", *(["--disable-kvm"] * (accel is Accel.TCG))]
    begin, said = time.monotonic(), b""
    with subprocess.Popen(
        ["timeout", "300", *argv, "--", "echo ran here"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout
        while data := os.read(process.stdout.fileno(), 1 << 16):
            said += data
            for end, what in ENDS.items():
                if end in said:
                    took = time.monotonic() - begin
                    process.terminate()  # timeout(1) hands it on
                    return took, what
    return None


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
    others = []
    for _ in range(args.cold):
        if took := virtme_ng(kernel, machine, accel):
            others.append(took)
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
    if others:
        seconds = statistics.median(took for took, _ in others)
        console.print(f"virtme-ng, {others[0][1]}: {seconds:.2f} s, median of {len(others)}")
    else:
        console.print("virtme-ng is not installed, or does not boot this kernel")


if __name__ == "__main__":
    main()
