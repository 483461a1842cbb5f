"""From a built kernel and a machine to a guest that takes commands."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

import paramiko

from harness import proc
from harness.doctor import memory_available
from harness.errors import BootError, EnvironmentFault, GuestLost
from harness.guest import rootfs
from harness.guest.accel import Accel
from harness.guest.keys import ALGORITHM, BootKeys, make_keys
from harness.guest.life import LifeLog, Quiet
from harness.guest.monitor import Monitor, ending, size
from harness.guest.qemu import Launch, command
from harness.guest.seam import LifeEvent
from harness.guest.ssh import Link, open_link
from harness.guest.vm import Address, QemuGuest
from harness.kernel.built import BuiltKernel
from harness.progress import Progress, Stage
from harness.spec.machine import MachineSpec
from harness.stop import Stop

OVERHEAD = 768 << 20
"""Bytes of host memory that QEMU takes beside the guest's: translated code most of all."""
DISK = 256 << 20
"""Bytes that the run folder's disk must have free: a race that is lost prints 60 MB."""

STUCK = 45.0
"""Seconds without a byte on the console of an emulated guest that boots; at a load of eight
for two CPUs whole boots took 10 to 33 s."""

_FORWARD = re.compile(r"TCP\[HOST_FORWARD\]\s+\S+\s+\S+\s+(\d+)\s+\S+\s+22\b")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[^\x20-\x7e\t]")
_LAST_LINES = 15
_TRIES = 3
_Error = TypeVar("_Error", bound=BootError)


def boot(
    kernel: BuiltKernel,
    machine: MachineSpec,
    *,
    run_dir: Path,
    accel: Accel,
    progress: Progress,
    timeout: float = 180.0,
    append: Sequence[str] = (),
    stop: Stop | None = None,
) -> QemuGuest:
    """Boot ``kernel`` on ``machine`` and log in.  A ``stop`` ends it with an error.

    ``run_dir`` gets console.log (raw, from the first byte), pulse.log and qemu.log.  Raises
    BootError when the guest is not ready within ``timeout`` seconds, and at once when
    it panics or QEMU ends; EnvironmentFault when the host has too little memory or disk.
    """
    run_dir = run_dir.absolute()
    run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_host(machine, run_dir)
    keys = make_keys()
    initrd = run_dir / "initrd"
    title = f"booting {kernel.name} on {machine.name} ({accel.value})"
    try:
        for number in range(1, _TRIES + 1):
            with progress.stage(title) as stage:
                # It holds the host key, and goes once QEMU has read it.
                _write_initrd(initrd, rootfs.initramfs(kernel), keys)
                attempt = _Boot(kernel, machine, run_dir, accel, keys, initrd, append, stop)
                try:
                    return attempt.run(stage, timeout)
                except _EmulatorFailed as failed:
                    if number == _TRIES:
                        raise
                    kept = run_dir / f"console.{failed.word}{number}.log"
                    (run_dir / "console.log").rename(kept)
                    progress.say(f"{failed.how} ({kept}): booting once more")
    finally:
        initrd.unlink(missing_ok=True)
    raise AssertionError("a boot ends or raises")


class _EmulatorFailed(BootError):
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


