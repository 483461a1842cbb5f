"""Line coverage: from gcov's counters to what each case reached, alone and together.

gcov(1) of the compiler that built the kernel reads its own format; its JSON is read here.  What is
written is lcov's "info" (geninfo(1)), which genhtml makes pages of, with a test name for each case.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import EnvironmentFault

Json = dict[str, Any]


@dataclass(frozen=True)
class Function:
    name: str
    first: int
    last: int


@dataclass(frozen=True)
class FileCoverage:
    """Counts of one source file by line number, and calls of its functions.

    Counters of an SMP kernel are not atomic: a count may be too low, never 0 for what ran often.
    """

    lines: Mapping[int, int]
    functions: Mapping[Function, int]


Coverage = Mapping[str, FileCoverage]
"""By the file's path in the kernel's tree."""


def counted(archive: bytes, notes: Path) -> Coverage:
    """The coverage in a guest's ``archive``; ``notes`` are those kept with the kernel.

    Only the files that count their lines, not the headers that they include.  Raises
    EnvironmentFault where gcov does not understand what it is given.
    """
    gcov = shutil.which("gcov")
    if gcov is None:
        raise EnvironmentFault("there is no gcov", hint="it comes with gcc")
    found: dict[str, FileCoverage] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for object_ in sorted(notes.rglob("*.gcno")):
            name = object_.relative_to(notes).with_suffix("")
            data = _member(archive, name.with_suffix(".gcda"))
            if data is None:
                continue
            place = Path(scratch, *name.parts[:-1])
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{name.name}.gcda").write_bytes(data)
            shutil.copy(object_, place)
            found[f"{name}.c"] = _read(gcov, place, f"{name.name}.gcda", f"{name}.c")
    return found


def _member(archive: bytes, name: Path) -> bytes | None:
    """The counters of an object, whose path in a guest ends like that of its notes."""
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            for member in tar:
                if member.isreg() and member.name.endswith(f"/{name}"):
                    stream = tar.extractfile(member)
                    return stream.read() if stream else None
    except tarfile.TarError as error:
        raise EnvironmentFault(f"the counters of a guest are no archive: {error}") from None
    return None


def _read(gcov: str, place: Path, data: str, source: str) -> FileCoverage:
    done = subprocess.run(
        [gcov, "--json-format", "--stdout", data], cwd=place, capture_output=True, timeout=300
    )
    text = done.stdout
    try:
        if text[:2] == b"\x1f\x8b":
            text = gzip.decompress(text)
        document = json.loads(text.partition(b"\n")[0] or b"{}")
        entries = [each for each in document["files"] if each["file"].endswith(source)]
    except (ValueError, KeyError, TypeError, OSError):
        said = done.stderr.decode("utf-8", "replace").strip()[-300:]
        raise EnvironmentFault(
            f"gcov does not understand the counters of {source}: {said or 'no JSON came'}",
            hint="gcov must be of the gcc that built the kernel",
        ) from None
    lines: dict[int, int] = {}
    functions: dict[Function, int] = {}
    for entry in entries:
        for line in entry["lines"]:
            number = int(line["line_number"])
            lines[number] = lines.get(number, 0) + int(line["count"])
        for each in entry["functions"]:
            function = Function(
                each["demangled_name"], int(each["start_line"]), int(each["end_line"])
            )
            functions[function] = functions.get(function, 0) + int(each["execution_count"])
    return FileCoverage(lines, functions)


def together(many: Iterable[Coverage]) -> Coverage:
    """What any of them reached."""
    lines: dict[str, dict[int, int]] = {}
    functions: dict[str, dict[Function, int]] = {}
    for one in many:
        for name, file in one.items():
            for number, count in file.lines.items():
                all_lines = lines.setdefault(name, {})
                all_lines[number] = all_lines.get(number, 0) + count
            for function, count in file.functions.items():
                calls = functions.setdefault(name, {})
                calls[function] = calls.get(function, 0) + count
    return {name: FileCoverage(lines[name], functions.get(name, {})) for name in sorted(lines)}


def reached(file: FileCoverage) -> int:
    return sum(1 for count in file.lines.values() if count)


def percent(file: FileCoverage) -> float:
    return 100 * reached(file) / len(file.lines) if file.lines else 0.0


def alone(by_case: Mapping[str, Coverage]) -> dict[str, dict[str, list[int]]]:
    """Lines that one case reached and no other, by case and file."""
    owners: dict[tuple[str, int], list[str]] = {}
    for case, coverage in by_case.items():
        for name, file in coverage.items():
            for number, count in file.lines.items():
                if count:
                    owners.setdefault((name, number), []).append(case)
    found: dict[str, dict[str, list[int]]] = {case: {} for case in by_case}
    for (name, number), cases in sorted(owners.items()):
        if len(cases) == 1:
            found[cases[0]].setdefault(name, []).append(number)
    return found


def untouched(all_: Coverage, sources: Path | None = None) -> list[tuple[str, Function, int]]:
    """Functions that nobody entered: file, function and its number of lines, the largest first.

    With ``sources`` without those that only a boot can enter, which are marked so.
    """
    found = []
    for name, file in all_.items():
        entered = {function.name for function, calls in file.functions.items() if calls}
        entered |= _of_the_boot(sources / name, file.functions) if sources else set()
        for function in file.functions:
            size = sum(function.first <= number <= function.last for number in file.lines)
            if function.name not in entered:
                found.append((name, function, size))
    return sorted(found, key=lambda each: (-each[2], each[0], each[1].first))


def _of_the_boot(source: Path, functions: Iterable[Function]) -> set[str]:
    """Those that the source marks ``__init``: their text is freed when the boot ends."""
    try:
        lines = source.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    marked = set()
    for function in functions:
        # gcov's line is that of the name; the mark may stand on the line above.
        head = " ".join(lines[max(0, function.first - 2) : function.first])
        if re.search(r"\b__init\b", head.rpartition(";")[2].rpartition("}")[2]):
            marked.add(function.name)
    return marked


def info(by_case: Mapping[str, Coverage], sources: Path) -> str:
    """lcov's tracefile: a record for each file of each case, named by the case."""
    return "".join(line + "\n" for line in _info(by_case, sources))


