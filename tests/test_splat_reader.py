"""The splat reader: what is a report, where it begins and ends, and whom it blames."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harness.splat.families import FAMILIES, REFINEMENTS, head_of
from harness.splat.family import Family
from harness.splat.prefilter import holds_marker
from harness.splat.reader import MAX_LINE, Reader, read
from harness.splat.report import Slab, Splat
from harness.splat.signature import signature
from tests.splat_samples import BAR, SAMPLES, STALL, TRACE, Sample


def console(lines: tuple[str, ...], context: str = "T321", at: float = 12.0) -> list[bytes]:
    """Lines as a guest's serial console carries them."""
    return [
        f"[{at + index / 1000:12.6f}][{context:>6}] {line}\r\n".encode()
        for index, line in enumerate(lines)
    ]


def chewed(text: bytes, step: int) -> list[Splat]:
    reader = Reader(prefixed=True)
    found = [s for i in range(0, len(text), step) for s in reader.feed(text[i : i + step])]
    return sorted([*found, *reader.finish()], key=lambda splat: splat.start)


@pytest.fixture(params=list(SAMPLES.values()), ids=list(SAMPLES))
def sample(request: pytest.FixtureRequest) -> Sample:
    chosen: Sample = request.param
    return chosen


def check(splat: Splat, sample: Sample) -> None:
    assert (splat.family, splat.kind, splat.title) == (sample.family, sample.kind, sample.title)
    assert splat.function == sample.function
    if sample.access:
        assert (splat.access, splat.size) == (sample.access, sample.size)


def test_every_kind_is_read(sample: Sample) -> None:
    noise = console(("random: crng init done", "IPv6: ADDRCONF(NETDEV_CHANGE): eth0"), "T1", 1.0)
    found = read(b"".join(noise + console(sample.lines) + noise))
    assert len(found) == 1
    check(found[0], sample)


def test_every_kind_is_read_without_caller_ids(sample: Sample) -> None:
    found = read("".join(f"[   12.{i:06}] {t}\n" for i, t in enumerate(sample.lines)).encode())
    assert len(found) == 1
    check(found[0], sample)


def test_every_kind_is_read_without_any_prefix(sample: Sample) -> None:
    found = read("".join(f"{text}\n" for text in sample.lines).encode())
    assert len(found) == 1
    check(found[0], sample)


def test_every_head_holds_a_marker(sample: Sample) -> None:
    heads = [line for line in sample.lines if head_of(line.encode())]
    assert heads
    assert all(holds_marker(line.encode() + b"\n") for line in heads)
    assert all(holds_marker(line, prefixed=True) for line in console(tuple(heads)))


@settings(max_examples=500, deadline=None)
@given(st.data(), st.sampled_from(FAMILIES), st.sampled_from(["]", "] ", "]  ", "][    T1] "]))
def test_every_head_of_every_family_holds_a_marker(
    data: st.DataObject, family: Family, prefix: str
) -> None:
    head = data.draw(st.from_regex(family.head))
    text = head[re.search(family.head, head).start() :]  # type: ignore[union-attr]
    assume(b"\n" not in text and family.head.match(text))
    assert holds_marker(text + b"\n")
    assert holds_marker(b"[    1.000000" + prefix.encode() + text + b"\n", prefixed=True)


def test_every_family_has_a_sample() -> None:
    heads = [head_of(line.encode()) for sample in SAMPLES.values() for line in sample.lines]
    shown = [found[0] for found in heads if found]
    elsewhere = {"REBOOT"}  # test_a_second_banner_is_a_reboot
    assert [row for row in FAMILIES if row not in shown and row.name not in elsewhere] == []
    told = {(sample.family, sample.kind) for sample in SAMPLES.values()}
    assert [row for row in REFINEMENTS if (row.name, row.kind) not in told] == []


@pytest.mark.parametrize("step", [1, 7, 64, 1000])
def test_chunk_borders_do_not_matter(step: int) -> None:
    parts = [
        line
        for index, sample in enumerate(SAMPLES.values())
        for line in console(sample.lines, f"T{index}", 10.0 * index)
    ]
    text = b"".join(parts)
    assert chewed(text, step) == chewed(text, len(text))
    assert [s.title for s in chewed(text, step)] == [s.title for s in SAMPLES.values()]


