"""A small Debian for guests, made by mmdebstrap(1) without root, its packages only unpacked.

Variant "extract": apt checks and downloads, dpkg-deb unpacks, and nothing of a package is run, on
the host or in the guest.  It lies in a folder of the guest beside the initramfs's own programs,
which boot the guest and reach it as ever, and is used by chroot(8): a kernel needs no disk and no
file system for it.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.errors import EnvironmentFault
from harness.guest import cpio
from harness.kernel.apt import sources_list
from harness.kernel.tools import digest, locked, require, work
from harness.paths import cache_dir
from harness.progress import Progress
from harness.spec.machine import ROOTS
from harness.spec.reader import load

_HOOKS = Path("/usr/share/mmdebstrap/hooks/merged-usr")
_RECIPE = "2"


@dataclass(frozen=True)
class DebianRoot:
    """``without`` are patterns of paths, as dpkg's path-exclude has them; ``links`` are those that
    the scripts of packages would make, none of which is run: path to target.
    """

    name: str
    suite: str
    packages: tuple[str, ...]
    without: tuple[str, ...]
    links: tuple[tuple[str, str], ...] = ()


def load_debian(name: str) -> DebianRoot:
    file = ROOTS / f"{name}.yaml"
    view = load(file)
    view.text("about", "")
    links = tuple((path, inner.text(path)) for path, inner in view.pairs("links"))
    root = DebianRoot(
        *(name, view.text("suite"), view.texts("packages"), view.texts("without"), links)
    )
    if not root.packages:
        view.fail("packages", "at least one package", "none")
    view.done()
    return root


def content(name: str) -> bytes:
    """The root ``name`` as it is laid behind an initramfs: its packages, and its links."""
    links = load_debian(name).links
    laid = cpio.archive(cpio.link(f"{name}{path}", target) for path, target in links)
    return archive(name).read_bytes() + laid


def archive(name: str, progress: Progress | None = None, cache: Path | None = None) -> Path:
    """The root ``name`` as an archive for an initramfs, made where the cache has none.

    Found again by its declaration: ``rm`` of the file is what fetches newer packages.  Raises
    EnvironmentFault where there is no mmdebstrap or no mirror.
    """
    root = load_debian(name)
    cache = cache or cache_dir()
    key = digest(_RECIPE, root.suite, *root.packages, "without", *root.without)[:16]
    kept = cache / "rootfs" / f"{name}-{key}.cpio"
    if kept.is_file():
        return kept
    progress = progress or Progress()
    with locked(cache / "locks" / f"root-{key}", progress, f"the root {name}"):
        if not kept.is_file():
            kept.parent.mkdir(parents=True, exist_ok=True)
            with progress.stage(f"making the root {name} of Debian {root.suite}"):
                _make(root, kept)
    return kept


def _make(root: DebianRoot, kept: Path) -> None:
    require("mmdebstrap")
    tar = kept.with_suffix(f".tar.{os.getpid()}")
    try:
        work(command(root, tar), f"cannot make the root {root.name}")
        partial = kept.with_suffix(f".part.{os.getpid()}")
        partial.write_bytes(cpio.archive(_entries(tar, root.name)))
        partial.replace(kept)
    finally:
        tar.unlink(missing_ok=True)


def command(root: DebianRoot, tar: Path) -> list[str]:
    """One that asks for no root, and takes no package that was not asked for."""
    return [
        *("mmdebstrap", "--quiet", "--variant=extract", "--architectures=amd64"),
        *("--mode=unshare" if os.geteuid() == 0 else "--mode=auto", "--format=tar"),
        f"--include={','.join(root.packages)}",
        *((f"--hook-dir={_HOOKS}",) if _HOOKS.is_dir() else ()),
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in root.without),
        *(root.suite, str(tar)),
        *sources_list(root.suite),
    ]


def _entries(tar: Path, folder: str) -> Iterator[cpio.Entry]:
    """What is in ``tar``, below ``folder``; devices are the guest's own."""
    yield cpio.folder(folder)
    try:
        with tarfile.open(tar) as stream:
            for member in stream:
                path = f"{folder}/{member.name.removeprefix('./')}".rstrip("/")
                if path == folder or "/var/" in path or ".." in path.split("/"):
                    continue
                if member.isdir():
                    yield cpio.folder(path, member.mode & 0o777)
                elif member.issym():
                    yield cpio.link(path, member.linkname)
                elif member.isfile() or member.islnk():
                    data = stream.extractfile(member)
                    assert data
                    yield cpio.file(path, data.read(), member.mode & 0o777)
    except (tarfile.TarError, KeyError) as error:
        raise EnvironmentFault(f"{tar}: mmdebstrap left no archive: {error}") from None
