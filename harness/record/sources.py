"""Lines of kernel source around places of a report, from the trees that kernels were built of."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from typing import Any

from harness.kernel.built import BuiltKernel
from harness.splat.blame import is_machinery
from harness.splat.frames import base_name
from harness.splat.report import Splat

AROUND = 4
"""Lines before and behind the one that is named."""

MOST = 12
"""Excerpts of one report: the top of each stack is what is read."""

_LINE = 200
_PLACE = re.compile(r"([A-Za-z0-9_][\w./-]{0,200}\.[chS]):([1-9]\d{0,6})")
_STACKS = ("pointer", "access", "free", "alloc")
_EACH = 5


def places(splat: Splat) -> list[str]:
    """The places of ``splat`` that are worth showing, the blamed one first."""
    wanted = [splat.place] if splat.place else []
    for stack in sorted(splat.stacks, key=lambda s: (s.name not in _STACKS, s.name != "access")):
        told = [f for f in stack.frames if f.sure and not is_machinery(base_name(f.function))]
        wanted += [frame.place for frame in told if frame.place][:_EACH]
    return list(dict.fromkeys(wanted))[:MOST]


def excerpts(wanted: Sequence[str], kernel: BuiltKernel | None) -> list[dict[str, Any]]:
    """``[{place, first, lines}]``; empty where the source is not at hand.  Never raises."""
    parsed = [found for place in wanted if (found := _PLACE.fullmatch(place))]
    if kernel is None or not parsed:
        return []
    try:
        files = _read({found[1] for found in parsed}, kernel)
    except (OSError, ValueError, KeyError, subprocess.SubprocessError):
        return []
    made = []
    for found in parsed:
        lines = files.get(found[1], [])
        at = int(found[2])
        if at > len(lines):
            continue
        first = max(1, at - AROUND)
        shown = [line[:_LINE] for line in lines[first - 1 : at + AROUND]]
        made.append({"place": found[0], "first": first, "lines": shown})
    return made


def _read(names: Iterable[str], kernel: BuiltKernel) -> dict[str, list[str]]:
    """Files of the kernel's patched tree, out of the store beside the built kernels."""
    folder = kernel.image.parent
    tree = str(json.loads((folder / "meta.json").read_text(encoding="utf-8"))["tree"])
    store = folder.parent.parent / "sources.git"
    files: dict[str, list[str]] = {}
    env = dict(os.environ, GIT_DIR=str(store), GIT_CONFIG_GLOBAL=os.devnull)
    for name in sorted(names):
        argv = ["git", "cat-file", "blob", f"{tree}:{name}"]
        done = subprocess.run(argv, capture_output=True, env=env, timeout=20)
        if done.returncode == 0:
            files[name] = done.stdout.decode("utf-8", "replace").splitlines()
    return files
