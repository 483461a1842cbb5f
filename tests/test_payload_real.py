"""Somebody else's tests in a real guest: a static program, and a script in the Debian root."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.cli import main
from harness.guest.accel import Accel
from harness.kernel.built import BuiltKernel

SUITE = """\
about: two tests of nobody's
dialect: kselftest
detectors: [KASAN, LOCKDEP]
seconds: 30
tests:
  - {name: program, run: program 16}
  - name: lacking
    run: program none
    program: program
  - name: script
    run: bash script.sh a b
    program: script.sh
    files: [program]
    root: debian
    machine: debian
"""
PROGRAM = """\
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "none")) {
		puts("1..0 # SKIP it wants more");
		return 4;
	}
	int how = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB;
	char *page = mmap(NULL, 2 << 20, PROT_READ | PROT_WRITE, how, -1, 0);
	if (page == MAP_FAILED)
		return puts("not ok 1 mapped") < 0;
	page[0] = 1;
	puts("TAP version 13\\n1..1\\nok 1 mapped");
	return 0;
}
"""
SCRIPT = """\
#!/bin/bash
set -euo pipefail
words=("$@")
[[ ${#words[@]} -eq 2 ]] && grep -q HugePages_Total /proc/meminfo && mount -t hugetlbfs | wc -l
./program
"""


@pytest.mark.guest
def test_other_peoples_tests_in_a_guest(
    debug_kernel: BuiltKernel, accel: Accel, tmp_path: Path
) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE)
    (tmp_path / "program.c").write_text(PROGRAM)
    (tmp_path / "script.sh").write_text(SCRIPT)
    gcc = ["gcc", "-static", "program.c", "-o", "program"]
    subprocess.run(gcc, cwd=tmp_path, check=True)
    names = ["program", "lacking", *(["script"] if shutil.which("mmdebstrap") else [])]
    suite = [str(tmp_path / "suite.yaml"), *names, "--from", str(tmp_path)]
    results = tmp_path / "results"
    status = main(["payload", *suite, "--results", str(results), "--accel", accel.value])
    (file,) = results.glob("*/result.json")
    found = {trial["case"]: trial for trial in json.loads(file.read_text())["trials"]}
    told = {name: (trial["verdict"], trial["reasons"]) for name, trial in found.items()}
    assert status == 125, told
    assert told["suite.program"] == ("PASS", [])
    assert told["suite.lacking"][0] == "SKIP"
    if "script" in names:
        assert told["suite.script"] == ("PASS", [])
