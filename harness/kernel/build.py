"""The room's door: a declared kernel in, a kernel that boots out."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from harness.errors import EnvironmentFault
from harness.kernel import config, embedded, image, kept, make
from harness.kernel.built import BuiltKernel
from harness.kernel.patch import Patched, apply_all
from harness.kernel.source import Resolved, key_of, remembered, resolve, shown
from harness.kernel.store import Store
from harness.kernel.tools import check_room, digest, file_digest
from harness.kernel.workspace import (
    Workspace,
    beside_the_nearest,
    configure,
    entered,
    make_room,
    merge_argv,
    put_source,
    workspace_for,
)
from harness.paths import cache_dir
from harness.progress import Progress
from harness.spec.kernel import GitSource, KernelSpec

_RECIPE = "1"
"""Part of every content id: counted up when the make line changes what it makes."""


def build(
    spec: KernelSpec,
    *,
    progress: Progress,
    jobs: int = os.cpu_count() or 1,
    cache: Path | None = None,
    refresh: bool = False,
) -> BuiltKernel:
    """The kernel that ``spec`` declares: from the cache when it is there, built otherwise.

    ``refresh`` asks the network again what an unpinned version or a tag stands for.
    Raises PatchError, CompileError, UsageError, and EnvironmentFault.
    """
    cache = cache or cache_dir()
    try:
        if spec.prebuilt:
            return image.unpack(spec, cache, progress, refresh=refresh)
        return _from_source(spec, cache, jobs, progress, refresh=refresh)
    except OSError as error:
        raise EnvironmentFault(
            f"{spec.name}: cannot be built in {cache}: {error}",
            hint="see to disk space and access rights, or set HUGETLB_HARNESS_CACHE",
        ) from error


def _from_source(
    spec: KernelSpec, cache: Path, jobs: int, progress: Progress, *, refresh: bool
) -> BuiltKernel:
    tools = make.toolchain()
    cache.mkdir(parents=True, exist_ok=True)
    source = resolve(spec, cache, progress, refresh=refresh)
    inputs = _inputs(spec, source, tools)
    if found := _at_hand(spec, cache, inputs, progress):
        return found
    if not Store.open(cache).has(source.tree):
        source = resolve(spec, cache, progress, refresh=True)
        inputs = _inputs(spec, source, tools)
    space = workspace_for(cache, source.key, spec.config)
    if any(isinstance(each, GitSource) and each.family for each in spec.sources):
        space = beside_the_nearest(space, Store.open(cache), source.tree, progress)
    with entered(space, progress, spec.name):
        # Another harness may have built it while this one waited.
        if found := _at_hand(spec, cache, inputs, progress):
            return found
        return _build(spec, source, space, tools, inputs, cache, jobs, progress)


def find(spec: KernelSpec, cache: Path | None = None) -> BuiltKernel | None:
    """The kernel that an earlier ``build`` made of just this declaration; None if there is none.

    Takes what was found last for each source, without looking again.
    """
    cache = cache or cache_dir()
    if spec.prebuilt:
        return image.find(spec, cache)
    source = next((known for each in spec.sources if (known := remembered(each, cache))), None)
    if source is None or not make.tools_there():
        return None
    inputs = _inputs(spec, source, make.toolchain())
    entry = kept.find_entry(cache, inputs)
    return kept.load(cache, spec, entry) if entry else None


def plan(
    spec: KernelSpec, *, jobs: int = os.cpu_count() or 1, cache: Path | None = None
) -> list[str]:
    """What ``build`` would do, as lines for people; nothing is run and nothing fetched."""
    cache = cache or cache_dir()
    sources = [f"# source: {shown(source)}" for source in spec.sources]
    if spec.prebuilt:
        return [*sources, "# unpacked, not built"]
    space = workspace_for(cache, key_of(spec.sources[0]), spec.config)
    patches = [f"git apply --cached {patch}" for patch in spec.patches]
    lines = [merge_argv(space, spec.config), make.make_argv(space, jobs)]
    return [*sources, *patches, *(_quoted(line) for line in lines)]


def _quoted(argv: list[str]) -> str:
    return " ".join(f"'{word}'" if " " in word else word for word in argv)


def _inputs(spec: KernelSpec, source: Resolved, tools: make.Toolchain) -> str:
    """A digest of all that goes in, known before anything is built."""
    patches = [file_digest(patch) for patch in spec.patches]
    fragments = [file_digest(fragment) for fragment in spec.config]
    return digest(
        *(_RECIPE, source.tree, source.label, tools.compiler, tools.linker),
        *("patches", *patches),
        *("config", *fragments),
    )


def _at_hand(spec: KernelSpec, cache: Path, inputs: str, progress: Progress) -> BuiltKernel | None:
    entry = kept.find_entry(cache, inputs)
    found = kept.load(cache, spec, entry) if entry else None
    if found:
        _say_inexact(found.inexact, progress)
        _say_dropped(found.name, found.dropped, progress)
    return found


def _build(
    spec: KernelSpec,
    source: Resolved,
    space: Workspace,
    tools: make.Toolchain,
    inputs: str,
    cache: Path,
    jobs: int,
    progress: Progress,
) -> BuiltKernel:
    store = Store.open(cache)
    patched = apply_all(store, source.tree, spec.patches)
    _say_inexact(patched.inexact, progress)
    if space.cold:
        for name in make_room(space, make.COLD_ROOM):
            progress.say(f"removed {cache / 'work' / name}: the disk is nearly full")
        check_room(cache, make.COLD_ROOM)
    env = make.make_env(cache)
    put_source(space, store, patched.tree, cache, progress)
    configure(space, store, patched.tree, spec.config, tools.compiler, env, progress)
    final = (space.build / ".config").read_text(encoding="utf-8")
    content_id = digest(_RECIPE, patched.tree, final, tools.compiler, tools.linker)[:20]
    dropped = config.dropped(spec.config, final)
    entry = kept.Entry(content_id, source.label, dropped, patched.inexact)
    found = kept.load(cache, spec, entry)
    if found is None:
        _say_dropped(spec.name, entry.dropped, progress)
        _say_lineless(spec.name, final, progress)
        _make(spec, space, patched, entry, tools, cache, jobs, env, progress)
        found = kept.load(cache, spec, entry)
    if found is None:
        raise EnvironmentFault(f"{kept.folder_of(cache, content_id)}: gone while it was built")
    kept.remember(cache, inputs, entry)
    return found


def _make(
    spec: KernelSpec,
    space: Workspace,
    patched: Patched,
    entry: kept.Entry,
    tools: make.Toolchain,
    cache: Path,
    jobs: int,
    env: dict[str, str],
    progress: Progress,
) -> None:
    """Build, and copy what a guest and a reader of its console need to the cache."""
    log = cache / "logs" / f"{spec.name}-{entry.content_id}.log"

    def made() -> bool | None:
        make.make(
            space,
            name=spec.name,
            jobs=jobs,
            env=env,
            log=log,
            touched=patched.touched,
            progress=progress,
        )
        boot = space.build / "arch/x86/boot"
        return embedded.holds(boot / "bzImage", space.build / "vmlinux")

    held = made()
    if held is False:
        # What a workspace still has from a build with ccache's depend mode.
        shutil.rmtree(space.build / "arch/x86/boot")
        held = made()
        if held is False:
            raise EnvironmentFault(
                f"{spec.name}: {space.build}: bzImage is of another kernel than vmlinux",
                hint=f"remove {cache / 'ccache'}, and build again",
            )
    release = (space.build / "include/config/kernel.release").read_text(encoding="utf-8").strip()
    with kept.new_folder(cache, entry.content_id) as folder:
        shutil.copy(space.build / "arch/x86/boot/bzImage", folder / "bzImage")
        shutil.copy(space.build / "vmlinux", folder / "vmlinux")
        shutil.copy(space.build / ".config", folder / "config")
        shutil.copy(log, folder / "build.log")
        kept.keep_coverage(space.build, space.tree, folder)
        facts = {
            "release": release,
            "source": entry.source,
            "tree": patched.tree,
            "compiler": tools.compiler,
            "linker": tools.linker,
            "dropped": entry.dropped,
            "embedded": held,
            "patches": kept.patch_digests(spec),
            "config": [fragment.name for fragment in spec.config],
        }
        kept.seal(folder, facts)


def _say_lineless(name: str, final: str, progress: Progress) -> None:
    """Said before the build, which takes long; nothing that was asked for was dropped."""
    if "CONFIG_DEBUG_INFO=y\n" not in final:
        progress.say(
            f"{name}: no debug information: its reports will have no source lines\n"
            "  -> config: [guest, hugetlb, debug, v5] for a 5.x, v6 in its place for a 6.x"
        )


def _say_inexact(inexact: tuple[str, ...], progress: Progress) -> None:
    for line in inexact:
        progress.say(line)


def _say_dropped(name: str, dropped: tuple[str, ...], progress: Progress) -> None:
    if dropped:
        listed = "\n".join(f"    {line}" for line in dropped)
        progress.say(f"{name}: Kconfig dropped {len(dropped)} of the options asked for\n{listed}")
