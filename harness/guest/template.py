"""Templates: a guest that was booted once and frozen; fresh guests start from copies of it.

A template is a folder of the cache: the RAM of each node as a sparse file, the state of
everything else as QEMU saved it, and the console of the boot.  A copy maps the RAM files
privately, so that host and further copies share what a guest does not write.  The folder's
name is the hash of all that could make a difference to the boot.

It holds no key: the guest forgot those of its boot before it was frozen, and each copy is given
its own, with fresh randomness and the time, by guests/rootfs/agent.c.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.errors import BootError, EnvironmentFault, GuestLost
from harness.guest import rootfs
from harness.guest.accel import Accel, boot_cpu
from harness.guest.cold import cold_boot
from harness.guest.qemu import QEMU, Launch, command
from harness.guest.start import Frozen, Setup, Start
from harness.guest.vm import QemuGuest
from harness.paths import cache_dir
from harness.progress import Progress
from harness.stop import Stop

FORMAT = 1
"""Raised when what is done before the freeze changes, and nothing else tells."""
COPY_DEADLINE = 60.0
"""Seconds for a copy to take commands; it takes one alone, and cannot take longer than a boot."""
LIMIT = 8 << 30
"""Bytes of disk that templates may take, unless $HUGETLB_HARNESS_TEMPLATES gives another number
of MiB; 0 switches them off."""
VARIABLE = "HUGETLB_HARNESS_TEMPLATES"
_SPARE = 1 << 30
"""Bytes of disk that making one leaves free: QEMU dies of a RAM file that cannot grow."""

_WARM = """exec 2>/dev/null
for round in 1 2; do
cd /tmp && cat >warm && chmod 755 warm; mv -f warm warmer; rm warmer
grep -sH '' /proc/vmstat /proc/meminfo /proc/lockdep_stats /sys/devices/system/node/node*/*
zcat /proc/config.gz | grep -c CONFIG_; uname -r; id -u; cat /proc/cmdline /proc/sys/kernel/tainted
done"""
"""What every trial does sooner or later: files are then in the page cache, and lockdep knows
the chains of locks, each of which costs when it is seen first."""


@dataclass(frozen=True)
class Template:
    """One that is there.  ``used`` is when a copy of it was made last, in seconds of the epoch."""

    folder: Path
    kernel: str
    machine: str
    bytes: int
    used: float

    @property
    def key(self) -> str:
        return self.folder.name


class Unusable(Exception):
    """Why there is no copy to be had; a cold boot takes over."""


def fresh_copy(
    setup: Setup, progress: Progress, timeout: float, stop: Stop | None = None
) -> QemuGuest:
    """A guest that starts where a template of ``setup`` was frozen; the template is made first
    where there is none.  Raises Unusable; BootError where the kernel does not boot.
    """
    if limit() == 0:
        raise Unusable("they are switched off")
    key = key_of(setup)
    folder = _base() / key
    with _lock(key, fcntl.LOCK_SH) as lock:
        if not _whole(folder):
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _whole(folder):
                _make(setup, folder, progress, timeout, stop)
            fcntl.flock(lock, fcntl.LOCK_SH)
        with contextlib.suppress(OSError):
            os.utime(folder)
        try:
            with progress.stage(f"copying the template of {setup.title}") as stage:
                guest = Start(setup, stop, frozen=Frozen(folder)).run(
                    stage, min(timeout, COPY_DEADLINE)
                )
        except BootError as error:
            if stop and stop.is_set:
                raise
            problem = error.what.partition("\n")[0]
        else:
            guest.template = key
            return guest
    remove(key)
    raise Unusable(problem)


def key_of(setup: Setup) -> str:
    """A hash of kernel, root file system, the whole command line, QEMU and the host's CPU."""
    none = Path()
    launch = Launch(
        image=none,
        release=setup.kernel.release,
        initrd=rootfs.initramfs(setup.kernel, root=setup.machine.root),
        machine=setup.machine,
        accel=setup.accel,
        console=none,
        pulse=none,
        qmp=0,
        agent=0,
        append=setup.append,
        memory=none,
    )
    program = shutil.which(QEMU)
    if program is None:
        raise EnvironmentFault(f"there is no {QEMU}", hint="harness doctor names the packages")
    facts = [
        f"format {FORMAT}",
        setup.kernel.content_id,
        _stamp(setup.kernel.image),
        _stamp(Path(program)),
        # Under KVM the guest has seen this host's CPU.
        boot_cpu() if setup.accel is Accel.KVM else "",
        *command(launch),
    ]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:24]


def _stamp(file: Path) -> str:
    """A file as it is now, without reading it."""
    try:
        found = file.resolve().stat()
    except OSError as error:
        raise EnvironmentFault(f"{file}: {error.strerror}") from None
    return f"{file.resolve()} {found.st_size} {found.st_mtime_ns}"


def _make(
    setup: Setup, folder: Path, progress: Progress, timeout: float, stop: Stop | None
) -> None:
    """Boot, warm, freeze.  The boot's files are those of ``setup``, so that one that fails is seen
    where its run is.
    """
    base = folder.parent
    try:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        free = shutil.disk_usage(base).free
    except OSError as error:
        raise Unusable(f"{base}: {error.strerror}") from None
    if free < setup.machine.memory + _SPARE:
        raise Unusable(f"{base}: {free >> 20} MiB of disk are free, fewer than may be needed")
    shrink_to(max(0, limit() - setup.machine.memory // 2))
    for stale in base.glob(f".{folder.name}.*"):  # its maker was killed: the lock is ours
        shutil.rmtree(stale, ignore_errors=True)
    scratch = base / f".{folder.name}.{secrets.token_hex(4)}"
    scratch.mkdir(mode=0o700)
    try:
        guest = cold_boot(setup, progress, timeout, stop, ram=scratch)
        with guest, progress.stage(f"freezing {setup.title} as a template"):
            guest.run(_WARM, stdin=bytes(200_000))
            guest.freeze(scratch / "state")
        shutil.copyfile(setup.run_dir / "console.log", scratch / "console.log")
        about = {"kernel": setup.kernel.name, "machine": setup.machine.name}
        (scratch / "template.json").write_text(json.dumps(about), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)  # one that is not whole
        scratch.replace(folder)
    except GuestLost as error:
        raise Unusable(f"the guest cannot be frozen: {error.what}") from None
    except OSError as error:
        raise Unusable(f"{scratch}: {error.strerror}") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def templates() -> list[Template]:
    """Those that are there, the one used last first."""
    found = []
    for file in _base().glob("*/template.json"):
        folder = file.parent
        if folder.name.startswith("."):
            continue
        try:
            about = json.loads(file.read_text(encoding="utf-8"))
            found.append(
                Template(
                    folder=folder,
                    kernel=str(about["kernel"]),
                    machine=str(about["machine"]),
                    bytes=sum(path.stat().st_blocks * 512 for path in folder.iterdir()),
                    used=folder.stat().st_mtime,
                )
            )
        except (OSError, ValueError, KeyError, TypeError):
            continue  # being removed just now, or not ours
    return sorted(found, key=lambda template: template.used, reverse=True)


