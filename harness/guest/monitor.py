"""The one thread that watches a guest: QMP events, the QEMU process, console, pulse, SSH link."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from qemu.qmp import QMPClient, QMPError, Runstate

from harness.errors import GuestLost
from harness.guest.agent import Agent
from harness.guest.life import LifeLog, PanicText, Quiet
from harness.guest.lived import Lived
from harness.guest.seam import LifeEvent
from harness.guest.ssh import Link
from harness.proc import Child

logging.getLogger("qemu.qmp").addHandler(logging.NullHandler())

TICK = 0.2
QMP_SILENT = 10.0
"""Seconds without an answer on QMP.  QEMU's main loop answers at once, but on a host with
more guests than CPUs it may wait for seconds to be scheduled."""
PULSE_SILENT = 15.0
"""Seconds of the guest's own without a beat, where one a second is due.  The beat needs no fork and
no memory, only to be scheduled, and the scheduler gives each runnable task its turn within a
fraction of that.  They are those in which the guest had its CPUs (``lived.Lived``): an emulated one
on a busy host was seen to be silent for 15 s of the host's, and to have run for one of them."""
PULSE_MOST = 4 << 20
"""Bytes on the pulse's line in a guest's life: nine days of beats, and the agent's few answers.
Who writes more hides a beat that stops, and fills the host's disk."""
SSH_SILENT = 20.0
"""Seconds for an answer on the SSH level while the pulse goes on: the guest's SSH server may
have to wait for memory, for a CPU, and for its own decryption under emulation."""
SSH_PERIOD = 5.0
_MIGRATION = 30.0
"""Seconds for the state of all devices, half a megabyte."""

_QMP_ERRORS = (QMPError, OSError, EOFError, asyncio.TimeoutError)


class Monitor:
    """Watches from construction until ``close``; what it sees goes to the log."""

    def __init__(
        self,
        qemu: Child,
        qmp: socket.socket,
        agent: Agent,
        console: Path,
        log: LifeLog,
        *,
        running: bool = True,
        greeted: bool = False,
    ) -> None:
        """``running`` False: the guest is paused on purpose, until ``thaw`` or ``resume``.
        ``greeted`` tells that another harness has talked on this QMP connection before.
        """
        self._qemu = qemu
        self._socket = qmp
        self._agent = agent
        self._console = console
        self._log = log
        self._running = running
        self._link: Link | None = None
        self._ready = False
        self._client = QMPClient("guest")
        self._client.await_greeting = self._client.negotiate = not greeted
        self._loop = asyncio.new_event_loop()
        self._connected = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="guest-monitor", daemon=True)
        self._thread.start()

    def connected(self) -> bool:
        return self._connected.is_set()

    def watch_user_space(self, link: Link) -> None:
        """From now on pulse and SSH link count: the guest is ready."""
        self._link = link
        self._ready = True

    def let_go(self) -> None:
        """From now on they do not count any more: the guest is on its way to a template."""
        self._link, self._ready = None, False

    def ask(
        self, command: str, arguments: Mapping[str, object] | None = None, timeout: float = 5.0
    ) -> Any:
        """Run a QMP command.  Raises GuestLost when there is no answer."""
        if not self._connected.is_set() or self._loop.is_closed():
            raise GuestLost(f"QMP {command}: QEMU is not connected")
        work = self._client.execute(command, dict(arguments or {}))
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)
        except (*_QMP_ERRORS, TimeoutError, RuntimeError) as error:
            work.close()
            raise GuestLost(f"QMP {command}: {str(error) or 'no answer'}") from None

    def human(self, command: str, timeout: float = 5.0) -> str:
        """Run a command of QEMU's human monitor."""
        return str(self.ask("human-monitor-command", {"command-line": command}, timeout))

    def thaw(self, state: str) -> None:
        """Load the state of a guest that ``freeze`` saved, and let it run.  Raises GuestLost."""
        self._ignore_shared()
        self.ask("migrate-incoming", {"uri": state}, _MIGRATION)
        self._await_migration()
        self.resume()

    def freeze(self, state: str) -> None:
        """Stop the guest and save all but its memory, which is in files.  Raises GuestLost."""
        self.pause()
        self._ignore_shared()
        self.ask("migrate", {"uri": state}, _MIGRATION)
        self._await_migration()

    def pause(self) -> None:
        self._running = False
        self.ask("stop")

    def resume(self) -> None:
        self.ask("cont")
        self._running = True

    def copy_of_connection(self) -> int:
        """A descriptor of the QMP connection, for who talks on it next; nobody here does then."""
        number = os.dup(self._socket.fileno())
        self.close()
        return number

    def look_away(self) -> None:
        """A debugger stops and starts the guest from now on, until ``pause`` or ``resume``."""
        self._running = False

    def _ignore_shared(self) -> None:
        capability = {"capability": "x-ignore-shared", "state": True}
        self.ask("migrate-set-capabilities", {"capabilities": [capability]})

    def _await_migration(self) -> None:
        deadline = time.monotonic() + _MIGRATION
        while (status := self.ask("query-migrate").get("status")) != "completed":
            if status == "failed" or time.monotonic() > deadline:
                raise GuestLost(f"QEMU's migration: {status or 'no end'}")
            time.sleep(0.002)

    def close(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed already
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._watch())
        finally:
            self._loop.close()
            self._socket.close()
            self._agent.close()

    async def _watch(self) -> None:
        tick = asyncio.create_task(self._ticks())
        talk = asyncio.create_task(self._talk())
        await self._stop.wait()
        for task in (tick, talk):
            task.cancel()
        await asyncio.gather(tick, talk, return_exceptions=True)
        with contextlib.suppress(*_QMP_ERRORS):
            await asyncio.wait_for(self._client.disconnect(), 2)

    async def _talk(self) -> None:
        """Until the connection ends.  That QEMU is gone is seen, and told, by ``_look``."""
        try:
            await self._client.connect(self._socket)
        except _QMP_ERRORS:
            return
        self._connected.set()
        events = asyncio.create_task(self._events())
        status = asyncio.create_task(self._status())
        try:
            while self._client.runstate is Runstate.RUNNING:
                await self._client.runstate_changed()
        finally:
            events.cancel()
            status.cancel()
        await asyncio.sleep(2)
        self._add(LifeEvent.QEMU_GONE, "it closed its monitor connection")

    async def _events(self) -> None:
        async for message in self._client.events:
            data: Any = message.get("data", {})
            if message["event"] == "GUEST_PANICKED":
                self._add(LifeEvent.PANICKED, "GUEST_PANICKED")
            elif message["event"] == "RESET" and data.get("guest"):
                self._add(LifeEvent.RESET, str(data.get("reason", "")))
            elif message["event"] == "SHUTDOWN" and data.get("guest"):
                # -action reboot=shutdown makes a shutdown of each reset, with its reason.
                reset = data.get("reason") == "guest-reset"
                event = LifeEvent.RESET if reset else LifeEvent.SHUTDOWN
                self._add(event, str(data.get("reason", "")))

    async def _status(self) -> None:
        while True:
            try:
                reply = await asyncio.wait_for(self._client.execute("query-status"), QMP_SILENT)
            except TimeoutError:
                self._add(LifeEvent.QEMU_STOPPED, f"no answer on QMP for {QMP_SILENT:g} s")
                return
            except _QMP_ERRORS:
                return
            if self._running and isinstance(reply, dict) and not reply.get("running"):
                self._add(LifeEvent.QEMU_STOPPED, f"its state is {reply.get('status')}")
            await asyncio.sleep(2)

    async def _ticks(self) -> None:
        lived = Lived(self._qemu.pid)
        look = _Look(self._qemu, self._console, self._agent, lived)
        probe = LinkProbe(lived.seconds)
        while True:
            self._agent.drain()
            for event, detail in look.now(self._ready and self._running):
                self._add(event, detail)
            if self._link is None or not self._running or self._log.events():
                # Not there yet, or closed below, or of a guest that is paused: it says nothing new.
                probe = LinkProbe(lived.seconds)
            elif trouble := probe.now(self._link):
                self._add(LifeEvent.SSH_LOST, trouble)
            await asyncio.sleep(TICK)

    def _add(self, event: LifeEvent, detail: str) -> None:
        self._log.add(event, detail)
        if self._link is not None:
            self._link.close()  # ends every call that is blocked in it


