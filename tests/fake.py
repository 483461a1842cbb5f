"""The one fake guest: a script of what console and reproducer do, in the order of looks at it."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.errors import GuestLost
from harness.guest.seam import NOT_TAKEN, Completed, Life, LifeEvent, Load, Running
from harness.trial import epilogue, prologue, snapshot
from harness.trial.ask import CUT

FACTS = """\
/proc/sys/kernel/osrelease:5.10.218
/proc/sys/kernel/version:#1 SMP
/proc/cmdline:console=ttyS0
/proc/self/status:Uid:	0	0	0	0
/sys/devices/system/cpu/online:0-1
/sys/devices/system/node/has_memory:0-1
CONFIG_KASAN=y
CONFIG_PROVE_LOCKING=y
CONFIG_HUGETLBFS=y
"""

POOL = "/sys/devices/system/node/node{}/hugepages/hugepages-2048kB/{}_hugepages:{}"


def counters(*, migrated: int = 0, free: int = 16, debug_locks: int = 1, rsvd: int = 0) -> str:
    """What the snapshot command prints on a two-node guest."""
    lines = [
        f"/proc/vmstat:pgmigrate_success {migrated}",
        "/proc/vmstat:nr_free_pages 1000",
        "/proc/meminfo:HugePages_Total:      32",
        f"/proc/meminfo:HugePages_Rsvd:        {rsvd}",
        f"/proc/lockdep_stats: debug_locks:                             {debug_locks}",
        "/proc/sys/kernel/tainted:0",
        "/proc/sys/kernel/printk:8\t4\t1\t7",
        "/proc/sys/kernel/hung_task_warnings:10",
    ]
    for node in (0, 1):
        for kind, value in (("nr", 16), ("free", free), ("surplus", 0)):
            lines.append(POOL.format(node, kind, value))
    return "\n".join(lines) + "\n"


GOOD_OUT = b"@ count moved 100\n@ count forked 100\n@ end\n"


@dataclass
class Script:
    """``said`` is what the reproducer's run adds to the console; ``status`` None: it never ends.

    ``early`` comes before the first marker; ``dies`` is a life event that comes during
    the run, ``late`` console text that comes after the reproducer's end, ``last`` what comes
    with the last snapshot; ``deaf`` makes markers vanish, ``lost`` the reproducer.  ``emptied`` is
    the snapshot after the pools were asked to shrink, ``left`` what the reproducer finds outside
    of them, ``arranged`` what the commands say that set the guest up.  ``share`` is what the guest
    has of a CPU.
    """

    early: bytes = b""
    said: bytes = b""
    out: bytes = GOOD_OUT
    err: bytes = b""
    status: int | None = 0
    dies: LifeEvent | None = None
    late: bytes = b""
    last: bytes = b""
    deaf: bool = False
    lost: bool = False
    boot: bytes = b"[    0.000000][    T0] Linux version 5.10.218\n"
    facts: str = FACTS
    emptied: str = ""
    left: str = ""
    arranged: str = ""
    share: float = 1.0
    snapshots: list[str] = field(
        default_factory=lambda: [counters(), counters(migrated=200)],
    )


class FakeGuest:
    """Follows a Script; the last snapshot repeats."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.text = script.boot
        self.events: list[Life] = []
        self.files: dict[str, bytes] = {}
        self.started: list[str] = []
        self.before: list[str] = []
        self.ended = False
        self.boot_end = len(script.boot)
        self.command: tuple[str, ...] = ("qemu-system-x86_64", "-fake")
        self._snapshots = list(script.snapshots)

    def console(self, offset: int = 0) -> bytes:
        return self.text[offset:]

    def console_size(self) -> int:
        return len(self.text)

    def life(self) -> Sequence[Life]:
        return tuple(self.events)

    def run(self, command: str, *, timeout: float = 30.0, stdin: bytes = b"") -> Completed:
        if self.events:
            raise GuestLost("the guest is dead")
        if cut := re.search(rf"; echo ({CUT} \w+); ", command):
            parts = [self.run(part).out for part in command.split(cut[0])[:-1]]
            return Completed(0, b"".join(p + cut[1].encode() + b"\n" for p in parts), b"")
        out = ""
        if "/proc/config.gz" in command:
            out = self.script.facts
        elif command.endswith(epilogue.LEFT):
            out = self.script.left
        elif command == epilogue.COMMAND:
            out = self.script.emptied
        elif command.startswith(snapshot.COMMAND):
            self.text += self.script.last if len(self._snapshots) == 1 else b""
            out = self._snapshots.pop(0) if len(self._snapshots) > 1 else self._snapshots[0]
            out += self.script.facts if command != snapshot.COMMAND else ""
        elif command.endswith(epilogue.CLEAR):
            out = self.script.arranged
        elif "/dev/kmsg" in command and not self.script.deaf:
            words = command.split("'")[1]
            stamp = "[    9.000000][  T100] " if b"] " in self.script.boot else ""
            self.text += f"{stamp}{words}\n".encode()
        return Completed(0, out.encode(), b"")

    def start(self, command: str, load: Load | None = None) -> Running:
        assert load, "nothing else is started than what a prologue comes before"
        if self.script.lost:
            return _FakeRunning(self, "", b"")
        self.files[load.path] = load.content
        self.text += self.script.early
        asked, _, command = command.partition(prologue.HELD)
        cut = re.search(rf"; echo ({CUT} \w+); ", asked)
        assert cut
        self.before = asked.removeprefix("{ ").split(cut[0])[:-1]
        said = (self.run(part).out + cut[1].encode() + b"\n" for part in self.before)
        return _FakeRunning(self, command, b"".join(said))

    def lived(self) -> float:
        return time.monotonic() * self.script.share

    def postmortem(self) -> str:
        return "RIP=ffffffff81000000"

    def end(self) -> None:
        self.ended = True


class _FakeRunning:
    """``said`` comes before the command, which waits until it is told to go."""

    def __init__(self, guest: FakeGuest, command: str, said: bytes) -> None:
        self._guest, self._command, self._said = guest, command, said
        self._goes = self.killed = False

    def tell(self, data: bytes) -> None:
        assert data == b"go\n"
        self._goes = True
        guest, script = self._guest, self._guest.script
        guest.started.append(self._command)
        guest.text += script.said
        if script.dies:
            guest.events.append(Life(script.dies, time.monotonic()))

    def poll(self) -> Completed | None:
        script = self._guest.script
        if script.lost:
            return Completed(NOT_TAKEN, b"", b"no space left")
        if script.status is None or not self._goes:
            return None
        self._guest.text += script.late
        script.late = b""
        return Completed(script.status, *self.so_far())

    def so_far(self) -> tuple[bytes, bytes]:
        script = self._guest.script
        return (self._said + script.out, script.err) if self._goes else (self._said, b"")

    def kill(self) -> None:
        self.killed = True
