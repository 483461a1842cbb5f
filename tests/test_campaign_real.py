"""Bisections of real kernels that cannot come to a culprit: what a person is told.

The patches of their series touch nothing that is built, so that each kernel costs no more than a
run of make, and all of them are one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.guest, pytest.mark.build]

CASE = "anon_fork_migrate"
ONE_NODE = "about: one node\nnodes:\n  - {memory: 1024M, cpus: 2}\nhuge_pages:\n  2M: [32]\n"

NOTE = """\
From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
From: A Developer <developer@localhost>
Date: Thu, 1 Jan 2026 00:00:00 +0000
Subject: [PATCH {number}/2] Documentation: note {number}

diff --git a/Documentation/harness-note-{number}.txt b/Documentation/harness-note-{number}.txt
new file mode 100644
--- /dev/null
+++ b/Documentation/harness-note-{number}.txt
@@ -0,0 +1 @@
+A note.

"""


def bisect(tmp_path: Path, base: str, *words: str) -> tuple[int, str, list[dict[str, object]]]:
    """Exit status, what was printed, and the events of the log."""
    series = tmp_path / "series.mbox"
    series.write_text("".join(NOTE.format(number=number) for number in (1, 2)))
    argv = [sys.executable, "-m", "harness.cli", "bisect", "start", CASE, "-k", base]
    argv += ["--series", str(series), "-n", "1", "--results", str(tmp_path / "results"), *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=2400, check=False)
    (log,) = (tmp_path / "results").glob("*/bisect.jsonl")
    return done.returncode, done.stdout, [json.loads(line) for line in log.open()]


def test_good_end_that_fails_too(tmp_path: Path) -> None:
    status, out, events = bisect(tmp_path, "v5.10-anon-race", "--time", "20")
    assert status == 1, out
    assert "the good end, base, has it already" in out
    runs = [event for event in events if event["event"] == "run"]
    assert {event["seen"] for event in runs} - {"VOID"} == {"FAIL"}
    assert {event["reproducer"] for event in runs} == {events[0]["reproducer"]}


def test_bad_end_that_passes_too(tmp_path: Path) -> None:
    status, out, events = bisect(tmp_path, "v5.10-debug", "--time", "5", "--runs", "2")
    assert status == 125, out
    assert "the bad end, 2/2, never failed" in out
    assert "it may fail in up to" in out
    assert [event["seen"] for event in events if event["event"] == "run"] == ["PASS"] * 2


def test_case_that_the_machine_cannot_exercise(tmp_path: Path) -> None:
    machine = tmp_path / "one-node.yaml"
    machine.write_text(ONE_NODE)
    status, out, events = bisect(tmp_path, "v5.10-debug", "-m", str(machine))
    assert status == 125, out
    assert "No run of the bad end, 2/2, says anything\n  1 run: " in out
    assert "node" in out
    assert sum(event["event"] == "run" for event in events) == 1
