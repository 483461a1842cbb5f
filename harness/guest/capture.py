"""The memory of a guest as a file that drgn and crash(8) open, taken by QEMU, not by the guest."""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import time
from pathlib import Path

from harness.errors import EnvironmentFault, GuestLost
from harness.guest.monitor import Monitor

SPARE = 1 << 30
"""Bytes of disk that a dump must leave free, beside what it may take itself."""
DEADLINE = 300.0
"""Seconds: 1.3 GB were compressed in 6 s on an idle CPU, in 18 s on one that others shared."""


_FLAT_HEADER = 4096
_UTSNAME, _UTSNAME_FIELD = 12, 65
"""Where struct disk_dump_header has its copy of struct new_utsname, and the size of a field."""


def dump(monitor: Monitor, path: Path, memory: int, release: str) -> None:
    """Write ``path``, whole or not at all; the guest is paused, and stays so.

    ``memory`` are the guest's bytes, ``release`` its kernel's.  The format is makedumpfile's,
    compressed with zlib.  Raises EnvironmentFault where the disk has too little room, GuestLost
    where QEMU fails.
    """
    free = shutil.disk_usage(path.parent).free
    # Pages of zeros take nothing; what is compressed was a fortieth of the guest's memory.
    if free < SPARE + memory // 4:
        raise EnvironmentFault(f"{path.parent}: {free >> 20} MiB of disk are free, too few to dump")
    flat = path.with_name(f".{path.name}.flat")
    partial = path.with_name(f".{path.name}.partial")
    flat.unlink(missing_ok=True)
    try:
        monitor.ask(
            "dump-guest-memory",
            # In the background: QEMU goes on answering, or it would be taken for dead.
            {"paging": False, "format": "kdump-zlib", "detach": True, "protocol": f"file:{flat}"},
        )
        deadline = time.monotonic() + DEADLINE
        while (status := monitor.ask("query-dump").get("status")) == "active":
            if time.monotonic() > deadline:
                raise GuestLost(f"QEMU's dump: no end within {DEADLINE:g} s")
            time.sleep(0.05)
        if status != "completed":
            raise GuestLost(f"QEMU's dump: {status}")
        _unfold(flat, partial)
        _name(partial, release)
        partial.replace(path)
    except OSError as error:
        raise EnvironmentFault(f"{path}: {error.strerror}") from None
    finally:
        for file in (flat, partial):
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)


def _unfold(flat: Path, into: Path) -> None:
    """The flattened format, which QEMU writes, is a list of (offset, size, bytes).

    Readers of it need an index of the whole file first, and some readers do not know it.
    """
    with flat.open("rb") as source, into.open("wb") as target:
        os.fchmod(target.fileno(), 0o600)
        source.seek(_FLAT_HEADER)
        while len(head := source.read(16)) == 16:
            offset, size = struct.unpack(">qq", head)
            if offset < 0:
                return
            target.seek(offset)
            target.write(source.read(size))
    raise GuestLost("QEMU's dump: its end is missing")


def _name(file: Path, release: str) -> None:
    """QEMU leaves the system's name empty; libkdumpfile then does not know whose dump it is."""
    with file.open("r+b") as stream:
        for field, text in ((0, "Linux"), (1, "guest"), (2, release), (3, "#1"), (4, "x86_64")):
            stream.seek(_UTSNAME + field * _UTSNAME_FIELD)
            stream.write(text.encode()[: _UTSNAME_FIELD - 1].ljust(_UTSNAME_FIELD, b"\0"))
