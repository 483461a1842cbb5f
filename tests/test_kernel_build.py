"""The whole way of a kernel build, on a kernel of two files."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from harness.errors import CompileError, EnvironmentFault, PatchError, UsageError
from harness.guest.seam import wait_for
from harness.kernel.build import build, find, plan
from harness.kernel.built import BuiltKernel
from harness.spec.kernel import GitSource, KernelSpec, Source, Tarball, WorkingTree, load_kernel
from tests.fake_kernel import (
    RELEASE,
    Said,
    broken_diff,
    commit_all,
    diff_of,
    git,
    make_spec,
    make_tarball,
    make_tree,
)


@pytest.fixture
def tarball(tmp_path: Path) -> Tarball:
    file = tmp_path / "fake-1.2.3.tar.xz"
    digest = make_tarball(make_tree(tmp_path / "fake-1.2.3"), file)
    return Tarball(str(file), digest)


def run(tmp_path: Path, spec: KernelSpec, said: Said | None = None) -> BuiltKernel:
    return build(spec, progress=said or Said(), jobs=2, cache=tmp_path / "cache")


def compiled(kernel: BuiltKernel) -> set[str]:
    assert kernel.log
    lines = kernel.log.read_text().splitlines()
    return {line.split()[1] for line in lines if line.startswith("  CC")}


def merges(tmp_path: Path) -> int:
    return sum(len(f.read_text().splitlines()) for f in tmp_path.glob("cache/work/*/merges"))


def test_a_kernel_has_all_that_a_guest_needs(tmp_path: Path, tarball: Tarball) -> None:
    kernel = run(tmp_path, make_spec(tmp_path, tarball, patches={"p.patch": diff_of("a", 2)}))
    assert kernel.release == RELEASE
    assert kernel.option("CONFIG_A") == "y"
    assert kernel.vmlinux and kernel.vmlinux.read_bytes() == kernel.image.read_bytes()
    assert [name for name, _ in kernel.patches] == ["p.patch"]
    assert kernel.source == "tarball fake-1.2.3.tar.xz"
    assert kernel.compiler.startswith("gcc")


def test_a_second_build_finds_the_first(tmp_path: Path, tarball: Tarball) -> None:
    spec = make_spec(tmp_path, tarball)
    assert find(spec, tmp_path / "cache") is None
    first = run(tmp_path, spec)
    written = first.image.stat().st_mtime_ns
    Path(tarball.url).unlink()  # and needs nothing from elsewhere
    second = run(tmp_path, replace(spec, name="other"))
    assert second == replace(first, name="other")
    assert second.image.stat().st_mtime_ns == written
    assert find(spec, tmp_path / "cache") == first


def test_content_decides_the_id(tmp_path: Path, tarball: Tarball) -> None:
    plain = run(tmp_path, make_spec(tmp_path, tarball))
    patched = run(tmp_path, make_spec(tmp_path, tarball, patches={"p": diff_of("a", 2)}))
    config = run(tmp_path, make_spec(tmp_path, tarball, config="CONFIG_A=n\n"))
    there_and_back = run(
        tmp_path,
        make_spec(tmp_path, tarball, patches={"1": diff_of("a", 2), "2": diff_of("a", 1, was=2)}),
    )
    assert len({plain.content_id, patched.content_id, config.content_id}) == 3
    assert there_and_back.content_id == plain.content_id


def test_a_changed_patch_builds_one_file_and_configures_nothing(
    tmp_path: Path, tarball: Tarball
) -> None:
    first = run(tmp_path, make_spec(tmp_path, tarball, patches={"p": diff_of("a", 2)}))
    assert compiled(first) == {"mm/a.o", "mm/b.o"}
    again = run(tmp_path, make_spec(tmp_path, tarball, patches={"p": diff_of("a", 3)}))
    assert compiled(again) == {"mm/a.o"}
    assert merges(tmp_path) == 1
    assert first.image.read_bytes() != again.image.read_bytes()


def test_a_changed_kconfig_file_configures_again(tmp_path: Path, tarball: Tarball) -> None:
    run(tmp_path, make_spec(tmp_path, tarball))
    diff = "--- a/Kconfig\n+++ b/Kconfig\n@@ -1 +1 @@\n-# none\n+# one\n"
    run(tmp_path, make_spec(tmp_path, tarball, patches={"k": diff}))
    assert merges(tmp_path) == 2


def test_dropped_options_are_told(tmp_path: Path, tarball: Tarball) -> None:
    said = Said()
    spec = make_spec(tmp_path, tarball, config="CONFIG_A=y\nCONFIG_GHOST=y\n")
    kernel = run(tmp_path, spec, said)
    fragment = spec.config[0].name
    assert kernel.dropped == (f"CONFIG_GHOST: asked y, got n ({fragment})",)
    assert "CONFIG_GHOST" in said.text
    again = Said()
    assert run(tmp_path, spec, again).dropped == kernel.dropped
    assert "CONFIG_GHOST" in again.text


def test_a_patch_that_does_not_compile_is_named(tmp_path: Path, tarball: Tarball) -> None:
    spec = make_spec(tmp_path, tarball, patches={"bad.patch": broken_diff("b")})
    with pytest.raises(CompileError) as caught:
        run(tmp_path, spec)
    text = str(caught.value)
    assert "mm/b.c does not compile" in text
    assert "bad.patch" in text
    assert "nowhere" in text
    log = next((tmp_path / "cache/logs").glob("*.log"))
    assert str(log) in text and "nowhere" in log.read_text()
    assert find(spec, tmp_path / "cache") is None
    # The next build in the same tree is not harmed.
    assert run(tmp_path, make_spec(tmp_path, tarball)).release == RELEASE


def test_a_patch_that_does_not_apply_is_named(tmp_path: Path, tarball: Tarball) -> None:
    spec = make_spec(tmp_path, tarball, patches={"old.patch": diff_of("a", 2, was=7)})
    with pytest.raises(PatchError, match=r"(?s)old\.patch.*mm/a\.c:1"):
        run(tmp_path, spec)


def test_an_interrupted_build_leaves_no_kernel_and_no_half_object(
    tmp_path: Path, tarball: Tarball, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(tmp_path, make_spec(tmp_path, tarball))
    spec = make_spec(tmp_path, tarball, patches={"p": diff_of("a", 2)})

    def killed(*_: object, **__: object) -> None:
        # What a compiler leaves that was killed: half a file, newer than its source.
        build_folder = next((tmp_path / "cache/work").glob("*/build"))
        future = build_folder.stat().st_mtime + 1000
        half = build_folder / "mm/a.o"
        half.write_bytes(b"half")
        os.utime(half, (future, future))
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("harness.kernel.make.make", killed)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, spec)
    assert find(spec, tmp_path / "cache") is None
    kernel = run(tmp_path, spec)
    assert b"half" not in kernel.image.read_bytes()
    assert kernel.image.read_bytes() != whole.image.read_bytes()


def test_a_killed_harness_leaves_no_make_and_no_kernel(tmp_path: Path, tarball: Tarball) -> None:
    seconds = f"{3600 + os.getpid() / 1e7:.7f}"  # tells our sleep from others
    slow = (
        "--- a/Makefile\n+++ b/Makefile\n@@ -8,3 +8,4 @@\n"
        ' \t@echo "  LD      vmlinux"\n'
        + f"+\tsleep {seconds}\n \t@cat $^ > $@\n $(B)/mm/%.o: mm/%.c $(B)/.config\n"
    )
    spec = make_spec(tmp_path, tarball, patches={"slow.patch": slow})
    child = multiprocessing.get_context("spawn").Process(target=run, args=(tmp_path, spec))
    child.start()
    try:
        assert wait_for(lambda: bool(processes_with(seconds)), 60)
    finally:  # else pytest would wait for it at its own end, an hour
        child.kill()
        child.join()
    assert wait_for(lambda: not processes_with(seconds), 60)
    assert find(spec, tmp_path / "cache") is None
    assert not list((tmp_path / "cache/kernels").glob("*/meta.json"))
    assert run(tmp_path, make_spec(tmp_path, tarball)).release == RELEASE


def processes_with(word: str) -> list[str]:
    """Those that have ``word`` on their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word.encode() in path.read_bytes().split(b"\0"):
                found.append(path.parent.name)
        except OSError:
            continue  # it ended meanwhile
    return found


