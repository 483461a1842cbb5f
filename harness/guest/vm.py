"""A guest that the harness booted: QEMU, what it writes, and the link to it."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from harness.errors import GuestLost
from harness.guest.keys import BootKeys
from harness.guest.life import LifeLog
from harness.guest.monitor import Monitor, size
from harness.guest.seam import Completed, Life, Running
from harness.guest.ssh import Link
from harness.proc import Child

_REGISTERS = re.compile(r"(CPU#|RAX=|RSI=|R8 =|R12=|RIP=|CR0=)")


@dataclass(frozen=True)
class Address:
    """Where a guest's SSH server is reached from this host."""

    host: str
    port: int
    user: str = "root"


class QemuGuest:
    """``seam.Guest`` over a QEMU of our own.  Made by ``boot``; ended by ``end`` or ``with``.

    ``started`` and ``ready`` are time.monotonic() of QEMU's start and of the marker that
    says that the SSH server listens.
    """

    def __init__(
        self,
        *,
        qemu: Child,
        command: Sequence[str],
        monitor: Monitor,
        link: Link,
        log: LifeLog,
        console: Path,
        boot_end: int,
        address: Address,
        keys: BootKeys,
        started: float,
        ready: float,
    ) -> None:
        self._qemu = qemu
        self._command = tuple(command)
        self._monitor = monitor
        self._link = link
        self._log = log
        self._console = console
        self._boot_end = boot_end
        self._keys = keys
        self._ending = threading.Lock()
        self.address = address
        self.started = started
        self.ready = ready

    @property
    def boot_end(self) -> int:
        return self._boot_end

    @property
    def command(self) -> tuple[str, ...]:
        return self._command

    @property
    def pid(self) -> int:
        """QEMU's."""
        return self._qemu.pid

    def console(self, offset: int = 0) -> bytes:
        with self._console.open("rb") as stream:
            stream.seek(offset)
            return stream.read()

    def console_size(self) -> int:
        return size(self._console)

    def life(self) -> Sequence[Life]:
        return self._log.events()

    def run(self, command: str, *, timeout: float = 30.0, stdin: bytes = b"") -> Completed:
        return self._link.run(command, timeout=timeout, stdin=stdin)

    def start(self, command: str) -> Running:
        return self._link.start(command)

    def push(self, content: bytes, path: str, mode: int = 0o755) -> None:
        self._link.push(content, path, mode)

    def postmortem(self) -> str:
        parts = [f"life: {life.event.value} {life.detail}".rstrip() for life in self.life()]
        try:
            parts.append(f"status: {self._monitor.ask('query-status', timeout=3)}")
            parts.append(f"registers: {_brief(self._monitor.human('info registers -a', 3))}")
        except GuestLost as error:
            parts.append(error.what)
        return "\n".join(parts)

    def write_access(self, folder: Path) -> tuple[Path, Path]:
        """Write a private key and a known_hosts file for ssh(1) to ``folder``; give their paths."""
        key, known = folder / "ssh_key", folder / "known_hosts"
        key.unlink(missing_ok=True)
        with os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
            stream.write(self._keys.client)
        known.write_text(
            f"[{self.address.host}]:{self.address.port} {self._keys.host_public}\n",
            encoding="ascii",
        )
        return key, known

    def end(self) -> None:
        with self._ending:
            self._log.close()
            self._link.close()
            self._qemu.kill()
            self._monitor.close()

    def __enter__(self) -> QemuGuest:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()


def _brief(registers: str) -> str:
    """Of "info registers -a" what tells where each CPU is: no segments, no vectors."""
    lines = [line.strip() for line in registers.splitlines()]
    return "\n  ".join(["", *(line for line in lines if _REGISTERS.match(line))])
