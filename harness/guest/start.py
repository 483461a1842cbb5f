"""One start of QEMU, to a guest that takes commands: a boot, or a copy of a template."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

import paramiko

from harness import proc
from harness.errors import BootError, EnvironmentFault, GuestLost
from harness.guest import rootfs
from harness.guest.accel import Accel
from harness.guest.agent import Agent
from harness.guest.keys import ALGORITHM, make_keys
from harness.guest.life import LifeLog, Quiet
from harness.guest.lived import Lived
from harness.guest.monitor import Monitor, ending, size
from harness.guest.qemu import GIB, Launch, command
from harness.guest.seam import LifeEvent, wait_for
from harness.guest.ssh import Link, open_link
from harness.guest.vm import Address, QemuGuest
from harness.kernel.built import BuiltKernel
from harness.progress import Stage
from harness.spec.machine import MachineSpec
from harness.stop import Stop

STUCK = 45.0
"""Seconds without a byte on the console of an emulated guest that boots; at a load of eight
for two CPUs whole boots took 10 to 33 s."""

CLEARING = 60.0
"""Seconds more for each GiB of gigantic pages: the kernel clears them at boot without a word, 64
bytes at a time, 3 MB a second where an emulated CPU got a tenth of one and RAM was a file."""

_FORWARD = re.compile(r"TCP\[HOST_FORWARD\]\s+\S+\s+\S+\s+(\d+)\s+\S+\s+22\b")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[^\x20-\x7e\t]")
_LAST_LINES = 15
_Error = TypeVar("_Error", bound=BootError)


@dataclass(frozen=True)
class Setup:
    """What is started, how, and the folder that gets console, pulse and QEMU's own words."""

    kernel: BuiltKernel
    machine: MachineSpec
    run_dir: Path
    accel: Accel
    append: tuple[str, ...] = ()

    @property
    def clearing(self) -> float:
        """Seconds that the boot may take longer, and be silent, for its gigantic pages."""
        pages = (sum(pool.pages) for pool in self.machine.pools if pool.size == GIB)
        return CLEARING * sum(pages) if self.accel is Accel.TCG else 0.0

    @property
    def title(self) -> str:
        return f"{self.kernel.name} on {self.machine.name} ({self.accel.value})"


@dataclass(frozen=True)
class Frozen:
    """The files of a template that a start needs: RAM, the devices' state, the boot's console."""

    folder: Path

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def console(self) -> Path:
        return self.folder / "console.log"


class EmulatorFailed(BootError):
    """A boot that failed in a way that QEMU's emulation fails in; no trial has begun.

    ``word`` "crash": QEMU ended by SIGSEGV or SIGABRT before the guest was ready.  Seen with QEMU
    7.2, twice in all: while one CPU moves a PCI BAR, another one writes to its APIC,
    and memory_region_dispatch_write() is called without a region.

    ``word`` "stuck": an emulated guest that printed nothing for STUCK seconds.  Seen with QEMU 7.2
    and a distribution's 6.1, once in some hundred boots: nothing came behind "Switched to
    clocksource acpi_pm".  A kernel that hangs at boot by itself does so each time, and that is
    then told; each try leaves its console, and the last one the registers that it ended with.
    """

    word = ""
    how = ""


