"""Reports in the shape that kernels print them, written by hand, one for each kind."""

from __future__ import annotations

from dataclasses import dataclass

TRACE = (
    "CPU: 1 PID: 321 Comm: shuffle Not tainted 5.10.218 #1",
    "Call Trace:",
    " dump_stack+0x9a/0xc0",
    " ? stale_on_stack+0x1/0x2",
    " guilty_function.isra.0+0x44/0x120",
    " honest_caller+0x21/0x60",
    " do_syscall_64+0x33/0x40",
)
FAULT = (
    "CPU: 0 PID: 77 Comm: shuffle Not tainted 6.1.0 #2",
    "RIP: 0010:guilty_function+0x12/0x90",
    "Code: 48 89 e5 41 54 <48> 8b 07",
    "RAX: 0000000000000000 RBX: ffff888004d0c000 RCX: 0000000000000001",
    "Call Trace:",
    " <TASK>",
    " honest_caller+0x21/0x60",
    " </TASK>",
    "---[ end trace 0000000000000000 ]---",
)
WARNED = ("Modules linked in:", *FAULT)
# What loops is called by guilty_function, which the system call's table calls.
STALL = (
    "CPU: 1 PID: 321 Comm: shuffle Not tainted 5.10.218 #1",
    "Call Trace:",
    " <IRQ>",
    " dump_stack+0x9a/0xc0",
    " rcu_sched_clock_irq+0x400/0x800",
    " update_process_times+0x50/0x90",
    " asm_sysvec_apic_timer_interrupt+0x12/0x20",
    " </IRQ>",
    "RIP: 0010:loops_for_ever+0x7/0x40",
    " helper_of_it+0x10/0x30",
    " guilty_function+0x44/0x120",
    " do_syscall_64+0x33/0x40",
)
BAR = "=" * 66


@dataclass(frozen=True)
class Sample:
    """``lines`` without prefix; what the reader makes of them."""

    lines: tuple[str, ...]
    family: str
    kind: str
    title: str
    function: str = "guilty_function"
    access: str = ""
    size: int = 0


def kasan(what: str, access: str = "Read", size: int = 8) -> Sample:
    return Sample(
        (
            BAR,
            f"BUG: KASAN: {what} in guilty_function+0x44/0x120",
            f"{access} of size {size} at addr ffff88800abcd010 by task shuffle/321",
            "",
            *TRACE,
            "",
            "Allocated by task 300:",
            " kasan_save_stack+0x1b/0x40",
            " object_maker+0x30/0x80",
            "",
            "Freed by task 301:",
            " kfree+0x90/0x200",
            " object_breaker+0x12/0x40",
            "",
            "Memory state around the buggy address:",
            ">ffff88800abcd000: fb fb fb fb fb fb fb fb fb fb fb fb fb fb fb fb",
            BAR,
        ),
        "KASAN",
        what,
        f"KASAN: {what} {access} in guilty_function",
        access=access.lower(),
        size=size,
    )


def lockdep(words: str, kind: str, title: str, *body: str) -> Sample:
    return Sample(
        (
            "=" * 54,
            words,
            "5.10.218 #1 Not tainted",
            "-" * 54,
            *body,
            "",
            "stack backtrace:",
            *TRACE,
        ),
        "LOCKDEP",
        kind,
        title,
    )


_WANTS = (
    "shuffle/321 is trying to acquire lock:",
    "ffff888004d0c0a8 (&made_up->lock){+.+.}-{3:3}, at: guilty_function+0x44/0x120",
    "",
    "but task is already holding lock:",
    "ffff888004d0c1b8 (&other->lock){+.+.}-{3:3}, at: innocent_holder+0x10/0x50",
)


def head(text: str, family: str, kind: str, title: str, *, body: tuple[str, ...] = TRACE) -> Sample:
    return Sample((text, *body), family, kind, title)


def bare(text: str, family: str, kind: str, title: str, function: str = "") -> Sample:
    return Sample((text,), family, kind, title, function)


