"""Commands in a guest by SSH: one connection, nothing that waits without a deadline.

SSH never tells whether a guest lives.  Whoever learns that it does not closes the link,
and every call that is blocked in it returns.
"""

from __future__ import annotations

import contextlib
import logging
import shlex
import threading
import time
from collections.abc import Callable

import fabric
import paramiko

from harness.errors import GuestLost
from harness.guest.channel import end_input, execute, terminate
from harness.guest.life import LifeLog
from harness.guest.seam import Completed, wait_for

for _name in ("paramiko", "fabric", "invoke"):  # else what they log lands on standard error
    logging.getLogger(_name).addHandler(logging.NullHandler())

OPEN_DEADLINE = 30.0
"""Seconds for the guest to open a channel; a loaded emulated CPU takes one or two."""
MAX_STREAM = 16 << 20
"""Bytes kept of each stream of a command: a reproducer gone wild must not fill this host."""
_CHUNK = 1 << 16
_ERRORS = (paramiko.SSHException, OSError, EOFError)
_WHY = 2.0
"""Seconds that the monitor gets to learn why a link broke."""
_HELD_OPEN = 1.0
"""Seconds that a command's output is waited for after its exit status: what it left in the
background may hold the channel open for ever."""

# What guests/rootfs/shell.c does in a guest of our own, for a machine with a usual shell.
# The signal TERM, sent on the channel, reaches this shell alone; it kills the command's
# whole group; the trap comes first, since a shell that dies without it leaves the rest
# behind.  A background job of a shell reads /dev/null, unless told otherwise, and the
# wait for one that was killed prints "Killed", which is not the command's own error output.
_WRAPPER = """end() {{ k=1; [ -z "$p" ] || kill -KILL -$p || kill -KILL $p; }}
trap end TERM HUP
exec 3<&0
setsid sh -c {command} <&3 3<&- &
p=$!
[ "$k" ] && end
wait $p 2>/dev/null; s=$?
[ "$k" ] && {{ wait $p 2>/dev/null; s=$?; }}
exit $s"""


# dropbear 2022.83 closes a channel that is opened while the command of another one ends
# (channel.py): the new command is refused and has not begun, so that it can be asked for again.
_TRIES = 8
# A signal that comes between dropbear's fork() and exec() is lost on its own handler.
_AGAIN = 1.0


class Link:
    """An open SSH connection.  ``groups`` tells that the machine's own shell gives each command a
    process group, and kills all of it on the signal TERM.
    """

    def __init__(
        self, connection: fabric.Connection, log: LifeLog, *, groups: bool = False
    ) -> None:
        self._connection = connection
        self._groups = groups
        self._log = log
        self._transport: paramiko.Transport = connection.client.get_transport()
        self._commands: list[Command] = []
        self._lock = threading.Lock()

    def start(self, command: str, *, stdin: bytes = b"", more: bool = False) -> Command:
        """Start ``command`` in a process group of its own; ``more`` is told to it later."""
        name = shown(command)
        self._log.check(f"starting {name}")
        if not self._groups:
            wrapped = _WRAPPER.format(command=shlex.quote(command))
            command = "exec sh -c " + shlex.quote(wrapped)
        for left in reversed(range(_TRIES)):
            try:
                channel = self._transport.open_session(timeout=OPEN_DEADLINE)
                channel.settimeout(OPEN_DEADLINE)
                execute(channel, command)
                break
            except _ERRORS as error:
                self._log.check(f"starting {name}")
                if not left or not self.alive or isinstance(error, TimeoutError):
                    raise GuestLost(f"starting {name}: SSH: {error}") from None
        if not stdin and not more:
            with contextlib.suppress(*_ERRORS):  # it may have ended already
                end_input(channel)
        running = Command(channel, self._transport, stdin, more=more)
        with self._lock:
            self._commands = [*(c for c in self._commands if not c.done), running]
        return running

    def run(self, command: str, *, timeout: float, stdin: bytes = b"") -> Completed:
        """Run ``command`` to its end; GuestLost when the guest dies or ``timeout`` passes."""
        deadline = time.monotonic() + timeout
        running = self.start(command, stdin=stdin)
        while (done := running.poll()) is None:
            self._log.check(f"running {shown(command)}")
            if not running.open:
                wait_for(lambda: bool(self._log.events()), _WHY)
                self._log.check(f"running {shown(command)}")
                raise GuestLost(f"running {shown(command)}: the SSH link broke")
            if time.monotonic() >= deadline:
                running.kill()
                wait_for(lambda: running.poll() is not None, _WHY)  # see _TRIES
                raise GuestLost(f"running {shown(command)}: no end within {timeout:g} s")
            time.sleep(0.005)
        return done

    @property
    def busy(self) -> bool:
        """Whether a command is under way, so that somebody waits for the link."""
        return any(not command.done for command in tuple(self._commands))

    @property
    def alive(self) -> bool:
        return bool(self._transport.is_active())

    def ask(self) -> threading.Thread:
        """A round trip on the SSH level, under way in the thread; it ends with the answer."""
        thread = threading.Thread(target=self._ask, name="ssh-probe", daemon=True)
        thread.start()
        return thread

    def _ask(self) -> None:
        with contextlib.suppress(*_ERRORS):  # a broken link is seen by ``alive``
            self._transport.global_request("keepalive@openssh.com", wait=True)

    def close(self) -> None:
        """Ends every call that is blocked in the link.  Idempotent."""
        with contextlib.suppress(*_ERRORS):
            self._transport.close()


