"""Guests that are left running: each is held by a keeper, a harness process of its own.

A keeper boots its guest, tells how it is reached in a file of the runtime folder, and ends
the guest when it is told to (SIGTERM) or when the guest dies.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.errors import EnvironmentFault, HarnessError, UsageError
from harness.guest.accel import choose
from harness.guest.boot import boot
from harness.guest.control import Control
from harness.kernel.built import BuiltKernel
from harness.paths import cache_dir
from harness.progress import Progress
from harness.spec.machine import MachineSpec, load_machine

_END_DEADLINE = 15.0
_CONSOLE_STAYS = 24 * 3600.0


@dataclass(frozen=True)
class Kept:
    """A guest that a keeper holds.  ``pid`` is the keeper's, ``since`` its start in clock ticks
    since the host's boot, so that a number used again is not taken for it.

    ``state`` is "running", or "frozen" for one that was paused at its splat, which ``why`` names;
    ``until``, in seconds of the epoch, is when its keeper ends it by itself, 0 for never.
    ``vmlinux`` is empty for a kernel without symbols.
    """

    name: str
    pid: int
    since: int
    kernel: str
    machine: str
    port: int
    key: str
    known_hosts: str
    console: str
    state: str = "running"
    why: str = ""
    until: float = 0.0
    release: str = ""
    vmlinux: str = ""

    @property
    def folder(self) -> Path:
        return Path(self.key).parent

    @property
    def alive(self) -> bool:
        return since(self.pid) == self.since


def running() -> list[Kept]:
    """The guests that are held now, the newest last; what dead keepers left behind is removed."""
    guests = []
    for file in sorted(kept_folder().glob("*/guest.json"), key=lambda path: path.stat().st_mtime):
        try:
            kept = Kept(**json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            continue  # being written or removed just now
        if kept.alive:
            guests.append(kept)
        else:
            forget(file.parent)
    return guests


def find(name: str = "") -> Kept:
    """The guest called ``name``, or the newest.  Raises UsageError where there is none."""
    guests = running()
    for kept in reversed(guests):
        if name in ("", kept.name):
            return kept
    if not guests:
        raise UsageError("no guest is running", hint="harness boot leaves one running")
    names = ", ".join(kept.name for kept in guests)
    raise UsageError(f"no guest {name!r} is running; there are: {names}")


def keep(kernel: BuiltKernel, machine: MachineSpec, accel: str, append: Sequence[str]) -> Kept:
    """Start a keeper and wait until its guest is ready.  Raises what its boot raised."""
    _tidy()
    # Not the process id: a container gives the same one again and again.
    folder = kept_folder() / f"{kernel.name}-{secrets.token_hex(2)}"
    folder.mkdir(mode=0o700, parents=True)
    order = {
        "kernel": {k: str(v) if isinstance(v, Path) else v for k, v in asdict(kernel).items()},
        "machine": str(machine.file),
        "accel": accel,
        "append": list(append),
    }
    keeper = start("harness.guest.keeper", folder, order)
    assert keeper.stdout
    try:
        said = keeper.stdout.read()
    except KeyboardInterrupt:
        keeper.terminate()
        try:
            keeper.wait(_END_DEADLINE)
        except subprocess.TimeoutExpired:
            keeper.kill()  # its warden ends QEMU
            keeper.wait()
        raise
    finally:
        keeper.stdout.close()
    if said.startswith(b"ready"):
        return find(folder.name)
    text = said.decode("utf-8", "replace").strip()
    logged = (folder / "keeper.log").read_text(encoding="utf-8", errors="replace").strip()
    raise EnvironmentFault(text or f"the keeper ended: {logged[-500:]}")


def start(
    module: str, folder: Path, order: Mapping[str, object], descriptors: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """A keeper in a session of its own; it says "ready" on its stdout, and else why not."""
    with (folder / "keeper.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", module, str(folder), json.dumps(order)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            pass_fds=descriptors,
        )


def halt(kept: Kept) -> None:
    """End a guest and wait until it is gone."""
    with contextlib.suppress(ProcessLookupError):  # its guest died just now
        os.kill(kept.pid, signal.SIGTERM)
    deadline = time.monotonic() + _END_DEADLINE
    while kept.alive and time.monotonic() < deadline:
        time.sleep(0.02)
    if kept.alive:
        with contextlib.suppress(ProcessLookupError):
            os.kill(kept.pid, signal.SIGKILL)  # its warden ends QEMU
    forget(kept.folder)


def kept_folder() -> Path:
    """Where each guest that is held has a folder."""
    return cache_dir() / "running"


def since(pid: int) -> int:
    """When ``pid`` was started, field 22 of proc(5)'s stat; 0 where it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] == "Z" else int(fields[19])


def announce(folder: Path, kept: Kept) -> None:
    """From now on the guest is found."""
    scratch = folder / ".guest.json"
    scratch.write_text(json.dumps(asdict(kept)), encoding="utf-8")
    scratch.replace(folder / "guest.json")


def forget(folder: Path) -> None:
    """Remove what is secret or stale; the console stays for a day."""
    for name in ("guest.json", "ssh_key", "known_hosts", "control", "gdb", "memory.kdump"):
        with contextlib.suppress(OSError):
            (folder / name).unlink()


def _tidy() -> None:
    """Remove the folders of guests that ended more than a day ago: a console may be 60 MB."""
    held = {kept.name for kept in running()}
    for folder in kept_folder().glob("*/"):
        with contextlib.suppress(OSError):
            if folder.name not in held and folder.stat().st_mtime < time.time() - _CONSOLE_STAYS:
                shutil.rmtree(folder)


def _kernel(fields: dict[str, object]) -> BuiltKernel:
    paths = ("image", "config", "vmlinux", "modules", "log")
    values = {
        key: Path(str(value)) if key in paths and value else value for key, value in fields.items()
    }
    return BuiltKernel(**values)  # type: ignore[arg-type]


def _hold(folder: Path, order: dict[str, object]) -> int:
    """The keeper itself: "ready" or the error goes to standard output, which is then closed."""
    fields = order["kernel"]
    assert isinstance(fields, dict)
    kernel, machine = _kernel(fields), load_machine(str(order["machine"]))
    stop = threading.Event()
    # Told to end while it boots, it ends at once, and takes back what the boot has begun.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    progress = Progress()
    words = order["append"]
    assert isinstance(words, list)
    try:
        guest = boot(
            kernel,
            machine,
            run_dir=folder,
            accel=choose(progress, str(order["accel"])),
            progress=progress,
            append=tuple(map(str, words)),
        )
    except HarnessError as error:
        print(error, flush=True)
        return error.exit_code
    except OSError as error:
        print(error, flush=True)
        return EnvironmentFault.exit_code
    with guest:
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        key, known_hosts = guest.write_access(folder)
        control = Control(folder, guest.hold())
        kept = Kept(
            name=folder.name,
            pid=os.getpid(),
            since=since(os.getpid()),
            kernel=kernel.name,
            machine=machine.name,
            port=guest.address.port,
            key=str(key),
            known_hosts=str(known_hosts),
            console=str(folder / "console.log"),
            release=kernel.release,
            vmlinux=str(kernel.vmlinux or ""),
        )
        announce(folder, kept)
        print("ready", flush=True)
        os.close(1)
        while not stop.wait(0.5) and not guest.life():
            pass
        control.close()
    forget(folder)
    return 0


if __name__ == "__main__":
    sys.exit(_hold(Path(sys.argv[1]), json.loads(sys.argv[2])))
