"""An image that is of another kernel is told from one that is not, and never booted."""

from __future__ import annotations

import gzip
import json
import struct
import subprocess
from pathlib import Path

import pytest

from harness.kernel import embedded, kept
from harness.spec.kernel import KernelSpec


def _vmlinux(folder: Path, text: str) -> Path:
    source = folder / "a.c"
    source.write_text(f'const char *it(void) {{ return "{text}"; }}\n')
    made = folder / f"vmlinux-{text}"
    subprocess.run(
        ["gcc", "-shared", "-nostdlib", "-Wl,--build-id=sha1", "-o", made, source], check=True
    )
    return made


def _bzimage(file: Path, payload: bytes) -> Path:
    """Two sectors of set-up code, a header of protocol 2.08, and what it says is the payload."""
    head = bytearray(1024)
    head[0x1F1] = 1
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", head, 0x206, 0x208)
    struct.pack_into("<II", head, 0x248, 16, len(payload))
    file.write_bytes(bytes(head) + b"decompressor...." + payload + b"\0" * 32)
    return file


def test_an_image_holds_its_own_kernel_and_no_other(tmp_path: Path) -> None:
    mine, other = _vmlinux(tmp_path, "mine"), _vmlinux(tmp_path, "other")
    image = _bzimage(tmp_path / "bzImage", gzip.compress(mine.read_bytes()) + b"\0\0\0\0")
    assert embedded.holds(image, mine) is True
    assert embedded.holds(image, other) is False


@pytest.mark.parametrize("payload", [b"\x28\xb5\x2f\xfd zstd", b"\x02\x21\x4c\x18 lz4"])
def test_what_cannot_be_unpacked_is_not_judged(tmp_path: Path, payload: bytes) -> None:
    mine = _vmlinux(tmp_path, "mine")
    assert embedded.holds(_bzimage(tmp_path / "bzImage", payload), mine) is None
    (tmp_path / "text").write_text("no bzImage")
    assert embedded.holds(tmp_path / "text", mine) is None


def test_damage_is_no_kernel(tmp_path: Path) -> None:
    mine = _vmlinux(tmp_path, "mine")
    whole = gzip.compress(mine.read_bytes())
    damaged = whole[:20] + b"\xff" * 8 + whole[28:]
    assert embedded.holds(_bzimage(tmp_path / "bzImage", damaged), mine) is False


def test_a_kept_kernel_with_the_image_of_another_is_built_again(tmp_path: Path) -> None:
    mine, other = _vmlinux(tmp_path, "mine"), _vmlinux(tmp_path, "other")
    entry = kept.Entry("0123", "", ())
    spec = KernelSpec("k", tmp_path, "", ())
    with kept.new_folder(tmp_path, entry.content_id) as folder:
        _bzimage(folder / "bzImage", gzip.compress(mine.read_bytes()))
        (folder / "config").write_text("")
        (folder / "vmlinux").write_bytes(other.read_bytes())
        kept.seal(folder, {"release": "1.2.3", "source": "", "compiler": ""})
    assert kept.load(tmp_path, spec, entry) is None
    (kept.folder_of(tmp_path, entry.content_id) / "vmlinux").write_bytes(mine.read_bytes())
    assert kept.load(tmp_path, spec, entry) is not None
    meta = json.loads((kept.folder_of(tmp_path, entry.content_id) / "meta.json").read_text())
    assert meta["embedded"] is True
