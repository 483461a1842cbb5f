"""Other people's tests: what they print, how they are found and sent, and what it comes to."""

from __future__ import annotations

import dataclasses
import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from harness.campaign.series import repeat, series
from harness.cli import main
from harness.errors import SpecError, UsageError
from harness.spec.case import TestCase
from harness.spec.payload import PASSED, Dialect
from harness.spec.suite import cases_of, load_suite, programs_in, suite_names
from harness.trial import launch
from harness.trial.dialects import read
from harness.trial.judge import judge
from harness.trial.results import Results
from harness.trial.run import Settings, run
from harness.trial.verdict import Outcome, Verdict
from tests.fake import POOL, FakeGuest, Script, counters
from tests.test_trial import KASAN

LTP_PASS = b"tst_test.c:2055: TINFO: LTP version: 2026\nmove_pages12.c:160: TPASS: not seen\n"


def ltp(text: str, status: int | None = 0) -> Results:
    return read(Dialect.LTP, b"", text.encode(), status)


def tap(text: str, status: int | None = 0) -> Results:
    return read(Dialect.KSELFTEST, text.encode(), b"", status)


def lib(text: str, status: int | None = 0) -> Results:
    return read(Dialect.LIBHUGETLBFS, text.encode(), b"", status)


def test_ltp_passes_are_counted_and_failures_quoted() -> None:
    found = ltp("a.c:1: TPASS: one\na.c:2: TPASS: two\na.c:3: TFAIL: got EIO (5)\n", 1)
    assert found.counts[PASSED] == 2
    assert found.failures == (("test", "TFAIL: got EIO (5)"),)
    assert found.ended


def test_ltp_prints_colours_and_old_lines() -> None:
    assert ltp("a.c:1: \x1b[1;32mTPASS: \x1b[0mone\n").counts[PASSED] == 1
    assert ltp("hugemmap01    1  TPASS  :  a.c:12: it went well\n").counts[PASSED] == 1


def test_ltp_lacks_something_only_where_nothing_else_was_said() -> None:
    assert ltp("a.c:1: TCONF: no huge pages\n", 32).skip == "no huge pages"
    assert ltp("a.c:1: TCONF: no 1G pages\na.c:2: TPASS: ok\n").skip == ""
    assert ltp("a.c:1: TCONF: x\na.c:2: TBROK: y\n", 34).skip == ""


def test_ltp_broken_is_no_failure_but_a_child_killed_by_the_kernel_is() -> None:
    assert ltp("a.c:1: TBROK: no space left\n", 2).failures == ()
    assert ltp("a.c:1: TBROK: no space left\n", 2).broken == ("TBROK: no space left",)
    ((oracle, text),) = ltp("tst_test.c:9: TBROK: Test killed by SIGBUS!\n", 2).failures
    assert oracle == "signal" and "SIGBUS" in text


def test_ltp_status_that_no_line_explains() -> None:
    assert ltp("", 1).failures and ltp("", 2).broken and ltp("", 32).skip


@pytest.mark.parametrize(
    ("text", "status", "passed", "failed", "skipped"),
    [
        ("TAP version 13\n1..2\nok 1 a\nok 2 b # SKIP no pages\n", 0, 1, 0, False),
        ("KTAP version 1\n1..1\n  ok 1 inner\nnot ok 1 outer\n", 1, 1, 1, False),
        ("1..0 # SKIP\nok 1 # SKIP it wants 6.1\n", 4, 0, 0, True),
        ("not ok 1 known # XFAIL\n", 0, 0, 0, False),
        ("Check the mapping\n", 0, 1, 0, False),
        ("Mismatch at 3\n", 1, 0, 1, False),
        ("skip: no free huge pages\n", 4, 0, 0, True),
    ],
)
def test_kselftest(text: str, status: int, passed: int, failed: int, skipped: bool) -> None:
    found = tap(text, status)
    assert (found.counts[PASSED], len(found.failures), bool(found.skip)) == (
        *(passed, failed, skipped),
    )


def test_kselftest_that_gives_up_is_broken() -> None:
    assert tap("TAP version 13\nBail out! no memory\n", 1).broken
    assert tap("usage: x\n", 127).broken


@pytest.mark.parametrize(
    ("text", "status", "passed", "failed", "broken", "skipped"),
    [
        ("readback: \nPASS\n", 0, 1, 0, 0, False),
        ("FAIL\tread wrong value\n", 2, 0, 1, 0, False),
        ("Bad configuration: need 4 pages\n", 1, 0, 0, 0, True),
        ("PASS (inconclusive)\n", 0, 0, 0, 1, False),
        ("TEST BUG: mmap\n", 99, 0, 0, 1, False),
        ("", 0, 0, 0, 0, False),
    ],
)
def test_libhugetlbfs(
    text: str, status: int, passed: int, failed: int, broken: int, skipped: bool
) -> None:
    found = lib(text, status)
    assert found.counts[PASSED] == passed
    assert (len(found.failures), len(found.broken), bool(found.skip)) == (failed, broken, skipped)


