"""The one fake guest: a script of what console and reproducer do, in the order of looks at it."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.errors import GuestLost
from harness.guest.seam import Completed, Life, LifeEvent, Running
from harness.trial import epilogue, facts, snapshot
from harness.trial.ask import CUT

FACTS = """\
0
release=5.10.218
version=#1 SMP
online=0-1
memory_nodes=0-1
cmdline=console=ttyS0
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

    ``early`` comes while the facts are asked for; ``dies`` is a life event that comes during
    the run, ``late`` console text that comes after the reproducer's end, ``last`` what comes
    with the last snapshot; ``deaf`` makes markers vanish.  ``emptied`` is the snapshot after the
    pools were asked to shrink, ``left`` what the reproducer finds outside of them, ``arranged``
    what the commands say that set the guest up.  ``share`` is what the guest has of a CPU.
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
        if command.startswith(facts.COMMAND):
            self.text += self.script.early
            out = self.script.facts
        elif command.endswith(epilogue.LEFT):
            out = self.script.left
        elif command == epilogue.COMMAND:
            out = self.script.emptied
        elif command == snapshot.COMMAND:
            self.text += self.script.last if len(self._snapshots) == 1 else b""
            out = self._snapshots.pop(0) if len(self._snapshots) > 1 else self._snapshots[0]
        elif command.endswith(epilogue.CLEAR):
            out = self.script.arranged
        elif "/dev/kmsg" in command and not self.script.deaf:
            words = command.split("'")[1]
            stamp = "[    9.000000][  T100] " if b"] " in self.script.boot else ""
            self.text += f"{stamp}{words}\n".encode()
        return Completed(0, out.encode(), b"")

    def start(self, command: str) -> Running:
        self.started.append(command)
        self.text += self.script.said
        if self.script.dies:
            self.events.append(Life(self.script.dies, time.monotonic()))
        return _FakeRunning(self)

    def push(self, content: bytes, path: str, mode: int = 0o755) -> None:
        self.files[path] = content

    def lived(self) -> float:
        return time.monotonic() * self.script.share

    def postmortem(self) -> str:
        return "RIP=ffffffff81000000"

    def end(self) -> None:
        self.ended = True


class _FakeRunning:
    def __init__(self, guest: FakeGuest) -> None:
        self._guest = guest
        self.killed = False

    def poll(self) -> Completed | None:
        script = self._guest.script
        if script.status is None:
            return None
        self._guest.text += script.late
        script.late = b""
        return Completed(script.status, script.out, script.err)

    def so_far(self) -> tuple[bytes, bytes]:
        return self._guest.script.out, self._guest.script.err

    def kill(self) -> None:
        self.killed = True
