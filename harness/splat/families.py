"""What a kernel reports, as one table: how a report's first line looks, what it is called, and
where the function to blame stands in it.

Heads are matched at the start of the kernel's text, never searched for in it, so that a program
that prints "WARNING:" is not a report.  Only lines that hold a marker (``prefilter.py``) are
looked at.
The order of the table matters: the first match wins.
"""

from __future__ import annotations

import re

from harness.splat.checkers import CHECKERS
from harness.splat.family import Family, Refinement
from harness.splat.family import head as _head
from harness.splat.faults import FAULTS

FAMILIES: tuple[Family, ...] = (*CHECKERS, *FAULTS)

REFINEMENTS: tuple[Refinement, ...] = (
    Refinement(
        ("WARNING",),
        _head(r"refcount_t: |refcount_error_report|refcount_warn_saturate|lib/refcount\.c"),
        "REFCOUNT",
        "refcount",
        "WARNING: refcount bug",
    ),
    Refinement(("WARNING",), _head(r"ODEBUG: "), "ODEBUG", "odebug", "WARNING: ODEBUG bug"),
    Refinement(
        ("BUG",),
        _head(r"^kernel BUG at mm/usercopy\.c"),
        "USERCOPY",
        "bad usercopy",
        "BUG: bad usercopy",
    ),
    Refinement(
        ("WARNING", "BUG"),
        _head(
            r"^kernel BUG at lib/list_debug\.c"
            r"|^list_(?:add|del) (?:double add|corruption)"
        ),
        "LIST",
        "list corruption",
        "BUG: corrupted list",
    ),
    Refinement(
        ("WARNING",), _head(r"DEBUG_RWSEMS_WARN_ON"), "RWSEM", "rwsem", "WARNING: rwsem bug"
    ),
    Refinement(
        ("WARNING",),
        _head(r"DEBUG_LOCKS_WARN_ON|at kernel/locking/lockdep\.c:"),
        "LOCKDEP",
        "locking bug",
        "WARNING: locking bug",
    ),
    Refinement(
        ("WARNING",), _head(r"at lib/kobject\.c:"), "WARNING", "kobject", "WARNING: kobject bug"
    ),
    Refinement(
        ("WARNING",),
        _head(r"at fs/proc/generic\.c:"),
        "WARNING",
        "proc registration",
        "WARNING: proc registration bug",
    ),
    Refinement(("WARNING",), _head(r"kmalloc_slab"), "WARNING", "kmalloc", "WARNING: kmalloc bug"),
    Refinement(
        ("WARNING",),
        _head(r"zero-size vmalloc|at mm/vmalloc\.c:\d{1,7} __vmalloc_node"),
        "WARNING",
        "zero-size vmalloc",
        "WARNING: zero-size vmalloc",
    ),
)

_NAMED = re.compile(rb"\(\?P<\w{1,20}>")
# One look that says no to nearly all lines, before the table is gone through.
_ANY = re.compile(
    b"|".join(b"(?:%b)" % _NAMED.sub(b"(?:", family.head.pattern) for family in FAMILIES)
)


def head_of(text: bytes) -> tuple[Family, re.Match[bytes]] | None:
    """The family whose report begins with this line of kernel text, if any."""
    if _ANY.match(text) is None:
        return None
    for family in FAMILIES:
        if found := family.head.match(text):
            return family, found
    return None
