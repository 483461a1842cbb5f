"""How a guest that a keeper holds is looked into: a socket in its folder, and who holds it open.

One line of JSON asks, one answers, and what was asked for lasts until the connection ends, however
it ends: a debugger that was killed leaves the guest as it was before.  The folder is its owner's
alone (0700), and so is the socket.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import EnvironmentFault, GuestLost, HarnessError, UsageError
from harness.guest.capture import DEADLINE, dump
from harness.guest.monitor import Monitor

SOCKET = "control"
GDB = "gdb"
_LONGEST = 1 << 12


@dataclass(frozen=True)
class Handover:
    """Descriptors of a guest that another process takes over, and QEMU's process id."""

    pid: int
    life: int
    report: int
    qmp: int
    agent: int

    @property
    def descriptors(self) -> tuple[int, ...]:
        return self.life, self.report, self.qmp, self.agent

    def close(self) -> None:
        for number in self.descriptors:
            os.close(number)


@dataclass(frozen=True)
class Controlled:
    """``memory`` are the guest's bytes, ``release`` is its kernel's; ``frozen``: it is paused
    whenever nobody looks into it.
    """

    monitor: Monitor
    memory: int
    release: str
    frozen: bool = False


class Control:
    """The keeper's end.  One asks at a time; who comes second is told to wait."""

    def __init__(self, folder: Path, guest: Controlled) -> None:
        self._folder, self._guest = folder, guest
        self._at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._socket = socket.socket(socket.AF_UNIX)
        # By way of /proc a path of any length is short enough for the address of a socket.
        self._socket.bind(f"/proc/self/fd/{self._at}/{SOCKET}")
        self._socket.listen(8)
        self._asking = threading.Lock()
        threading.Thread(target=self._serve, name="control", daemon=True).start()

    @property
    def busy(self) -> bool:
        return self._asking.locked()

    def close(self) -> None:
        self._socket.close()
        for name in (SOCKET, GDB):
            with contextlib.suppress(OSError):
                (self._folder / name).unlink()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # it was closed
            while True:
                line, _ = self._socket.accept()
                threading.Thread(target=self._one, args=(line,), daemon=True).start()

    def _one(self, line: socket.socket) -> None:
        with line, contextlib.suppress(OSError, ValueError):
            asked = json.loads(line.recv(_LONGEST))
            if not self._asking.acquire(blocking=False):
                _send(line, {"error": "somebody else looks into it just now"})
                return
            try:
                self._obey(line, asked)
            finally:
                self._asking.release()

    def _obey(self, line: socket.socket, asked: Mapping[str, str]) -> None:
        verbs: dict[str, Callable[[str], str]] = {
            "gdb": self._gdb,
            "run": self._run,
            "dump": self._dump,
        }
        try:
            said = verbs[asked["do"]](str(asked.get("path", "")))
            _send(line, {"said": said})
            line.recv(1)  # until it ends
        except HarnessError as error:
            _send(line, {"error": error.what})
        finally:
            with contextlib.suppress(GuestLost):  # it has ended, which its keeper sees
                self._restore()

    def _gdb(self, _: str) -> str:
        monitor = self._guest.monitor
        path = f"/proc/{os.getpid()}/fd/{self._at}/{GDB}"
        with contextlib.suppress(OSError):
            (self._folder / GDB).unlink()
        monitor.look_away()
        told = monitor.human(f"gdbserver unix:{path},server=on,wait=off")
        if "ould not" in told or "ailed" in told:
            raise GuestLost(f"QEMU's gdbserver: {told.strip()[:200]}")
        return path

    def _run(self, _: str) -> str:
        self._guest.monitor.resume()
        return ""

    def _dump(self, path: str) -> str:
        self._guest.monitor.pause()
        dump(self._guest.monitor, Path(path), self._guest.memory, self._guest.release)
        return path

    def _restore(self) -> None:
        monitor = self._guest.monitor
        monitor.human("gdbserver none")
        if self._guest.frozen:
            monitor.pause()
        else:
            monitor.resume()


def _send(line: socket.socket, said: Mapping[str, str]) -> None:
    line.sendall(json.dumps(said).encode() + b"\n")


@contextmanager
def asked(folder: Path, do: str, path: Path | None = None) -> Iterator[str]:
    """Ask the keeper of the guest in ``folder``; what it grants lasts as long as the block.

    Raises UsageError where somebody else is at it, EnvironmentFault where the keeper is gone.
    """
    with contextlib.ExitStack() as undo:
        line = undo.enter_context(socket.socket(socket.AF_UNIX))
        line.settimeout(DEADLINE + 30)
        try:
            at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            undo.callback(os.close, at)
            line.connect(f"/proc/self/fd/{at}/{SOCKET}")
            _send(line, {"do": do, "path": str(path or "")})
            answer: Any = json.loads(line.makefile("rb").readline() or b"{}")
        except (OSError, ValueError) as error:
            raise EnvironmentFault(f"{folder.name}: its keeper does not answer: {error}") from None
        if "error" in answer:
            raise UsageError(f"{folder.name}: {answer['error']}")
        if "said" not in answer:
            raise EnvironmentFault(f"{folder.name}: its keeper ended")
        yield str(answer["said"])
