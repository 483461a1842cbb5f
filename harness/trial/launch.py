"""Somebody else's test in a guest: packed on the host, unpacked and started there.

What is packed is the program, the files that it names beside it, and, where it is not static,
the libraries that the guest does not have already.  One archive, for each push costs a round trip
and an emulated CPU decrypts a few MB a second.
"""

from __future__ import annotations

import hashlib
import io
import secrets
import shlex
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from harness.errors import EnvironmentFault, UsageError
from harness.guest.rootfs import needed_libraries, own_libraries
from harness.paths import cache_dir
from harness.spec.case import TestCase
from harness.spec.payload import Dialect, Payload

FOLDER = "/tmp/payload"
"""Where it lies in the guest, and what is its working folder."""
DEBIAN = "/debian"
"""Where a machine with ``root: debian`` has its Debian."""
LIBRARIES = "lib"
ARCHIVE = "/tmp/payload.tar"
"""Where it comes to, to be unpacked."""
SHARE = 0.4
"""Of its time an LTP test is told to run so much, all its parts together, and so comes to its end.
It tells time by the guest's clock, which goes half as fast where the guest gets half a CPU, and
what it does before and after is not in it."""

# With what is mounted below: cgroups, debugfs, the huge pages' file system.
_BIND = (
    f"for d in proc sys dev tmp; do mkdir -p {DEBIAN}/$d && mount -o rbind /$d {DEBIAN}/$d"
    " || exit; done"
)


def pack(case: TestCase, cache: Path | None = None) -> Path:
    """The archive of ``case``, found again by the content of all that is in it.

    Raises UsageError for a file that cannot be read.
    """
    payload = case.payload
    assert payload
    files = {case.reproducer.name: case.reproducer, **dict(payload.files)}
    if not payload.debian:
        for file in (case.reproducer, *(path for _, path in payload.files)):
            files |= _libraries(file, set(files))
    content = _archive(files)
    digest = hashlib.sha256(content).hexdigest()[:16]
    kept = (cache or cache_dir()) / "payloads" / digest / f"{case.name}.tar"
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        partial = kept.with_name(f".{kept.name}.{secrets.token_hex(4)}")
        partial.write_bytes(content)
        partial.replace(kept)
    return kept


def _libraries(file: Path, known: set[str]) -> dict[str, Path]:
    """The shared libraries of ``file`` that the initramfs does not bring; none for a script."""
    if not file.is_file() or file.open("rb").read(4) != b"\x7fELF":
        return {}
    # Libraries that lie beside the program are among its files.
    beside = {Path(name).name for name in (*known, *own_libraries())}
    try:
        needed = needed_libraries(file)
    except EnvironmentFault:
        return {}  # one of them is beside it: the guest's linker says what it misses
    return {
        f"{LIBRARIES}/{Path(name).name}": path
        for name, path in needed.items()
        if Path(name).name not in beside
    }


def _archive(files: dict[str, Path]) -> bytes:
    """Equal files give equal bytes: owner and times are nobody's."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, path in sorted(files.items()):
            try:
                data = _without_debug(path)
            except OSError as error:
                raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
            about = tarfile.TarInfo(name)
            about.size, about.mode = len(data), 0o755
            tar.addfile(about, io.BytesIO(data))
    return stream.getvalue()


def _without_debug(path: Path) -> bytes:
    """The content of ``path``, a program without its debug information: a third of the push."""
    data = path.read_bytes()
    strip = shutil.which("strip")
    if data[:4] != b"\x7fELF" or strip is None:
        return data
    with tempfile.TemporaryDirectory() as scratch:
        small = Path(scratch, "small")
        done = subprocess.run(
            [strip, "--strip-debug", "-o", str(small), str(path)], capture_output=True, timeout=60
        )
        return small.read_bytes() if done.returncode == 0 and small.is_file() else data


def unpack(payload: Payload) -> str:
    """What lays the archive, which lies at ARCHIVE, in the guest; it speaks where that fails."""
    steps = f"mkdir -p {FOLDER} && tar -xf {ARCHIVE} -C {FOLDER} && rm {ARCHIVE}"
    if payload.debian:
        steps += f" && test -x {DEBIAN}/bin/bash && {{ {_BIND}; }}"
    return f'x=$({{ {steps}; }} 2>&1) || echo "failed: $x"'


def command(payload: Payload, seconds: int) -> str:
    """What is run in the guest: by busybox's shell, or by bash in the Debian root."""
    settings = {"LD_LIBRARY_PATH": f"{FOLDER}:{FOLDER}/{LIBRARIES}"} if not payload.debian else {}
    settings |= dict(payload.environment)
    if payload.dialect is Dialect.LTP and payload.runtime:
        settings["LTP_RUNTIME_MUL"] = f"{max(0.01, SHARE * seconds / payload.runtime):.2f}"
    words = [f"{name}={shlex.quote(value)}" for name, value in settings.items()]
    # Root may lock what it likes, but some tests go by the limit, and skip at its 64 kB.
    start = " ".join(["exec env", *words, shlex.join(payload.command)])
    line = f"cd {FOLDER} && {{ ulimit -l unlimited 2>/dev/null; {start}; }}"
    return f"exec chroot {DEBIAN} /bin/bash -c {shlex.quote(line)}" if payload.debian else line
