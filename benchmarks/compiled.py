"""What a benchmark compiles, where numba is there to do it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def njit(function: Function) -> Function:
    """``function`` compiled by numba; where there is none, as it is: the same sums, in hours.

    mypy sees a decorator that keeps the type, whether numba is installed or not.
    """
    try:
        numba = importlib.import_module("numba")
    except ImportError:
        return function
    compiled: Function = numba.njit(cache=True)(function)
    return compiled
