"""Reports from outside: found in whatever they come in, and led to the cases they concern."""

from __future__ import annotations

import base64
import os
import quopri
import re
import subprocess
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Self

import pytest

from harness.campaign import series as campaign
from harness.cli import main
from harness.commands import from_report
from harness.errors import UsageError
from harness.kernel.built import BuiltKernel
from harness.paths import PROJECT, cache_dir
from harness.progress import Progress
from harness.record.document import _splats
from harness.record.formats.mail import mail
from harness.record.outside import Report, matches, read_report, same
from harness.spec.cases import load_cases
from harness.splat.reader import read
from harness.splat.signature import race_key, signature
from harness.trial.compile import LIBRARY
from harness.trial.evidence import Evidence
from harness.trial.trial import Trial, TrialResult
from harness.trial.verdict import Outcome, Verdict
from tests import record_samples as samples

# Built by hand, in the order of frames of the report that began it all.
SPLAT = """\
[  124.651122] BUG: unable to handle page fault for address: ffff88807ff31008
[  124.658001] #PF: supervisor read access in kernel mode
[  124.663122] #PF: error_code(0x0000) - not-present page
[  124.668211] Oops: 0000 [#1] SMP PTI
[  124.671822] CPU: 3 PID: 8231 Comm: move_pages12 Not tainted 5.9.0-rc7-00123-gabc123 #7
[  124.679666] Hardware name: a machine
[  124.684010] RIP: 0010:rmap_walk_anon+0x141/0x2a0
[  124.688700] Code: 00 48 8b 45 00 48 89 c7
[  124.707111] RSP: 0018:ffffb1f6c0a7fb60 EFLAGS: 00010286
[  124.770011] Call Trace:
[  124.772522]  try_to_unmap+0x8d/0xe0
[  124.780099]  migrate_pages+0x9d3/0xd40
[  124.783911]  move_pages_and_store_status.isra.0+0x69/0x80
[  124.793500]  do_pages_move+0x2a1/0x510
[  124.797300]  kernel_move_pages+0x120/0x160
[  124.801411]  __x64_sys_move_pages+0x24/0x30
[  124.805611]  do_syscall_64+0x33/0x40
[  124.809200]  entry_SYSCALL_64_after_hwframe+0x44/0xa9
[  124.840011] ---[ end trace 2f8c9c8f3d7a1b22 ]---
"""

MAIL = """\
From: somebody <somebody@example.com>
Subject: [mm] 0123456789: BUG:unable_to_handle_page_fault_for_address
Message-ID: <20201012@example.com>

Greeting,

the following was noticed (built with gcc):

commit: 0123456789ab0123456789ab0123456789ab0123 ("mm: something innocent")
kernel config: https://example.com/config-5.9.0

"""


FAILED = [
    file
    for file in sorted((PROJECT / "tests/consoles").glob("*.log"))
    if not file.stem.endswith("-clean")
]


def report(tmp_path: Path, text: str | bytes) -> Report:
    file = tmp_path / "report.txt"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_report(file)


def wrapped() -> dict[str, bytes]:
    splat = SPLAT.encode()
    quoted = b"".join(b"> > " + line for line in splat.splitlines(keepends=True))
    head = b"From: a@example.com\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n"
    two = (
        b'From: a@example.com\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="x"\n\n'
        b"--x\nContent-Type: text/plain\n\nsee below\n--x\nContent-Type: text/plain\n"
        b"Content-Transfer-Encoding: base64\n\n"
    )
    bare = b"".join(line[15:] for line in splat.splitlines(keepends=True))
    return {
        "mail": MAIL.encode() + splat,
        "dmesg": b"[    0.000000] Linux version 5.9.0-rc7\n" + splat,
        "without time stamps": b"HEAD commit: 0123456789ab\n\n" + bare,
        "CRLF": (MAIL.encode() + splat).replace(b"\n", b"\r\n"),
        "quoted": b"On Monday, somebody wrote:\n> Greeting,\n>\n" + quoted,
        "quoted-printable": head
        + b"Content-Transfer-Encoding: quoted-printable\n\n"
        + quopri.encodestring(splat),
        "base64": head + b"Content-Transfer-Encoding: base64\n\n" + base64.encodebytes(splat),
        "attached": two + base64.encodebytes(splat) + b"--x--\n",
    }


