"""One trial as one tar that repeats it without the harness: QEMU and a shell are all it takes."""

from __future__ import annotations

import hashlib
import io
import json
import shlex
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.guest import cpio
from harness.guest.qemu import pasteable
from harness.guest.rootfs import initramfs, load_root
from harness.kernel.built import BuiltKernel
from harness.kernel.kept import folder_of
from harness.paths import PROJECT, cache_dir
from harness.record.load import Run
from harness.record.text import one_line, plain
from harness.spec.case import TestCase
from harness.spec.cases import load_cases
from harness.trial import arrange
from harness.trial.compile import LIBRARY, compile_reproducer

Json = Mapping[str, Any]

RUN_SCRIPT = PROJECT / "guests" / "bundle" / "run.sh"
GUEST_SCRIPT = PROJECT / "guests" / "bundle" / "guest.sh"

_PATCHES = PROJECT / "guests" / "patches"
_SLOW = 6
"""How many times longer than here booting and running may take elsewhere before it is given up."""


def bundle(run: Run, trial: Json) -> tuple[str, bytes]:
    """(name of its folder, the tar).  Raises UsageError for what is no longer there."""
    kernel = _kernel(trial["kernel"])
    case = _case(trial)
    name = f"{run.name}-{trial['folder']}"
    files = dict(_files(run, trial, kernel, case))
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=6) as tar:
        for path, (content, mode) in sorted(files.items()):
            entry = tarfile.TarInfo(f"{name}/{path}")
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return name, stream.getvalue()


def _kernel(document: Json) -> BuiltKernel:
    """The kernel that the trial ran, out of the cache, by its content."""
    name, content = document["name"], document.get("content_id")
    if not content:
        raise UsageError(
            f"{name}: a machine that the harness did not boot: there is no kernel to take along"
        )
    folder = folder_of(cache_dir(), content)
    if not (folder / "bzImage").is_file() or not (folder / "config").is_file():
        raise UsageError(
            f"{name}: the kernel of this trial (content {content}) is no longer in the cache",
            hint=f"harness build {name} makes it again where its source, patches and config are"
            " as they were",
        )
    modules = folder / "modules"
    return BuiltKernel(
        name=name,
        content_id=content,
        release=document["release"],
        image=folder / "bzImage",
        config=folder / "config",
        modules=modules if modules.is_dir() else None,
        source=document.get("source", ""),
    )


def _case(trial: Json) -> TestCase:
    for case in load_cases():
        if case.name == trial["case"]:
            return case
    words = list(trial["repeat"])
    if words[1:2] == ["reproduce"] and Path(words[2]).is_file():
        args = tuple(words[words.index("--") + 1 :]) if "--" in words else ()
        return TestCase(trial["case"], Path(words[2]), args=args, foreign=True)
    raise UsageError(
        f"{trial['case']}: its reproducer is no longer there",
        hint=f"it was run by: {shlex.join(words)}",
    )


def _files(
    run: Run, trial: Json, kernel: BuiltKernel, case: TestCase
) -> Iterator[tuple[str, tuple[bytes, int]]]:
    binary = compile_reproducer(case.reproducer, foreign=case.foreign).read_bytes()
    yield "kernel", (kernel.image.read_bytes(), 0o644)
    yield "initrd", (_initrd(trial, kernel, case, binary), 0o644)
    yield "run.sh", (_run_script(trial).encode(), 0o755)
    yield "config", (kernel.config.read_bytes(), 0o644)
    yield "reproducer/" + case.name, (binary, 0o755)
    yield "reproducer/" + case.reproducer.name, (case.reproducer.read_bytes(), 0o644)
    if not case.foreign:
        for file in sorted(LIBRARY.glob("*.[ch]")):
            yield f"reproducer/lib/{file.name}", (file.read_bytes(), 0o644)
    missing = []
    for number, patch in enumerate(trial["kernel"].get("patches", []), 1):
        if found := _patch(patch):
            yield f"patches/{number:02}-{found.name}", (found.read_bytes(), 0o644)
        else:
            missing.append(patch["file"])
    console = run.folder / trial["folder"] / "console.log"
    if console.is_file():
        yield "console.log", (console.read_bytes(), 0o644)
    for number, splat in enumerate(trial["splats"][:1]):
        yield f"splat-{number + 1:02}.txt", (_encoded(splat.get("text", splat["headline"])), 0o644)
    yield "trial.json", (json.dumps(trial, indent=1).encode(), 0o644)
    yield "README", (_encoded(_readme(run, trial, kernel, case, missing)), 0o644)


def _patch(patch: Json) -> Path | None:
    """The patch of that name and content: one that was changed since is another patch."""
    for file in sorted(_PATCHES.rglob(Path(patch["file"]).name)):
        if hashlib.sha256(file.read_bytes()).hexdigest() == patch["sha256"]:
            return file
    return None


