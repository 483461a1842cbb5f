"""Test cases as declared in ``testcases/test_*.py``: a reproducer and what makes its run count."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from harness.errors import SpecError


class Detector(Enum):
    """A detector that a kernel can have; the value is the option that builds it in."""

    KASAN = "CONFIG_KASAN"
    LOCKDEP = "CONFIG_PROVE_LOCKING"
    DEBUG_VM = "CONFIG_DEBUG_VM"
    HUNG_TASK = "CONFIG_DETECT_HUNG_TASK"


class Source(Enum):
    """Who counts: the reproducer itself, or the kernel in /proc/vmstat."""

    REPRODUCER = "reproducer"
    VMSTAT = "vmstat"


@dataclass(frozen=True)
class AtLeast:
    """The path counts as exercised when ``counter`` grew by ``least`` or more."""

    counter: str
    least: int
    source: Source = Source.REPRODUCER


@dataclass(frozen=True)
class Needs:
    """What the guest must have; otherwise the verdict is SKIP and names what is missing.

    ``nodes`` counts nodes with memory; ``free_2m`` is free 2 MiB huge pages on each of them.
    """

    nodes: int = 1
    cpus: int = 1
    free_2m: int = 0
    free_1g: int = 0
    root: bool = True


@dataclass(frozen=True)
class TestCase:
    """A reproducer, its parameters, what it needs of the guest, and what counts as exercised.

    ``seconds`` is how long the reproducer runs when nobody says otherwise; it takes
    the time as ``-t SECONDS``.  ``detectors`` must be armed before and after, or silence
    proves nothing.  ``catches`` names reintroduced bugs that this case is known to catch.

    A ``foreign`` reproducer (any C file) knows no ``-t`` and prints no result lines: it is
    ended when its time is over, and it can be seen to fail but never proved to pass.
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

    def __post_init__(self) -> None:
        if not self.reproducer.is_file():
            raise SpecError(f"test case {self.name}: no reproducer {self.reproducer}")
        if not self.exercised and not self.foreign:
            raise SpecError(f"test case {self.name}: nothing counts as exercised")
