"""The Debian root of guests: what is asked of mmdebstrap, and what becomes of its archive."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from harness.errors import EnvironmentFault, SpecError
from harness.guest import debian
from harness.kernel import apt
from harness.spec.machine import load_machine


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = "deb http://mirror.example/debian bookworm main\n"
    monkeypatch.setattr(apt, "_declared", lambda: declared)


@pytest.mark.usefixtures("mirror")
def test_what_is_asked_for_runs_nothing_of_a_package() -> None:
    root = debian.load_debian("debian")
    words = debian.command(root, Path("x.tar"))
    assert "--variant=extract" in words and "--format=tar" in words
    assert f"--include={','.join(root.packages)}" in words
    at = words.index("bookworm")
    assert words[at + 1] == "x.tar"
    assert words[at + 2] == "deb http://mirror.example/debian bookworm main"


def test_machines_name_their_root(tmp_path: Path) -> None:
    assert load_machine("debian").root == "debian"
    file = tmp_path / "m.yaml"
    file.write_text("nodes: [{memory: 1G, cpus: 1}]\nroot: fedora\n")
    with pytest.raises(SpecError, match="root: expected a root of"):
        load_machine(str(file))


def packed(tar: Path) -> None:
    """As mmdebstrap leaves it: merged-usr links, a hard link, a device, package lists."""
    with tarfile.open(tar, "w") as out:
        for name, kind, target in (
            ("./", tarfile.DIRTYPE, ""),
            ("./usr/bin", tarfile.DIRTYPE, ""),
            ("./bin", tarfile.SYMTYPE, "usr/bin"),
            ("./usr/bin/bash", tarfile.REGTYPE, ""),
            ("./usr/bin/rbash", tarfile.LNKTYPE, "./usr/bin/bash"),
            ("./dev/null", tarfile.CHRTYPE, ""),
            ("./var/lib/apt/lists/x", tarfile.REGTYPE, ""),
            ("./../out", tarfile.REGTYPE, ""),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.mode = kind, target, 0o755
            data = b"#!" if kind == tarfile.REGTYPE else b""
            member.size = len(data)
            out.addfile(member, io.BytesIO(data))


@pytest.mark.usefixtures("mirror")
def test_the_archive_lies_in_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def work(argv: list[str], what: str) -> None:
        asked.append(argv)
        packed(Path(next(word for word in argv if ".tar." in word)))

    monkeypatch.setattr(debian, "work", work)
    monkeypatch.setattr(debian, "require", lambda name: None)
    kept = debian.archive("debian", cache=tmp_path)
    content = kept.read_bytes()
    assert content.startswith(b"070701") and b"TRAILER!!!" in content
    for name in (b"debian/usr/bin/bash", b"debian/usr/bin/rbash", b"debian/bin"):
        assert name + b"\0" in content
    for name in (b"dev/null", b"apt/lists", b"out"):
        assert name + b"\0" not in content
    assert debian.archive("debian", cache=tmp_path) == kept
    monkeypatch.setattr(debian, "archive", lambda name: kept)
    laid = debian.content("debian")
    assert laid.startswith(content) and b"debian/usr/bin/awk\0" in laid[len(content) :]
    monkeypatch.undo()
    assert len(asked) == 1
    assert [file.name for file in kept.parent.iterdir()] == [kept.name]


def test_a_host_without_mmdebstrap_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentFault, match="mmdebstrap"):
        debian.archive("debian", cache=tmp_path)
