"""A trial against the fake guest: what was seen, and what it comes to."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import pytest

from harness.guest.seam import LifeEvent
from harness.paths import PROJECT
from harness.spec.case import AtLeast, Detector, Needs, Source, TestCase
from harness.spec.cases import select
from harness.trial import results, snapshot
from harness.trial.compile import compile_reproducer, identity
from harness.trial.evidence import Evidence
from harness.trial.judge import judge
from harness.trial.run import Settings, run
from harness.trial.verdict import Outcome, Verdict
from tests.fake import FACTS, GOOD_OUT, POOL, FakeGuest, Script, counters

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


def test_a_cascade_is_one_bug_and_its_consequence(case: TestCase) -> None:
    fault = (
        b"[   12.100000][  T101] general protection fault, probably for non-canonical address\n"
        b"[   12.100001][  T101] CPU: 1 PID: 101 Comm: mover Not tainted 5.10.218 #1\n"
        b"[   12.100002][  T101] RIP: 0010:unlink_anon_vmas+0x1d0/0x2c0\n"
        b"[   12.100003][  T101] Call Trace:\n"
        b"[   12.100004][  T101]  free_pgtables+0x90/0x130\n"
        b"[   12.100005][  T101] ---[ end trace 0000000000000000 ]---\n"
    )
    verdict, seen = trial(case, Script(said=KASAN + fault))
    first, second = (reason.text for reason in verdict.reasons if reason.oracle == "splat")
    assert "may be what came of it" not in first
    assert second.endswith("behind another of its task: may be what came of it")
    assert len(seen.splats) == 2


def test_a_reason_says_what_the_source_demanded(case: TestCase) -> None:
    said = (PROJECT / "tests/consoles/v5.10-punch-mapped-not-unmapped.log").read_bytes()
    verdict, _ = trial(case, Script(said=said[said.index(b"page dumped") - 400 :]))
    assert "unaccount_page_cache_page" in verdict.reasons[0].text
    assert verdict.reasons[0].text.endswith(": VM_BUG_ON_PAGE(page_mapped(page))")


def test_what_goes_on_after_its_failure_is_cut_short(
    case: TestCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.trial.run.CUT", 0.05)
    out = b"@ count moved 3\n@ fail data page 1 is lost\n"
    verdict, seen = trial(case, Script(out=out, status=None))
    assert [reason.text for reason in verdict.reasons] == ["page 1 is lost"]
    assert seen.first_failure is not None and not seen.overdue
    assert seen.after is None


def test_out_of_memory_is_no_bug_and_no_pass(case: TestCase) -> None:
    killed = b"[   12.000000][  T101] Out of memory: Killed process 101 (mover) total-vm:4000kB\n"
    verdict, seen = trial(case, Script(said=killed))
    assert [splat.is_bug for splat in seen.splats] == [False]
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.reasons[0].oracle == "memory"


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


WARN = (
    b"[    8.000000][    T1] ------------[ cut here ]------------\n"
    b"[    8.000001][    T1] WARNING: CPU: 0 PID: 1 at mm/hugetlb.c:100 hugetlb_init+0x10/0x20\n"
    b"[    8.000002][    T1] Call Trace:\n"
    b"[    8.000003][    T1]  hugetlb_init+0x10/0x20\n"
    b"[    8.000004][    T1] ---[ end trace 0123456789abcdef ]---\n"
)


def test_splat_before_the_first_marker_is_the_boots_own(case: TestCase) -> None:
    verdict, seen = trial(case, Script(early=WARN))
    assert [splat.family for splat in seen.boot_splats] == ["WARNING"]
    assert not seen.splats
    assert verdict.outcome is Outcome.PASS


def test_kernel_that_prints_no_time_is_heard(case: TestCase) -> None:
    """Without CONFIG_PRINTK_TIME nothing tells kernel text from user space."""
    bare = b"".join(line.split(b"] ", 1)[-1] for line in KASAN.splitlines(keepends=True))
    assert b"[   12" not in bare
    verdict, seen = trial(case, Script(boot=b"Linux version 5.10.218\n", said=bare))
    assert verdict.outcome is Outcome.FAIL
    assert seen.splats[0].family == "KASAN"


def test_reproducer_that_does_not_arrive_is_the_harnesss_own_fault(case: TestCase) -> None:
    guest = FakeGuest(Script(lost=True))
    seen = run(guest, case, b"program", Settings(1))
    assert guest.started == []
    verdict = judge(case, seen)
    assert verdict.outcome is Outcome.ERROR
    assert "bringing /tmp/probe" in verdict.reason


def test_reproducer_goes_when_all_is_asked_and_answers_alone(case: TestCase) -> None:
    guest = FakeGuest(Script())
    seen = run(guest, case, b"program", Settings(1))
    assert guest.files == {"/tmp/probe": b"program"}
    assert len(guest.started) == 1
    assert seen.out == GOOD_OUT


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


def test_lockdep_that_was_switched_off_is_no_pass(case: TestCase) -> None:
    off = counters(migrated=200) + "/proc/sys/kernel/prove_locking:0\n"
    verdict, _ = trial(case, Script(snapshots=[counters(), off]))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "prove_locking" in verdict.reason


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


def test_taint_is_seen_though_the_reproducer_was_ended_from_outside(case: TestCase) -> None:
    foreign = dataclasses.replace(case, foreign=True, exercised=(), detectors=())
    after = counters().replace("tainted:0", "tainted:512")
    verdict, seen = trial(foreign, Script(status=None, snapshots=[counters(), after]))
    assert seen.overdue
    assert verdict.outcome is Outcome.FAIL


def test_what_was_not_reached_tells_of_the_time_that_it_was_given(case: TestCase) -> None:
    out = b"@ count moved 1\n@ gauge late_ms 30000\n@ end\n"
    verdict, _ = trial(case, Script(out=out))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "only 1 of 10 needed, though it went on for 30 s more" in verdict.reason


def test_guest_that_the_host_starves_does_not_hang(
    case: TestCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.trial.run.LONGEST", 0.3)
    monkeypatch.setattr("harness.trial.run.LONGEST_TIMES", 0)
    verdict, seen = trial(case, Script(status=None, share=0.01))
    assert not seen.overdue
    assert verdict.outcome is Outcome.ERROR
    assert "had too little of this host's CPUs" in verdict.reason


def test_kasan_that_reported_long_ago_is_not_armed(case: TestCase) -> None:
    """Its report may have left the ring buffer of a machine that was booted already."""
    shots = [counters(migrated=n).replace("tainted:0", "tainted:32") for n in (0, 200)]
    verdict, _ = trial(case, Script(snapshots=shots))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "KASAN was off before the run" in verdict.reason


@pytest.mark.parametrize(("ignore", "outcome"), [("Y", "PASS"), ("N", "INCONCLUSIVE")])
def test_console_that_swallows_reports_is_no_pass(
    case: TestCase, ignore: str, outcome: str
) -> None:
    said = f"printk:4\t4\t1\t7\n/sys/module/printk/parameters/ignore_loglevel:{ignore}"
    shots = [counters(migrated=n).replace("printk:8\t4\t1\t7", said) for n in (0, 200)]
    verdict, _ = trial(case, Script(snapshots=shots))
    assert verdict.outcome.value == outcome


def test_loglevel_does_not_matter_where_kmsg_is_read(case: TestCase) -> None:
    shots = [counters(migrated=n).replace("printk:8", "printk:4") for n in (0, 200)]
    guest = FakeGuest(Script(snapshots=shots))
    guest.command = ()  # not booted by the harness
    assert judge(case, run(guest, case, b"", Settings(1))).outcome is Outcome.PASS


def test_foreign_reproducer_may_keep_its_pages(case: TestCase) -> None:
    foreign = dataclasses.replace(case, foreign=True, exercised=(), detectors=())
    verdict, _ = trial(foreign, Script(snapshots=[counters(), counters(free=15)]))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "free_hugepages" in verdict.reason


def test_exit_of_minus_one_is_no_signal(case: TestCase) -> None:
    verdict, _ = trial(case, Script(status=255))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "exit status 255" in verdict.reason


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
    for name in ("GRACE", "MORE", "MORE_TIMES"):
        monkeypatch.setattr(f"harness.trial.run.{name}", 0)
    verdict, seen = trial(case, Script(status=None))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.reasons[0].oracle == "hang"
    assert "RIP" in seen.postmortem


def test_panic_for_want_of_memory_is_no_bug(case: TestCase) -> None:
    said = (
        b"[   12.000000][  T101] Kernel panic - not syncing: System is deadlocked on memory\n"
        b"[   12.000001][  T101] CPU: 0 PID: 101 Comm: x Not tainted 5.10.218 #1\n"
        b"[   12.000002][  T101] ---[ end Kernel panic - not syncing: System is deadlocked on"
        b" memory ]---\n"
    )
    verdict, _ = trial(case, Script(said=said, dies=LifeEvent.PANICKED, status=None))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.reasons[0].oracle == "memory"
    other = said.replace(b"System is deadlocked on memory", b"Fatal exception")
    verdict, _ = trial(case, Script(said=other, dies=LifeEvent.PANICKED, status=None))
    assert verdict.outcome is Outcome.FAIL


def test_console_without_end_is_cut_off(case: TestCase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.trial.run.MAX_CONSOLE", 1 << 20)
    flood = b"[   12.000000][  T100] noise\n" * 40_000
    verdict, _ = trial(case, Script(said=flood, status=None))
    assert verdict.outcome is Outcome.ERROR
    assert "the console grew beyond 1 MiB: the trial was cut off there" in verdict.reason


def test_need_that_is_missing_skips_and_says_what_helps(case: TestCase) -> None:
    facts = FACTS.replace("has_memory:0-1", "has_memory:0")
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
    crashed, _ = trial(foreign, Script(out=b"", status=128 + 11))
    assert crashed.outcome is Outcome.INCONCLUSIVE
    assert "SIGSEGV" in crashed.reason


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


def test_snapshot_of_a_kernel_that_prints_rubbish_has_holes_and_no_error() -> None:
    seen = snapshot.parse(
        "/proc/meminfo:HugePages_Free:\n/proc/meminfo:HugePages_Rsvd: x\n"
        "/proc/lockdep_stats: debug_locks:\n/proc/sys/kernel/tainted:\u00b2\n"
        "/proc/sys/kernel/printk:\x00\n/proc/sys/kernel/hung_task_warnings:\n"
        "/proc/vmstat:pgmigrate_success \u00b2\n" + POOL.format(0, "nr", "9" * 5000)
    )
    assert not seen.pools and not seen.meminfo and not seen.vmstat
    assert seen.debug_locks is False


def test_results_do_not_reach_the_terminal_as_commands() -> None:
    parsed = results.parse(b"@ fail data \x1b]0;owned\x07 lost\n@ count a " + b"9" * 5000 + b"\n")
    assert parsed.failures == (("data", "\\x1b]0;owned\\x07 lost"),)
    assert parsed.rubbish == 1


def test_reproducer_is_told_by_what_runs(tmp_path: Path) -> None:
    """From another folder, or with other comments, it is the same; with other code it is not."""
    (case,) = select(["anon_fork_migrate"])
    text = case.reproducer.read_text()
    made = [identity(case, compile_reproducer(case.reproducer, cache=tmp_path))]
    for name, edited in (
        ("copied.c", text),
        ("comment.c", text.replace("An anonymous", "An", 1)),
        ("code.c", text.replace('counter("moved")', 'counter("moved_so_far")')),
    ):
        file = tmp_path / name
        file.write_text(edited)
        other = dataclasses.replace(case, reproducer=file)
        made.append(identity(other, compile_reproducer(file, cache=tmp_path)))
    assert made[0].id == made[1].id == made[2].id != made[3].id
    assert made[0].source == made[1].source != made[2].source
    assert all(len(each.binary) == 64 for each in made)
    assert identity(dataclasses.replace(case, args=("2",)), Path("gone")).id == ""
    args = dataclasses.replace(case, args=("2",))
    assert identity(args, compile_reproducer(case.reproducer, cache=tmp_path)).id != made[0].id


_COUNTING = """
#include "repro.h"
#include <sys/mman.h>
int main(int argc, char **argv)
{
	struct counter *turns;
	char *page;

	repro_start(argc, argv);
	turns = counter("turns");
	while (running()) {
		page = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		*page = 1;
		munmap(page, 4096);
		count_add(turns, 1);
	}
	return repro_end();
}
"""


def test_reproducer_goes_on_for_what_it_and_the_kernel_are_to_count(tmp_path: Path) -> None:
    """Its time is 0 s: all that it does is for the counts, and it says that it was late."""
    source = tmp_path / "counting.c"
    source.write_text(_COUNTING)
    binary = compile_reproducer(source, cache=tmp_path)

    def said(least: str) -> str:
        environment = {"LEAST": least}
        done = subprocess.run(
            [binary, "-t", "0"], env=environment, capture_output=True, text=True, timeout=100
        )
        assert done.stdout.endswith("@ end\n")
        return done.stdout

    def turns(said: str) -> int:
        return results.parse(said.encode()).counts["turns"]

    assert turns(said("")) == 0
    assert turns(said("turns=1000")) >= 1000
    by_kernel = said("vmstat:pgfault=5000")
    assert turns(by_kernel) > 0
    assert "@ gauge late_ms " in by_kernel
    # One that nobody counts is not waited for.
    assert turns(said("other=1")) == 0
