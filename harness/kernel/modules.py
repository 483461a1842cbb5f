"""The drivers that a guest needs where they are modules, in the order to load them."""

from __future__ import annotations

import gzip
import io
import lzma
from collections.abc import Callable, Mapping
from pathlib import Path

from elftools.elf.elffile import ELFFile

from harness.errors import EnvironmentFault

WANTED = (
    "virtio_pci",
    "virtio_console",
    "virtio_net",
    "virtio_rng",
    "virtio_blk",
    "pvpanic",
    "pvpanic_mmio",
    "pvpanic_pci",
)
"""By module name.  One that is built in, or that the kernel does not have, is passed over."""

LOAD = "modules.load"
"""File names, one a line, in load order."""


def collect(release: Path, target: Path) -> list[str]:
    """Put WANTED and what they depend on from ``lib/modules/RELEASE`` into ``target``.

    They are unpacked: busybox's insmod hands a file to the kernel as it is.
    """
    files = {
        _name(path): path for path in sorted((release / "kernel").rglob("*.ko*")) if path.is_file()
    }
    contents: dict[str, bytes] = {}

    def content(name: str) -> bytes:
        if name not in contents:
            contents[name] = _read(files[name])
        return contents[name]

    order = load_order(WANTED, {name: name for name in files}, lambda name: depends(content(name)))
    target.mkdir(parents=True)
    for name in order:
        (target / f"{name}.ko").write_bytes(content(name))
    (target / LOAD).write_text("".join(f"{name}.ko\n" for name in order), encoding="utf-8")
    return order


def load_order(
    wanted: tuple[str, ...], there: Mapping[str, object], depends_of: Callable[[str], list[str]]
) -> list[str]:
    """``wanted`` and all they depend on, dependencies first.  Names that are not there (built in,
    or not made) are left out.
    """
    order: dict[str, None] = {}

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in order or name not in there or name in above:
            return
        for other in depends_of(name):
            visit(other, (*above, name))
        order[name] = None

    for name in wanted:
        visit(name, ())
    return list(order)


def depends(module: bytes) -> list[str]:
    """What a module's own .modinfo section says that it needs."""
    section = ELFFile(io.BytesIO(module)).get_section_by_name(".modinfo")
    data: bytes = section.data() if section else b""
    for field in data.split(b"\0"):
        if field.startswith(b"depends="):
            names = field.partition(b"=")[2].decode("ascii", "replace")
            return [name.replace("-", "_") for name in names.split(",") if name]
    return []


def _name(path: Path) -> str:
    return path.name.partition(".ko")[0].replace("-", "_")


def _read(path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix == ".ko":
        return data
    if path.suffix == ".xz":
        return lzma.decompress(data)
    if path.suffix == ".gz":
        return gzip.decompress(data)
    raise EnvironmentFault(f"{path.name}: a kernel module packed in a way that is not known here")
