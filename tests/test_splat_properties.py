"""What holds for any console: nothing raises, nothing is invented, and borders do not matter."""

from __future__ import annotations

import functools
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harness.splat import reader as reader_module
from harness.splat.prefilter import markers
from harness.splat.reader import Reader, read
from harness.splat.report import Splat
from tests.splat_samples import BAR, SAMPLES
from tests.test_splat_reader import console

CONSOLES = [
    path.read_bytes() for path in sorted((Path(__file__).parent / "consoles").glob("*.log"))
]
# Lines that begin as reports do and are none.
HARMLESS = (
    "WARNING: The mand mount option has been deprecated and",
    "INFO: lockdep is turned off.",
    "INFO: NMI handler (perf_event_nmi_handler) took too long to run: 1.3 msecs",
    "INFO: task made_up:1 waits for 3 seconds",
    "shuffle: page allocation failure: order:9, mode:0xcc0(GFP_KERNEL)",
    "UBSAN: enabled",
    "Unhandled event 7",
    "Kernel panic timeout is 5 seconds",
    "ODEBUG: 12 of 12 active objects replaced",
)


def grown(text: bytes, cuts: list[int]) -> list[Splat]:
    """What a reader finds that is fed the text in pieces, cut at these offsets."""
    reader = Reader(prefixed=True)
    found, at = [], 0
    for cut in [*sorted(min(cut, len(text)) for cut in cuts), len(text)]:
        found += reader.feed(text[at:cut])
        at = cut
    return sorted([*found, *reader.finish()], key=lambda splat: (splat.start, splat.end))


PIECES = st.one_of(
    st.sampled_from(
        [
            *(line for sample in SAMPLES.values() for line in console(sample.lines)),
            *(line for sample in SAMPLES.values() for line in console(sample.lines, "C1", 99.0)),
            *console(HARMLESS),
            *(f"{line}\n".encode() for line in ("user text", "BUG: not the kernel", BAR)),
            b"** 7 printk messages dropped ** ",
            b"\x1b[0m\x00\xff\r",
        ]
    ),
    st.binary(max_size=40),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=60), st.lists(st.integers(0, 6000), max_size=12))
def test_chunk_borders_do_not_matter(pieces: list[bytes], cuts: list[int]) -> None:
    text = b"".join(pieces)
    whole = grown(text, [])
    assert grown(text, cuts) == whole
    for splat in whole:
        assert 0 <= splat.start < splat.end <= len(text)
        assert splat.title and splat.headline


def by_single_lines(text: bytes) -> list[Splat]:
    """What a reader finds that takes no short cuts."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Reader, "_plain", lambda *_: 0)
        patched.setattr(Reader, "_skim", lambda *_: 0)
        patched.setattr(reader_module, "markers", lambda data, **_: markers(data))
        return grown(text, [])


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=60))
def test_short_cuts_change_nothing(pieces: list[bytes]) -> None:
    text = b"".join(pieces)
    assert grown(text, []) == by_single_lines(text)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_short_cuts_change_nothing_where_two_tasks_print(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(CONSOLES))
    lines = text.splitlines(True)
    for _ in range(data.draw(st.integers(0, 40))):
        at = data.draw(st.integers(0, len(lines)))
        lines.insert(at, data.draw(PIECES))
    text = b"".join(lines)
    assert grown(text, []) == by_single_lines(text)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(CONSOLES) - 1), st.data())
def test_a_recorded_console_cut_anywhere_invents_nothing(which: int, data: st.DataObject) -> None:
    text = CONSOLES[which]
    near = st.builds(
        int.__add__, st.sampled_from(sorted(all_heads(which)) or [0]), st.integers(0, 300)
    )
    cut = data.draw(st.one_of(st.integers(0, len(text)), near))
    assert {splat.start for splat in read(text[:cut])} <= all_heads(which)


@functools.cache
def all_heads(which: int) -> set[int]:
    """Also of reports that came so often that the next ones are only counted: cut in its first
    words, such a one cannot be told from a new one."""
    with mock.patch("harness.splat.repeats.KEPT", 1 << 30):
        return {splat.start for splat in read(CONSOLES[which])}


@settings(max_examples=200, deadline=None)
@given(st.permutations(HARMLESS), st.integers(0, 1000), st.booleans())
def test_harmless_lines_cut_anywhere_are_no_report(
    lines: list[str], cut: int, prefixed: bool
) -> None:
    text = b"".join(console(tuple(lines))) if prefixed else "\n".join(lines).encode()
    assert read(text[:cut]) == []


SINGLE = sorted(set(SAMPLES) - {"panic", "torn", "remains"})


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(SINGLE), st.sampled_from(SINGLE), st.lists(st.booleans(), max_size=80))
def test_two_tasks_that_interleave_give_the_reports_of_both(
    one: str, two: str, order: list[bool]
) -> None:
    assume(one != two)
    first, second = console(SAMPLES[one].lines, "T1"), console(SAMPLES[two].lines, "T2")
    apart = [(s.title, s.text, s.stacks) for s in (*read(b"".join(first)), *read(b"".join(second)))]
    mixed: list[bytes] = []
    for turn in order:
        source = first if turn else second
        mixed += source[:1]
        del source[:1]
    together = read(b"".join([*mixed, *first, *second]))
    assert sorted((s.title, s.text, s.stacks) for s in together) == sorted(apart)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(0, 79), st.lists(st.integers(0, 120_000), max_size=8))
def test_one_new_report_in_a_flood_is_found(step: int, where: int, cuts: list[int]) -> None:
    flood = [b"".join(console(SAMPLES["kasan uaf"].lines, at=12.0 + n * step)) for n in range(80)]
    other = tuple(line.replace("guilty_f", "other_f") for line in SAMPLES["kasan uaf"].lines)
    flood.insert(where, b"".join(console(other, at=12.5 + where * step)))
    titles = [splat.title for splat in grown(b"".join(flood), cuts)]
    assert titles.count("KASAN: use-after-free Read in other_function") == 1
