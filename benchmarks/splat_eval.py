"""The evaluators' door to the splat reader: ``read(log) -> list of dicts``.

The keys are those that a labelled corpus of consoles is compared by: kind (a coarse class),
title, function, access, corrupted, and start (a byte offset in the UTF-8 text); there are more.
``harness splats --json -`` prints the same, an object a line.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness.splat import reader
from harness.splat.shown import Json, as_json, listed


def read(log: str) -> list[Json]:
    """What the reader finds in a console, but for what is no bug (a process killed for memory).

    What came of a report (the panic behind an Oops) is an entry of its own behind it, and says
    so in ``follows``.
    """
    found = reader.read(log.encode("utf-8", "surrogatepass"))
    return [as_json(one) for splat in found if splat.is_bug for one in listed(splat)]
