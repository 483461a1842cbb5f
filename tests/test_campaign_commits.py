"""Ranges and series as commits to choose from, and what is said of those that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.campaign.commits import Commits, commit_range, exported, series
from harness.errors import PatchError, UsageError
from harness.kernel.source import resolve
from harness.progress import Progress
from harness.spec.kernel import GitSource, WorkingTree
from tests.fake_kernel import commit_all, diff_of, git, make_spec, make_tree

MAIL = """\
From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
From: A Person <a@localhost>
Date: Thu, 1 Jan 2026 00:00:00 +0000
Subject: [PATCH {number}/{of}] {title}

{text}
---
{diff}
--{space}
2.39

"""


def mailbox(file: Path, *diffs: str) -> Path:
    """One mail for each diff."""
    file.write_text(
        "".join(
            MAIL.format(number=n, of=len(diffs), title=f"change {n}", text="why", diff=d, space=" ")
            for n, d in enumerate(diffs, 1)
        )
    )
    return file


def of_series(tmp_path: Path, *diffs: str) -> Commits:
    base = make_spec(tmp_path, WorkingTree(make_tree(tmp_path / "linux")))
    base.file.write_text("extends: v5.10-debug\n")
    box = mailbox(tmp_path / "series.mbox", *diffs)
    return series(base, box, tmp_path / "commits", Progress(), tmp_path / "cache")


def test_each_mail_is_a_commit_on_those_before(tmp_path: Path) -> None:
    found = of_series(tmp_path, diff_of("a", 2), diff_of("b", 2), diff_of("a", 3, was=2))
    assert [commit.name for commit in found.all] == ["base", "1/3", "2/3", "3/3"]
    assert [len(commit.spec.patches) for commit in found.all] == [0, 1, 2, 3]
    assert found.all[2].title.endswith("change 2")
    assert len({commit.tree for commit in found.all}) == 4
    assert found.all[1].spec.sources == found.all[0].spec.sources, "one work tree for all"
    assert found.at("2") == found.at("2/3") == 2
    with pytest.raises(UsageError, match="'9' is none of the 3 commits"):
        found.at("9")


def test_change_that_is_undone_again_leads_back_to_one_tree(tmp_path: Path) -> None:
    found = of_series(tmp_path, diff_of("a", 2), diff_of("a", 1, was=2))
    assert found.all[2].tree == found.all[0].tree


def test_series_says_where_it_does_not_apply(tmp_path: Path) -> None:
    good = [diff_of("a", n + 1, was=n) for n in range(1, 5)]
    with pytest.raises(PatchError, match=r"does not apply at patch 5 of 6 .*change 5") as failed:
        of_series(tmp_path, *good, diff_of("b", 3, was=2), diff_of("b", 2))
    assert "mm/b.c" in failed.value.what


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Five commits: two of them change what is built."""
    folder = make_tree(tmp_path / "linux")
    commit_all(folder)
    for number in range(1, 5):
        name = {1: "mm/a.c", 2: "Documentation/a.rst", 3: "mm/b.c", 4: "Documentation/b.rst"}[
            number
        ]
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"int x(void)\n{{\n\treturn {number};\n}}\n")
        commit_all(folder)
    return folder


def of_range(tmp_path: Path, tree: Path, text: str) -> Commits:
    base = make_spec(tmp_path, WorkingTree(tree))
    base.file.write_text("extends: v5.10-debug\n")
    return commit_range(base, tree, text, tmp_path / "commits")


def test_commits_of_a_range_are_built_in_one_tree(tmp_path: Path, tree: Path) -> None:
    found = of_range(tmp_path, tree, "HEAD~4..HEAD")
    assert found.n == 4
    assert found.all[-1].name == git(tree, "rev-parse", "HEAD")[:12]
    weights = [commit.weight for commit in found.all[1:]]
    assert weights[0] == weights[2] > 10 * weights[1] == 10 * weights[3]
    cache = tmp_path / "cache"
    ends = [resolve(found.all[n].spec, cache, Progress()) for n in (0, 4)]
    assert ends[0].key == ends[1].key
    assert ends[0].tree != ends[1].tree
    own = make_spec(tmp_path, WorkingTree(tree))
    assert resolve(own, cache, Progress()).key == ends[0].key, "what was built of it is built upon"
    source = found.all[1].spec.sources[0]
    assert isinstance(source, GitSource)
    assert len(source.ref) == 40


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("HEAD..HEAD~2", "wrong way round"),
        ("HEAD~1..HEAD~1", "both ends"),
        ("HEAD~1", "expected A..B"),
        ("HEAD~1...HEAD", "expected A..B"),
        ("nowhere..HEAD", "no commit 'nowhere'"),
        ("--all..HEAD", "no commit '--all'"),
    ],
)
def test_range_that_is_none(tmp_path: Path, tree: Path, text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        of_range(tmp_path, tree, text)


def test_range_of_two_histories(tmp_path: Path, tree: Path) -> None:
    git(tree, "checkout", "--quiet", "-b", "side", "HEAD~2")
    commit_all(tree)
    with pytest.raises(UsageError, match="not an ancestor"):
        of_range(tmp_path, tree, "side..main")


def test_folder_that_is_no_git_tree(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    with pytest.raises(UsageError, match="not a git tree"):
        of_range(tmp_path, tmp_path / "plain", "A..B")
    with pytest.raises(UsageError, match="no such folder"):
        of_range(tmp_path, tmp_path / "nowhere", "A..B")


def test_commits_as_patches_on_another_base(tmp_path: Path, tree: Path) -> None:
    box = exported(tree, "HEAD~4..HEAD", tmp_path / "out")
    base = make_spec(tmp_path, WorkingTree(make_tree(tmp_path / "other")))
    base.file.write_text("extends: v5.10-debug\n")
    found = series(base, box, tmp_path / "out", Progress(), tmp_path / "cache")
    assert found.n == 4
