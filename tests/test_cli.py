"""The command as a person types it: wrong input gets one clear message and the right status."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from harness.paths import PROJECT


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


@pytest.mark.parametrize(
    "words", [["kernels"], ["run", "--dry-run", "-k", "stock"], ["build", "-n", "stock"]]
)
def test_reader_that_went_away_is_no_verdict(words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "harness.cli", *words],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
        )
    finally:
        os.close(writer)
    assert done.returncode == 3
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--kernel", "v5.10-debgu"], "no kernel 'v5.10-debgu'"),
        (["--machine", "three"], "no machine 'three'"),
        (["--kernel", "stock", "--ssh", "a@b"], "exclude each other"),
        (["--ssh", "a@b:c:d"], "expected user@host"),
        (["--trial-time", "-3"], "whole number"),
    ],
)
def test_pytest_refuses_what_was_mistyped(words: list[str], complaint: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "testcases/", *words],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        timeout=120,
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert complaint in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_pytest_tells_a_machine_that_does_not_answer_in_one_message(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        target = f"root@127.0.0.1:{nobody.getsockname()[1]}"
        words = [sys.executable, "-m", "pytest", "testcases/", "--ssh", target]
        done = subprocess.run(
            [*words, "--results", str(tmp_path)],
            capture_output=True,
            text=True,
            cwd=PROJECT,
            timeout=120,
        )
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert f"ERROR: {target}: no SSH connection" in done.stdout
    assert "During handling" not in done.stdout
    # Progress goes past the capturing.
    assert "Captured stdout" not in done.stdout


def test_what_only_saves_time_is_not_worth_asking_for_root(tmp_path: Path) -> None:
    """The set-up installs what doctor.py --packages names."""
    for folder in map(Path, os.environ["PATH"].split(os.pathsep)):
        for program in folder.iterdir() if folder.is_dir() else ():
            link = tmp_path / program.name
            if program.name != "ccache" and not link.is_symlink():
                link.symlink_to(program)
    done = subprocess.run(
        [sys.executable, "harness/doctor.py", "--packages"],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        env=dict(os.environ, PATH=str(tmp_path)),
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "\n")


def test_no_home_directory() -> None:
    """A container's user that /etc/passwd does not know."""
    code = (
        "import pathlib, sys\n"
        "def home(): raise RuntimeError('Could not determine home directory.')\n"
        "pathlib.Path.home = home\n"
        "from harness.cli import main\n"
        "sys.exit(main(['build', '-n', 'stock']))\n"
    )
    env = {k: v for k, v in os.environ.items() if k != "HUGETLB_HARNESS_CACHE"}
    env["XDG_CACHE_HOME"] = ""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=60
    )
    assert done.returncode == 3, done.stderr
    assert "HUGETLB_HARNESS_CACHE" in done.stderr