def _initrd(trial: Json, kernel: BuiltKernel, case: TestCase, binary: bytes) -> bytes:
    """The guest's own user space with no way in: the reproducer is started by it instead."""
    spec = load_root()
    programs = tuple(pair for pair in spec.programs if not pair[0].endswith("dropbear"))
    # /init starts a dropbear all the same: it gets one that does nothing.
    links = (*spec.links, ("/sbin/dropbear", "/bin/true"))
    base = initramfs(kernel, replace(spec, programs=programs, links=links)).read_bytes()
    words = [] if case.foreign else ["-t", str(trial["asked_seconds"])]
    script = GUEST_SCRIPT.read_text(encoding="utf-8")
    for key, value in (
        ("@case@", case.name),
        ("@arrange@", arrange.command(case, profiler=False, own=True)),
        ("@seconds@", str(trial["asked_seconds"])),
        ("@command@", shlex.join([f"/bundle/{case.name}", *words, *case.args])),
    ):
        script = script.replace(key, value)
    overlay = cpio.archive(
        [
            cpio.file("/bundle/run", script.encode(), 0o755),
            cpio.file(f"/bundle/{case.name}", binary, 0o755),
            cpio.file("/etc/inittab", b"::once:/bundle/run\n"),
            cpio.file("/harness/nonce", b"bundle\n"),
        ]
    )
    return base + overlay


def _run_script(trial: Json) -> str:
    expected = trial["splats"][0] if trial["splats"] else None
    limit = _SLOW * (trial["boot_seconds"] + trial["asked_seconds"]) + 60
    text = RUN_SCRIPT.read_text(encoding="utf-8")
    for key, value in (
        ("@qemu@", " \\\n\t".join(_shell(words) for words in _flags(_qemu(trial["qemu"])))),
        ("@limit@", str(int(limit))),
        ("@accel@", "kvm" if "kvm" in trial["qemu"] else "tcg"),
        ("@expected@", shlex.quote(one_line(expected["headline"]) if expected else "")),
        ("@race@", shlex.quote(one_line(expected.get("race_key", "")) if expected else "")),
    ):
        text = text.replace(key, value)
    return text


_DROPPED = ("-netdev", "-chardev", "-serial", "-mon", "-name", "-action", "-kernel", "-initrd")


def _qemu(argv: Sequence[str]) -> list[str]:
    """The trial's own QEMU line, less what ties it to the harness: network, monitor, paths."""
    if not argv:
        raise UsageError("this trial kept no QEMU line: no guest of it ever ran")
    plain_boot = pasteable(argv)  # also of a guest that was copied from a template
    kept = [plain_boot[0]]
    words = plain_boot[1:]
    while words:
        flag = words.pop(0)
        value = words.pop(0) if words and not words[0].startswith("-") else None
        if flag in _DROPPED or (value and value.startswith("virtio-net-pci")):
            continue
        if flag == "-append" and value:
            # A panic is followed by a reboot, which ends QEMU.
            value = f"{value} panic=3"
        kept += [flag] if value is None else [flag, value]
    return [
        *kept,
        *("-no-reboot",),
        *("-chardev", "file,id=console,path=console.new"),
        *("-serial", "chardev:console"),
        *("-chardev", "file,id=results,path=results.new"),
        *("-serial", "chardev:results"),
        *("-kernel", "kernel"),
        *("-initrd", "initrd"),
    ]


def _flags(argv: Sequence[str]) -> list[list[str]]:
    lines: list[list[str]] = []
    for word in argv:
        if not lines or word.startswith("-"):
            lines.append([word])
        else:
            lines[-1].append(word)
    return lines


def _shell(words: Sequence[str]) -> str:
    chosen = {"-accel": '-accel "$accel"', "-cpu": '-cpu "$cpu"'}  # by run.sh
    return chosen.get(words[0]) or shlex.join(words)


def _readme(
    run: Run, trial: Json, kernel: BuiltKernel, case: TestCase, missing: Sequence[str]
) -> str:
    splat = trial["splats"][0] if trial["splats"] else None
    lines = [
        f"{trial['case']} on {kernel.name} ({kernel.release}): {trial['verdict']}",
        f"in trial {trial['folder']} of run {run.name}",
        "",
        "sh run.sh    boots the kernel in QEMU, runs the reproducer and says what came.",
        "             Needs qemu-system-x86_64 and a POSIX shell; no root, no network.",
        "             Exit status: 1 a kernel report, 0 none, 125 neither could be told.",
        "",
        "kernel        the image, built with config of:",
        f"              {kernel.source or 'see trial.json'}",
        "patches/      what was applied to it, in order",
        *(f"              not at hand any more: {name}" for name in missing),
        "initrd        busybox and the reproducer",
        "reproducer/   its source and the static binary",
        "console.log   the console of the trial, where it was still there",
        *(["splat-01.txt  what is expected:", f"              {splat['title']}"] if splat else []),
        "trial.json    all that was recorded; results/result.schema.json describes it",
        "",
        "To build the reproducer again:",
        f"  gcc -O2 -static -pthread -Ireproducer/lib reproducer/{case.reproducer.name}"
        + ("" if case.foreign else " reproducer/lib/*.c"),
        "",
    ]
    return plain("\n".join(lines))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
