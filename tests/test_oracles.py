"""The oracles beside the console: what a guest must have, what its counters say, what is left."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from harness.errors import SpecError
from harness.spec.case import AtLeast, AtMost, Mount, Needs, Source, TestCase
from harness.spec.cases import quick
from harness.trial import arrange, facts, snapshot
from harness.trial.judge import judge
from harness.trial.run import Settings, run
from harness.trial.snapshot import INSTRUMENTATION
from harness.trial.verdict import Outcome, Verdict
from tests.fake import FACTS, POOL, FakeGuest, Script, counters


@pytest.fixture
def case(tmp_path: Path) -> TestCase:
    source = tmp_path / "probe.c"
    source.write_text("int main(void) { return 0; }\n")
    return TestCase(name="probe", reproducer=source, exercised=(AtLeast("moved", 10),))


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake says at once what it has to say."""
    for name in ("LATE", "SETTLE", "DRAIN_QUIET"):
        monkeypatch.setattr(f"harness.trial.run.{name}", 0.05)


def verdict(case: TestCase, script: Script) -> Verdict:
    return judge(case, run(FakeGuest(script), case, b"\x7fELF", Settings(seconds=1)))


def needing(case: TestCase, **needs: object) -> TestCase:
    return dataclasses.replace(case, needs=Needs(**needs))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("needs", "told"),
    [
        ({"options": ("CONFIG_USERFAULTFD",)}, "CONFIG_USERFAULTFD=y"),
        ({"since": "5.16", "why": "mremap is EINVAL before"}, "since 5.16"),
        ({"before": "5.10", "why": "gone since"}, "before 5.10"),
        ({"cpus": 4}, "4 CPUs are needed, there are 2: try --machine"),
        ({"memory": 1 << 30}, "1024 MiB of free memory"),
    ],
)
def test_what_is_missing_skips_and_says_what_helps(
    case: TestCase, needs: dict[str, object], told: str
) -> None:
    seen = verdict(needing(case, **needs), Script())
    assert seen.outcome is Outcome.SKIP
    assert told in seen.reason


@pytest.mark.parametrize(
    "needs",
    [
        {"options": ("CONFIG_HUGETLBFS",)},
        {"since": "5.10", "why": "x"},
        {"before": "5.10.219", "why": "x"},
        {"since": "4.19", "before": "6.0", "why": "x"},
    ],
)
def test_what_is_there_does_not_skip(case: TestCase, needs: dict[str, object]) -> None:
    assert verdict(needing(case, **needs), Script()).outcome is Outcome.PASS


def test_releases_compare_by_number_not_by_letter(case: TestCase) -> None:
    new = Script(facts=FACTS.replace("release:5.10.218", "release:6.1.0-30-amd64"))
    assert verdict(needing(case, since="5.16", why="x"), new).outcome is Outcome.PASS


def test_machine_of_the_case_is_what_is_advised(case: TestCase) -> None:
    large = dataclasses.replace(needing(case, cpus=8), machine="gigantic")
    assert verdict(large, Script()).reason.endswith("--machine gigantic")


def test_mount_that_cannot_be_had_skips(case: TestCase) -> None:
    seen = verdict(needing(case, mounts=(Mount.CGROUP_V2,)), Script(arranged="lacks CGROUP_V2\n"))
    assert seen.outcome is Outcome.SKIP
    assert "CONFIG_CGROUP_HUGETLB" in seen.reason


def test_sysctls_of_a_machine_that_is_not_ours_are_left_alone(case: TestCase) -> None:
    assert "hung_task" in arrange.command(case, profiler=False, own=True)
    assert "hung_task" not in arrange.command(case, profiler=False, own=False)


@pytest.mark.parametrize(
    "wrong",
    [
        {"since": "5"},
        {"since": "5.10"},
        {"options": ("USERFAULTFD",)},
    ],
)
def test_needs_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(SpecError):
        Needs(**wrong)  # type: ignore[arg-type]


def test_count_that_only_some_kernels_have_is_no_proof_by_itself(case: TestCase) -> None:
    with pytest.raises(SpecError, match="on every kernel"):
        dataclasses.replace(case, exercised=(AtLeast("x", 1, Source.DEBUGFS),))


def instrumented(case: TestCase) -> TestCase:
    asked = (*case.exercised, AtLeast("shareable_taken", 5, Source.DEBUGFS))
    return dataclasses.replace(case, exercised=asked)


def shots(**values: tuple[int, int]) -> list[str]:
    """Two snapshots of a kernel with instrumentation; values before and after."""
    return [
        counters()
        + "".join(f"{INSTRUMENTATION}/{name}:{pair[i]}\n" for name, pair in values.items())
        for i in (0, 1)
    ]


def test_instrumentation_is_asked_where_it_is_offered(case: TestCase) -> None:
    assert verdict(instrumented(case), Script()).outcome is Outcome.PASS
    idle = Script(snapshots=shots(shareable_taken=(3, 5)))
    assert (
        verdict(instrumented(case), idle).reason == "shareable_taken (debugfs): only 2 of 5 needed"
    )
    busy = Script(snapshots=shots(shareable_taken=(3, 9), shareable_bad=(1, 1)))
    assert verdict(instrumented(case), busy).outcome is Outcome.PASS


