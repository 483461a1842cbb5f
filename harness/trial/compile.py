"""A reproducer's C file to a static binary, found again by content."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from harness.elf import loaded
from harness.errors import CompileError, EnvironmentFault, UsageError
from harness.paths import PROJECT, cache_dir
from harness.spec.case import TestCase
from harness.trial import launch

LIBRARY = PROJECT / "testcases" / "lib"

FLAGS = ("-O2", "-s", "-static", "-pthread", "-std=gnu11", "-I", str(LIBRARY))
WARNINGS = ("-Wall", "-Wextra")
"""For our own reproducers; a foreign file (syzbot's are machine-written) is compiled with -w."""


@dataclass(frozen=True)
class Identity:
    """Which reproducer it was: counts of two that differ are not of one thing.

    ``id`` is a digest of what runs: the code and data that are loaded, and the arguments.  It is
    the same from every folder, and after a change of comments; another compiler makes another one.
    ``binary`` and ``source`` are SHA-256 of the file that is pushed, and of the C file alone; a
    payload has no source.  All are empty where there is nothing to be read.
    """

    id: str
    binary: str
    source: str


def identity(case: TestCase, binary: Path) -> Identity:
    """That of ``binary``, which binary_of() gave for ``case``."""
    source = None if case.payload else case.reproducer
    return _identity(binary, _stamp(binary), source, _stamp(source), case.args)


@functools.lru_cache(maxsize=1024)
def _identity(
    binary: Path, _: int, source: Path | None, __: int, args: tuple[str, ...]
) -> Identity:
    whole = _sha256(binary)
    runs = f"{loaded(binary) or whole}\0" + "\0".join(args)
    short = hashlib.sha256(runs.encode()).hexdigest()[:20] if whole else ""
    return Identity(short, whole, _sha256(source))


def _stamp(file: Path | None) -> int:
    """When ``file`` was changed: what is known of it does not outlive that."""
    try:
        return file.stat().st_mtime_ns if file else 0
    except OSError:
        return 0


def _sha256(file: Path | None) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest() if file else ""
    except OSError:
        return ""


def binary_of(case: TestCase) -> Path:
    """What is pushed to a guest: the compiled reproducer, or the archive of a payload."""
    if case.payload:
        return launch.pack(case)
    return compile_reproducer(case.reproducer, foreign=case.foreign)


def compile_reproducer(source: Path, *, foreign: bool = False, cache: Path | None = None) -> Path:
    """The binary of ``source``, linked with what it uses of testcases/lib.

    The library is linked as an archive, so that a file that defines such names itself keeps
    its own.  Raises UsageError, CompileError, or EnvironmentFault where there is no compiler.
    """
    try:
        text = source.read_bytes()
    except OSError as error:
        raise UsageError(f"{source}: cannot be read: {error.strerror}") from None
    if b"\0" in text or source.suffix != ".c":
        raise UsageError(f"{source}: expected a C source file (*.c)")
    gcc = _tool("gcc", "gcc libc6-dev")
    own = (*FLAGS, *(("-w",) if foreign else WARNINGS))
    library = sorted(LIBRARY.glob("*.[ch]"))
    digest = _digest(gcc, own, source, library)
    binary = (cache or cache_dir()) / "reproducers" / digest[:16] / source.stem
    if binary.is_file():
        return binary
    binary.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=binary.parent) as scratch:
        objects = []
        for file in library:
            if file.suffix == ".c":
                objects.append(f"{scratch}/{file.stem}.o")
                _run([gcc, *FLAGS, *WARNINGS, "-c", str(file), "-o", objects[-1]], file)
        archive = f"{scratch}/librepro.a"
        _run([_tool("ar", "binutils"), "rcs", archive, *objects], source)
        out = f"{scratch}/{source.stem}"
        _run([gcc, *own, str(source), archive, "-o", out], source)
        Path(out).replace(binary)
    return binary


def _digest(gcc: str, flags: tuple[str, ...], source: Path, library: list[Path]) -> str:
    version = _run([gcc, "--version"], source).splitlines()[:1]
    sha = hashlib.sha256(repr((flags, version, source.name)).encode())
    # Preprocessed: whatever it includes, from wherever, is part of what is run.
    sha.update(_run([gcc, *flags, "-E", str(source)], source).encode() + b"\0")
    for file in library:
        sha.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return sha.hexdigest()


def _run(argv: list[str], source: Path) -> str:
    env = dict(os.environ, LC_ALL="C")
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, errors="replace", env=env, timeout=300
        )
    except subprocess.TimeoutExpired:
        raise CompileError(f"{source}: {argv[0]} did not end within 300 s") from None
    if done.returncode == 0:
        return done.stdout
    said = done.stderr.strip().splitlines()
    if any("No space left on device" in line for line in said):
        raise EnvironmentFault(f"{source}: no space left on the disk of the cache")
    errors = [line for line in said if "error:" in line or "undefined reference" in line]
    shown = "\n    ".join((errors or said)[:5])
    raise CompileError(f"{source}: does not compile:\n    {shown}")


def _tool(name: str, packages: str) -> str:
    path = shutil.which(name)
    if not path:
        raise EnvironmentFault(
            f"{name} is needed to compile reproducers",
            hint=f"apt-get install {packages}; harness doctor names the packages elsewhere",
        )
    return path
