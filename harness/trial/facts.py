"""What a guest is and has, asked once before the trial."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from harness.spec.case import Detector, TestCase
from harness.trial.snapshot import Snapshot

COMMAND = (
    "echo uid=$(id -u); echo release=$(uname -r); echo version=$(uname -v); echo cpus=$(nproc);"
    " echo memory_nodes=$(cat /sys/devices/system/node/has_memory 2>/dev/null || echo 0);"
    " echo cmdline=$(cat /proc/cmdline);"
    " (zcat /proc/config.gz || cat /boot/config-$(uname -r)) 2>/dev/null | grep -E '^CONFIG_("
    + "|".join(detector.value.removeprefix("CONFIG_") for detector in Detector)
    + "|HUGETLBFS|MIGRATION|NUMA)=';"
    " true"
)


@dataclass(frozen=True)
class Facts:
    """``nodes`` are the NUMA nodes with memory.  ``options`` holds the options that matter."""

    uid: int
    release: str
    version: str
    cpus: int
    nodes: tuple[int, ...]
    cmdline: str
    options: Mapping[str, str]

    def has(self, detector: Detector) -> bool:
        return self.options.get(detector.value) == "y"


def parse(text: str, options: Mapping[str, str] | None = None) -> Facts:
    """Read what COMMAND prints; ``options`` are those known from the kernel's build."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        key, found, value = line.partition("=")
        if found:
            values.setdefault(key, value.strip())
    config = {key: value for key, value in values.items() if key.startswith("CONFIG_")}
    return Facts(
        uid=_number(values.get("uid", "")),
        release=values.get("release", ""),
        version=values.get("version", ""),
        cpus=_number(values.get("cpus", "")),
        nodes=_node_list(values.get("memory_nodes", "0")),
        cmdline=values.get("cmdline", ""),
        options=config | dict(options or {}),
    )


def missing(case: TestCase, facts: Facts, pools: Snapshot) -> tuple[str, ...]:
    """What ``case`` needs and the guest lacks, each with what would enable it."""
    needs, lacks = case.needs, []
    if len(facts.nodes) < needs.nodes:
        lacks.append(
            f"{needs.nodes} nodes with memory are needed, there are {len(facts.nodes)}: "
            "try --machine two-nodes"
        )
    if facts.cpus < needs.cpus:
        lacks.append(f"{needs.cpus} CPUs are needed, there are {facts.cpus}")
    if needs.root and facts.uid != 0:
        lacks.append("root is needed, for MPOL_MF_MOVE_ALL and the huge page pools")
    for size, count in ((2 << 20, needs.free_2m), (1 << 30, needs.free_1g)):
        for node in facts.nodes[: needs.nodes]:
            free = pools.pools.get((node, size, "free"), 0)
            if free < count:
                lacks.append(
                    f"{count} free huge pages of {size >> 20} MiB are needed on node {node}, "
                    f"there are {free}: see huge_pages: in qemu/*.yaml"
                )
    return tuple(lacks)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0


def _node_list(text: str) -> tuple[int, ...]:
    """``0-1,3`` to (0, 1, 3), as the kernel prints node lists."""
    nodes: list[int] = []
    for first, last in re.findall(r"(\d{1,4})(?:-(\d{1,4}))?", text):
        nodes.extend(range(int(first), int(last or first) + 1))
    return tuple(nodes)