class Command:
    """A command under way: ``seam.Running``."""

    def __init__(
        self,
        channel: paramiko.Channel,
        transport: paramiko.Transport,
        stdin: bytes,
        *,
        more: bool = False,
    ) -> None:
        self._channel = channel
        self._transport = transport
        self._stdin = memoryview(stdin)
        self._more = more
        self._out = bytearray()
        self._err = bytearray()
        self._done: Completed | None = None
        self._status_at = 0.0
        self._killed_at = 0.0
        self._lock = threading.Lock()

    @property
    def open(self) -> bool:
        """Whether the link that it runs over is there."""
        return bool(self._transport.is_active())

    @property
    def done(self) -> bool:
        return self._done is not None

    def poll(self) -> Completed | None:
        with self._lock:
            if self._done is None:
                if self._killed_at and time.monotonic() - self._killed_at > _AGAIN:
                    self.kill()
                self._feed()
                ended = self._ended()  # asked first: what came before the end is then there
                self._drain()
                if ended:
                    self._done = Completed(self._status(), bytes(self._out), bytes(self._err))
                    self._channel.close()
            return self._done

    def so_far(self) -> tuple[bytes, bytes]:
        self.poll()
        with self._lock:
            return bytes(self._out), bytes(self._err)

    def tell(self, data: bytes) -> None:
        with self._lock:
            self._stdin = memoryview(self._stdin.tobytes() + data)
            self._more = False
            self._feed()

    def kill(self) -> None:
        """By a signal on the channel."""
        self._killed_at = time.monotonic()
        with contextlib.suppress(*_ERRORS):
            if self.open:
                terminate(self._channel)

    def _feed(self) -> None:
        if not self._stdin:
            return
        with contextlib.suppress(*_ERRORS):
            while self._stdin and self._channel.send_ready():
                sent = self._channel.send(self._stdin[:_CHUNK].tobytes())
                self._stdin = self._stdin[sent:]
                if not sent:
                    break
            if not self._stdin and not self._more:
                end_input(self._channel)

    def _drain(self) -> None:
        with contextlib.suppress(*_ERRORS):
            while self._channel.recv_ready():
                _keep(self._out, self._channel.recv(_CHUNK))
            while self._channel.recv_stderr_ready():
                _keep(self._err, self._channel.recv_stderr(_CHUNK))

    def _ended(self) -> bool:
        if self._channel.closed:
            return self._channel.exit_status >= 0 or self.open
        if not self._channel.exit_status_ready():
            return False
        self._status_at = self._status_at or time.monotonic()
        return time.monotonic() - self._status_at > _HELD_OPEN

    def _status(self) -> int:
        """A channel that closes without a status: its shell itself was killed."""
        status = self._channel.exit_status
        return status if status >= 0 else 128 + 9


def _keep(stream: bytearray, data: bytes) -> None:
    """Append up to the limit; the first to go beyond it leaves a word behind."""
    room = MAX_STREAM - len(stream)
    if room >= 0:
        stream += data[:room]
        if len(data) > room:
            stream += b"\n[cut off by the harness]\n"


def open_link(
    host: str,
    port: int,
    user: str,
    log: LifeLog,
    *,
    timeout: float,
    prepare: Callable[[paramiko.SSHClient], None],
    pkey: paramiko.PKey | None = None,
    key_file: str = "",
    personal: bool = False,
    groups: bool = False,
) -> Link:
    """Connect and log in.  ``prepare`` gives the client the host keys that it may meet; ``groups``
    is the link's.

    Only with ``personal`` are the user's own agent and keys tried.  What fails is raised
    as paramiko's or the operating system's error: the caller knows what it means.
    """
    config = fabric.Config(ssh_config=paramiko.SSHConfig(), lazy=True)
    arguments: dict[str, object] = {
        "allow_agent": personal,
        "look_for_keys": personal,
        "banner_timeout": timeout,
        "auth_timeout": timeout,
        "channel_timeout": timeout,
    }
    if pkey is not None:
        arguments["pkey"] = pkey
    if key_file:
        arguments["key_filename"] = key_file
    connection = fabric.Connection(
        host,
        user=user,
        port=port,
        config=config,
        connect_timeout=max(1, round(timeout)),
        connect_kwargs=arguments,
    )
    connection.client.set_missing_host_key_policy(paramiko.RejectPolicy())
    prepare(connection.client)
    connection.open()
    return Link(connection, log, groups=groups)


def shown(command: str) -> str:
    """The start of a command, for a message."""
    line = command.strip().partition("\n")[0]
    return repr(line if len(line) <= 60 else line[:57] + "...")
