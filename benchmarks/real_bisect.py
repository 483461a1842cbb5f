"""Bisecting a real series on real guests, beside plain git bisect run.

python benchmarks/real_bisect.py [--culprit 7] [--base v5.10-debug] [--time 1] [--guests 2]
                                 [--range | --git-bisect-trial] [--plain 3]
                                 [--folder /tmp/real-bisect] [--repository DIR]

Makes a series of 8 patches on the base: seven change words that the kernel prints, one brings back
the race of guests/patches/reintroduce/anon-rmap-locked.patch.  With --culprit 0 no patch of the
series does it, and --base v5.10-anon-race has it already: the case of the thread that the project
comes from.  --plain N bisects the same kernels N times by git bisect run, one run a commit: a pass
is proof there.  A short --time makes the race one that hides.  With --range the series is a git
repository of nine commits, and both bisect that: `harness bisect --range`, and `git bisect run`
with the tree that it checks out.  --git-bisect-trial does what the README has for that, to its end,
and nothing else: git bisect run harness trial CASE --tree . --runs 10, --plain times over; it says
which commit was named, and how many commits were built and tried.  --repository makes that of nine
commits there, or takes one that an earlier call made: what was built of it is built upon.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
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

_BUILT = re.compile(r"building \S+ \(make -j\d+\): ")
"""What the harness says of a build that is over."""

MAIL = """\
From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
From: A Developer <developer@localhost>
Date: Thu, 1 Jan 2026 00:00:00 +0000
Subject: [PATCH {number}/8] {title}

