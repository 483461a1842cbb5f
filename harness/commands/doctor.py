"""harness doctor."""

from __future__ import annotations

import argparse
import os
import shutil
from typing import Any

from rich.console import Console
from rich.table import Table

from harness.doctor import (
    GIB,
    INSTALL,
    NEEDS,
    install_line,
    memory_available,
    missing,
    package_manager,
)
from harness.errors import EnvironmentFault
from harness.guest.accel import choose
from harness.paths import cache_dir
from harness.progress import default_progress

COLD_DISK = 6 * GIB
"""A kernel tree, its build and its git objects: 1.1 + 1.5 + 0.9 GiB a version, and room to move."""

GUEST_MEMORY = 2 * GIB


def add(verbs: Any) -> None:
    verb = verbs.add_parser(
        "doctor",
        help="what this host has and lacks, and the command that mends it",
        epilog="harness doctor",
    )
    verb.set_defaults(main=run)


def run(args: argparse.Namespace) -> int:
    console = Console(soft_wrap=True, highlight=False)
    drawn = Table(pad_edge=False)
    for title in ("", "what", "for", "package"):
        drawn.add_column(title)
    manager = package_manager()
    lacking = missing()
    for need in NEEDS:
        there = need not in lacking
        without = "[yellow]fewer[/]" if need.testing else "[yellow]slow[/]"
        mark = "[green]ok[/]" if there else without if need.optional else "[red]no[/]"
        drawn.add_row(mark, need.name, need.purpose, need.packages[manager or "apt"])
    console.print(drawn)
    accel = "none: no QEMU"
    if shutil.which("qemu-system-x86_64"):
        accel = str(choose(default_progress()))
    memory, disk = memory_available(), _free_disk()
    console.print(f"acceleration: {accel} (found by booting a probe)")
    console.print(f"CPUs: {os.cpu_count()}, memory available: {memory / GIB:.1f} GiB")
    console.print(f"cache: {cache_dir()}, {disk / GIB:.1f} GiB free")
    if lacking:
        console.print("\nTo mend what is missing:")
        for name in [manager] if manager else INSTALL:
            console.print(f"  {install_line(lacking, name)}")
    if [need for need in lacking if not need.optional]:
        return EnvironmentFault.exit_code
    if memory < GUEST_MEMORY or disk < COLD_DISK:
        console.print(
            f"\n{GUEST_MEMORY // GIB} GiB of memory for a guest and {COLD_DISK // GIB} GiB of disk "
            "for a first build are wanted"
        )
        return EnvironmentFault.exit_code
    return 0


def _free_disk() -> int:
    folder = cache_dir()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
