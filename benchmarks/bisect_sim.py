"""Bisecting simulated commits: the harness's search beside others and the information limit.

python benchmarks/bisect_sim.py [--sims 200] [--n 1000] [--rates .9,.5,.2,.05] [--builds 1,10,60]
                                [--alarms 0] [--searches ours,git,syzkaller,bayesect] [--honesty]

A run costs 1, a build what --builds says; the bad end is built already, for the bug was seen there.
The limit is log2(n) over the capacity of the channel (a run of a bad commit fails with the rate p,
any run by a false alarm; the searches are told neither), plus the log2(n) builds of a search
without noise.

Every bisection has a seed of its own, so that all searches meet the same culprits.  With --cache
FILE, what was simulated is kept there and not simulated again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from harness.campaign.belief import Belief, Leader, Tally
from harness.campaign.search import Costs, Policy, consider

MOST_RUNS = 20_000
"""A search that is not through by then has given up."""


@dataclass(frozen=True)
class Cell:
    """One simulated situation; ``rate`` 0 draws one from the rates for each bisection."""

    n: int
    rate: float
    alarm: float
    build: float


@dataclass(frozen=True)
class Answer:
    """``stated`` is the confidence that the search claims; 0 where it claims none."""

    right: bool
    gave_up: bool
    runs: int
    builds: int
    cost: float
    stated: float


class World:
    """Simulated commits: 1 to n, of which those from the culprit on fail with the rate."""

    def __init__(self, cell: Cell, seed: int) -> None:
        self.cell = cell
        self._random = random.Random(f"{cell} {seed}")
        self.culprit = self._random.randint(1, cell.n)
        self.built = {cell.n}
        self.runs = 0

    def run(self, commit: int) -> bool:
        """Whether one run of ``commit`` fails; it is built if need be."""
        self.built.add(commit)
        self.runs += 1
        cell = self.cell
        clean = self._random.random() >= cell.alarm
        quiet = commit < self.culprit or self._random.random() >= cell.rate
        return not (clean and quiet)

    def answer(self, named: int | None, stated: float = 0.0) -> Answer:
        builds = len(self.built) - 1
        cost = self.runs + builds * self.cell.build
        return Answer(named == self.culprit, named is None, self.runs, builds, cost, stated)


def ours(world: World, policy: Policy) -> Answer:
    """The search that ``harness bisect`` uses, told nothing but the outcomes and the costs."""
    cell = world.cell
    belief = Belief(cell.n)
    counts: dict[int, Tally] = {}
    price = np.full(cell.n + 1, cell.build)
    price[cell.n] = 0.0
    costs = Costs(1.0, lambda commits: price[commits])
    while world.runs < MOST_RUNS:
        step = consider(belief, counts, costs, policy)
        if isinstance(step, Leader):
            named = step.first if step.first == step.last else None
            return world.answer(named, step.probability)
        if step is None:
            break
        failed = world.run(step.commit)
        price[step.commit] = 0.0
        seen = counts.get(step.commit, Tally())
        counts[step.commit] = seen + (Tally(fails=1) if failed else Tally(passes=1))
    return world.answer(None)


def git_bisect(world: World, repeats: int) -> Answer:
    """git bisect run with a script that repeats until the first failure: a pass is proof."""
    good, bad = 0, world.cell.n
    while bad - good > 1:
        middle = (good + bad) // 2
        if any(world.run(middle) for _ in range(repeats)):
            bad = middle
        else:
            good = middle
    return world.answer(bad)


def syzkaller(world: World) -> Answer:
    """Ten instances a commit, all of them run; twenty on the first commit, and everywhere once the
    bug has proved flaky; gives up when the passes that it trusted are worth less than 66 %.
    """
    first = sum(world.run(world.cell.n) for _ in range(20))
    if not first:
        return world.answer(None)
    rate = first / 20
    repeats = 20 if rate < 0.5 else 10
    good, bad, trust = 0, world.cell.n, 1.0
    while bad - good > 1:
        middle = (good + bad) // 2
        if sum(world.run(middle) for _ in range(repeats)):
            bad = middle
            continue
        good = middle
        trust *= 1.0 - (1.0 - rate) ** repeats
        if trust < 0.66:
            return world.answer(None)
    return world.answer(bad)


def bayesect(world: World, confidence: float) -> Answer:
    """git-bayesect from PyPI, if it is installed: its index 0 is the newest commit."""
    from git_bayesect import Bisector  # type: ignore[import-not-found]

    n = world.cell.n
    search = Bisector([1.0] * n)
    while world.runs < MOST_RUNS:
        best = int(np.argmax(search.distribution))
        if search.distribution[best] >= confidence:
            return world.answer(n - best, float(search.distribution[best]))
        index = search.select()
        search.record(index, world.run(n - index))
    return world.answer(None)


def capacity(rate: float, alarm: float = 0.0) -> float:
    """Bits that one run can give: a channel in which a bad commit fails with ``rate`` (and by a
    false alarm), a clean one with ``alarm``.
    """
    fails = rate + (1.0 - rate) * alarm
    share = np.linspace(0.0, 1.0, 20_001)[1:-1]  # of bad commits among those that are run
    mixed = share * fails + (1.0 - share) * alarm
    bits = entropy(mixed) - share * entropy(fails) - (1.0 - share) * entropy(alarm)
    return float(bits.max())


def entropy(p: Any) -> Any:
    p = np.clip(p, 1e-300, 1.0 - 1e-16)
    return -(p * np.log2(p) + (1.0 - p) * np.log2(1.0 - p))


def limit(cell: Cell) -> float:
    bits = math.log2(cell.n)
    return bits / capacity(cell.rate, cell.alarm) + bits * cell.build


def searches(confidence: float) -> dict[str, Callable[[World], Answer]]:
    policy = Policy(confidence=confidence)
    return {
        "ours": lambda world: ours(world, policy),
        "git": lambda world: git_bisect(world, 10),
        "git-30": lambda world: git_bisect(world, 30),
        "syzkaller": syzkaller,
        "bayesect": lambda world: bayesect(world, confidence),
    }


class Cache:
    """Answers that an earlier call simulated, as lines of JSON; no file, no memory."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._known: dict[str, Answer] = {}
        if file and file.exists():
            for line in file.read_text(encoding="utf-8").splitlines():
                key, answer = json.loads(line)
                self._known[key] = Answer(**answer)

    def get(self, key: str, simulate: Callable[[], Answer]) -> Answer:
        if key not in self._known:
            self._known[key] = simulate()
            if self._file:
                with self._file.open("a", encoding="utf-8") as file:
                    file.write(json.dumps([key, asdict(self._known[key])]) + "\n")
        return self._known[key]


