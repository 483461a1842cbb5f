"""Bisecting simulated commits: the harness's search beside others and the information limit.

python benchmarks/bisect_sim.py [--sims 300] [--n 1000] [--rates .9,.5,.2,.05] [--builds 1,10,60]
                                [--alarms 0] [--first 0]
                                [--searches ours,told,among,quiet,single,git,git-30,syzkaller,
                                            bayesect]
                                [--reach] [--honesty] [--guests 2] [--jobs 1] [--cache FILE]

A run costs 1, a build what --builds says; the bad end is built already, for the bug was seen there.
The limit is log2(n) over the capacity of the channel (a run of a bad commit fails with the rate p,
any run by a false alarm; the searches are told neither), plus the log2(n) builds of a search
without noise.  It is that of a search which knows p, and has as many commits as it likes: `told` is
the harness's own search when it is told p and the false alarms, so what it costs more is what it
costs to find them out.  `among` is told no more than that the rate is one of four, `quiet` no more
than that a clean commit never fails; `single` has one part as the prior of false alarms.

--reach runs the cells of benchmarks/README.md: 1,000 commits without and with 1 % of false alarms,
and a series of 16.  Shares have Wilson's intervals (95 %), costs the standard error of their mean.
--guests N gives the time until there is an answer with N guests at a time, and one build, over that
with one guest.

Every bisection has a seed of its own, from --first on, so that all searches meet the same culprits.
With --cache FILE, what was simulated is kept there and not simulated again: give another one when
the search has changed.  Where numba is installed, `ours` and what is told more are compiled
(compiled_search.py), which makes no difference but that of time.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import itertools
import json
import math
import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.campaign.belief import Belief, Leader, Prior, Tally
from harness.campaign.search import Batch, Costs, Policy, consider
from harness.record.interval import wilson

MOST_RUNS = 20_000
"""A search that is not through by then has given up."""


@dataclass(frozen=True)
class Cell:
    """One simulated situation."""

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

    def dice(self) -> Any:
        """What ``run`` would draw, all of it at once: numpy has the same generator."""
        state = self._random.getstate()[1]
        drawn = np.random.RandomState()
        drawn.set_state(("MT19937", np.array(state[:-1], np.uint32), int(state[-1]), 0, 0.0))
        return drawn.random_sample(2 * MOST_RUNS)

    def answer(self, named: int | None, stated: float = 0.0) -> Answer:
        builds = len(self.built) - 1
        cost = self.runs + builds * self.cell.build
        return Answer(named == self.culprit, named is None, self.runs, builds, cost, stated)


def ours(world: World, policy: Policy, prior: Prior | None = None) -> Answer:
    """The search that ``harness bisect`` uses, told nothing but the outcomes and the costs."""
    cell = world.cell
    belief = Belief(cell.n, prior)
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


def rates_of(cell: Cell) -> Prior:
    """What a search believes that knows the rates nearly."""
    alarm = (1.0, 400 * cell.alarm + 0.5, 400 * (1.0 - cell.alarm) + (0.0 if cell.alarm else 4600))
    rate = (1.0, 400 * cell.rate, 400 * (1.0 - cell.rate))
    return Prior((rate,), (alarm,))


AMONG = Prior(tuple((0.25, 400 * rate, 400 * (1.0 - rate)) for rate in (0.9, 0.5, 0.2, 0.05)))
"""What a search believes that knows the rate to be one of these, nearly."""

QUIET = Prior(alarm=((1.0, 0.5, 4600.0),))
"""What a search believes that knows clean commits never to fail, nearly."""

SINGLE = Prior(alarm=((1.0, 0.5, 200.0),))
"""What the harness's search believed before it allowed for benches that do have alarms."""

COMPILED = importlib.util.find_spec("numba") is not None


@functools.cache
def _compiled(n: int, policy: Policy, prior: Prior | None) -> Any:
    from compiled_search import Compiled

    return Compiled(Belief(n, prior), policy, MOST_RUNS)


def quick(world: World, policy: Policy, prior: Prior | None = None) -> Answer:
    """``ours``, compiled: the same runs."""
    cell = world.cell
    search = _compiled(cell.n, policy, prior)
    named, stated, runs, builds = search.run(
        world.culprit, cell.rate, cell.alarm, cell.build, world.dice()
    )
    cost = runs + builds * cell.build
    return Answer(named == world.culprit, named < 0, runs, builds, cost, stated)


