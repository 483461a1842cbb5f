"""Where things live: the project's own declarations, and the cache outside of the checkout."""

from __future__ import annotations

import os
from pathlib import Path

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
    base = xdg if xdg.is_absolute() else Path.home() / ".cache"
    return base / "hugetlb-harness"