def _info(by_case: Mapping[str, Coverage], sources: Path) -> Iterator[str]:
    for case, coverage in by_case.items():
        for name, file in coverage.items():
            # A test's name holds letters, digits and underscores (geninfo(1)).
            yield "TN:" + "".join(c if c.isascii() and c.isalnum() else "_" for c in case)
            yield f"SF:{sources / name}"
            for function in file.functions:
                yield f"FN:{function.first},{function.name}"
            for function, calls in file.functions.items():
                yield f"FNDA:{calls},{function.name}"
            for number, count in sorted(file.lines.items()):
                yield f"DA:{number},{count}"
            yield "end_of_record"


def pages(tracefile: Path, sources: Path, folder: Path) -> None:
    """HTML by genhtml(1).  Raises EnvironmentFault where it is missing or fails."""
    genhtml = shutil.which("genhtml")
    if genhtml is None:
        raise EnvironmentFault(
            "there is no genhtml", hint="it comes with lcov; harness doctor names the packages"
        )
    done = subprocess.run(
        [
            *(genhtml, str(tracefile), "--output-directory", str(folder)),
            *("--prefix", str(sources), "--title", "huge page migration"),
            *("--show-details", "--quiet"),
        ],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=600,
    )
    if done.returncode:
        raise EnvironmentFault(f"genhtml failed: {done.stderr.strip()[-500:]}")


def document(
    by_case: Mapping[str, Coverage], kernel: str, missing: Sequence[str], sources: Path
) -> Json:
    """The figures as JSON; ``missing`` are cases whose guest gave no counters."""
    all_ = together(by_case.values())
    only = alone(by_case)
    return {
        "schema": 1,
        "kernel": kernel,
        "files": {name: _figures(file) for name, file in all_.items()},
        "cases": {
            case: {
                "files": {name: _figures(file) for name, file in coverage.items()},
                "alone": only[case],
            }
            for case, coverage in by_case.items()
        },
        "without_counters": list(missing),
        "untouched": [
            {"file": name, "function": function.name, "line": function.first, "lines": size}
            for name, function, size in untouched(all_, sources)
        ],
    }


def _figures(file: FileCoverage) -> Json:
    return {
        "lines": len(file.lines),
        "reached": reached(file),
        "functions": len({function.name for function in file.functions}),
        "entered": len({function.name for function, n in file.functions.items() if n}),
    }
