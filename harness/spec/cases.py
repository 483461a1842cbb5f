"""Finds the test cases: every TestCase at the top level of ``testcases/test_*.py``."""

from __future__ import annotations

import difflib
import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.errors import HarnessError, SpecError
from harness.paths import PROJECT
from harness.spec.case import TestCase

TESTCASES = PROJECT / "testcases"


def load_cases(folder: Path = TESTCASES) -> list[TestCase]:
    """All cases, by name.  Raises SpecError for a file that cannot be imported."""
    cases: dict[str, TestCase] = {}
    for file in sorted(folder.glob("test_*.py")):
        for value in vars(_imported(file)).values():
            if not isinstance(value, TestCase):
                continue
            if cases.setdefault(value.name, value) is not value:
                raise SpecError(f"{file}: a second test case {value.name!r}")
    return [cases[name] for name in sorted(cases)]


def select(names: Sequence[str], folder: Path = TESTCASES) -> list[TestCase]:
    """The cases called ``names``, all of them where there are none.  Raises SpecError."""
    cases = load_cases(folder)
    if not names:
        return cases
    by_name = {case.name: case for case in cases}
    for name in names:
        if name not in by_name:
            near = difflib.get_close_matches(name, by_name, 1)
            hint = f"did you mean {near[0]}?" if near else "there are: " + ", ".join(by_name)
            raise SpecError(f"no test case {name!r} in {folder}", hint=hint)
    return [by_name[name] for name in names]


def quick(cases: Sequence[TestCase]) -> list[TestCase]:
    """The quick suite's part of ``cases``, each with its short time as its own."""
    return [replace(case, seconds=case.quick) for case in cases if case.quick]


def _imported(file: Path) -> object:
    spec = importlib.util.spec_from_file_location(f"harness_testcases.{file.stem}", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except HarnessError:
        raise
    except Exception as error:
        raise SpecError(f"{file}: cannot be imported: {type(error).__name__}: {error}") from None
    return module
