"""Reports of the kernel's own checkers: memory, locks, context, data structures."""

from __future__ import annotations

from harness.splat.family import Blame, Family
from harness.splat.family import head as _head

# " in func+0x12/0x34", also up to 4.10 " in func+0x12/0x34 at addr ffff...".
_IN = r"(?: (?:in|at) (?:(?P<function>[A-Za-z_$][\w.$]{0,255})|\S))?"
_PLAIN = r"(?:\[ )?(?:INFO|WARNING|BUG): "

CHECKERS: tuple[Family, ...] = (
    # Memory checkers.  mm/kasan/report.c; "slab-use-after-free" since 6.4.
    Family(
        "KASAN",
        "invalid-free",  # which of the two it was could not be told from 4.15 to 6.1
        _head(r"BUG: KASAN: double-free or invalid-free" + _IN),
        "KASAN: invalid-free",
        bars=True,
    ),
    Family(
        "KASAN",
        "{what}",
        _head(r"BUG: KASAN: (?P<what>[a-zA-Z-]{1,40})(?: on address)?" + _IN),
        "KASAN: {kind}{access}",
        bars=True,
    ),
    Family(
        "KFENCE",
        "{what}",
        _head(r"BUG: KFENCE: (?P<what>[a-z -]{1,40}?)(?: (?:read|write))?" + _IN + r"(?:\+|$)"),
        "KFENCE: {kind}{access}",
        bars=True,
    ),
    Family(
        "KMSAN",
        "{what}",
        _head(r"BUG: KMSAN: (?P<what>[a-z-]{1,40})" + _IN),
        "KMSAN: {kind}",
        bars=True,
    ),
    Family(
        "KCSAN",
        "{what}",
        _head(
            r"BUG: KCSAN: (?P<what>[a-z-]{1,40}) in (?P<function>[\w.$]{1,255})"
            r"(?: / (?P<other>[\w.$]{1,255}))?"
        ),
        "KCSAN: {kind}",
        Blame.HEAD,
        bars=True,
        stacked=False,
    ),
    Family(
        "UBSAN",
        "{what}",
        _head(r"UBSAN: (?P<what>[A-Za-z -]{1,40}?) in \S"),
        "UBSAN: {kind}",
        bars=True,
    ),
    Family(
        "KMEMLEAK",
        "memory leak",
        _head(r"(?:\d{4}/\d\d/\d\d \d\d:\d\d:\d\d )?BUG: memory leak"),
        "memory leak",
    ),
    Family(
        "KMEMLEAK",
        "memory leak",
        _head(r"(?:kmemleak: )?unreferenced object 0x"),
        "memory leak",
        young=True,
    ),
    Family(
        "SLUB",
        "{what}",
        _head(
            r"BUG (?!at )[\w:().-]{1,64}(?: ?\([^)]{0,80}\))?: (?P<what>Redzone overwritten|"
            r"Right Redzone overwritten|Left Redzone overwritten|Poison overwritten|"
            r"Object already free|Objects remaining|Freelist|Invalid|Wrong|Bad)"
        ),
        "BUG: {what}",
    ),
    # What is left of a slab report (mm/slub.c print_track(), up to 5.13) whose head was dropped.
    Family(
        "SLUB",
        "remains of a slab report",
        _head(
            r"INFO: (?P<what>Allocated|Freed) in (?P<function>[A-Za-z_$][\w.$]{0,255})"
            r"\+0x\w{1,16}/0x\w{1,16} age="
        ),
        "INFO: {what}",
        Blame.HEAD,
        part=True,
        torn=True,
    ),
    Family(
        "SLUB",
        "remains of a slab report",
        _head(r"INFO: (?P<what>Object|Slab) 0x[0-9a-f]{1,16} (?:@offset=|objects=)"),
        "INFO: {what}",
        Blame.NOBODY,
        part=True,
        torn=True,
    ),
    # Lock checkers.  kernel/locking/lockdep.c; "[ INFO: ... ]" up to 4.10.
    Family(
        "LOCKDEP",
        "circular locking",
        _head(_PLAIN + r"possible circular locking dependency"),
        "possible deadlock",
        Blame.LOCK,
    ),
    Family(
        "LOCKDEP",
        "recursive locking",
        _head(_PLAIN + r"possible recursive locking"),
        "possible deadlock",
        Blame.LOCK,
    ),
    Family(
        "LOCKDEP",
        "irq lock inversion",
        _head(_PLAIN + r"possible irq lock inversion dependency"),
        "possible deadlock",
        Blame.LOCK,
    ),
    # The dependency may be made anywhere; the interrupt that needs the lock is always the same.
    Family(
        "LOCKDEP",
        "irq lock order",
        _head(_PLAIN + r"HARDIRQ-safe -> HARDIRQ-unsafe lock order detected"),
        "possible deadlock",
        Blame.SAFE,
    ),
    Family(
        "LOCKDEP",
        "irq lock order",
        _head(_PLAIN + r"\S{1,40}-safe -> \S{1,40}-unsafe lock order detected"),
        "possible deadlock",
        Blame.LOCK,
    ),
    Family(
        "LOCKDEP",
        "inconsistent lock state",
        _head(_PLAIN + r"inconsistent lock state"),
        "inconsistent lock state",
        Blame.LOCK,
    ),
    Family(
        "LOCKDEP",
        "bad unlock balance",
        _head(r"(?:\[ )?(?P<word>WARNING|BUG): bad unlock balance"),
        "{word}: bad unlock balance",
        Blame.LOCK,
    ),
    Family(
        "LOCKDEP",
        "held lock freed",
        _head(r"(?:\[ )?(?P<word>WARNING|BUG): held lock freed"),
        "{word}: held lock freed",
        Blame.LOCK,
    ),
    Family(
        "LOCKDEP",
        "locks still held",
        _head(r"(?:\[ )?(?P<word>WARNING|BUG): .{0,64}still has locks held"),
        "{word}: still has locks held",
        Blame.LOCK,
    ),
    Family(
        "LOCKDEP",
        "lock held when returning to user space",
        _head(r"(?:\[ )?(?P<word>WARNING|BUG): lock held when returning to user space"),
        "{word}: lock held when returning to user space",
        Blame.LOCK,
        stacked=False,
    ),
    Family(
        "LOCKDEP",
        "nested lock was not taken",
        _head(_PLAIN + r"Nested lock was not taken"),
        "WARNING: nested lock was not taken",
    ),
    Family(
        "LOCKDEP",
        "invalid wait context",
        _head(_PLAIN + r"Invalid wait context"),
        "WARNING: invalid wait context",
        Blame.LOCK,
    ),
    Family(
        "LOCKDEP",
        "suspicious RCU usage",
        _head(r"(?:\[ )?(?P<word>WARNING|INFO): suspicious RCU usage"),
        "{word}: suspicious RCU usage",
    ),
    Family(
        "LOCKDEP",
        "non-static key",
        _head(r"INFO: trying to register non-static key"),
        "INFO: trying to register non-static key",
    ),
    Family(
        "LOCKDEP",
        "out of entries",
        _head(r"BUG: (?P<what>MAX_(?:LOCK|STACK)[A-Z_]{1,40}) too low"),
        "BUG: {what} too low!",
        Blame.NOBODY,
    ),
    Family(
        "SPINLOCK",
        "{what}",
        _head(
            r"BUG: (?P<lock>spinlock|rwlock) (?P<what>bad magic|already unlocked|wrong owner|"
            r"wrong CPU|recursion|lockup|cpu recursion|trylock failure|lockup suspected)"
        ),
        "BUG: {lock} {kind}",
    ),
    # Context checks.  kernel/sched/core.c, kernel/workqueue.c, lib/smp_processor_id.c.
    Family(
        "ATOMIC",
        "sleeping in atomic context",
        _head(r"BUG: sleeping function called from invalid context"),
        "BUG: sleeping function called from invalid context",
    ),
    Family(
        "ATOMIC",
        "scheduling while atomic",
        _head(r"BUG: scheduling while atomic"),
        "BUG: scheduling while atomic",
    ),
    Family(
        "ATOMIC",
        "workqueue leaked lock or atomic",
        _head(r"BUG: workqueue leaked (?:lock or atomic|atomic, lock or RCU)"),
        "BUG: workqueue leaked lock or atomic",
        Blame.CALLER,
        stacked=False,
    ),
    Family(
        "PREEMPT",
        "per-CPU use while preemptible",
        _head(r"BUG: using (?P<what>\w{1,64}\(\)) in preemptible"),
        "BUG: using {what} in preemptible code",
        Blame.CALLER,
    ),
    # Data structures.  lib/list_debug.c, lib/refcount.c, mm/.
    Family(
        "LIST",
        "list corruption",
        _head(r"(?:list_(?:add|del)|slab|prev->next|next->prev)(?: double add| corruption)"),
        "BUG: corrupted list",
        Blame.POINTER,
    ),
    Family(
        "USERCOPY",
        "bad usercopy",
        _head(r"usercopy: [Kk]ernel memory (?:overwrite|exposure) attempt detected"),
        "BUG: bad usercopy",
    ),
    Family(
        "BADPAGE",
        "bad page state",
        _head(r"BUG: Bad page state"),
        "BUG: Bad page state",
    ),
    Family(
        "BADPAGE",
        "bad page cache",
        _head(r"BUG: Bad page cache"),
        "BUG: Bad page cache",
    ),
    Family(
        "BADPAGE",
        "bad page map",
        _head(r"BUG: Bad page map"),
        "BUG: Bad page map",
    ),
    Family(
        "BADPAGE",
        "bad rss counter",
        _head(r"BUG: Bad rss-counter state"),
        "BUG: Bad rss-counter state",
        Blame.NOBODY,
        stacked=False,
    ),
    Family(
        "BADPAGE",
        "page table memory left",
        _head(r"BUG: non-zero pgtables_bytes on freeing mm"),
        "BUG: non-zero pgtables_bytes on freeing mm",
        Blame.NOBODY,
        stacked=False,
    ),
    # pmd_ERROR() and its like: an entry that is neither a table nor a huge page, or a huge page
    # where a table is due.
    Family(
        "BADPAGE",
        "bad page table entry",
        _head(
            r"(?:mm|arch)/[\w./-]{1,64}\.[ch]:\d{1,6}: "
            r"(?P<what>bad (?:pgd|p4d|pud|pmd|pte)) [0-9a-fpx(]"
        ),
        "BUG: {what}",
        Blame.NOBODY,
        stacked=False,
    ),
)
