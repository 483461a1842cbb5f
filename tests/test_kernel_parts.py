"""The parts of a kernel build that are functions of text."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.errors import CompileError, EnvironmentFault
from harness.kernel.apt import mirrors
from harness.kernel.config import decides_config, dropped
from harness.kernel.make import failure
from harness.kernel.modules import load_order
from harness.kernel.source import resolve
from harness.kernel.tools import check_room, digest, require
from harness.kernel.workspace import Workspace, entered, make_room, sweep
from harness.progress import Progress
from harness.spec.kernel import WorkingTree
from tests.fake_kernel import commit_all, git, make_spec, make_tree

LOG = Path("build.log")
ROOT = Path("/cache/tree")


def fragment(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_dropped_compares_what_was_asked_last(tmp_path: Path) -> None:
    first = fragment(
        tmp_path,
        "first.config",
        "# words\nCONFIG_A=y\nCONFIG_B=y\nCONFIG_C=m\nCONFIG_N=20\n# CONFIG_OFF is not set\n",
    )
    second = fragment(tmp_path, "second.config", "CONFIG_B=n\nCONFIG_D=y\nCONFIG_GONE=n\n")
    final = "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=y\nCONFIG_N=18\nCONFIG_OFF=y\n"
    assert dropped([first, second], final) == (
        "CONFIG_C: asked m, got y (first.config)",
        "CONFIG_N: asked 20, got 18 (first.config)",
        "CONFIG_OFF: asked n, got y (first.config)",
        "CONFIG_D: asked y, got n (second.config)",
    )


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("mm/Kconfig", True),
        ("lib/Kconfig.kasan", True),
        ("scripts/gcc-version.sh", True),
        ("Makefile", True),
        ("arch/x86/Makefile", True),
        ("mm/Makefile", False),
        ("mm/migrate.c", False),
    ],
)
def test_what_decides_the_config(path: str, expected: bool) -> None:
    assert decides_config(path) is expected


def test_a_compile_error_names_file_patch_and_log() -> None:
    lines = [
        "  CC      mm/memory.o",
        f"{ROOT}/mm/migrate.c:1234:5: warning: unused variable 'x'",
        f"{ROOT}/mm/migrate.c:1240:9: error: 'nowhere' undeclared",
        "make[2]: *** [scripts/Makefile.build:286: mm/migrate.o] Error 1",
        *(f"  CC      later{number}.o" for number in range(40)),
    ]
    touched = {"mm/migrate.c": ("race.patch",), "mm/rmap.c": ("other.patch",)}
    error = failure("v5", lines, LOG, touched, roots=[ROOT])
    assert isinstance(error, CompileError)
    text = str(error)
    assert "mm/migrate.c does not compile: 'nowhere' undeclared" in text
    assert "race.patch" in text and "other.patch" not in text
    assert "build.log" in text and "'nowhere'" in text.partition("last lines")[2]


def test_a_link_error_names_the_object() -> None:
    lines = [
        "ld: mm/migrate.o: in function `f':",
        "migrate.c:(.text+0x1): undefined reference to `g'",
    ]
    error = failure("v5", lines, LOG, {"mm/migrate.c": ("p.patch",)}, roots=[ROOT])
    assert "mm/migrate.c" in str(error) and "undefined reference to `g'" in str(error)
    assert "p.patch" in str(error)


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("/bin/sh: 1: flex: not found", "install flex"),
        ("/bin/sh: line 1: bc: command not found", "install bc"),
        ("x.h:10:10: fatal error: gelf.h: No such file or directory", "install libelf-dev"),
        ("a.c: fatal error: error writing to /x.s: No space left on device", "HARNESS_CACHE"),
    ],
)
def test_what_the_host_lacks_is_no_fault_of_the_kernel(line: str, hint: str) -> None:
    error = failure("v5", [line, "make: *** [x] Error 1"], LOG, {})
    assert isinstance(error, EnvironmentFault)
    assert hint in str(error)


def test_terminal_codes_of_a_log_are_not_passed_on() -> None:
    assert "\x1b" not in str(failure("v5", ["\x1b[31mred"], LOG, {}))


def test_missing_tools_are_all_named() -> None:
    with pytest.raises(EnvironmentFault, match="no-such-a, no-such-b"):
        require("no-such-a", "sh", "no-such-b")


def test_a_disk_that_is_too_small_is_told_before(tmp_path: Path) -> None:
    check_room(tmp_path, 1)
    with pytest.raises(EnvironmentFault, match="needed"):
        check_room(tmp_path, 1 << 60)


def test_a_digest_keeps_its_parts_apart() -> None:
    assert digest("ab", "c") != digest("a", "bc")


def test_sweep_takes_the_last_outputs_only(tmp_path: Path) -> None:
    for name, age in (("old.o", 1000), ("new.o", 5), ("no-command.h", 1)):
        path = tmp_path / name
        path.write_text("x")
        os.utime(path, (10_000 - age, 10_000 - age))
        if name.endswith(".o"):
            (tmp_path / f".{name}.cmd").write_text("cmd")
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".old.o.cmd",
        "no-command.h",
        "old.o",
    ]


def test_room_is_made_of_workspaces_that_nobody_holds(tmp_path: Path) -> None:
    spaces = [Workspace(tmp_path / name, "key") for name in ("oldest", "older", "held", "ours")]
    for age, space in enumerate(reversed(spaces)):
        space.build.mkdir(parents=True)
        os.utime(space.folder, (10_000 - age, 10_000 - age))
    assert make_room(spaces[3], 0) == []
    with entered(spaces[2], Progress(), "held"):
        assert make_room(spaces[3], 1 << 60) == ["oldest", "older"]
    assert [space.folder.exists() for space in spaces] == [False, False, True, True]


ONE_LINE = """\
# deb http://old.example/debian bookworm main
deb-src http://src.example/debian bookworm main
deb http://vendor.example/repo stable main
deb [signed-by=/k.gpg arch=amd64] http://a.example:8080/debian bookworm main contrib
deb http://s.example/debian-security bookworm-security main
"""
STANZAS = """\
Types: deb deb-src
# a comment
URIs: https://a.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /k.gpg

