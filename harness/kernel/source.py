"""From a declared source to a tree id in the store, alternatives in order."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from harness.errors import EnvironmentFault, HarnessError, UsageError
from harness.kernel.fetch import fetch_debian, fetch_git, fetch_tarball, remote_commit
from harness.kernel.store import Store
from harness.kernel.tools import capture, digest, environment, locked, write_whole
from harness.progress import Progress
from harness.spec.kernel import DebianSource, GitSource, KernelSpec, Source, Tarball, WorkingTree

_FORMAT = 1


@dataclass(frozen=True)
class Resolved:
    """A source, found: its tree in the store.

    ``key`` names the declared source, whatever version it comes to, so that the next version is
    built in the same tree.  ``label`` is for people.  ``commit`` is a git source's.
    """

    key: str
    tree: str
    label: str
    commit: str = ""


def key_of(source: Source) -> str:
    """A name for ``source`` that is fit for a file."""
    said = {name: value for name, value in asdict(source).items() if name != "family" or value}
    return digest(type(source).__name__, *(str(value) for value in said.values()))[:16]


def _builds_in(source: GitSource) -> str:
    """The key of the work tree that ``source`` is built in: commits of a repository on disk are
    built where its working tree is, so that whichever comes second is no cold build.
    """
    if not source.family:
        return key_of(source)
    folder = Path(source.url)
    return key_of(WorkingTree(folder) if folder.is_absolute() else replace(source, ref=""))


def resolve(
    spec: KernelSpec, cache: Path, progress: Progress, *, refresh: bool = False
) -> Resolved:
    """The first alternative of ``spec`` that can be had.

    One that an earlier call found is used again, without the network, unless ``refresh``;
    a branch and a working tree are looked at every time.  Whether the store still has the tree
    is for those to ask who need it.  Raises what the only
    source raised, or EnvironmentFault that tells why each of several failed.
    """
    store = Store.open(cache)
    failures: list[HarnessError] = []
    for source in _candidates(spec.sources, cache, refresh=refresh):
        try:
            with locked(cache / "locks" / f"source-{key_of(source)}", progress, shown(source)):
                found = _one(source, store, cache, progress, refresh=refresh)
        except HarnessError as error:
            failures.append(error)
            continue
        for failure in failures:
            progress.say(f"{spec.name}: {failure.what}\n  -> used instead: {found.label}")
        return found
    if len(failures) == 1:
        raise failures[0]
    told = "\n".join(f"  {number}. {error}" for number, error in enumerate(failures, 1))
    raise EnvironmentFault(f"{spec.file}: no source of {spec.name} can be had\n{told}")


def _candidates(sources: Sequence[Source], cache: Path, *, refresh: bool) -> list[Source]:
    """The alternatives worth trying: up to the first that is at hand already, if one is.

    Others that would need the network first are passed over, or every run
    would wait for a mirror that an earlier run found dead.
    """
    at_hand = [source for source in sources if remembered(source, cache)]
    if refresh or not at_hand:
        return list(sources)
    first = list(sources).index(at_hand[0])
    live = [source for source in sources[:first] if isinstance(source, WorkingTree)]
    return [*live, *sources[first:]]


def remembered(source: Source, cache: Path) -> Resolved | None:
    """What an earlier call found for ``source``."""
    try:
        data = json.loads(_memory(source, cache).read_text(encoding="utf-8"))
        return Resolved(**data["source"]) if data["format"] == _FORMAT else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _memory(source: Source, cache: Path) -> Path:
    return cache / "resolved" / f"{key_of(source)}.json"


def _one(
    source: Source, store: Store, cache: Path, progress: Progress, *, refresh: bool
) -> Resolved:
    """``source``, found; remembered for the next call."""
    known = remembered(source, cache)
    if isinstance(source, WorkingTree):
        found = _working_tree(source, store, cache, progress)
    elif isinstance(source, GitSource):
        found = _git(source, store, progress, known, refresh=refresh)
    elif known and not refresh:
        return known
    elif isinstance(source, DebianSource):
        found = _unpacked(source, *fetch_debian(source, store, key_of(source), cache, progress))
    elif isinstance(source, Tarball):
        found = _unpacked(source, *fetch_tarball(source, store, key_of(source), cache, progress))
    else:
        raise TypeError(f"{source}: not built from source")
    store.check_kernel(found.tree, found.label)
    if found != known:
        store.keep(found.tree, found.key)
        text = json.dumps({"format": _FORMAT, "source": asdict(found)}, indent=1)
        write_whole(_memory(source, cache), text + "\n")
    return found


def _unpacked(source: Source, tree: str, label: str) -> Resolved:
    return Resolved(key_of(source), tree, label)


def _git(
    source: GitSource, store: Store, progress: Progress, known: Resolved | None, *, refresh: bool
) -> Resolved:
    """A tag or a full commit id stays what it is; a branch is asked for each time."""
    if known and known.commit and known.label.startswith(("git tag", "git commit")) and not refresh:
        return known
    try:
        kind, commit = remote_commit(source)
        if known and known.commit == commit and not refresh:
            return known
        tree, commit = fetch_git(source, store, progress)
    except EnvironmentFault as error:
        if known is None:
            raise
        progress.say(f"{error.what}\n  -> used instead: the last one known, {known.label}")
        return known
    label = f"git {kind} {source.ref} ({commit[:12]}) of {source.url}"
    return Resolved(_builds_in(source), tree, label, commit)


_PRODUCTS = (
    *("**/*.o", "**/*.a", "**/*.ko", "**/*.mod", "**/*.mod.c", "**/.*.cmd", "**/*.order"),
    *(".config", ".config.old", "include/config/**", "include/generated/**"),
    *("arch/*/include/generated/**", "vmlinux*", "System.map", "Module.symvers", ".tmp_*"),
)
"""What a build leaves in a tree: an out-of-tree build refuses a source that has it."""


def _working_tree(source: WorkingTree, store: Store, cache: Path, progress: Progress) -> Resolved:
    """The tree as it is on disk.  Only read: the index that remembers it is in the cache."""
    if not source.path.is_dir():
        raise UsageError(f"{source.path}: no such folder (tree:)")
    if not (source.path / "Makefile").is_file():
        raise UsageError(f"{source.path}: not a kernel source tree: it has no Makefile")
    index = cache / "trees" / f"{key_of(source)}.index"
    index.parent.mkdir(parents=True, exist_ok=True)
    with progress.stage(f"looking at {source.path}"):
        if (source.path / ".git").exists():
            _add_tracked(source.path, store, index)
            tree = store.import_folder(source.path, index, ignored=False)
        else:
            # Debian's unpacked sources bring a .gitignore that names every file.
            tree = store.import_folder(source.path, index, ignored=True, without=_PRODUCTS)
    return Resolved(key_of(source), tree, f"working tree {source.path}")


def _add_tracked(folder: Path, store: Store, index: Path) -> None:
    """Take what the developer tracks in spite of .gitignore; a kernel has a few such files."""
    env = environment(
        GIT_DIR=str(folder / ".git"), GIT_WORK_TREE=str(folder), GIT_OPTIONAL_LOCKS="0"
    )
    argv = ["git", "-c", "core.fsmonitor=false", "ls-files", "-z", "-c", "-i", "--exclude-standard"]
    listed = capture(argv, env=env, cwd=folder).out.split(b"\0")
    there = [name for name in listed if name and _is_one(folder / os.fsdecode(name))]
    # Not by "add -f", which compares each path of the index with each that is asked for: in a
    # tree made of a Debian source, whose .gitignore names every file, that took minutes.
    words = ("update-index", "--add", "-z", "--stdin")
    store.git(*words, index=index, tree=folder, stdin=b"".join(name + b"\0" for name in there))


def _is_one(path: Path) -> bool:
    """Whether it is a file, or a link to whatever there may be; a folder holds another repository,
    or took a file's place.
    """
    return path.is_symlink() or path.is_file()


def shown(source: Source) -> str:
    """``source`` in a few words."""
    if isinstance(source, WorkingTree):
        return f"working tree {source.path}"
    if isinstance(source, GitSource):
        return f"{source.ref} of {source.url}"
    if isinstance(source, Tarball):
        return source.url
    version = f" {source.version}" if source.version else ""
    return f"Debian package {source.package}{version} of {source.suite}"
