from __future__ import annotations

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
