"""Consoles as they really are: torn, doubled, interleaved, endless; and what is said of them."""

from __future__ import annotations

import pytest

from harness.splat.families import head_of
from harness.splat.reader import Reader, read
from harness.splat.repeats import KEPT
from harness.splat.report import Splat
from harness.splat.signature import signature
from tests.splat_samples import BAR, SAMPLES, STALL, TRACE
from tests.test_splat_reader import console

KASAN = SAMPLES["kasan uaf"].lines


def joined(*lines: str, context: str = "T321") -> bytes:
    return b"".join(console(lines, context))


@pytest.mark.parametrize(
    ("reason", "lines"),
    [
        ("no backtrace", ("kernel BUG at mm/made_up.c:10!", "invalid opcode: 0000 [#1] SMP")),
        ("no backtrace", (BAR, *KASAN[1:3])),
        ("a backtrace without frames", (*KASAN[:-5], "Freed by task 9:", "", "page:1", BAR)),
        ("the line that tells the access is missing", (KASAN[0], KASAN[1], *TRACE)),
        (
            "the line that names the lock is missing",
            ("WARNING: possible recursive locking detected", *TRACE),
        ),
        (
            "the backtrace of an injected fault is mixed in",
            (
                "BUG: sleeping function called from invalid context at a.c:1",
                *TRACE,
                " should_fail+0x1/0x2",
            ),
        ),
        ("the report that this panic ends is missing", SAMPLES["panic"].lines),
        ("its first line is cut off", ("BUG: unable to handle kernel", *TRACE)),
        (
            "no backtrace of a CPU that was interrupted",
            ("rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", *TRACE),
        ),
        (
            "no function can be told",
            ("general protection fault: 0000 [#1] SMP", "Call Trace:", " ? stale+0x1/0x2"),
        ),
    ],
)
def test_a_report_that_is_not_whole_says_why(reason: str, lines: tuple[str, ...]) -> None:
    (splat,) = read(joined(*lines))
    assert splat.corrupted == reason


NOT_WHOLE = {"panic", "max lockdep"} | {
    name
    for name, sample in SAMPLES.items()
    if (found := head_of(sample.lines[0].encode())) and found[0].torn
}


@pytest.mark.parametrize("name", sorted(set(SAMPLES) - NOT_WHOLE))
def test_a_whole_report_is_sound(name: str) -> None:
    (splat,) = read(joined(*SAMPLES[name].lines))
    assert splat.corrupted == ""


def test_a_message_that_cuts_into_a_first_line() -> None:
    text = b"[   12.000000] BUG: unable to handle kernel [   12.000001] loop0: detected\n"
    (splat,) = read(text + "".join(f"[   12.000002] {line}\n" for line in TRACE).encode())
    assert splat.corrupted


def test_messages_that_the_kernel_dropped_in_a_report() -> None:
    lines = console(KASAN)
    lines[8] = b"** 12 printk messages dropped ** " + lines[8]
    (splat,) = read(b"".join(lines))
    assert splat.corrupted == "the kernel dropped messages in it"
    whole = console(KASAN)
    whole.append(b"** 12 printk messages dropped ** " + console(("eth0: up",), "T1", 13.0)[0])
    assert [splat.corrupted for splat in read(b"".join(whole))] == [""]


def test_a_second_report_before_the_first_has_a_backtrace() -> None:
    lines = (*KASAN[:3], *SAMPLES["warning"].lines)
    first, second = read("".join(f"[   12.000000] {line}\n" for line in lines).encode())
    assert first.corrupted == "no backtrace: a report of WARNING begins before"
    assert (second.family, second.corrupted) == ("WARNING", "")


@pytest.mark.parametrize("gap", [(), ("Disabling lock debugging due to kernel taint",)])
def test_the_panic_behind_a_complete_report_belongs_to_it(gap: tuple[str, ...]) -> None:
    for name in ("kasan uaf", "gpf"):
        lines = (*SAMPLES[name].lines, *gap, "Kernel panic - not syncing: Fatal exception")
        (splat,) = read(joined(*lines))
        assert [one.title for one in splat.secondary] == ["kernel panic: Fatal exception"]


def test_a_trap_is_a_part_of_the_bug_that_set_it() -> None:
    (splat,) = read(joined(*SAMPLES["BUG_ON"].lines))
    assert [(one.family, one.kind) for one in splat.secondary] == [("OOPS", "invalid opcode")]


def test_a_report_behind_a_complete_one_is_its_own() -> None:
    lines = (*SAMPLES["warning"].lines, *SAMPLES["gpf"].lines)
    assert [splat.family for splat in read(joined(*lines))] == ["WARNING", "OOPS"]


def test_a_copy_of_a_report_is_no_second_one() -> None:
    text = joined(*KASAN)
    copied = b"".join(b"Nov 24 13:50:30 guest kernel: " + line for line in text.splitlines(True))
    assert len(read(text + copied)) == 1
    doubled = b"".join(line + b"Nov 24 guest kernel: " + line for line in text.splitlines(True))
    assert len(read(doubled)) == 1


