"""Runs that were made before a bisection: which of them count, and that each counts once."""

from __future__ import annotations

import argparse
import dataclasses
import os
from pathlib import Path

import pytest

from harness.campaign.bisect import Bisection, Budget
from harness.campaign.count import Count, Seen, count
from harness.campaign.earlier import earlier
from harness.campaign.logbook import Logbook
from harness.campaign.series import Series, repeat
from harness.commands.campaigns import plan_for
from harness.errors import UsageError
from harness.kernel.built import BuiltKernel
from harness.record.folder import RunFolder
from harness.record.load import load_run
from harness.trial.compile import identity
from tests.fake import Script
from tests.fake_bench import FakeBench, commits_of, fail, passed, racing
from tests.test_record import kernel as kernel  # the fixture
from tests.test_record import result_of
from tests.test_trial import KASAN


def plan_of(case: str = "anon_fork_migrate", seconds: int = 1, kernel: str = "") -> Series:
    return plan_for(
        argparse.Namespace(
            **{"case": case, "behind": [], "kernel": [kernel or "v5.10-debug"], "machine": ""},
            **{"time": seconds, "accel": "", "append": [], "jobs": 1, "guests": 1},
            **{"default_kernel": ""},
        )
    )


def recorded(
    folder: RunFolder,
    plan: Series,
    kernel: BuiltKernel,
    *scripts: Script,
    binary: Path = Path("there-is-none"),
) -> list[Count]:
    """Runs in ``folder``; as a campaign counted them when they were made."""
    made = []
    for script in scripts:
        result = result_of(script, kernel, folder.trial_folder("t"))
        trial = dataclasses.replace(result.trial, binary=binary)
        result = dataclasses.replace(result, trial=trial)
        folder.add(result, repeat(plan, plan.kernels[0], plan.cases[0]))
        there = f"{folder.name}/{result.folder.name}"
        made.append(dataclasses.replace(count(result), folder=there))
    return made


SCRIPTS = (
    Script(said=KASAN),
    Script(),
    Script(boot=KASAN),
    Script(facts="/proc/self/status:Uid:\t0\n/sys/devices/system/cpu/online:0\n"),
    Script(out=b"@ count moved 3\n"),
    Script(status=127),
)


def test_record_counts_as_the_run_did(tmp_path: Path, kernel: BuiltKernel) -> None:
    folder = RunFolder(["harness", "rate"], tmp_path / "results")
    made = recorded(folder, plan_of(kernel="v5.10-anon-race"), kernel, *SCRIPTS)
    assert {each.seen for each in made} == set(Seen)
    found = earlier([folder.path], plan_of(), "")[kernel.content_id]
    # Seconds are kept to a thousandth.
    assert [dataclasses.replace(c, ran=0.0, first=None) for c in found] == [
        dataclasses.replace(c, ran=0.0, first=None) for c in made
    ]
    assert [c.first is None for c in found] == [c.first is None for c in made]
    assert earlier([tmp_path / "results"], plan_of(), "") == earlier([folder.path], plan_of(), "")


def test_run_of_another_length_or_case_is_no_run_of_this_one(
    tmp_path: Path, kernel: BuiltKernel
) -> None:
    folder = RunFolder(["harness", "rate"], tmp_path)
    recorded(folder, plan_of(seconds=1), kernel, Script(said=KASAN))
    assert not earlier([folder.path], plan_of(seconds=2), "")
    assert not earlier([folder.path], plan_of("anon_unmap_migrate"), "")
    with pytest.raises(UsageError, match="not a run folder"):
        earlier([tmp_path / folder.name / "001-t"], plan_of(), "")


def test_run_of_another_reproducer_is_no_run_of_this_one(
    tmp_path: Path, kernel: BuiltKernel
) -> None:
    folder = RunFolder(["harness", "rate"], tmp_path)
    ids = []
    for number in range(2):
        binary = tmp_path / "repro"
        binary.write_text(f"version {number}")
        os.utime(binary, ns=(number, number))
        recorded(folder, plan_of(), kernel, Script(said=KASAN), Script(), binary=binary)
        ids.append(identity(plan_of().cases[0], binary).id)
    recorded(folder, plan_of(), kernel, Script())  # by an older harness: nothing is known of it
    said: list[str] = []
    found = earlier([folder.path], plan_of(), ids[1], said.append)[kernel.content_id]
    assert [(count.seen, count.reproducer) for count in found] == [
        (Seen.FAIL, ids[1]),
        (Seen.PASS, ids[1]),
    ]
    assert said == [f"{folder.path}: 3 runs do not count: made with another reproducer"]
    trials = load_run(folder.path).trials
    assert [trial["reproducer"]["id"] for trial in trials] == [ids[0]] * 2 + [ids[1]] * 2 + [""]
    assert len({trial["reproducer"]["source"] for trial in trials}) == 1
    assert len({trial["reproducer"]["binary"] for trial in trials}) == 3


def test_bisection_keeps_to_one_reproducer(tmp_path: Path) -> None:
    log = Logbook(tmp_path / "bisect.jsonl")
    old = [dataclasses.replace(fail(), folder="rate/1", reproducer="old")]
    new = [dataclasses.replace(fail(), folder="rate/2", reproducer="new")]
    known = {"8": [*old, *new]}
    first = Bisection(commits_of(8), log, earlier=known, reproducer="new")
    first.run(FakeBench(racing(4, 1.0), reproducer="new"), Budget(runs=1))
    assert first.book.taken == {"rate/2"}
    later = Bisection(commits_of(8), log, reproducer="newer")
    bench = FakeBench(racing(4, 1.0), reproducer="newer")
    with pytest.raises(UsageError, match=r"another build of the reproducer \(new; now it is newer"):
        later.run(bench, Budget())
    assert not bench.started


def test_bisection_takes_each_over_once_and_goes_on_from_them(tmp_path: Path) -> None:
    folders = [f"rate/{number}" for number in range(9)]
    ends = [dataclasses.replace(fail(), folder=f) for f in folders]
    clean = [dataclasses.replace(passed(), folder=f"clean/{n}") for n in range(9)]
    known = {"8": ends, "3": clean, "elsewhere": ends}
    log = Logbook(tmp_path / "bisect.jsonl")

    def sitting(runs: int | None) -> tuple[Bisection, FakeBench]:
        under, bench = Bisection(commits_of(8), log, earlier=known), FakeBench(racing(4, 1.0))
        under.run(bench, Budget(runs=runs))
        return under, bench

    first, bench = sitting(1)
    assert first.book.counts[8].fails == 9
    assert bench.started != ["8"]  # what the bad end does is known
    assert len(first.book.run_seconds) == 1
    second, bench = sitting(None)
    assert second.book.counts[8].fails >= 9
    assert sum(bool(event.get("earlier")) for event in log.read()) == len(second.book.taken)
    assert second.leader().first == 4
    alone, plain = Bisection(commits_of(8), Logbook(tmp_path / "b")), FakeBench(racing(4, 1.0))
    assert alone.run(plain, Budget()).first == 4
    assert len(bench.started) + 1 < len(plain.started)