def test_what_a_guest_prints_obeys_no_terminal() -> None:
    ((_, text),) = ltp("a.c:1: TFAIL: \x1b]0;owned\x07\n", 1).failures
    assert "\x1b" not in text and "\x07" not in text


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """As LTP's is built: programs beside their sources, and older ones deeper down."""
    for name in ("testcases/kernel/move_pages12", "old/testcases/bin/kernel/move_pages12"):
        file = tmp_path / name
        file.parent.mkdir(parents=True)
        file.write_text("#!/bin/sh\n")
        file.chmod(0o755)
    (tmp_path / "testcases/move_pages12").mkdir()
    return tmp_path


@pytest.fixture
def case(tree: Path) -> TestCase:
    suite = load_suite("ltp")
    (found,) = cases_of(suite, programs_in(tree, suite.programs), ["move_pages12"], str(tree))
    assert found.payload and found.payload.keeps
    # What is asked of others here.
    return dataclasses.replace(found, payload=dataclasses.replace(found.payload, keeps=""))


def trial(case: TestCase, script: Script) -> Verdict:
    seen = run(FakeGuest(script), case, b"", Settings(seconds=1))
    return judge(case, seen)


@pytest.mark.parametrize("name", suite_names())
def test_shipped_suites_load(name: str) -> None:
    suite = load_suite(name)
    assert suite.about
    assert len({test.name for test in suite.tests}) == len(suite.tests)
    cases = cases_of(suite, {program: Path(__file__) for program in suite.programs})
    assert [case.name for case in cases] == [f"{name}.{test.name}" for test in suite.tests]
    assert all(series(["v5.10-debug"], "", [case]) for case in cases)


def test_programs_are_found_where_they_were_built(case: TestCase, tree: Path) -> None:
    assert case.reproducer == tree / "testcases/kernel/move_pages12"


def test_a_pass_beside_a_splat_is_a_failure(case: TestCase) -> None:
    assert trial(case, Script(out=b"", err=LTP_PASS)).outcome is Outcome.PASS
    verdict = trial(case, Script(out=b"", err=LTP_PASS, said=KASAN))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.reasons[0].oracle == "splat"


def test_what_lacks_is_a_skip_and_what_is_broken_proves_nothing(case: TestCase) -> None:
    lacks = trial(case, Script(out=b"", err=b"a.c:1: TCONF: one node\n", status=32))
    assert (lacks.outcome, lacks.reason) == (Outcome.SKIP, "one node")
    broken = trial(case, Script(out=b"", err=b"a.c:1: TBROK: fork\n", status=2))
    assert broken.outcome is Outcome.INCONCLUSIVE


def test_a_pass_without_a_migration_proves_nothing(case: TestCase) -> None:
    still = Script(out=b"", err=LTP_PASS, snapshots=[counters(), counters()])
    verdict = trial(case, still)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "pgmigrate_success" in verdict.reason


def test_time_over_is_no_hang(case: TestCase) -> None:
    verdict = trial(case, Script(out=b"", status=None))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "ended after" in verdict.reason


def test_pages_that_do_not_come_back_are_a_failure_unless_it_keeps_them(case: TestCase) -> None:
    lost = [counters(), counters(migrated=200, free=15)]
    verdict = trial(case, Script(out=b"", err=LTP_PASS, snapshots=lost))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.reasons[0].oracle == "counters"
    assert case.payload
    keeps = dataclasses.replace(case.payload, keeps="it sets the pool")
    kept = dataclasses.replace(case, payload=keeps)
    assert trial(kept, Script(out=b"", err=LTP_PASS, snapshots=lost)).outcome is Outcome.PASS


def _pools(*, nr: tuple[int, int], free: tuple[int, int], surplus: tuple[int, int] = (0, 0)) -> str:
    """As counters() with pools of its own, and a migration seen."""
    rest = [line for line in counters(migrated=200).splitlines() if "/node" not in line]
    kinds = (("nr", nr), ("free", free), ("surplus", surplus))
    lines = [POOL.format(node, kind, each[node]) for node in (0, 1) for kind, each in kinds]
    return "\n".join([*rest, *lines]) + "\n"


@pytest.mark.parametrize(
    ("after", "outcome"),
    [
        # LTP sets nr_hugepages, and at its end writes the old total into it.
        (_pools(nr=(15, 17), free=(15, 17)), Outcome.PASS),
        (_pools(nr=(16, 16), free=(15, 17)), Outcome.FAIL),
        (_pools(nr=(15, 17), free=(15, 16)), Outcome.FAIL),
        (_pools(nr=(15, 16), free=(15, 16)), Outcome.FAIL),
        (_pools(nr=(15, 17), free=(15, 17), surplus=(-1, 1)), Outcome.FAIL),
    ],
)
def test_a_pool_that_a_test_set_anew_may_lie_on_other_nodes(
    case: TestCase, after: str, outcome: Outcome
) -> None:
    before = counters()
    verdict = trial(case, Script(out=b"", err=LTP_PASS, snapshots=[before, after]))
    assert verdict.outcome is outcome