@pytest.mark.parametrize("kind", wrapped())
def test_a_report_is_found_in_what_it_is_wrapped_in(tmp_path: Path, kind: str) -> None:
    found = report(tmp_path, wrapped()[kind])
    (own,) = read(SPLAT.encode())
    assert found.splat.title == own.title
    assert found.race == "memory: page migration"
    assert found.kernel


def test_version_and_config_are_told(tmp_path: Path) -> None:
    found = report(tmp_path, MAIL + SPLAT)
    assert found.kernel.startswith("5.9.0-rc7")
    assert found.config == "https://example.com/config-5.9.0"
    prose = "It fell over. Config:\nhttps://example.com/x86.config\n"
    assert report(tmp_path, prose + SPLAT).config == "https://example.com/x86.config"


def test_the_report_of_2020_leads_to_its_case(tmp_path: Path) -> None:
    library = "".join(file.read_text() for file in sorted(LIBRARY.glob("*.c")))
    found = matches(report(tmp_path, MAIL + SPLAT), load_cases(), library)
    assert found[0].case.name == "anon_fork_migrate"
    assert "move_pages" in " ".join(found[0].why)


@pytest.mark.parametrize("console", FAILED, ids=lambda file: file.stem)
def test_our_own_mail_is_read_back(tmp_path: Path, console: Path) -> None:
    """Who gets one looks for the same report with it."""
    splats = [splat for splat in read(console.read_bytes()) if splat.is_bug]
    text = mail(samples.trial("FAIL", splats=_splats(splats)), seen=None)
    found = report(tmp_path, text)
    assert (found.signature, found.race) == (signature(splats[0]), race_key(splats[0]))
    assert found.splat.stacks


@pytest.mark.parametrize("way_in", ["sendto", "recvfrom", "ioctl", "write", "openat"])
def test_a_stack_of_something_else_leads_nowhere(tmp_path: Path, way_in: str) -> None:
    other = SPLAT.replace("rmap_walk_anon", "tcp_ack")
    for name in ("try_to_unmap", "migrate_pages", "move_pages_and_store_status.isra.0"):
        other = other.replace(f" {name}+", " tcp_rcv_established+")
    for name in ("do_pages_move", "kernel_move_pages"):
        other = other.replace(f" {name}+", " sock_sendmsg+")
    other = other.replace("__x64_sys_move_pages", f"__x64_sys_{way_in}")
    library = "".join(file.read_text() for file in sorted(LIBRARY.glob("*.c")))
    assert matches(report(tmp_path, other), load_cases(), library) == []


