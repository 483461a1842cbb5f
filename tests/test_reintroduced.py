"""Each bug that is brought back applies to the control as it stands, alone and instrumented."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.kernel.patch import apply_all
from harness.kernel.source import resolve
from harness.kernel.store import Store
from harness.paths import cache_dir
from harness.progress import Progress
from harness.spec.cases import load_cases
from harness.spec.kernel import GUESTS, load_kernel

BUGS = sorted((GUESTS / "patches" / "reintroduce").glob("*.patch"))
NEWER = sorted((GUESTS / "patches" / "reintroduce").glob("v*/*.patch"))
MORE = sorted((GUESTS / "patches" / "more").glob("*.patch"))
INSTRUMENTS = sorted((GUESTS / "patches" / "instrument").glob("*.patch"))


@pytest.mark.build
@pytest.mark.parametrize("extra", [[], INSTRUMENTS], ids=["alone", "instrumented"])
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.stem)
def test_bug_applies_to_the_control(bug: Path, extra: list[Path]) -> None:
    control = load_kernel("v5.10-debug")
    source = resolve(control, cache_dir(), Progress())
    done = apply_all(Store.open(cache_dir()), source.tree, [*control.patches, bug, *extra])
    assert done.inexact == ()


@pytest.mark.build
@pytest.mark.parametrize("bug", MORE, ids=lambda bug: bug.stem)
def test_bug_of_the_other_list_applies(bug: Path) -> None:
    control = load_kernel("v5.10-debug")
    source = resolve(control, cache_dir(), Progress())
    done = apply_all(Store.open(cache_dir()), source.tree, [*control.patches, bug])
    assert done.inexact == ()


@pytest.mark.build
@pytest.mark.parametrize("bug", NEWER, ids=lambda bug: f"{bug.parent.name}-{bug.stem}")
def test_bug_applies_to_a_newer_control(bug: Path) -> None:
    control = load_kernel(f"{bug.parent.name}-debug")
    source = resolve(control, cache_dir(), Progress())
    done = apply_all(Store.open(cache_dir()), source.tree, [*control.patches, bug])
    assert done.inexact == ()


def test_bugs_of_newer_kernels_are_those_of_the_list() -> None:
    assert {bug.stem for bug in NEWER} <= {bug.stem for bug in BUGS}


def test_no_case_claims_a_bug_that_is_not_there() -> None:
    claimed = {name for case in load_cases() for name in case.catches}
    assert claimed <= {bug.stem for bug in BUGS}