@pytest.mark.parametrize(
    "prefix",
    [
        "[Tue Nov 24 13:50:30 2026] ",
        "Nov 24 13:50:30 guest kernel: ",
        "2026-11-24T13:50:30,123456+00:00 ",
        "2026-11-24T13:50:30+0000 guest kernel: ",
        "<4>",
        "<4>[   12.345678] ",
        "[   12.345678] [  T321] ",
        "<4>[   12.345678][  C0] ",
        "** 12 printk messages dropped ** [   12.345678][  T321] ",
        "guest login: [   12.345678] ",
    ],
)
def test_every_shape_of_prefix(prefix: str) -> None:
    (splat,) = read("".join(f"{prefix}{line}\n" for line in KASAN).encode())
    assert splat.title == SAMPLES["kasan uaf"].title


def test_two_reports_that_interleave_by_caller_id_come_out_whole() -> None:
    one, two = console(KASAN, "T1"), console(SAMPLES["circular"].lines, "T2")
    apart = read(b"".join(one)) + read(b"".join(two))
    mixed: list[bytes] = []
    for index in range(max(len(one), len(two))):
        mixed += one[index : index + 1] + two[index : index + 1]
    together = sorted(read(b"".join(mixed)), key=lambda splat: splat.family)
    assert [splat.text for splat in together] == [splat.text for splat in apart]


def test_a_flood_is_counted_not_kept() -> None:
    reader = Reader()
    given = []
    for number in range(KEPT + 40):
        given += reader.feed(b"".join(console(KASAN, at=12.0 + number)))
    given += reader.finish()
    assert len(given) == KEPT
    assert dict(reader.repeated) == {signature(given[0]): 40}


def test_another_report_in_a_flood_is_not_lost() -> None:
    other = tuple(line.replace("guilty_function", "other_function") for line in KASAN)
    flood = [b"".join(console(KASAN, at=12.0 + number)) for number in range(60)]
    flood[50] = b"".join(console(other, at=62.5))
    titles = [splat.title for splat in read(b"".join(flood))]
    assert titles.count("KASAN: use-after-free Read in other_function") == 1


def test_a_reboot_behind_a_crash() -> None:
    crash = joined(*SAMPLES["gpf"].lines)
    boot = b"SeaBIOS (version 1.14)\n\nDecompressing Linux... done.\nBooting the kernel.\n"
    banner = b"[    0.000000] Linux version 5.10.218 (made up)\n"
    assert [splat.family for splat in read(crash + boot + banner)] == ["OOPS", "REBOOT"]
    assert read(boot + banner) == []
    microcode = b"[    0.000000] microcode: microcode updated early\n"
    assert read(microcode + banner) == []


def test_a_hang_for_what_all_share_is_named_for_it() -> None:
    lines = list(SAMPLES["hung task"].lines)
    lines[-1:] = [" rtnl_lock+0x10/0x20", " one_of_many+0x10/0x60"]
    assert read(joined(*lines))[0].function == "rtnl_lock"


def test_a_stall_while_waiting_for_other_cpus() -> None:
    lines = [line.replace("helper_of_it", "smp_call_function_many") for line in STALL]
    (splat,) = read(joined("rcu: INFO: rcu_preempt self-detected stall on CPU", *lines))
    assert splat.function == "smp_call_function"


def test_frames_that_a_symboliser_added_do_not_change_the_blame() -> None:
    lines = list(KASAN)
    at = next(i for i, line in enumerate(lines) if "guilty_function.isra" in line)
    lines.insert(at, " inlined_helper mm/made_up.c:12 [inline]")
    lines.insert(1, "BUG: KASAN: use-after-free in inlined_helper mm/made_up.c:12 [inline]")
    (splat,) = read(joined(*lines))
    assert splat.function == "guilty_function"


def test_what_powerpc_calls_unreliable_is_not_blamed() -> None:
    lines = (
        "Call Trace:",
        "[c0] [c1] stale+0x1/0x2 (unreliable)",
        "[c0] [c1] guilty_function+0x1/0x2",
    )
    (splat,) = read(joined("BUG: scheduling while atomic: shuffle/321/0x00000002", *lines))
    assert splat.function == "guilty_function"


def test_the_outermost_frame_of_an_arm_backtrace_has_no_line_of_its_own() -> None:
    lines = (
        "Backtrace: ",
        "[<802b3ffc>] (__sanitizer_cov_trace_pc) from [<802e1324>] (guilty_function+0x6c/0x120)",
        "Exception stack(0x8bdfc048 to 0x8bdfc090)",
    )
    (splat,) = read(joined("BUG: scheduling while atomic: shuffle/321/0x00000002", *lines))
    assert splat.function == "guilty_function"


def test_a_checker_that_warns_is_at_fault_itself() -> None:
    lines = list(SAMPLES["warning"].lines)
    lines = [line.replace("guilty_function", "stack_depot_fetch") for line in lines]
    lines[-3] = " kasan_report+0x1/0x2"
    assert read(joined(*lines))[0].function == "stack_depot_fetch"
    lines[-3] = " honest_caller+0x1/0x2"
    assert read(joined(*lines))[0].function == "honest_caller"


