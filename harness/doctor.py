"""What this host has and lacks, and the one command that mends it.

Standard library only: the set-up runs this file before there is a virtual environment.
``python3 harness/doctor.py --packages`` prints the missing packages of this host's own
package manager, one line, empty when nothing is missing that is not optional; with ``--all``
those as well that only speed things up, or that only tests want.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

GIB = 1 << 30

INSTALL = {
    "apt": ("apt-get", "install", "-y", "--no-install-recommends"),
    "dnf": ("dnf", "install", "-y"),
    "pacman": ("pacman", "-S", "--needed", "--noconfirm"),
    "zypper": ("zypper", "--non-interactive", "install"),
}
"""How each package manager installs; the keys are those of ``Need.packages``."""

_MANAGER_PROGRAMS = {"apt": "apt-get", "dnf": "dnf", "pacman": "pacman", "zypper": "zypper"}


def _program(*names: str) -> Callable[[], bool]:
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    return lambda: all(shutil.which(name, path=path) for name in names)


def _header(*names: str) -> Callable[[], bool]:
    folders = ("/usr/include", "/usr/include/x86_64-linux-gnu", "/usr/local/include")
    return lambda: all(any(Path(f, name).exists() for f in folders) for name in names)


def _static_libc() -> bool:
    folders = ("/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/lib64")
    return any(Path(folder, "libc.a").exists() for folder in folders)


def _static_busybox() -> bool:
    """Debian's ``busybox`` is dynamic and useless in an initramfs without its libraries."""
    path = shutil.which("busybox") or shutil.which("busybox-static") or "/usr/bin/busybox"
    try:
        with Path(path).open("rb") as file:
            head = file.read(4096)
    except OSError:
        return False
    return head[:4] == b"\x7fELF" and b"ld-linux" not in head and b"ld-musl" not in head


def _venv() -> bool:
    return bool(importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip"))


@dataclass(frozen=True)
class Need:
    """One thing that the host must have: what for, how to see it, and who brings it.

    ``packages`` maps a package manager to package names; ``optional`` needs only slow things
    down when they are missing, or leave out what is said; ``testing`` ones the harness does
    without, and some of its own tests do not.
    """

    name: str
    purpose: str
    there: Callable[[], bool]
    packages: Mapping[str, str]
    optional: bool = False
    testing: bool = False


def _same(name: str) -> dict[str, str]:
    return dict.fromkeys(INSTALL, name)


NEEDS: tuple[Need, ...] = (
    Need(
        "QEMU",
        "guests",
        _program("qemu-system-x86_64"),
        {
            "apt": "qemu-system-x86",
            "dnf": "qemu-system-x86-core",
            "pacman": "qemu-system-x86",
            "zypper": "qemu-x86",
        },
    ),
    Need(
        "busybox, static",
        "the guests' user space",
        _static_busybox,
        {
            "apt": "busybox-static",
            "dnf": "busybox",
            "pacman": "busybox",
            "zypper": "busybox-static",
        },
    ),
    Need(
        "dropbear",
        "the way into guests",
        _program("dropbear", "dropbearkey"),
        {**_same("dropbear"), "apt": "dropbear-bin"},
    ),
    Need("git", "kernel sources and patches", _program("git"), _same("git")),
    Need("gcc", "kernels and reproducers", _program("gcc"), _same("gcc")),
    Need(
        "static C library",
        "reproducers",
        _static_libc,
        {
            "apt": "libc6-dev",
            "dnf": "glibc-static",
            "pacman": "glibc",
            "zypper": "glibc-devel-static",
        },
    ),
    Need("binutils", "file:line in splats", _program("addr2line", "ar"), _same("binutils")),
    Need("make", "kernels", _program("make"), _same("make")),
    Need("flex", "kernels", _program("flex"), _same("flex")),
    Need("bison", "kernels", _program("bison"), _same("bison")),
    Need("bc", "kernels", _program("bc"), _same("bc")),
    Need("perl", "kernels", _program("perl"), _same("perl")),
    Need("xz", "kernel sources", _program("xz"), {**_same("xz"), "apt": "xz-utils"}),
    Need("rsync", "the kernel's own tests", _program("rsync"), _same("rsync")),
    Need(
        "libelf headers",
        "kernels (objtool)",
        _header("libelf.h", "gelf.h"),
        {
            "apt": "libelf-dev",
            "dnf": "elfutils-libelf-devel",
            "pacman": "libelf",
            "zypper": "libelf-devel",
        },
    ),
    Need(
        "OpenSSL headers",
        "kernels (scripts)",
        _header("openssl/opensslv.h"),
        {
            "apt": "libssl-dev",
            "dnf": "openssl-devel",
            "pacman": "openssl",
            "zypper": "libopenssl-devel",
        },
    ),
    Need(
        "Python's venv",
        "the set-up",
        _venv,
        {"apt": "python3-venv", "dnf": "python3", "pacman": "python", "zypper": "python3"},
    ),
    Need(
        "an SSH client",
        "harness shell",
        _program("ssh"),
        {
            "apt": "openssh-client",
            "dnf": "openssh-clients",
            "pacman": "openssh",
            "zypper": "openssh-clients",
        },
    ),
    Need(
        "mmdebstrap",
        "other people's tests that want a shell and libraries",
        _program("mmdebstrap"),
        {"apt": "mmdebstrap"},
        optional=True,
    ),
    Need("lcov", "pages of harness coverage", _program("genhtml"), _same("lcov"), optional=True),
    Need("ccache", "faster builds", _program("ccache"), _same("ccache"), optional=True),
    Need(
        "git send-email",
        "sending a report, and its test",
        lambda: any(
            Path(folder, "git-core", "git-send-email").exists()
            for folder in ("/usr/lib", "/usr/libexec")
        ),
        {**_same("git-email"), "apt": "git-email libmailtools-perl", "pacman": "git"},
        optional=True,
        testing=True,
    ),
    Need(
        "chromium",
        "the tests of the page",
        lambda: _program("chromium")() or _program("chromium-browser")(),
        _same("chromium"),
        optional=True,
        testing=True,
    ),
)


def missing(needs: Sequence[Need] = NEEDS) -> list[Need]:
    return [need for need in needs if not need.there()]


def package_manager() -> str:
    """The key into INSTALL for this host; empty where it has none that is known."""
    for name, program in _MANAGER_PROGRAMS.items():
        if shutil.which(program):
            return name
    return ""


def packages(needs: Sequence[Need], manager: str) -> list[str]:
    there = (need.packages[manager] for need in needs if manager in need.packages)
    return list(dict.fromkeys(there))


def install_line(needs: Sequence[Need], manager: str) -> str:
    """The command that installs what ``needs`` lack, ready to paste."""
    return " ".join(["sudo", *INSTALL[manager], *packages(needs, manager)])


def memory_available() -> int:
    """Bytes that can be had without swapping, from /proc/meminfo."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return 0


if __name__ == "__main__":
    if sys.argv[1:] not in (["--packages"], ["--packages", "--all"]):
        sys.exit("usage: doctor.py --packages [--all]")
    found = package_manager()
    lacking = missing()
    if "--all" not in sys.argv:
        lacking = [need for need in lacking if not need.testing]
    if "--all" not in sys.argv and all(need.optional for need in lacking):
        lacking = []  # what only saves time is not worth asking for root
    if lacking and not found:
        sys.exit("missing: " + ", ".join(need.name for need in lacking))
    print(" ".join(packages(lacking, found)))