def wall(world: World, policy: Policy, guests: int) -> Answer:
    """Several guests and one build at a time, chosen as ``harness bisect`` does; the cost is the
    time until the answer.
    """
    cell, now = world.cell, 0.0
    belief = Belief(cell.n)
    counts: dict[int, Tally] = {}
    price = np.full(cell.n + 1, cell.build)
    price[cell.n] = 0.0
    costs = Costs(1.0, lambda commits: price[commits])
    ready, building = {cell.n}, (math.inf, 0)
    under_way: list[tuple[float, int]] = []
    while world.runs < MOST_RUNS:
        while len(under_way) < guests:
            taken = dict(counts)
            for _, commit in under_way:
                taken[commit] = taken.get(commit, Tally()) + Tally(passes=1)
            step = consider(belief, taken, costs, policy)
            if not isinstance(step, Batch):
                if under_way:
                    break
                named = step.first if step and step.first == step.last else None
                made = world.answer(named, step.probability if step else 0.0)
                return Answer(made.right, made.gave_up, made.runs, made.builds, now, made.stated)
            if step.commit not in ready:
                if building[0] == math.inf:
                    building = (now + cell.build, step.commit)
                if guests == 1:
                    break
                step = consider(belief.only(ready), taken, costs, policy)
                if not isinstance(step, Batch) or step.commit not in ready:
                    break
            under_way.append((now + 1.0, step.commit))
        now = min([building[0], *(end for end, _ in under_way)])
        if building[0] <= now:
            ready.add(building[1])
            price[building[1]] = 0.0
            building = (math.inf, 0)
        for _, commit in [run for run in under_way if run[0] <= now]:
            more = Tally(fails=1) if world.run(commit) else Tally(passes=1)
            counts[commit] = counts.get(commit, Tally()) + more
        under_way = [run for run in under_way if run[0] > now]
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


def search(name: str, world: World, confidence: float) -> Answer:
    """Raises KeyError for a name that is none."""
    policy = Policy(confidence=confidence)
    kind, _, guests = name.partition(":")
    own = quick if COMPILED else ours
    known: dict[str, Callable[[], Answer]] = {
        "ours": lambda: own(world, policy),
        "told": lambda: own(world, policy, rates_of(world.cell)),
        "among": lambda: own(world, policy, AMONG),
        "quiet": lambda: own(world, policy, QUIET),
        "single": lambda: own(world, policy, SINGLE),
        "wall": lambda: wall(world, policy, int(guests)),
        "git": lambda: git_bisect(world, 10),
        "git-30": lambda: git_bisect(world, 30),
        "syzkaller": lambda: syzkaller(world),
        "bayesect": lambda: bayesect(world, confidence),
    }
    return known[kind]()


Job = tuple[str, Cell, int, float]
"""A search, where, with which seed, and what confidence is asked of it."""


def one(job: Job) -> Answer:
    name, cell, seed, confidence = job
    return search(name, World(cell, seed), confidence)


class Simulator:
    """Answers, from an earlier call's ``file`` where it has them; lines of JSON."""

    def __init__(self, file: Path | None, jobs: int, first: int = 0) -> None:
        self._file, self._first = file, first
        self._pool = ProcessPoolExecutor(jobs) if jobs > 1 else None
        self._known: dict[str, Answer] = {}
        if file and file.exists():
            for line in file.read_text(encoding="utf-8").splitlines():
                key, answer = json.loads(line)
                self._known[key] = Answer(**answer)

    def answers(self, name: str, cell: Cell, sims: int, confidence: float) -> list[Answer]:
        seeds = range(self._first, self._first + sims)
        jobs = {f"{name} {cell} {seed}": (name, cell, seed, confidence) for seed in seeds}
        new = {key: job for key, job in jobs.items() if key not in self._known}
        many = self._pool.map(one, new.values(), chunksize=8) if self._pool else None
        found = many or map(one, new.values())
        for key, answer in zip(new, found, strict=True):
            self._known[key] = answer
            if self._file:
                with self._file.open("a", encoding="utf-8") as file:
                    file.write(json.dumps([key, asdict(answer)]) + "\n")
        return [self._known[key] for key in jobs]