def warned(said: str, at: str, family: str, kind: str, title: str) -> Sample:
    """A warning in a function that only found out what its caller did."""
    return Sample(
        (
            "------------[ cut here ]------------",
            said,
            f"WARNING: CPU: 0 PID: 77 at {at}+0x12/0x90",
            "CPU: 0 PID: 77 Comm: shuffle Not tainted 5.10.218 #2",
            f"RIP: 0010:{at.split()[1]}+0x12/0x90",
            "Call Trace:",
            " guilty_function+0x21/0x60",
            "---[ end trace 1111111111111111 ]---",
        ),
        family,
        kind,
        f"{title} in guilty_function",
    )


SAMPLES: dict[str, Sample] = {
    "kasan uaf": kasan("use-after-free"),
    "kasan slab uaf": kasan("slab-use-after-free", "Write", 4),
    "kasan slab oob": kasan("slab-out-of-bounds", "Write", 1),
    "kasan global oob": kasan("global-out-of-bounds"),
    "kasan stack oob": kasan("stack-out-of-bounds"),
    "kasan null": kasan("null-ptr-deref"),
    "kasan user": kasan("user-memory-access"),
    "kasan wild": kasan("wild-memory-access"),
    "kasan double free": Sample(
        (BAR, "BUG: KASAN: double-free in guilty_function+0x44/0x120", *TRACE, BAR),
        "KASAN",
        "double-free",
        "KASAN: double-free in guilty_function",
    ),
    "kasan either free": Sample(
        (BAR, "BUG: KASAN: double-free or invalid-free in guilty_function+0x44/0x120", *TRACE, BAR),
        "KASAN",
        "invalid-free",
        "KASAN: invalid-free in guilty_function",
    ),
    "kasan invalid free": Sample(
        (BAR, "BUG: KASAN: invalid-free in guilty_function+0x44/0x120", *TRACE, BAR),
        "KASAN",
        "invalid-free",
        "KASAN: invalid-free in guilty_function",
    ),
    "kfence": Sample(
        (
            BAR,
            "BUG: KFENCE: use-after-free read in guilty_function+0x44/0x120",
            "",
            "Use-after-free read at 0xffff88800abcd010 (in kfence-#7):",
            " guilty_function+0x44/0x120",
            " honest_caller+0x21/0x60",
            BAR,
        ),
        "KFENCE",
        "use-after-free",
        "KFENCE: use-after-free in guilty_function",
        access="read",
    ),
    "kmsan": Sample(
        (
            "=====================================================",
            "BUG: KMSAN: uninit-value in guilty_function+0x44/0x120",
            " guilty_function+0x44/0x120",
            " honest_caller+0x21/0x60",
            "",
            "Uninit was created at:",
            " kmem_cache_alloc_node+0x579/0xa70",
            " object_maker+0x30/0x80",
            "",
            "CPU: 1 PID: 321 Comm: shuffle Not tainted 6.1.0 #2",
            "=====================================================",
        ),
        "KMSAN",
        "uninit-value",
        "KMSAN: uninit-value in guilty_function",
    ),
    "kcsan": Sample(
        (
            BAR,
            "BUG: KCSAN: data-race in guilty_function / honest_caller",
            "",
            "write to 0xffff88800abcd010 of 8 bytes by task 321 on cpu 1:",
            " guilty_function+0x44/0x120",
            "",
            "read to 0xffff88800abcd010 of 8 bytes by task 322 on cpu 0:",
            " honest_caller+0x21/0x60",
            BAR,
        ),
        "KCSAN",
        "data-race",
        "KCSAN: data-race in guilty_function / honest_caller",
        access="write",
        size=8,
    ),
    "slub": Sample(
        (
            "BUG kmalloc-64 (Not tainted): Right Redzone overwritten",
            "-" * 77,
            "",
            "0xffff88800abcd040-0xffff88800abcd047 @offset=64. First byte 0x0 instead of 0xcc",
            *TRACE,
        ),
        "SLUB",
        "right redzone overwritten",
        "BUG: Right Redzone overwritten in guilty_function",
    ),
    "preempt": Sample(
        (
            "BUG: using smp_processor_id() in preemptible [00000000] code: shuffle/321",
            "caller is guilty_function+0x44/0x120",
            *TRACE,
        ),
        "PREEMPT",
        "per-cpu use while preemptible",
        "BUG: using smp_processor_id() in preemptible code in guilty_function",
    ),
    "usercopy": Sample(
        (
            "usercopy: Kernel memory exposure attempt detected from SLUB object!",
            "------------[ cut here ]------------",
            "kernel BUG at mm/usercopy.c:99!",
            "invalid opcode: 0000 [#1] PREEMPT SMP",
            "CPU: 0 PID: 77 Comm: shuffle Not tainted 5.10.218 #2",
            "RIP: 0010:usercopy_abort+0x12/0x90",
            "Call Trace:",
            " __check_object_size+0x10/0x20",
            " guilty_function+0x21/0x60",
            "---[ end trace 1111111111111111 ]---",
        ),
        "USERCOPY",
        "bad usercopy",
        "BUG: bad usercopy in guilty_function",
    ),
    "netdev": bare(
        "unregister_netdevice: waiting for lo to become free. Usage count = 1",
        "NETDEV",
        "device not freed",
        "unregister_netdevice: waiting for DEV to become free",
    ),
    "ubsan": Sample(
        (BAR, "UBSAN: shift-out-of-bounds in mm/made_up.c:12:3", "shift exponent 70", *TRACE, BAR),
        "UBSAN",
        "shift-out-of-bounds",
        "UBSAN: shift-out-of-bounds in guilty_function",
    ),
    "kmemleak": Sample(
        (
            "kmemleak: unreferenced object 0xffff88800abcd000 (size 64):",
            '  comm "shuffle", pid 321, jiffies 4294937296 (age 12.3s)',
            "  backtrace:",
            "    [<00000000deadc0de>] __kmalloc+0x33/0x70",
            "    [<00000000deadc0df>] guilty_function+0x10/0x20",
        ),
        "KMEMLEAK",
        "memory leak",
        "memory leak in guilty_function",
    ),
    "circular": lockdep(
        "WARNING: possible circular locking dependency detected",
        "circular locking",
        "possible deadlock in guilty_function",
        *_WANTS,
    ),
    "recursive": lockdep(
        "WARNING: possible recursive locking detected",
        "recursive locking",
        "possible deadlock in guilty_function",
        *_WANTS,
    ),
    "irq inversion": lockdep(
        "WARNING: possible irq lock inversion dependency detected",
        "irq lock inversion",
        "possible deadlock in guilty_function",
        *_WANTS,
    ),
    "irq order": lockdep(
        "WARNING: SOFTIRQ-safe -> SOFTIRQ-unsafe lock order detected",
        "irq lock order",
        "possible deadlock in guilty_function",
        *_WANTS,
    ),
    "hard irq order": lockdep(
        "WARNING: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected",
        "irq lock order",
        "possible deadlock in guilty_function",
        "shuffle/321 [HC0[0]:SC0[0]:HE0:SE1] is trying to acquire:",
        "ffff888004d0c0a8 (&made_up->lock){+.+.}-{3:3}, at: innocent_holder+0x44/0x120",
        "... which became HARDIRQ-irq-safe at:",
        "  lock_acquire+0x146/0x360",
        "  _raw_spin_lock_irqsave+0x3c/0x60",
        "  guilty_function+0x44/0x120",
    ),
    "inconsistent": lockdep(
        "WARNING: inconsistent lock state",
        "inconsistent lock state",
        "inconsistent lock state in guilty_function",
        "inconsistent {HARDIRQ-ON-W} -> {IN-HARDIRQ-W} usage.",
        "shuffle/321 [HC1[1]:SC0[0]:HE0:SE1] takes:",
        "ffff888004d0c0a8 (&made_up->lock){?.+.}-{2:2}, at: guilty_function+0x44/0x120",
    ),
    "bad unlock": lockdep(
        "WARNING: bad unlock balance detected!",
        "bad unlock balance",
        "WARNING: bad unlock balance in guilty_function",
        "shuffle/321 is trying to release lock (&made_up->lock) at:",
        "[<ffffffff81234567>] guilty_function+0x44/0x120",
        "but there are no more locks to release!",
    ),
    "held lock freed": lockdep(
        "WARNING: held lock freed!",
        "held lock freed",
        "WARNING: held lock freed in guilty_function",
        "shuffle/321 is freeing memory ffff888004d0c000-ffff888004d0c0ff, with a lock still held!",
        "ffff888004d0c0a8 (&made_up->lock){+.+.}-{3:3}, at: guilty_function+0x44/0x120",
    ),
    "returns with lock": lockdep(
        "WARNING: lock held when returning to user space!",
        "lock held when returning to user space",
        "WARNING: lock held when returning to user space in guilty_function",
        "shuffle/321 is leaving the kernel with locks still held!",
        "1 lock held by shuffle/321:",
        " #0: ffff888004d0c0a8 (&made_up->lock){+.+.}-{3:3}, at: guilty_function+0x44/0x120",
    ),
    "wait context": lockdep(
        "[ BUG: Invalid wait context ]",
        "invalid wait context",
        "WARNING: invalid wait context in guilty_function",
        "shuffle/321 is trying to lock:",
        "ffff888004d0c0a8 (&made_up->lock){....}-{3:3}, at: guilty_function+0x44/0x120",
    ),
    "rcu usage": lockdep(
        "WARNING: suspicious RCU usage",
        "suspicious RCU usage",
        "WARNING: suspicious RCU usage in guilty_function",
        "mm/made_up.c:33 suspicious rcu_dereference_check() usage!",
    ),
    "non-static key": head(
        "INFO: trying to register non-static key.",
        "LOCKDEP",
        "non-static key",
        "INFO: trying to register non-static key in guilty_function",
    ),
    "max lockdep": bare(
        "BUG: MAX_LOCKDEP_CHAINS too low!",
        "LOCKDEP",
        "out of entries",
        "BUG: MAX_LOCKDEP_CHAINS too low!",
    ),
    "sleep": head(
        "BUG: sleeping function called from invalid context at mm/made_up.c:99",
        "ATOMIC",
        "sleeping in atomic context",
        "BUG: sleeping function called from invalid context in guilty_function",
    ),
    "atomic": head(
        "BUG: scheduling while atomic: shuffle/321/0x00000002",
        "ATOMIC",
        "scheduling while atomic",
        "BUG: scheduling while atomic in guilty_function",
    ),
    "spinlock": head(
        "BUG: spinlock bad magic on CPU#1, shuffle/321",
        "SPINLOCK",
        "bad magic",
        "BUG: spinlock bad magic in guilty_function",
    ),
    "list": Sample(
        (
            "list_del corruption. prev->next should be ffff888004d0c0a8, but was 0000000000000000",
            "------------[ cut here ]------------",
            "kernel BUG at lib/list_debug.c:51!",
            "invalid opcode: 0000 [#1] SMP KASAN",
            "CPU: 0 PID: 77 Comm: shuffle Not tainted 5.10.218 #2",
            "RIP: 0010:__list_del_entry_valid+0x12/0x90",
            "Call Trace:",
            " guilty_function+0x21/0x60",
            "---[ end trace 1111111111111111 ]---",
        ),
        "LIST",
        "list corruption",
        "BUG: corrupted list in guilty_function",
    ),
    "rwsem": Sample(
        (
            "------------[ cut here ]------------",
            "DEBUG_RWSEMS_WARN_ON(sem->owner != current): count = 0x0",
            "WARNING: CPU: 0 PID: 77 at kernel/locking/rwsem.c:1441 up_write+0x12/0x90",
            "CPU: 0 PID: 77 Comm: shuffle Not tainted 5.10.218 #2",
            "RIP: 0010:up_write+0x12/0x90",
            "Call Trace:",
            " guilty_function+0x21/0x60",
            "---[ end trace 1111111111111111 ]---",
        ),
        "RWSEM",
        "rwsem",
        "WARNING: rwsem bug in guilty_function",
    ),
    "BUG_ON": Sample(
        (
            "------------[ cut here ]------------",
            "kernel BUG at mm/made_up.c:10!",
            "invalid opcode: 0000 [#1] PREEMPT SMP",
            *FAULT,
        ),
        "BUG",
        "BUG_ON",
        "kernel BUG in guilty_function",
    ),
    "warning": Sample(
        (
            "------------[ cut here ]------------",
            "WARNING: CPU: 1 PID: 77 at mm/made_up.c:10 guilty_function+0x12/0x90",
            *WARNED,
        ),
        "WARNING",
        "WARN_ON",
        "WARNING in guilty_function",
    ),
    "old warning": Sample(
        (
            "------------[ cut here ]------------",
            "WARNING: at mm/made_up.c:10 guilty_function+0x12/0x90()",
            "CPU: 0 PID: 77 Comm: shuffle Not tainted 3.10.0 #2",
            "Call Trace:",
            " [<ffffffff81c0ffee>] dump_stack+0x19/0x1b",
            " [<ffffffff81c0ffef>] warn_slowpath_null+0x1a/0x20",
            " [<ffffffff81c0fff0>] guilty_function+0x12/0x90",
            "---[ end trace 1111111111111111 ]---",
        ),
        "WARNING",
        "WARN_ON",
        "WARNING in guilty_function",
    ),
    "new warning": Sample(
        (
            "------------[ cut here ]------------",
            "WARNING: mm/made_up.c:10 at guilty_function+0x12/0x90, CPU#1: shuffle/77",
            *WARNED,
        ),
        "WARNING",
        "WARN_ON",
        "WARNING in guilty_function",
    ),
    "refcount": Sample(
        (
            "------------[ cut here ]------------",
            "refcount_t: underflow; use-after-free.",
            "WARNING: CPU: 1 PID: 77 at lib/refcount.c:28 refcount_warn_saturate+0x12/0x90",
            "Modules linked in:",
            "CPU: 1 PID: 77 Comm: shuffle Not tainted 6.1.0 #2",
            "RIP: 0010:refcount_warn_saturate+0x12/0x90",
            "Call Trace:",
            " guilty_function+0x21/0x60",
            "---[ end trace 0000000000000000 ]---",
        ),
        "REFCOUNT",
        "refcount",
        "WARNING: refcount bug in guilty_function",
    ),
    "odebug": Sample(
        (
            "------------[ cut here ]------------",
            "ODEBUG: free active (active state 0) object type: timer_list hint: tick+0x0/0x40",
            "WARNING: CPU: 1 PID: 77 at lib/debugobjects.c:505 debug_print_object+0x12/0x90",
            "CPU: 1 PID: 77 Comm: shuffle Not tainted 6.1.0 #2",
            "RIP: 0010:debug_print_object+0x12/0x90",
            "Call Trace:",
            " guilty_function+0x21/0x60",
            "---[ end trace 0000000000000000 ]---",
        ),
        "ODEBUG",
        "odebug",
        "WARNING: ODEBUG bug in guilty_function",
    ),
    "page state": head(
        "BUG: Bad page state in process shuffle  pfn:1a2b3",
        "BADPAGE",
        "bad page state",
        "BUG: Bad page state in guilty_function",
    ),
    "page cache": head(
        "BUG: Bad page cache in process shuffle  pfn:1a2b3",
        "BADPAGE",
        "bad page cache",
        "BUG: Bad page cache in guilty_function",
    ),
    "page map": head(
        "BUG: Bad page map in process shuffle  pte:80000001a2b3067 pmd:01a2b067",
        "BADPAGE",
        "bad page map",
        "BUG: Bad page map in guilty_function",
    ),
    "rss": bare(
        "BUG: Bad rss-counter state mm:00000000a1b2c3d4 type:MM_ANONPAGES val:512",
        "BADPAGE",
        "bad rss counter",
        "BUG: Bad rss-counter state",
    ),
    "null": head(
        "BUG: kernel NULL pointer dereference, address: 0000000000000018",
        "OOPS",
        "NULL pointer dereference",
        "BUG: unable to handle kernel NULL pointer dereference in guilty_function",
        body=FAULT,
    ),
    "paging": head(
        "BUG: unable to handle page fault for address: ffffea0012345678",
        "OOPS",
        "page fault",
        "BUG: unable to handle kernel paging request in guilty_function",
        body=FAULT,
    ),
    "gpf": Sample(
        (
            "general protection fault, probably for non-canonical address 0xdffffc0000000003: 0000",
            "KASAN: null-ptr-deref in range [0x0000000000000018-0x000000000000001f]",
            *FAULT,
        ),
        "OOPS",
        "general protection fault",
        "general protection fault in guilty_function",
    ),
    "guard page": head(
        "BUG: stack guard page was hit at 00000000397c6d92 (stack is 00000000a0f6..000000000e6f)",
        "OOPS",
        "stack guard page",
        "BUG: stack guard page was hit in guilty_function",
        body=FAULT,
    ),
    "double fault": head(
        "PANIC: double fault, error_code: 0x0",
        "PANIC",
        "double fault",
        "PANIC: double fault in guilty_function",
        body=FAULT,
    ),
    "soft lockup": head(
        "watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [shuffle:321]",
        "SOFTLOCKUP",
        "soft lockup",
        "BUG: soft lockup in guilty_function",
        body=STALL,
    ),
    "hard lockup": head(
        "NMI watchdog: Watchdog detected hard LOCKUP on cpu 1",
        "HARDLOCKUP",
        "hard lockup",
        "BUG: hard lockup in guilty_function",
        body=STALL,
    ),
    "rcu stall": head(
        "rcu: INFO: rcu_preempt self-detected stall on CPU",
        "RCUSTALL",
        "rcu stall",
        "INFO: rcu detected stall in guilty_function",
        body=STALL,
    ),
    "hung task": Sample(
        (
            "INFO: task shuffle:321 blocked for more than 120 seconds.",
            "      Not tainted 5.10.218 #1",
            "task:shuffle  state:D stack:28000 pid:  321 ppid:   300 flags:0x00000000",
            "Call Trace:",
            " __schedule+0x3f0/0xa00",
            " schedule+0x50/0xd0",
            " rwsem_down_write_slowpath+0x200/0x500",
            " guilty_function+0x10/0x60",
        ),
        "HUNG",
        "task hung",
        "INFO: task hung in guilty_function",
    ),
    "trusty": Sample(
        (
            "trusty: panic (caller 0xffffffffe0001234): ASSERT FAILED at (made_up.c:12): false",
            "trusty: HALT: (reason = 9)",
        ),
        "TRUSTY",
        "secure world panic",
        "trusty: panic",
        function="",
    ),
    "stack overflow": Sample(
        ("Insufficient stack space to handle exception!", *STALL),
        "PANIC",
        "stack overflow",
        "kernel stack overflow in guilty_function",
    ),
    **{
        kind: head(
            f"{line} [#1] PREEMPT SMP", "OOPS", kind, f"{kind} in guilty_function", body=FAULT
        )
        for kind, line in {
            "stack segment fault": "stack segment: 0000",
            "divide error": "Oops: divide error: 0000",
            "int3": "int3: 0000",
            "invalid opcode": "Oops: invalid opcode: 0000",
        }.items()
    },
    "unhandled fault": head(
        "Unhandled fault: page domain fault (0x01b) at 0x00000e30",
        "OOPS",
        "unhandled fault",
        "Unhandled fault in guilty_function",
        body=FAULT,
    ),
    "alignment trap": Sample(
        (
            "Alignment trap: not handling instruction e1921f9f at [<80123456>]",
            "Unhandled fault: alignment exception (0x001) at 0x00000e31",
            *FAULT,
        ),
        "OOPS",
        "alignment trap",
        "Alignment trap in guilty_function",
    ),
    "bug trap": head(
        "Internal error: Oops - BUG: 00000000f2000800 [#1] PREEMPT SMP",
        "OOPS",
        "BUG trap",
        "Internal error in guilty_function",
        body=FAULT,
    ),
    "internal error": head(
        "Internal error: Oops: 0000000096000004 [#1] PREEMPT SMP",
        "OOPS",
        "internal error",
        "Internal error in guilty_function",
        body=FAULT,
    ),
    "unable, cut off": head(
        "BUG: unable to handle kernel",
        "OOPS",
        "page fault",
        "BUG: unable to handle kernel in guilty_function",
        body=FAULT,
    ),
    "oops, cut off": head(
        "Oops: 0002 [#1] PREEMPT SMP",
        "OOPS",
        "cut off",
        "Oops in guilty_function",
        body=FAULT,
    ),
    "bad stack frame": bare(
        "WARNING: kernel stack regs at 00000000a1b2c3d4 in shuffle:321 has bad 'bp' value 00000000",
        "WARNING",
        "bad stack frame",
        "WARNING: kernel stack regs has bad value",
    ),
    "cannot die": Sample(
        (
            "INFO: task shuffle:321 can't die for more than 143 seconds.",
            "Call Trace:",
            " __schedule+0x3f0/0xa00",
            " guilty_function+0x10/0x60",
        ),
        "HUNG",
        "task cannot die",
        "INFO: task can't die in guilty_function",
    ),
    "corrupted stack": bare(
        "Kernel panic - not syncing: stack-protector: Kernel stack is corrupted in: honest_caller",
        "PANIC",
        "corrupted stack",
        "kernel panic: stack is corrupted in honest_caller",
        function="honest_caller",
    ),
    "corrupted stack end": head(
        "Kernel panic - not syncing: corrupted stack end detected inside scheduler",
        "PANIC",
        "corrupted stack end",
        "kernel panic: corrupted stack end in guilty_function",
        body=STALL,
    ),
    "busy inodes": bare(
        "VFS: Busy inodes after unmount of sda1. Self-destruct in 5 seconds.  Have a nice day...",
        "VFS",
        "busy inodes",
        "VFS: Busy inodes after unmount",
    ),
    "file count": bare(
        "VFS: Close: file count is 0 (f_op=made_up_fops)",
        "VFS",
        "file count is zero",
        "VFS: Close: file count is zero",
    ),
    "rust": Sample(
        (
            "rust_kernel: panicked at drivers/made/up.rs:12:3:",
            "attempt to add with overflow",
            "------------[ cut here ]------------",
            "kernel BUG at rust/helpers/bug.c:7!",
            "Oops: invalid opcode: 0000 [#1] SMP",
            *FAULT,
        ),
        "RUST",
        "rust panic",
        "rust panic in guilty_function",
    ),
    "leak, as a tool says it": Sample(
        (
            "BUG: memory leak",
            "unreferenced object 0xffff88800abcd000 (size 64):",
            '  comm "shuffle", pid 321, jiffies 4294937296 (age 12.3s)',
            "  backtrace:",
            "    [<00000000deadc0de>] __kmalloc+0x33/0x70",
            "    [<00000000deadc0df>] guilty_function+0x10/0x20",
        ),
        "KMEMLEAK",
        "memory leak",
        "memory leak in guilty_function",
    ),
    "remains, an object": bare(
        "INFO: Object 0xffff8801d2c8fa90 @offset=6800 fp=0xdead4ead00000000",
        "SLUB",
        "remains of a slab report",
        "INFO: Object",
    ),
    "locks still held": Sample(
        (
            "WARNING: shuffle/321 still has locks held!",
            "5.10.218 #1 Not tainted",
            "1 lock held by shuffle/321:",
            " #0: ffff888004d0c0a8 (&made_up->lock){+.+.}-{3:3}, at: guilty_function+0x44/0x120",
            "",
            "stack backtrace:",
            *TRACE,
        ),
        "LOCKDEP",
        "locks still held",
        "WARNING: still has locks held in guilty_function",
    ),
    "nested lock": lockdep(
        "WARNING: Nested lock was not taken",
        "nested lock was not taken",
        "WARNING: nested lock was not taken in guilty_function",
        "shuffle/321 is trying to lock:",
        "ffff888004d0c0a8 (&made_up->lock){+.+.}-{3:3}, at: guilty_function+0x44/0x120",
    ),
    "workqueue leak": Sample(
        (
            "BUG: workqueue leaked lock or atomic: kworker/0:1/0x00000001/13",
            "     last function: guilty_function",
            "1 lock held by kworker/0:1/13:",
            *TRACE,
        ),
        "ATOMIC",
        "workqueue leaked lock or atomic",
        "BUG: workqueue leaked lock or atomic in guilty_function",
    ),
    "page tables": bare(
        "BUG: non-zero pgtables_bytes on freeing mm: 4096",
        "BADPAGE",
        "page table memory left",
        "BUG: non-zero pgtables_bytes on freeing mm",
    ),
    "bad pmd": bare(
        "mm/pgtable-generic.c:50: bad pmd ffff888004d0c0a8(80000000080000e7)",
        "BADPAGE",
        "bad page table entry",
        "BUG: bad pmd",
    ),
    "locking bug": warned(
        "DEBUG_LOCKS_WARN_ON(1)",
        "kernel/locking/lockdep.c:4672 check_wait_context",
        "LOCKDEP",
        "locking bug",
        "WARNING: locking bug",
    ),
    "kobject": warned(
        "kobject: '(null)' (00000000a1b2c3d4): is not initialized, yet kobject_put() is called.",
        "lib/kobject.c:750 kobject_put",
        "WARNING",
        "kobject",
        "WARNING: kobject bug",
    ),
    "proc": warned(
        "proc_dir_entry 'made/up' already registered",
        "fs/proc/generic.c:381 proc_register",
        "WARNING",
        "proc registration",
        "WARNING: proc registration bug",
    ),
    "kmalloc": warned(
        "", "mm/slab_common.c:1013 kmalloc_slab", "WARNING", "kmalloc", "WARNING: kmalloc bug"
    ),
    "vmalloc": warned(
        "shuffle: vmalloc: allocation failure: 0 bytes",
        "mm/vmalloc.c:2873 __vmalloc_node_range",
        "WARNING",
        "zero-size vmalloc",
        "WARNING: zero-size vmalloc",
    ),
    "another BUG": Sample(
        ("BUG: Dentry still in use (1) [unmount of tmpfs tmpfs]", *TRACE),
        "BUG",
        "other",
        "BUG: Dentry still in use (NUM)",
        function="",
    ),
    "torn": bare("WARNING:", "TORN", "cut off", "WARNING: corrupted"),
    "remains": Sample(
        ("INFO: Freed in guilty_function+0x1d0/0x200 age=1 cpu=1 pid=321", *TRACE[2:]),
        "SLUB",
        "remains of a slab report",
        "INFO: Freed in guilty_function",
    ),
    "workqueue": bare(
        "BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 60s!",
        "WORKQUEUE",
        "workqueue lockup",
        "BUG: workqueue lockup",
    ),
    "oom": bare(
        "Out of memory: Killed process 321 (shuffle) total-vm:4000kB, anon-rss:3000kB",
        "OOM",
        "out of memory",
        "Out of memory: Killed process",
    ),
    "panic": bare(
        "Kernel panic - not syncing: Fatal exception",
        "PANIC",
        "panic",
        "kernel panic: Fatal exception",
    ),
}
