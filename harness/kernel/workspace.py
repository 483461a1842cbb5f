"""The folder that a kernel is built in: a source tree and a build folder beside it.

There is one for each declared source and set of config fragments, so that kernels which
differ by their patches are built from each other, file by file.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from harness.errors import EnvironmentFault, UsageError
from harness.kernel.config import decides_config
from harness.kernel.fetch import import_place
from harness.kernel.store import Store
from harness.kernel.tools import digest, locked, tail, try_locked, work
from harness.progress import Progress

_NEAR = 1000
"""Paths between two trees up to which one is built from the other: two releases differ by more,
and then next to nothing of the one is left in the other."""

_SUSPECT = 120.0
"""Seconds before the end of an interrupted build in which its outputs are not trusted."""


@dataclass(frozen=True)
class Workspace:
    """``key`` is that of the source it was made for."""

    folder: Path
    key: str

    @property
    def tree(self) -> Path:
        return self.folder / "tree"

    @property
    def build(self) -> Path:
        return self.folder / "build"

    @property
    def state(self) -> Path:
        """Which tree and fragments the configuration in ``build`` was made from."""
        return self.folder / "configured"

    @property
    def configured_of(self) -> str:
        """The tree that it was configured for last; empty where that is not known."""
        try:
            return self.state.read_text(encoding="utf-8").strip().partition(" ")[2]
        except OSError:
            return ""

    @property
    def cold(self) -> bool:
        return not (self.build / "vmlinux").exists()


def workspace_for(cache: Path, key: str, fragments: Sequence[Path]) -> Workspace:
    contents = [fragment.read_bytes() for fragment in fragments]
    folder = cache / "work" / f"{key}-{digest(*contents)[:8]}"
    return Workspace(folder.resolve() if folder.is_symlink() else folder, key)


def beside_the_nearest(space: Workspace, store: Store, tree: str, progress: Progress) -> Workspace:
    """Where ``tree`` is built instead of in ``space``, which is not there yet: in the workspace of
    the same fragments whose tree is the nearest, as if it were a version of that one's source.

    It is remembered by a link, so that what comes next is built there too.  The folder is
    shared and not copied: kbuild writes the folder's name into its command files, and KASAN into
    the objects, so a copy would be compiled anew, or be of two names.
    """
    own = space.folder
    if own.exists():
        return space
    fragments = own.name.rpartition("-")[2]
    others = [Workspace(path, space.key) for path in own.parent.glob(f"*-{fragments}")]
    distances = [
        (len(store.changed(was, tree)), str(other.folder), other)
        for other in others
        if other.folder.is_dir() and not other.folder.is_symlink() and not other.cold
        if (was := other.configured_of) and store.has(was)
    ]
    distance, _, nearest = min(distances, default=(_NEAR + 1, "", space))
    if distance > _NEAR:
        return space
    with suppress(FileExistsError):  # another harness was quicker
        own.symlink_to(nearest.folder.name)
    progress.say(f"building in {nearest.folder}, whose tree differs by {distance} paths")
    return Workspace(own.resolve(), space.key)


@contextmanager
def entered(space: Workspace, progress: Progress, name: str) -> Iterator[None]:
    """Hold the workspace alone.  What an interrupted build left half written is removed first."""
    with locked(space.folder.with_suffix(".lock"), progress, name):
        space.build.mkdir(parents=True, exist_ok=True)
        marker = space.folder / "unfinished"
        if marker.exists():
            sweep(space.build)
        marker.touch()
        try:
            yield
        except UsageError:  # a patch or a source at fault: make itself ended in order
            marker.unlink()
            raise
        marker.unlink()


def make_room(keep: Workspace, needed: int) -> list[str]:
    """Remove workspaces, the one unused for longest first, until ``needed`` bytes are free.

    Those that another harness holds stay.  What is removed costs a longer build later, and
    nothing else.  Gives their names.
    """
    home = keep.folder.parent
    folders = [path for path in home.iterdir() if path.is_dir() and not path.is_symlink()]
    others = [path for path in folders if path != keep.folder]
    removed = []
    for folder in sorted(others, key=lambda path: path.stat().st_mtime):
        if shutil.disk_usage(home).free >= needed:
            break
        with try_locked(folder.with_suffix(".lock")) as held:
            if held:
                shutil.rmtree(folder)
                removed.append(folder.name)
    return removed


def sweep(build: Path) -> None:
    """Remove what make wrote last: a compiler that was killed leaves half an object file,
    newer than its source, with the old command file beside it, and make would keep it.
    """
    commands = [path for path in build.rglob(".*.cmd") if path.is_file()]
    outputs = {path.with_name(path.name[1:-4]): path for path in commands}
    times = {path: path.stat().st_mtime for path in outputs if path.is_file()}
    last = max(times.values(), default=0.0)
    for path, changed in times.items():
        if changed >= last - _SUSPECT:
            path.unlink()
            outputs[path].unlink()


def put_source(space: Workspace, store: Store, tree: str, cache: Path, progress: Progress) -> None:
    """Make the source tree hold ``tree``; files that are the same keep their times."""
    place = import_place(cache, space.key)
    with locked(cache / "locks" / f"source-{space.key}", progress, "the source"):
        if not space.tree.exists() and (place / "done").exists():
            # The unpacked source becomes the tree: its index knows every file already.
            (place / "index").replace(space.folder / "index")
            (place / "tree").replace(space.tree)
        if place.exists():
            shutil.rmtree(place)
    with progress.stage("putting the source in place"):
        store.check_out(tree, space.tree, space.folder / "index")


def configure(
    space: Workspace,
    store: Store,
    tree: str,
    fragments: Sequence[Path],
    compiler: str,
    env: dict[str, str],
    progress: Progress,
) -> None:
    """Write ``build/.config``, unless nothing changed that it is made from.

    Raises EnvironmentFault when the tree's own merge_config.sh fails.
    """
    what = digest(compiler, *(fragment.read_bytes() for fragment in fragments))
    if _configured(space, store, tree, what):
        space.state.write_text(f"{what} {tree}\n", encoding="utf-8")
        return
    space.state.unlink(missing_ok=True)
    with progress.stage("configuring"):
        lines = work(
            merge_argv(space, fragments), "cannot configure the kernel", env=env, cwd=space.tree
        )
    (space.folder / "config.log").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if not (space.build / ".config").is_file():
        raise EnvironmentFault(f"merge_config.sh wrote no {space.build}/.config\n{tail(lines, 8)}")
    space.state.write_text(f"{what} {tree}\n", encoding="utf-8")


def merge_argv(space: Workspace, fragments: Sequence[Path]) -> list[str]:
    return [
        str(space.tree / "scripts/kconfig/merge_config.sh"),
        "-n",  # over allnoconfig
        *("-O", str(space.build)),
        *map(str, fragments),
    ]


def _configured(space: Workspace, store: Store, tree: str, what: str) -> bool:
    """Whether the configuration that is there was made from ``what`` and Kconfig files as now."""
    if not space.state.exists() or not (space.build / ".config").exists():
        return False
    was, _, old = space.state.read_text(encoding="utf-8").strip().partition(" ")
    if was != what or not store.has(old):
        return False
    return not any(decides_config(path) for path in store.changed(old, tree))
