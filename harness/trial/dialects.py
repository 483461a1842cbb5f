"""What other people's tests print, read into the results that our own reproducers give.

Three families, each with its own words for the same four things: it passed (a count), the
kernel did wrong (a failure), the guest lacks something (a skip), the test itself could not do
its work (broken).  The last is no failure: a test that runs out of time under emulation, or that
finds no device, says nothing about the kernel.

A program that a signal ended is told by its status, not by its text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import islice

from harness.spec.payload import PASSED, Dialect
from harness.trial.results import MAX_FAILURES, Results, printable

_LONGEST = 300
_COLOUR = re.compile(rb"\x1b\[[0-9;]*m")


def read(dialect: Dialect, out: bytes, err: bytes, status: int | None) -> Results:
    """The results of one run.  ``status`` is None where it did not end by itself."""
    text = "\n".join(printable(_COLOUR.sub(b"", stream)) for stream in (out, err))
    return _READERS[dialect]([line[:_LONGEST] for line in text.split("\n")], status)


# LTP's line: "file.c:123: TFAIL: text", and for old tests "name    1  TFAIL  :  file.c:12: text".
# doc/developers/writing_tests.rst and lib/tst_res.c of LTP.
_LTP = re.compile(r"(?:\S+?:\d+: |\S+ +\d+ +)(TPASS|TFAIL|TBROK|TCONF|TWARN)\b[ :]*(.*)")
_LTP_EXIT = {1: "TFAIL", 2: "TBROK", 4: "TWARN", 32: "TCONF"}
"""Bits of the exit status (include/tst_res_flags.h)."""
_KILLED = re.compile(r"killed by (SIGBUS|SIGSEGV|SIGILL)")
"""LTP calls it broken when a child of the test dies of a signal; the kernel sent it all the same:
commit 4643d67e8cb0 was found by just such a line."""


def _ltp(lines: list[str], status: int | None) -> Results:
    found = [(hit[1], hit[2].strip()) for line in lines if (hit := _LTP.match(line))]
    said: dict[str, list[str]] = {}
    for word, text in found:
        said.setdefault(word, []).append(text)
    bits = {word for bit, word in _LTP_EXIT.items() if status and status < 128 and status & bit}
    failures = [("test", f"TFAIL: {text}") for text in said.get("TFAIL", [])]
    broken = []
    for word in ("TBROK", "TWARN"):
        for text in said.get(word, []):
            if hit := _KILLED.search(text):
                failures.append(("signal", f"{word}: {text} ({hit[1]})"))
            else:
                broken.append(f"{word}: {text}")
    if "TFAIL" in bits and not said.get("TFAIL"):
        failures.append(("test", f"exit status {status} says TFAIL, which no line does"))
    for word in ("TBROK", "TWARN"):
        if word in bits and not said.get(word):
            broken.append(f"exit status {status} says {word}, which no line does")
    passed = len(said.get("TPASS", []))
    lacks = said.get("TCONF", []) or (["exit status says TCONF"] if "TCONF" in bits else [])
    ended = status is not None and (bool(found) or status == 0)
    return _results(
        {PASSED: passed, "configuration": len(lacks)}, failures, broken, lacks, ended=ended
    )


# KTAP and TAP 13 (Documentation/dev-tools/ktap.rst), and the words of older tests, which
# print what they like and tell by their exit status (tools/testing/selftests/kselftest.h).
_TAP = re.compile(r"\s*(not ok|ok)\b *(\d*)[ -]*(.*)")
_DIRECTIVE = re.compile(r"#\s*(SKIP|XFAIL|TODO|TIMEOUT|XPASS)\b[: ]*(.*)", re.IGNORECASE)
_BAIL = re.compile(r"Bail out!\s*(.*)")
_KSFT_PASS, _KSFT_FAIL, _KSFT_XFAIL, _KSFT_XPASS, _KSFT_SKIP = range(5)
_SKIPS = re.compile(r"\b(SKIP|skipping|skipped)\b", re.IGNORECASE)


def _kselftest(lines: list[str], status: int | None) -> Results:
    passed, failures, broken, lacks = 0, [], [], []
    tap = False
    for line in lines:
        if hit := _BAIL.match(line):
            broken.append(f"Bail out! {hit[1]}".strip())
        hit = _TAP.match(line)
        if not hit:
            continue
        tap = True
        directive = _DIRECTIVE.search(hit[3])
        word = directive[1].upper() if directive else ""
        if word == "SKIP":
            assert directive
            lacks.append(directive[2] or hit[3])
        elif word in ("XFAIL", "TODO"):
            continue  # known to fail, by the test's own word
        elif word == "TIMEOUT":
            broken.append(line.strip())
        elif hit[1] == "ok":
            passed += 1
        else:
            failures.append(("test", line.strip()))
    said = [line.strip() for line in lines if line.strip()]
    last = said[-1] if said else "nothing was said"
    if status == _KSFT_SKIP and not lacks:
        lacks.append(next((line for line in said if _SKIPS.search(line)), last))
    elif status == _KSFT_FAIL and not failures and not broken:
        failures.append(("test", f"exit status 1: {last}"))
    elif status == 0 and not tap:
        passed = 1
    elif status is not None and _KSFT_SKIP < status < 128:
        broken.append(f"exit status {status}: {last}")
    return _results(
        {PASSED: passed, "configuration": len(lacks)},
        *(failures, broken, lacks),
        ended=status is not None,
    )


# libhugetlbfs, tests/hugetests.h: RC_PASS 0, RC_CONFIG 1, RC_FAIL 2, RC_XFAIL 3, RC_XPASS 4,
# RC_BUG 99, each with a line "PASS", "FAIL\ttext", "Bad configuration: text".
_RC_PASS, _RC_CONFIG, _RC_FAIL, _RC_XFAIL, _RC_XPASS, _RC_BUG = 0, 1, 2, 3, 4, 99
_LIB = re.compile(r"(PASS|FAIL|SKIPPED|Bad configuration|TEST BUG)\b[:\t ]*(.*)")


def _libhugetlbfs(lines: list[str], status: int | None) -> Results:
    found = (_LIB.match(line.lstrip()) for line in lines)
    texts = {hit[1]: hit[2].strip() for hit in found if hit}
    failures, broken, lacks = [], [], []
    if status == _RC_FAIL or "FAIL" in texts:
        failures.append(("test", f"FAIL: {texts.get('FAIL', '') or 'exit status 2'}"))
    elif status == _RC_BUG or "TEST BUG" in texts:
        broken.append(f"TEST BUG: {texts.get('TEST BUG', '')}")
    elif status == _RC_CONFIG:
        lacks.append(texts.get("Bad configuration") or texts.get("SKIPPED") or "RC_CONFIG")
    elif status is not None and status not in (_RC_PASS, _RC_XFAIL, _RC_XPASS) and status < 128:
        broken.append(f"exit status {status}, which is none of the library's")
    inconclusive = "inconclusive" in texts.get("PASS", "")
    passed = int(status == _RC_PASS and "PASS" in texts and not inconclusive)
    if inconclusive:
        broken.append(f"PASS {texts['PASS']}")
    return _results(
        {PASSED: passed, "configuration": len(lacks)},
        *(failures, broken, lacks),
        ended=status is not None,
    )


def _results(
    counts: dict[str, int],
    failures: list[tuple[str, str]],
    broken: list[str],
    lacks: list[str],
    *,
    ended: bool,
) -> Results:
    """What is lacking is a skip only where nothing passed: a test has many parts."""
    nothing = not counts[PASSED] and not failures and not broken
    return Results(
        counts,
        tuple(islice(failures, MAX_FAILURES)),
        skip=lacks[0] or "it says no more" if lacks and nothing else "",
        ended=ended,
        broken=tuple(islice(broken, MAX_FAILURES)),
    )


_READERS: dict[Dialect, Callable[[list[str], int | None], Results]] = {
    Dialect.LTP: _ltp,
    Dialect.KSELFTEST: _kselftest,
    Dialect.LIBHUGETLBFS: _libhugetlbfs,
}
