"""The verbs of campaigns, from the command line to the record, on a bench without guests."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.campaign.count import Count, Seen
from harness.campaign.rate import Tally, report
from harness.cli import main
from harness.errors import EnvironmentFault, PatchError
from tests.fake_bench import VOID, FakeBench, fail, passed
from tests.fake_kernel import commit_all, diff_of, git, make_tree
from tests.test_campaign_commits import mailbox


def since(culprit: int, rate: float, seed: int = 1) -> Callable[[str], Count]:
    """By the number behind a kernel's name: none is the base, and -patched has the fix."""
    dice = random.Random(seed)

    def outcome(name: str) -> Count:
        number = int((re.search(r"-(\d+)$", name) or ["", "0"])[1])
        bad = number >= culprit and not name.endswith("-patched")
        return fail() if bad and dice.random() < rate else passed()

    return outcome


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kernel, k.yaml, a series of six patches on it, and a folder for results."""
    monkeypatch.setenv("HUGETLB_HARNESS_CACHE", str(tmp_path / "cache"))
    tree = make_tree(tmp_path / "linux")
    (tmp_path / "k.yaml").write_text(f"source: {{tree: {tree}}}\nconfig: [guest]\n")
    mailbox(tmp_path / "series.mbox", *(diff_of("a", n + 1, was=n) for n in range(1, 7)))
    return tmp_path


def using(monkeypatch: pytest.MonkeyPatch, outcome: Callable[[str], Count]) -> FakeBench:
    bench = FakeBench(outcome)

    def nothing(*args: object) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    for module in ("bisects", "campaigns"):
        monkeypatch.setattr(f"harness.commands.{module}.GuestBench", lambda *args: bench)
        monkeypatch.setattr(f"harness.commands.{module}.engine_of", nothing)
    return bench


def bisect(place: Path, *words: str) -> int:
    if words[0] == "start":
        words = (*words, "anon_fork_migrate", "-k", str(place / "k.yaml"))
    return main(["bisect", *words, "--results", str(place / "results")])


def test_bisection_from_start_to_answer(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    using(monkeypatch, since(4, 0.6))
    series = ("--series", str(place / "series.mbox"))
    assert bisect(place, "start", *series, "--runs", "3") == 125
    assert "Not decided: 3 runs were made" in capsys.readouterr().out
    assert bisect(place, "good", "3") == 0
    (place / "series.mbox").unlink()  # the record has it
    assert bisect(place, "resume") == 0
    out = capsys.readouterr().out
    assert "4/6 is the first bad commit" in out
    assert "change 4" in out
    assert bisect(place, "log") == 0
    log = capsys.readouterr().out
    assert "harness bisect good 3" in log
    assert "4/6: FAIL" in log
    (folder,) = {path.parent for path in (place / "results").glob("*/bisect.jsonl")}
    assert "4/6 is the first bad commit" in (folder / "bisect.txt").read_text()
    assert (folder / "commits" / "k-0004.yaml").is_file()


def test_replay_takes_over_the_counts(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    using(monkeypatch, since(2, 0.7))
    series = ("--series", str(place / "series.mbox"))
    assert bisect(place, "start", *series) == 0
    (first,) = (place / "results").glob("*/bisect.jsonl")
    kept = place / "kept.jsonl"
    kept.write_bytes(first.read_bytes())
    first.rename(first.with_name("was.jsonl"))
    assert bisect(place, "start", *series, "--runs", "1") == 125
    (second,) = (place / "results").glob("*/bisect.jsonl")
    assert bisect(place, "replay", str(kept)) == 2  # it has a run of its own
    lines = second.read_text().splitlines(keepends=True)
    second.write_text("".join(line for line in lines if json.loads(line)["event"] == "start"))
    quiet = using(monkeypatch, since(2, 0.7))
    capsys.readouterr()
    assert bisect(place, "replay", str(kept), "--in", str(second.parent)) == 0
    assert "2/6 is the first bad commit" in capsys.readouterr().out
    assert quiet.started == []


def test_interruption_says_how_to_go_on(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    turns = iter([passed(), fail()])

    def outcome(name: str) -> Count:
        if (count := next(turns, None)) is None:
            raise EnvironmentFault("no space left")
        return count

    using(monkeypatch, outcome)
    assert bisect(place, "start", "--series", str(place / "series.mbox")) == 3
    out = capsys.readouterr().out
    assert "1 of 2 failed" in out
    assert "harness bisect resume" in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--series", "nowhere.mbox"), "no such mailbox"),
        (("--series", "k.yaml"), "harness: k.yaml: no diff in it"),
        (("--series", "broken.mbox"), "broken.mbox: does not apply at patch 5 of 6 (change 5)"),
        (("--range", "v2..v1", "--tree", "linux"), "wrong way round: v1 is an ancestor of v2"),
        (("--range", "A..B", "--tree", "linux"), "no commit 'A'"),
        (("--range", "v1", "--tree", "linux"), "expected A..B"),
        (("--range", "v1..v1", "--tree", "linux"), "both ends are the commit"),
        (("--range", "A..B", "--tree", "cache"), "not a git tree"),
    ],
)
def test_bad_start_is_a_word_and_leaves_nothing(
    place: Path,
    words: tuple[str, ...],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(place)
    broken = (diff_of("a", n + 1, was=77 if n == 5 else n) for n in range(1, 7))
    mailbox(place / "broken.mbox", *broken)
    git(place / "linux", "tag", "v1", commit_all(place / "linux"))
    (place / "linux" / "mm" / "b.c").write_text("int b;\n")
    git(place / "linux", "tag", "v2", commit_all(place / "linux"))
    (place / "cache").mkdir()
    assert bisect(place, "start", *words) == 2
    assert told in capsys.readouterr().err
    assert not list((place / "results").iterdir())


@pytest.mark.parametrize(
    ("outcome", "words", "told"),
    [
        (passed(), ["--runs", "12"], "and the bad end, 6/6, never failed\n  it may fail in up to"),
        (passed(), [], "The bad end, 6/6, does not fail: 0 of 100 runs failed"),
        (VOID, [], "(reproducer): only 0 of 20 needed\n  more time a run (--time) may do"),
    ],
)
def test_bisection_of_what_shows_no_bug(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    outcome: Count,
    words: list[str],
    told: str,
) -> None:
    using(monkeypatch, lambda name: outcome)
    assert bisect(place, "start", "--series", str(place / "series.mbox"), *words) == 125
    out, err = capsys.readouterr()
    assert told in out
    assert ("passed 10 times" in err) == (outcome.seen is Seen.PASS)


def test_budget_that_does_not_do_is_told_with_what_is_missing(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    using(monkeypatch, since(4, 0.3))
    assert bisect(place, "start", "--series", str(place / "series.mbox"), "--runs", "12") == 125
    out = capsys.readouterr().out
    assert re.search(r"Not decided: 12 runs were made\n  about \d+ more runs and \d builds", out)


def commits_of(place: Path) -> list[str]:
    """Seven commits of the tree, each but the first changing a file; as the kernels are named."""
    made = []
    for number in range(7):
        (place / "linux" / "mm" / "a.c").write_text(f"int a(void) {{ return {number}; }}\n")
        made.append(commit_all(place / "linux")[:12])
    return made


def test_range_of_a_tree_from_start_to_culprit(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made, dice = commits_of(place), random.Random(3)

    def outcome(name: str) -> Count:
        return fail() if made.index(name) >= 5 and dice.random() < 0.5 else passed()

    bench = using(monkeypatch, outcome)
    span = ("--tree", str(place / "linux"), "--range", f"{made[0]}..HEAD")
    assert bisect(place, "start", *span, "--runs", "4") == 125
    out = capsys.readouterr().out
    assert re.search(r"Not decided: 4 runs were made\n  about \d+ more runs", out)
    assert bisect(place, "resume") == 0
    out = capsys.readouterr().out
    assert f"{made[5]} is the first bad commit" in out
    assert re.search(
        r"\n  with 9\d\.\d% confidence: \d+ of \d+ runs failed with it,\n  0 of \d+", out
    )
    assert {made[4], made[5]} <= set(bench.started) <= set(made)


@pytest.mark.parametrize(
    ("fails", "words", "status", "told"),
    [
        (
            range(1, 1000),
            [],
            1,
            "No commit of the range did it: the good end, {good}, has it already",
        ),
        (
            range(0),
            ["--runs", "9"],
            125,
            "the bad end, {bad}, never failed\n  it may fail in up to 29.9%",
        ),
        (range(101, 102), [], 125, "The bad end, {bad}, does not fail: 0 of 100 runs failed"),
        (range(40, 41), ["--runs", "150"], 125, "Not decided: 150 runs were made\n  about"),
    ],
)
def test_range_without_an_answer_says_why(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fails: range,
    words: list[str],
    status: int,
    told: str,
) -> None:
    """``fails`` are the runs that fail, counted from 1."""
    made, turns = commits_of(place), itertools.count(1)
    using(monkeypatch, lambda name: fail() if next(turns) in fails else passed())
    span = ("--tree", str(place / "linux"), "--range", f"{made[0]}..HEAD")
    assert bisect(place, "start", *span, *words) == status
    assert told.format(good=made[0], bad=made[-1]) in capsys.readouterr().out


def test_no_bisection_to_go_on_with(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bisect(place, "resume") == 2
    assert "no bisection in it" in capsys.readouterr().err


def test_base_that_changed_is_not_gone_on_with(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    using(monkeypatch, since(4, 0.6))
    assert bisect(place, "start", "--series", str(place / "series.mbox"), "--runs", "2") == 125
    (place / "linux" / "mm" / "b.c").write_text("int b;\n")
    assert bisect(place, "resume") == 2
    assert "has changed" in capsys.readouterr().err


def test_verify_says_it_and_keeps_it(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    using(monkeypatch, since(0, 0.9))
    patch = place / "fix.patch"
    patch.write_text(diff_of("b", 2))
    argv = ["verify", "--patch", str(patch), "-k", str(place / "k.yaml")]
    argv += ["--case", "anon_fork_migrate", "--results", str(place / "results")]
    assert main(argv) == 0
    out = capsys.readouterr().out
    assert out.startswith("fixed, with 99.9")
    (kept,) = (place / "results").glob("*/verify.json")
    assert json.loads(kept.read_text())["finding"] == "fixed"
    assert (kept.parent / "01-fix.patch").read_text() == patch.read_text()
    assert main(["verify", "--patch", "gone", *argv[3:]]) == 2
    broken = place / "broken.mbox"
    mailbox(broken, diff_of("b", 2), diff_of("a", 5, was=3))
    capsys.readouterr()
    assert main(["verify", "--patch", str(broken), *argv[3:]]) == 2
    assert re.search(f"{broken} .*: does not apply", capsys.readouterr().err)
    assert len(list((place / "results").iterdir())) == 1


def test_rate_and_trial_end_with_what_they_saw(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["anon_fork_migrate", "-k", str(place / "k.yaml"), "--results", str(place / "results")]
    for outcome, rate, trial in ((passed(), 0, 0), (fail(), 1, 1), (VOID, 125, 125)):
        using(monkeypatch, lambda name, outcome=outcome: outcome)  # type: ignore[misc]
        assert main(["rate", *argv, "--runs", "5"]) == rate
        assert main(["trial", *argv, "--runs", "3"]) == trial
    assert "5 of 5 runs failed: 100.0%" in capsys.readouterr().out


def test_trial_stops_a_bisection_for_what_is_no_verdict(place: Path) -> None:
    argv = ["anon_fork_migrate", "--results", str(place / "results")]
    assert main(["trial", *argv, "-k", "nowhere"]) == 130
    assert main(["trial", "nothing", "-k", str(place / "k.yaml")]) == 130
    assert main(["trial", *argv, "-k", str(place / "k.yaml"), "--tree", str(place / "no")]) >= 128


def test_campaign_that_cannot_start_leaves_nothing(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "fix.patch").write_text(diff_of("b", 2))
    (place / "plan.yaml").write_text(f"kernels: [{place / 'k.yaml'}]\ncases: [anon_fork_migrate]\n")
    kernel = ["anon_fork_migrate", "-k", str(place / "k.yaml")]
    verbs = {
        "rate": kernel,
        "trial": kernel,
        "verify": ["--patch", str(place / "fix.patch"), "--case", *kernel],
        "bisect": ["start", *kernel, "--series", str(place / "series.mbox")],
        "nightly": [str(place / "plan.yaml")],
    }
    (place / "file").write_text("")
    for verb, words in verbs.items():
        results = ["--results", str(place / "results")]
        wrong, lacks = (130, 131) if verb == "trial" else (2, 3)
        assert main([verb, *words, *results, "--cluster", "nowhere"]) == wrong, verb
        assert "expected local:N or tcp://HOST:PORT" in capsys.readouterr().err
        assert not (place / "results").exists(), verb
        assert main([verb, *words, "--results", str(place / "file" / "below")]) == lacks, verb
        assert "no run can be kept there" in capsys.readouterr().err


def test_kernel_that_cannot_be_built_leaves_no_run(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = using(monkeypatch, since(0, 1.0))
    bench.broken["k"] = PatchError("does not apply")
    argv = ["anon_fork_migrate", "-k", str(place / "k.yaml"), "--results", str(place / "results")]
    assert main(["rate", *argv]) == 2
    assert main(["trial", *argv]) == 125
    assert not (place / "results").exists()


def test_interrupted_resumption_of_a_bisection_without_a_trial_leaves_no_run(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = using(monkeypatch, since(0, 1.0))
    assert bisect(place, "start", "--series", str(place / "series.mbox"), "--runs", "1") == 125
    full = EnvironmentFault("the disk is full")
    bench.broken |= dict.fromkeys(["k", *(f"k-{number:04}" for number in range(1, 7))], full)
    assert bisect(place, "resume") == 3
    assert len([path for path in (place / "results").iterdir() if path.is_dir()]) == 1


def test_runs_of_a_folder_that_is_none(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    series = ("--series", str(place / "series.mbox"))
    assert bisect(place, "start", *series, "--from", str(place / "nowhere")) == 2
    assert "no such folder" in capsys.readouterr().err
    assert bisect(place, "start", *series, "--from", str(place)) == 2
    assert "not a run folder" in capsys.readouterr().err
    assert not (place / "results").exists()


def test_what_a_dead_guest_said_is_not_told_twice() -> None:
    dead = Count(Seen.VOID, why="not ready within 180 s\n  its console said last:\n    [ 1.0]")
    told = list(report(Tally([dead, dead]), "x", 0.95))
    assert told[1:] == ["  2 runs left out: not ready within 180 s"]