def test_the_same_by_signature_or_by_race(tmp_path: Path) -> None:
    found = report(tmp_path, SPLAT)
    (own,) = read(SPLAT.encode())
    assert same(found, [own]) == "signature"
    assert same(found, [replace(own, function="page_vma_mapped_walk", kind="other")]) == "race"
    assert same(found, [replace(own, family="WARNING", kind="x", stacks=())]) == ""
    assert same(found, []) == ""


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "no kernel report"),
        (b"Subject: hello\n\nWARNING: be careful\n", "no kernel report"),
        (b"\0\1\2" * 3000, "not a text"),
        (b"MIME-Version: 1.0\nContent-Type: text/plain; charset=nonsense\n\nx", "no kernel report"),
        (b"From: x\nContent-Type: multipart/mixed\n\n" + b"\xff" * 99, "no kernel report"),
    ],
)
def test_files_that_are_no_report(tmp_path: Path, content: bytes, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        report(tmp_path, content)


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mail.txt"
    file.write_text(MAIL + SPLAT)
    assert main(["reproduce", "--report", str(file), "-k", "v5.10-debug", "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "anon_fork_migrate" in told
    assert "qemu-system" in told
    assert main(["reproduce", "--report", str(tmp_path / "gone")]) == 2
    assert main(["reproduce"]) == 2
    assert main(["reproduce", "x.c", "--report", str(file)]) == 2


def test_the_end_says_what_matched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = report(tmp_path, SPLAT)
    (own,) = read(SPLAT.encode())
    case = load_cases()[0]

    def result(outcome: Outcome, *splats: object) -> TrialResult:
        seen = Evidence(splats=splats)  # type: ignore[arg-type]
        return TrialResult(Trial(case, Path("x"), 1), Verdict(outcome), seen, tmp_path, 0.0)

    other = replace(own, family="WARNING", kind="x", stacks=())
    results = [result(Outcome.PASS), result(Outcome.FAIL, other)]
    assert from_report._conclude(found, results, 10.0) == 125
    assert "1 failed in another way" in capsys.readouterr().out
    head = replace(own, function="page_vma_mapped_walk", kind="other")
    results.append(result(Outcome.FAIL, head))
    assert from_report._conclude(found, results, 10.0) == 1
    said = capsys.readouterr().out
    assert "another head of the same race (memory: page migration), in 1 of 3 trials" in said
    assert "own signature did not come" in said
    results.append(result(Outcome.FAIL, other, own))
    assert from_report._conclude(found, results, 10.0) == 1
    said = capsys.readouterr().out
    assert "the same signature, in 1 of 4 trials" in said
    assert "did not come" not in said


@pytest.mark.parametrize(("until", "trials"), [("signature", 3), ("race", 2)])
def test_another_head_of_the_race_ends_it_where_that_is_asked_for(
    until: str, trials: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own,) = read(SPLAT.encode())
    head = replace(own, function="page_vma_mapped_walk", kind="other")

    def run_series(
        plan: campaign.Series,
        *_: object,
        on_result: Callable[[TrialResult], None],
        enough: Callable[[TrialResult], bool],
        **__: object,
    ) -> None:
        for splats in ((), (head,), (own,), ()):
            seen = Evidence(splats=splats)
            verdict = Verdict(Outcome.FAIL if splats else Outcome.PASS)
            trial = Trial(plan.cases[0], Path("x"), 1)
            result = TrialResult(trial, verdict, seen, tmp_path, 0.0)
            ran.append(result)
            on_result(result)
            if enough(result):
                break

    ran: list[TrialResult] = []
    monkeypatch.setattr(from_report, "run_series", run_series)
    monkeypatch.setattr(from_report, "show", lambda results: None)
    file = tmp_path / "mail.txt"
    file.write_text(MAIL + SPLAT)
    assert main(["reproduce", "--report", str(file), "-k", "v5.10-debug", "--until", until]) == 1
    assert len(ran) == trials


def test_nothing_more_is_run_once_it_came(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Engine:
        width = 1
        submitted = 0

        def submit(self, trial: Trial, folder: Path) -> Future[TrialResult]:
            self.submitted += 1
            folder.mkdir(parents=True)
            splats = tuple(read(SPLAT.encode())) if self.submitted == 2 else ()
            outcome = Outcome.FAIL if splats else Outcome.PASS
            seen = Evidence(splats=splats)
            done: Future[TrialResult] = Future()
            done.set_result(TrialResult(trial, Verdict(outcome), seen, folder, 0.0))
            return done

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    built = BuiltKernel("k", "0", "5.10", tmp_path / "b", tmp_path / "c")
    monkeypatch.setattr(campaign, "build", lambda *_, **__: built)
    found = report(tmp_path, SPLAT)
    cases = load_cases()[:3]
    plan = campaign.series(["v5.10-debug", "v6.1-debug"], "two-nodes", cases, runs=5)
    engine = Engine()
    _, results = campaign.run_series(
        plan,
        ["x"],
        Progress(),
        results=tmp_path / "results",
        engine=engine,
        enough=lambda result: bool(same(found, result.evidence.splats)),
    )
    assert engine.submitted == len(results) == 2


def test_every_case_names_functions_that_there_are() -> None:
    """Without them a report from outside leads to no case.  Each is looked up in the sources."""
    for case in load_cases():
        assert len(case.paths) >= 3, case.name
    names = {name for case in load_cases() for name in case.paths}
    store = cache_dir() / "sources.git"
    env = dict(os.environ, GIT_DIR=str(store))

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], env=env, capture_output=True).stdout.decode(
            "utf-8", "replace"
        )

    places = ("mm/*.c", "fs/*.c", "kernel/*.c", "arch/x86/mm/*.c")
    trees = git("for-each-ref", "--format=%(refname)", "refs/sources").split()
    if not trees:
        pytest.skip("no kernel source in the cache: harness build v5.10-debug")
    known: set[str] = set()
    versions = set()
    for tree in trees:
        versions.add(tuple(git("show", f"{tree}:Makefile").splitlines()[1:3]))
        if names - known:
            begins = git("grep", "-hE", r"^[a-z_].*\(", tree, "--", *places)
            known |= set(re.findall(r"(\w+)\(", begins))
    for case in load_cases():
        assert len(known & set(case.paths)) >= 2, case.name
    # Some functions have another name, or came, in one of the three kernels that are declared: a
    # cache with two of them (a build of the third that was ended) does not know all.
    assert len(versions) < 3 or not names - known
