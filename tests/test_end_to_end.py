"""The main job, whole: real kernels, real guests, both doors.  Boots under KVM or emulation."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from harness.paths import PROJECT
from tests.test_cli import harness

pytestmark = pytest.mark.guest

CASE = "anon_fork_migrate"
SCHEMA = json.loads((PROJECT / "results" / "result.schema.json").read_text())


def cli(*words: str, timeout: float = 2400) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own; a cold cache means building a kernel first."""
    return subprocess.run(
        [sys.executable, "-m", "harness.cli", *words],
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def only_trial(results: Path) -> tuple[dict[str, Any], Path]:
    """The one trial of the one run below ``results``, checked against the schema."""
    (run,) = results.iterdir()
    document = json.loads((run / "result.json").read_text())
    jsonschema.validate(document, SCHEMA)
    (trial,) = document["trials"]
    return trial, run / trial["folder"]


def qemus() -> set[int]:
    """Processes of QEMU on this host."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"qemu-system" in (folder / "cmdline").read_bytes().split(b"\0")[0]:
                found.add(int(folder.name))
        except OSError:
            continue
    return found


def test_stock_kernel_is_run_but_not_believed(tmp_path: Path) -> None:
    done = cli("run", CASE, "-k", "stock", "--time", "10", "--results", str(tmp_path))
    assert done.returncode == 125, done.stderr
    trial, _ = only_trial(tmp_path)
    assert trial["verdict"] == "INCONCLUSIVE"
    assert all(count["reached"] >= count["least"] for count in trial["exercised"])
    assert "no KASAN" in trial["reasons"][0]["text"]


def test_race_of_2020_is_caught(tmp_path: Path) -> None:
    done = cli("run", CASE, "-k", "v5.10-anon-race", "--time", "60", "--results", str(tmp_path))
    assert done.returncode == 1, done.stdout + done.stderr
    trial, folder = only_trial(tmp_path)
    assert trial["verdict"] == "FAIL"
    splat = trial["splats"][0]
    assert splat["title"] in done.stdout + done.stderr
    assert re.match(r"(mm|include|lib|kernel)/[\w/]+\.[ch]:\d+$", splat["place"])
    text = (folder / "splat-01.txt").read_text()
    assert "migrate_pages" in text
    console = (folder / "console.log").read_bytes()
    assert splat["headline"].encode() in console[splat["start"] : splat["end"]]
    assert trial["kernel"]["content_id"]
    assert trial["repeat"][:2] == ["harness", "run"]
    assert trial["first_splat_seconds"] < 60


def test_control_is_cleared_with_proof(tmp_path: Path) -> None:
    done = cli("run", CASE, "-k", "v5.10-debug", "--time", "15", "--results", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    trial, _ = only_trial(tmp_path)
    assert trial["verdict"] == "PASS"
    assert all(count["reached"] >= count["least"] for count in trial["exercised"])
    assert {armed["detector"] for armed in trial["armed"]} == {"KASAN", "LOCKDEP"}
    assert all(armed["armed_before"] and armed["armed_after"] for armed in trial["armed"])
    assert trial["boot_splats"] == []
    assert trial["counters"]["drift"] == []
    assert trial["markers_seen"]


def test_pytest_door_fails_with_the_verdict_in_junit(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "testcases/test_anon_fork_migrate.py"),
            *("--kernel", "v5.10-anon-race", "--machine", "two-nodes"),
            *("--results", str(tmp_path / "r"), f"--junitxml={report}"),
        ],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        timeout=2400,
    )
    assert done.returncode == 1, done.stdout
    case = ET.parse(report).find(".//testcase")
    assert case is not None
    properties = {p.get("name"): p.get("value") for p in case.iter("property")}
    assert properties["verdict"] == "FAIL"
    failure = case.find("failure")
    assert failure is not None
    assert str(properties["reason"]) in str(failure.get("message"))


@pytest.fixture
def left_running() -> Iterator[tuple[str, list[str]]]:
    """A guest that ``harness boot`` left running: its name, and the pytest words it printed."""
    done = cli("boot", "-k", "stock")
    assert done.returncode == 0, done.stderr
    name = done.stdout.split()[0]
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("  pytest"))
    yield name, shlex.split(line)[2:]
    cli("halt", name)


def test_guest_that_is_left_running(left_running: tuple[str, list[str]], tmp_path: Path) -> None:
    name, words = left_running
    shell = cli("shell", "-g", name, "--", "cat", "/proc/version")
    assert shell.stdout.startswith("Linux version 6.1")
    assert cli("shell", "-g", name, "--", "exit 7").returncode == 7
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", *words, "-k", CASE),
            *("--trial-time", "10", "--results", str(tmp_path)),
        ],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        timeout=300,
    )
    assert done.returncode == 1
    trial, folder = only_trial(tmp_path)
    assert trial["verdict"] == "INCONCLUSIVE", trial["reasons"]  # for want of KASAN
    assert trial["markers_seen"]
    assert all(count["reached"] >= count["least"] for count in trial["exercised"])
    assert b"harness: end" in (folder / "console.log").read_bytes()
    assert cli("halt", name).returncode == 0
    assert cli("shell", "-g", name, "--", "true").returncode == 2


def test_any_c_file_until_its_splat(tmp_path: Path) -> None:
    source = tmp_path / "crash.c"
    source.write_text(
        "#include <fcntl.h>\n#include <unistd.h>\n"
        "int main(void)\n{\n"
        '\tint fd = open("/proc/sysrq-trigger", O_WRONLY);\n'
        '\treturn write(fd, "c", 1) != 1;\n}\n'
    )
    results = tmp_path / "results"
    done = cli("reproduce", str(source), "-k", "stock", "--until-splat", "--results", str(results))
    assert done.returncode == 1, done.stdout + done.stderr
    trial, _ = only_trial(results)
    assert trial["verdict"] == "FAIL"
    assert "sysrq_handle_crash" in trial["splats"][0]["title"] or trial["life"]


def test_nothing_outlives_a_killed_harness(tmp_path: Path) -> None:
    before = qemus()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "harness.cli", "run", CASE, "-k", "stock"),
            *("--time", "60", "--results", str(tmp_path)),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    for line in process.stderr:
        if line.startswith("run anon_fork_migrate"):
            break
    mine = qemus() - before
    assert mine
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 10
    while mine & qemus() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not mine & qemus()
    (run,) = tmp_path.iterdir()
    jsonschema.validate(json.loads((run / "result.json").read_text()), SCHEMA)


def test_kernel_that_does_not_boot_says_so(tmp_path: Path) -> None:
    done = cli(
        *("run", CASE, "-k", "stock", "--time", "3", "--results", str(tmp_path)),
        *("--append", "init=/nothing rdinit=/nothing"),
    )
    assert done.returncode == 3, done.stdout + done.stderr
    trial, folder = only_trial(tmp_path)
    assert trial["verdict"] == "ERROR"
    assert trial["reasons"][0]["oracle"] == "boot"
    assert b"Linux version" in (folder / "console.log").read_bytes()


def test_help_is_there_without_a_guest() -> None:
    assert harness("run", "--help").returncode == 0


def test_user_space_that_hangs_is_a_failure_with_registers(tmp_path: Path) -> None:
    source = tmp_path / "hog.c"
    source.write_text(
        "#include <fcntl.h>\n#include <sched.h>\n#include <unistd.h>\n"
        "int main(void)\n{\n"
        "\tstruct sched_param top = { .sched_priority = 99 };\n"
        '\tint fd = open("/proc/sys/kernel/sched_rt_runtime_us", O_WRONLY);\n'
        '\tif (write(fd, "-1", 2) != 2 || sched_setscheduler(0, SCHED_FIFO, &top))\n'
        "\t\treturn 1;\n"
        "\tfor (fd = 0; fd < 8; fd++)\n\t\tfork();\n"
        "\tfor (;;)\n\t\t;\n}\n"
    )
    results = tmp_path / "results"
    # On a busy host RCU's own detector, which counts ticks, is the first to tell.
    quiet = ("--append", "rcupdate.rcu_cpu_stall_suppress=1")
    done = cli("reproduce", str(source), "-k", "stock", *quiet, "--results", str(results))
    assert done.returncode == 1, done.stdout + done.stderr
    trial, folder = only_trial(results)
    assert trial["reasons"][0]["oracle"] == "pulse_lost"
    assert not trial["reproducer"]["overdue"]  # ended by the pulse, not by its own time
    assert len(re.findall(r"RIP=", (folder / "postmortem.txt").read_text())) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system needs root")
def test_full_disk_is_told_before_anything_runs(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64M", "tmpfs", str(small)], check=True)
    try:
        done = cli("run", CASE, "-k", "stock", "--time", "3", "--results", str(small))
        assert done.returncode == 3
        assert "MiB of disk are free" in done.stderr
        assert "Traceback" not in done.stderr
    finally:
        subprocess.run(["umount", str(small)], check=True)
