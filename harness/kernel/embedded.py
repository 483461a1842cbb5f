"""Whether a bzImage is that of its vmlinux: the build id of the one inside the other.

ccache once gave the compressed kernel of another build (piggy.S takes it in by .incbin, which a
cache of compilations does not see), and the guests of a kernel with a bug ran one without.
"""

from __future__ import annotations

import lzma
import struct
import zlib
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from harness import elf

_MAGIC = 0x202
"""Where a bzImage has "HdrS", then the version of its header (Documentation/x86/boot.rst)."""
_PAYLOAD = 0x248
"""Where a header since 2.08 has offset and length of the compressed kernel."""


def holds(image: Path, vmlinux: Path) -> bool | None:
    """Whether ``image`` has ``vmlinux`` in it; None where that cannot be told: no build id, no
    bzImage, or a compression that Python lacks (lz4, lzo, zstd).
    """
    wanted, inside = _build_id(vmlinux), _unpacked(image)
    return None if not wanted or inside is None else wanted in inside


def _build_id(vmlinux: Path) -> bytes:
    try:
        with vmlinux.open("rb") as file:
            return bytes.fromhex(elf.build_id(ELFFile(file)))
    except (ELFError, ValueError):
        return b""


def _unpacked(image: Path) -> bytes | None:
    data = image.read_bytes()
    if data[_MAGIC : _MAGIC + 4] != b"HdrS":
        return None
    (version,) = struct.unpack_from("<H", data, _MAGIC + 4)
    if version < 0x208:
        return None
    start = (1 + (data[0x1F1] or 4)) * 512
    offset, length = struct.unpack_from("<II", data, _PAYLOAD)
    payload = data[start + offset : start + offset + length]
    try:
        if payload.startswith(b"\x1f\x8b"):
            return zlib.decompressobj(31).decompress(payload)
        if payload.startswith(b"\xfd7zXZ") or payload.startswith(b"\x5d\0\0"):
            return lzma.LZMADecompressor().decompress(payload)
    except (zlib.error, lzma.LZMAError):
        return b""
    return None
