"""A guest that the harness booted: QEMU, what it writes, and the link to it."""

from __future__ import annotations

import os
import re
import shlex
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from harness.errors import GuestLost
from harness.guest import delta, rootfs
from harness.guest.agent import Agent
from harness.guest.capture import dump
from harness.guest.control import Controlled, Handover
from harness.guest.keys import GuestKeys
from harness.guest.life import LifeLog
from harness.guest.lived import Lived
from harness.guest.monitor import Monitor, size
from harness.guest.seam import Completed, Life, Load, Running
from harness.guest.ssh import Link
from harness.proc import Child

_SETTLE = 5.0
"""Seconds that a guest gets to come to rest before it is frozen; it takes less than one alone."""
_REGISTERS = re.compile(r"(CPU#|RAX=|RSI=|R8 =|R12=|RIP=|CR0=)")


@dataclass(frozen=True)
class Address:
    """Where a guest's SSH server is reached from this host."""

    host: str
    port: int
    user: str = "root"


class QemuGuest:
    """``seam.Guest`` over a QEMU of our own.  Made by ``boot``; ended by ``end`` or ``with``.

    ``memory`` are its bytes, ``release`` is its kernel's.
    ``started`` and ``ready`` are time.monotonic() of QEMU's start and of the marker that
    says that the SSH server listens; ``template`` is the key of the one it was copied from.
    """

    def __init__(
        self,
        *,
        qemu: Child,
        command: Sequence[str],
        monitor: Monitor,
        agent: Agent,
        link: Link,
        log: LifeLog,
        console: Path,
        boot_end: int,
        address: Address,
        keys: GuestKeys,
        memory: int,
        release: str,
        started: float,
        ready: float,
    ) -> None:
        self._qemu = qemu
        self._command = tuple(command)
        self._monitor = monitor
        self._agent = agent
        self._link = link
        self._log = log
        self._console = console
        self._boot_end = boot_end
        self._keys = keys
        self._memory, self._release = memory, release
        self._lived = Lived(qemu.pid)
        self._ending = threading.Lock()
        self._at_end: list[Callable[[], None]] = []
        self.address = address
        self.started = started
        self.ready = ready
        self.template = ""

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

    @property
    def console_file(self) -> Path:
        return self._console

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

    def start(self, command: str, load: Load | None = None) -> Running:
        if load is None:
            return self._link.start(command)
        # See guests/rootfs/shell.c: no further process has to be started for it.
        content = load.content
        stream = delta.encode(rootfs.base(), content)
        about = f"{len(stream)} {len(content)} {delta.check(content):x} {load.mode:o} {load.path}"
        return self._link.start(f"#take {about}\n{command}", stdin=stream, more=True)

    def lived(self) -> float:
        return self._lived.seconds()

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

    def pause(self) -> None:
        """Stop its CPUs; what watches it takes no offence.  Raises GuestLost."""
        self._monitor.pause()

    def resume(self) -> None:
        self._monitor.resume()

    def dump(self, path: Path) -> None:
        """Write its memory, while it is paused.  Raises EnvironmentFault, GuestLost."""
        dump(self._monitor, path, self._memory, self._release)

    def hold(self) -> Controlled:
        """What a keeper needs to let others look into it."""
        return Controlled(self._monitor, self._memory, self._release)

    def let_go(self) -> Handover:
        """Give the paused guest to another process, which gets copies of what is returned.

        It can only be ended then, which ends it for the other one too, or be forgotten.
        """
        self._log.close()
        self._link.close()
        life, report = self._qemu.pipes
        agent = self._agent.copy_of_connection()  # first: the monitor closes it
        qmp = self._monitor.copy_of_connection()
        return Handover(self.pid, os.dup(life), os.dup(report), qmp, agent)

    def forget(self) -> None:
        """Another process has it now."""
        with self._ending:
            self._qemu.let_go()
            self._tell_the_end()

    def freeze(self, state: Path) -> None:
        """Make it anybody's, stop it, and save what is not memory.  It can only be ended then.

        The link and the keys go first: a copy gets its own.  Raises GuestLost.
        """
        self._monitor.let_go()
        self._link.close()
        self._agent.forget()
        self._await_idle()
        self._monitor.freeze(f"exec:cat >{shlex.quote(str(state))}")

    def _await_idle(self) -> None:
        """Until QEMU takes little of a CPU: what the boot has put off is done then."""
        deadline = time.monotonic() + _SETTLE
        calm = 0
        while calm < 3 and time.monotonic() < deadline:
            before = _cpu_seconds(self.pid)
            time.sleep(0.2)
            calm = calm + 1 if _cpu_seconds(self.pid) - before < 0.06 else 0

    def end(self) -> None:
        with self._ending:
            self._log.close()
            self._link.close()
            self._qemu.kill()
            self._monitor.close()
            self._tell_the_end()

    def at_end(self, call: Callable[[], None]) -> None:
        """``call`` is called when the guest has ended, or is another process's."""
        self._at_end.append(call)

    def _tell_the_end(self) -> None:
        calls, self._at_end = self._at_end, []
        for call in calls:
            call()

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


def _cpu_seconds(pid: int) -> float:
    """CPU time that a process has taken; 0 where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
