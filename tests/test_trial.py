"""A trial against the fake guest: what was seen, and what it comes to."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from harness.guest.seam import LifeEvent
from harness.spec.case import AtLeast, Detector, Needs, Source, TestCase
from harness.trial import results, snapshot
from harness.trial.evidence import Evidence
from harness.trial.judge import judge
from harness.trial.run import Settings, run
from harness.trial.verdict import Outcome, Verdict
from tests.fake import FACTS, GOOD_OUT, FakeGuest, Script, counters

KASAN = (
    b"[   12.000000][  T101] =================================================="
    b"================\n"
    b"[   12.000001][  T101] BUG: KASAN: use-after-free in rmap_walk_anon+0x1d0/0x2c0\n"
    b"[   12.000002][  T101] Read of size 8 at addr ffff888012345678 by task mover/101\n"
    b"[   12.000003][  T101] \n"
    b"[   12.000004][  T101] CPU: 1 PID: 101 Comm: mover Not tainted 5.10.218 #1\n"
    b"[   12.000005][  T101] Call Trace:\n"
    b"[   12.000006][  T101]  rmap_walk_anon+0x1d0/0x2c0\n"
    b"[   12.000007][  T101]  try_to_unmap+0x90/0x130\n"
    b"[   12.000008][  T101]  migrate_pages+0x7a0/0x1a30\n"
    b"[   12.000009][  T101] =================================================="
    b"================\n"
)


@pytest.fixture
def case(tmp_path: Path) -> TestCase:
    source = tmp_path / "probe.c"
    source.write_text("int main(void) { return 0; }\n")
    return TestCase(
        name="probe",
        reproducer=source,
        needs=Needs(nodes=2, cpus=2, free_2m=2),
        exercised=(AtLeast("moved", 10), AtLeast("pgmigrate_success", 10, Source.VMSTAT)),
        detectors=(Detector.KASAN, Detector.LOCKDEP),
    )


def trial(case: TestCase, script: Script) -> tuple[Verdict, Evidence]:
    seen = run(FakeGuest(script), case, b"\x7fELF", Settings(seconds=1))
    return judge(case, seen), seen


def test_pass_needs_proof_and_gives_it(case: TestCase) -> None:
    verdict, seen = trial(case, Script())
    assert verdict == Verdict(Outcome.PASS)
    assert [(e.counter, e.reached) for e in seen.exercised] == [
        ("moved", 100),
        ("pgmigrate_success", 200),
    ]
    assert all(arming.armed for arming in seen.arming)
    assert seen.markers == (True, True)


def test_splat_outweighs_exit_status_0(case: TestCase) -> None:
    verdict, seen = trial(case, Script(said=KASAN))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.reasons[0].oracle == "splat"
    assert seen.splats[0].function == "rmap_walk_anon"
    assert seen.first_splat is not None


def test_offsets_of_a_splat_are_those_of_the_console(case: TestCase) -> None:
    guest = FakeGuest(Script(said=KASAN))
    seen = run(guest, case, b"", Settings(seconds=1))
    splat = seen.splats[0]
    assert b"BUG: KASAN" in guest.text[splat.start : splat.end]


def test_splat_at_boot_is_the_boots_own_but_disarms(case: TestCase) -> None:
    verdict, seen = trial(case, Script(boot=KASAN))
    assert not seen.splats
    assert len(seen.boot_splats) == 1
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "KASAN was off before the run" in verdict.reason


def test_late_splat_belongs_to_the_trial(case: TestCase) -> None:
    verdict, _ = trial(case, Script(late=KASAN))
    assert verdict.outcome is Outcome.FAIL


def test_splat_with_the_last_snapshot_is_no_pass(case: TestCase) -> None:
    verdict, _ = trial(case, Script(last=KASAN))
    assert verdict.outcome is Outcome.FAIL


def test_path_not_taken_is_no_pass(case: TestCase) -> None:
    out = GOOD_OUT.replace(b"moved 100", b"moved 3")
    verdict, _ = trial(case, Script(out=out))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.reason == "moved (reproducer): only 3 of 10 needed"


def test_the_kernels_own_count_is_asked_too(case: TestCase) -> None:
    verdict, _ = trial(case, Script(snapshots=[counters(migrated=5), counters(migrated=6)]))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "pgmigrate_success (vmstat): only 1 of 10" in verdict.reason


def test_lockdep_that_went_off_is_no_pass(case: TestCase) -> None:
    after = counters(migrated=200, debug_locks=0)
    verdict, _ = trial(case, Script(snapshots=[counters(), after]))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "LOCKDEP went off during the run" in verdict.reason


def test_kernel_without_detector_is_no_pass(case: TestCase) -> None:
    verdict, _ = trial(case, Script(facts=FACTS.replace("CONFIG_KASAN=y\n", "")))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "has no KASAN" in verdict.reason


def test_silent_console_is_no_pass(case: TestCase) -> None:
    verdict, _ = trial(case, Script(deaf=True))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "/dev/kmsg" in verdict.reason


def test_pool_that_lost_a_page_fails_and_names_it(case: TestCase) -> None:
    after = counters(migrated=200).replace("free_hugepages:16", "free_hugepages:15", 1)
    verdict, _ = trial(case, Script(snapshots=[counters(), after]))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.reason == "node 0: free_hugepages (2 MiB) was 16, is 15"


def test_taint_tells_of_a_report_that_nobody_read(case: TestCase) -> None:
    after = counters(migrated=200).replace("tainted:0", "tainted:512")
    verdict, _ = trial(case, Script(snapshots=[counters(), after]))
    assert verdict.outcome is Outcome.FAIL
    assert "W: it warned" in verdict.reason


def test_taint_of_the_boot_is_not_the_trials(case: TestCase) -> None:
    shots = [counters(migrated=n).replace("tainted:0", "tainted:512") for n in (0, 200)]
    assert trial(case, Script(snapshots=shots))[0].outcome is Outcome.PASS


def test_leaked_reservation_fails(case: TestCase) -> None:
    verdict, _ = trial(case, Script(snapshots=[counters(), counters(migrated=200, rsvd=1)]))
    assert verdict.reason == "HugePages_Rsvd was 0, is 1"


def test_counters_may_settle(case: TestCase) -> None:
    late = counters(migrated=200, free=15)
    verdict, _ = trial(case, Script(snapshots=[counters(), late, counters(migrated=200)]))
    assert verdict.outcome is Outcome.PASS


def test_data_loss_told_by_the_reproducer_fails(case: TestCase) -> None:
    out = b"@ count moved 100\n@ fail data offset 0x1000: found 0\n@ end\n"
    verdict, _ = trial(case, Script(out=out, status=1))
    assert verdict.outcome is Outcome.FAIL
    assert (verdict.reasons[0].oracle, verdict.reason) == ("data", "offset 0x1000: found 0")


def test_signal_fails(case: TestCase) -> None:
    verdict, _ = trial(case, Script(out=b"@ count moved 100\n", status=128 + 7))
    assert verdict.outcome is Outcome.FAIL
    assert "SIGBUS" in verdict.reason


@pytest.mark.parametrize("event", [event for event in LifeEvent if event.kernel])
def test_death_of_the_guest_fails(case: TestCase, event: LifeEvent) -> None:
    verdict, _ = trial(case, Script(dies=event, status=None))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.reasons[0].oracle == event.name.lower()


@pytest.mark.parametrize("event", [event for event in LifeEvent if not event.kernel])
def test_death_of_the_harness_side_is_an_error(case: TestCase, event: LifeEvent) -> None:
    verdict, _ = trial(case, Script(dies=event, status=None))
    assert verdict.outcome is Outcome.ERROR


def test_splat_then_death_is_a_failure_by_the_splat(case: TestCase) -> None:
    verdict, _ = trial(case, Script(said=KASAN, dies=LifeEvent.QEMU_GONE, status=None))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.reasons[0].oracle == "splat"


def test_reproducer_that_never_ends_is_a_hang(
    case: TestCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.trial.run.GRACE", 0.0)
    verdict, seen = trial(case, Script(status=None))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.reasons[0].oracle == "hang"
    assert "RIP" in seen.postmortem


def test_need_that_is_missing_skips_and_says_what_helps(case: TestCase) -> None:
    facts = FACTS.replace("memory_nodes=0-1", "memory_nodes=0")
    verdict, seen = trial(case, Script(facts=facts))
    assert verdict.outcome is Outcome.SKIP
    assert "two-nodes" in verdict.reason
    assert not seen.out


def test_reproducer_cut_short_is_no_pass(case: TestCase) -> None:
    verdict, _ = trial(case, Script(out=GOOD_OUT.replace(b"@ end\n", b"")))
    assert verdict.outcome is Outcome.INCONCLUSIVE


def test_rubbish_is_no_pass(case: TestCase) -> None:
    verdict, _ = trial(case, Script(out=GOOD_OUT + b"@ count \xff\xfe x\n"))
    assert verdict.outcome is Outcome.INCONCLUSIVE


def test_reproducer_that_does_not_start_is_an_error(case: TestCase) -> None:
    verdict, _ = trial(case, Script(out=b"", err=b"sh: not found", status=127))
    assert verdict.outcome is Outcome.ERROR


def test_foreign_reproducer_can_fail_but_never_pass(case: TestCase) -> None:
    foreign = dataclasses.replace(case, foreign=True, exercised=(), detectors=())
    assert trial(foreign, Script(out=b"hello\n"))[0].outcome is Outcome.INCONCLUSIVE
    assert trial(foreign, Script(out=b"hello\n", said=KASAN))[0].outcome is Outcome.FAIL


def test_foreign_reproducer_gets_no_time_argument(case: TestCase) -> None:
    foreign = dataclasses.replace(case, foreign=True, exercised=(), args=("a b",))
    guest = FakeGuest(Script())
    run(guest, foreign, b"", Settings(seconds=1))
    assert guest.started == ["/tmp/probe 'a b'"]


def test_result_lines() -> None:
    out = (
        b"hello\n@ count a 1\n@ count a 2\n@ fail data page 3 lost\n@ skip no nodes\n"
        b"@ nonsense\n@ en"
    )
    parsed = results.parse(out)
    assert parsed.counts == {"a": 2}
    assert parsed.failures == (("data", "page 3 lost"),)
    assert parsed.skip == "no nodes"
    assert parsed.rubbish == 1
    assert not parsed.ended  # cut in half


def test_snapshot_reads_what_two_nodes_print() -> None:
    seen = snapshot.parse(counters(migrated=7, debug_locks=0))
    assert seen.pools[1, 2 << 20, "free"] == 16
    assert seen.vmstat == {"pgmigrate_success": 7}
    assert seen.debug_locks is False
    assert seen.console_loglevel == 8