def test_a_runtime_is_cut_to_the_time_that_there_is(case: TestCase) -> None:
    assert case.payload and case.payload.runtime == 480
    assert "LTP_RUNTIME_MUL=0.05" in launch.command(case.payload, 60)


def test_a_payload_starts_without_a_limit_of_locked_memory(case: TestCase, tmp_path: Path) -> None:
    assert case.payload
    asks = dataclasses.replace(case.payload, command=("sh", "-c", "ulimit -l; pwd"))
    line = launch.command(asks, 9).replace(launch.FOLDER, str(tmp_path))
    if subprocess.run(["sh", "-c", "ulimit -l unlimited"], capture_output=True).returncode:
        pytest.skip("this user may not lift the limit")
    done = subprocess.run(["sh", "-c", f"ulimit -S -l 64; {line}"], capture_output=True, text=True)
    assert done.stdout.split() == ["unlimited", str(tmp_path)]


def test_a_program_in_a_debian_root_is_run_there(case: TestCase) -> None:
    assert case.payload
    inside = dataclasses.replace(case.payload, debian=True, command=("bash", "a b.sh"))
    assert launch.command(inside, 9).startswith("exec chroot /debian /bin/bash -c ")


def test_what_is_sent_is_one_archive_found_again_by_content(case: TestCase, tmp_path: Path) -> None:
    first = launch.pack(case, tmp_path / "cache")
    with tarfile.open(fileobj=io.BytesIO(first.read_bytes())) as tar:
        assert tar.getnames() == ["move_pages12"]
    assert launch.pack(case, tmp_path / "cache") == first
    case.reproducer.write_text("#!/bin/sh\nexit 1\n")
    assert launch.pack(case, tmp_path / "cache") != first


def test_libraries_that_a_guest_has_not_are_sent_too(case: TestCase, tmp_path: Path) -> None:
    source, program = tmp_path / "m.c", tmp_path / "m"
    source.write_text("#include <math.h>\nint main(int c, char **v) { return (int)sin(c); }\n")
    subprocess.run([shutil.which("gcc") or "gcc", source, "-lm", "-o", program], check=True)
    dynamic = dataclasses.replace(case, reproducer=program)
    with tarfile.open(launch.pack(dynamic, tmp_path / "cache")) as tar:
        names = tar.getnames()
    assert "m" in names and "lib/libm.so.6" in names
    assert not [name for name in names if "libc.so" in name or "ld-linux" in name]


def test_a_trial_is_repeated_by_the_verb_that_ran_it(case: TestCase, tree: Path) -> None:
    plan = series(["v5.10-debug"], "", [case])
    words = repeat(plan, plan.kernels[0], case)
    assert words[:6] == ["harness", "payload", "ltp", "move_pages12", "--from", str(tree)]
    assert main([*words[1:], "--dry-run"]) == 0


def test_what_is_mistyped_is_named(tree: Path, tmp_path: Path) -> None:
    suite = load_suite("ltp")
    with pytest.raises(UsageError, match="move_page12"):
        cases_of(suite, programs_in(tree, suite.programs), ["move_page12"])
    with pytest.raises(UsageError, match="none of the programs"):
        cases_of(suite, {})
    with pytest.raises(UsageError, match="no such folder"):
        programs_in(tmp_path / "nowhere", suite.programs)
    assert main(["payload", "ltp"]) == 2
    assert main(["payload", "lpt", "--from", str(tree)]) == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dialect: lpt\ntests: [{name: a}]\n", "dialect: expected one of"),
        ("dialect: ltp\ntests: []\n", "tests: expected at least one"),
        ("dialect: ltp\ntests: [{name: a b}]\n", "name: expected letters"),
        ('dialect: ltp\ntests: [{name: a, run: "a \'b"}]\n', "run: expected a command line"),
        ("dialect: ltp\ntests: [{name: a, second: 3}]\n", "unknown key"),
        ("dialect: ltp\ntests: [{name: a, since: new, why: x}]\n", "test a: a kernel version"),
        ("dialect: ltp\ndetectors: [KSAN]\ntests: [{name: a}]\n", "detectors: expected of"),
        ("dialect: ltp\ntests: [{name: a, root: fedora}]\n", "root: expected debian"),
    ],
)
def test_a_declaration_that_makes_no_sense(text: str, expected: str, tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(text)
    with pytest.raises(SpecError, match=expected):
        load_suite(str(file))