class Start:
    """One start; what it started is ended again unless it comes to its end."""

    def __init__(
        self,
        setup: Setup,
        stop: Stop | None = None,
        *,
        ram: Path | None = None,
        frozen: Frozen | None = None,
    ) -> None:
        """``ram`` is where a template's RAM files are to be; ``frozen`` the template to copy."""
        self._setup, self._stop = setup, stop or Stop()
        self._ram, self._frozen = ram, frozen
        self._kernel, self._machine = setup.kernel, setup.machine
        self._keys = make_keys()
        self._console = setup.run_dir / "console.log"
        self._pulse = setup.run_dir / "pulse.log"
        self._log_file = setup.run_dir / "qemu.log"
        for file in (self._console, self._pulse, self._log_file):
            file.write_bytes(b"")
        if frozen:
            self._console.write_bytes(frozen.console.read_bytes())
        self._life = LifeLog()

    def run(self, stage: Stage, timeout: float) -> QemuGuest:
        started = time.monotonic()
        deadline = started + timeout
        with contextlib.ExitStack() as undo:
            qmp, their_qmp = _pair(undo)
            line, their_line = _pair(undo)
            passed = [their_qmp.fileno(), their_line.fileno()]
            state = 0
            if self._frozen:
                file = undo.enter_context(self._frozen.state.open("rb"))
                passed.append(state := file.fileno())
            argv = command(self._launch(their_qmp.fileno(), their_line.fileno()))
            with their_qmp, their_line, self._log_file.open("ab") as log:
                qemu = proc.spawn(argv, stdout=log, stderr=log, pass_fds=passed)
            undo.callback(qemu.kill)
            agent = Agent(line, self._pulse)
            running = self._frozen is None
            monitor = Monitor(qemu, qmp, agent, self._console, self._life, running=running)
            undo.callback(monitor.close)
            undo.callback(self._life.close)
            with self._stop.calls(qemu.kill):
                if self._frozen:
                    self._thaw(qemu, monitor, state, deadline)
                    agent.introduce(self._keys)
                boot_end = self._await_ready(qemu, monitor, agent, stage, deadline, timeout)
                ready = time.monotonic()
                stage.note("logging in")
                address = Address("127.0.0.1", self._port(monitor))
                link = self._log_in(address, deadline)
                monitor.watch_user_space(link)
            undo.pop_all()
        return QemuGuest(
            qemu=qemu,
            command=argv,
            monitor=monitor,
            agent=agent,
            link=link,
            log=self._life,
            console=self._console,
            boot_end=boot_end,
            address=address,
            keys=self._keys,
            memory=self._machine.memory,
            release=self._kernel.release,
            started=started,
            ready=ready,
        )

    def _launch(self, qmp: int, agent: int) -> Launch:
        return Launch(
            image=self._kernel.image,
            release=self._kernel.release,
            initrd=rootfs.initramfs(self._kernel, root=self._setup.machine.root),
            machine=self._machine,
            accel=self._setup.accel,
            console=self._console,
            pulse=self._pulse,
            qmp=qmp,
            agent=agent,
            append=self._setup.append,
            memory=self._frozen.folder if self._frozen else self._ram,
            copy=self._frozen is not None,
        )

    def _thaw(self, qemu: proc.Child, monitor: Monitor, state: int, deadline: float) -> None:
        """Load the devices' state, and let the guest run where it was stopped."""

        def there() -> bool:
            return monitor.connected() or bool(self._life.events())

        wait_for(there, deadline - time.monotonic(), interval=0.002)
        if events := self._life.events():
            self._fail_by(events[0].event, events[0].detail, qemu)
        try:
            monitor.thaw(f"fd:{state}")
        except GuestLost as error:
            for event in self._life.events():
                self._fail_by(event.event, event.detail, qemu)
            self._fail(f"cannot be restored: {error}")

    def _await_ready(
        self,
        qemu: proc.Child,
        monitor: Monitor,
        agent: Agent,
        stage: Stage,
        deadline: float,
        timeout: float,
    ) -> int:
        """Console offset behind the marker's line."""
        marker = b"harness: ready " + self._keys.nonce.encode()
        read, tail = 0, b""
        quiet = Quiet(Lived(qemu.pid).seconds)
        while True:
            with self._console.open("rb") as stream:
                stream.seek(read)
                data = stream.read()
            read += len(data)
            tail += data
            at = tail.find(marker)
            if at >= 0 and (end := tail.find(b"\n", at)) >= 0:
                return read - len(tail) + end + 1
            tail = tail[-(1 << 12) :]
            if data:
                stage.note(_clean(tail).rstrip("\n").rpartition("\n")[2])
            if events := self._life.events():
                self._fail_by(events[0].event, events[0].detail, qemu)
            if not agent.introduced and agent.beats:
                agent.introduce(self._keys)
            if quiet.look(read) > STUCK + self._setup.clearing and self._setup.accel is Accel.TCG:
                self._fail_as_stuck(monitor)
            if time.monotonic() >= deadline:
                self._fail(f"was not ready within {timeout:g} s")
            time.sleep(0.01)

    def _port(self, monitor: Monitor) -> int:
        match = _FORWARD.search(monitor.human("info usernet"))
        if match is None:
            self._fail("came up, but QEMU names no forwarded port")
        return int(match[1])

    def _log_in(self, address: Address, deadline: float) -> Link:
        def pin(client: paramiko.SSHClient) -> None:
            name = f"[{address.host}]:{address.port}"
            client.get_host_keys().add(name, ALGORITHM, self._keys.host_key())

        try:
            return open_link(
                *(address.host, address.port, address.user, self._life),
                timeout=max(1.0, min(60.0, deadline - time.monotonic())),
                prepare=pin,
                pkey=self._keys.client_key(),
                groups=True,
            )
        except (paramiko.SSHException, OSError, EOFError) as error:
            for life in self._life.events():
                self._fail(f"came up, then: {life.event.value} ({life.detail})")
            self._fail(f"came up, but SSH does not: {error}")

    def _fail_by(self, event: LifeEvent, detail: str, qemu: proc.Child) -> NoReturn:
        if event is LifeEvent.QEMU_GONE and size(self._console) == 0:
            said = _clean(self._log_file.read_bytes()).strip()[-2000:] or "nothing"
            raise EnvironmentFault(
                f"QEMU did not start: it ended {ending(qemu.wait(10))} and said: {said}",
                hint=f"its command line: {' '.join(qemu.argv)}",
            )
        if event is LifeEvent.QEMU_GONE and -qemu.wait(10) in (signal.SIGSEGV, signal.SIGABRT):
            error = self._error(f"did not boot: QEMU crashed ({detail})", EmulatorFailed)
            error.word, error.how = "crash", f"QEMU itself crashed {detail}"
            raise error
        if event is LifeEvent.PANICKED:
            self._let_panic_speak()
        self._fail(f"did not boot: {event.value} ({detail})")

    def _fail_as_stuck(self, monitor: Monitor) -> NoReturn:
        registers = self._console.with_name("stuck.txt")
        with contextlib.suppress(GuestLost):
            registers.write_text(monitor.human("info registers -a"), encoding="utf-8")
        silent = f"printed nothing for {STUCK + self._setup.clearing:g} s"
        error = self._error(f"did not boot: it {silent} (registers: {registers})", EmulatorFailed)
        error.word, error.how = "stuck", f"the emulated guest {silent} while booting"
        raise error

    def _let_panic_speak(self) -> None:
        """The event comes before the panic's last lines."""
        until = time.monotonic() + 2.0
        while time.monotonic() < until and b"end Kernel panic" not in self._console.read_bytes():
            time.sleep(0.02)

    def _fail(self, what: str) -> NoReturn:
        raise self._error(what, BootError)

    def _error(self, what: str, kind: type[_Error]) -> _Error:
        with self._console.open("rb") as stream:
            stream.seek(max(0, size(self._console) - (1 << 14)))
            last = _clean(stream.read()).rstrip("\n").split("\n")[-_LAST_LINES:]
        said = "\n".join(f"    {line}" for line in last) if any(last) else "    (nothing)"
        return kind(
            f"kernel {self._kernel.name} on machine {self._machine.name} {what}\n"
            f"  its console said last:\n{said}",
            hint=f"all of it: {self._console}",
        )


def _pair(undo: contextlib.ExitStack) -> tuple[socket.socket, socket.socket]:
    """Ours, which is closed where the start fails, and QEMU's, which the caller closes."""
    ours, theirs = socket.socketpair()
    undo.callback(ours.close)
    return ours, theirs


def _clean(console: bytes) -> str:
    """Printable lines: a guest's text may hold escape codes that a terminal would obey."""
    lines = console.decode("utf-8", "replace").replace("\r", "").split("\n")
    return "\n".join(_CONTROL.sub("", line) for line in lines)
