"""Where things live: the project's own declarations, and the cache outside of the checkout."""

from __future__ import annotations

import os
from pathlib import Path

from harness.errors import EnvironmentFault

PROJECT = Path(__file__).resolve().parent.parent
"""The checkout: guests/, qemu/, testcases/ and results/ are below it."""


def cache_dir() -> Path:
    """``$HUGETLB_HARNESS_CACHE``, or ``hugetlb-harness`` below the XDG cache directory.

    An empty or relative ``XDG_CACHE_HOME`` is ignored, as the XDG base directory
    specification asks.
    """
    own = os.environ.get("HUGETLB_HARNESS_CACHE")
    if own:
        return Path(own).absolute()
    xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if xdg.is_absolute():
        return xdg / "hugetlb-harness"
    try:
        return Path.home() / ".cache" / "hugetlb-harness"
    except RuntimeError:  # a container's user that /etc/passwd does not know
        raise EnvironmentFault(
            "there is no home directory to keep kernels in",
            hint="set HUGETLB_HARNESS_CACHE to a folder",
        ) from None
