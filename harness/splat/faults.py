"""Reports of what went wrong by itself: faults, BUG and WARN, stalls, the end."""

from __future__ import annotations

from harness.splat.family import Blame, Family
from harness.splat.family import head as _head

# Who prints before "BUG: soft lockup": nothing, or "watchdog: ", or "NMI watchdog: ".
_DOG = r"(?:NMI )?(?:watchdog: )?"

FAULTS: tuple[Family, ...] = (
    # Faults.  arch/x86/mm/fault.c, arch/x86/kernel/traps.c, arch/arm64/mm/fault.c.
    Family(
        "OOPS",
        "stack guard page",
        _head(r"BUG: (?:\w{1,16} )?stack guard page was hit"),
        "BUG: stack guard page was hit",
        Blame.POINTER,
        stacked=False,
    ),
    Family(
        "OOPS",
        "NULL pointer dereference",
        _head(
            r"(?:BUG: (?:unable to handle )?kernel NULL pointer dereference"
            r"|Unable to handle kernel NULL pointer dereference)"
        ),
        "BUG: unable to handle kernel NULL pointer dereference",
        Blame.POINTER,
    ),
    Family(
        "OOPS",
        "page fault",
        _head(
            r"(?:BUG: )?[Uu]nable to handle (?:kernel )?(?:page fault|paging request|read from|"
            r"write to|execute from)"
        ),
        "BUG: unable to handle kernel paging request",
        Blame.POINTER,
    ),
    Family(
        "OOPS",
        "page fault",
        _head(r"BUG: [Uu]nable to handle kernel"),
        "BUG: unable to handle kernel",
        Blame.POINTER,
        torn=True,
    ),
    Family(
        "OOPS",
        "general protection fault",
        _head(r"(?:Oops: )?general protection fault(?:, |: )(?!ip:)"),
        "general protection fault",
        Blame.POINTER,
        young=True,
    ),
    Family(
        "PANIC",
        "double fault",
        _head(r"(?:PANIC: |Oops: )?double fault(?:, |: )"),
        "PANIC: double fault",
        Blame.POINTER,
        young=True,
    ),
    Family(
        "PANIC",
        "stack overflow",
        _head(r"Insufficient stack space to handle exception"),
        "kernel stack overflow",
        Blame.ENTRY,
    ),
    Family(
        "OOPS",
        "stack segment fault",
        _head(r"(?:Oops: )?stack segment(?: fault)?: [0-9a-f]{4} \["),
        "stack segment fault",
        Blame.POINTER,
        young=True,
    ),
    Family(
        "OOPS",
        "divide error",
        _head(r"(?:Oops: )?divide error: [0-9a-f]{4} \["),
        "divide error",
        Blame.POINTER,
        young=True,
    ),
    Family(
        "OOPS",
        "int3",
        _head(r"(?:Oops: )?int3: [0-9a-f]{4} \["),
        "int3",
        Blame.POINTER,
        young=True,
    ),
    Family(
        "BUG",
        "BUG_ON",
        _head(r"kernel BUG at "),
        "kernel BUG",
        Blame.POINTER,
        young=True,
    ),
    Family(
        "OOPS",
        "invalid opcode",
        _head(r"(?:Oops: )?invalid opcode: [0-9a-f]{4} \["),
        "invalid opcode",
        Blame.POINTER,
        young=True,
    ),
    Family(
        "OOPS",
        "unhandled fault",
        _head(r"Unhandled fault: "),
        "Unhandled fault",
        Blame.POINTER,
        young=True,
    ),
    # arch/arm/mm/alignment.c, of an access in the kernel: "Unhandled fault: alignment exception"
    # follows, and is a part of it.
    Family(
        "OOPS",
        "alignment trap",
        _head(r"Alignment trap: not handling instruction "),
        "Alignment trap",
        Blame.POINTER,
    ),
    # BUG() by its instruction; "kernel BUG at" stands before it where CONFIG_DEBUG_BUGVERBOSE is.
    Family(
        "OOPS",
        "BUG trap",
        _head(r"Internal error: Oops - BUG: |Kernel BUG \[#\d{1,4}\]"),
        "Internal error",
        Blame.POINTER,
        young=True,
    ),
    Family(
        "OOPS",
        "internal error",
        _head(r"Internal error: "),
        "Internal error",
        Blame.POINTER,
        young=True,
    ),
    # The second line of a fault whose first was lost.
    Family(
        "OOPS",
        "cut off",
        _head(r"Oops: (?:Oops: )?[0-9a-f]{4,16} \[#\d{1,4}\]"),
        "Oops",
        Blame.POINTER,
        part=True,
        torn=True,
    ),
    # Warnings.  kernel/panic.c __warn(): up to 6.17, with the pid; then "file:line at func".
    Family(
        "WARNING",
        "WARN_ON",
        _head(
            r"WARNING: (?:CPU: \d{1,5} PID: \d{1,8} )?at \S{1,255}:\d{1,7}"
            r"(?: (?P<function>[A-Za-z_$][\w.$]{0,255}))?"
        ),
        "WARNING",
        young=True,
    ),
    Family(
        "WARNING",
        "WARN_ON",
        _head(
            r"WARNING: (?:\[(?P<assertion>.{1,120})\] )?\S{1,255}:\d{1,7} at "
            r"(?:0x[0-9a-f]{1,16}|(?P<function>[A-Za-z_$][\w.$]{0,255}))"
        ),
        "WARNING",
        young=True,
    ),
    Family(
        "WARNING",
        "bad stack frame",
        _head(r"WARNING: kernel stack (?P<what>frame pointer|regs) at .{1,120} has bad "),
        "WARNING: kernel stack {what} has bad value",
        Blame.NOBODY,
        stacked=False,
    ),
    # Stalls.  kernel/watchdog.c, kernel/rcu/tree_stall.h, kernel/hung_task.c, workqueue.c.
    Family(
        "SOFTLOCKUP",
        "soft lockup",
        _head(_DOG + r"BUG: soft lockup - CPU#"),
        "BUG: soft lockup",
        Blame.ENTRY,
    ),
    Family(
        "HARDLOCKUP",
        "hard lockup",
        _head(
            r"(?:(?:NMI )?[Ww]atchdog: CPU ?\d{1,5} (?:self-)?detected hard LOCKUP"
            r"|(?:NMI )?[Ww]atchdog: (?:Watchdog )?detected hard LOCKUP on cpu"
            r"|NMI watchdog: Watchdog detected hard LOCKUP)"
        ),
        "BUG: hard lockup",
        Blame.ENTRY,
    ),
    Family(
        "WORKQUEUE",
        "workqueue lockup",
        _head(r"(?:workqueue: )?BUG: workqueue lockup"),
        "BUG: workqueue lockup",
        Blame.NOBODY,
        stacked=False,
    ),
    Family(
        "RCUSTALL",
        "rcu stall",
        _head(
            r"(?:rcu: )?INFO: rcu_?\w{0,24} (?:self-)?detected "
            r"(?:stalls? on|expedited stalls on)"
        ),
        "INFO: rcu detected stall",
        Blame.ENTRY,
    ),
    Family(
        "HUNG",
        "task hung",
        _head(r"INFO: task .{1,64} blocked (?:in I/O wait )?for more than \d{1,9} seconds"),
        "INFO: task hung",
        Blame.WAIT,
    ),
    Family(
        "HUNG",
        "task cannot die",
        _head(r"INFO: task .{1,64} can't die for more than \d{1,9} seconds"),
        "INFO: task can't die",
        Blame.WAIT,
    ),
    # A device that is never let go of: net/core/dev.c, netdev_wait_allrefs().
    Family(
        "NETDEV",
        "device not freed",
        _head(r"unregister_netdevice: waiting for \S{1,32} to become free"),
        "unregister_netdevice: waiting for DEV to become free",
        Blame.NOBODY,
        stacked=False,
    ),
    Family(
        "OOM",
        "out of memory",
        _head(r"(?:Memory cgroup )?[Oo]ut of memory: Kill(?:ed)? process"),
        "Out of memory: Killed process",
        Blame.NOBODY,
        stacked=False,
    ),
    # The end.  kernel/panic.c.
    Family(
        "PANIC",
        "corrupted stack",
        _head(
            r"Kernel panic - not syncing: stack-protector: Kernel stack is corrupted in: "
            r"(?P<function>[A-Za-z_$][\w.$]{0,255})"
        ),
        "kernel panic: stack is corrupted",
        Blame.HEAD,
        joins=True,
        stacked=False,
    ),
    Family(
        "PANIC",
        "corrupted stack end",
        _head(r"Kernel panic - not syncing: corrupted stack end detected inside scheduler"),
        "kernel panic: corrupted stack end",
        Blame.ENTRY,
        joins=True,
    ),
    Family(
        "PANIC",
        "panic",
        _head(r"Kernel panic - not syncing: (?P<what>.{0,120})"),
        "kernel panic: {what}",
        Blame.NOBODY,
        joins=True,
    ),
    Family(
        "REBOOT",
        "unexpected reboot",
        _head(r"Linux version \d|Booting the kernel\.$"),
        "unexpected kernel reboot",
        Blame.NOBODY,
        stacked=False,
    ),
    # fs/super.c, generic_shutdown_super(); fs/open.c, filp_close().
    Family(
        "VFS",
        "busy inodes",
        _head(r"VFS: Busy inodes after unmount of "),
        "VFS: Busy inodes after unmount",
        Blame.NOBODY,
        stacked=False,
    ),
    Family(
        "VFS",
        "file count is zero",
        _head(r"VFS: Close: file count is (?:0|zero)"),
        "VFS: Close: file count is zero",
        Blame.NOBODY,
        stacked=False,
    ),
    # rust/kernel/lib.rs: what the program's code would have panicked with, then BUG().
    Family(
        "RUST",
        "rust panic",
        _head(r"rust_kernel: panicked at "),
        "rust panic",
        Blame.POINTER,
    ),
    # The secure world's own panic, in the words that its driver passes on.
    Family(
        "TRUSTY",
        "secure world panic",
        _head(r"trusty: panic\b"),
        "trusty: panic",
        Blame.NOBODY,
        stacked=False,
    ),
    # A head of which nothing but the word came out.
    Family(
        "TORN",
        "cut off",
        _head(r"(?P<word>BUG|WARNING|INFO):\s{0,8}$"),
        "{word}: corrupted",
        Blame.NOBODY,
        part=True,
        torn=True,
        vague=True,
    ),
    # Any other line that begins with "BUG: " is a report too: the kernel says so itself.
    Family(
        "BUG",
        "other",
        _head(r"BUG: (?P<what>(?!KASAN|KFENCE|KMSAN|KCSAN)[\w(][\w() ',-]{2,60})"),
        "BUG: {what}",
        Blame.NOBODY,
        vague=True,
    ),
)