{diff}
"""


@dataclass(frozen=True)
class Made:
    """The series as a mailbox, and as trees: that of the base, then one behind each patch."""

    box: Path
    trees: tuple[str, ...]
    titles: tuple[str, ...]


def make_series(base: str, culprit: int, folder: Path) -> Made:
    """Each patch is made against the tree with those before it."""
    cache, progress = cache_dir(), Progress()
    store, spec = Store.open(cache), load_kernel(base)
    tree = apply_all(store, resolve(spec, cache, progress).tree, spec.patches).tree
    innocent = iter(INNOCENT)
    mails, trees, titles = [], [tree], ["the base"]
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
        trees.append(tree)
        titles.append(title)
    box = folder / "series.mbox"
    box.write_text("\n".join(mails), encoding="utf-8")
    return Made(box, tuple(trees), tuple(titles))


class Repository:
    """A git repository whose commits are tagged patch-0, patch-1 and so on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / ".git").exists():
            folder.mkdir(parents=True)
            self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *words: str) -> str:
        names = ["GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"]
        done = subprocess.run(
            ["git", "-C", str(self.folder), *words],
            env=os.environ | dict.fromkeys(names, "developer@localhost"),
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return done.stdout.strip()

    def bisect(self, trial: list[str], count: int, kept: Path) -> None:
        """git bisect run, some times over; all that it and the trials said stands in ``kept``."""
        for _ in range(count):
            start = time.monotonic()
            self.git("bisect", "start", "patch-8", "patch-0")
            said = self.git("bisect", "run", *trial).splitlines()
            kept.write_text("\n".join(said), encoding="utf-8")
            at = [n for n, line in enumerate(said) if line.endswith("is the first bad commit")]
            found = (
                self.git("log", "-1", "--format=%s", said[at[0]].split()[0]) if at else "nothing"
            )
            steps = sum(line.startswith("running ") for line in said)
            built = sum(bool(_BUILT.match(line)) for line in said)
            seconds = time.monotonic() - start
            told = f"{steps} commits tried, {built} of them built, {seconds:.0f} s"
            print(f"git bisect run: {found}; {told}", flush=True)
            self.git("bisect", "reset")


def repository_of(made: Made, folder: Path) -> Repository:
    """The series as commits; their objects are those of the cache."""
    found = Repository(folder)
    objects = Store.open(cache_dir()).attempt("rev-parse", "--absolute-git-dir").text.strip()
    borrowed = folder / ".git" / "objects" / "info" / "alternates"
    borrowed.write_text(f"{objects}/objects\n", encoding="utf-8")
    parent: list[str] = []
    for number, (tree, title) in enumerate(zip(made.trees, made.titles, strict=True)):
        commit = found.git("commit-tree", tree, *parent, "-m", f"patch {number}: {title}")
        found.git("tag", f"patch-{number}", commit)
        parent = ["-p", commit]
    found.git("reset", "--quiet", "--hard", "patch-8")
    return found


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


def bisect(args: argparse.Namespace, what: list[str], folder: Path) -> Path:
    """The harness's own; gives its folder."""
    argv = [harness(), "bisect", "start", CASE, *what]
    argv += ["--time", str(args.time), "--guests", str(args.guests)]
    start = time.monotonic()
    status = subprocess.run([*argv, "--results", str(folder)], cwd=PROJECT, check=False).returncode
    print(f"harness bisect: status {status} after {time.monotonic() - start:.0f} s", flush=True)
    logs = sorted(folder.glob("*/bisect.jsonl"), key=lambda path: path.stat().st_mtime)
    return logs[-1].parent


def declarations(args: argparse.Namespace, found: Path, folder: Path) -> Repository:
    """Commits that each hold the declaration of one kernel of the series, which is built."""
    repository = Repository(folder)
    base = load_kernel(args.base)
    declared = [base.file, *sorted((found / "commits").glob("*.yaml"))]
    for number, file in enumerate(declared):
        (folder / "kernel.yaml").write_text(f"extends: {file.absolute()}\n", encoding="utf-8")
        repository.git("add", "-A")
        repository.git("commit", "--quiet", "-m", f"patch {number}")
        repository.git("tag", f"patch-{number}")
    return repository


def git_bisect_trial(args: argparse.Namespace, folder: Path) -> None:
    """The README's line, as it stands there but for where its results go."""
    place = args.repository or folder / "repository"
    if (place / ".git").exists():
        repository = Repository(place)
    else:
        repository = repository_of(make_series(args.base, args.culprit, folder), place)
    said = folder / "git-bisect-run.txt"
    argv = [harness(), "trial", CASE, "--tree", ".", "--runs", "10", "--results", str(folder)]
    repository.bisect(argv, args.plain, said)


def trial(args: argparse.Namespace, folder: Path, *where: str) -> list[str]:
    """One trial of the checked out commit, as long as those of the harness's own search."""
    argv = [harness(), "trial", CASE, *where, "--runs", "1", "--time", str(args.time)]
    return [*argv, "--guests", "1", "--results", str(folder)]


def bare(base: str, folder: Path) -> Path:
    """A kernel configured as ``base``, without its patches: those are in the commits already."""
    config = ", ".join(str(file) for file in load_kernel(base).config)
    file = folder / "bare.yaml"
    file.write_text(f"source: {{tree: {folder}}}\nconfig: [{config}]\n", encoding="utf-8")
    return file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--culprit", type=int, default=7)
    parser.add_argument("--base", default="v5.10-debug")
    parser.add_argument("--time", type=int, default=1)
    parser.add_argument("--guests", type=int, default=2)
    parser.add_argument("--range", action="store_true", help="of a git repository")
    parser.add_argument("--git-bisect-trial", action="store_true", help="git's search alone")
    parser.add_argument("--repository", type=Path, help="where it is made, or lies already")
    parser.add_argument("--plain", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/real-bisect"))
    args = parser.parse_args()
    folder = args.folder / f"{args.base}-{args.culprit}-{int(time.time())}"
    folder.mkdir(parents=True)
    if args.git_bisect_trial:
        git_bisect_trial(args, folder)
        return
    made = make_series(args.base, args.culprit, folder)
    if args.range:
        repository, kernel = repository_of(made, folder / "repository"), bare(args.base, folder)
        span = ["--tree", str(repository.folder), "--range", "patch-0..patch-8"]
        bisect(args, ["--kernel", str(kernel), *span], folder)
        tried = trial(args, folder, "--kernel", str(kernel), "--tree", ".")
    else:
        found = bisect(args, ["--kernel", args.base, "--series", str(made.box)], folder)
        repository = declarations(args, found, folder / "repository")
        tried = trial(args, folder, "--kernel", "./kernel.yaml")
    repository.bisect(tried, args.plain, folder / "git-bisect-run.txt")


if __name__ == "__main__":
    main()
