"""A machine that is booted already, by SSH alone: ``seam.Guest`` without QEMU.

Its console is what /dev/kmsg gives, followed on a channel of its own.  A panic may come
too late for that: what is then seen is a link that is gone.
"""

from __future__ import annotations

import contextlib
import getpass
import re
import secrets
import shlex
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import paramiko

from harness.errors import EnvironmentFault, GuestLost, UsageError
from harness.guest.kmsg import KmsgLines
from harness.guest.life import LifeLog, PanicText
from harness.guest.monitor import TICK, LinkProbe
from harness.guest.seam import NOT_TAKEN, Completed, Life, LifeEvent, Load, Running, wait_for
from harness.guest.ssh import Command, Link, open_link
from harness.progress import Progress

CONNECT_DEADLINE = 60.0
KNOWN_HOSTS = Path("~/.ssh/known_hosts")
_TARGET = re.compile(r"(?:([^@\s]+)@)?(\[[0-9a-fA-F:.%\w]+\]|[^@:\s\[\]]+)(?::(\d+))?\Z")


def parse_target(target: str) -> tuple[str, str, int]:
    """``user@host[:port]`` to user, host, port; an IPv6 address stands in brackets."""
    match = _TARGET.match(target)
    port = int(match[3] or 22) if match else 0
    if match is None or not 0 < port < 1 << 16:
        raise UsageError(f"--ssh {target}: expected user@host or user@host:port")
    return match[1] or getpass.getuser(), match[2].strip("[]"), port


def connect(
    target: str, key: Path | None, progress: Progress, known_hosts: Path | None = None
) -> RemoteGuest:
    """Log in to a machine as ``user@host[:port]``.

    Without ``key`` the user's own keys and agent are tried.  The host's key must be in
    ``known_hosts``, or in the user's own file.  Raises UsageError for what the user can
    mend (target, key, host key) and EnvironmentFault for a host that does not answer.
    """
    user, host, port = parse_target(target)
    for file in (key, known_hosts):
        if file is not None and not file.is_file():
            raise UsageError(f"{file}: no such file")
    known = known_hosts or KNOWN_HOSTS.expanduser()
    log = LifeLog()

    def pin(client: paramiko.SSHClient) -> None:
        if known.is_file():
            client.load_host_keys(str(known))

    with progress.stage(f"connecting to {target}"):
        try:
            link = open_link(
                *(host, port, user, log),
                timeout=CONNECT_DEADLINE,
                prepare=pin,
                key_file=str(key) if key else "",
                personal=key is None,
            )
        except paramiko.BadHostKeyException as error:
            raise UsageError(f"{target}: its host key is not the one in {known}: {error}") from None
        except paramiko.AuthenticationException as error:
            raise UsageError(
                f"{target}: {error}", hint="give a key that may log in there, with --ssh-key FILE"
            ) from None
        except paramiko.SSHException as error:
            if "known_hosts" in str(error):
                raise UsageError(
                    f"{target}: its host key is not in {known}",
                    hint=f"log in once and check it: ssh -p {port} {user}@{host}",
                ) from None
            raise EnvironmentFault(f"{target}: SSH: {error}") from None
        except (OSError, EOFError) as error:
            raise EnvironmentFault(f"{target}: no SSH connection: {error}") from None
        try:
            return RemoteGuest(target, link, log)
        except BaseException:
            link.close()
            raise


class RemoteGuest:
    """``seam.Guest`` over SSH alone."""

    def __init__(self, target: str, link: Link, log: LifeLog) -> None:
        self._target = target
        self._link = link
        self._log = log
        self._text = bytearray()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._check_kmsg()
        self._kmsg = link.start("while :; do cat /dev/kmsg; sleep 0.2; done")
        self._thread = threading.Thread(target=self._watch, name="remote-monitor", daemon=True)
        self._thread.start()
        try:
            self._boot_end = self._catch_up()
        except BaseException:
            self.end()
            raise

    def _check_kmsg(self) -> None:
        done = self._link.run("[ -r /dev/kmsg ] && [ -w /dev/kmsg ]", timeout=30)
        if done.status:
            raise UsageError(
                f"{self._target}: /dev/kmsg cannot be read and written there, so no splat is seen",
                hint="log in as root",
            )

    def _catch_up(self) -> int:
        """Console offset behind what the machine's kernel had printed before."""
        marker = f"harness: connected {secrets.token_hex(16)}"
        self._link.run(f"echo '{marker}' >/dev/kmsg", timeout=30)
        if not wait_for(lambda: marker.encode() in self.console(), 30):
            self._log.check(f"{self._target}: reading /dev/kmsg")
            raise GuestLost(f"{self._target}: what is written to /dev/kmsg does not come back")
        text = self.console()
        return text.index(b"\n", text.index(marker.encode())) + 1

    def _watch(self) -> None:
        lines, panic, probe = KmsgLines(), PanicText(), LinkProbe()
        read = 0
        while not self._stop.wait(TICK / 4):
            read += self._take(self._kmsg, read, lines, panic)
            if trouble := probe.now(self._link):
                self._log.add(LifeEvent.SSH_LOST, trouble)
            if self._log.events():
                self._link.close()
                return

    def _take(self, kmsg: Command, read: int, lines: KmsgLines, panic: PanicText) -> int:
        """Move what came since byte ``read`` to the console; give how many bytes that was."""
        raw = kmsg.so_far()[0][read:]
        text = lines.feed(raw)
        with self._lock:
            self._text += text
        if line := panic.feed(text):
            self._log.add(LifeEvent.PANICKED, line)
        return len(raw)

    @property
    def boot_end(self) -> int:
        return self._boot_end

    @property
    def command(self) -> tuple[str, ...]:
        return ()

    def console(self, offset: int = 0) -> bytes:
        with self._lock:
            return bytes(self._text[offset:])

    def console_size(self) -> int:
        with self._lock:
            return len(self._text)

    def life(self) -> Sequence[Life]:
        return self._log.events()

    def run(self, command: str, *, timeout: float = 30.0, stdin: bytes = b"") -> Completed:
        return self._link.run(command, timeout=timeout, stdin=stdin)

    def start(self, command: str, load: Load | None = None) -> Running:
        if load is None:
            return self._link.start(command)
        path, size = shlex.quote(load.path), len(load.content)
        # In one block: what comes behind it on the same input is the command's own.
        take = f"umask 077; dd bs={size} count=1 iflag=fullblock of={path} && chmod {load.mode:o}"
        take = f"({take} {path}) 2>/dev/null || exit {NOT_TAKEN}"
        return self._link.start(f"{take}; {command}", stdin=load.content, more=True)

    def lived(self) -> float:
        return time.monotonic()  # what its CPUs have to do is not known here

    def postmortem(self) -> str:
        seen = [f"life: {life.event.value} {life.detail}".rstrip() for life in self.life()]
        return "\n".join([*seen, f"{self._target} was not booted here: nothing more is known"])

    def end(self) -> None:
        """Let go of the machine; it runs on."""
        self._log.close()
        with contextlib.suppress(GuestLost):
            self._kmsg.kill()
        self._stop.set()
        self._thread.join(10)
        self._link.close()

    def __enter__(self) -> RemoteGuest:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()