class _Look:
    """What can be seen from outside, without asking QEMU."""

    def __init__(self, qemu: Child, console: Path, agent: Agent, lived: Lived) -> None:
        self._qemu = qemu
        self._console = console
        self._agent = agent
        self._lived = lived
        self._read = 0
        self._panic = PanicText()
        self._beat = Quiet(lived.seconds)
        self._stops = 0

    def now(self, ready: bool) -> list[tuple[LifeEvent, str]]:
        seen = []
        if line := self._panic_line():
            seen.append((LifeEvent.PANICKED, line))
        status = self._qemu.poll()
        if status is not None:
            return [*seen, (LifeEvent.QEMU_GONE, ending(status))]
        self._stops = self._stops + 1 if _state(self._qemu.pid) == "T" else 0
        if self._stops > 1:
            return [*seen, (LifeEvent.QEMU_STOPPED, "stopped by a signal")]
        if not ready:
            # A pause is no silence, also not when it is over.
            self._beat = Quiet(self._lived.seconds)
            return seen
        beats = self._agent.beats
        if beats > PULSE_MOST:
            seen.append((LifeEvent.PULSE_FLOODED, f"{beats} bytes, at most {PULSE_MOST} expected"))
        silent = self._beat.look(beats)
        if silent > PULSE_SILENT:
            seen.append((LifeEvent.PULSE_LOST, f"no beat for {silent:.0f} s of its time"))
        return seen

    def _panic_line(self) -> str:
        with contextlib.suppress(FileNotFoundError), self._console.open("rb") as stream:
            stream.seek(self._read)
            data = stream.read(1 << 20)
            self._read += len(data)
            return self._panic.feed(data) if data else ""
        return ""


class LinkProbe:
    """Asks the SSH server for an answer now and then, while somebody waits for the link.

    ``clock`` is the guest's, where there is one.
    """

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._asking: threading.Thread | None = None
        self._asked = time.monotonic()
        self._quiet = Quiet(clock)
        self._ended = 0

    def now(self, link: Link) -> str:
        if not link.alive:
            # Where QEMU has ended, its connections end first: look there before saying so.
            self._ended += 1
            return "the connection ended" if self._ended > 2 else ""
        if self._asking is not None and self._asking.is_alive():
            silent = self._quiet.look(self._asked)
            return f"no answer for {silent:.0f} s" if silent > SSH_SILENT else ""
        if link.busy and time.monotonic() - self._asked > SSH_PERIOD:
            self._asked = time.monotonic()
            self._asking = link.ask()
        return ""


def size(file: Path) -> int:
    """Bytes in ``file``; 0 where it is not there yet."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def ending(status: int) -> str:
    return f"by signal {-status}" if status < 0 else f"with exit status {status}"


def _state(pid: int) -> str:
    """The process state letter of proc(5); empty where the process is gone."""
    try:
        return (
            Path(f"/proc/{pid}/stat")
            .read_text(encoding="ascii", errors="replace")
            .rpartition(") ")[2][:1]
        )
    except OSError:
        return ""
