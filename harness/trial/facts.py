"""What a guest is and has, asked once before the trial."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from harness.spec.case import Detector, Needs, TestCase
from harness.trial.snapshot import Snapshot

FILES = (
    "/proc/sys/kernel/osrelease",
    "/proc/sys/kernel/version",
    "/proc/cmdline",
    "/proc/self/status",
    "/sys/devices/system/cpu/online",
    "/sys/devices/system/node/has_memory",
)
"""Asked as snapshot.FILES are, in one process with them: a shell that reads line by line reads
byte by byte, and each byte of these files is a system call in which the kernel makes all of it."""

ALWAYS = (
    *(detector.value for detector in Detector),
    *("CONFIG_HUGETLBFS", "CONFIG_MIGRATION", "CONFIG_NUMA", "CONFIG_FUNCTION_PROFILER"),
)
"""Options that are asked for with every case."""


def options_of(case: TestCase) -> tuple[str, ...]:
    """The kernel options that decide whether ``case`` can run and be believed."""
    return tuple(dict.fromkeys((*ALWAYS, *case.needs.options)))


def config(options: Iterable[str]) -> str:
    """The shell command that asks the guest's own config for ``options``."""
    names = "|".join(name.removeprefix("CONFIG_") for name in options)
    return (
        "(zcat /proc/config.gz || cat /boot/config-$(uname -r)) 2>/dev/null"
        f" | grep -E '^CONFIG_({names})='; true"
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
        return self.option(detector.value)

    def option(self, name: str) -> bool:
        return self.options.get(name) == "y"


def parse(text: str, options: Mapping[str, str]) -> Facts:
    """Read what FILES say, each line behind its file's name; other lines are passed over."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        file, _, content = line.partition(":")
        if file == "/proc/self/status" and content.startswith("Uid:"):
            values.setdefault("uid", content.split()[1])
        elif file in FILES:
            values.setdefault(file.rpartition("/")[2], content.strip())
    return Facts(
        uid=_number(values.get("uid", "")),
        release=values.get("osrelease", ""),
        version=values.get("version", ""),
        cpus=len(_listed(values.get("online", ""))),
        nodes=_listed(values.get("has_memory", "0")),
        cmdline=values.get("cmdline", ""),
        options=options,
    )


def options_in(text: str) -> dict[str, str]:
    """Read what ``config`` prints."""
    lines = (line.partition("=") for line in text.splitlines())
    return {name: value.strip() for name, _, value in lines if name.startswith("CONFIG_")}


def missing(case: TestCase, facts: Facts, pools: Snapshot) -> tuple[str, ...]:
    """What ``case`` needs and the guest lacks, each with what would enable it."""
    needs, lacks = case.needs, []
    machine = f"try --machine {case.machine or 'two-nodes'}"
    if len(facts.nodes) < needs.nodes:
        lacks.append(
            f"{needs.nodes} nodes with memory are needed, there are {len(facts.nodes)}: {machine}"
        )
    if facts.cpus < needs.cpus:
        lacks.append(f"{needs.cpus} CPUs are needed, there are {facts.cpus}: {machine}")
    if needs.root and facts.uid != 0:
        lacks.append("root is needed, for MPOL_MF_MOVE_ALL and the huge page pools")
    for option in needs.options:
        if not facts.option(option):
            lacks.append(
                f"this kernel has no {option}: it takes {option}=y in a fragment of guests/config"
            )
    lacks += _range(needs, facts.release)
    for size, count in ((2 << 20, needs.free_2m), (1 << 30, needs.free_1g)):
        for node in facts.nodes[: needs.nodes]:
            free = pools.pools.get((node, size, "free"), 0)
            if free < count:
                lacks.append(
                    f"{count} free huge pages of {size >> 20} MiB are needed on node {node}, "
                    f"there are {free}: {machine}, or see huge_pages: in qemu/*.yaml"
                )
    free_memory = pools.meminfo.get("MemAvailable", 0) << 10
    if free_memory < needs.memory:
        lacks.append(
            f"{needs.memory >> 20} MiB of free memory are needed beside the huge pages, "
            f"there are {free_memory >> 20} MiB: {machine}"
        )
    return tuple(lacks)


def _range(needs: Needs, release: str) -> list[str]:
    version = _version(release)
    if needs.since and version < _version(needs.since):
        return [f"a kernel since {needs.since} is needed, this is {release}: {needs.why}"]
    if needs.before and version >= _version(needs.before):
        return [f"a kernel before {needs.before} is needed, this is {release}: {needs.why}"]
    return []


def _version(release: str) -> tuple[int, ...]:
    """``6.1.0-30-amd64`` to (6, 1, 0), so that releases compare as they came out."""
    found = re.match(r"(\d{1,5})\.(\d{1,5})(?:\.(\d{1,5}))?", release)
    return tuple(int(part or 0) for part in found.groups()) if found else (0, 0, 0)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0


def _listed(text: str) -> tuple[int, ...]:
    """``0-1,3`` to (0, 1, 3), as the kernel prints lists of nodes and of CPUs."""
    nodes: list[int] = []
    for first, last in re.findall(r"(\d{1,4})(?:-(\d{1,4}))?", text):
        nodes.extend(range(int(first), int(last or first) + 1))
    return tuple(nodes)
