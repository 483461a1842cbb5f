"""``harness splats``: a console in, a table, JSON or mail out; a clear word for what is none."""

from __future__ import annotations

import gzip
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from harness import cli
from harness.splat.noise import NOISE, Noise, expired, known
from harness.splat.reader import read
from tests.splat_samples import SAMPLES
from tests.test_splat_reader import console

Call = Callable[..., tuple[int, str, str]]
CONSOLES = Path(__file__).parent / "consoles"
RACE = CONSOLES / "v5.10-anon-race-1.log"


def call(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *argv: str,
    given: bytes = b"",
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
    monkeypatch.setenv("COLUMNS", "100")
    status = cli.main(["splats", *argv])
    said = capsys.readouterr()
    return status, said.out, said.err


@pytest.fixture
def splats(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    return lambda *argv, given=b"": call(monkeypatch, capsys, *argv, given=given)


def test_a_table_of_reports(splats: Call) -> None:
    status, out, _ = splats(str(RACE))
    assert status == 1
    assert "KASAN: use-after-free Read in" in out
    assert "10.580" in out


def test_no_report_is_status_0(splats: Call) -> None:
    assert splats(str(CONSOLES / "v5.10-debug-clean.log"))[:2] == (0, "no reports\n")


def test_json_is_an_object_a_line(splats: Call) -> None:
    text = b"".join(console((*SAMPLES["gpf"].lines, *SAMPLES["panic"].lines)))
    status, out, _ = splats("--json", "-", given=text)
    first, second = (json.loads(line) for line in out.splitlines())
    assert status == 1
    assert (first["kind"], first["function"], first["corrupted"]) == (
        "gpf",
        "guilty_function",
        False,
    )
    assert text[first["start"] :].startswith(b"[   12.000000][  T321] general protection fault")
    assert (second["kind"], second["follows"]) == ("panic", first["start"])
    assert first["stacks"]["access"] == ["honest_caller+0x21/0x60"]


def test_json_is_what_the_evaluators_door_gives(splats: Call) -> None:
    sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
    try:
        from splat_eval import read as door
    finally:
        sys.path.pop(0)
    _, out, _ = splats("--json", str(RACE))
    assert [json.loads(line) for line in out.splitlines()] == door(RACE.read_bytes().decode())


def test_a_mail_is_trimmed_and_names_no_machine(splats: Call) -> None:
    status, out, _ = splats("--mail", str(RACE))
    assert status == 1
    assert out.startswith("KASAN: use-after-free Read in anon_vma_interval_tree_iter_next\n")
    assert "  rmap_walk_anon+0x1b8/0x360\n" in out
    assert "Object:  anon_vma_chain of size 64, 40 bytes inside" in out
    assert "\nFreed by:\n  kmem_cache_free" in out
    for private in ("? ", "QEMU", "RAX", "dump_stack", "kasan_report", "/72", "Code:"):
        assert private not in out
    assert re.search(r"\b[0-9a-f]{16}\b", out) is None


def test_sightings_of_one_report_are_one_row(splats: Call) -> None:
    text = b"".join(
        line for n in range(50) for line in console(SAMPLES["kasan uaf"].lines, at=9.0 + n)
    )
    _, out, _ = splats("-", given=text)
    assert re.search(r"shuffle/321 +│ +50 │", out)


def test_a_guest_cannot_draw_on_the_terminal(splats: Call) -> None:
    text = console(("BUG: [red]made\x07up \x1b[2Jtrouble[/] of [bold]words",))[0]
    _, out, _ = splats("-", given=text)
    assert "\x1b" not in out
    assert "\x07" not in out


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (bytes(range(256)) * 40, "binary"),
        (gzip.compress(RACE.read_bytes()), "zcat"),
    ],
)
def test_what_is_no_console(content: bytes, word: str, splats: Call, tmp_path: Path) -> None:
    file = tmp_path / "console.log"
    file.write_bytes(content)
    status, out, err = splats(str(file))
    assert (status, out) == (125, "")
    assert word in err
    assert splats("-", given=content)[0] == 125


def test_what_cannot_be_opened(splats: Call, tmp_path: Path) -> None:
    for argv, word in (
        ([str(tmp_path)], "a directory"),
        ([str(tmp_path / "gone")], "no such file"),
        ([str(RACE), "--vmlinux", str(tmp_path / "vmlinux")], "no such file"),
        ([str(RACE), "-k", "never-declared"], "never-declared"),
    ):
        status, _, err = splats(*argv)
        assert status == 2
        assert word in err
        assert "Traceback" not in err


def test_no_permission(splats: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refused(*_: object) -> None:  # root, who may read everything, runs these tests too
        raise PermissionError(13, "Permission denied")

    file = tmp_path / "console.log"
    file.write_bytes(b"[    1.000000] eth0: up\n")
    monkeypatch.setattr(Path, "open", refused)
    status, _, err = splats(str(file))
    assert status == 3
    assert "Permission denied" in err


def test_a_reader_that_goes_away() -> None:
    text = b"".join(line for n in range(400) for line in console(SAMPLES["rss"].lines, f"T{n}"))
    harness = [sys.executable, "-m", "harness.cli", "splats", "--json", "-"]
    with subprocess.Popen(
        harness, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdout.close()
        process.stdin.write(text)
        process.stdin.close()
        assert b"Traceback" not in process.stderr.read()


def test_a_vmlinux_that_cannot_be_read_is_said(splats: Call, tmp_path: Path) -> None:
    junk = tmp_path / "vmlinux"
    junk.write_bytes(b"not ELF")
    status, out, err = splats(str(RACE), "--vmlinux", str(junk))
    assert status == 1
    assert "KASAN" in out
    assert "cannot read its symbols" in err


def test_known_boot_noise_is_left_out_unless_asked_for(splats: Call) -> None:
    noise = tuple(
        line.replace("guilty_function", "topology_sane.isra.0") for line in SAMPLES["warning"].lines
    )
    early, late = b"".join(console(noise, at=1.0)), b"".join(console(noise, at=1000.0))
    assert splats("-", given=early)[0] == 0
    assert splats("--all", "-", given=early)[0] == 1
    assert splats("-", given=late)[0] == 1
    assert splats("-", given=b"".join(console(SAMPLES["warning"].lines, at=1.0)))[0] == 1


def test_no_entry_of_the_noise_list_has_expired() -> None:
    assert expired(date.today()) == []
    assert all(entry.reason and entry.title for entry in NOISE)


def test_an_expired_entry_is_told() -> None:
    old = Noise("WARNING in made_up", "a reason", date(2026, 1, 1))
    assert expired(date(2026, 1, 1), (old,)) == []
    assert expired(date(2026, 1, 2), (*NOISE, old)) == [old]
    (splat,) = read(b"".join(console(SAMPLES["warning"].lines, at=1.0)))
    assert not known(splat, (old,))


def test_what_is_no_bug_is_left_out_and_said(splats: Call) -> None:
    text = b"".join(console(SAMPLES["oom"].lines + SAMPLES["sleep"].lines))
    _, out, err = splats("--json", "-", given=text)
    assert [json.loads(line)["family"] for line in out.splitlines()] == ["ATOMIC"]
    assert "1 x Out of memory: Killed process (--all shows it)" in err
    status, out, err = splats("--json", "--all", "-", given=text)
    shown = [json.loads(line) for line in out.splitlines()]
    assert [(one["family"], one["is_bug"]) for one in shown] == [("OOM", False), ("ATOMIC", True)]
    assert (status, err) == (1, "")
    assert splats("--all", "-", given=b"".join(console(SAMPLES["oom"].lines)))[0] == 0