def test_two_tasks_that_print_at_once() -> None:
    one = console(SAMPLES["kasan uaf"].lines, "T1")
    two = console(SAMPLES["warning"].lines, "C1")
    mixed = [line for pair in zip(one, two, strict=False) for line in pair]
    mixed += one[len(two) :]
    found = {splat.family: splat for splat in read(b"".join(mixed))}
    assert set(found) == {"KASAN", "WARNING"}
    assert found["KASAN"].text == "".join(t + "\n" for t in SAMPLES["kasan uaf"].lines[1:])
    assert "KASAN" not in found["WARNING"].text


def test_stacks_task_and_bytes_of_a_kasan_report() -> None:
    lines = console(SAMPLES["kasan uaf"].lines)
    text = b"".join(lines)
    (splat,) = read(text)
    names = {stack.name: [frame.function for frame in stack.frames] for stack in splat.stacks}
    assert names["alloc"] == ["kasan_save_stack", "object_maker"]
    assert names["free"] == ["kfree", "object_breaker"]
    assert names["access"][2] == "guilty_function.isra.0"
    access = next(stack for stack in splat.stacks if stack.name == "access").frames
    assert [frame.sure for frame in access[:3]] == [True, False, True]
    assert (access[2].offset, access[2].size) == (0x44, 0x120)
    assert splat.task == "shuffle/321"
    assert (splat.cpu, splat.kernel, splat.taint, splat.stamp) == (1, "5.10.218", "", 12.001)
    assert splat.headline == "BUG: KASAN: use-after-free in guilty_function+0x44/0x120"
    assert text[splat.start : splat.end] == b"".join(lines[1:])


def test_the_object_that_a_memory_report_is_about() -> None:
    lines = list(SAMPLES["kasan uaf"].lines)
    lines[-3:-3] = [
        "The buggy address belongs to the object at ffff88800abcd000",
        " which belongs to the cache made_up_cache of size 64",
        "The buggy address is located 16 bytes inside of",
        " 64-byte region [ffff88800abcd000, ffff88800abcd040)",
    ]
    (splat,) = read(b"".join(console(tuple(lines))))
    assert splat.slab == Slab("made_up_cache", 64, 16, "inside")
    assert str(splat.slab) == "made_up_cache of size 64, 16 bytes inside"


@pytest.mark.parametrize(
    ("line", "kernel", "taint"),
    [
        ("CPU: 3 PID: 9 Comm: a b Tainted: G    B D W         5.10.218+ #5", "5.10.218+", "BDW"),
        ("CPU: 3 UID: 0 PID: 9 Comm: a b Tainted: P 6.12.0-rc1 #1 PREEMPT", "6.12.0-rc1", "P"),
        ("CPU: 3 PID: 9 Comm: a b Not tainted 4.4.0 #2", "4.4.0", ""),
    ],
)
def test_who_and_which_kernel(line: str, kernel: str, taint: str) -> None:
    (splat,) = read(b"".join(console(("BUG: Bad page state in process a b", line, *TRACE[1:]))))
    assert (splat.task, splat.cpu, splat.kernel, splat.taint) == ("a b/9", 3, kernel, taint)


def test_the_drawing_of_a_deadlock() -> None:
    drawn = (
        " Possible unsafe locking scenario:",
        "",
        "       CPU0                    CPU1",
        "       ----                    ----",
        "  lock(&other->lock);",
        "                               lock(&made_up->lock);",
        "",
        " *** DEADLOCK ***",
    )
    sample = SAMPLES["circular"]
    at = sample.lines.index("stack backtrace:")
    (splat,) = read(b"".join(console((*sample.lines[:at], *drawn, *sample.lines[at:]))))
    assert splat.scenario.splitlines() == [line.rstrip() for line in drawn[:6]]
    assert splat.kernel == "5.10.218"


