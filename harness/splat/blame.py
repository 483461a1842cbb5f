"""Which function a report is about."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import pairwise

from harness.splat import skips
from harness.splat.family import Blame, Family
from harness.splat.frames import base_name
from harness.splat.report import Frame

# The kernel's own name of a system call differs by version and architecture.
_SYSCALL = re.compile(
    r"(?:__do_sys_|__se_sys_|compat_SyS_|__(?:x64|ia32|arm64|riscv)_(?:compat_)?sys_|SYSC_|SyS_|ksys_|sys_)"
)

# Who calls a handler on behalf of user space, a timer, a packet: the handler is what a task that
# stalls was about.
_DISPATCHERS = re.compile(
    r"(?:_*vfs_(?:read|write|ioctl|fsync|getattr)|new_sync_(?:read|write)|do_iter_\w+|call_write_iter"
    r"|do_vfs_ioctl|ksys_ioctl|compat_SyS_ioctl|__se_compat_sys_ioctl|__do_compat_sys_ioctl|__(?:x64|ia32|arm64|se)_sys_ioctl|compat_sys_ioctl|SyS_ioctl"
    r"|mmap_region|__mmap_region|call_mmap|__fput|exit_aio|task_work_run|process_one_work"
    r"|nfnetlink_rcv_\w+|rtnetlink_rcv_msg|genl_(?:family_)?rcv_msg\w*|sock_sendmsg\w*|__sock_sendmsg"
    r"|sock_recvmsg\w*|_*sys_setsockopt|do_sock_setsockopt|sock_common_[gs]etsockopt|_*sys_getsockopt|SyS_setsockopt"
    r"|_*netif_receive_skb_\w*core|deliver_skb|call_timer_fn|do_one_initcall"
    r"|tasklet_action\w*|net_rx_action|__napi_poll|ip_local_deliver)"
)
# Waiting for other CPUs: the wait is the event, whoever asked for it.
_CROSS_CPU = re.compile(r"(?:smp_call_function|on_each_cpu)\w*")


@cache
def _skipped(family: str, blame: Blame) -> re.Pattern[str]:
    lists = [skips.MACHINERY, skips.LIBRARY]
    if blame is Blame.WAIT:
        lists.append(skips.SLEEPING)
    if blame is Blame.ENTRY:
        lists += [skips.INTERRUPT, skips.SLEEPING]
    if family in {"ATOMIC"}:
        lists.append(skips.SLEEPING)
    if family in {"WARNING", "REFCOUNT", "ODEBUG", "LOCKDEP", "KMEMLEAK", "BADPAGE"}:
        lists.append(skips.HELPERS)
    return skips.compiled(*lists)


def is_machinery(function: str) -> bool:
    """Whether it is of the reporting, or of the way between user space and the kernel."""
    return skips.compiled(skips.MACHINERY).fullmatch(function) is not None


def syscall(function: str) -> str:
    """``sys_NAME`` for any wrapper of a system call, else the function itself."""
    found = _SYSCALL.match(function)
    return "sys_" + function[found.end() :] if found else function


def first(frames: Iterable[Frame], skipped: re.Pattern[str]) -> str:
    """The first function that the unwinder was sure of and that is not on the lists."""
    for frame in frames:
        if frame.sure and frame.function:
            name = base_name(frame.function)
            if not skipped.fullmatch(name):
                return name
    return ""


def _entry(frames: Sequence[Frame], skipped: re.Pattern[str]) -> str:
    names = [base_name(frame.function) for frame in frames if frame.sure]
    if any(_CROSS_CPU.fullmatch(name) for name in names):
        return "smp_call_function"
    for name, caller in pairwise(names):
        if (
            _DISPATCHERS.fullmatch(caller)
            and not _DISPATCHERS.fullmatch(name)
            and not skipped.fullmatch(name)
        ):
            return name
    for name in names:
        if _SYSCALL.match(name) and not skipped.fullmatch(name):
            return syscall(name)
    return ""


def function(
    family: Family,
    name: str,
    *,
    head: str,
    pointer: Sequence[Frame],
    access: Sequence[Frame],
    others: Sequence[Sequence[Frame]],
    lock: Sequence[Frame],
    caller: str,
) -> str:
    """The function to blame, "" where the report names none.

    ``name`` is the family's, after refinement.  ``head`` is the function that the first line
    names; ``pointer`` the instruction pointers in the order printed; ``access`` the backtrace,
    ``others`` all backtraces (other CPUs too), that one included;
    ``lock`` the frames of ``at: func+...`` lines; ``caller`` that of ``caller is``.
    """
    skipped = _skipped(name, family.blame)
    named = (Frame(head),) if head else ()
    match family.blame:
        case Blame.NOBODY:
            return ""
        case Blame.HEAD:
            return base_name(head)
        case Blame.LOCK:
            return first([*lock[:1], *access], skipped)
        case Blame.CALLER:
            return first([Frame(caller), *access], skipped)
        case Blame.POINTER:
            return first([*pointer[:1], *access, *pointer[1:]], skipped)
        case Blame.ENTRY:
            entries = (_entry(frames, skipped) for frames in others)
            return next(filter(None, entries), "") or first([*access, *pointer], skipped)
        case Blame.WAIT:
            return first(access, skipped)
        case Blame.STACK:
            found = first([*named, *access] if family.name == "WARNING" else access, skipped)
            return found or first([*named, *pointer], skipped) or base_name(head)
