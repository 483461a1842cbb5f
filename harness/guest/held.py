"""A guest that was frozen at its splat, and outlives the run that found it.

The run gives it to a keeper of its own (python -m harness.guest.held), which inherits QEMU's
monitor and the pipes of its warden: when the keeper ends, however it does, QEMU ends.  The keeper
ends when it is told to (harness halt), when QEMU does, and when its time is over, unless
somebody looks into the guest just then.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import sys
import threading
import time
from pathlib import Path

from harness import proc
from harness.errors import EnvironmentFault
from harness.guest.agent import Agent
from harness.guest.control import Control, Controlled
from harness.guest.keeper import Kept, announce, find, forget, kept_folder, since, start
from harness.guest.life import LifeLog
from harness.guest.monitor import Monitor
from harness.guest.seam import LifeEvent, wait_for
from harness.guest.vm import QemuGuest
from harness.kernel.built import BuiltKernel
from harness.spec.machine import MachineSpec

HOLD = 4 * 3600
"""Seconds that a frozen guest is held, unless it is asked for otherwise."""
_SETTLED = b"taken-over"


def hold(
    guest: QemuGuest, kernel: BuiltKernel, machine: MachineSpec, why: str, seconds: int = HOLD
) -> Kept:
    """Give the paused ``guest`` to a keeper.  Raises EnvironmentFault; the guest has ended then."""
    folder = kept_folder() / f"{kernel.name}-{secrets.token_hex(2)}"
    folder.mkdir(mode=0o700, parents=True)
    key, known_hosts = guest.write_access(folder)
    console = guest.console_file
    handover = guest.let_go()
    try:
        order = {
            "pid": handover.pid,
            "life": handover.life,
            "report": handover.report,
            "qmp": handover.qmp,
            "agent": handover.agent,
            "memory": machine.memory,
            "seconds": seconds,
            "kept": {
                "name": folder.name,
                "kernel": kernel.name,
                "machine": machine.name,
                "port": guest.address.port,
                "key": str(key),
                "known_hosts": str(known_hosts),
                "console": str(console),
                "state": "frozen",
                "why": why,
                "release": kernel.release,
                "vmlinux": str(kernel.vmlinux or ""),
            },
        }
        keeper = start("harness.guest.held", folder, order, handover.descriptors)
    except BaseException:
        guest.end()
        raise
    finally:
        handover.close()
    assert keeper.stdout
    with keeper.stdout:
        said = keeper.stdout.read()
    if said.startswith(b"ready"):
        guest.forget()
        return find(folder.name)
    guest.end()
    logged = (folder / "keeper.log").read_text(encoding="utf-8", errors="replace").strip()
    raise EnvironmentFault(f"the keeper of the frozen guest ended: {logged[-500:]}")


def _settle(qmp: socket.socket) -> None:
    """Read off what the run has asked for and not read, up to an answer of our own."""
    qmp.sendall(b'{"execute": "query-status", "id": "%s"}\n' % _SETTLED)
    qmp.settimeout(10)
    text = b""
    while _SETTLED not in text or not text.endswith(b"\n"):
        data = qmp.recv(1 << 16)
        if not data:
            raise EnvironmentFault("QEMU has closed its monitor")
        text = (text + data)[-(1 << 17) :]
    qmp.setblocking(False)


def _main(folder: Path, order: dict[str, int], kept: dict[str, str | int]) -> int:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    for name in ("life", "report", "qmp", "agent"):
        os.set_inheritable(order[name], False)
    qemu = proc.Child(["qemu"], None, order["life"], order["report"], order["pid"])
    control = None
    try:
        qmp = socket.socket(fileno=order["qmp"])
        _settle(qmp)
        console = Path(str(kept["console"]))
        agent = Agent(socket.socket(fileno=order["agent"]), console.with_name("pulse.log"))
        log = LifeLog()
        monitor = Monitor(qemu, qmp, agent, console, log, running=False, greeted=True)
        if not wait_for(monitor.connected, 10):
            raise EnvironmentFault("QEMU's monitor does not answer")
        guest = Controlled(monitor, order["memory"], str(kept["release"]), frozen=True)
        control = Control(folder, guest)
        end = time.monotonic() + order["seconds"]
        mine = {"pid": os.getpid(), "since": since(os.getpid())}
        until = time.time() + order["seconds"]
        announce(folder, Kept(**{**kept, **mine, "until": until}))  # type: ignore[arg-type]
        print("ready", flush=True)
        os.close(1)
        while not stop.wait(0.5):
            if any(life.event is LifeEvent.QEMU_GONE for life in log.events()):
                break
            if time.monotonic() > end and not control.busy:
                break
    finally:
        if control:
            control.close()
        qemu.kill()
        forget(folder)
    return 0


if __name__ == "__main__":
    _order = json.loads(sys.argv[2])
    sys.exit(_main(Path(sys.argv[1]), _order, _order["kept"]))
