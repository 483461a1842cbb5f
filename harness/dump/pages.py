"""What huge pages are like in a kernel's memory: run by drgn, on a dump alone.

harness drgn DUMP, or: drgn -c DUMP --vmcoreinfo NOTE -s VMLINUX pages.py

It prints the pools of each node, what each CPU was about, the pages that its stack speaks of with
their anon_vma or mapping, all other huge pages that are in use, and the reservation maps.
The dump may be of a kernel whose lists are broken: what cannot be read is told and passed over.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from itertools import islice

from drgn import FaultError, Object, Program, StackFrame, cast
from drgn.helpers.common.format import escape_ascii_string
from drgn.helpers.linux.cpumask import for_each_online_cpu
from drgn.helpers.linux.hugetlb import for_each_hstate, huge_page_size
from drgn.helpers.linux.list import list_count_nodes, list_for_each_entry
from drgn.helpers.linux.mm import (
    PageHead,
    compound_head,
    for_each_vma,
    page_to_pfn,
)
from drgn.helpers.linux.mmzone import for_each_online_pgdat
from drgn.helpers.linux.pid import for_each_task
from drgn.helpers.linux.rbtree import rbtree_inorder_for_each_entry
from drgn.helpers.linux.sched import cpu_curr
from drgn.helpers.linux.slab import slab_object_info

VM_HUGETLB, VM_MAYSHARE = 0x00400000, 0x00000080
MAPPING_ANON, MAPPING_FLAGS = 1, 3
RESV_OWNER, RESV_UNMAPPED, RESV_FLAGS = 1, 2, 3
MOST = 64
"""Entries of any list: one that is broken may have no end."""
FRAMES = 48
_SHADOW = 0xDFFFFC0000000000
"""KASAN_SHADOW_OFFSET of x86-64."""
_UNREADABLE = (FaultError, LookupError, AttributeError, TypeError, ValueError)

# Of enum ttu_flags (include/linux/rmap.h) the one that says that the caller holds the lock of the
# reverse map: i_mmap_rwsem of a file, the rwsem of an anon_vma's root.
_TTU_RMAP_LOCKED = "TTU_RMAP_LOCKED"


def main(prog: Program) -> None:
    for title, show in (
        ("pools", pools),
        ("what each CPU was about", cpus),
        ("huge pages in use", active),
        ("reservation maps", reservations),
    ):
        print(f"== {title}")
        for line in _readable(show(prog)):
            print(line)
        print()


def _readable(lines: Iterator[str]) -> Iterator[str]:
    """``lines`` until memory cannot be followed any further."""
    try:
        yield from lines
    except _UNREADABLE as error:
        yield f"  (cannot be read further: {type(error).__name__}: {error})"


def pools(prog: Program) -> Iterator[str]:
    for h in for_each_hstate(prog):
        if not h.nr_huge_pages and not h.nr_overcommit_huge_pages:
            continue
        yield (
            f"{int(huge_page_size(h)) >> 20} MiB: {int(h.nr_huge_pages)} pages,"
            f" {int(h.free_huge_pages)} free, {int(h.resv_huge_pages)} reserved,"
            f" {int(h.surplus_huge_pages)} surplus"
            f" (persistent wanted {int(h.max_huge_pages)},"
            f" overcommit {int(h.nr_overcommit_huge_pages)})"
        )
        for pgdat in for_each_online_pgdat(prog):
            node = int(pgdat.node_id)
            listed = list_count_nodes(h.hugepage_freelists[node].address_of_())
            free = int(h.free_huge_pages_node[node])
            wrong = "" if listed == free else f"  BUT the free list has {listed}"
            yield (
                f"  node {node}: {int(h.nr_huge_pages_node[node])} pages, {free} free,"
                f" {int(h.surplus_huge_pages_node[node])} surplus{wrong}"
            )


def cpus(prog: Program) -> Iterator[str]:
    """Each CPU's task, its stack, and what the stack's variables point to."""
    for cpu in for_each_online_cpu(prog):
        task = cpu_curr(prog, cpu)
        yield f"CPU {cpu}: task {int(task.pid)} ({_comm(task)})"
        try:
            frames = list(prog.stack_trace(task))[:FRAMES]
        except _UNREADABLE as error:
            yield f"  (no stack: {error})"
            continue
        told: set[tuple[str, int]] = set()
        for number, frame in enumerate(frames):
            yield f"  #{number:<2} {frame.name}{_place(frame)}"
            yield from _readable(_variables(prog, frame, told))


def _place(frame: StackFrame) -> str:
    try:
        file, line, _ = frame.source()
    except _UNREADABLE:
        return ""
    return f" ({file}:{line})"


_KINDS: dict[str, Callable[[Object], Iterator[str]]] = {}
"""What is told of a variable of a frame, by the type that it points to."""


def _variables(prog: Program, frame: StackFrame, told: set[tuple[str, int]]) -> Iterator[str]:
    for name in frame.locals():
        value = frame[name]
        if value.absent_:
            continue
        kind = value.type_.type_name().replace("const ", "")
        if kind == "enum ttu_flags" or name == "ttu":
            yield f"       {name} = {_ttu(prog, int(value))}"
        elif name == "mapping_locked":
            yield f"       {name} = {bool(value)}"
        elif kind in _KINDS and value:
            if (kind, int(value)) in told:
                continue
            told.add((kind, int(value)))
            if kind in _PAGES and not _is_huge(_page(value)):
                continue
            yield f"       {name} = ({kind}){int(value):#x}{_slab(prog, int(value))}"
            if kind == "struct vm_area_struct *" and _slab(prog, int(value)):
                continue
            for line in _readable(_KINDS[kind](value)):
                yield "         " + line


def _ttu(prog: Program, value: int) -> str:
    names = [
        str(each.name)
        for each in prog.type("enum ttu_flags").enumerators or ()
        if each.value and value & each.value == each.value
    ]
    said = ", which says that the caller holds the lock of the reverse map"
    return f"{value:#x} ({' | '.join(names)}){said if _TTU_RMAP_LOCKED in names else ''}"


def _slab(prog: Program, address: int) -> str:
    """Whether the object is one that was given back; empty where it was not, or nobody knows."""
    cache, allocated = "", True
    with contextlib.suppress(*_UNREADABLE):
        if info := slab_object_info(prog, address):
            cache = f" to slab {escape_ascii_string(info.slab_cache.name.string_())}"
            allocated = bool(info.allocated)
    if _poisoned(prog, address):
        return f" FREED{cache}, in KASAN's quarantine" if allocated else f" FREED{cache}"
    return "" if allocated else f" FREED{cache}"


def _poisoned(prog: Program, address: int) -> bool:
    """Whether generic KASAN's shadow says that the object is free; the allocator itself takes what
    is in the quarantine for allocated (mm/kasan/kasan.h: KASAN_KMALLOC_FREE, its FREETRACK).
    """
    with contextlib.suppress(*_UNREADABLE):
        prog.symbol("__asan_load8")
        return prog.read_u8((address >> 3) + _SHADOW & 0xFFFFFFFFFFFFFFFF) in (0xFA, 0xFB)
    return False


def _is_huge(page: Object) -> bool:
    """The end of a list of pages looks like one, and is in no memory map."""
    try:
        if _node(page) < 0:
            return False
        head = compound_head(page)
        return bool(PageHead(head)) and _order(head) >= 9
    except _UNREADABLE:
        return False


def _page(value: Object) -> Object:
    """A folio as its first page."""
    return cast("struct page *", value)


def _order(head: Object) -> int:
    tail = head + 1
    if tail.type_.type.has_member("compound_order"):  # before 6.3
        return int(tail.compound_order)
    folio = cast("struct folio *", head)
    return int(folio.member_("_flags_1" if _has(folio, "_flags_1") else "_folio_order")) & 0xFF


def _has(pointer: Object, member: str) -> bool:
    return bool(pointer.type_.type.has_member(member))


def describe(page: Object) -> Iterator[str]:
    """A huge page: where it is, who has it, and what maps it."""
    head = compound_head(page)
    prog = head.prog_
    pfn = int(page_to_pfn(head))
    mapping = int(head.mapping)
    if mapping & MAPPING_ANON:
        what = "anonymous"
    elif mapping:
        what = "of a file"
    else:
        what = "without a mapping"
    yield (
        f"pfn {pfn:#x}, node {_node(head)}, order {_order(head)}, {what}, index {int(head.index)},"
        f" {int(head._refcount.counter)} references, mapped {_mapcount(head)} times"
    )
    yield f"flags {' '.join(_flags(head))}"
    if own := _own_flags(head):
        yield f"hugetlb's own flags: {own}"
    if mapping & MAPPING_ANON:
        anon_vma = Object(prog, "struct anon_vma *", value=mapping & ~MAPPING_FLAGS)
        yield f"anon_vma {int(anon_vma):#x}{_slab(prog, int(anon_vma))}"
        for line in _readable(reverse_map(anon_vma)):
            yield "  " + line
    elif mapping:
        yield from _readable(file_map(Object(prog, "struct address_space *", value=mapping)))


def _flags(head: Object) -> Iterator[str]:
    """Each flag by its first name: some have further ones, for other kinds of pages."""
    flags, seen = int(getattr(head.flags, "f", head.flags)), set()
    known = head.prog_.type("enum pageflags").enumerators or ()
    if int(head.mapping) & MAPPING_ANON:
        known = sorted(known, key=lambda each: each.name != "PG_anon_exclusive")
    for each in known:
        if each.value not in seen and str(each.name) != "__NR_PAGEFLAGS":
            seen.add(each.value)
            if flags >> each.value & 1:
                yield str(each.name).removeprefix("PG_")


def _own_flags(head: Object) -> str:
    """enum hugetlb_page_flags, which the head's private word holds since 5.12; empty before."""
    try:
        known = head.prog_.type("enum hugetlb_page_flags").enumerators or ()
    except LookupError:
        return ""
    word = int(head.private)
    names = (str(each.name) for each in known if word >> each.value & 1)
    return " ".join(name.removeprefix("HPG_") for name in names) or "none"