def simulate(
    name: str, search: Callable[[World], Answer], cell: Cell, sims: int, cache: Cache
) -> list[Answer]:
    return [
        cache.get(f"{name} {cell} {seed}", lambda seed=seed: search(World(cell, seed)))  # type: ignore[misc]
        for seed in range(sims)
    ]


def row(name: str, cell: Cell, answers: Sequence[Answer]) -> list[str]:
    count = len(answers)
    cost = statistics.fmean(answer.cost for answer in answers)
    return [
        f"{cell.n}",
        f"{cell.rate:g}",
        f"{cell.alarm:g}",
        f"{cell.build:g}",
        name,
        f"{sum(a.right for a in answers) / count:.1%}",
        f"{sum(a.gave_up for a in answers) / count:.1%}",
        f"{statistics.fmean(a.runs for a in answers):.0f}",
        f"{statistics.fmean(a.builds for a in answers):.1f}",
        f"{cost / limit(cell):.2f}",
    ]


def honesty(answers: Sequence[Answer]) -> str:
    """Stated confidence beside how often the answer was right, of those that stated one."""
    claimed = [answer for answer in answers if not answer.gave_up]
    stated = statistics.fmean(answer.stated for answer in claimed)
    right = sum(answer.right for answer in claimed) / len(claimed)
    return (
        f"{len(claimed)} answers: stated {stated:.1%} in the mean, right {right:.1%},"
        f" {100 * (right - stated):+.1f} points"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    numbers = lambda text: [float(word) for word in text.split(",")]  # noqa: E731
    parser.add_argument("--sims", type=int, default=200)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--rates", type=numbers, default=[0.9, 0.5, 0.2, 0.05])
    parser.add_argument("--builds", type=numbers, default=[1.0, 10.0, 60.0])
    parser.add_argument("--alarms", type=numbers, default=[0.0])
    parser.add_argument("--confidence", type=float, default=0.95)
    parser.add_argument("--searches", default="ours,git,syzkaller")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--honesty", action="store_true", help="stated against found, at the end")
    args = parser.parse_args()
    known, cache = searches(args.confidence), Cache(args.cache)
    table = Table("n", "rate", "alarms", "build", "search", "right", "gave up", "runs", "builds")
    table.add_column("cost/limit")
    stated: list[Answer] = []
    for rate, alarm, build in itertools.product(args.rates, args.alarms, args.builds):
        cell = Cell(args.n, rate, alarm, build)
        for name in args.searches.split(","):
            answers = simulate(name, known[name], cell, args.sims, cache)
            table.add_row(*row(name, cell, answers))
            stated += answers if name == "ours" else []
    Console(width=100).print(table)
    if args.honesty:
        print(honesty(stated))


if __name__ == "__main__":
    main()
