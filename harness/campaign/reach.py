"""Which functions of the kernel each case enters, as ``harness coverage --reach`` counted them.

A bug in a function that a case does not enter cannot be caught by it.  The counts are of one kernel
and one run, and of the files that count their lines: whatever else there is, they say nothing of.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from harness.errors import UsageError
from harness.record.coverage import Coverage
from harness.spec.cases import TESTCASES

FILE = TESTCASES / "reach.json"

Reach = Mapping[str, frozenset[str]]
"""Functions by case; a case that was never counted is not in it."""


def load(file: Path = FILE) -> Reach:
    """Empty where there is no such file.  Raises UsageError where it makes no sense."""
    if not file.exists():
        return {}
    try:
        cases = json.loads(file.read_bytes())["cases"]
        return {str(case): frozenset(map(str, names)) for case, names in cases.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{file}: not the functions that cases reach: {error}") from None


def merged(file: Path, kernel: str, by_case: Mapping[str, Coverage]) -> bytes:
    """What ``file`` is to hold: the cases of ``by_case`` anew, the others as they were."""
    found = {case: sorted(names) for case, names in load(file).items()}
    for case, coverage in by_case.items():
        entered = {f.name for each in coverage.values() for f, n in each.functions.items() if n}
        found[case] = sorted(entered)
    text = json.dumps({"kernel": kernel, "cases": dict(sorted(found.items()))}, indent=0)
    return text.replace(',\n"', ', "').encode() + b"\n"