def _node(page: Object) -> int:
    """By the page frame's number; -1 where no node has it."""
    pfn = int(page_to_pfn(page))
    for pgdat in for_each_online_pgdat(page.prog_):
        if 0 <= pfn - int(pgdat.node_start_pfn) < int(pgdat.node_spanned_pages):
            return int(pgdat.node_id)
    return -1


def _mapcount(head: Object) -> int:
    tail = head + 1
    if _has(tail, "compound_mapcount"):  # before 6.2
        return int(tail.compound_mapcount.counter) + 1
    folio = cast("struct folio *", head)
    if _has(folio, "_large_mapcount"):  # since 6.10
        return int(folio._large_mapcount.counter) + 1
    return int(folio._entire_mapcount.counter) + 1


def _rwsem(lock: Object) -> str:
    """What struct rw_semaphore's count and owner say (kernel/locking/rwsem.c)."""
    count = int(lock.count.counter)
    if not count:
        return "NOT HELD by anybody"
    owner = int(lock.owner.counter)
    task = Object(lock.prog_, "struct task_struct *", value=owner & ~7)
    who = ""
    try:
        who = f", owner last seen {int(task.pid)} ({_comm(task)})" if task else ""
    except _UNREADABLE:
        who = f", owner {owner:#x}"
    writer = "for writing" if count & 1 else f"by {count >> 8} readers"
    return f"held {writer}{who}"


