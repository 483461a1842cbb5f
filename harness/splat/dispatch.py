"""Where the kernel calls into a subsystem: what a task that stalls was about is the function that
was called from there.

A CPU that loops is caught in a random function of the loop.  Going outward from it, the function
below the first dispatcher is the same for all sightings: the handler of an ioctl, of a timer, of
a packet, of a system call.
"""

from __future__ import annotations

import re

DISPATCHERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "system calls",
        (
            r"do_syscall_\w+",
            r"do_fast_syscall\w*|do_int80\w*|__do_fast_syscall_32",
            r"invoke_syscall|el0_svc\w*|sysenter_dispatch|tracesys\w*|entry_SYSCALL\w*",
            r"x64_sys_call|ia32_sys_call|syscall_(?:call|common|exit\w*)",
            r"(?:_{0,3}(?:do_|se_|x64_|ia32_)?sys|SYSC|SyS|compat_SyS)_(?:socketpair|connect|ioctl)",
            r"_{0,3}(?:do_|se_|x64_|ia32_)?(?:compat_)?sys_ioctl|compat_SyS_ioctl|ksys_ioctl",
            r"\w+_compat_ioctl",
        ),
    ),
    (
        "files",
        (
            r"_*vfs_(?:read|write|iter_read|iter_write|ioctl|open|fsync\w*|getattr|fallocate)",
            r"new_sync_(?:read|write)|call_(?:read|write)_iter",
            r"do_iter_(?:read|write|readv_writev)\w*|do_loop_readv_writev\w*",
            r"do_vfs_ioctl|blkdev_(?:driver_)?ioctl|do_dentry_open",
            r"call_mmap|_*mmap_region|do_mmap\w*",
            r"_*fput|exit_aio",
        ),
    ),
    (
        "sockets",
        (
            r"_*sock_(?:sendmsg|recvmsg|release|mmap|do_ioctl|ioctl)\w*|compat_sock_ioctl",
            r"_*sys_(?:set|get)sockopt|do_sock_[gs]etsockopt|SyS_[gs]etsockopt",
            r"kernel_(?:setsockopt|listen|accept)|_*sys_(?:listen|accept)\w*|do_accept",
            r"sock_common_[gs]etsockopt|sk_common_release",
            r"nfnetlink_rcv\w*|rtnetlink_rcv_msg|genl_(?:family_)?rcv_msg\w*",
        ),
    ),
    (
        "packets",
        (r"\w*netif_receive_skb\w*", r"deliver_skb|net_rx_action|__?napi_poll|process_backlog"),
    ),
    (
        "interrupts' deferred work",
        (
            r"_*do_softirq\w*|handle_softirqs|invoke_softirq|run_ksoftirqd|tasklet_action\w*",
            r"call_timer_fn|expire_timers|_*run_timers?\w*|run_timer_\w+",
        ),
    ),
    (
        "kernel threads",
        (
            r"process_one_work|process_scheduled_works|worker_thread|kthread|smpboot_thread_fn",
            r"ret_from_fork\w*|do_one_initcall|start_secondary\w*|cpu_startup_entry|start_kernel",
        ),
    ),
    ("the way back to user space", (r"task_work_run|exit_to_user_?mode\w*|do_notify_resume",)),
)

# A fault taken while a system call copies is a step of the call: these count where no other does.
_FAULTS = re.compile(
    r"_*do_fault|_*handle_mm_fault|_*do_page_fault|page_fault|do_user_addr_fault|exc_page_fault"
)
_COMPILED = re.compile("|".join(f"(?:{entry})" for _, entries in DISPATCHERS for entry in entries))


def dispatches(function: str) -> bool:
    """Whether the function calls what others registered with it."""
    return _COMPILED.fullmatch(function) is not None


def faults(function: str) -> bool:
    """Whether the function handles a page fault."""
    return _FAULTS.fullmatch(function) is not None
