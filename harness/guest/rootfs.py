"""The root file system of a guest: an initramfs made of the host's own programs, without root.

It is declared in guests/rootfs/initramfs.yaml and found again in the cache by its content.
It is not compressed: a kernel with KASAN takes seconds to gunzip under emulation what it
copies in a fraction of one.
"""

from __future__ import annotations

import functools
import hashlib
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import InterpSegment

from harness.errors import CompileError, EnvironmentFault, SpecError, UsageError
from harness.guest import cpio, debian
from harness.kernel.built import BuiltKernel
from harness.paths import PROJECT, cache_dir
from harness.spec.reader import View, load

DECLARATION = PROJECT / "guests" / "rootfs" / "initramfs.yaml"
MODULES = "lib/modules/load"
"""Where init finds the modules to load, one path a line."""
BASE = "/sbin/agent"
_FLAGS = ("-Os", "-s", "-static", "-Wall", "-Wextra", "-std=gnu11")
_SYSTEM_PATH = ":/usr/local/sbin:/usr/sbin:/sbin"  # often not on the PATH of a person
_LIBRARY_PATHS = (
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
)


@dataclass(frozen=True)
class RootSpec:
    """What goes in: paths in the guest, to programs of the host, files, and link targets.

    ``sources`` are C files of our own, compiled statically; ``applets`` is the path in the guest
    of a busybox that gets a link for each of its applets.
    """

    file: Path
    programs: tuple[tuple[str, str], ...]
    sources: tuple[tuple[str, Path], ...]
    files: tuple[tuple[str, Path], ...]
    links: tuple[tuple[str, str], ...]
    applets: str = ""


def load_root(file: Path = DECLARATION) -> RootSpec:
    view = load(file)
    view.text("about", "")
    programs = tuple((path, inner.text(path)) for path, inner in view.pairs("programs"))
    sources, files = _beside(view, "sources"), _beside(view, "files")
    links = tuple((path, inner.text(path)) for path, inner in view.pairs("links"))
    applets = view.text("applets", "")
    if applets and applets not in dict(programs):
        view.fail("applets", "the path of one of the programs", repr(applets))
    view.done()
    for path, _ in (*programs, *sources, *files, *links):
        if not path.startswith("/") or ".." in path.split("/"):
            raise SpecError(f"{file}: {path!r}: expected an absolute path in the guest")
    return RootSpec(file, programs, sources, files, links, applets)


def _beside(view: View, key: str) -> tuple[tuple[str, Path], ...]:
    """Paths in the guest, to files that lie beside the declaration."""
    found = []
    for path, inner in view.pairs(key):
        source = view.file.parent / inner.text(path)
        if not source.is_file():
            inner.fail(path, f"a file beside {view.file.name}", str(source))
        found.append((path, source))
    return tuple(found)


_MADE: dict[tuple[Path | None, str], Path] = {}
"""By the kernel's modules and the root: made once, not for each of a thousand guests."""


def initramfs(kernel: BuiltKernel, spec: RootSpec | None = None, root: str = "") -> Path:
    """The cached archive for ``kernel``, made where there is none.  It holds no secret.

    ``root`` is laid beside it (debian.py).  Its name is the hash of its content.  Raises
    EnvironmentFault for a program that the host lacks.
    """
    known = (kernel.modules, root)
    if spec is None and (made := _MADE.get(known)) and made.is_file():
        return made
    content = cpio.archive(_entries(spec or load_root(), kernel.modules))
    if root:
        content += debian.content(root)
    digest = hashlib.sha256(content).hexdigest()
    kept = cache_dir() / "rootfs" / f"{digest[:24]}.cpio"
    if not kept.is_file():
        _write(kept, content)
    if spec is None:
        _MADE[known] = kept
    return kept


@functools.cache
def base() -> bytes:
    """A program that each guest of our own has: its parts need not be brought (delta.py)."""
    return _compiled(dict(load_root().sources)[BASE])


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all; several threads and harnesses may write the same at once."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        raise EnvironmentFault(f"cannot write {path}: {error.strerror}") from None


def _compiled(source: Path) -> bytes:
    """A static program of ``source``, found again by its text and the compiler's."""
    gcc = shutil.which("gcc")
    if gcc is None:
        raise EnvironmentFault(
            f"gcc is needed to compile {source}", hint="harness doctor names the packages"
        )
    compiler = Path(gcc).resolve().stat()
    about = f"{_FLAGS} {gcc} {compiler.st_size} {compiler.st_mtime_ns}\n".encode()
    digest = hashlib.sha256(about + source.read_bytes()).hexdigest()
    kept = cache_dir() / "rootfs" / f"{digest[:24]}-{source.stem}"
    if not kept.is_file():
        with tempfile.TemporaryDirectory() as scratch:
            program = Path(scratch) / source.stem
            argv = [gcc, *_FLAGS, str(source), "-o", str(program)]
            done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
            if done.returncode:
                raise CompileError(f"{source}: does not compile:\n{done.stderr.strip()[:2000]}")
            _write(kept, program.read_bytes())
    return kept.read_bytes()


