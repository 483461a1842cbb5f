"""A bench without guests: kernels that fail with a rate, as many at a time as it is wide."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.campaign.bench import Ready
from harness.campaign.commits import Commit, Commits
from harness.campaign.count import Count, Seen, Sighting
from harness.errors import HarnessError
from harness.kernel.built import BuiltKernel
from harness.spec.kernel import KernelSpec

RACE = Sighting("0123456789ab", "memory: page migration", "KASAN: use-after-free in rmap_walk")
OTHER = Sighting("ba9876543210", "lockdep: hugetlb", "circular locking in hugetlb_fault")
VOID = Count(Seen.VOID, why="moved (reproducer): only 0 of 20 needed")

_FOLDERS = itertools.count(1)


def spec_of(name: str) -> KernelSpec:
    return KernelSpec(name, Path(f"{name}.yaml"), "", ())


def commits_of(n: int) -> Commits:
    """``n`` commits on a base, each a change of one file."""
    return Commits(
        "a range",
        tuple(
            Commit(f"{number}/{n}", f"change {number}", spec_of(str(number)), f"tree{number}")
            for number in range(n + 1)
        ),
    )


def fail(sighting: Sighting = RACE, first: float = 0.5) -> Count:
    return Count(Seen.FAIL, (sighting,), sighting.title, first, first)


def passed(ran: float = 10.0) -> Count:
    return Count(Seen.PASS, ran=ran)


@dataclass
class FakeBench:
    """``outcome`` gives what a run of a kernel comes to; ``broken`` are names that fail to build.

    A run is over at the next look; the newest started ends first, as guests are not in order.
    """

    outcome: Callable[[str], Count]
    width: int = 1
    broken: dict[str, HarnessError] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)
    reproducer: str = ""
    started: list[str] = field(default_factory=list)
    built: Counter[str] = field(default_factory=Counter)
    _under_way: list[tuple[Future[Count], str]] = field(default_factory=list)

    def build(self, spec: KernelSpec) -> Ready:
        if error := self.broken.get(spec.name):
            raise error
        self.built[spec.name] += 1
        image = self.images.get(spec.name, spec.name)
        kernel = BuiltKernel(spec.name, image, "5.10", Path("b"), Path("c"), vmlinux=Path("v"))
        return Ready(spec, kernel, 40.0)

    def start(self, ready: Ready) -> Future[Count]:
        assert len(self._under_way) < self.width
        self.started.append(ready.spec.name)
        future: Future[Count] = Future()
        self._under_way.append((future, ready.spec.name))
        return future

    def next(self, timeout: float | None = None) -> list[tuple[Future[Count], Count]]:
        future, name = self._under_way.pop()
        count = replace(
            self.outcome(name),
            folder=f"run/{next(_FOLDERS):03}-{name}",
            reproducer=self.reproducer,
        )
        future.set_result(count)
        return [(future, count)]


def racing(culprit: int, rate: float, seed: int = 1) -> Callable[[str], Count]:
    """Kernels are called by their numbers; those from ``culprit`` on have the race."""
    dice = random.Random(seed)

    def outcome(name: str) -> Count:
        return fail() if int(name) >= culprit and dice.random() < rate else passed()

    return outcome
