"""The operations of memory management that races are between, and the functions that carry
them out, by the names of 4.4 to 6.17.

A function that only helps (an rmap walk, a page table walk) is on no list: it serves several
operations, and the one that it served stands below it on the stack.  Which of an operation's
functions still stands on a stack differs with what the compiler inlined: all mean the same.
"""

from __future__ import annotations

import re
from functools import cache

OPERATIONS: tuple[tuple[str, str], ...] = (
    (
        "page migration",
        r"unmap_and_move(?:_huge_page)?|migrate_pages\w*|migrate_hugetlbs|migrate_folio_(?:unmap"
        r"|move)|remove_migration_ptes|move_to_new_(?:page|folio)|do_move_pages?_to_node"
        r"|move_pages_and_store_status|do_migrate_pages|migrate_to_node",
    ),
    (
        "hugetlb fault",
        r"hugetlb_fault|hugetlb_no_page|hugetlb_(?:cow|wp)|hugetlb_fault_mutex_\w+"
        r"|hugetlb_handle_userfault|hugetlb_(?:mcopy_atomic|mfill_atomic)_pte",
    ),
    ("hugetlb fork", r"copy_hugetlb_page_range"),
    (
        "hugetlb unmap",
        r"_*unmap_hugepage_range\w*|hugetlb_vm_op_close|hugetlb_vmdelete_list"
        r"|unmap_ref_private|hugetlb_unmap_file_folio",
    ),
    ("hugetlb protection change", r"hugetlb_change_protection|hugetlb_unshare_\w+"),
    ("hugetlb remap", r"move_hugetlb_page_tables|move_huge_pte"),
    ("PMD sharing", r"huge_pmd_(?:un)?share"),
    ("hugetlb GUP", r"follow_hugetlb_page|hugetlb_follow_page_mask|follow_huge_\w+"),
    (
        "hugetlbfs truncate",
        r"remove_inode_hugepages|hugetlbfs_(?:punch_hole|fallocate|truncate\w*|evict_inode|setattr)"
        r"|hugetlb_vmtruncate|remove_huge_page|hugetlb_delete_from_page_cache",
    ),
    (
        "hugetlb reservation",
        r"hugetlb_(?:un)?reserve_pages|region_(?:chg|add|del|abort|count)|resv_map_\w+",
    ),
    (
        "hugetlb pool",
        r"_*set_max_huge_pages|_*nr_hugepages_store_common|(?:alloc|add|remove|free)_pool_huge_\w+"
        r"|(?:update_and_free|demote)_(?:pool_)?(?:huge_page|hugetlb_(?:page|folio))\w*"
        r"|remove_(?:pool_)?hugetlb_(?:page|folio)\w*"
        r"|alloc_(?:fresh|surplus|migrate|buddy)_h\w+|free_huge_(?:page|folio)"
        r"|dissolve_free_(?:huge_page|hugetlb_folio)s?|dissolve_free_huge_page|hugetlb_acct_memory"
        r"|gather_surplus_pages|return_unused_surplus_pages|hugetlb_sysctl_handler\w*",
    ),
    ("vmemmap optimisation", r"hugetlb_vmemmap_\w+|vmemmap_remap_\w+"),
    (
        "memory failure",
        r"memory_failure\w*|soft_offline_\w+|unpoison_memory|madvise_inject_error"
        r"|hwpoison_user_mappings|try_memory_failure_hugetlb",
    ),
    (
        "memory offlining",
        r"offline_pages|do_migrate_range|test_pages_isolated|alloc_contig_\w+|scan_movable_pages",
    ),
    ("compaction", r"compact_(?:zone\w*|node\w*)|isolate_migratepages\w*|kcompactd\w*"),
    ("huge page collapse", r"collapse_(?:huge_page|file)|khugepaged\w*|hpage_collapse_\w+"),
    ("huge page split", r"_*split_huge_(?:page\w*|pmd\w*|pud\w*)|_*folio_split|split_folio\w*"),
    ("same-page merging", r"ksm_\w+|try_to_merge_\w+|cmp_and_merge_page|stable_tree_\w+"),
    ("reclaim", r"shrink_(?:node\w*|lruvec|page_list|folio_list|inactive_list|slab)|kswapd\w*"),
    ("userfaultfd", r"handle_userfault|userfaultfd_\w+|mfill_atomic\w*|mcopy_atomic\w*"),
    ("fork", r"dup_mmap|anon_vma_(?:fork|clone)|copy_page_range"),
    ("exit", r"exit_mmap|unlink_(?:anon|file)_vmas?|free_pgtables"),
    ("unmap", r"unmap_(?:region|vmas|single_vma)|(?:__)?do_munmap|do_vmi_\w*munmap"),
    ("remap", r"move_(?:vma|page_tables)|mremap_to"),
    ("protection change", r"mprotect_fixup|change_protection\w*"),
    ("truncate", r"truncate_(?:inode_pages|pagecache|setsize)\w*|unmap_mapping_\w+"),
    ("fault", r"_*handle_mm_fault|do_(?:anonymous_page|wp_page|swap_page|cow_fault|read_fault)"),
)


@cache
def _compiled() -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((name, re.compile(functions)) for name, functions in OPERATIONS)


@cache
def operation(function: str) -> str:
    """What the function is a step of, "" where no operation is known for it."""
    for name, functions in _compiled():
        if functions.fullmatch(function):
            return name
    return ""