def test_bad_hit_fails_any_case_and_says_how_often_the_path_was_taken(case: TestCase) -> None:
    hit = Script(snapshots=shots(shareable_taken=(3, 9), shareable_bad=(1, 3)))
    seen = verdict(case, hit)
    assert seen.outcome is Outcome.FAIL
    assert seen.reasons[0].oracle == "instrumentation"
    assert seen.reason == "shareable_bad (debugfs): 2, none expected; the path was taken 6 times"


def test_limit_of_a_case_is_an_oracle(case: TestCase) -> None:
    limited = dataclasses.replace(
        case, limits=(AtMost("shareable_bad", 2), AtMost("pgmigrate_fail", 0, Source.VMSTAT))
    )
    assert verdict(limited, Script(snapshots=shots(shareable_bad=(1, 3)))).outcome is Outcome.PASS
    assert verdict(limited, Script(snapshots=shots(shareable_bad=(0, 3)))).outcome is Outcome.FAIL


def test_function_profile_sums_cpus() -> None:
    text = (
        "/sys/kernel/debug/tracing/trace_stat/function0:  Function      Hit    Time   Avg\n"
        "/sys/kernel/debug/tracing/trace_stat/function0:  --------      ---    ----   ---\n"
        "/sys/kernel/debug/tracing/trace_stat/function0:  hugetlb_fault  12  3.1 us  0.2 us\n"
        "/sys/kernel/debug/tracing/trace_stat/function1:  hugetlb_fault  30  3.1 us  0.2 us\n"
    )
    assert snapshot.parse(text).functions == {"hugetlb_fault": 42}


def test_functions_that_are_counted_are_named_once(case: TestCase) -> None:
    twice = dataclasses.replace(
        case,
        exercised=(*case.exercised, AtLeast("hugetlb_fault", 1, Source.FUNCTION)),
        limits=(AtMost("hugetlb_fault", 1000, Source.FUNCTION),),
    )
    assert twice.functions == ("hugetlb_fault",)
    assert "hugetlb_fault" in arrange.command(twice, profiler=True, own=True)
    assert "hugetlb_fault" not in arrange.command(twice, profiler=False, own=True)


def test_pool_that_does_not_shrink_fails_and_names_the_node(case: TestCase) -> None:
    seen = verdict(case, Script(emptied=POOL.format(1, "nr", 1)))
    assert seen.outcome is Outcome.FAIL
    assert seen.reasons[0].oracle == "leak"
    assert seen.reason == "node 1: nr_hugepages (2 MiB) of an emptied pool was 0, is 1"


def test_huge_page_outside_of_any_pool_fails(case: TestCase) -> None:
    seen = verdict(case, Script(left="@ count hugetlb 2\n@ count compound 0\n@ end\n"))
    assert seen.reason == "huge pages outside of any pool (hugetlb) was 0, is 2"


def test_pools_of_a_machine_that_is_not_ours_are_left_alone(case: TestCase) -> None:
    guest = FakeGuest(Script(emptied=POOL.format(1, "nr", 1)))
    guest.command = ()
    assert judge(case, run(guest, case, b"", Settings(1))).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/proc/meminfo:HugePages_Total:      31\n", "HugePages_Total is 31, its nodes have 32"),
        ("/proc/meminfo:HugePages_Rsvd: 33\n/proc/meminfo:HugePages_Free: 32\n", "more than"),
    ],
)
def test_sums_that_are_wrong_fail(case: TestCase, line: str, told: str) -> None:
    size = "/proc/meminfo:Hugepagesize:       2048 kB\n"
    seen = verdict(case, Script(snapshots=[counters() + size, counters() + size + line]))
    assert any(told in reason.text for reason in seen.reasons if reason.oracle == "counters")


def test_cgroup_that_keeps_a_charge_fails(case: TestCase) -> None:
    usage = "/sys/fs/cgroup/hugetlb/hugetlb.2MB.{}usage_in_bytes:{}\n"
    groups = "/proc/cgroups:hugetlb\t3\t{}\t1\n"
    before = counters() + usage.format("", 0) + usage.format("max_", 0) + groups.format(1)
    after = counters() + usage.format("", 2 << 20) + usage.format("max_", 9) + groups.format(2)
    texts = [reason.text for reason in verdict(case, Script(snapshots=[before, after])).reasons]
    assert texts == [
        "num_cgroups of hugetlb in /proc/cgroups was 1, is 2",
        "hugetlb.2MB.usage_in_bytes was 0, is 2097152",
    ]


def test_quick_suite_is_what_has_a_share_of_it(case: TestCase) -> None:
    short = dataclasses.replace(case, name="short", quick=3)
    assert [(c.name, c.seconds) for c in quick([case, short])] == [("short", 3)]


def test_options_are_asked_for_where_the_build_does_not_tell(case: TestCase) -> None:
    asked = facts.config(facts.options_of(needing(case, options=("CONFIG_USERFAULTFD",))))
    assert "|USERFAULTFD)" in asked
    guest = FakeGuest(Script())
    run(guest, case, b"", Settings(1, options={"CONFIG_KASAN": "y"}))
    assert guest.before
    assert not any("config.gz" in part for part in guest.before)
