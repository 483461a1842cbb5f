"""Built kernels in the cache, found again by content: whole, or not there."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.kernel import embedded
from harness.kernel.built import BuiltKernel
from harness.kernel.tools import file_digest, write_whole
from harness.spec.kernel import KernelSpec

_FORMAT = 1


@dataclass(frozen=True)
class Entry:
    """What one set of inputs came to.  The rest belongs to the inputs, not to the content: other
    fragments can give the same final config, and other patches the same tree.
    """

    content_id: str
    source: str
    dropped: tuple[str, ...]
    inexact: tuple[str, ...] = ()


def folder_of(cache: Path, content_id: str) -> Path:
    return cache / "kernels" / content_id


def find_entry(cache: Path, inputs: str) -> Entry | None:
    """What an earlier build made of ``inputs``, if it is still in the cache."""
    data = _read(cache / "kernels" / "index" / f"{inputs}.json")
    if data is None:
        return None
    return Entry(
        str(data["content_id"]),
        str(data["source"]),
        tuple(data["dropped"]),
        tuple(data.get("inexact", ())),
    )


def remember(cache: Path, inputs: str, entry: Entry) -> None:
    text = json.dumps(
        {
            "format": _FORMAT,
            "content_id": entry.content_id,
            "source": entry.source,
            "dropped": entry.dropped,
            "inexact": entry.inexact,
        },
        indent=1,
    )
    write_whole(cache / "kernels" / "index" / f"{inputs}.json", text + "\n")


def load(cache: Path, spec: KernelSpec, entry: Entry) -> BuiltKernel | None:
    """The kernel of ``entry`` under the name of ``spec``; None when it is not whole."""
    folder = folder_of(cache, entry.content_id)
    meta = _read(folder / "meta.json")
    if meta is None:
        return None
    there = {name for name in _ARTIFACTS if (folder / name).exists()}
    if not set(meta["artifacts"]) <= there or not _sound(folder, meta):
        return None
    return BuiltKernel(
        name=spec.name,
        content_id=entry.content_id,
        release=str(meta["release"]),
        image=folder / "bzImage",
        config=folder / "config",
        vmlinux=folder / "vmlinux" if "vmlinux" in there else None,
        modules=folder / "modules" if "modules" in there else None,
        source=entry.source,
        patches=patch_digests(spec),
        dropped=entry.dropped,
        inexact=entry.inexact,
        compiler=str(meta["compiler"]),
        log=folder / "build.log" if "build.log" in there else None,
        coverage=folder / "coverage" if "coverage" in there else None,
    )


def _sound(folder: Path, meta: Mapping[str, object]) -> bool:
    """Whether the image is that of the vmlinux; looked at once.  Builds before this was looked at
    could have another kernel's (see ``embedded``), so one of those is built again.
    """
    if "embedded" in meta or not (folder / "vmlinux").exists():
        return True
    held = embedded.holds(folder / "bzImage", folder / "vmlinux")
    if held is False:
        return False
    with contextlib.suppress(OSError):  # then it is looked at again
        text = json.dumps({**meta, "embedded": held}, indent=1)
        write_whole(folder / "meta.json", text + "\n")
    return True


_ARTIFACTS = ("bzImage", "config", "vmlinux", "modules", "build.log", "coverage")


def patch_digests(spec: KernelSpec) -> tuple[tuple[str, str], ...]:
    """Name and SHA-256 of each patch file."""
    return tuple((patch.name, file_digest(patch)) for patch in spec.patches)


@contextlib.contextmanager
def new_folder(cache: Path, content_id: str) -> Iterator[Path]:
    """A folder to fill, which becomes the kernel's in one step when the block ends well."""
    final = folder_of(cache, content_id)
    final.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{content_id}."))
    try:
        yield scratch
        scratch.chmod(0o755)
        if final.exists():
            shutil.rmtree(final)
        os.rename(scratch, final)  # noqa: PTH104 - the system call that is meant
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def keep_coverage(build: Path, tree: Path, folder: Path) -> None:
    """Keep what gcov needs of the objects that count their lines: their notes and their sources.

    The next kernel of this workspace overwrites both.
    """
    for notes in sorted(build.rglob("*.gcno")):
        source = notes.relative_to(build).with_suffix(".c")
        if not (tree / source).is_file():
            continue  # a generated file, or a program of the host's
        for file, found in ((source.with_suffix(".gcno"), notes), (source, tree / source)):
            kept = folder / "coverage" / file
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(found, kept)


def seal(folder: Path, facts: Mapping[str, object]) -> None:
    """Write meta.json: the last file, without which a folder is no kernel."""
    artifacts = [name for name in _ARTIFACTS if (folder / name).exists()]
    meta = {"format": _FORMAT, "artifacts": artifacts, **facts}
    write_whole(folder / "meta.json", json.dumps(meta, indent=1) + "\n")


def _read(file: Path) -> dict[str, list[str] | str] | None:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) and data.get("format") == _FORMAT else None
