from __future__ import annotations

from pathlib import Path

import pytest

from harness.guest.accel import Accel, choose
from harness.kernel.build import build
from harness.kernel.built import BuiltKernel
from harness.progress import Progress, default_progress
from harness.spec.kernel import load_kernel


@pytest.fixture(scope="session")
def debug_kernel() -> BuiltKernel:
    """v5.10-debug, built where the cache does not have it."""
    return build(load_kernel("v5.10-debug"), progress=default_progress())


@pytest.fixture(scope="session")
def accel() -> Accel:
    return choose(Progress())


@pytest.fixture(autouse=True)
def own_history(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What tests run is no part of anybody's history."""
    file = tmp_path_factory.mktemp("history") / "history.db"
    monkeypatch.setenv("HUGETLB_HARNESS_HISTORY", str(file))
    return file


@pytest.fixture(autouse=True)
def impatient(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake guest does at once what a real one needs time for."""
    if request.node.get_closest_marker("guest"):
        return
    for name in ("DRAIN_QUIET", "DRAIN_LONGEST", "LATE", "SETTLE", "MARKER"):
        monkeypatch.setattr(f"harness.trial.run.{name}", 0.06)
    monkeypatch.setattr("harness.trial.run.POLL", 0.002)