Enabled: no
Types: deb
URIs: https://off.example/debian-security
Suites: bookworm-security
Components: main

Types: deb
URIs: https://s.example/debian-security
Suites: bookworm-security
Components: main
"""


def test_mirrors_of_either_form() -> None:
    assert mirrors(ONE_LINE) == ("http://a.example:8080/debian", "http://s.example/debian-security")
    assert mirrors("\0" + STANZAS) == (
        "https://a.example/debian",
        "https://s.example/debian-security",
    )
    assert mirrors("deb http://a.example/debian bookworm main\n") == (
        "http://a.example/debian",
        "",
    )
    with pytest.raises(EnvironmentFault, match="no Debian mirror"):
        mirrors("deb http://ubuntu.example/ubuntu noble main\n")


def test_clean_tree_of_a_developer_is_the_tree_of_its_commit(tmp_path: Path) -> None:
    """Links to folders and to nowhere included, which are tracked in spite of .gitignore."""
    tree = make_tree(tmp_path / "linux")
    (tree / "tracked.o").write_text("an object")
    for name, target in (("folder.o", "mm"), ("nowhere.o", "gone")):
        (tree / name).symlink_to(target)
    commit_all(tree)
    git(tree, "add", "-f", "tracked.o", "folder.o", "nowhere.o")
    git(tree, "commit", "-qm", "one more")
    found = resolve(make_spec(tmp_path, WorkingTree(tree)), tmp_path / "cache", Progress())
    assert found.tree == git(tree, "rev-parse", "HEAD^{tree}")


def test_modules_load_after_what_they_need() -> None:
    needs = {"net": ["failover", "ring"], "failover": [], "ring": ["builtin"], "pci": ["ring"]}
    order = load_order(("pci", "net", "absent"), needs, needs.__getitem__)
    assert order == ["ring", "pci", "failover", "net"]