HEAD = (
    f"{'n':>5} {'rate':>5} {'alarms':>6} {'build':>5} {'search':>10} {'right':>6}"
    f" {'(95 %)':>13} {'gave up':>7} {'runs':>6} {'builds':>6} {'limit':>6} {'cost/limit':>12}"
)


def row(name: str, cell: Cell, answers: Sequence[Answer]) -> str:
    count, right = len(answers), sum(a.right for a in answers)
    low, high = wilson(right, count)
    costs = [answer.cost / limit(cell) for answer in answers]
    spread = statistics.stdev(costs) / math.sqrt(count)
    return (
        f"{cell.n:>5} {cell.rate:>5g} {cell.alarm:>6g} {cell.build:>5g} {name:>10}"
        f" {right / count:>6.1%} {f'{low:.1%}-{high:.1%}':>13}"
        f" {sum(a.gave_up for a in answers) / count:>7.1%}"
        f" {statistics.fmean(a.runs for a in answers):>6.0f}"
        f" {statistics.fmean(a.builds for a in answers):>6.1f} {limit(cell):>6.0f}"
        f" {statistics.fmean(costs):>6.2f} ±{spread:.2f}"
    )


def honesty(answers: Sequence[Answer]) -> str:
    """Stated confidence beside how often the answer was right, of those that stated one."""
    claimed = [answer for answer in answers if not answer.gave_up]
    stated = statistics.fmean(answer.stated for answer in claimed)
    right = sum(answer.right for answer in claimed)
    low, high = wilson(right, len(claimed))
    return (
        f"{len(claimed)} answers: stated {stated:.1%} in the mean, right {right / len(claimed):.1%}"
        f" ({low:.1%}-{high:.1%}), {100 * (right / len(claimed) - stated):+.1f} points"
    )


def walls(simulator: Simulator, cell: Cell, guests: int, args: argparse.Namespace) -> str:
    """The time with several guests beside that with one, over the same culprits."""
    alone, several = (
        simulator.answers(f"wall:{n}", cell, args.sims, args.confidence) for n in (1, guests)
    )
    times = [statistics.fmean(a.cost for a in each) for each in (alone, several)]
    right = [sum(a.right for a in each) / args.sims for each in (alone, several)]
    return (
        f"{cell.n:>5} {cell.rate:>5g} {cell.build:>5g}   1 guest: {times[0]:>6.0f} ({right[0]:.1%})"
        f"   {guests} guests: {times[1]:>6.0f} ({right[1]:.1%})   ratio {times[1] / times[0]:.2f}"
    )


def cells(args: argparse.Namespace) -> Iterator[Cell]:
    for n, alarm in ((1000, 0.0), (1000, 0.01), (16, 0.0)) if args.reach else ((args.n, None),):
        alarms = args.alarms if alarm is None else [alarm]
        for rate, given, build in itertools.product(args.rates, alarms, args.builds):
            yield Cell(n, rate, given, build)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    numbers = lambda text: [float(word) for word in text.split(",")]  # noqa: E731
    parser.add_argument("--sims", type=int, default=300)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--rates", type=numbers, default=[0.9, 0.5, 0.2, 0.05])
    parser.add_argument("--builds", type=numbers, default=[1.0, 10.0, 60.0])
    parser.add_argument("--alarms", type=numbers, default=[0.0])
    parser.add_argument("--confidence", type=float, default=0.95)
    parser.add_argument("--searches", default="ours,git,syzkaller")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--first", type=int, default=0, help="seed")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--reach", action="store_true")
    parser.add_argument("--honesty", action="store_true", help="stated against found, at the end")
    parser.add_argument("--guests", type=int, help="the time that so many guests take")
    args = parser.parse_args()
    simulator = Simulator(args.cache, args.jobs, args.first)
    if args.guests:
        for cell in cells(args):
            print(walls(simulator, cell, args.guests, args), flush=True)
        return
    print(HEAD)
    stated: list[Answer] = []
    for cell in cells(args):
        for name in args.searches.split(","):
            answers = simulator.answers(name, cell, args.sims, args.confidence)
            print(row(name, cell, answers), flush=True)
            stated += answers if name == "ours" else []
    if args.honesty:
        print(honesty(stated))


if __name__ == "__main__":
    main()
