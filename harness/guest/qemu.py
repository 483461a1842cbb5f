"""The QEMU command line of a guest: from declarations to a list, nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.guest.accel import Accel
from harness.spec.machine import MachineSpec, Pool

QEMU = "qemu-system-x86_64"
GIB = 1 << 30
PER_NODE_SINCE = (5, 16)
"""b5389086ad7b: hugepages=0:1,1:2 on the command line."""


@dataclass(frozen=True)
class Launch:
    """One start of QEMU.  ``qmp`` and ``agent`` are connected sockets that it inherits.

    ``memory`` is the folder of a template's RAM files, which this start fills; with ``copy``
    it starts from them instead, and leaves them as they are.
    """

    image: Path
    release: str
    initrd: Path
    machine: MachineSpec
    accel: Accel
    console: Path
    pulse: Path
    qmp: int
    agent: int
    append: tuple[str, ...] = ()
    memory: Path | None = None
    copy: bool = False


def command(launch: Launch) -> list[str]:
    machine = launch.machine
    return [
        QEMU,
        *("-name", f"harness-{machine.name}"),
        *("-nodefaults", "-no-user-config"),
        *("-display", "none"),
        # hpet=off: q35 with it takes seconds longer to boot under emulation.
        *("-machine", "q35,hpet=off,smbus=off,sata=off"),
        *launch.accel.arguments,
        # A socket for each CPU: CPUs of two nodes in one socket make 5.10 warn in topology_sane().
        *("-smp", f"{machine.cpus},sockets={machine.cpus},cores=1,threads=1"),
        *("-m", f"{machine.memory >> 20}M"),
        *_nodes(launch),
        # What ends the guest leaves QEMU there, paused, for the post-mortem; after a
        # panic it runs on, so that the console gets the rest of the text.
        *("-action", "reboot=shutdown,shutdown=pause,panic=none"),
        *("-chardev", f"socket,id=qmp,fd={launch.qmp}"),
        *("-mon", "chardev=qmp,mode=control"),
        # Appended to: a copy's console begins with its template's boot.
        *("-chardev", f"file,id=console,path={_escaped(launch.console)},append=on"),
        *("-serial", "chardev:console"),
        # Each PCI device costs a 5.10 with KASAN 0.15 s of boot, an ISA one next to nothing.
        # What the guest's agent says goes to the file too, and what it is told comes by the socket.
        *("-chardev", f"socket,id=pulse,fd={launch.agent},logfile={_escaped(launch.pulse)}"),
        *("-serial", "chardev:pulse"),
        *("-device", "pvpanic"),
        *("-device", "virtio-rng-pci"),
        # Port 0: QEMU takes a free one, and the monitor's "info usernet" tells which.
        *("-netdev", "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:0-:22"),
        *("-device", "virtio-net-pci,netdev=net,romfile="),
        *(word for device in machine.devices for word in ("-device", device)),
        *("-kernel", str(launch.image)),
        *("-initrd", str(launch.initrd)),
        *("-append", " ".join(kernel_arguments(machine, launch.release, launch.append))),
        *(("-incoming", "defer") if launch.copy else ()),
    ]


def pasteable(argv: Sequence[str]) -> list[str]:
    """``argv`` for a person: a plain boot, without sockets that the harness's QEMU inherits.

    A copy of a template becomes the boot that the template came from.
    """
    kept: list[str] = []
    for word in argv:
        kept.append(word)
        if word.startswith("socket,id=qmp,") or word in ("chardev=qmp,mode=control", "defer"):
            del kept[-2:]
        elif word.startswith("socket,id=pulse,"):
            kept[-1] = "null,id=pulse"
        elif found := _RAM_FILE.match(word):
            kept[-1] = f"memory-backend-ram,{found[1]}"
    return kept


_RAM_FILE = re.compile(r"memory-backend-file,(id=mem\d+,size=\d+M),")


def _nodes(launch: Launch) -> Iterator[str]:
    machine = launch.machine
    cpu = 0
    for number, node in enumerate(machine.nodes):
        option = f"node,nodeid={number}"
        if node.memory:
            yield "-object"
            yield _memory(launch, f"id=mem{number},size={node.memory >> 20}M", number)
            option += f",memdev=mem{number}"
        if node.cpus:
            option += f",cpus={cpu}-{cpu + node.cpus - 1}"
            cpu += node.cpus
        yield from ("-numa", option)
    for source, row in enumerate(machine.distances):
        for target, distance in enumerate(row):
            yield from ("-numa", f"dist,src={source},dst={target},val={distance}")


def _memory(launch: Launch, what: str, number: int) -> str:
    if launch.memory is None:
        # Anonymous memory, which the host backs with huge pages of its own.
        return f"memory-backend-ram,{what}"
    file = _escaped(launch.memory / f"mem{number}")
    return f"memory-backend-file,{what},mem-path={file},share={'off' if launch.copy else 'on'}"


def _escaped(path: Path) -> str:
    """A comma ends a value in QEMU's option syntax; two are one."""
    return str(path).replace(",", ",,")


def kernel_arguments(
    machine: MachineSpec, release: str, append: Sequence[str] = ()
) -> tuple[str, ...]:
    """The kernel command line; ``append`` comes last and wins."""
    return (
        "console=ttyS0",
        "ignore_loglevel",  # every message reaches the console, whatever user space sets
        "printk.devkmsg=on",  # else writes to /dev/kmsg, the markers of trials, are rate-limited
        "nokaslr",  # addresses of one report fit the next
        "panic=0",  # stay there; pvpanic tells
        "random.trust_cpu=on",
        "no_timer_check",  # as a KVM guest does: an emulated timer on a loaded host fails it
        *gigantic_pools(machine.pools, release),
        *_pools_for_init(machine.pools),
        *machine.append,
        *append,
    )


def gigantic_pools(pools: Sequence[Pool], release: str) -> tuple[str, ...]:
    """1 GiB pages as boot arguments: later there is no such run of free memory.

    Before 5.16 only a total can be asked for, which the kernel spreads over the nodes
    that have memory.
    """
    pages = next((pool.pages for pool in pools if pool.size == GIB), ())
    if not any(pages):
        return ()
    if version(release) >= PER_NODE_SINCE:
        wanted = ",".join(f"{node}:{count}" for node, count in enumerate(pages) if count)
    else:
        wanted = str(sum(pages))
    return ("default_hugepagesz=2M", "hugepagesz=1G", f"hugepages={wanted}")


def version(release: str) -> tuple[int, int]:
    """``6.1.0-44-cloud-amd64`` to (6, 1); (0, 0) where it is none."""
    match = re.match(r"(\d+)\.(\d+)", release)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _pools_for_init(pools: Sequence[Pool]) -> Iterator[str]:
    """For guests/rootfs/init, which fills the pools node by node and says what it got."""
    if pools:
        words = (
            f"{'1G' if pool.size == GIB else '2M'}:{','.join(str(n) for n in pool.pages)}"
            for pool in pools
        )
        yield "harness.pools=" + "/".join(words)
