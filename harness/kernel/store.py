"""The content store: one bare git repository in the cache; every source is a tree id in it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import EnvironmentFault, UsageError
from harness.kernel.tools import Done, capture, environment, fresh, locked, require, work
from harness.progress import Progress

_SETTINGS = {
    "core.compression": "0",  # importing a kernel is bound by zlib otherwise: 60 s, not 18 s
    "core.bigFileThreshold": "1",  # straight to disk, no delta
    "core.fsync": "none",  # git 2.36; a store that a power cut breaks is fetched again
    "core.autocrlf": "false",
    "core.attributesFile": "/dev/null",
    "core.excludesFile": "/dev/null",
    "core.fsmonitor": "false",
    "checkout.workers": "0",
    "gc.auto": "0",
    "maintenance.auto": "0",
    "fetch.unpackLimit": "1",
    "mailinfo.scissors": "false",
}
_MADE = {
    "GIT_AUTHOR_NAME": "harness",
    "GIT_AUTHOR_EMAIL": "harness@localhost",
    "GIT_AUTHOR_DATE": "@0 +0000",
    "GIT_COMMITTER_NAME": "harness",
    "GIT_COMMITTER_EMAIL": "harness@localhost",
    "GIT_COMMITTER_DATE": "@0 +0000",
}
_KERNEL_FILES = ("Makefile", "Kconfig", "scripts/kconfig/merge_config.sh")


def git_argv(settings: Mapping[str, str] = _SETTINGS) -> list[str]:
    return ["git", *(word for key, value in settings.items() for word in ("-c", f"{key}={value}"))]


@dataclass(frozen=True)
class Store:
    """``folder`` is the bare repository.  Callers give every index its own file."""

    folder: Path

    @classmethod
    def open(cls, cache: Path) -> Store:
        """The cache's store, made when it is not there."""
        require("git")
        store = cls(cache / "sources.git")
        if store.folder.exists():
            return store
        with locked(cache / "locks" / "store", Progress(), "the store"):
            if not store.folder.exists():  # another harness may have been quicker
                made = cls(fresh(cache / "sources.new"))
                made.git("init", "--quiet", "--bare", "--initial-branch=none", str(made.folder))
                made.folder.rename(store.folder)
        return store

    def env(self, *, index: Path | None = None, tree: Path | None = None) -> dict[str, str]:
        """The surroundings of one git command: this store, and nothing of the user's own."""
        more = {
            "GIT_DIR": str(self.folder),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            **_MADE,
        }
        if index:
            more["GIT_INDEX_FILE"] = str(index)
        if tree:
            more["GIT_WORK_TREE"] = str(tree)
        return environment(**more)

    def attempt(
        self, *words: str, index: Path | None = None, tree: Path | None = None, stdin: bytes = b""
    ) -> Done:
        """One git command, ended well or not."""
        env = self.env(index=index, tree=tree)
        return capture([*git_argv(), *words], env=env, cwd=tree, stdin=stdin)

    def git(
        self, *words: str, index: Path | None = None, tree: Path | None = None, stdin: bytes = b""
    ) -> str:
        """One quick git command.  Raises EnvironmentFault when it fails."""
        done = self.attempt(*words, index=index, tree=tree, stdin=stdin)
        if done.status:
            raise EnvironmentFault(
                f"{self.folder}: git {words[0]} failed: {done.complaint}",
                hint="a store that is damaged can be removed: it is fetched again",
            )
        return done.text

    def has(self, tree: str) -> bool:
        return self.attempt("cat-file", "-e", f"{tree}^{{tree}}").status == 0

    def keep(self, tree: str, key: str) -> None:
        """Hold ``tree`` by a ref, so that no clean-up ever takes it."""
        commit = self.git("commit-tree", tree, "-m", key)
        self.git("update-ref", f"refs/sources/{key}", commit)

    def import_folder(
        self, folder: Path, index: Path, *, ignored: bool, without: Sequence[str] = ()
    ) -> str:
        """The tree id of all that is in ``folder``; ``index`` remembers what was read.

        ``ignored`` takes files that .gitignore names too, as for an unpacked release;
        ``without`` are patterns of what is left out all the same.
        Writes nothing in ``folder``.
        """
        force = ["-f"] if ignored else []
        exclude = {"core.excludesFile": str(folder / ".git/info/exclude")}
        settings = _SETTINGS if ignored else _SETTINGS | exclude
        index.with_name(index.name + ".lock").unlink(missing_ok=True)
        work(
            [
                *(*git_argv(settings), "add", "-A", *force, "--", "."),
                *(f":(exclude,glob){pattern}" for pattern in without),
            ],
            f"cannot read {folder}",
            env=self.env(index=index, tree=folder),
            cwd=folder,
        )
        return self.git("write-tree", index=index)

    def check_kernel(self, tree: str, label: str) -> None:
        """Raises UsageError unless ``tree`` looks like a kernel's source."""
        for name in _KERNEL_FILES:
            if self.attempt("cat-file", "-e", f"{tree}:{name}").status:
                raise UsageError(f"{label}: not a kernel source tree: it has no {name}")

    def check_out(self, tree: str, folder: Path, index: Path) -> None:
        """Make ``folder`` hold ``tree``: touches only the files that differ from what is there.

        ``--reset`` also mends a folder that an interrupted call left half way.
        """
        folder.mkdir(parents=True, exist_ok=True)
        index.with_name(index.name + ".lock").unlink(missing_ok=True)
        work(
            [*git_argv(), "read-tree", "--reset", "-u", tree],
            f"cannot write the source tree {folder}",
            env=self.env(index=index, tree=folder),
            cwd=folder,
        )

    def changed(self, old: str, new: str) -> list[str]:
        """Paths that differ between two trees."""
        if old == new:
            return []
        out = self.git("diff-tree", "-r", "-z", "--name-only", "--no-renames", old, new)
        return [path for path in out.split("\0") if path]
