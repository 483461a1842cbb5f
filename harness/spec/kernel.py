"""Kernels as declared in ``guests/kernels/*.yaml``: source + patches + config."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.errors import SpecError
from harness.paths import PROJECT
from harness.spec.reader import View, declared, load, names_in

GUESTS = PROJECT / "guests"
KERNELS = GUESTS / "kernels"


@dataclass(frozen=True)
class DebianSource:
    """A Debian ``linux-source-*`` package of any suite; the newest where ``version`` is empty."""

    package: str
    suite: str
    version: str = ""


@dataclass(frozen=True)
class DebianImage:
    """A Debian ``linux-image-*`` package (or the metapackage that names it): not built."""

    package: str
    suite: str
    version: str = ""


@dataclass(frozen=True)
class Tarball:
    """A kernel tarball: an ``http(s)://`` or ``file://`` URL or a path, and its SHA-256."""

    url: str
    sha256: str


@dataclass(frozen=True)
class GitSource:
    """A git repository (URL or path) and a ref: tag, branch or full commit id.

    Sources of one ``family`` are built in one work tree, one from the other: the commits of a
    range that is bisected.  Where the repository lies on disk it is that of its working tree.
    """

    url: str
    ref: str
    family: str = ""


@dataclass(frozen=True)
class WorkingTree:
    """A developer's own tree, as it is on disk, uncommitted changes included; never written to."""

    path: Path


Source = DebianSource | DebianImage | Tarball | GitSource | WorkingTree


@dataclass(frozen=True)
class KernelSpec:
    """One declared kernel.

    ``sources`` are alternatives, tried in order.  ``config`` are fragments, later ones
    win.  ``patches`` are plain diffs or mailboxes, applied in order.  ``carries`` names
    the bugs that this kernel is known to have: a test case that catches one of them is
    expected to fail here.
    """

    name: str
    file: Path
    about: str
    sources: tuple[Source, ...]
    config: tuple[Path, ...] = ()
    patches: tuple[Path, ...] = ()
    carries: tuple[str, ...] = ()

    @property
    def prebuilt(self) -> bool:
        return isinstance(self.sources[0], DebianImage)


def kernel_names() -> list[str]:
    return list(names_in(KERNELS))


def load_kernel(name: str, folder: Path = KERNELS) -> KernelSpec:
    """The kernel ``name`` (or the YAML file ``name``), with what it ``extends`` merged in."""
    return _load(declared(folder, name, "kernel"), folder, ())


def _load(file: Path, folder: Path, seen: tuple[Path, ...]) -> KernelSpec:
    if file in seen:
        raise SpecError(f"{file}: extends itself by way of {', '.join(p.stem for p in seen)}")
    view = load(file)
    extends = view.text("extends", "")
    base = None
    if view.has("extends"):
        base = _load(declared(folder, extends, "kernel"), folder, (*seen, file))
    sources = tuple(_source(item) for item in view.views("source"))
    config = tuple(
        _file(view, "config", GUESTS / "config", text, ".config") for text in view.texts("config")
    )
    patches = tuple(
        _file(view, "patches", GUESTS / "patches", text, "") for text in view.texts("patches")
    )
    spec = KernelSpec(
        name=file.stem,
        file=file,
        about=view.text("about", ""),
        sources=sources or (base.sources if base else ()),
        config=(base.config if base else ()) + config,
        patches=(base.patches if base else ()) + patches,
        carries=(base.carries if base else ()) + view.texts("carries"),
    )
    # Before what is missing is named: it may be there, under a name that is misspelt.
    view.done()
    if not spec.sources:
        view.fail("source", "at least one source, or extends: NAME", "none")
    if len({isinstance(source, DebianImage) for source in spec.sources}) > 1:
        view.fail("source", "alternatives that are all built or all images", "a mixture")
    if spec.prebuilt and (spec.config or spec.patches):
        view.fail("source", "no config and no patches with an image: it is not built")
    if not spec.prebuilt and not spec.config:
        view.fail("config", "at least one config fragment", "none")
    return spec


def _source(view: View) -> Source:
    kinds = [k for k in ("debian", "image", "tarball", "git", "tree") if view.has(k)]
    if len(kinds) != 1:
        view.fail(
            "source",
            "one of debian:, image:, tarball:, git:, tree:",
            " and ".join(kinds) or "none of them",
        )
    kind = kinds[0]
    source: Source
    if kind == "debian":
        source = DebianSource(view.text("debian"), view.text("suite"), view.text("version", ""))
    elif kind == "image":
        source = DebianImage(view.text("image"), view.text("suite"), view.text("version", ""))
    elif kind == "tarball":
        source = Tarball(view.text("tarball"), view.text("sha256").lower())
        if len(source.sha256) != 64 or set(source.sha256) - set("0123456789abcdef"):
            view.fail("sha256", "64 hexadecimal digits", repr(source.sha256))
    elif kind == "git":
        source = GitSource(view.text("git"), view.text("ref"))
        if source.ref.startswith("-"):
            view.fail("ref", "a tag, a branch or a commit id", repr(source.ref))
    else:
        source = WorkingTree(_relative(view.file, view.text("tree")))
    view.done()
    return source


def _relative(file: Path, text: str) -> Path:
    """``text`` as a path, relative to the declaration that names it."""
    return (file.parent / Path(text).expanduser()).resolve()


def _file(view: View, key: str, folder: Path, text: str, ending: str) -> Path:
    """A file of the project's folder, or a path relative to the declaration."""
    for path in (folder / (text + ending), _relative(view.file, text)):
        if path.is_file():
            return path
    view.fail(key, f"a file in {folder} or a path", f"{text!r}, which is not there")
