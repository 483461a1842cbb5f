"""One run of the kernel's own make, and what to say when it fails."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import proc
from harness.errors import CompileError, EnvironmentFault, HarnessError
from harness.kernel.tools import capture, environment, require, tail
from harness.kernel.workspace import Workspace
from harness.progress import Progress

TOOLS = ("make", "gcc", "ld", "flex", "bison", "bc", "perl", "tar", "xz")
COLD_ROOM = 4 << 30
"""Bytes that a cold build takes: objects with debug information, and vmlinux three times."""

_CCACHE_SIZE = "5G"
_WIDE = re.compile(r"  (?P<step>[A-Z][A-Z0-9_]*)\s+(?:\[M\]\s+)?(?P<what>\S+)")
_ERROR = re.compile(r"(?P<file>[^\s:]+):\d+(?::\d+)?: (?:fatal )?error: (?P<text>.*)")
_MISSING = re.compile(
    r"(?:^|[ /])(?P<tool>flex|bison|bc|perl|gawk|rsync|cpio): (?:command )?not found"
)
_LINK = re.compile(r"(?P<file>[\w./-]+)\.o: in function|(?P<multiple>multiple definition of .*)")
_STOP = re.compile(r"make\S*: \*\*\* \[[^\]]*?(?P<file>[\w./-]+)\.o\] Error")
_HEADERS = {
    "gelf.h": "libelf-dev",
    "libelf.h": "libelf-dev",
    "openssl/": "libssl-dev",
    "gmp.h": "libgmp-dev",
}


@dataclass(frozen=True)
class Toolchain:
    """The version lines of compiler and linker: they are part of what a kernel is."""

    compiler: str
    linker: str


def toolchain() -> Toolchain:
    """Raises EnvironmentFault that names the tools that are missing."""
    require(*TOOLS)
    found = [capture([name, "--version"]).text.partition("\n")[0] for name in ("gcc", "ld")]
    return Toolchain(*found)


def tools_there() -> bool:
    return all(shutil.which(name) for name in TOOLS)


def make_env(cache: Path) -> dict[str, str]:
    """ccache, as it is when nobody asks more of it.

    Not in its depend mode, which does not look into what it compiles: piggy.S and configs.c take
    in a file by .incbin, and a kernel whose compressed size was that of another one got the other
    one's image.  The namespace leaves what was kept in that mode behind.  And without a base_dir,
    which gives the compiler ``../tree/mm/rmap.c``: that name would stand in lines and in BUG().
    """
    return environment(
        ARCH="x86_64",
        CCACHE_DIR=str(cache / "ccache"),
        CCACHE_NAMESPACE="no-depend",
        CCACHE_MAXSIZE=_CCACHE_SIZE,
    )


def make_argv(space: Workspace, jobs: int) -> list[str]:
    """Everything that could make two builds of one content differ is fixed here."""
    prefix = f"-fdebug-prefix-map={space.tree}/= -fdebug-prefix-map={space.build}=."
    return [
        "make",
        *("-C", str(space.tree)),
        f"O={space.build}",
        f"-j{jobs}",
        f"CC={'ccache gcc' if shutil.which('ccache') else 'gcc'}",
        "ARCH=x86_64",
        "LOCALVERSION=",  # set, even if empty: or setlocalversion asks git, and adds a "+"
        "KBUILD_BUILD_TIMESTAMP=1970-01-01 00:00:00Z",
        "KBUILD_BUILD_USER=harness",
        "KBUILD_BUILD_HOST=harness",
        "KBUILD_BUILD_VERSION=1",
        f"KCFLAGS={prefix}",
        f"KAFLAGS={prefix}",
        "bzImage",
    ]


def make(
    space: Workspace,
    *,
    name: str,
    jobs: int,
    env: Mapping[str, str],
    log: Path,
    touched: Mapping[str, Sequence[str]],
    progress: Progress,
) -> None:
    """Build ``bzImage`` and ``vmlinux``.

    ``touched`` tells which patches touched which path.  Raises CompileError for the kernel's
    fault and EnvironmentFault for the host's; both name ``log``.
    """
    lines: list[str] = []
    count = 0
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    with progress.stage(f"building {name} (make -j{jobs})") as stage:

        def look(line: str) -> None:
            nonlocal count
            lines.append(line)
            if match := _WIDE.match(line):
                count += match["step"] in ("CC", "AS")
                stage.note(f"{count} files compiled, {match['step']} {match['what']}")

        status = proc.run(make_argv(space, jobs), env=env, log=log, on_line=look)
    if status:
        raise failure(name, lines, log, touched, roots=(space.tree, space.build))


def failure(
    name: str,
    lines: Sequence[str],
    log: Path,
    touched: Mapping[str, Sequence[str]],
    roots: Sequence[Path] = (),
) -> HarnessError:
    """What a failed make comes to: whose fault, which file, which patch."""
    kept = f"last lines of {log}:\n{tail(_telling(lines), 15)}"
    if any("No space left on device" in line for line in lines):
        return EnvironmentFault(
            f"{name}: the disk is full; {kept}",
            hint="free some disk space, or set HUGETLB_HARNESS_CACHE to a larger disk",
        )
    if package := _missing_package(lines):
        return EnvironmentFault(
            f"{name}: the build needs {package}, which is not installed; {kept}",
            hint=f"sudo apt-get install {package}",
        )
    file, text = _first_error(lines, roots)
    if not file:
        return CompileError(f"{name}: the kernel does not build; {kept}")
    sure = touched.get(file, ())
    blame = f"\n  touched by the patch {' and '.join(sure)}" if sure else ""
    return CompileError(f"{name}: {file} does not compile: {text}{blame}\n  {kept}")


def _telling(lines: Sequence[str]) -> list[str]:
    """The lines from the first error on, where it is not near the end; else all."""
    for number, line in enumerate(lines):
        if _ERROR.search(line):
            return list(lines[max(0, number - 3) : number + 12])
    return list(lines)


def _missing_package(lines: Sequence[str]) -> str:
    for line in lines:
        if match := _MISSING.search(line):
            return match["tool"]
        if "No such file or directory" in line and "error:" in line:
            for header, package in _HEADERS.items():
                if header in line:
                    return package
        if "please install libelf-dev" in line:
            return "libelf-dev"
    return ""


def _first_error(lines: Sequence[str], roots: Sequence[Path]) -> tuple[str, str]:
    """The first file that did not compile or link, relative to the tree, and the words."""
    for line in lines:
        if match := _ERROR.search(line):
            return _relative(match["file"], roots), match["text"]
    for pattern in (_LINK, _STOP):
        for number, line in enumerate(lines):
            if (match := pattern.search(line)) and match["file"]:
                said = next((x for x in lines[number:] if "undefined reference" in x), line)
                return _relative(match["file"] + ".c", roots), said.strip()
    return "", ""


def _relative(file: str, roots: Sequence[Path]) -> str:
    for root in roots:
        if file.startswith(f"{root}{os.sep}"):
            return file[len(str(root)) + 1 :]
    return file.removeprefix("./")