def test_who_prints_under_a_lock_is_to_blame_for_the_lock_of_the_console() -> None:
    lines = [
        line.replace("guilty_function", "down_trylock").replace("innocent_holder", "who_prints")
        for line in SAMPLES["circular"].lines
    ]
    at = next(i for i, line in enumerate(lines) if "down_trylock.isra" in line)
    lines.insert(at + 1, " console_trylock+0x10/0x60")
    assert read(joined(*lines))[0].function == "who_prints"


def _of_one_task(*names: str, gap: float = 0.2) -> list[Splat]:
    text = b""
    for number, name in enumerate(names):
        lines = tuple(line.replace("PID: 77", "PID: 321") for line in SAMPLES[name].lines)
        text += b"".join(console(lines, at=12.0 + number * gap))
    return read(text)


def test_what_a_broken_task_reports_next_came_of_the_first() -> None:
    kasan, fault, sleep = _of_one_task("kasan uaf", "gpf", "sleep")
    assert (kasan.follows, fault.follows, sleep.follows) == (-1, kasan.start, -1)
    fault, sleep = _of_one_task("gpf", "sleep", gap=3.0)  # it died: nothing else was left to do
    assert (fault.follows, sleep.follows) == (-1, fault.start)


def test_what_comes_later_or_of_others_stands_for_itself() -> None:
    assert {splat.follows for splat in _of_one_task("kasan uaf", "gpf", gap=2.0)} == {-1}
    assert {splat.follows for splat in _of_one_task("gpf", "sleep", gap=20.0)} == {-1}
    assert {splat.follows for splat in _of_one_task("circular", "gpf")} == {-1}
    assert {splat.follows for splat in _of_one_task("kasan uaf", "kasan uaf")} == {-1}
    others = joined(*SAMPLES["kasan uaf"].lines) + joined(*SAMPLES["gpf"].lines)
    assert {splat.follows for splat in read(others)} == {-1}


def test_what_is_only_warned_of_kills_nobody() -> None:
    warned = tuple(line for line in SAMPLES["list"].lines if "opcode" not in line)
    warned = tuple(line.replace("kernel BUG at", "WARNING: at") for line in warned)
    lock = SAMPLES["circular"].lines
    text = b"".join(console(warned, at=12.0) + console(lock, at=12.5))
    text = text.replace(b"PID: 77", b"PID: 321")
    assert [(s.family, s.follows) for s in read(text)] == [("LIST", -1), ("LOCKDEP", -1)]


def test_what_stands_in_a_report_names_it() -> None:
    (splat,) = read(joined(*SAMPLES["BUG_ON"].lines))
    assert [one.follows for one in splat.secondary] == [splat.start]


def test_the_assertion_that_did_not_hold() -> None:
    page = "page dumped because: VM_BUG_ON_PAGE(page_mapped(page))"
    lines = console((page, *SAMPLES["BUG_ON"].lines))
    (splat,) = read(b"".join(lines))
    assert splat.assertion == "VM_BUG_ON_PAGE(page_mapped(page))"
    assert splat.title == SAMPLES["BUG_ON"].title
    assert splat.text.startswith(page)
    (splat,) = read(joined(*SAMPLES["rwsem"].lines))
    assert splat.assertion == "DEBUG_RWSEMS_WARN_ON(sem->owner != current)"
    head = "WARNING: [!mapping] mm/made_up.c:10 at guilty_function+0x12/0x90, CPU#1: shuffle/77"
    (splat,) = read(joined(head, *SAMPLES["new warning"].lines[2:]))
    assert (splat.assertion, splat.function) == ("!mapping", "guilty_function")


def test_a_page_that_was_dumped_for_nothing_is_no_report() -> None:
    assert read(joined("page dumped because: VM_WARN_ON_ONCE_PAGE(1)", *["eth0: up"] * 20)) == []


@pytest.mark.parametrize("capitals", [False, True])
@pytest.mark.parametrize("late", [False, True])
def test_what_syslog_says_again_changes_nothing(capitals: bool, late: bool) -> None:
    once = console(KASAN)
    copies = [b"Nov 24 13:50:30 guest kernel: " + line for line in once]
    if capitals:
        copies = [copy.upper() for copy in copies]
    if late:
        text = b"".join(once[:20] + copies[:20] + once[20:] + copies[20:])
    else:
        text = b"".join(line for pair in zip(once, copies, strict=True) for line in pair)
    (splat,), (alone,) = read(text), read(b"".join(once))
    assert (splat.title, splat.stacks) == (alone.title, alone.stacks)
    assert splat.text == alone.text


def test_a_copy_in_capitals_without_syslogs_words_is_no_second_report() -> None:
    once = console(KASAN)
    assert len(read(b"".join(once) + b"".join(once).upper())) == 1


def test_where_an_oops_says_again_that_it_was_is_no_frame() -> None:
    lines = (*SAMPLES["paging"].lines, "RIP: 0010:guilty_function+0x12/0x90", "CR2: 0000000018")
    (splat,) = read(joined(*lines))
    access = next(stack for stack in splat.stacks if stack.name == "access")
    assert [frame.function for frame in access.frames] == ["honest_caller"]
