"""A distribution's kernel image, unpacked: quick, and without sanitizers."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from harness.errors import EnvironmentFault, HarnessError, UsageError
from harness.kernel import kept
from harness.kernel.apt import Apt, Package
from harness.kernel.built import BuiltKernel
from harness.kernel.modules import collect
from harness.kernel.source import key_of
from harness.kernel.tools import check_room, digest, fresh, locked, write_whole
from harness.progress import Progress
from harness.spec.kernel import DebianImage, KernelSpec

_RECIPE = "image 1"
_FORMAT = 1
_ROOM = 1 << 30
"""Bytes for the package, all that is in it, and what is kept of it."""


@dataclass(frozen=True)
class _Known:
    """What a declared image was found to be."""

    inputs: str
    label: str


def unpack(
    spec: KernelSpec, cache: Path, progress: Progress, *, refresh: bool = False
) -> BuiltKernel:
    """The first of the images of ``spec`` that can be had."""
    if not refresh and (found := find(spec, cache)):
        return found
    failures: list[HarnessError] = []
    for source in spec.sources:
        if not isinstance(source, DebianImage):
            raise TypeError(f"{source}: not an image")
        try:
            with locked(cache / "locks" / f"image-{key_of(source)}", progress, spec.name):
                if not refresh and (found := find(spec, cache)):
                    return found
                found = _fetch(spec, source, cache, progress)
        except HarnessError as error:
            failures.append(error)
            continue
        for failure in failures:
            progress.say(f"{spec.name}: {failure.what}\n  -> used instead: {found.source}")
        return found
    if len(failures) == 1:
        raise failures[0]
    told = "\n".join(f"  {number}. {error}" for number, error in enumerate(failures, 1))
    raise EnvironmentFault(f"{spec.file}: no image of {spec.name} can be had\n{told}")


def find(spec: KernelSpec, cache: Path) -> BuiltKernel | None:
    """What an earlier call unpacked for ``spec``."""
    for source in spec.sources:
        try:
            data = json.loads(_memory(source.__class__.__name__, key_of(source), cache).read_text())
            inputs = str(data["inputs"]) if data["format"] == _FORMAT else ""
        except (OSError, ValueError, KeyError, TypeError):
            continue
        entry = kept.find_entry(cache, inputs)
        if entry and (found := kept.load(cache, spec, entry)):
            return found
    return None


def _memory(kind: str, key: str, cache: Path) -> Path:
    return cache / "resolved" / f"{kind}-{key}.json"


def _fetch(spec: KernelSpec, source: DebianImage, cache: Path, progress: Progress) -> BuiltKernel:
    cache.mkdir(parents=True, exist_ok=True)
    check_room(cache, _ROOM)
    place = fresh(cache / "import" / key_of(source))
    with (
        progress.stage(f"fetching {source.package} of {source.suite}") as stage,
        Apt.opened(cache, source.suite, progress) as apt,
    ):
        package = _real(apt, apt.find(source.package, source.version))
        stage.note(f"{package.name} {package.version}")
        apt.unpack(package, place)
    label = f"Debian {package.name} {package.version}"
    inputs = digest(_RECIPE, package.name, package.version, package.sha256)
    entry = kept.Entry(inputs[:20], label, ())
    _keep(place, package, entry, cache)
    shutil.rmtree(place)
    kept.remember(cache, inputs, entry)
    memory = _memory(source.__class__.__name__, key_of(source), cache)
    write_whole(memory, json.dumps({"format": _FORMAT, "inputs": inputs}) + "\n")
    found = kept.load(cache, spec, entry)
    if found is None:
        raise EnvironmentFault(f"{label}: gone while it was unpacked")
    return found


def _real(apt: Apt, package: Package) -> Package:
    """The package that a metapackage such as linux-image-cloud-amd64 stands for."""
    match = re.search(r"\b(linux-image-\d[\w.+-]*)(?: \(= ([^)]+)\))?", package.depends)
    if re.match(r"linux-image-\d", package.name) or match is None:
        return package
    return apt.find(match[1], match[2] or "")


def _keep(place: Path, package: Package, entry: kept.Entry, cache: Path) -> None:
    images = sorted((place / "boot").glob("vmlinuz-*"))
    if not images:
        raise UsageError(f"{package.name} {package.version}: no boot/vmlinuz-* in it")
    release = images[0].name.removeprefix("vmlinuz-")
    base = next(
        (p for p in (place / "lib/modules", place / "usr/lib/modules") if (p / release).is_dir()),
        None,
    )
    with kept.new_folder(cache, entry.content_id) as folder:
        shutil.copy(images[0], folder / "bzImage")
        shutil.copy(place / "boot" / f"config-{release}", folder / "config")
        if base:
            collect(base / release, folder / "modules")
        kept.seal(folder, {"release": release, "source": entry.source, "compiler": ""})