def test_a_kernel_without_its_last_file_is_built_again(tmp_path: Path, tarball: Tarball) -> None:
    spec = make_spec(tmp_path, tarball)
    kernel = run(tmp_path, spec)
    kernel.image.unlink()
    assert find(spec, tmp_path / "cache") is None
    assert run(tmp_path, spec).image.exists()


def _build_in_child(tmp_path: Path, tarball: Tarball, value: int) -> None:
    run(tmp_path, make_spec(tmp_path, tarball, patches={f"p{value}": diff_of("a", value)}))


def test_two_harnesses_do_not_collide(tmp_path: Path, tarball: Tarball) -> None:
    spawn = multiprocessing.get_context("spawn")
    children = [
        spawn.Process(target=_build_in_child, args=(tmp_path, tarball, value)) for value in (2, 3)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0]
    images = [
        run(tmp_path, make_spec(tmp_path, tarball, patches={f"p{value}": diff_of("a", value)}))
        for value in (2, 3)
    ]
    assert images[0].image.read_bytes() != images[1].image.read_bytes()


def snapshot(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Every path below, .git included, with its kind, times and size."""
    found = {}
    for path in [folder, *folder.rglob("*")]:
        facts = path.lstat()
        found[str(path)] = (facts.st_mode, facts.st_mtime_ns, facts.st_size)
    return found


def test_a_working_tree_is_built_as_it_is_and_left_untouched(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "linux")
    (tree / "tracked.o").write_text("tracked though ignored")
    commit_all(tree)
    git(tree, "add", "-f", "tracked.o")
    git(tree, "commit", "-qm", "one more")
    (tree / "mm/a.c").write_text("int a(void) { return 5; }\n")  # not committed
    (tree / "mm/a.o").write_text("from a build in the tree")
    (tree / ".config").write_text("CONFIG_OTHER=y\n")
    spec = make_spec(tmp_path, WorkingTree(tree))
    before = snapshot(tree)
    first = run(tmp_path, spec)
    again = run(tmp_path, spec)
    assert snapshot(tree) == before
    assert again == first
    assert first.option("CONFIG_OTHER") == "n"
    seen = next((tmp_path / "cache/work").glob("*/tree"))
    assert (seen / "tracked.o").exists() and not (seen / "mm/a.o").exists()

    (tree / "mm/a.c").write_text("int a(void) { return 66; }\n")
    changed = run(tmp_path, spec)
    assert changed.content_id != first.content_id
    assert compiled(changed) == {"mm/a.o"}


def test_kernel_without_source_lines_is_told_as_such(tmp_path: Path) -> None:
    tree, said = WorkingTree(make_tree(tmp_path / "linux")), Said()
    run(tmp_path, make_spec(tmp_path, tree, config="CONFIG_DEBUG_INFO=y\n"), said)
    assert not said.lines
    run(tmp_path, make_spec(tmp_path, tree), said)
    assert "no debug information" in said.text


def test_an_unpacked_release_is_a_working_tree_too(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "linux")
    (tree / ".gitignore").write_text("/*\n")  # as in Debian's linux-source-5.10
    (tree / "mm/a.o").write_text("from a build in the tree")
    (tree / ".config").write_text("CONFIG_OTHER=y\n")
    built = run(tmp_path, make_spec(tmp_path, WorkingTree(tree)))
    assert built.option("CONFIG_OTHER") == "n"
    seen = next((tmp_path / "cache/work").glob("*/tree"))
    assert (seen / "mm/a.c").exists() and not (seen / "mm/a.o").exists()


def test_git_tag_is_remembered_and_branch_is_followed(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "linux")
    commit_all(tree)
    git(tree, "tag", "-a", "v1", "-m", "v1")
    tag = make_spec(tmp_path, GitSource(str(tree), "v1"))
    branch = make_spec(tmp_path, GitSource(str(tree), "main"))
    at_tag = run(tmp_path, tag)
    assert at_tag.source.startswith("git tag v1")
    assert run(tmp_path, branch).content_id == at_tag.content_id
    (tree / "mm/a.c").write_text("int a(void) { return 5; }\n")
    commit = commit_all(tree)
    moved = run(tmp_path, branch)
    assert moved.content_id != at_tag.content_id
    by_id = run(tmp_path, make_spec(tmp_path, GitSource(str(tree), commit)))
    assert by_id.content_id == moved.content_id
    tree.rename(tmp_path / "away")
    said = Said()
    assert run(tmp_path, tag) == at_tag
    assert run(tmp_path, branch, said) == moved
    assert "last one known" in said.text


def test_alternatives_are_tried_in_order(tmp_path: Path, tarball: Tarball) -> None:
    wrong: tuple[Source, ...] = (
        GitSource(str(tmp_path / "nowhere"), "v1"),
        Tarball(tarball.url, "0" * 64),
    )
    said = Said()
    kernel = run(tmp_path, make_spec(tmp_path, *wrong, tarball), said)
    assert kernel.source == "tarball fake-1.2.3.tar.xz"
    assert "nowhere" in said.text and "SHA-256" in said.text
    # Found once, it is used without asking the dead ones again.
    again = Said()
    assert run(tmp_path, make_spec(tmp_path, *wrong, tarball), again) == kernel
    assert again.text == ""

    with pytest.raises(EnvironmentFault) as caught:
        run(tmp_path, make_spec(tmp_path, *wrong))
    assert "1. " in str(caught.value) and "2. " in str(caught.value)
    with pytest.raises(UsageError, match="SHA-256"):
        run(tmp_path, make_spec(tmp_path, wrong[1]))


def test_what_is_no_kernel_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/Makefile").write_text("all:\n")
    with pytest.raises(UsageError, match=r"merge_config\.sh|Kconfig"):
        run(tmp_path, make_spec(tmp_path, WorkingTree(tmp_path / "notes")))
    with pytest.raises(UsageError, match="no such folder"):
        run(tmp_path, make_spec(tmp_path, WorkingTree(tmp_path / "gone")))


def test_a_plan_runs_nothing(tmp_path: Path, tarball: Tarball) -> None:
    spec = make_spec(tmp_path, tarball, patches={"p": diff_of("a", 2)})
    lines = plan(spec, jobs=7, cache=tmp_path / "cache")
    assert any("merge_config.sh -n" in line for line in lines)
    assert any(line.startswith("make ") and "-j7" in line for line in lines)
    assert not (tmp_path / "cache").exists()


def test_a_store_that_was_thrown_away_is_filled_again(tmp_path: Path, tarball: Tarball) -> None:
    spec = make_spec(tmp_path, tarball)
    kernel = run(tmp_path, spec)
    shutil.rmtree(tmp_path / "cache/sources.git")
    assert run(tmp_path, spec) == kernel
    patched = run(tmp_path, make_spec(tmp_path, tarball, patches={"p": diff_of("a", 2)}))
    assert patched.content_id != kernel.content_id


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path, tarball: Tarball) -> None:
    (tmp_path / "cache").write_text("a file, not a folder")
    with pytest.raises(EnvironmentFault, match="cache"):
        run(tmp_path, make_spec(tmp_path, tarball))


def test_a_patch_file_that_is_gone_is_named(tmp_path: Path, tarball: Tarball) -> None:
    spec = make_spec(tmp_path, tarball, patches={"gone.patch": diff_of("a", 2)})
    (tmp_path / "gone.patch").unlink()
    with pytest.raises(UsageError, match=r"gone\.patch"):
        run(tmp_path, spec)


@pytest.mark.build
def test_the_control_is_built_with_lines_and_all_options() -> None:
    """Builds in the cache of this host: cold it takes minutes, warm nothing."""
    spec = load_kernel("v5.10-debug")
    control = build(spec, progress=Said())
    assert not control.dropped
    assert control.vmlinux
    with control.vmlinux.open("rb") as file:
        units = ELFFile(file).get_dwarf_info().iter_CUs()
        names = {unit.get_top_DIE().attributes["DW_AT_name"].value for unit in units}
    # Where the cache lies is not part of what a kernel is.
    assert b"mm/migrate.c" in names
    assert build(replace(spec, name="again"), progress=Said()) == replace(control, name="again")
