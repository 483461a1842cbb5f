"""The record: it follows its schema, keeps all that was seen, and is never half written."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from harness.campaign.series import expected
from harness.cli import main
from harness.commands.trials import status
from harness.errors import EnvironmentFault
from harness.kernel.built import BuiltKernel
from harness.paths import PROJECT
from harness.record.folder import RunFolder, write
from harness.record.load import load_run
from harness.record.table import evidence_lines, line, table
from harness.spec.cases import select
from harness.spec.machine import load_machine
from harness.splat.reader import read
from harness.trial.evidence import Evidence
from harness.trial.judge import judge
from harness.trial.run import Settings, run
from harness.trial.trial import Trial, TrialResult
from harness.trial.verdict import Outcome, Reason, Verdict
from tests import record_samples as samples
from tests.fake import FakeGuest, Script
from tests.test_trial import KASAN

SCHEMA = json.loads((PROJECT / "results" / "result.schema.json").read_text())
CASE = select(["anon_fork_migrate"])[0]


@pytest.fixture
def kernel(tmp_path: Path) -> BuiltKernel:
    return BuiltKernel(
        name="v5.10-anon-race",
        content_id="0123456789abcdef",
        release="5.10.218",
        image=tmp_path / "bzImage",
        config=tmp_path / "config",
        vmlinux=tmp_path / "vmlinux",
        patches=(("reintroduce/anon-rmap-locked.patch", "ab" * 32),),
    )


def result_of(script: Script, kernel: BuiltKernel, folder: Path) -> TrialResult:
    seen = run(FakeGuest(script), CASE, b"", Settings(seconds=1))
    trial = Trial(CASE, folder / "x", 1, kernel, load_machine("two-nodes"))
    folder.mkdir(parents=True, exist_ok=True)
    return TrialResult(trial, judge(CASE, seen), seen, folder, 1.0, 7.5, ("qemu", "-m", "1G"))


def documented(run_folder: RunFolder) -> dict[str, list[dict[str, object]]]:
    document = json.loads((run_folder.path / "result.json").read_text())
    jsonschema.validate(document, SCHEMA)
    assert isinstance(document, dict)
    return document


def test_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(
    ("script", "verdict"),
    [
        (Script(said=KASAN), "FAIL"),
        (Script(facts="/proc/self/status:Uid:\t0\n/sys/devices/system/cpu/online:0\n"), "SKIP"),
        (Script(boot=KASAN), "INCONCLUSIVE"),
        (Script(out=b"\xff\x00<script>", status=127), "ERROR"),
    ],
)
def test_every_kind_of_result_follows_the_schema(
    tmp_path: Path, kernel: BuiltKernel, script: Script, verdict: str
) -> None:
    folder = RunFolder(["harness", "run"], tmp_path)
    documented(folder)
    result = result_of(script, kernel, folder.trial_folder("x"))
    folder.add(result, ["harness", "run", CASE.name])
    trials = documented(folder)["trials"]
    assert [trial["verdict"] for trial in trials] == [verdict]
    assert (folder.path.stat().st_mode & 0o777) == 0o700


def test_splats_are_kept_with_their_text(tmp_path: Path, kernel: BuiltKernel) -> None:
    folder = RunFolder(["harness", "run"], tmp_path)
    result = result_of(Script(said=KASAN), kernel, folder.trial_folder("x"))
    folder.add(result, ["harness"])
    text = (result.folder / "splat-01.txt").read_text()
    assert "use-after-free" in text
    assert "migrate_pages" in text
    assert (result.folder / "qemu.sh").read_text() == "#!/bin/sh\nqemu \\\n  -m 1G\n"


def test_what_a_report_came_of_is_kept(tmp_path: Path, kernel: BuiltKernel) -> None:
    console = (PROJECT / "tests/consoles/v5.10-punch-mapped-not-unmapped.log").read_bytes()
    folder = RunFolder(["harness"], tmp_path)
    result = result_of(Script(), kernel, folder.trial_folder("x"))
    seen = dataclasses.replace(result.evidence, splats=tuple(read(console)))
    folder.add(dataclasses.replace(result, evidence=seen), ["harness"])
    (trial,) = documented(folder)["trials"]
    splats = trial["splats"]
    assert isinstance(splats, list)
    first, *others = splats
    assert first["follows"] is None
    assert first["assertion"] == "VM_BUG_ON_PAGE(page_mapped(page))"
    assert others
    assert all(one["follows"] == first["start"] for one in others)


def test_each_trial_is_on_disk_before_the_next(tmp_path: Path, kernel: BuiltKernel) -> None:
    folder = RunFolder(["harness"], tmp_path)
    for number in (1, 2):
        folder.add(result_of(Script(), kernel, folder.trial_folder("t")), ["harness"])
        assert len(documented(folder)["trials"]) == number


def test_long_run_is_whole_when_its_harness_is_killed(
    tmp_path: Path, kernel: BuiltKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """result.json is written now and then; what it lacks is read from what was kept beside it."""
    monkeypatch.setattr("harness.record.folder._EACH", 3)
    folder = RunFolder(["harness", "run"], tmp_path)
    result = result_of(Script(), kernel, folder.trial_folder("t"))
    at_hand = []
    for number in range(1, 8):
        folder.add(result, ["harness", str(number)])
        at_hand.append(len(documented(folder)["trials"]))
        assert [t["repeat"][1] for t in load_run(folder.path).trials] == [
            str(n) for n in range(1, number + 1)
        ]
    assert at_hand == [1, 2, 3, 4, 4, 6, 6]
    part = folder.path / "trials.part"
    part.write_bytes(part.read_bytes()[:-20])
    left = load_run(folder.path)
    assert len(left.trials) == 6  # the seventh was under way
    os.close(folder._lock)
    folder = RunFolder.reopen(left)
    assert len(documented(folder)["trials"]) == 6
    folder.add(result, ["harness", "again"])
    folder.close()
    assert len(documented(folder)["trials"]) == 7
    assert load_run(folder.path).trials[6]["repeat"] == ["harness", "again"]
    assert not part.exists()


def test_hostile_title_stays_below_the_run(tmp_path: Path) -> None:
    folder = RunFolder(["harness"], tmp_path)
    assert folder.trial_folder("../../etc/passwd").parent == folder.path


def test_write_leaves_the_old_file_when_it_cannot(tmp_path: Path) -> None:
    target = tmp_path / "d" / "f"
    with pytest.raises(EnvironmentFault, match="cannot be written"):
        write(target, b"x")
    write(tmp_path / "f", b"old")
    assert os.listdir(tmp_path) == ["f"]  # noqa: PTH208


def test_results_that_cannot_be_kept_are_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFault, match="--results"):
        RunFolder(["harness"], tmp_path / "file")


def test_table_shows_headline_function_and_exercise(tmp_path: Path, kernel: BuiltKernel) -> None:
    failed = result_of(Script(said=KASAN), kernel, tmp_path / "a")
    assert evidence_lines(failed)[:2] == [
        "BUG: KASAN: use-after-free in rmap_walk_anon+0x1d0/0x2c0",
        "in rmap_walk_anon",
    ]
    passed = result_of(Script(), kernel, tmp_path / "b")
    lines = " ".join(evidence_lines(passed))
    assert "moved 100" in lines
    assert "KASAN, LOCKDEP" in lines
    assert table([failed, passed]).row_count == 2
    assert line(failed).startswith("FAIL anon_fork_migrate on v5.10-anon-race: KASAN")


def with_outcome(kernel: BuiltKernel, outcome: Outcome) -> TrialResult:
    trial = Trial(CASE, Path("x"), 1, kernel)
    return TrialResult(trial, Verdict(outcome, (Reason("x", "y"),)), Evidence(), Path(), 0.0)


@pytest.mark.parametrize(
    ("outcomes", "expected_status"),
    [
        (["PASS"], 0),
        (["PASS", "FAIL"], 1),
        (["ERROR", "FAIL"], 1),
        (["ERROR", "PASS"], 3),
        (["INCONCLUSIVE"], 125),
        (["SKIP", "PASS"], 125),
        (["SKIP", "ERROR"], 3),
    ],
)
def test_exit_status(kernel: BuiltKernel, outcomes: list[str], expected_status: int) -> None:
    assert status([with_outcome(kernel, Outcome[name]) for name in outcomes]) == expected_status


def test_declared_verdicts(kernel: BuiltKernel) -> None:
    carries = ("anon-rmap-locked",)
    assert expected(with_outcome(kernel, Outcome.FAIL), carries)
    assert not expected(with_outcome(kernel, Outcome.PASS), carries)
    assert not expected(with_outcome(kernel, Outcome.INCONCLUSIVE), carries)
    assert expected(with_outcome(kernel, Outcome.PASS), ())
    assert not expected(with_outcome(kernel, Outcome.INCONCLUSIVE), ())
    assert not expected(with_outcome(kernel, Outcome.FAIL), ())


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("splats", 0, "title"), None),
        (("splats", 0, "stacks", 0, "frames", 0), 7),
        (("machine", "nodes"), [{}]),
        (("reproducer", "counts"), {"moved": "many"}),
        (("pace", "counters"), {"moved": [[1], [2]]}),
    ],
)
def test_a_result_that_is_not_as_its_schema_is_told_where(
    tmp_path: Path, where: tuple[Any, ...], value: object, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = samples.trial("FAIL")
    at: Any = trial
    for key in where[:-1]:
        at = at[key]
    at[where[-1]] = value
    run = samples.write_run(tmp_path, samples.run([trial]))
    for words in (["report"], ["export", "mail"], ["export", "kcidb"]):
        status = main([*words, str(run), "--history", str(tmp_path / "none.db")])
        told = capsys.readouterr().err
        assert status in (0, 2)
        assert status == 0 or "trial 1: " + "/".join(map(str, where[:1])) in told
    assert not (run / "report.html").exists()