def test_held_locks_and_the_chain() -> None:
    sample = SAMPLES["circular"]
    chain = (
        "-> #1 (&other->lock){+.+.}-{3:3}:",
        "       mutex_lock_nested+0x16/0x20",
        "       first_way+0x12/0x40",
        "",
        "1 lock held by shuffle/321:",
        " #0: ffff888004d0c1b8 (&other->lock){+.+.}-{3:3}, at: innocent_holder+0x10/0x50",
    )
    at = sample.lines.index("stack backtrace:")
    (splat,) = read(b"".join(console((*sample.lines[:at], *chain, *sample.lines[at:]))))
    names = {stack.name: [frame.function for frame in stack.frames] for stack in splat.stacks}
    assert names["-> #1"] == ["mutex_lock_nested", "first_way"]
    assert names["held locks"] == ["innocent_holder"]
    assert splat.function == "guilty_function"


def test_the_first_head_is_known_before_the_report_is_complete() -> None:
    lines = console(SAMPLES["kasan uaf"].lines)
    reader = Reader(base=1000)
    assert reader.feed(lines[0]) == []
    assert (reader.pending, reader.seen_head) == (False, -1)
    assert reader.feed(lines[1]) == []
    assert (reader.pending, reader.seen_head) == (True, 1000 + len(lines[0]))
    assert [splat for line in lines[2:] for splat in reader.feed(line)] == []
    done = reader.feed(console(("eth0: link up",))[0])  # nothing more came of it
    assert [splat.start for splat in done] == [1000 + len(lines[0])]
    assert not reader.pending


def test_a_report_ends_when_its_context_falls_quiet() -> None:
    reader = Reader()
    reader.feed(b"".join(console(SAMPLES["sleep"].lines, "T321", 12.0)))
    assert reader.pending
    assert reader.feed(console(("eth0: link up",), "T9", 14.0)[0]) == []
    assert len(reader.feed(console(("eth0: link down",), "T9", 20.0)[0])) == 1


def test_no_report_holds_the_memory_for_ever() -> None:
    reader = Reader()
    found = reader.feed(b"".join(console((TRACE[0],) * 3, "T1")))
    found += reader.feed(console(("BUG: sleeping function called from invalid context",))[0])
    for _ in range(6):
        found += reader.feed(b"".join(console((" filler+0x1/0x2",) * 1000)))
    assert len(found) == 1
    assert not reader.pending


@pytest.mark.parametrize(
    "line",
    [
        "traps: shuffle[321] general protection fault ip:401000 sp:7ffc0 error:0 in shuffle",
        "shuffle[321]: segfault at 0 ip 0000000000401000 sp 00007ffc0 error 4 in shuffle",
        "shuffle: page allocation failure: order:9, mode:0xcc0(GFP_KERNEL)",
        "INFO: lockdep is turned off.",
        "INFO: NMI handler (perf_event_nmi_handler) took too long to run: 1.3 msecs",
        "Spectre V2 : WARNING: Unprivileged eBPF is enabled",
        "WARNING: The mand mount option has been deprecated",
        "systemd[1]: something WARNING: CPU: 0 PID: 1 at a.c:1 f+0x1/0x2",
        "ODEBUG: Out of memory. ODEBUG disabled",
        "Linux version 6.1.0 (made up)",
        "Kernel command line: panic=1 oops=panic",
    ],
)
def test_what_is_no_report(line: str) -> None:
    assert read(b"".join(console((line,)))) == []


@pytest.mark.parametrize("line", ["BUG: KASAN: use-after-free in f+0x1/0x2", "WARNING: CPU: 0"])
def test_user_space_is_no_kernel(line: str) -> None:
    kernel = console(("eth0: link up",))[0]
    printed = f"{line}\n".encode()
    assert read(kernel + printed) == []
    assert read(printed + kernel) == []


def test_a_line_that_cuts_into_user_space() -> None:
    lines = console(SAMPLES["kasan uaf"].lines)
    found = read(b"move_pages12: INFO: pass 3" + lines[0] + b"half a li" + b"".join(lines[1:]))
    assert [splat.title for splat in found] == [SAMPLES["kasan uaf"].title]


def test_two_messages_on_one_line() -> None:
    glued = b"[    3.000000] loop0: detected" + b"".join(console(SAMPLES["paging"].lines))
    assert [splat.title for splat in read(glued)] == [SAMPLES["paging"].title]


def test_dirty_bytes() -> None:
    lines = console(SAMPLES["kasan uaf"].lines)
    lines[1] = lines[1].replace(b"BUG: KASAN", b"\x1b[1;31mBUG\x1b[0m: \x00KASAN")
    lines[4] = lines[4].replace(b"CPU", b"\xff\xfe CPU")
    lines.insert(3, b"<3>" + console(("with its priority",))[0])
    (splat,) = read(b"".join(lines))
    assert splat.title == SAMPLES["kasan uaf"].title


