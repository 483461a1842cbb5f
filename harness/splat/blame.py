"""Which function a report is about."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from harness.splat import skips
from harness.splat.dispatch import dispatches, faults
from harness.splat.family import Blame, Family
from harness.splat.frames import base_name
from harness.splat.report import Frame
from harness.splat.skips import Names

# The kernel's own name of a system call differs by version and architecture.
_SYSCALL = re.compile(
    r"(?:__do_sys_|__se_sys_|compat_SyS_|__(?:x64|ia32|arm64|riscv)_(?:compat_)?sys_|SYSC_|SyS_"
    r"|ksys_|sys_)"
)
# Waiting for other CPUs: the wait is the event, whoever asked for it.
_CROSS_CPU = re.compile(r"(?:smp_call_function|on_each_cpu)\w*")
# How a CPU leaves the code that it was in: what stands behind on the stack was interrupted.
_INTERRUPTED = re.compile(
    r"(?:asm_)?(?:smp_|sysvec_)?\w*apic_timer_interrupt\w*|(?:asm_)?sysvec_\w+|el1h?_(?:64_)?irq"
    r"|(?:asm_)?common_interrupt|ret_from_intr|handle_percpu_irq|decrementer_common\w*"
)
_CHECKER = re.compile(r"_*k(?:asan|msan|csan|fence|memleak)_\w+")
# Waits for what all share: who waits says nothing of who does not let go.
_SHARED_WAITS: tuple[tuple[str, str], ...] = (
    (r"rtnl_lock\w*", "rtnl_lock"),
    (r"_*synchronize_(?:s?rcu|net|sched)\w*", "synchronize_rcu"),
)


@dataclass(frozen=True)
class Trail:
    """All frames that a report names, by the place where it names them.

    ``head`` is the function in the first line; ``pointers`` the instruction pointers in the order
    printed; ``access`` the backtrace; ``stacks`` all backtraces (those of other CPUs too), that
    one included, each with the instruction pointer that was printed before it; ``locks`` the
    frames of ``at: func+...`` lines; ``caller`` that of ``caller is``; ``safe`` the backtrace of
    the interrupt that took the lock.
    """

    head: str = ""
    pointers: Sequence[Frame] = ()
    access: Sequence[Frame] = ()
    stacks: Sequence[Sequence[Frame]] = field(default=())
    locks: Sequence[Frame] = ()
    caller: str = ""
    safe: Sequence[Frame] = ()


def is_machinery(function: str) -> bool:
    """Whether it is of the reporting, or of the way between user space and the kernel."""
    return function in skips.INNARDS


def syscall(function: str) -> str:
    """``sys_NAME`` for any wrapper of a system call, else the function itself."""
    found = _SYSCALL.match(function)
    return "sys_" + function[found.end() :] if found else function


def _names(frames: Iterable[Frame]) -> list[str]:
    """The functions that the unwinder was sure of, as the symbol table knows them.

    Inlined ones are left out: a raw report of the same event does not show them.
    """
    return [*_each(frames)]


def _each(frames: Iterable[Frame]) -> Iterator[str]:
    for frame in frames:
        if frame.sure and frame.function and not frame.inlined:
            yield base_name(frame.function)


def first(frames: Iterable[Frame], skipped: Names) -> str:
    """The first function that is not on the lists."""
    return next((name for name in _each(frames) if name not in skipped), "")


def _entry(frames: Sequence[Frame], skipped: Names) -> str:
    """Below the first dispatcher, going outward from the innermost function."""
    names = _names(frames)
    if any(_CROSS_CPU.fullmatch(name) for name in names):
        return "smp_call_function"
    for calls in (dispatches, faults):
        told = [name for name in names if calls(name) or name not in skipped]
        if told and calls(told[0]):
            return syscall(told[0])
        for name, caller in pairwise(told):
            if calls(caller):
                return syscall(name)
    return ""


def interrupted(frames: Sequence[Frame]) -> Sequence[Frame]:
    """What the CPU did when the interrupt came that found it; () where no interrupt is seen."""
    for index, frame in enumerate(frames):
        if frame.sure and _INTERRUPTED.fullmatch(base_name(frame.function)):
            rest = list(frames[index + 1 :])
            while rest and _INTERRUPTED.fullmatch(base_name(rest[0].function)):
                del rest[0]
            return rest
    return ()


def _stalled(family: str, trail: Trail, skipped: Names) -> str:
    """A lockup is told by the CPU that is stuck: its backtrace comes first, and as it is.  An RCU
    stall may be told by any CPU: what an interrupt found running was stuck."""
    stacks = trail.stacks
    inside = [interrupted(stack) for stack in stacks]
    order = [*inside, *stacks] if family == "RCUSTALL" else [*stacks[:1], *inside, *stacks]
    for stack in order:
        told = [frame for frame in stack if base_name(frame.function) not in skips.INTERRUPTS]
        if found := _entry(stack if stack in inside else told, skipped):
            return found
    return first([*trail.access, *trail.pointers], skipped)


def _waiting(access: Sequence[Frame], skipped: Names) -> str:
    names = _names(access)
    for name in names:
        for pattern, shared in _SHARED_WAITS:
            if re.fullmatch(pattern, name):
                return shared
    return first(access, skipped)


def _in_a_checker(head: Sequence[Frame], access: Sequence[Frame]) -> bool:
    """Whether a checker of memory was at work when it warned: what it looked at has no part in it.

    The backtrace may begin with the function that warned, or at its caller.
    """
    names = _names(access)
    own = base_name(head[0].function) if head else ""
    above = names[names.index(own) + 1 :] if own in names else names
    return bool(own and above) and _CHECKER.fullmatch(above[0]) is not None


def _prints(trail: Trail, skipped: Names) -> bool:
    """Whether the lock that is wanted is the console's: whoever holds the other one printed
    under it, and is to blame.  The console's own functions would be the same for all of these."""
    wanted = base_name(trail.locks[0].function) if trail.locks else ""
    return wanted in skipped and first(trail.access, skipped) in skips.PRINTS


def function(family: Family, name: str, kind: str, trail: Trail) -> str:
    """The function to blame, "" where the report names none.

    ``name`` and ``kind`` are the family's, after refinement.
    """
    skipped = skips.names(name, kind, family.blame)
    head = (Frame(trail.head),) if trail.head else ()
    pointers, access = trail.pointers, trail.access
    match family.blame:
        case Blame.NOBODY:
            return ""
        case Blame.HEAD:
            return base_name(trail.head)
        case Blame.ENTRY:
            return _stalled(name, trail, skipped)
        case Blame.WAIT:
            return _waiting(access, skipped)
        case Blame.LOCK:
            order = [*trail.locks[:1], *access]
            if _prints(trail, skipped):
                order = [*trail.locks[1:2], *order]
        case Blame.SAFE:
            order = [*trail.safe, *trail.locks[:1], *access]
        case Blame.CALLER:
            order = [Frame(trail.caller), *access]
        case Blame.POINTER:
            order = [*pointers[:1], *access, *pointers[1:]]
        case Blame.STACK:
            if name == "WARNING" and _in_a_checker(head, access):
                return base_name(trail.head)
            own = [*head, *pointers[:1]] if name == "WARNING" else [*head] if family.bars else []
            order = [*own, *access, *pointers, *head]
    return first(order, skipped) or first(order, skips.PRIMITIVES) or first(order, skips.REPORTS)
