"""How QEMU runs a guest's instructions: found out by booting something tiny, not by looking.

/dev/kvm can be there, open, make a machine and a CPU, and still be of no use: a nested
KVM that aborts with ``-cpu host`` or crawls.  The probe is a boot sector of our own that
counts to a million in real mode and then ends QEMU through its debug exit device.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import platform
import shutil
import subprocess
import tempfile
from enum import Enum
from pathlib import Path

from harness import proc
from harness.errors import EnvironmentFault, UsageError
from harness.paths import cache_dir
from harness.progress import Progress

QEMU = "qemu-system-x86_64"
VARIABLE = "HUGETLB_HARNESS_ACCEL"
KVM_DEVICE = Path("/dev/kvm")
DEADLINE = 5.0
"""Seconds for the probe: a KVM that works takes well under one."""

_EXIT_PORT = 0xF4
_EXIT_VALUE = 0x2A
_EXIT_STATUS = _EXIT_VALUE << 1 | 1  # isa-debug-exit makes it odd, so that 0 stays QEMU's own


class Accel(Enum):
    KVM = "kvm"
    TCG = "tcg"

    def __str__(self) -> str:
        return self.value

    @property
    def arguments(self) -> tuple[str, ...]:
        if self is Accel.KVM:
            return ("-accel", "kvm", "-cpu", "host")
        # Without ERMS the kernel clears and copies memory by words: TCG runs "rep stosb" byte
        # by byte, which was 7 % of a boot.
        return ("-accel", "tcg,thread=multi", "-cpu", "max,-erms")


def choose(progress: Progress, forced: str = "") -> Accel:
    """``forced`` is "kvm", "tcg", or "auto"; where it is empty, $HUGETLB_HARNESS_ACCEL counts.

    Otherwise KVM where a probe of it came to its end, on this host and with this QEMU.
    """
    wanted = forced or os.environ.get(VARIABLE, "") or "auto"
    if wanted != "auto":
        try:
            return Accel(wanted)
        except ValueError:
            where = "--accel" if forced else f"${VARIABLE}"
            raise UsageError(f"{where}: expected kvm, tcg or auto, got {wanted!r}") from None
    if not os.access(KVM_DEVICE, os.R_OK | os.W_OK):
        return Accel.TCG
    memory = cache_dir() / "accel.json"
    key = _host_key()
    known = _recall(memory)
    if key not in known:
        with progress.stage("probing KVM"):
            known[key] = (Accel.KVM if probe(Accel.KVM) else Accel.TCG).value
        _remember(memory, known)
        if known[key] == Accel.TCG.value:
            progress.say(
                f"{KVM_DEVICE} is there but a probe did not come to its end: emulating (slower)"
            )
    return Accel(known[key])


def probe(accel: Accel, deadline: float = DEADLINE) -> bool:
    """Whether a machine of two CPUs runs its boot sector to the end within ``deadline`` seconds."""
    with tempfile.TemporaryDirectory(prefix="harness-probe-") as folder:
        image = Path(folder) / "boot.img"
        image.write_bytes(boot_sector())
        argv = [
            QEMU,
            *("-nodefaults", "-no-user-config", "-no-reboot"),
            *("-display", "none"),
            *accel.arguments,
            *("-machine", "pc"),
            *("-m", "64M"),
            *("-smp", "2"),
            *("-device", f"isa-debug-exit,iobase={_EXIT_PORT:#x},iosize=1"),
            *("-drive", f"file={image},format=raw,if=ide,snapshot=on"),
        ]
        try:
            return proc.run(argv, timeout=deadline) == _EXIT_STATUS
        except subprocess.TimeoutExpired:
            return False


def boot_sector() -> bytes:
    """512 bytes that a BIOS loads to 0x7c00 and jumps to.

    The loop takes milliseconds on a CPU; a KVM that emulates each instruction, or takes an
    exit for each, does not come to its end in time.
    """
    code = bytes(
        (
            *(0x66, 0xB9, *(1_000_000).to_bytes(4, "little")),  # mov ecx, 1000000
            *(0x67, 0xE2, 0xFD),  # a: loop a, counting in ecx
            *(0xB0, _EXIT_VALUE),  # mov al, value
            *(0xE6, _EXIT_PORT),  # out port, al
            *(0xF4, 0xEB, 0xFD),  # b: hlt; jmp b
        )
    )
    return code.ljust(510, b"\0") + b"\x55\xaa"


def _host_key() -> str:
    """Changes with whatever may change the answer: host, its kernel, QEMU, and /dev/kvm."""
    machine = ""
    with contextlib.suppress(OSError):
        machine = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    device = KVM_DEVICE.stat()
    facts = [
        machine or platform.node(),
        platform.release(),
        boot_cpu(),
        _qemu_version(shutil.which(QEMU)),
        f"{device.st_rdev} {device.st_mode} {device.st_uid} {device.st_gid} {os.getuid()}",
    ]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


@functools.cache
def _qemu_version(program: str | None) -> str:
    """Asked once: each trial chooses anew, and QEMU takes a fiftieth of a second to say it."""
    try:
        asked = subprocess.run([program or QEMU, "--version"], capture_output=True, timeout=30)
        asked.check_returncode()
    except (OSError, subprocess.SubprocessError):
        raise EnvironmentFault(f"cannot run {QEMU}", hint="apt install qemu-system-x86") from None
    return asked.stdout.decode("utf-8", "replace")


def boot_cpu() -> str:
    """The CPU's model: one disk may boot on another host tomorrow."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line
    return platform.machine()


def _recall(memory: Path) -> dict[str, str]:
    try:
        known = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    values = {accel.value for accel in Accel}
    if not isinstance(known, dict):
        return {}
    return {str(key): value for key, value in known.items() if value in values}


def _remember(memory: Path, known: dict[str, str]) -> None:
    """A cache that cannot be written costs a probe each time, nothing else."""
    with contextlib.suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        partial = memory.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(known), encoding="utf-8")
        partial.replace(memory)
