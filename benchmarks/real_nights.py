"""Two nights on real guests: one bug comes, and its culprit is looked for; one goes.

python benchmarks/real_nights.py [--time 5] [--runs 4] [--guests 1] [--folder /tmp/real-nights]

Two branches of one repository are the kernels of a plan.  On the second day a series of 8 patches
has come to `next`, of which the 7th brings back the race of v5.10-anon-race; `fixes`, which had
that race, is mended.  The second night is then started once more: it says the same, and runs
nothing.
"""

from __future__ import annotations

import argparse
import subprocess
import time
from pathlib import Path

from real_bisect import CASE, CULPRIT, Made, bare, harness, make_series, repository_of

from harness.kernel.patch import apply_all
from harness.kernel.store import Store
from harness.paths import PROJECT, cache_dir

BASE = "v5.10-debug"


def with_race(made: Made) -> Made:
    """The series with one more commit: the race on the base alone."""
    tree = apply_all(Store.open(cache_dir()), made.trees[0], [CULPRIT]).tree
    return Made(made.box, (*made.trees, tree), (*made.titles, "mm: an older mistake"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--time", type=int, default=5)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--guests", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/real-nights"))
    args = parser.parse_args()
    folder = args.folder / str(int(time.time()))
    folder.mkdir(parents=True)
    repository = repository_of(with_race(make_series(BASE, 7, folder)), folder / "repository")
    kernel = bare(BASE, folder)
    for branch in ("next", "fixes"):
        source = f"source: {{git: {repository.folder}, ref: {branch}}}\n"
        text = f"extends: {kernel}\n{source}"
        (folder / f"{branch}.yaml").write_text(text, encoding="utf-8")
    (folder / "plan.yaml").write_text(
        f"kernels: [next.yaml, fixes.yaml]\ncases: [{CASE}]\n"
        f"runs: {args.runs}\ntime: {args.time}\nbisect: 3600\n",
        encoding="utf-8",
    )
    argv = [harness(), "nightly", str(folder / "plan.yaml"), "--guests", str(args.guests)]
    argv += ["--results", str(folder / "results")]
    nights: tuple[tuple[str, dict[str, str]], ...] = (
        ("2026-01-01", {"next": "patch-0", "fixes": "patch-9"}),
        ("2026-01-02", {"next": "patch-8", "fixes": "patch-0"}),
        ("2026-01-02", {}),
    )
    for date, branches in nights:
        for branch, commit in branches.items():
            repository.git("branch", "--force", branch, commit)
        start = time.monotonic()
        status = subprocess.run([*argv, "--date", date], cwd=PROJECT, check=False).returncode
        print(f"{date}: exit status {status} after {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
