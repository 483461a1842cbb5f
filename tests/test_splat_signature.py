"""Signatures, and the looser key under which the heads of one race come together."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.splat.reader import read
from harness.splat.report import Frame, Splat, Stack
from harness.splat.signature import race_key, signature

CONSOLES = Path(__file__).parent / "consoles"


def splat(family: str, function: str, *callers: str, kind: str = "use-after-free") -> Splat:
    frames = tuple(Frame(name, 1, 2) for name in (function, *callers))
    return Splat(
        family, kind, f"in {function}", "", function, 0, 1, stacks=(Stack("access", frames),)
    )


def test_the_heads_of_the_race_of_2020_share_a_key_and_no_signature() -> None:
    found = [read(log.read_bytes())[0] for log in sorted(CONSOLES.glob("v5.10-anon-race-*.log"))]
    assert len(found) >= 3
    assert {race_key(one) for one in found} == {"memory: page migration"}
    heads = {(one.kind, one.function) for one in found}
    assert len({signature(one) for one in found}) == len(heads) >= 4


@pytest.mark.parametrize("family", ["KASAN", "OOPS", "BUG", "LIST"])
def test_the_key_does_not_ask_what_the_compiler_inlined(family: str) -> None:
    inlined = splat(family, "rmap_walk_anon", "migrate_pages", "__x64_sys_move_pages")
    printed = splat(
        *("KASAN", "page_vma_mapped_walk", "try_to_unmap_one", "rmap_walk_anon", "try_to_unmap"),
        *("unmap_and_move_huge_page", "migrate_pages", "__x64_sys_move_pages"),
    )
    assert race_key(inlined) == race_key(printed)


def test_other_operations_have_other_keys() -> None:
    stacks = [
        ("rmap_walk_anon", "migrate_pages", "__x64_sys_move_pages"),
        ("rmap_walk_anon", "shrink_page_list", "shrink_node", "kswapd"),
        ("huge_pte_alloc", "hugetlb_fault", "handle_mm_fault"),
        ("unaccount_page_cache_page", "remove_huge_page", "remove_inode_hugepages"),
        ("region_del", "hugetlb_unreserve_pages", "remove_inode_hugepages"),
        ("anon_vma_interval_tree_remove", "unlink_anon_vmas", "free_pgtables", "exit_mmap"),
    ]
    assert len({race_key(splat("KASAN", *stack)) for stack in stacks}) == len(stacks)


def test_what_was_broken_counts() -> None:
    stack = ("rmap_walk_anon", "migrate_pages")
    keys = {race_key(splat(family, *stack)) for family in ("KASAN", "LOCKDEP", "HUNG")}
    assert len(keys) == 3


def test_without_a_known_operation_the_way_in_counts() -> None:
    deep = splat("KASAN", "nested", "helper", "made_up_open", "do_sys_open", "__x64_sys_open")
    flat = splat("KASAN", "helper", "made_up_open", "do_sys_open", "__x64_sys_open")
    assert race_key(deep) == race_key(flat) == "memory: sys_open > do_sys_open > made_up_open"
    assert race_key(splat("KASAN", "f", "other_open", "do_sys_open", "__x64_sys_open")) != race_key(
        flat
    )


def test_without_a_stack_the_signature_stands_in() -> None:
    bare = Splat("PANIC", "panic", "kernel panic: made up", "", "", 0, 1)
    assert race_key(bare) == signature(bare)


def test_one_bug_on_two_kernels_has_one_signature() -> None:
    old = splat("KASAN", "f")
    new = splat("KASAN", "f", kind="slab-use-after-free")
    assert signature(old) == signature(new) != signature(splat("KASAN", "f", kind="double-free"))
