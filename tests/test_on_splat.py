"""--on-splat freeze and dump: what is done when, what it costs the verdict, and what is left."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.cli import main
from harness.dump.note import vmcoreinfo
from harness.errors import EnvironmentFault, GuestLost
from harness.guest import capture, keeper
from harness.guest.seam import wait_for
from harness.kernel.build import build
from harness.kernel.built import BuiltKernel
from harness.progress import Progress
from harness.spec.cases import select
from harness.spec.kernel import load_kernel
from harness.trial.atsplat import DUMP, AtSplat, OnSplat
from harness.trial.run import Settings, run
from tests.fake import FakeGuest, Script
from tests.survival import qemu_of, wanted

WARNING = b"""\
[   12.000000][  T100] ------------[ cut here ]------------
[   12.000001][  T100] WARNING: CPU: 0 PID: 100 at mm/hugetlb.c:1234 free_huge_page+0x10/0x20
[   12.000002][  T100] CPU: 0 PID: 100 Comm: x Not tainted 5.10.218 #1
[   12.000003][  T100] RIP: 0010:free_huge_page+0x10/0x20
[   12.000004][  T100] Call Trace:
[   12.000005][  T100]  free_huge_page+0x10/0x20
[   12.000006][  T100] ---[ end trace 0000000000000000 ]---
"""
CASE = select(["anon_fork_migrate"])[0]


class Steered(FakeGuest):
    """A fake guest that notes when it is stopped; its report goes on with each step."""

    def __init__(self, script: Script, told: list[bytes], fails: str = "") -> None:
        super().__init__(script)
        self.told, self.fails, self.done = told, fails, list[str]()

    def _note(self, what: str) -> None:
        self.done.append(what)
        if what == self.fails:
            raise GuestLost(f"{what} failed")

    def pause(self) -> None:
        self._note("pause")

    def resume(self) -> None:
        self._note("resume")
        if self.told:
            self.text += self.told.pop(0)

    def dump(self, path: Path) -> None:
        self._note("dump")


def steered(wanted: OnSplat, tmp_path: Path, fails: str = "") -> tuple[Steered, AtSplat, int]:
    lines = WARNING.splitlines(keepends=True)
    script = Script(said=b"".join(lines[:2]), status=None)
    guest = Steered(
        script, [b"".join(lines[2:5]), b"".join(lines[5:]), b"[ 13.0] not read\n"], fails
    )
    at = AtSplat(guest, wanted, tmp_path)
    evidence = run(guest, CASE, b"", Settings(1, at_splat=at))
    return guest, at, len(evidence.splats)


def test_dump_comes_at_the_first_sign_and_the_report_goes_on(tmp_path: Path) -> None:
    guest, at, splats = steered(OnSplat.DUMP, tmp_path)
    assert guest.done == ["pause", "dump", "resume"]
    assert at.dumped == tmp_path / DUMP
    assert (splats, at.frozen, at.problem) == (1, False, "")


def test_frozen_guest_stops_where_its_report_ends(tmp_path: Path) -> None:
    guest, at, splats = steered(OnSplat.FREEZE, tmp_path)
    assert guest.done == ["pause", "dump", *("resume", "pause") * 2]
    assert len(guest.told) == 1
    assert (splats, at.frozen) == (1, True)


@pytest.mark.parametrize("fails", ["pause", "dump"])
def test_dump_that_fails_is_told_and_changes_no_verdict(fails: str, tmp_path: Path) -> None:
    guest, at, splats = steered(OnSplat.DUMP, tmp_path, fails)
    assert at.problem == f"{fails} failed"
    assert (splats, at.dumped, guest.done[-1]) == (1, None, "resume")


def test_freeze_without_room_for_its_dump_is_still_one(tmp_path: Path) -> None:
    _, at, _ = steered(OnSplat.FREEZE, tmp_path, "dump")
    assert (at.frozen, at.dumped, at.problem) == (True, None, "dump failed")


def test_stop_touches_nothing(tmp_path: Path) -> None:
    guest, _, splats = steered(OnSplat.STOP, tmp_path)
    assert (guest.done, splats) == ([], 1)


def test_dump_needs_room_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "SPARE", 1 << 60)
    with pytest.raises(EnvironmentFault, match="too few to dump"):
        capture.dump(None, tmp_path / DUMP, 1 << 30, "5.10")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_unfinished_flat_file_is_no_dump(tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.write_bytes(bytes(4096) + (0).to_bytes(8, "big") + (4).to_bytes(8, "big") + b"KDUM")
    with pytest.raises(GuestLost, match="its end is missing"):
        capture._unfold(flat, tmp_path / "out")


def test_file_without_symbols_is_no_kernel(tmp_path: Path) -> None:
    file = tmp_path / "vmlinux"
    file.write_bytes(b"not an ELF file")
    with pytest.raises(EnvironmentFault, match="vmlinux"):
        vmcoreinfo(file, "5.10")
    with pytest.raises(EnvironmentFault, match="no s"):
        vmcoreinfo(Path(os.path.realpath("/bin/true")), "5.10")


def test_gdb_and_drgn_say_what_they_lack(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUGETLB_HARNESS_CACHE", str(tmp_path / "cache"))
    assert main(["gdb"]) == 2
    assert main(["drgn", str(tmp_path / "no")]) == 2
    (tmp_path / DUMP).write_bytes(b"x")
    assert main(["drgn", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "no guest is running" in said
    assert "does not tell whose memory it is" in said
    assert main(["guests"]) == 0
    assert capsys.readouterr().out == "no guest is held\n"


@pytest.fixture(scope="module")
def race() -> BuiltKernel:
    return build(load_kernel("v5.10-anon-race"), progress=Progress())


def harness(*words: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "harness.cli", *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=timeout)


@pytest.mark.guest
def test_real_splat_is_frozen_looked_into_and_let_go(race: BuiltKernel, tmp_path: Path) -> None:
    """The whole way: the race is caught, drgn and gdb see why, and nothing stays."""
    pytest.importorskip("drgn")
    words = ["run", "anon_fork_migrate", "-k", race.name, "--time", "30", "--on-splat", "freeze"]
    done = harness(*words, "--hold", "600", "--results", str(tmp_path))
    assert done.returncode == 1, done.stderr
    (record,) = tmp_path.glob("*/result.json")
    (trial,) = json.loads(record.read_text())["trials"]
    name = trial["at_splat"]["frozen"]
    assert trial["verdict"] == "FAIL"
    assert f"frozen for 600 s as {name}" in done.stderr
    kept = keeper.find(name)
    try:
        assert (kept.state, kept.kernel) == ("frozen", race.name)
        assert stat.S_IMODE(kept.folder.stat().st_mode) == 0o700
        (qemu,) = qemu_of(record.parent)
        before = _cpu(qemu)
        time.sleep(1)
        assert _cpu(qemu) - before <= 2  # ticks: it is paused
        assert name in harness("guests").stdout

        seen = harness("drgn", str(record.parent / trial["folder"]))
        assert seen.returncode == 0, seen.stderr
        assert "2 MiB: 32 pages" in seen.stdout
        assert "TTU_RMAP_LOCKED" in seen.stdout or "unmap_and_move_huge_page" in seen.stdout
        assert "rwsem NOT HELD by anybody" in seen.stdout
        assert re.search(
            r"private, the owner of its reservations 0x\w+: regions \[0, 1\)", seen.stdout
        )
        assert "cannot be read further" not in seen.stdout

        gdb = harness("gdb", "-g", name, "--", "-batch", "-ex", "list rmap_walk_anon")
        assert "VM_BUG_ON_PAGE(!anon_vma, page);" in gdb.stdout, gdb.stderr
        assert harness("shell", "-g", name, "--", "uname", "-r").stdout == "5.10.218\n"
        assert keeper.find(name).state == "frozen"
    finally:
        assert harness("halt", name).returncode == 0
    assert qemu_of(record.parent) == []
    assert [file.name for file in kept.folder.iterdir()] == ["keeper.log"]


def _cpu(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@pytest.mark.guest
@wanted
@pytest.mark.parametrize("ends", ["time", "keeper killed"])
def test_frozen_guest_is_left_behind_by_nobody(
    ends: str, race: BuiltKernel, tmp_path: Path
) -> None:
    words = ["run", "anon_fork_migrate", "-k", race.name, "--time", "30", "--on-splat", "freeze"]
    hold = "2" if ends == "time" else "600"
    assert harness(*words, "--hold", hold, "--results", str(tmp_path)).returncode == 1
    (record,) = tmp_path.glob("*/result.json")
    name = json.loads(record.read_text())["trials"][0]["at_splat"]["frozen"]
    assert name
    if ends != "time":
        os.kill(keeper.find(name).pid, signal.SIGKILL)
    assert wait_for(lambda: not qemu_of(record.parent), 30)
    # Its keeper ends QEMU first, and itself a moment later.
    assert wait_for(lambda: all(kept.name != name for kept in keeper.running()), 30)
