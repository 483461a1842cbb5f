"""Debian packages of any suite, by a private apt state: the system's own is only read."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness import proc
from harness.errors import EnvironmentFault, UsageError
from harness.kernel.tools import capture, environment, fresh, locked, tail, work
from harness.progress import Progress

_OTHER_SOURCES = "declare another source in the kernel's YAML file: tarball:, git: or tree:"
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+:~_-]*")


@dataclass(frozen=True)
class Package:
    """One version of a package, as apt knows it."""

    name: str
    version: str
    sha256: str
    depends: str


@dataclass(frozen=True)
class Apt:
    """A private state for one suite.  Made by ``Apt.opened``."""

    folder: Path
    suite: str
    options: tuple[str, ...]

    @classmethod
    @contextmanager
    def opened(cls, cache: Path, suite: str, progress: Progress) -> Iterator[Apt]:
        """Hold the state alone, with fresh package lists of ``suite`` and its security suite.

        Raises EnvironmentFault where there is no apt, no mirror, or no network.
        """
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            raise EnvironmentFault(
                f"no apt on this host, so no packages of {suite}", hint=_OTHER_SOURCES
            )
        _check(suite)
        folder = cache / "apt" / suite
        with locked(cache / "locks" / f"apt-{suite}", progress, f"packages of {suite}"):
            yield cls._updated(folder, suite)

    @classmethod
    def _updated(cls, folder: Path, suite: str) -> Apt:
        for name in ("state/lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        lines = sources_list(suite)
        (folder / "sources.list").write_text("\n".join(lines) + "\n", encoding="utf-8")
        values = {
            "Dir::State": folder / "state",
            "Dir::State::lists": folder / "state/lists",
            "Dir::Cache": folder / "cache",
            "Dir::Cache::archives": folder / "cache/archives",
            "Dir::Etc::sourcelist": folder / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            # The user _apt cannot reach a cache below a home folder.
            "APT::Sandbox::User": "root",
            "APT::Architecture": "amd64",
            "APT::Architectures": "amd64",
            "Acquire::Languages": "none",
            "Acquire::Retries": "2",
        }
        options = [word for key, value in values.items() for word in ("-o", f"{key}={value}")]
        apt = cls(folder, suite, tuple(options))
        said: list[str] = []
        # Not fatal: a suite may have no security suite, and old lists may do.
        proc.run(["apt-get", *options, "update"], env=environment(), on_line=said.append)
        (folder / "update.log").write_text("\n".join(said), encoding="utf-8")
        return apt

    def find(self, name: str, version: str = "") -> Package:
        """``version`` of a package, or the newest."""
        _check(name)
        wanted = f"{name}={version}" if version else name
        if version:
            _check(version)
        argv = ["apt-cache", *self.options, "show", "--no-all-versions", wanted]
        stanza = _fields(capture(argv).text.split("\n\n")[0])
        if not stanza.get("Version"):
            said = (self.folder / "update.log").read_text(encoding="utf-8").splitlines()
            why = [line for line in said if line.startswith(("E:", "W:", "Err:"))]
            raise EnvironmentFault(
                f"the mirror has no package {wanted} in suite {self.suite}\n{tail(why, 4)}".rstrip()
            )
        return Package(name, stanza["Version"], stanza.get("SHA256", ""), stanza.get("Depends", ""))

    def unpack(self, package: Package, target: Path) -> None:
        """Download the package, checked by apt against the signed lists, and unpack it."""
        folder = fresh(self.folder / "download" / package.name)
        wanted = f"{package.name}={package.version}"
        work(
            ["apt-get", *self.options, "download", wanted],
            f"cannot download {wanted} of {self.suite}",
            cwd=folder,
        )
        file = next(folder.glob("*.deb"))
        work(["dpkg-deb", "-x", str(file), str(target)], f"cannot unpack {file.name}")
        shutil.rmtree(folder)


def sources_list(suite: str) -> list[str]:
    """The lines for ``suite`` and its security suite, of the mirrors that the system uses."""
    _check(suite)
    archive, security = mirrors(_declared())
    lines = [f"deb {archive} {suite} main"]
    if security:
        lines.append(f"deb {security} {suite}-security main")
    return lines


def _check(word: str) -> None:
    if not _WORD.fullmatch(word):
        raise UsageError(f"{word!r} is no name of a Debian package, suite or version")


def _fields(stanza: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in stanza.splitlines() if not line.startswith(" "))
    return {key: value.strip() for key, _, value in pairs}


def _declared(etc: Path = Path("/etc/apt")) -> str:
    """All source declarations of the system's apt, as one text per file, NUL between them."""
    files = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]
    texts = []
    for file in files:
        if file.suffix in (".list", ".sources") and file.is_file():
            texts.append(file.read_text(encoding="utf-8", errors="replace"))
    return "\0".join(texts)


def mirrors(declared: str) -> tuple[str, str]:
    """The URIs of Debian's archive and security mirrors ("" where none) among ``declared``.

    ``apt-get indextargets`` would tell too, but only after an ``apt-get update``.
    """
    found = list(_entries(declared))
    security = [uri for uri, suite in found if suite.endswith(("-security", "/updates"))]
    archive = [
        uri for uri, suite in found if uri not in security and "debian" in uri.rpartition("//")[2]
    ]
    if not archive:
        raise EnvironmentFault(
            "apt on this host names no Debian mirror, so no Debian kernel can be had",
            hint=_OTHER_SOURCES,
        )
    return archive[0], security[0] if security else ""


def _entries(declared: str) -> Iterator[tuple[str, str]]:
    """(URI, suite) of each ``deb`` line and deb822 stanza that is switched on."""
    for text in declared.split("\0"):
        kept = [line for line in text.splitlines() if not line.startswith("#")]
        for line in kept:
            words = re.sub(r"\[[^]]*\]", "", line).split()
            if len(words) > 3 and words[0] == "deb" and "main" in words[3:]:
                yield words[1], words[2]
        for stanza in re.split(r"\n\s*\n", "\n".join(kept)):
            known = {key.lower(): value for key, value in _fields(stanza).items()}
            if "deb" not in known.get("types", "").split() or known.get("enabled") == "no":
                continue
            if "main" in known.get("components", "").split():
                for uri in known.get("uris", "").split():
                    for suite in known.get("suites", "").split():
                        yield uri, suite