def reverse_map(anon_vma: Object) -> Iterator[str]:
    """Which areas the reverse map has, and whether somebody holds its lock."""
    root = anon_vma.root
    yield (
        f"root {int(root):#x}{_slab(root.prog_, int(root))}, rwsem {_rwsem(root.rwsem)},"
        f" {int(anon_vma.refcount.counter)} references"
    )
    chains = rbtree_inorder_for_each_entry(
        "struct anon_vma_chain", anon_vma.rb_root.rb_root.address_of_(), "rb"
    )
    yield from _first(
        f"chain {int(chain):#x}{_slab(chain.prog_, int(chain))} -> area {_area(chain.vma)}"
        for chain in chains
    )


def file_map(mapping: Object) -> Iterator[str]:
    inode = mapping.host
    yield (
        f"mapping {int(mapping):#x}, inode {int(inode.i_ino)}, {int(mapping.nrpages)} pages,"
        f" i_mmap_rwsem {_rwsem(mapping.i_mmap_rwsem)}"
    )
    areas = rbtree_inorder_for_each_entry(
        "struct vm_area_struct", mapping.i_mmap.rb_root.address_of_(), "shared.rb"
    )
    yield from _first(f"area {_area(vma)}" for vma in areas)
    yield from _readable(_regions("reservations, the file's map", _map_of(inode)))


