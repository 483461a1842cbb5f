"""The night's work: run what the plan says, and look for the culprits of what is new.

Every trial is in the log before the next one is looked at, so a night that is killed goes on
where it was, one that is started twice runs nothing twice, and one that is missed is only missed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.campaign.bench import Bench, Ready
from harness.campaign.bisect import Bisection, Budget
from harness.campaign.commits import commit_range
from harness.campaign.count import Count, as_json
from harness.campaign.logbook import Logbook
from harness.campaign.night import Change, Line, Night, compare, nights_of
from harness.campaign.rate import Tally, Until, enough
from harness.campaign.sameness import image_of
from harness.campaign.search import Policy
from harness.campaign.told import report
from harness.errors import CompileError, HarnessError, PatchError, UsageError
from harness.spec.case import TestCase
from harness.spec.kernel import GitSource, KernelSpec
from harness.spec.night import NightPlan


class Hosts(Protocol):
    """What a night needs of the world."""

    def bench(self, case: TestCase) -> Bench: ...

    def commit(self, spec: KernelSpec) -> str:
        """The commit that a git source stands for tonight; empty for other sources."""


@dataclass
class Nightly:
    """``date`` names the night; ``folder`` keeps what belongs to the plan's nights."""

    plan: NightPlan
    date: str
    folder: Path
    hosts: Hosts
    say: Callable[[str], None] = lambda text: None

    @property
    def log(self) -> Logbook:
        return Logbook(self.folder / "nights.jsonl")

    def nights(self) -> tuple[Night, list[Night]]:
        """Tonight, and the earlier nights that it is compared with."""
        events = self.log.read() if self.log.path.exists() else []
        found = nights_of(events)
        tonight = next((night for night in found if night.date == self.date), Night(self.date))
        earlier = [night for night in found if night.date < self.date and night.counts]
        return tonight, earlier[-self.plan.nights :]

    def run(self) -> tuple[Night, list[Line], int]:
        """Tonight, what it says, and with how many nights it was compared."""
        self._ask_hosts()
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.held():
            tonight, before = self.nights()
            if not tonight.over:
                self._trials(tonight)
                tonight, before = self.nights()
                self._bisect(compare(tonight, before), tonight, before)
                self._note("over")
            tonight, before = self.nights()
        return tonight, compare(tonight, before), len(before)

    def _ask_hosts(self) -> None:
        """Raise what the world lacks for tonight, before anything is made."""
        tonight, _ = self.nights()
        if not tonight.over:
            self.hosts.bench(self.plan.cases[0])

    def _note(self, event: str, **facts: object) -> None:
        self.log.append(event, {"night": self.date, **facts})

    def _trials(self, tonight: Night) -> None:
        start = time.monotonic()
        for spec in self.plan.kernels:
            left = self._left(tonight, spec)
            if not left or self._late(start):
                continue
            ready = self._built(self.hosts.bench(left[0]), spec)
            if ready is None:
                continue
            tonight, _ = self.nights()  # a killed night may have run another commit of it
            for case in self._left(tonight, spec):
                done = self._made(tonight, spec, case)
                if not self._late(start):
                    self._case(self.hosts.bench(case), ready, case, done, start)

    def _left(self, tonight: Night, spec: KernelSpec) -> list[TestCase]:
        """The cases that still want runs on a kernel."""
        until = Until(runs=self.plan.runs)
        made = [(case, self._made(tonight, spec, case)) for case in self.plan.cases]
        return [case for case, done in made if not enough(done, until, 0.0)]

    def _made(self, tonight: Night, spec: KernelSpec, case: TestCase) -> Tally:
        """What was run of a case tonight, with the reproducer that it has now."""
        ours = self.hosts.bench(case).reproducer
        counts = tonight.counts.get((spec.name, case.name), [])
        return Tally([count for count in counts if count.reproducer == ours])

    def _late(self, start: float) -> bool:
        return bool(self.plan.budget and time.monotonic() - start >= self.plan.budget)

    def _built(self, bench: Bench, spec: KernelSpec) -> Ready | None:
        try:
            ready = bench.build(spec)
            self._note("kernel", kernel=spec.name, commit=self.hosts.commit(spec))
        except HarnessError as error:
            self.say(f"{spec.name}: {error}")
            self._note("fault", kernel=spec.name, why=error.what)
            return None
        return ready

    def _case(self, bench: Bench, ready: Ready, case: TestCase, done: Tally, start: float) -> None:
        """The runs of one case on one kernel that are still to be made tonight."""
        plan, under_way = self.plan, 0
        until = Until(runs=plan.runs)
        while True:
            over = enough(done, until, 0.0) or self._late(start)
            # What says nothing is not made up for without end: it may say nothing every night.
            most = min(plan.runs - len(done.counted), 2 * plan.runs - len(done.counts))
            while not over and under_way < min(bench.width, most):
                bench.start(ready)
                under_way += 1
            if not under_way:
                return
            for _, count in bench.next():
                under_way -= 1
                done.counts.append(count)
                self._note("trial", kernel=ready.spec.name, case=case.name, **as_json(count))

    def _bisect(self, lines: list[Line], tonight: Night, before: list[Night]) -> None:
        """Look for what did it, the new ones first, while there is time."""
        start = time.monotonic()
        done = {(event["kernel"], event["case"], event["race"]) for event in tonight.bisects}
        for line in lines:
            left = self.plan.bisect - (time.monotonic() - start)
            if line.change is not Change.NEW or (*line.place, line.race) in done:
                continue
            if not self.plan.bisect:
                return
            told = (
                self._culprit(line, tonight, before, left)
                if left > 0
                else ["not begun: the budget for bisections is used up"]
            )
            kernel, case = line.place
            self._note(
                "bisect", kernel=kernel, case=case, race=line.race, title=line.title, lines=told
            )

    def _culprit(
        self, line: Line, tonight: Night, before: list[Night], seconds: float
    ) -> list[str]:
        """What a bisection between the last night without it and tonight says."""
        kernel, case_name = line.place
        spec = next(spec for spec in self.plan.kernels if spec.name == kernel)
        case = next(case for case in self.plan.cases if case.name == case_name)
        good = next((n.commits[kernel] for n in reversed(before) if n.commits.get(kernel)), "")
        bad = tonight.commits.get(kernel, "")
        if not good or not bad:
            return ["nothing to bisect: its source is no git repository, or it is the first night"]
        if good == bad:
            return [f"nothing to bisect: it is the commit of the last night, {bad[:12]}"]
        source = next(source for source in spec.sources if isinstance(source, GitSource))
        folder = self.folder / f"{self.date}-{kernel}-{case_name}-{good[:8]}"
        try:
            commits = commit_range(spec, Path(source.url), f"{good}..{bad}", folder / "commits")
            bench, log = self.hosts.bench(case), Logbook(folder / "bisect.jsonl")
            made = bench.reproducer
            under = Bisection(commits, log, image_of=image_of, reproducer=made)
            if not under.book.wanted:
                under.note(
                    "start",
                    **_begun(self.plan, spec, case, made),
                    **{"tree": source.url, "range": f"{good}..{bad}"},
                    commits=[[c.name, c.title, c.tree] for c in commits.all],
                )
                under.note("wanted", race=line.race, title=line.title)
            under.take_over(commits.n, _but_first(tonight.counted(line.place), line.race))
            for night in before:
                if night.commits.get(kernel) == good:
                    under.take_over(0, night.counted(line.place))
            answer = under.run(bench, Budget(seconds=seconds))
        except (UsageError, CompileError, PatchError) as error:
            return [f"could not be bisected: {error.what}"]
        return list(report(answer, under.book, commits))


def _begun(plan: NightPlan, spec: KernelSpec, case: TestCase, reproducer: str) -> dict[str, object]:
    """What the log of a bisection begins with, so that it can be shown and resumed as any other."""
    return {
        "format": 1,
        "command": ["harness", "nightly", plan.name],
        **{"case": case.name, "reproducer": reproducer, "arguments": []},
        **{"kernel": str(spec.file.absolute())},
        **{"machine": plan.machine, "time": plan.seconds, "accel": "", "append": []},
        "confidence": Policy().confidence,
    }


def _but_first(counts: Sequence[Count], race: str) -> list[Count]:
    """All but the first failure: it is for this one that the bug is looked for, and so it says
    nothing of how often the bad end fails.
    """
    first = next((n for n, count in enumerate(counts) if count.shows(race)), len(counts))
    return [*counts[:first], *counts[first + 1 :]]
