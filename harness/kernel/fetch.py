"""Getting sources that are elsewhere into the store: Debian packages, tarballs, git."""

from __future__ import annotations

import hashlib
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from harness.errors import EnvironmentFault, UsageError
from harness.kernel.apt import Apt
from harness.kernel.store import Store, git_argv
from harness.kernel.tools import capture, check_room, environment, fresh, require, work
from harness.progress import Progress, Stage
from harness.spec.kernel import DebianSource, GitSource, Tarball

IMPORT_ROOM = 3 << 30
"""Bytes that an unpacked kernel takes, in the store and as a tree, with some to spare."""

_CHUNK = 1 << 20
_TIMEOUT = 60.0
"""Seconds without a byte after which a download is given up."""


def import_place(cache: Path, key: str) -> Path:
    """Where an unpacked source waits: ``tree``, its ``index``, and ``done`` when it is whole."""
    return cache / "import" / key


def fetch_debian(
    source: DebianSource, store: Store, key: str, cache: Path, progress: Progress
) -> tuple[str, str]:
    """Tree id and label of a ``linux-source-*`` package."""
    check_room(cache, IMPORT_ROOM)
    place = fresh(import_place(cache, key))
    with (
        progress.stage(f"fetching {source.package} of {source.suite}") as stage,
        Apt.opened(cache, source.suite, progress) as apt,
    ):
        package = apt.find(source.package, source.version)
        stage.note(package.version)
        apt.unpack(package, place / "deb")
    with progress.stage(f"unpacking {source.package} {package.version}"):
        tarballs = sorted((place / "deb/usr/src").glob("linux-source-*.tar.*"))
        if not tarballs:
            raise UsageError(f"{source.package}: no usr/src/linux-source-*.tar.* in it")
        _untar(tarballs[0], place)
        shutil.rmtree(place / "deb")
    return _import(place, store, progress), f"Debian {source.package} {package.version}"


def fetch_tarball(
    source: Tarball, store: Store, key: str, cache: Path, progress: Progress
) -> tuple[str, str]:
    """Tree id and label of a tarball.  Raises UsageError when its SHA-256 is another."""
    name = source.url.rpartition("/")[2]
    check_room(cache, IMPORT_ROOM)
    place = fresh(import_place(cache, key))
    file = place / "source.tar"
    with progress.stage(f"fetching {name}") as stage, file.open("wb") as out:
        seen = hashlib.sha256()
        for data in _download(source.url, stage):
            seen.update(data)
            out.write(data)
    if seen.hexdigest() != source.sha256:
        shutil.rmtree(place)
        raise UsageError(
            f"{source.url}: SHA-256 is {seen.hexdigest()}, declared is {source.sha256}",
            hint="correct sha256: in the kernel's YAML file, if the tarball is the one you want",
        )
    with progress.stage(f"unpacking {name}"):
        _untar(file, place)
        file.unlink()
    return _import(place, store, progress), f"tarball {name}"


def _download(url: str, stage: Stage) -> Iterator[bytes]:
    """The bytes at an ``http(s)://`` or ``file://`` URL or a path."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("", "file", "http", "https"):
        raise UsageError(f"{url}: expected an http://, https:// or file:// URL, or a path")
    try:
        if parts.scheme.startswith("http"):
            with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:
                yield from _chunks(answer, int(answer.headers.get("Content-Length") or 0), stage)
        else:
            path = urllib.request.url2pathname(parts.path) if parts.scheme else url
            with Path(path).expanduser().open("rb") as file:
                yield from _chunks(file, 0, stage)
    except FileNotFoundError:
        raise UsageError(f"{url}: no such file") from None
    except (OSError, urllib.error.URLError) as error:
        raise EnvironmentFault(f"{url}: cannot be fetched: {error}") from None


def _chunks(file: BinaryIO, total: int, stage: Stage) -> Iterator[bytes]:
    done = 0
    while data := file.read(_CHUNK):
        done += len(data)
        of = f" of {total >> 20}" if total else ""
        stage.note(f"{done >> 20}{of} MiB")
        yield data
    if done < total:
        raise EnvironmentFault(f"the server ended after {done} of {total} bytes")


def _untar(file: Path, place: Path) -> None:
    """Unpack ``file`` to ``place/tree``, without the one folder that a tarball has around it."""
    raw = fresh(place / "raw")
    argv = ["tar", "--no-same-owner", "--no-same-permissions", "-C", str(raw)]
    with file.open("rb") as head:
        xz = head.read(6) == b"\xfd7zXZ\0"
    if xz:
        require("xz")
    packer = ["-I", "xz -dT0"] if xz else []
    work([*argv, *packer, "-xf", str(file)], f"cannot unpack {file.name}")
    inside = list(raw.iterdir())
    whole = len(inside) == 1 and inside[0].is_dir()
    (inside[0] if whole else raw).rename(place / "tree")
    if whole:
        raw.rmdir()


def _import(place: Path, store: Store, progress: Progress) -> str:
    with progress.stage("reading the source into the content store"):
        tree = store.import_folder(place / "tree", place / "index", ignored=True)
    (place / "done").touch()
    return tree


def remote_commit(source: GitSource) -> tuple[str, str]:
    """What ``source.ref`` is ("tag", "branch", "commit"), and the commit it stands for.

    Raises EnvironmentFault when the repository cannot be asked, UsageError when it has no such ref.
    """
    if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", source.ref):
        return "commit", source.ref
    tag, branch = f"refs/tags/{source.ref}", f"refs/heads/{source.ref}"
    asked = capture(
        ["git", "ls-remote", "--", _url(source), tag, tag + "^{}", branch, source.ref],
        env=_network(),
    )
    if asked.status:
        raise EnvironmentFault(f"{source.url}: git cannot reach it: {asked.complaint}")
    found = dict(line.split("\t")[::-1] for line in asked.text.splitlines())
    for name, kind in ((tag + "^{}", "tag"), (tag, "tag"), (branch, "branch"), (source.ref, "ref")):
        if name in found:
            return kind, found[name]
    raise UsageError(f"{source.url}: there is no tag, branch or commit {source.ref!r}")


def fetch_git(source: GitSource, store: Store, progress: Progress) -> tuple[str, str]:
    """Tree id and commit id of ``source.ref``, fetched without its history."""
    holder = "refs/fetched/" + hashlib.sha256(f"{source.url}\0{source.ref}".encode()).hexdigest()
    with progress.stage(f"fetching {source.ref} of {source.url}") as stage:
        work(
            [
                *git_argv(),
                *("fetch", "--progress", "--no-tags", "--depth", "1", "--no-write-fetch-head"),
                *("--", _url(source), f"+{source.ref}:{holder}"),
            ],
            f"cannot fetch {source.ref} of {source.url}",
            env=_network(GIT_DIR=str(store.folder)),
            on_line=lambda line: stage.note(line.rpartition("\r")[2]),
        )
    return store.git("rev-parse", f"{holder}^{{tree}}"), store.git(
        "rev-parse", f"{holder}^{{commit}}"
    )


def _url(source: GitSource) -> str:
    """A path becomes a URL: git ignores --depth for a path."""
    path = Path(source.url).expanduser()
    return path.resolve().as_uri() if path.is_dir() else source.url


def _network(**more: str) -> dict[str, str]:
    """The user's own git configuration counts here (proxies, keys); nothing may ask questions."""
    return environment(GIT_TERMINAL_PROMPT="0", GIT_SSH_COMMAND="ssh -oBatchMode=yes", **more)
