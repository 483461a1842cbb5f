"""Line coverage: real counters of a real gcc, read, added up, and told."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import EnvironmentFault
from harness.guest.seam import Completed
from harness.record.coverage import (
    Coverage,
    alone,
    counted,
    document,
    info,
    pages,
    percent,
    together,
    untouched,
)
from harness.spec.case import TestCase
from harness.spec.cases import select
from harness.trial import gcov
from harness.trial.run import Settings, run
from tests.fake import FakeGuest, Script

SOURCE = """\
#include <string.h>
#define __init __attribute__((used))
static int left(void)
{
	return 1;
}
static int right(void)
{
	int far = 2;
	far *= 3;
	return far;
}
static int __init
booted(void)
{
	return 7;
}
static int nobody(int n)
{
	return n + 1;
}
int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "left"))
		return !left();
	if (argc > 1 && !strcmp(argv[1], "right"))
		return !right();
	return nobody(argc);
}
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As a kernel's build folder: an object with notes, in a folder of the tree."""
    folder = tmp_path_factory.mktemp("build")
    (folder / "mm").mkdir()
    (folder / "mm" / "walk.c").write_text(SOURCE)
    for words in (["-c", "mm/walk.c", "-o", "mm/walk.o"], ["mm/walk.o", "-o", "walk"]):
        subprocess.run(["gcc", "-O0", "--coverage", *words], cwd=folder, check=True)
    return folder


def counters(built: Path, word: str) -> bytes:
    """What a guest sends: the counters below the path that the object was built at."""
    data = built / "mm" / "walk.gcda"
    data.unlink(missing_ok=True)
    subprocess.run([built / "walk", word], check=False)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        tar.add(data, f"./root/work/build/{data.relative_to(built)}")
    return stream.getvalue()


@pytest.fixture
def by_case(built: Path) -> dict[str, Coverage]:
    return {word: counted(counters(built, word), built) for word in ("left", "right")}


def lines_with(text: str) -> list[int]:
    return [n for n, line in enumerate(SOURCE.splitlines(), 1) if text in line]


def test_each_case_reached_what_it_ran(by_case: dict[str, Coverage]) -> None:
    assert list(by_case["left"]) == ["mm/walk.c"]
    (far,) = lines_with("far *= 3")
    assert by_case["right"]["mm/walk.c"].lines[far] == 1
    assert by_case["left"]["mm/walk.c"].lines[far] == 0


def test_what_one_reached_alone(by_case: dict[str, Coverage]) -> None:
    only = alone(by_case)
    assert lines_with("return 1;")[0] in only["left"]["mm/walk.c"]
    assert lines_with("far *= 3")[0] in only["right"]["mm/walk.c"]
    assert not set(only["left"]["mm/walk.c"]) & set(only["right"]["mm/walk.c"])
    assert alone({"a": by_case["left"], "b": by_case["left"]}) == {"a": {}, "b": {}}


def test_functions_that_nobody_entered(by_case: dict[str, Coverage], built: Path) -> None:
    both = together(by_case.values())
    assert {function.name for _, function, _ in untouched(both)} == {"booted", "nobody"}
    assert [function.name for _, function, _ in untouched(both, built)] == ["nobody"]
    assert percent(both["mm/walk.c"]) > percent(by_case["left"]["mm/walk.c"])
    names = {function.name for _, function, _ in untouched(by_case["left"], built)}
    assert names == {"nobody", "right"}


def test_the_tracefile_names_the_cases_and_pages_are_made_of_it(
    by_case: dict[str, Coverage], built: Path, tmp_path: Path
) -> None:
    text = info({"a[1G-x]": by_case["left"]}, built)
    assert "TN:a_1G_x_\n" in text and f"SF:{built}/mm/walk.c\n" in text
    (far,) = lines_with("far *= 3")
    assert f"DA:{far},0\n" in text and "FNDA:1,main\n" in text
    if not shutil.which("genhtml"):
        return
    trace = tmp_path / "t.info"
    trace.write_text(info(by_case, built))
    pages(trace, built, tmp_path / "html")
    assert "walk.c" in (tmp_path / "html" / "mm" / "index.html").read_text()


def test_the_figures_as_json(by_case: dict[str, Coverage], built: Path) -> None:
    found = json.loads(json.dumps(document(by_case, "k", ["c: FAIL"], built)))
    file = found["files"]["mm/walk.c"]
    assert (file["functions"], file["entered"]) == (5, 3)
    assert [each["function"] for each in found["untouched"]] == ["nobody"]
    assert found["without_counters"] == ["c: FAIL"]


def test_counters_of_another_kernel_are_not_understood(built: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        about = tarfile.TarInfo("./x/mm/walk.gcda")
        about.size = 16
        tar.addfile(about, io.BytesIO(os.urandom(16)))
    found = counted(stream.getvalue(), built)
    assert not any(found["mm/walk.c"].lines.values())
    with pytest.raises(EnvironmentFault, match="no archive"):
        counted(b"rubbish", built)


class Counting(FakeGuest):
    def __init__(self, script: Script) -> None:
        super().__init__(script)
        self.asked: list[str] = []

    def run(self, command: str, *, timeout: float = 30.0, stdin: bytes = b"") -> Completed:
        self.asked.append(command)
        if command == gcov.COLLECT:
            return Completed(0, b"archive", b"")
        return super().run(command, timeout=timeout, stdin=stdin)


@pytest.fixture
def case() -> TestCase:
    return select(["anon_fork_migrate"])[0]


def test_counters_are_cleared_before_and_kept_after(case: TestCase) -> None:
    guest = Counting(Script())
    assert run(guest, case, b"", Settings(1, coverage=True)).coverage == b"archive"
    assert guest.asked.index(gcov.RESET) < guest.asked.index(gcov.COLLECT)
    unasked = Counting(Script())
    assert run(unasked, case, b"", Settings(1)).coverage == b""
    assert gcov.RESET not in unasked.asked


def test_what_is_mistyped_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["coverage", "--suite", "quik"]) == 2
    assert main(["coverage", "-k", "a", "-k", "b"]) == 2
    assert main(["coverage", "--dry-run", "migrate_matix"]) == 2
    capsys.readouterr()
    assert main(["coverage", "--dry-run", "--suite", "quick"]) == 0
    assert "anon_fork_migrate" in capsys.readouterr().out
