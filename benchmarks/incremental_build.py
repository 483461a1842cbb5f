"""How long one changed patch takes: the harness against plain make in the same tree.

    python benchmarks/incremental_build.py [--kernel NAME] [--rounds N] [--file PATH]

Each round adds another line to one source file, once by a patch through the harness and
once by hand followed by the same make command.  Neither finds its object in ccache.
"""

from __future__ import annotations

import argparse
import difflib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from harness.errors import HarnessError
from harness.kernel import kept, make
from harness.kernel.build import build
from harness.kernel.patch import apply_all
from harness.kernel.source import resolve
from harness.kernel.store import Store
from harness.kernel.workspace import Workspace, workspace_for
from harness.paths import cache_dir
from harness.progress import Progress, default_progress
from harness.spec.kernel import KernelSpec, load_kernel

LIMIT = 1.3
"""The harness may take this many times as long as plain make."""


def line(number: int) -> str:
    return f'static const char harness_benchmark[] __used = "{os.getpid()} {number}";\n'


def with_patch(spec: KernelSpec, file: str, text: str, number: int, folder: Path) -> KernelSpec:
    """``spec`` with one more patch, which adds a line at the end of ``file``."""
    old = text.splitlines(keepends=True)
    diff = difflib.unified_diff(old, [*old, line(number)], f"a/{file}", f"b/{file}")
    patch = folder / f"round-{number}.patch"
    patch.write_text("".join(diff), encoding="utf-8")
    return replace(spec, patches=(*spec.patches, patch))


def through_harness(spec: KernelSpec, jobs: int, progress: Progress) -> float:
    start = time.monotonic()
    kernel = build(spec, progress=progress, jobs=jobs)
    seconds = time.monotonic() - start
    shutil.rmtree(kept.folder_of(cache_dir(), kernel.content_id))
    return seconds


def by_hand(space: Workspace, file: str, text: str, number: int, jobs: int) -> float:
    (space.tree / file).write_text(text + line(number), encoding="utf-8")
    start = time.monotonic()
    subprocess.run(
        make.make_argv(space, jobs),
        env=make.make_env(cache_dir()),
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.monotonic() - start


def measure(name: str, file: str, rounds: int, jobs: int) -> list[tuple[float, float]]:
    """(harness, make) in seconds, a pair a round."""
    progress = default_progress()
    spec = load_kernel(name)
    build(spec, progress=progress, jobs=jobs)
    source = resolve(spec, cache_dir(), progress)
    space = workspace_for(cache_dir(), source.key, spec.config)
    pairs = []
    with tempfile.TemporaryDirectory(prefix="harness-benchmark-") as scratch:
        text = current(spec, file)
        for number in range(rounds + 1):
            spec_now = with_patch(spec, file, text, 2 * number, Path(scratch))
            seconds = through_harness(spec_now, jobs, progress)
            plain = by_hand(space, file, text, 2 * number + 1, jobs)
            if number:  # the first only brings the tree to where it is one file away
                pairs.append((seconds, plain))
    return pairs


def current(spec: KernelSpec, file: str) -> str:
    """``file`` as the patches of ``spec`` leave it."""
    store = Store.open(cache_dir())
    tree = apply_all(store, resolve(spec, cache_dir(), Progress()).tree, spec.patches).tree
    return store.attempt("show", f"{tree}:{file}").out.decode()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kernel", default="v5.10-debug")
    parser.add_argument("--file", default="mm/migrate.c")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", "-j", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    try:
        pairs = measure(args.kernel, args.file, args.rounds, args.jobs)
    except HarnessError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    table = Table(title=f"{args.kernel}: one changed patch ({args.file}), seconds")
    for column in ("round", "harness", "plain make", "ratio"):
        table.add_column(column, justify="right")
    for number, (ours, plain) in enumerate(pairs, 1):
        table.add_row(str(number), f"{ours:.1f}", f"{plain:.1f}", f"{ours / plain:.2f}")
    ours, plain = (statistics.median(side) for side in zip(*pairs, strict=True))
    table.add_row("median", f"{ours:.1f}", f"{plain:.1f}", f"{ours / plain:.2f}")
    Console().print(table)
    return 0 if ours / plain <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
