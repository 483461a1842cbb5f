"""Declarations: what is shipped loads, and what is wrong is named by file, line and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import SpecError
from harness.spec.cases import load_cases, select
from harness.spec.kernel import GitSource, Tarball, WorkingTree, kernel_names, load_kernel
from harness.spec.machine import load_machine, machine_names
from harness.spec.reader import parse_size


@pytest.mark.parametrize("name", kernel_names())
def test_shipped_kernels_load(name: str) -> None:
    assert load_kernel(name).about


@pytest.mark.parametrize("name", machine_names())
def test_shipped_machines_load(name: str) -> None:
    assert load_machine(name).cpus >= 1


def test_race_is_the_control_and_one_patch_more() -> None:
    control, race = load_kernel("v5.10-debug"), load_kernel("v5.10-anon-race")
    assert race.sources == control.sources
    assert race.config == control.config
    assert race.patches[:-1] == control.patches
    assert race.carries == ("anon-rmap-locked",)


def test_each_bug_that_a_kernel_carries_is_caught_by_a_case() -> None:
    caught = {bug for case in load_cases() for bug in case.catches}
    carried = {bug for name in kernel_names() for bug in load_kernel(name).carries}
    assert carried
    assert carried <= caught


def write(folder: Path, text: str, name: str = "k") -> str:
    (folder / "a.config").write_text("CONFIG_X=y\n")
    file = folder / f"{name}.yaml"
    file.write_text(text)
    return str(file)


KERNEL = "source: {git: /src/linux, ref: v5.10}\nconfig: [a.config]\n"


def test_sources_of_every_kind(tmp_path: Path) -> None:
    digest = "a" * 64
    text = f"""
source:
  - tree: ../linux
  - git: https://example.org/linux.git
    ref: v6.1
  - tarball: linux.tar.xz
    sha256: {digest}
config: [a.config]
"""
    spec = load_kernel(write(tmp_path, text))
    assert spec.sources == (
        WorkingTree((tmp_path / "../linux").resolve()),
        GitSource("https://example.org/linux.git", "v6.1"),
        Tarball("linux.tar.xz", digest),
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (KERNEL + "patchs: []\n", r"k\.yaml:3: unknown key 'patchs'; expected patches\?"),
        ("extendz: v5.10-debug\n", r"k\.yaml:1: unknown key 'extendz'; expected extends\?"),
        (KERNEL + "patches: fix.patch\n", r"k\.yaml:3: patches: expected a list of strings"),
        (KERNEL + "patches: [fix.patch]\n", r"k\.yaml:3: patches: .*'fix.patch', which is not"),
        (KERNEL + "about: {a: b}\n", r"k\.yaml:3: about: expected a string, got a mapping"),
        ("config: [a.config]\n", r"source: expected at least one source"),
        ("source: {git: x}\nconfig: [a.config]\n", r"k\.yaml:1: source\.ref: expected a string"),
        ("source: {svn: x}\nconfig: [a.config]\n", r"expected one of debian:"),
        ("source: {git: x, ref: --evil}\nconfig: [a.config]\n", r"ref: expected a tag"),
        ("source: {tarball: x, sha256: abc}\nconfig: [a.config]\n", r"64 hexadecimal digits"),
        ("source: {image: x, suite: y}\nconfig: [a.config]\n", r"it is not built"),
        ("source: [\n", r"k\.yaml:\d: not YAML"),
        ("- a\n", r"k\.yaml:1: expected a mapping of keys, got a list"),
        ("", r"expected a mapping"),
        ("extends: k.yaml\n", r"no kernel|extends itself|no such file"),
    ],
)
def test_bad_kernels(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        load_kernel(write(tmp_path, text))


def test_extends_that_turns_in_a_circle(tmp_path: Path) -> None:
    write(tmp_path, "extends: b\n", "a")
    write(tmp_path, "extends: a\n", "b")
    with pytest.raises(SpecError, match="extends itself"):
        load_kernel("a", tmp_path)


def test_wrong_name_offers_the_near_one() -> None:
    with pytest.raises(SpecError) as caught:
        load_kernel("v5.10-debgu")
    assert "v5.10-debug" in caught.value.hint


NODE = "nodes:\n  - {memory: 512M, cpus: 1}\n  - {memory: 512M, cpus: 1}\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("about: none\n", "nodes: expected at least one node"),
        ("node: [{memory: 512M, cpus: 1}]\n", r"m\.yaml:1: unknown key 'node'; expected nodes\?"),
        ("nodes: [{memry: 512M, cpus: 1}]\n", r"unknown key '.*memry'; expected memory\?"),
        ("nodes: [{memory: much, cpus: 1}]\n", r"m\.yaml:1: .*memory: expected a size"),
        ("nodes: [{memory: 512M, cpus: one}]\n", "cpus: expected a whole number, got 'one'"),
        ("nodes: [{memory: 0, cpus: 1}]\n", "memory and a CPU on node 0"),
        (NODE + "huge_pages: {2M: [1]}\n", "expected 2 numbers"),
        (NODE + "huge_pages: {4M: [1, 1]}\n", "expected 2M or 1G"),
        (NODE + "huge_pages: {1G: [1, 0]}\n", r"fits into node 0 \(512 MiB\)"),
        (NODE + "distances: [[10, 20]]\n", "expected 2 rows"),
        (NODE + "distances: [[10, 20], [20, 11]]\n", "10 on the diagonal"),
        (NODE + "node: 1\n", "unknown key 'node'; expected nodes"),
    ],
)
def test_bad_machines(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        load_machine(write(tmp_path, text, "m"))


def test_memoryless_node() -> None:
    machine = load_machine("four-nodes")
    assert [node.memory > 0 for node in machine.nodes] == [True, True, True, False]


def test_unreadable_file(tmp_path: Path) -> None:
    (tmp_path / "k.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match=r"cannot be read"):
        load_kernel(str(tmp_path / "k.yaml"))


def test_wrong_case_offers_the_near_one() -> None:
    with pytest.raises(SpecError) as caught:
        select(["anon_fork_migrat"])
    assert "anon_fork_migrate" in caught.value.hint


def test_case_file_that_cannot_be_imported(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text("import nothing_like_this\n")
    with pytest.raises(SpecError, match=r"test_x\.py: cannot be imported: ModuleNotFoundError"):
        load_cases(tmp_path)


@pytest.mark.parametrize(
    ("text", "size"), [("1G", 1 << 30), ("512m", 512 << 20), ("7", 7), ("x", None), ("-1", None)]
)
def test_sizes(text: str, size: int | None) -> None:
    assert parse_size(text) == size
