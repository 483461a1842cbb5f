"""Bisecting a real series on real guests, beside plain git bisect run.

python benchmarks/real_bisect.py [--culprit 7] [--base v5.10-debug] [--time 1] [--guests 2]
                                 [--plain 3] [--folder /tmp/real-bisect]

Makes a series of 8 patches on the base: seven change words that the kernel prints, one brings back
the race of guests/patches/reintroduce/anon-rmap-locked.patch.  With --culprit 0 no patch of the
series does it, and --base v5.10-anon-race has it already: the case of the thread that the project
comes from.  --plain N bisects the same kernels N times by git bisect run, one run a commit: a pass
is proof there.  A short --time makes the race one that hides.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from harness.kernel.patch import apply_all
from harness.kernel.source import resolve
from harness.kernel.store import Store
from harness.paths import PROJECT, cache_dir
from harness.progress import Progress
from harness.spec.kernel import GUESTS, load_kernel

CASE = "anon_fork_migrate"
CULPRIT = GUESTS / "patches" / "reintroduce" / "anon-rmap-locked.patch"

INNOCENT = (
    ("mm/mempolicy.c", "Unable to parse numa_balancing=", "Cannot parse numa_balancing="),
    ("mm/vmscan.c", "negative objects to delete nr=", "negative objects to free nr="),
    ("mm/vmstat.c", "enable numa statistics", "numa statistics are on"),
    ("mm/vmstat.c", "disable numa statistics, and", "numa statistics are off:"),
    ("mm/memory.c", "messages suppressed", "messages were suppressed"),
    ("mm/mempolicy.c", "interleaving failed", "no interleaving"),
    ("mm/mmap.c", "uses deprecated remap_file_pages", "calls deprecated remap_file_pages"),
    ("mm/page_alloc.c", "Bad debug_guardpage_minorder value", "Odd debug_guardpage_minorder"),
)
"""File, words, other words."""

MAIL = """\
From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
From: A Developer <developer@localhost>
Date: Thu, 1 Jan 2026 00:00:00 +0000
Subject: [PATCH {number}/8] {title}

{diff}
"""


def make_series(base: str, culprit: int, folder: Path) -> Path:
    """The mailbox, each patch made against the tree with those before it."""
    cache, progress = cache_dir(), Progress()
    store, spec = Store.open(cache), load_kernel(base)
    tree = apply_all(store, resolve(spec, cache, progress).tree, spec.patches).tree
    innocent = iter(INNOCENT)
    mails = []
    for number in range(1, 9):
        if number == culprit:
            text = CULPRIT.read_text(encoding="utf-8")
            diff, title = text[text.index("diff --git") :], "mm/migrate: simplify locking of rmap"
        else:
            file, old, new = next(innocent)
            diff, title = reworded(store, tree, file, old, new), f"{file}: say it in other words"
        patch = folder / "one.patch"
        patch.write_text(diff, encoding="utf-8")
        tree = apply_all(store, tree, [patch]).tree
        patch.unlink()
        mails.append(MAIL.format(number=number, title=title, diff=diff))
    box = folder / "series.mbox"
    box.write_text("\n".join(mails), encoding="utf-8")
    return box


def reworded(store: Store, tree: str, file: str, old: str, new: str) -> str:
    """A diff that changes words in ``file`` and nothing else."""
    text = store.attempt("cat-file", "-p", f"{tree}:{file}").out.decode()
    if old not in text:
        raise SystemExit(f"{file}: has no {old!r}")
    before, after = text.splitlines(), text.replace(old, new).splitlines()
    at = next(n for n, (a, b) in enumerate(zip(before, after, strict=True)) if a != b)
    first, last = max(0, at - 3), min(len(before), at + 4)
    hunk = [f" {line}" for line in before[first:last]]
    hunk[at - first] = f"-{before[at]}"
    hunk.insert(at - first + 1, f"+{after[at]}")
    size = last - first
    lines = [f"diff --git a/{file} b/{file}", f"--- a/{file}", f"+++ b/{file}"]
    return "\n".join([*lines, f"@@ -{first + 1},{size} +{first + 1},{size} @@", *hunk, ""])


def harness() -> str:
    return str(Path(sys.executable).with_name("harness"))


def bisect(args: argparse.Namespace, box: Path, folder: Path) -> Path:
    """The harness's own; gives its folder."""
    argv = [harness(), "bisect", "start", CASE, "--kernel", args.base, "--series", str(box)]
    argv += ["--time", str(args.time), "--guests", str(args.guests)]
    start = time.monotonic()
    status = subprocess.run([*argv, "--results", str(folder)], cwd=PROJECT, check=False).returncode
    print(f"harness bisect: status {status} after {time.monotonic() - start:.0f} s", flush=True)
    logs = sorted(folder.glob("*/bisect.jsonl"), key=lambda path: path.stat().st_mtime)
    return logs[-1].parent


def plain(args: argparse.Namespace, found: Path, folder: Path) -> None:
    """git bisect over commits that each hold the declaration of one kernel of the series."""
    repository = folder / "repository"
    repository.mkdir()
    names = ["GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"]
    env = os.environ | dict.fromkeys(names, "developer@localhost")

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(repository), *words],
            env=env,
            check=False,
            capture_output=True,
            text=True,
        )
        return done.stdout

    git("init", "--quiet", "--initial-branch=main")
    base = load_kernel(args.base)
    declared = [base.file, *sorted((found / "commits").glob("*.yaml"))]
    for number, file in enumerate(declared):
        (repository / "kernel.yaml").write_text(f"extends: {file.absolute()}\n", encoding="utf-8")
        git("add", "-A")
        git("commit", "--quiet", "-m", f"patch {number}")
        git("tag", f"patch-{number}")
    trial = [harness(), "trial", CASE, "--kernel", "./kernel.yaml", "--runs", "1"]
    trial += ["--time", str(args.time), "--guests", "1", "--results", str(folder)]
    for _ in range(args.plain):
        start = time.monotonic()
        git("bisect", "start", "patch-8", "patch-0")
        said = git("bisect", "run", *trial)
        first = [line for line in said.splitlines() if line.strip().startswith("patch ")]
        seconds = time.monotonic() - start
        print(f"git bisect run: {(first or ['nothing'])[-1].strip()} after {seconds:.0f} s")
        git("bisect", "reset")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--culprit", type=int, default=7)
    parser.add_argument("--base", default="v5.10-debug")
    parser.add_argument("--time", type=int, default=1)
    parser.add_argument("--guests", type=int, default=2)
    parser.add_argument("--plain", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/real-bisect"))
    args = parser.parse_args()
    folder = args.folder / f"{args.base}-{args.culprit}-{int(time.time())}"
    folder.mkdir(parents=True)
    box = make_series(args.base, args.culprit, folder)
    found = bisect(args, box, folder)
    if args.plain:
        plain(args, found, folder)


if __name__ == "__main__":
    main()
