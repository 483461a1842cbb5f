"""Machines as declared in ``qemu/*.yaml``: nodes, memory, CPUs, huge page pools."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.paths import PROJECT
from harness.spec.reader import View, declared, load, names_in, parse_size

MACHINES = PROJECT / "qemu"
ROOTS = PROJECT / "guests" / "rootfs"
USUAL_MACHINE = "two-nodes"

HUGE_PAGE_SIZES = {"2M": 2 << 20, "1G": 1 << 30}
"""x86-64's huge page sizes in bytes, by the names that declarations use."""


@dataclass(frozen=True)
class Node:
    """One NUMA node: bytes of memory (0: memoryless) and how many CPUs it holds."""

    memory: int
    cpus: int


@dataclass(frozen=True)
class Pool:
    """A pool of huge pages of ``size`` bytes: how many on each node, in node order."""

    size: int
    pages: tuple[int, ...]


@dataclass(frozen=True)
class MachineSpec:
    """One declared machine.

    ``distances`` is the SLIT, row by row; empty leaves QEMU's default of 10 and 20.
    ``append`` is put at the end of the kernel command line.  ``root`` names a declaration of
    guests/rootfs/ that is laid beside the initramfs's own programs.
    """

    name: str
    file: Path
    about: str
    nodes: tuple[Node, ...]
    pools: tuple[Pool, ...] = ()
    distances: tuple[tuple[int, ...], ...] = ()
    append: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    root: str = ""

    @property
    def cpus(self) -> int:
        return sum(node.cpus for node in self.nodes)

    @property
    def memory(self) -> int:
        """Bytes of guest memory in all."""
        return sum(node.memory for node in self.nodes)


def machine_names() -> list[str]:
    return list(names_in(MACHINES))


def load_machine(name: str, folder: Path = MACHINES) -> MachineSpec:
    """The machine ``name``, or the YAML file ``name``."""
    view = load(declared(folder, name, "machine"))
    nodes = tuple(_node(item) for item in view.views("nodes"))
    if not nodes:
        view.fail("nodes", "at least one node", "none")
    if not nodes[0].memory or not nodes[0].cpus:
        view.fail("nodes", "memory and a CPU on node 0: x86 boots from it")
    spec = MachineSpec(
        name=view.file.stem,
        file=view.file,
        about=view.text("about", ""),
        nodes=nodes,
        pools=tuple(_pools(view, len(nodes))),
        distances=view.matrix("distances"),
        append=view.texts("append"),
        devices=view.texts("devices"),
        root=view.text("root", ""),
    )
    if spec.root and not (ROOTS / f"{spec.root}.yaml").is_file():
        view.fail("root", f"a root of {ROOTS}", repr(spec.root))
    _check_distances(view, spec)
    for pool in spec.pools:
        for number, (node, pages) in enumerate(zip(nodes, pool.pages, strict=True)):
            if pages * pool.size > node.memory:
                view.fail(
                    "huge_pages",
                    f"a pool that fits into node {number} ({node.memory >> 20} MiB)",
                    f"{pages} pages of {pool.size >> 20} MiB",
                )
    view.done()
    return spec


def _node(view: View) -> Node:
    text = view.text("memory")
    memory = 0 if text == "0" else parse_size(text)
    if memory is None or memory % (2 << 20):
        view.fail("memory", "a size such as 1G, a multiple of 2M, or 0", repr(text))
    node = Node(memory, view.integer("cpus", 0))
    view.done()
    return node


def _pools(view: View, nodes: int) -> list[Pool]:
    pools = []
    for size, inner in view.pairs("huge_pages"):
        if size not in HUGE_PAGE_SIZES:
            inner.fail(size, "2M or 1G", repr(size))
        pages = inner.integers(size)
        if len(pages) != nodes:
            inner.fail(size, f"{nodes} numbers, one a node", f"{len(pages)}")
        pools.append(Pool(HUGE_PAGE_SIZES[size], pages))
    return pools


def _check_distances(view: View, spec: MachineSpec) -> None:
    rows = spec.distances
    count = len(spec.nodes)
    if not rows:
        return
    if len(rows) != count or any(len(row) != count for row in rows):
        view.fail("distances", f"{count} rows of {count} numbers")
    for i, row in enumerate(rows):
        for j, distance in enumerate(row):
            if (i == j and distance != 10) or (i != j and not 10 < distance < 255):
                view.fail("distances", "10 on the diagonal and 11 to 254 beside it", str(distance))