def shrink_to(bytes: int) -> list[Template]:
    """Remove templates, the one that was not used for longest first, until the rest fit."""
    kept = templates()
    gone = []
    while kept and sum(template.bytes for template in kept) > bytes:
        oldest = kept.pop()
        if remove(oldest.key):
            gone.append(oldest)
    return gone


def remove(key: str) -> bool:
    """Remove a template, unless a copy is being started; copies that run keep its memory."""
    with contextlib.suppress(BlockingIOError), _lock(key, fcntl.LOCK_EX | fcntl.LOCK_NB):
        shutil.rmtree(_base() / key, ignore_errors=True)
        return True
    return False


def limit() -> int:
    """Bytes that templates may take in all."""
    text = os.environ.get(VARIABLE, "")
    if not text:
        return LIMIT
    if not text.isdecimal():
        raise EnvironmentFault(f"${VARIABLE}: expected a number of MiB, got {text!r}")
    return int(text) << 20


def _base() -> Path:
    return cache_dir() / "templates"


def _whole(folder: Path) -> bool:
    return (folder / "template.json").is_file()


@contextlib.contextmanager
def _lock(key: str, how: int) -> Iterator[int]:
    """Shared while a copy starts, exclusive while a template is made or removed."""
    folder = cache_dir() / "locks"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(folder / f"template-{key}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unusable(f"{folder}: {error.strerror}") from None
    try:
        fcntl.flock(file, how)
        yield file
    finally:
        os.close(file)