def _entries(spec: RootSpec, modules: Path | None) -> Iterator[cpio.Entry]:
    for name in ("dev", "proc", "sys", "tmp", "run"):
        yield cpio.folder(name)
    for name in ("root", "root/.ssh", "etc/dropbear"):  # where the agent puts what it is given
        yield cpio.folder(name, 0o700)
    libraries: dict[str, Path] = {}
    for path, program in spec.programs:
        found = shutil.which(program, path=os.environ.get("PATH", os.defpath) + _SYSTEM_PATH)
        if found is None:
            raise EnvironmentFault(
                f"{spec.file}: this host has no {program}, which {path} in the guest is made of",
                hint="apt install busybox-static dropbear-bin",
            )
        yield cpio.file(path, Path(found).read_bytes(), 0o755)
        libraries |= needed_libraries(Path(found))
        if path == spec.applets:
            yield from _applets(path, Path(found))
    for path, source in spec.sources:
        yield cpio.file(path, _compiled(source), 0o755)
    for name, library in sorted(libraries.items()):
        yield cpio.file(name, library.read_bytes(), 0o755)
    for path, source in spec.files:
        yield cpio.file(path, source.read_bytes(), source.stat().st_mode & 0o755)
    for path, target in spec.links:
        yield cpio.link(path, target)
    if modules is not None:
        yield from _modules(modules)


def _applets(path: str, busybox: Path) -> Iterator[cpio.Entry]:
    listing = subprocess.run(
        [busybox, "--list"], capture_output=True, text=True, timeout=20, check=True
    )
    for name in listing.stdout.split():
        if name != Path(path).name:
            yield cpio.link(f"{Path(path).parent}/{name}", Path(path).name)


def _modules(modules: Path) -> Iterator[cpio.Entry]:
    listing = modules / "modules.load"
    try:
        names = listing.read_text(encoding="utf-8").split()
        yield cpio.file(MODULES, "".join(f"/lib/modules/{n}\n" for n in names).encode())
        for name in names:
            yield cpio.file(f"lib/modules/{name}", (modules / name).read_bytes())
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}: a module the guest needs") from None


@functools.cache
def own_libraries() -> tuple[str, ...]:
    """Paths in the guest of the libraries that every initramfs has, the dynamic linker included."""
    path = os.environ.get("PATH", os.defpath) + _SYSTEM_PATH
    programs = (shutil.which(program, path=path) for _, program in load_root().programs)
    return tuple(name for found in programs if found for name in needed_libraries(Path(found)))


@functools.cache
def needed_libraries(program: Path) -> dict[str, Path]:
    """The dynamic linker and the libraries of ``program``: path in the guest to file here.

    Read from the ELF headers, not asked of ldd(1), which runs the program.
    """
    found: dict[str, Path] = {}
    todo = [program]
    while todo:
        interpreter, names = _dynamic(todo.pop())
        if interpreter:
            found[interpreter] = Path(interpreter)
        for name in names:
            path = next((p for d in _LIBRARY_PATHS if (p := Path(d, name)).is_file()), None)
            if path is None:
                raise EnvironmentFault(f"{program} needs {name}, which is in no library folder")
            if f"/lib/{name}" not in found and path.resolve() != Path(interpreter).resolve():
                found[f"/lib/{name}"] = path
                todo.append(path)
    return found


def _dynamic(file: Path) -> tuple[str, tuple[str, ...]]:
    """The interpreter of an ELF file, and the names of the libraries it needs."""
    interpreter, names = "", []
    try:
        with file.open("rb") as stream:
            elf = ELFFile(stream)
            for segment in elf.iter_segments():
                if isinstance(segment, InterpSegment):
                    interpreter = segment.get_interp_name()
            for section in elf.iter_sections():
                if isinstance(section, DynamicSection):
                    tags = section.iter_tags("DT_NEEDED")
                    names = [str(tag.needed) for tag in tags]  # type: ignore[attr-defined]
    except ELFError as error:
        raise EnvironmentFault(f"{file} is not an ELF program: {error}") from None
    return interpreter, tuple(names)
