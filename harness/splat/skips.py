"""Which functions are not to blame, by the family of the report.

``REPORTING``, ``MACHINERY``, ``ENTRY`` and ``LIBRARY`` hold for all families; the other lists are
added for those whose reports begin inside more of it.  A function of ``REPORTING`` is never
blamed; one of the others is where all functions of a stack are on the lists.
"""

from __future__ import annotations

import re
from functools import cache

from harness.splat.family import Blame
from harness.splat.skips_library import CONSOLE, HELPERS, LIBRARY
from harness.splat.skips_machinery import ENTRY, MACHINERY, REPORTING, Skips

# Sleeping primitives: a task that hangs is blamed on who called them.
SLEEPING: Skips = (
    (r"context_switch", "context_switch"),
    (r"_*schedule\w*", "schedule"),
    (r"preempt_schedule\w*", "preempt_schedule_irq"),
    (r"_*cond_resched\w*", "_cond_resched"),
    (r"_*io_schedule\w*", "io_schedule"),
    (r"_*bit_wait\w*", "bit_wait"),
    (
        r"_*wait_(?:on|for|rcu)_\w+|wait_(?:woken|current_\w+|transaction_\w+|lookup_\w+)|jbd2_log_wait_\w+",
        "wait_woken",
    ),
    (r"do_wait_for_common", "do_wait_for_common"),
    (r"_*(?:synchronize|completion)_\w+|request_wait_answer|\w+_slowlock\w*", "completion_done"),
    (r"_*switch_to\w*", "__switch_to"),
    (r"_*out_of_line_wait\w*", "out_of_line_wait_on_bit"),
    (r"_*prepare_to_wait\w*", "prepare_to_wait"),
    (r"schedule_preempt_disabled", "schedule_preempt_disabled"),
    (r"_*flush_(?:work|workqueue)\w*", "flush_work"),
    (r"_*cancel_(?:delayed_)?work\w*", "cancel_work"),
    (r"_*lock_sock\w*|__lock_page\w*|folio_wait\w*|__folio_lock\w*", "__lock_page"),
    (r"_*wait_rcu_gp|rcu_barrier\w*", "rcu_barrier"),
    (r"_*might_fault", "__might_fault"),
    (r"usleep_range\w*|msleep\w*|_*mutex_\w+", "msleep"),
    (r"kmem_cache_alloc\w*", "kmem_cache_alloc"),
)

# The same by their names, for tasks that hang: whoever else waits or takes a lock.
WAITING: Skips = (
    (r"\w*wait\w*", "do_wait"),
    (r"\w+_lock(?:_\w+)?", "osq_lock"),
    (r"\w*(?:sched|completion|synchronize|kthread)\w*", "kthread"),
)

# Entry side: what stands between an interrupt and the code that it interrupted.
INTERRUPT: Skips = (
    (
        r"nmi_\w+|arch_trigger_\w+|trigger_\w+|rcu_\w+|_*rcu_\w+|check_cpu_stall\w*|sched_\w+",
        "rcu_qs",
    ),
    (
        r"update_process_times|tick_\w+|hrtimer_\w+|__hrtimer_\w+|_*run_hrtimer\w*|_*remove_hrtimer",
        "tick_init",
    ),
    (
        r"(?:smp_|local_|__sysvec_|sysvec_)?_*apic_timer_interrupt\w*|smp_\w+interrupt|call_on_irq_stack\w*",
        "sysvec_apic_timer_interrupt",
    ),
    (r"run_on_irqstack\w*|asm_call_\w+|__irqentry\w*|irq_\w+|__irq_\w+|invoke_softirq", "irq_cfg"),
    (
        r"arch_timer_\w+|handle_\w*irq\w*|__handle_domain_irq|generic_handle_\w*irq\w*|gic_handle_irq",
        "handle_bad_irq",
    ),
    (
        r"watchdog\w*|softlockup\w*|dump_cpu_task|rwsem_\w+|arch_(?:local|static)_\w+|kvm_\w*lock\w*",
        "watchdog",
    ),
)

# Who asked for memory is to blame for it, not who hands it out.
ALLOCATION: Skips = (
    (r"\w*alloc\w*", "d_alloc"),
    (r"\w*(?:kmem|slab|slub)\w*", "kmemdup"),
    (r"\w*(?:str|mem)n?dup\w*|kv?asprintf\w*", "kstrdup"),
    (r"\w*mmap\w*|idr_get\w*|pcpu_create\w*", "do_mmap"),
)

