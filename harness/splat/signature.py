"""What makes two sightings one bug, and what makes two bugs one race."""

from __future__ import annotations

import hashlib

from harness.splat import blame
from harness.splat.frames import base_name
from harness.splat.operations import operation
from harness.splat.report import Splat

# One wrong access shows as any of these, by whether a checker watched and what lay there.
_MEMORY = frozenset(
    {"KASAN", "KFENCE", "KMSAN", "OOPS", "BUG", "LIST", "SLUB", "BADPAGE", "REFCOUNT"}
)
# Frames that the looser key takes from the way into the kernel, where no operation is known.
_DEPTH = 3


def signature(splat: Splat) -> str:
    """Twelve hexadecimal digits, equal for reports of one family, kind and function.

    Where no function is to blame, the title stands in for it: it holds no addresses or numbers.
    """
    kind = splat.kind.removeprefix("slab-")  # KASAN says "slab-use-after-free" since 6.4
    key = "\0".join((splat.family, kind, splat.function or splat.title))
    return hashlib.sha256(key.encode()).hexdigest()[:12]


def race_key(splat: Splat) -> str:
    """A looser key: what was broken, and in which operation of the kernel.

    A race between page migration and fork shows under many heads (``rmap_walk_anon``,
    ``invalid_migration_vma``, ``page_vma_mapped_walk``...), with one caller in common:
    "memory: page migration".  The innermost operation of ``operations.py`` on the stack counts;
    without one, the way into the kernel does, and without a stack, the signature.
    """
    broken = "memory" if splat.family in _MEMORY else splat.family.lower()
    names = [
        base_name(frame.function)
        for stack in splat.stacks
        if stack.name in {"pointer", "access"}
        for frame in stack.frames
        if frame.sure
    ]
    for name in names:
        if known := operation(name):
            return f"{broken}: {known}"
    inward = [blame.syscall(name) for name in reversed(names) if not blame.is_machinery(name)]
    return f"{broken}: {' > '.join(inward[:_DEPTH])}" if inward else signature(splat)
