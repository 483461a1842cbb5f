"""A range of a tree that was never built is built in the work tree of what is near to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.kernel import workspace
from harness.kernel.build import build
from harness.kernel.built import BuiltKernel
from harness.spec.kernel import GitSource, KernelSpec, Tarball
from tests.fake_kernel import Said, commit_all, diff_of, git, make_spec, make_tarball, make_tree
from tests.test_kernel_build import compiled


def run(spec: KernelSpec, cache: Path, said: Said | None = None) -> BuiltKernel:
    return build(spec, progress=said or Said(), jobs=2, cache=cache)


@pytest.fixture
def base(tmp_path: Path) -> KernelSpec:
    """A release with a patch of mm/b.c."""
    file = tmp_path / "fake-1.2.3.tar.xz"
    source = Tarball(str(file), make_tarball(make_tree(tmp_path / "fake-1.2.3"), file))
    return make_spec(tmp_path, source, patches={"p.patch": diff_of("b", 2)})


@pytest.fixture
def commits(tmp_path: Path, base: KernelSpec) -> list[KernelSpec]:
    """Two commits of a repository that begins with that release; the second one changes mm/a.c."""
    tree = make_tree(tmp_path / "linux")
    ids = [commit_all(tree)]
    (tree / "patch").write_text(diff_of("a", 2))
    git(tree, "apply", "patch")
    (tree / "patch").unlink()
    ids.append(commit_all(tree))
    sources = [GitSource(str(tree), commit, family="commits") for commit in ids]
    return [replace(base, name="commit", sources=(source,)) for source in sources]


def test_only_what_differs_is_compiled_and_the_kernel_is_that_of_a_cold_build(
    tmp_path: Path, base: KernelSpec, commits: list[KernelSpec]
) -> None:
    warm, cold, said = tmp_path / "warm", tmp_path / "cold", Said()
    first = run(base, warm)
    assert compiled(first) == {"mm/a.o", "mm/b.o"}
    last = run(commits[1], warm, said)
    assert compiled(last) == {"mm/a.o"}
    assert "whose tree differs by 2 paths" in said.text  # the patch of mm/b.c is not yet applied
    assert compiled(run(replace(commits[0], patches=()), warm)) == {"mm/a.o", "mm/b.o"}
    made = run(commits[1], cold)
    assert compiled(made) == {"mm/a.o", "mm/b.o"}
    assert made.content_id == last.content_id
    assert made.image.read_bytes() == last.image.read_bytes()
    # The release goes on in its own folder, from where the range has left it.
    again = run(replace(base, patches=()), warm)
    assert compiled(again) <= {"mm/a.o", "mm/b.o"}
    assert again.image.read_bytes() == run(replace(base, patches=()), cold).image.read_bytes()


def test_what_is_far_or_of_other_fragments_is_left_alone(
    tmp_path: Path,
    base: KernelSpec,
    commits: list[KernelSpec],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache, said = tmp_path / "cache", Said()
    run(base, cache)
    other = make_spec(tmp_path, *commits[0].sources, config="CONFIG_A=n\n")
    assert compiled(run(other, cache, said)) == {"mm/a.o", "mm/b.o"}
    monkeypatch.setattr(workspace, "_NEAR", 1)
    assert compiled(run(commits[1], cache, said)) == {"mm/a.o", "mm/b.o"}
    assert "differs by" not in said.text


def test_folder_that_was_removed_to_make_room_is_made_again(
    tmp_path: Path, base: KernelSpec, commits: list[KernelSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    run(base, cache)
    run(commits[0], cache)
    (link,) = (path for path in (cache / "work").iterdir() if path.is_symlink())
    keep = workspace.Workspace(cache / "work" / "another", "another")
    with monkeypatch.context() as patched:
        patched.setattr("shutil.disk_usage", lambda path: type("Disk", (), {"free": 0}))
        assert workspace.make_room(keep, 1) == [str(link.readlink())]
    assert not link.exists()
    assert compiled(run(commits[1], cache)) == {"mm/a.o", "mm/b.o"}
    assert link.is_dir()
