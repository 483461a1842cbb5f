"""Nights: what is new, what is gone, and what an interruption or a second start leaves of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.campaign.bench import Bench
from harness.campaign.count import Count, Seen
from harness.campaign.night import Change, Night, compare, summary, worse
from harness.campaign.nightly import Nightly
from harness.cli import main
from harness.errors import CompileError, EnvironmentFault, SpecError
from harness.spec.case import TestCase
from harness.spec.cases import select
from harness.spec.kernel import GitSource, KernelSpec
from harness.spec.night import NightPlan, load_night
from tests.fake_bench import OTHER, RACE, VOID, FakeBench, fail, passed, racing, spec_of
from tests.fake_kernel import commit_all, diff_of, git, make_tree

CASE = select(["anon_fork_migrate"])[0]
PLACE = ("k", CASE.name)


class Hosts:
    """One bench for all cases; kernels stand for the commits that they are told."""

    def __init__(self, bench: Bench, commits: dict[str, str] | None = None) -> None:
        self._bench, self._commits = bench, commits or {}

    def bench(self, case: TestCase) -> Bench:
        return self._bench

    def commit(self, spec: KernelSpec) -> str:
        return self._commits.get(spec.name, "")


def plan_of(*kernels: KernelSpec, runs: int = 4, bisect: int = 0) -> NightPlan:
    return NightPlan("plan", kernels or (spec_of("k"),), (CASE,), runs=runs, bisect=bisect)


def nightly(tmp_path: Path, date: str, bench: FakeBench, plan: NightPlan | None = None) -> Nightly:
    return Nightly(plan or plan_of(), date, tmp_path / "plan", Hosts(bench))


def always(count: Count) -> Callable[[str], Count]:
    return lambda name: count


def night(date: str, *counts: Count) -> Night:
    made = Night(date)
    made.counts[PLACE] = list(counts)
    return made


def test_one_bug_comes_and_one_goes(tmp_path: Path) -> None:
    nightly(tmp_path, "2026-01-01", FakeBench(always(fail(OTHER)))).run()
    tonight, lines, before = nightly(tmp_path, "2026-01-03", FakeBench(always(fail(RACE)))).run()
    assert before == 1  # the second was missed
    assert [(line.change, line.race) for line in lines] == [
        (Change.NEW, RACE.race),
        (Change.GONE, OTHER.race),
    ]
    told = "\n".join(summary(tonight, lines, before))
    assert told.startswith("2026-01-03: 1 new, 1 gone")
    assert RACE.title in told
    assert "0 of 4 runs tonight, 4 of 4 before" in told


def test_what_is_still_there_and_what_may_be_chance() -> None:
    seen = [night("1", fail(), passed(), passed()), night("2", passed(), passed(), passed())]
    (line,) = compare(night("3", passed(), passed(), passed()), seen)
    assert line.change is Change.QUIET  # one failure of six proves no absence in three
    (line,) = compare(night("3", fail(), passed(), passed()), seen)
    assert line.change is Change.STILL
    assert not worse(line)


def test_rate_that_changed_is_tested() -> None:
    seldom = [night("1", *[fail()], *[passed()] * 29)]
    (line,) = compare(night("2", *[fail()] * 8, *[passed()] * 2), seldom)
    assert line.change is Change.CHANGED
    assert line.chance < 0.001
    assert worse(line)
    (line,) = compare(night("2", *[fail()] * 2, *[passed()] * 8), seldom)
    assert line.change is Change.STILL


def made_with(reproducer: str, *counts: Count) -> list[Count]:
    return [replace(count, reproducer=reproducer) for count in counts]


def test_rate_of_another_reproducer_is_not_compared() -> None:
    seldom = [night("1", *made_with("old", fail(), *[passed()] * 29))]
    tonight = night("2", *made_with("new", *[fail()] * 8, *[passed()] * 2))
    (line,) = compare(tonight, seldom)
    assert (line.change, line.before, line.left_out) == (Change.STILL, (0, 0), 30)
    assert not worse(line)
    told = "\n".join(summary(tonight, [line], 1))
    assert "8 of 10 runs tonight, no earlier ones; 30 of another reproducer left out" in told
    quiet = night("2", *made_with("new", *[passed()] * 30))
    often = [night("1", *made_with("old", *[fail()] * 30))]
    (line,) = compare(quiet, often)
    assert line.change is Change.QUIET  # a gentler reproducer mends no kernel
    assert compare(quiet, [night("1", *made_with("new", *[fail()] * 30))])[0].change is Change.GONE


def test_night_whose_reproducer_changed_is_run_anew(tmp_path: Path) -> None:
    left = iter(range(3))

    def outcome(name: str) -> Count:
        if next(left, None) is None:
            raise EnvironmentFault("the host is going down")
        return fail()

    with pytest.raises(EnvironmentFault):
        nightly(tmp_path, "2026-01-01", FakeBench(outcome, reproducer="old")).run()
    rest = FakeBench(always(passed()), reproducer="new")
    tonight, lines, _ = nightly(tmp_path, "2026-01-01", rest).run()
    assert len(rest.started) == 4
    assert {count.reproducer for count in tonight.counts[PLACE]} == {"new"}
    assert lines == []


def test_night_without_a_run_that_counts_says_nothing_of_a_bug() -> None:
    tonight = night("2", VOID, VOID)
    assert compare(tonight, [night("1", fail(), fail())]) == []
    assert "2 of anon_fork_migrate on k: moved" in "\n".join(summary(tonight, [], 1))


def test_second_start_of_a_night_runs_nothing(tmp_path: Path) -> None:
    first, second = FakeBench(always(passed())), FakeBench(always(fail()))
    nightly(tmp_path, "2026-01-01", first).run()
    tonight, lines, _ = nightly(tmp_path, "2026-01-01", second).run()
    assert (len(first.started), len(second.started)) == (4, 0)
    assert tonight.over
    assert lines == []


def test_night_that_was_killed_goes_on(tmp_path: Path) -> None:
    left = iter(range(3))

    def outcome(name: str) -> Count:
        if next(left, None) is None:
            raise EnvironmentFault("the host is going down")
        return passed()

    with pytest.raises(EnvironmentFault):
        nightly(tmp_path, "2026-01-01", FakeBench(outcome)).run()
    rest = FakeBench(always(passed()))
    tonight, _, _ = nightly(tmp_path, "2026-01-01", rest).run()
    assert len(rest.started) == 1
    assert len(tonight.counted(PLACE)) == 4


def test_branch_that_moved_while_the_night_was_down(tmp_path: Path) -> None:
    """Runs of two commits are no night of either."""
    other = select(["fault_storm"])[0]
    plan = NightPlan("plan", (spec_of("k"),), (CASE, other), runs=2)
    turns = iter([fail(), fail(), passed()])

    def dies(name: str) -> Count:
        if (count := next(turns, None)) is None:
            raise EnvironmentFault("the host is going down")
        return count

    for commit, outcome in (("1" * 40, dies), ("2" * 40, always(passed()))):
        bench = FakeBench(outcome)
        under = Nightly(plan, "2026-01-01", tmp_path / "plan", Hosts(bench, {"k": commit}))
        if commit.startswith("1"):
            with pytest.raises(EnvironmentFault):
                under.run()
        else:
            tonight, lines, _ = under.run()
    assert len(bench.started) == 4
    assert lines == []
    assert tonight.commits == {"k": "2" * 40}


def test_runs_that_say_nothing_are_not_made_up_for_without_end(tmp_path: Path) -> None:
    turns = iter([passed(), *[VOID] * 50])
    bench = FakeBench(lambda name: next(turns), width=2)
    tonight, _, _ = nightly(tmp_path, "2026-01-01", bench).run()
    assert len(bench.started) == 8
    assert [count.seen for count in tonight.counted(PLACE)] == [Seen.PASS]


def test_kernel_that_does_not_build_leaves_the_others(tmp_path: Path) -> None:
    bench = FakeBench(always(passed()), broken={"a": CompileError("mm/a.c does not compile")})
    plan = plan_of(spec_of("a"), spec_of("k"))
    tonight, lines, before = nightly(tmp_path, "2026-01-01", bench, plan).run()
    assert tonight.faults == {"a": "mm/a.c does not compile"}
    assert len(tonight.counted(PLACE)) == 4
    assert "NOT RUN a: mm/a.c" in "\n".join(summary(tonight, lines, before))


def test_culprit_of_what_is_new_is_looked_for(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "linux")
    ids = [commit_all(tree)]
    for number in range(2, 8):
        (tree / "patch").write_text(diff_of("a", number, was=number - 1))
        git(tree, "apply", "patch")
        (tree / "patch").unlink()
        ids.append(commit_all(tree))
    file = tmp_path / "k.yaml"
    file.write_text("extends: v5.10-debug\n")
    spec = KernelSpec("k", file, "", (GitSource(str(tree), "main"),))
    culprit = 4

    def outcome(name: str) -> Count:
        at = next((n for n, commit in enumerate(ids) if commit.startswith(name)), len(ids) - 1)
        return fail() if at >= culprit else passed()

    plan = plan_of(spec, bisect=600)
    for date, commit, bench in (
        ("2026-01-01", ids[0], FakeBench(always(passed()))),
        ("2026-01-02", ids[-1], FakeBench(outcome)),
    ):
        hosts = Hosts(bench, {"k": commit})
        tonight, lines, before = Nightly(plan, date, tmp_path / "plan", hosts).run()
    told = "\n".join(summary(tonight, lines, before))
    assert f"{ids[culprit][:12]} is the first bad commit" in told
    # The nights' own runs count, but for the failure that it was begun for.
    assert "(7 made before)" in told
    # What it did is shown as any other bisection is.
    (log,) = (tmp_path / "plan").glob("2026-01-02-k-*/bisect.jsonl")
    assert main(["report", str(log), "-o", str(tmp_path / "page.html")]) == 0
    assert ids[culprit][:12] in (tmp_path / "page.html").read_text()
    assert main(["bisect", "log", str(log.parent)]) == 0


def test_new_bug_of_no_git_source_is_not_bisected(tmp_path: Path) -> None:
    bench = FakeBench(always(passed()))
    nightly(tmp_path, "2026-01-01", bench, plan_of(bisect=60)).run()
    failing = FakeBench(racing(0, 1.0))
    plan = plan_of(spec_of("1"), bisect=60)
    tonight, _, _ = nightly(tmp_path, "2026-01-02", failing, plan).run()
    assert "nothing to bisect" in tonight.bisects[0]["lines"][0]


def test_plan_is_read_and_its_mistakes_are_told(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text("kernels: [v5.10-debug]\ncases: [anon_fork_migrate]\nruns: 5\ntime: 30\n")
    plan = load_night(file)
    assert (plan.name, plan.runs, plan.seconds) == ("plan", 5, 30)
    for text, told in (
        ("kernels: [v5.10-debug]\nrnus: 5\n", "rnus"),
        ("runs: 1\nkernels: [v5.10-debgu]\n", r"plan\.yaml:2: kernels: no kernel 'v5.10-debgu'"),
        ("kernels: [v5.10-debug]\ncases: [anon]\n", r"plan\.yaml:2: cases: no test case 'anon'"),
        ("kernels: []\n", "kernels: expected at least one kernel"),
        ("runs: 3\nkernel: [v5.10-debug]\n", r"yaml:2: unknown key 'kernel'; expected kernels\?"),
        ("runs: 3\n", "kernels: expected at least one kernel"),
        ("kernels: [v5.10-debug]\nsuite: some\n", "suite"),
        ("kernels: [v5.10-debug, v5.10-debug]\n", "different names"),
    ):
        file.write_text(text)
        with pytest.raises(SpecError, match=told):
            load_night(file)


def test_verb_prints_what_it_would_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text("kernels: [v5.10-debug]\ncases: [anon_fork_migrate]\n")
    assert main(["nightly", str(file), "--dry-run", "--accel", "tcg"]) == 0
    assert "qemu-system-x86_64" in capsys.readouterr().out
    assert main(["nightly", str(file), "--date", "tonight"]) == 2
