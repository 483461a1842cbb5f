"""Running the tools that a kernel build stands on: git, tar, apt, dpkg, make."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness import proc
from harness.errors import EnvironmentFault, UsageError
from harness.progress import Progress

PACKAGES = {
    "apt-get": "apt",
    "bc": "bc",
    "bison": "bison",
    "dpkg-deb": "dpkg",
    "flex": "flex",
    "gcc": "gcc",
    "git": "git",
    "ld": "binutils",
    "make": "make",
    "mmdebstrap": "mmdebstrap",
    "perl": "perl",
    "rsync": "rsync",
    "tar": "tar",
    "xz": "xz-utils",
}
"""The Debian package that has each tool."""

_KEPT = ("HOME", "LOGNAME", "PATH", "TMPDIR", "USER")


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    status: int
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        return self.out.decode("utf-8", "replace").strip()

    @property
    def complaint(self) -> str:
        return self.err.decode("utf-8", "replace").strip()


def environment(**more: str) -> dict[str, str]:
    """What tools see: English messages, and none of the caller's MAKEFLAGS, ARCH, GIT_DIR..."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return kept | {"LC_ALL": "C.UTF-8", "LANGUAGE": "C"} | more


def require(*names: str) -> None:
    """Raises EnvironmentFault that names every tool that is not installed."""
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        packages = " ".join(sorted({PACKAGES.get(name, name) for name in missing}))
        raise EnvironmentFault(
            f"not installed on this host: {', '.join(missing)}",
            hint=f"sudo apt-get install {packages} (other systems: see `harness doctor`)",
        )


def capture(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes = b"",
) -> Done:
    """Run a command that takes no more than seconds, and keep what it prints."""
    try:
        done = subprocess.run(
            argv, env=env or environment(), cwd=cwd, input=stdin, capture_output=True, check=False
        )
    except FileNotFoundError:
        require(argv[0])
        raise EnvironmentFault(f"cannot run {argv[0]} in {cwd}") from None
    return Done(done.returncode, done.stdout, done.stderr)


def work(
    argv: Sequence[str],
    what: str,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    on_line: Callable[[str], None] | None = None,
) -> list[str]:
    """Run a command that can take long; it ends with the harness.  Gives its lines.

    Raises EnvironmentFault that says ``what`` failed, with the last lines printed.
    """
    require(argv[0])
    lines: list[str] = []

    def keep(line: str) -> None:
        lines.append(line)
        if on_line:
            on_line(line)

    status = proc.run(argv, cwd=cwd, env=env or environment(), on_line=keep)
    if status:
        raise EnvironmentFault(
            f"{what}: {argv[0]} ended with status {status}\n{tail(lines, 8)}",
            hint=_room_hint(lines),
        )
    return lines


def tail(lines: Sequence[str], count: int) -> str:
    """The last lines, indented, without what a terminal would take for a command."""
    printable = [re.sub(r"[^\t\x20-\x7e\xa0-\U0010ffff]", "?", line) for line in lines[-count:]]
    return "\n".join(f"    {line}" for line in printable if line.strip())


def _room_hint(lines: Sequence[str]) -> str:
    full = any("No space left on device" in line for line in lines)
    return "free some disk space, or set HUGETLB_HARNESS_CACHE to a larger disk" if full else ""


def check_room(folder: Path, needed: int) -> None:
    """Raises EnvironmentFault when ``folder``'s disk has less than ``needed`` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise EnvironmentFault(
            f"{folder}: {free / 2**30:.1f} GiB free, {needed / 2**30:.1f} GiB needed",
            hint="free some disk space, or set HUGETLB_HARNESS_CACHE to a folder on a larger disk",
        )


def digest(*parts: str | bytes) -> str:
    """SHA-256 over ``parts`` with their lengths, so that no two lists give the same bytes."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        whole.update(b"%d:" % len(data) + data)
    return whole.hexdigest()


def file_digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None


def write_whole(path: Path, text: str) -> None:
    """Write ``path`` so that it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    Path(name).replace(path)


def fresh(folder: Path) -> Path:
    """``folder``, made empty."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder


@contextmanager
def try_locked(path: Path) -> Iterator[bool]:
    """Hold ``path`` alone if nobody does; says whether that went well."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


@contextmanager
def locked(path: Path, progress: Progress, what: str) -> Iterator[None]:
    """Hold ``path`` alone; says so when another harness holds it.  Freed when we die."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say(f"waiting for another harness that is at work on {what}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
