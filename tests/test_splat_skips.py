"""The lists of functions that are not to blame: each entry, on top of a report of its family."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from harness.splat import skips, skips_library, skips_machinery
from harness.splat.dispatch import DISPATCHERS, dispatches
from harness.splat.operations import OPERATIONS, operation
from harness.splat.reader import read

# For each list, a report that it holds for: what stands above the backtrace.
_HEADS = {
    "REPORTING": "BUG: Bad page state in process shuffle  pfn:1a2b3",
    "MACHINERY": "BUG: Bad page state in process shuffle  pfn:1a2b3",
    "ENTRY": "BUG: Bad page state in process shuffle  pfn:1a2b3",
    "LIBRARY": "BUG: Bad page state in process shuffle  pfn:1a2b3",
    "CONSOLE": "BUG: Bad page state in process shuffle  pfn:1a2b3",
    "HELPERS": "BUG: Bad page state in process shuffle  pfn:1a2b3",
    "SLEEPING": "BUG: scheduling while atomic: shuffle/321/0x00000002",
    "WAITING": "INFO: task shuffle:321 blocked for more than 120 seconds.",
    "ALLOCATION": "BUG: memory leak",
    "SLAB": "WARNING: CPU: 1 PID: 77 at mm/slab_common.c:10 kmalloc_slab+0x12/0x90",
    "FREEING": "BUG: KASAN: double-free in kfree+0x44/0x120",
    "OBJECTS": "------------[ cut here ]------------\nODEBUG: free active\n"
    "WARNING: CPU: 1 PID: 77 at lib/debugobjects.c:1 debug_print_object+0x1/0x2",
    "RCU": "WARNING: suspicious RCU usage",
    "KEYS": "INFO: trying to register non-static key.",
}
_STALL = "rcu: INFO: rcu_preempt self-detected stall on CPU"


def entries() -> Iterator[tuple[str, str, str]]:
    for module in (skips_machinery, skips_library, skips):
        for name, held in vars(module).items():
            if (
                name.isupper()
                and isinstance(held, tuple)
                and held
                and module.__name__ in _home(name)
            ):
                yield from ((name, pattern, example) for pattern, example in held)


def _home(name: str) -> str:
    """The module that a list is written in, for lists are imported from one to the other."""
    for module in (skips_machinery, skips_library):
        if hasattr(module, name):
            return module.__name__
    return skips.__name__


@pytest.mark.parametrize(("name", "pattern", "example"), list(entries()))
def test_an_entry_keeps_the_blame_off_its_function(name: str, pattern: str, example: str) -> None:
    assert re.fullmatch(pattern, example)
    if name == "INTERRUPT":
        head, rest = (
            _STALL,
            (f" {example}+0x1/0x2", " guilty_function+0x1/0x2", " do_syscall_64+0x1/0x2"),
        )
    else:
        head = _HEADS[name]
        rest = (f" {example}+0x1/0x2", " guilty_function+0x1/0x2", " honest_caller+0x1/0x2")
    section = "  backtrace:" if head == "BUG: memory leak" else "Call Trace:"
    text = "".join(
        f"[   12.000000][    T1] {line}\n" for line in (*head.split("\n"), section, *rest)
    )
    (splat,) = read(text.encode())
    assert splat.function == "guilty_function"


def test_every_list_has_a_report_to_be_tried_on() -> None:
    assert {name for name, _, _ in entries()} == {*_HEADS, "INTERRUPT"}


@pytest.mark.parametrize(
    "function", ["rmap_walk_anon", "unmap_and_move_huge_page", "hugetlb_fault"]
)
@pytest.mark.parametrize("name", sorted({name for name, _, _ in entries()} - {"WAITING"}))
def test_no_list_excuses_what_the_bench_is_about(name: str, function: str) -> None:
    found = [held for held, pattern, _ in entries() if re.fullmatch(pattern, function)]
    assert name not in found


def test_dispatchers_and_operations_are_whole_names() -> None:
    assert dispatches("do_syscall_64")
    assert not dispatches("my_do_syscall_64")
    assert operation("migrate_pages") == "page migration"
    assert operation("not_migrate_pages") == ""
    assert all(re.compile(p) for _, group in DISPATCHERS for p in group)
    assert len({name for name, _ in OPERATIONS}) == len(OPERATIONS)
