"""A program as what it does not share with another, unfolded by the C that guests have."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

from harness.guest import delta, rootfs
from harness.guest.seam import NOT_TAKEN
from harness.paths import PROJECT
from harness.trial.compile import compile_reproducer

BASE = random.Random(1).randbytes(40_000)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """guests/rootfs/shell.c for this host, with a base of its own beside it."""
    folder = tmp_path_factory.mktemp("shell")
    (folder / "base").write_bytes(BASE)
    source = PROJECT / "guests/rootfs/shell.c"
    flags = ["-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined"]
    where = f'-DBASE="{folder}/base"'
    subprocess.run(["gcc", *flags, where, source, "-o", folder / "shell"], check=True)
    return folder / "shell"


def take(
    shell: Path, stream: bytes, content: bytes, path: Path, rest: bytes = b"", *, check: int = -1
) -> subprocess.CompletedProcess[bytes]:
    wanted = delta.check(content) if check < 0 else check
    line = f"#take {len(stream)} {len(content)} {wanted:x} 755 {path}"
    return subprocess.run(
        [shell, "-c", f"{line}\ncat"],
        input=stream + rest,
        capture_output=True,
        timeout=60,
        env=dict(os.environ, ASAN_OPTIONS="detect_leaks=0"),
    )


def cases() -> dict[str, bytes]:
    far = BASE[30_000:] + BASE[:9_000]
    holes = bytearray(BASE)
    holes[::97] = bytes(len(holes[::97]))
    return {
        "nothing": b"",
        "a byte": b"x",
        "less than a block": BASE[:15],
        "the base": BASE,
        "its end": BASE[-333:],
        "moved": b"head" + far + b"between" + BASE[16:32] + b"tail",
        "holes": bytes(holes),
        "strange": random.Random(2).randbytes(30_001),
    }


@pytest.mark.parametrize("name", cases())
def test_what_is_unfolded_is_what_was_sent(name: str, shell: Path, tmp_path: Path) -> None:
    content, path = cases()[name], tmp_path / "with space"
    done = take(shell, delta.encode(BASE, content), content, path, b"the command's own")
    assert (done.returncode, done.stdout) == (0, b"the command's own"), done.stderr
    assert path.read_bytes() == content
    assert path.stat().st_mode & 0o777 == 0o755


def test_what_is_not_whole_or_not_right_is_not_run(shell: Path, tmp_path: Path) -> None:
    content, path = cases()["moved"], tmp_path / "program"
    stream = delta.encode(BASE, content)
    cut = stream[:-3]
    wrong = stream.replace(b"between", b"betwixt")
    far = b"\x00\xff\xff\xff\x7f\x00" + stream
    for bad in (cut, wrong, far, stream + stream, b"\xff" * 50, b""):
        done = take(shell, bad, content, path)
        assert done.returncode == NOT_TAKEN, bad[:20]
        assert b"AddressSanitizer" not in done.stderr
        assert not path.exists()
    assert take(shell, stream, content, path, check=1).returncode == NOT_TAKEN
    assert take(shell, stream, content, tmp_path / "no/where").returncode == NOT_TAKEN
    assert take(shell, stream, content, path).returncode == 0


def test_no_damaged_byte_makes_another_program(shell: Path, tmp_path: Path) -> None:
    chance = random.Random(3)
    content, path = cases()["moved"], tmp_path / "program"
    stream, refused = delta.encode(BASE, content), 0
    for _ in range(60):
        bad = bytearray(stream)
        bad[chance.randrange(len(bad))] ^= 1 << chance.randrange(8)
        done = take(shell, bytes(bad), content, path)
        assert b"Sanitizer" not in done.stderr
        assert b"runtime error" not in done.stderr
        if done.returncode == 0:  # where no bytes are taken from tells nothing
            assert path.read_bytes() == content
            path.unlink()
        else:
            refused += 1
            assert done.returncode == NOT_TAKEN
            assert not path.exists()
    assert refused > 30


def test_reproducer_shares_most_with_what_the_guest_has(tmp_path: Path) -> None:
    source = tmp_path / "small.c"
    source.write_text('#include <stdio.h>\nint main(void) { puts("@ end"); return 0; }\n')
    program = compile_reproducer(source, cache=tmp_path).read_bytes()
    assert len(delta.encode(rootfs.base(), program)) < len(program) / 2


def test_what_is_large_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delta, "_LARGEST", 100)
    assert delta.encode(BASE, BASE[:101]).endswith(BASE[:101] + b"\0\0")
