"""Test cases as declared in ``testcases/test_*.py``: a reproducer and what makes its run count."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from harness.errors import SpecError
from harness.spec.payload import Payload


class Detector(Enum):
    """A detector that a kernel can have; the value is the option that builds it in."""

    KASAN = "CONFIG_KASAN"
    LOCKDEP = "CONFIG_PROVE_LOCKING"
    DEBUG_VM = "CONFIG_DEBUG_VM"
    HUNG_TASK = "CONFIG_DETECT_HUNG_TASK"


class Source(Enum):
    """Who counts.

    The reproducer itself, and the kernel in /proc/vmstat: every kernel has them.  In debugfs (the
    files below /sys/kernel/debug/hugetlb_harness, which a kernel with an instrumentation
    patch has) and by ftrace's function profile (CONFIG_FUNCTION_PROFILER; the counter is a
    function's name) a kernel may count or not: such a count is asked for where it is offered.
    """

    REPRODUCER = "reproducer"
    VMSTAT = "vmstat"
    DEBUGFS = "debugfs"
    FUNCTION = "function"

    @property
    def everywhere(self) -> bool:
        return self in (Source.REPRODUCER, Source.VMSTAT)


@dataclass(frozen=True)
class AtLeast:
    """The path counts as exercised when ``counter`` grew by ``least`` or more."""

    counter: str
    least: int
    source: Source = Source.REPRODUCER


@dataclass(frozen=True)
class AtMost:
    """An oracle: ``counter`` may grow by ``most`` and no more.  Says nothing where nobody counts.

    Counters of debugfs whose name ends in ``_bad`` need no declaration: none may ever grow.
    """

    counter: str
    most: int = 0
    source: Source = Source.DEBUGFS


class Mount(Enum):
    """A file system that a case needs; the value is where it is mounted in our own guests.

    A reproducer finds it by ``mount_point()`` of repro.h.  The hugetlb controller lives in one
    hierarchy at a time: a case asks for version 1 or for version 2 of cgroups.
    """

    HUGETLBFS = "/dev/hugepages"
    DEBUGFS = "/sys/kernel/debug"
    CGROUP_V1 = "/sys/fs/cgroup/hugetlb"
    CGROUP_V2 = "/sys/fs/cgroup/unified"


_VERSION = re.compile(r"[0-9]{1,3}\.[0-9]{1,3}(\.[0-9]{1,4})?")


@dataclass(frozen=True)
class Needs:
    """What the guest must have; otherwise the verdict is SKIP and names what is missing.

    ``nodes`` counts nodes with memory; ``free_2m`` and ``free_1g`` are free huge pages on each
    of them; ``memory`` is free memory in all beside the pools, in bytes.  ``options`` are
    kernel options that must be "y".  ``since`` (included) and ``before`` (excluded) are kernel
    versions, and ``why`` says what makes the others unfit.
    """

    nodes: int = 1
    cpus: int = 1
    free_2m: int = 0
    free_1g: int = 0
    root: bool = True
    memory: int = 0
    options: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    since: str = ""
    before: str = ""
    why: str = ""

    def __post_init__(self) -> None:
        for version in (self.since, self.before):
            if version and not _VERSION.fullmatch(version):
                raise SpecError(f"a kernel version such as 5.10 is expected, got {version!r}")
        if (self.since or self.before) and not self.why:
            raise SpecError("why: a range of kernel versions needs a reason")
        for option in self.options:
            if not re.fullmatch(r"CONFIG_[A-Z0-9_]+", option):
                raise SpecError(f"a kernel option such as CONFIG_NUMA is expected, got {option!r}")


@dataclass(frozen=True)
class TestCase:
    """A reproducer, its parameters, what it needs of the guest, and what counts as exercised.

    ``seconds`` is how long the reproducer runs when nobody says otherwise; it takes
    the time as ``-t SECONDS``.  ``detectors`` must be armed before and after, or silence
    proves nothing.  ``catches`` names reintroduced bugs that this case is known to catch.
    ``machine`` is the one of qemu/ that the case is meant for, where the usual one will not do.
    ``paths`` are functions of the kernel that it drives: a report from outside whose stacks
    show them is looked for by this case.
    ``quick`` are its seconds in the quick suite; 0 leaves it out.

    A ``foreign`` reproducer (any C file) knows no ``-t`` and prints no result lines: it is
    ended when its time is over, and it can be seen to fail but never proved to pass.

    With a ``payload`` the reproducer is somebody else's test, a program that is not compiled here:
    it is ended when its time is over too, but says itself what it found.
    """

    __test__ = False  # the name looks like one of pytest's own classes

    name: str
    reproducer: Path
    scenarios: tuple[str, ...] = ()
    seconds: int = 10
    args: tuple[str, ...] = ()
    needs: Needs = field(default_factory=Needs)
    exercised: tuple[AtLeast, ...] = ()
    detectors: tuple[Detector, ...] = ()
    catches: tuple[str, ...] = ()
    foreign: bool = False
    limits: tuple[AtMost, ...] = ()
    machine: str = ""
    quick: int = 0
    paths: tuple[str, ...] = ()
    payload: Payload | None = None

    def __post_init__(self) -> None:
        if not self.reproducer.is_file():
            raise SpecError(f"test case {self.name}: no reproducer {self.reproducer}")
        if self.foreign:
            return
        if not any(count.source.everywhere for count in self.exercised):
            raise SpecError(
                f"test case {self.name}: nothing counts as exercised on every kernel",
                hint="a count of the reproducer or of /proc/vmstat is needed",
            )

    @property
    def ours(self) -> bool:
        """Whether the reproducer takes our arguments and prints our result lines."""
        return not self.foreign and self.payload is None

    @property
    def functions(self) -> tuple[str, ...]:
        """The kernel functions whose calls are counted, where the kernel can."""
        counts: tuple[AtLeast | AtMost, ...] = (*self.exercised, *self.limits)
        names = (count.counter for count in counts if count.source is Source.FUNCTION)
        return tuple(dict.fromkeys(names))
