"""What makes two sightings one bug."""

from __future__ import annotations

import hashlib

from harness.splat.report import Splat


def signature(splat: Splat) -> str:
    """Twelve hexadecimal digits, equal for reports of one family, kind and function.

    Where no function is to blame, the title stands in for it: it holds no addresses or numbers.
    """
    key = "\0".join((splat.family, splat.kind, splat.function or splat.title))
    return hashlib.sha256(key.encode()).hexdigest()[:12]