class _Boot:
    """One boot; what it started is ended again unless it comes to its end."""

    def __init__(
        self,
        kernel: BuiltKernel,
        machine: MachineSpec,
        run_dir: Path,
        accel: Accel,
        keys: BootKeys,
        initrd: Path,
        append: Sequence[str],
        stop: Stop | None,
    ) -> None:
        self._stop = stop or Stop()
        self._kernel, self._machine, self._keys = kernel, machine, keys
        self._console = run_dir / "console.log"
        self._pulse = run_dir / "pulse.log"
        self._log_file = run_dir / "qemu.log"
        for file in (self._console, self._pulse, self._log_file):
            file.write_bytes(b"")
        self._accel, self._initrd, self._append = accel, initrd, tuple(append)
        self._life = LifeLog()

    def run(self, stage: Stage, timeout: float) -> QemuGuest:
        started = time.monotonic()
        deadline = started + timeout
        ours, theirs = socket.socketpair()
        argv = command(
            Launch(
                image=self._kernel.image,
                release=self._kernel.release,
                initrd=self._initrd,
                machine=self._machine,
                accel=self._accel,
                console=self._console,
                pulse=self._pulse,
                qmp=theirs.fileno(),
                append=self._append,
            )
        )
        with contextlib.ExitStack() as undo:
            undo.callback(ours.close)
            with theirs, self._log_file.open("ab") as log:
                qemu = proc.spawn(argv, stdout=log, stderr=log, pass_fds=[theirs.fileno()])
            undo.callback(qemu.kill)
            monitor = Monitor(qemu, ours, self._console, self._pulse, self._life)
            undo.callback(monitor.close)
            undo.callback(self._life.close)
            with self._stop.calls(qemu.kill):
                boot_end = self._await_ready(qemu, monitor, stage, deadline, timeout)
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
            link=link,
            log=self._life,
            console=self._console,
            boot_end=boot_end,
            address=address,
            keys=self._keys,
            started=started,
            ready=ready,
        )

    def _await_ready(
        self, qemu: proc.Child, monitor: Monitor, stage: Stage, deadline: float, timeout: float
    ) -> int:
        """Console offset behind the marker's line."""
        marker = re.compile(rb"harness: ready %s\r?\n" % self._keys.nonce.encode())
        read, tail = 0, b""
        quiet = Quiet()
        while True:
            with self._console.open("rb") as stream:
                stream.seek(read)
                data = stream.read()
            read += len(data)
            tail += data
            if match := marker.search(tail):
                return read - len(tail) + match.end()
            tail = tail[-(1 << 12) :]
            if data:
                stage.note(_clean(tail).rstrip("\n").rpartition("\n")[2])
            if events := self._life.events():
                self._fail_by(events[0].event, events[0].detail, qemu)
            if quiet.look(read) > STUCK and self._accel is Accel.TCG:
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
            error = self._error(f"did not boot: QEMU crashed ({detail})", _EmulatorFailed)
            error.word, error.how = "crash", f"QEMU itself crashed {detail}"
            raise error
        if event is LifeEvent.PANICKED:
            self._let_panic_speak()
        self._fail(f"did not boot: {event.value} ({detail})")

    def _fail_as_stuck(self, monitor: Monitor) -> NoReturn:
        registers = self._console.with_name("stuck.txt")
        with contextlib.suppress(GuestLost):
            registers.write_text(monitor.human("info registers -a"), encoding="utf-8")
        silent = f"printed nothing for {STUCK:g} s"
        error = self._error(f"did not boot: it {silent} (registers: {registers})", _EmulatorFailed)
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


def check_host(machine: MachineSpec, run_dir: Path) -> None:
    """Raise EnvironmentFault, with the numbers, where memory or disk do not suffice."""
    needed, available = machine.memory + OVERHEAD, memory_available()
    if available < needed:
        raise EnvironmentFault(
            f"machine {machine.name} needs {needed >> 20} MiB of memory (guest "
            f"{machine.memory >> 20}, QEMU {OVERHEAD >> 20}), available are {available >> 20} MiB",
            hint=f"end something, or give the nodes in {machine.file} less memory",
        )
    free = shutil.disk_usage(run_dir).free
    if free < DISK:
        raise EnvironmentFault(
            f"{run_dir}: {free >> 20} MiB of disk are free, a run needs {DISK >> 20} MiB",
            hint="free some, or choose another folder (--results)",
        )


def _write_initrd(path: Path, root: Path, keys: BootKeys) -> None:
    path.unlink(missing_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as stream:
            stream.write(root.read_bytes() + keys.archive())
    except OSError as error:
        raise EnvironmentFault(f"cannot write {path}: {error.strerror}") from None


def _clean(console: bytes) -> str:
    """Printable lines: a guest's text may hold escape codes that a terminal would obey."""
    lines = console.decode("utf-8", "replace").replace("\r", "").split("\n")
    return "\n".join(_CONTROL.sub("", line) for line in lines)
