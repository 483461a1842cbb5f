"""harness kernels, harness build."""

from __future__ import annotations

import argparse
import os
from typing import Any

from rich.console import Console
from rich.table import Table

from harness.commands.options import positive
from harness.kernel.build import build, find, plan
from harness.progress import default_progress
from harness.spec.kernel import KernelSpec, kernel_names, load_kernel


def add(verbs: Any) -> None:
    listing = verbs.add_parser("kernels", help="the declared kernels", epilog="harness kernels")
    listing.set_defaults(main=kernels)
    building = verbs.add_parser(
        "build",
        help="build kernels, or find them built already",
        epilog="harness build v5.10-debug v6.1-debug",
    )
    building.add_argument("kernel", nargs="+", help="a name in guests/kernels/, or a YAML file")
    building.add_argument("-j", "--jobs", type=positive, default=os.cpu_count() or 1)
    building.add_argument("-n", "--dry-run", action="store_true", help="print the make lines")
    building.set_defaults(main=build_kernels)


def kernels(args: argparse.Namespace) -> int:
    drawn = Table(pad_edge=False)
    drawn.add_column("kernel", no_wrap=True)
    drawn.add_column("built", overflow="fold")
    drawn.add_column("about", ratio=1)
    for name in kernel_names():
        spec = load_kernel(name)
        built = find(spec)
        drawn.add_row(name, built.release if built else "not yet", _about(spec))
    Console().print(drawn)
    return 0


def _about(spec: KernelSpec) -> str:
    parts = [spec.about]
    if spec.patches:
        parts.append(f"{len(spec.patches)} patch{'es' if len(spec.patches) > 1 else ''}")
    if spec.carries:
        parts.append("carries " + ", ".join(spec.carries))
    return "; ".join(parts)


def build_kernels(args: argparse.Namespace) -> int:
    specs: list[KernelSpec] = [load_kernel(name) for name in args.kernel]
    for spec in specs:
        if args.dry_run:
            print("\n".join(plan(spec)))
            continue
        built = build(spec, progress=default_progress(), jobs=args.jobs)
        print(f"{built.name} {built.release} {built.content_id[:16]} {built.image}")
    return 0
