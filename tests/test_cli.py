"""The command as a person types it: wrong input gets one clear message and the right status."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def harness(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness.cli", *words],
        capture_output=True,
        text=True,
        env=dict(os.environ, **env),
        timeout=120,
    )


def refused(status: int, complaint: str, *words: str, **env: str) -> None:
    done = harness(*words, **env)
    assert done.returncode == status, done.stderr
    assert complaint in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_help_names_every_verb() -> None:
    said = harness("--help").stdout
    for verb in ("doctor", "kernels", "build", "boot", "shell", "halt", "run", "reproduce"):
        assert verb in said


def test_no_verb() -> None:
    refused(2, "VERB")


def test_kernels_are_listed() -> None:
    assert "v5.10-anon-race" in harness("kernels").stdout


def test_unknown_kernel() -> None:
    refused(2, "no kernel 'v5.10-debgu'", "run", "-k", "v5.10-debgu")


def test_unknown_machine() -> None:
    refused(2, "no machine 'three'", "run", "-m", "three")


def test_unknown_case() -> None:
    refused(2, "no test case 'anon'", "run", "anon")


@pytest.mark.parametrize("value", ["0", "-1", "ten", "1e9"])
def test_bad_numbers(value: str) -> None:
    refused(2, "whole number", "run", "--runs", value)


def test_missing_c_file() -> None:
    refused(2, "nothing.c: no such C file", "reproduce", "nothing.c")


def test_file_that_is_no_c(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text("print()\n")
    refused(2, "expected a C source file", "reproduce", str(file))


def test_c_file_that_does_not_compile(tmp_path: Path) -> None:
    file = tmp_path / "x.c"
    file.write_text("int main(void)\n{\n\treturn nothing;\n}\n")
    results = tmp_path / "results"
    refused(2, "x.c:3", "reproduce", str(file), "--results", str(results))
    assert not results.exists()


def test_yaml_with_a_typing_error(tmp_path: Path) -> None:
    file = tmp_path / "k.yaml"
    file.write_text("extends: v5.10-debug\npatchs: []\n")
    refused(2, "k.yaml:2: unknown key 'patchs'", "build", str(file))


def test_results_on_a_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    refused(3, "--results", "run", "--results", str(tmp_path / "f"))


def test_dry_run_prints_lines_to_paste() -> None:
    done = harness("run", "-k", "v5.10-debug", "--dry-run")
    assert done.returncode == 0, done.stderr
    for word in ("make", "bzImage", "gcc", "qemu-system-x86_64", "-numa"):
        assert word in done.stdout