def _map_of(inode: Object) -> Object:
    """The map of a file of hugetlbfs."""
    data = inode.i_data
    since_6_8 = data.type_.has_member("i_private_data")
    private = data.member_("i_private_data" if since_6_8 else "private_data")
    return cast("struct resv_map *", private)


def _first(lines: Iterator[str]) -> Iterator[str]:
    """As many as a page shows: the tree of a kernel that has lost a race may have no end."""
    for number, line in enumerate(lines):
        if number == MOST:
            yield "... and more"
            return
        yield line


def _area(vma: Object) -> str:
    freed = _slab(vma.prog_, int(vma))
    if freed:
        return f"{int(vma):#x}{freed}"
    return f"{int(vma):#x} [{int(vma.vm_start):#x}, {int(vma.vm_end):#x}) of mm {int(vma.vm_mm):#x}"


def active(prog: Program) -> Iterator[str]:
    """Huge pages that are on no free list."""
    for h in for_each_hstate(prog):
        head = h.hugepage_activelist.address_of_()
        for number, page in enumerate(list_for_each_entry("struct page", head, "lru")):
            if number == MOST:
                yield "  ... and more"
                break
            yield f"page {int(page):#x}"
            for line in _readable(describe(page)):
                yield "  " + line


def reservations(prog: Program) -> Iterator[str]:
    """The maps of files, and of private areas, with the areas that they belong to."""
    seen: set[int] = set()
    for task in for_each_task(prog):
        if not task.mm or int(task.mm) in seen:
            continue
        seen.add(int(task.mm))
        for vma in for_each_vma(task.mm):
            if int(vma.vm_flags) & VM_HUGETLB:
                yield f"task {int(task.pid)} ({_comm(task)}), area {_area(vma)}"
                for line in _readable(_reserved(vma)):
                    yield "  " + line
    if not seen:
        yield "no task with memory was found"


def _reserved(vma: Object) -> Iterator[str]:
    prog = vma.prog_
    if int(vma.vm_flags) & VM_MAYSHARE:
        yield from _regions("shared, the file's map", _map_of(vma.vm_file.f_inode))
        yield from _vma_lock(vma)
        return
    word = int(vma.vm_private_data)
    owner = "the owner of its reservations" if word & RESV_OWNER else "no owner of reservations"
    unmapped = ", it lost pages to its owner" if word & RESV_UNMAPPED else ""
    resv = Object(prog, "struct resv_map *", value=word & ~RESV_FLAGS)
    yield from _regions(f"private, {owner}{unmapped}", resv)
    if resv and _has(resv, "rw_sema"):  # since 6.6 it is the lock of a private area's page tables
        yield f"  rw_sema {_rwsem(resv.rw_sema)}"


def _vma_lock(vma: Object) -> Iterator[str]:
    """Since 6.1 a lock of each shared area keeps its page tables from being unshared."""
    with contextlib.suppress(LookupError):
        lock = cast("struct hugetlb_vma_lock *", vma.vm_private_data)
        if lock:
            freed = _slab(vma.prog_, int(lock))
            yield f"vma lock {int(lock):#x}{freed}, {_rwsem(lock.rw_sema)}"


def _regions(about: str, resv: Object) -> Iterator[str]:
    if not resv:
        yield f"{about}: no map"
        return
    listed = list_for_each_entry("struct file_region", resv.regions.address_of_(), "link")
    shown = [
        f"[{int(region.member_('from'))}, {int(region.to)})" for region in islice(listed, MOST)
    ]
    refs = int(resv.refs.refcount.refs.counter)
    yield (
        f"{about} {int(resv):#x}{_slab(resv.prog_, int(resv))}:"
        f" regions {' '.join(shown) or 'none'},"
        f" {int(resv.adds_in_progress)} being added, {refs} references"
    )


def _comm(task: Object) -> str:
    """A task may be called anything, escape codes too."""
    return re.sub(r"[^\x20-\x7e]", "?", escape_ascii_string(task.comm.string_()))


_PAGES = ("struct page *", "struct folio *")
_KINDS |= {
    "struct page *": describe,
    "struct folio *": lambda folio: describe(_page(folio)),
    "struct anon_vma *": reverse_map,
    "struct vm_area_struct *": lambda vma: iter([f"area {_area(vma)}"]),
    "struct address_space *": file_map,
}


if __name__ == "__main__":  # by drgn, which gives the dump as "prog"
    main(globals()["prog"])
