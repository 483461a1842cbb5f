"""A bundle: whole in itself, and honest about what is no longer there."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.kernel.build import build
from harness.paths import PROJECT
from harness.progress import default_progress
from harness.spec.kernel import load_kernel
from tests import record_samples as samples
from tests.test_end_to_end import cli

QEMU = [
    *("qemu-system-x86_64", "-nodefaults", "-name", "x", "-accel", "tcg,thread=multi"),
    *("-cpu", "max,-erms", "-m", "1G", "-chardev", "file,id=console,path=/gone/console.log"),
    *(
        "-serial",
        "chardev:console",
        "-netdev",
        "user,id=net",
        "-device",
        "virtio-net-pci,netdev=net",
    ),
    *("-device", "pvpanic", "-kernel", "/gone/bzImage", "-initrd", "/gone/initrd"),
    *("-object", "memory-backend-file,id=mem0,size=768M,mem-path=/gone/mem0,share=off"),
    *("-append", "console=ttyS0 panic=0", "-incoming", "defer"),
]


@pytest.fixture
def failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A trial whose kernel is in the cache, one of whose patches is still as it was."""
    monkeypatch.setenv("HUGETLB_HARNESS_CACHE", str(tmp_path / "cache"))
    patch = PROJECT / "guests/patches/reintroduce/anon-rmap-locked.patch"
    made = samples.trial("FAIL", qemu=QEMU)
    made["kernel"]["patches"] += [
        {"file": patch.name, "sha256": hashlib.sha256(patch.read_bytes()).hexdigest()}
    ]
    folder = tmp_path / "cache" / "kernels" / made["kernel"]["content_id"]
    folder.mkdir(parents=True)
    (folder / "bzImage").write_bytes(b"an image")
    (folder / "config").write_text("CONFIG_KASAN=y\n")
    return made


def unpacked(tmp_path: Path, trial: dict[str, Any]) -> Path:
    run = samples.write_run(tmp_path, samples.run([trial]))
    assert main(["bundle", str(run / trial["folder"]), "-o", str(tmp_path / "b.tar.gz")]) == 0
    with tarfile.open(tmp_path / "b.tar.gz") as tar:
        tar.extractall(tmp_path / "out", filter="data")
    (folder,) = (tmp_path / "out").iterdir()
    return folder


def test_everything_is_in_it(tmp_path: Path, failed: dict[str, Any]) -> None:
    folder = unpacked(tmp_path, failed)
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files >= {
        *("run.sh", "kernel", "initrd", "config", "console.log", "splat-01.txt", "trial.json"),
        *("README", "patches/02-anon-rmap-locked.patch", "reproducer/anon_fork_migrate"),
        *("reproducer/anon_fork_migrate.c", "reproducer/lib/repro.h"),
    }
    assert "not at hand any more: 0001-control.patch" in (folder / "README").read_text()
    assert json.loads((folder / "trial.json").read_text()) == failed
    script = (folder / "run.sh").read_text()
    assert not re.search(r"@\w+@|/gone|netdev|/root|home|incoming", script)
    assert subprocess.run(["sh", "-n", str(folder / "run.sh")]).returncode == 0
    initrd = (folder / "initrd").read_bytes()
    assert b"/bundle/anon_fork_migrate -t 10" in initrd
    assert b"BEGIN OPENSSH" not in initrd


def test_a_hostile_headline_stays_a_word_of_the_script(
    tmp_path: Path, failed: dict[str, Any]
) -> None:
    failed["splats"][0]["headline"] = (
        f"'; touch {tmp_path}/owned; echo '\n$(touch {tmp_path}/owned)"
    )
    script = unpacked(tmp_path, failed) / "run.sh"
    empty = tmp_path / "bin"
    empty.mkdir()
    subprocess.run(["/bin/sh", str(script)], env={"PATH": str(empty)}, capture_output=True)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("came", "said", "status"),
    [
        ("BUG: KASAN: use-after-free in rmap_walk_anon+0x77/0x99", "as expected", 1),
        ("BUG: KASAN: use-after-free in page_vma_mapped_walk+0x7/0x9", "expected was:  ", 1),
        ("harness: end", "quiet to the end", 0),
        ("nothing of note", "did not come to its end", 125),
    ],
)
def test_it_tells_the_expected_report_from_another(
    came: str, said: str, status: int, tmp_path: Path, failed: dict[str, Any]
) -> None:
    folder = unpacked(tmp_path, failed)
    programs = tmp_path / "bin"
    programs.mkdir()
    console = f"[    1.0][   T1] BUG: of the boot\n[    2.0] harness: begin\n[    3.0][  T9] {came}"
    (programs / "qemu-system-x86_64").write_text(f"#!/bin/sh\necho '{console}' > console.new\n")
    (programs / "sleep").write_text("#!/bin/sh\nexec /bin/sleep 0.1\n")
    for program in programs.iterdir():
        program.chmod(0o755)
    env = {"PATH": f"{programs}:/usr/bin:/bin"}
    ran = subprocess.run(
        ["/bin/sh", str(folder / "run.sh")], env=env, capture_output=True, text=True
    )
    assert said in ran.stdout
    assert ran.returncode == status


def test_what_is_gone_is_named(
    tmp_path: Path, failed: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    run = samples.write_run(tmp_path, samples.run([failed]))
    (tmp_path / "cache/kernels" / failed["kernel"]["content_id"] / "bzImage").unlink()
    assert main(["bundle", str(run), "-o", str(tmp_path / "b")]) == 2
    told = capsys.readouterr().err
    assert "no longer in the cache" in told
    assert "harness build v5.10-debug" in told
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"case": "gone"}, "reproducer is no longer there"),
        ({"qemu": []}, "no QEMU line"),
        ({"kernel": {"name": "root@host", "release": "6.1", "content_id": None}}, "did not boot"),
    ],
)
def test_other_trials_that_cannot_be_repeated(
    tmp_path: Path,
    failed: dict[str, Any],
    change: dict[str, Any],
    complaint: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = samples.write_run(tmp_path, samples.run([failed | change]))
    assert main(["bundle", str(run), "-o", str(tmp_path / "b")]) == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.guest
def test_it_runs_where_there_is_no_harness(tmp_path: Path) -> None:
    build(load_kernel("v5.10-anon-race"), progress=default_progress())
    results = tmp_path / "results"
    done = cli(
        "run",
        "anon_fork_migrate",
        "-k",
        "v5.10-anon-race",
        "--time",
        "60",
        "--results",
        str(results),
    )
    assert done.returncode == 1, done.stdout + done.stderr
    tar = tmp_path / "b.tar.gz"
    assert cli("bundle", "--results", str(results), "-o", str(tar)).returncode == 0
    empty = tmp_path / "empty"
    empty.mkdir()
    subprocess.run(["tar", "xf", str(tar)], cwd=empty, check=True)
    (folder,) = empty.iterdir()
    path = os.pathsep.join(["/usr/bin", "/bin"])
    ran = subprocess.run(
        ["/usr/bin/env", "-i", f"PATH={path}", "sh", str(folder / "run.sh")],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "the kernel reported:" in ran.stdout
    assert "KASAN" in ran.stdout