# The allocators' own functions, by whatever name.
SLAB: Skips = (
    (r"\w*(?:kmem|slab|slub)\w*", "kmemdup"),
    (r"\w*k[vmcz]{0,2}alloc(?:_\w+)?|\w*vmalloc\w*", "vmalloc"),
)

# Freeing memory, and what is done to it on the way.
FREEING: Skips = (
    (r"kmem_\w+|\w*slab_\w+|k?v?z?free\w*|v(?:un)?map|vunmap\w*|__free_\w+", "vmap"),
    (r"\w*free_rcu\w*|kvfree_call_rcu", "mt_free_rcu"),
)

# The objects that are debugged, by their own functions.
OBJECTS: Skips = (
    (r"_*(?:hr)?timer_\w+|\w+_timer(?:_sync)?|_*init_timer\w*", "hrtimer_init"),
    (r"\w*rcu\w*", "rcu_qs"),
    (r"_*(?:init|flush|cancel|queue|destroy)_\w*work\w*|work_\w+", "flush_delayed_work"),
    (r"percpu_\w+|_*percpu_counter_\w+", "percpu_ref_exit"),
    (r"debug_\w+|kobject_\w+", "debug_object_activate"),
)

# Read-side marks and checks of RCU.
RCU: Skips = ((r"\w*rcu\w*", "rcu_qs"),)

# Taking a lock that nobody initialised: who calls the locking function is to blame.
KEYS: Skips = (
    (r"\w*lock\w*", "lock_sock_nested"),
    (r"\w*stack\w*", "dump_stack"),
    (r"\w*IRQ\w*", "spin_lock_IRQ"),
)

# The lists of one family, or of one kind of it, beside those that ``lists_for`` gives to all.
_OWN: dict[str, tuple[Skips, ...]] = {
    "ATOMIC": (SLEEPING,),
    "WARNING": (HELPERS,),
    "REFCOUNT": (HELPERS,),
    "ODEBUG": (HELPERS, OBJECTS, FREEING),
    "LOCKDEP": (HELPERS,),
    "BADPAGE": (HELPERS,),
    "KMEMLEAK": (HELPERS, ALLOCATION),
    "KASAN/double-free": (FREEING,),
    "KASAN/invalid-free": (FREEING,),
    "LOCKDEP/suspicious RCU usage": (HELPERS, RCU),
    "LOCKDEP/non-static key": (HELPERS, KEYS),
    "WARNING/kmalloc": (HELPERS, SLAB),
    "WARNING/zero-size vmalloc": (HELPERS, SLAB),
}


def lists_for(family: str, kind: str, blame: Blame) -> tuple[Skips, ...]:
    """The lists that hold for a report of this family and kind (after refinement)."""
    lists = [REPORTING, MACHINERY, ENTRY, LIBRARY]
    if blame is not Blame.LOCK:
        lists.append(CONSOLE)
    if blame is Blame.WAIT:
        lists += [SLEEPING, WAITING]
    if blame is Blame.ENTRY:
        lists.append(SLEEPING)
    return (*lists, *_OWN.get(f"{family}/{kind}", _OWN.get(family, ())))


class Names:
    """The functions on any of some lists.  A name that was asked for is remembered: a flood of
    reports asks for the same few again and again."""

    _MOST = 4096

    def __init__(self, *lists: Skips) -> None:
        self._patterns = tuple(map(_pattern, lists))
        self._known: dict[str, bool] = {}

    def __contains__(self, function: str) -> bool:
        known = self._known.get(function)
        if known is None:
            known = any(pattern.fullmatch(function) for pattern in self._patterns)
            if len(self._known) < self._MOST:
                self._known[function] = known
        return known


@cache
def _pattern(entries: Skips) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{entry})" for entry, _ in entries))


# Made now, so that the first report costs no more than the others.
EVERY = Names(REPORTING, MACHINERY, ENTRY, LIBRARY)
REPORTS = Names(REPORTING)
PRIMITIVES = Names(REPORTING, MACHINERY)
INNARDS = Names(REPORTING, MACHINERY, ENTRY)
INTERRUPTS = Names(INTERRUPT)
PRINTS = Names(CONSOLE)


@cache
def names(family: str, kind: str, blame: Blame) -> Names:
    """What is not to blame in a report of this family and kind (after refinement)."""
    return Names(*lists_for(family, kind, blame))


def is_report_code(function: str) -> bool:
    """Whether the function only finds and prints reports."""
    return function.partition(".")[0] in REPORTS
