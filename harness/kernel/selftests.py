"""The kernel's own tests of mm, built by the kernel's own make out of the same source."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from harness.errors import CompileError, EnvironmentFault, UsageError
from harness.kernel.make import toolchain
from harness.kernel.source import resolve
from harness.kernel.store import Store
from harness.kernel.tools import capture, digest, environment, fresh, locked, require, tail, work
from harness.paths import cache_dir
from harness.progress import Progress
from harness.spec.kernel import KernelSpec

_FOLDERS = ("tools/testing/selftests/mm", "tools/testing/selftests/vm")
"""Since baa489fabd01 (6.3), and before."""
_PARTS = (
    *("Makefile", "Kbuild", "Kconfig", "scripts", "include", "usr", "arch/x86", "mm"),
    *("tools/include", "tools/scripts", "tools/build", "tools/arch/x86", "tools/testing/selftests"),
)
"""What of a tree the headers and the tests are made from; a tree lacks some of them."""
_RECIPE = "1"


def build_selftests(
    spec: KernelSpec, programs: Sequence[str], progress: Progress, cache: Path | None = None
) -> Path:
    """A folder with those of ``programs`` that the source of ``spec`` has, patches not applied.

    Programs are static, so that they run on whatever root a guest has; scripts are taken as they
    are.  A test that does not compile is told and left out, as kselftest does; CompileError is
    raised where none does.  Raises EnvironmentFault, and UsageError for an image without source.
    """
    if spec.prebuilt:
        raise UsageError(
            f"{spec.name}: a distribution's image comes without its source",
            hint="choose a kernel that is built, or give a built tree with --from",
        )
    require("make", "gcc", "rsync", "tar")
    cache = cache or cache_dir()
    source = resolve(spec, cache, progress)
    store = Store.open(cache)
    if not store.has(source.tree):
        source = resolve(spec, cache, progress, refresh=True)
    key = digest(_RECIPE, source.tree, toolchain().compiler, *sorted(programs))[:16]
    place = cache / "selftests" / key
    with locked(cache / "locks" / f"selftests-{key}", progress, "the kernel's tests"):
        if not (place / "done").exists():
            fresh(place)
            with progress.stage(f"building the tests of {source.label}"):
                _build(store, source.tree, place, programs, progress)
            shutil.rmtree(place / "tree")
            (place / "done").touch()
    return place / "out"


def _build(
    store: Store, tree: str, place: Path, programs: Sequence[str], progress: Progress
) -> None:
    source, out = place / "tree", place / "out"
    source.mkdir()
    out.mkdir()
    parts = [
        part for part in _PARTS if not store.attempt("cat-file", "-e", f"{tree}:{part}").status
    ]
    archive = place / "tree.tar"
    store.git("archive", "--output", str(archive), tree, *parts)
    work(["tar", "-xf", str(archive), "-C", str(source)], "cannot unpack the kernel's tests")
    archive.unlink()
    env = environment(ARCH="x86_64")
    work(
        ["make", "-s", "headers_install"],
        "cannot install the kernel's headers",
        env=env,
        cwd=source,
    )
    folder = next((source / name for name in _FOLDERS if (source / name).is_dir()), None)
    if folder is None:
        raise EnvironmentFault(f"this source has no tests of mm: neither {' nor '.join(_FOLDERS)}")
    broken = []
    for name in programs:
        if (folder / name).is_file():
            shutil.copy(folder / name, out / name)
        elif (folder / f"{name}.c").is_file():
            # One at a time, so that one that does not compile leaves the others.
            done = capture(
                [
                    "make",
                    "-C",
                    str(folder),
                    f"OUTPUT={out}",
                    "USERLDFLAGS=-static",
                    f"{out}/{name}",
                ],
                env=env,
            )
            if done.status:
                broken.append(f"{name}\n{tail(done.complaint.splitlines(), 3)}")
    if not any(out.iterdir()):
        raise CompileError("none of the kernel's tests was built: " + "\n".join(broken))
    for text in broken:
        progress.say(f"does not compile: {text}")