def test_the_panic_that_follows_a_warning_belongs_to_it() -> None:
    lines = list(SAMPLES["warning"].lines)
    lines.insert(2, "Kernel panic - not syncing: panic_on_warn set ...")
    found = read(b"".join(console(tuple(lines))))
    assert [splat.title for splat in found] == [SAMPLES["warning"].title]
    assert [one.title for one in found[0].secondary] == ["kernel panic: panic_on_warn set ..."]


@pytest.mark.parametrize("name", ["oom", "rss"])
@pytest.mark.parametrize("next_one", ["panic", "warning"])
def test_a_report_of_one_line_swallows_nothing(name: str, next_one: str) -> None:
    lines = SAMPLES[name].lines + SAMPLES[next_one].lines
    found = read(b"".join(console(lines)))
    assert [s.title for s in found] == [SAMPLES[name].title, SAMPLES[next_one].title]


def test_a_second_banner_is_a_reboot() -> None:
    banner = console(("Linux version 5.10.218 (made up)",), "T0", 0.0)[0]
    up = console(("eth0: link up",))[0]
    found = read(banner + up + banner)
    assert [(s.family, s.start) for s in found] == [("REBOOT", len(banner) + len(up))]
    assert [s.family for s in Reader(booted=True).feed(banner)] == ["REBOOT"]


def test_a_machine_that_boots_again_and_again() -> None:
    banner = console(("Linux version 5.10.218 (made up)",), "T0", 0.0)[0]
    found = read(banner * 4)
    assert [splat.family for splat in found] == ["REBOOT"] * 3


def test_the_reports_of_other_cpus_belong_to_a_stall() -> None:
    stall = console(
        (
            "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
            "Sending NMI from CPU 0 to CPUs 1:",
        ),
        "C0",
    )
    other = console(("NMI backtrace for cpu 1", *STALL), "C1", 12.5)
    (splat,) = read(b"".join(stall + other))
    assert splat.function == "guilty_function"


def test_signature_tells_bugs_apart_and_sightings_together() -> None:
    first, again, other = (
        read(b"".join(console(lines)))[0]
        for lines in (
            SAMPLES["kasan uaf"].lines,
            tuple(
                t.replace("321", "9").replace("abcd", "1234") for t in SAMPLES["kasan uaf"].lines
            ),
            SAMPLES["kasan slab oob"].lines,
        )
    )
    assert signature(first) == signature(again) != signature(other)


def test_titles_hold_no_numbers() -> None:
    (splat,) = read(console(("BUG: made up trouble at 0xffff888004d0c0a8 for 77 of 99",))[0])
    assert splat.family == "BUG"
    assert "77" not in splat.title
    assert "ffff" not in splat.title


def test_an_endless_line() -> None:
    text = b"x" * (3 * MAX_LINE) + b"BUG: KASAN: " * 5000 + b"\n"
    assert chewed(text, 1000) == chewed(text, len(text)) == []


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=600), st.integers(1, 50))
def test_any_bytes_do_no_harm(text: bytes, step: int) -> None:
    read(text)
    assert chewed(text, step) == chewed(text, max(1, len(text)))


_PIECES = st.sampled_from(
    [
        *(line for sample in SAMPLES.values() for line in console(sample.lines)),
        b"user text",
        b"\n",
        BAR.encode(),
        b"\x1b[0m\x00\xff",
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(_PIECES, max_size=40), st.integers(1, 90))
def test_any_order_of_lines_does_no_harm(pieces: list[bytes], step: int) -> None:
    text = b"".join(pieces)
    found = chewed(text, step)
    assert found == chewed(text, max(1, len(text)))
    assert all(0 <= s.start < s.end <= len(text) and s.title for s in found)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(SAMPLES)), st.integers(0, 3000))
def test_a_log_cut_anywhere_invents_nothing(name: str, cut: int) -> None:
    text = b"".join(console(SAMPLES[name].lines))
    found = read(text[:cut])
    whole = read(text)
    assert len(found) <= 1
    assert all(splat.start == whole[0].start for splat in found)
