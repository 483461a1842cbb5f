"""Functions that are never to blame: the machinery that reports, and what it was called through.

Each entry is a regular expression for a whole function name.  ``REPORTING``, ``MACHINERY``,
``ENTRY`` and ``LIBRARY`` hold for all families; the other lists are added for those whose reports
begin inside more of it.  A function of ``REPORTING`` is never blamed; one of the others is where
all functions of a stack are on the lists.
"""

from __future__ import annotations

import re
from functools import cache

from harness.splat.family import Blame

# Printing a report, and the checkers that found it: not even when nothing else is on the stack.
REPORTING: tuple[str, ...] = (
    r"_*dump_stack\w*",
    r"dump_backtrace\w*",
    r"unwind_backtrace",
    r"show_(?:stack|trace|regs)\w*",
    r"print_\w+",
    r"_*report_\w+",
    r"panic\w*",
    r"nmi_panic\w*",
    r"vpanic",
    r"die\w*",
    r"_*warn(?:_\w+)?",
    r"fixup_bug",
    r"handle_bug",
    r"check_panic_on_warn",
    r"oops_\w+",
    r"ubsan_\w+",
    r"__ubsan_\w+",
    r"handle_overflow",
    r"val_to_string\w*",
    r"__might_sleep",
    r"___?might_\w+",
    r"__might_\w+",
    r"__cant_\w+",
    r"__schedule_bug",
    r"spin_(?:dump|bug)",
    r"rwlock_bug",
    r"debug_spin_\w+",
    r"bad_page\w*",
    r"free_page_is_bad\w*",
    r"check_(?:new|free)_page\w*",
    r"usercopy_abort",
    r"__check_(?:object_size|heap_object)\w*",
    r"check_object_size",
    r"lockdep_rcu_\w+",
    r"debug_print_object",
    r"debug_(?:object|check)\w*",
    r"__debug_(?:object|check)\w*",
    r"__stack_chk_fail",
    r"should_fail\w*|__should_fail\w*",
    r"check_preemption_disabled",
    r"_*(?:this_cpu_preempt_check|debug_smp_processor_id)",
    # compiler instrumentation and memory checkers
    r"_*kasan_\w+",
    r"_*asan_\w+",
    r"_*kmsan_\w+",
    r"_*msan_\w+",
    r"_*kcsan_\w+",
    r"_*tsan_\w+",
    r"_*kfence_\w+",
    r"_*hwasan_\w+",
    r"_*sanitizer_cov_\w+",
    r"write_comp_data",
    r"check_canary\w*",
    r"check_memory_region\w*",
    r"memory_is_\w+",
    r"check_region_inline",
    r"describe_\w+",
    r"slab_err|object_err|slab_pad_check|check_bytes\w*|slab_free\w*|on_freelist",
    r"instrument_\w+",
    r"kunit_try_\w+(?<!run_case)",
)

MACHINERY: tuple[str, ...] = (
    # memory and atomic primitives
    r"_*mem(?:cpy|set|move|cmp|chr|scan)\w*",
    r"_*str(?:n?cpy|n?cmp|n?len|l?cat|lcpy|scpy|chr|rchr|n?casecmp|str|sep|spn)\w*",
    r"s?v?s?n?printf|string(?:_nocheck)?|pointer|format_decode|vsnprintf|vsprintf|sprintf|snprintf|vscnprintf|scnprintf",
    r"_*(?:copy|clear)_(?:to|from|in)?_?user\w*",
    r"_*copy_(?:to|from)_iter\w*",
    r"copyout|copyin|copy_page_\w+",
    r"(?:arch_|raw_)?_*atomic\w*",
    r"_*(?:arch_)?_*(?:test|set|clear|change)_(?:and_(?:set|clear|change)_)?bit\w*",
    r"read_word_at_a_time|__read_once_size\w*|__write_once_size\w*|variable_test_bit|constant_test_bit",
    r"_*list_(?:add|del)\w*",
    r"_*hlist_\w+",
    r"_*refcount_\w+",
    r"_*kref_\w+",
    r"kmalloc\w*|_*kmalloc\w*|kzalloc\w*|_*kmem_cache_alloc\w*|_*kvmalloc\w*|krealloc|kcalloc\w*",
    r"_*kfree\w*|_*kvfree\w*|_*kmem_cache_free\w*|cache_free_debugcheck|do_slab_free|cache_flusharray",
    r"slab_(?:alloc|post_alloc|pre_alloc)\w*|_*slab_alloc\w*|slab_post_alloc_hook|new_slab|allocate_slab",
    r"create_object|kmemleak_\w+",
    r"_*vmalloc\w*|_*vzalloc\w*|__vmalloc_\w+",
    # locks
    r"_*lock_(?:acquire|release|downgrade|set_class|is_held|pin|unpin|acquired|contended)\w*",
    r"_*lockdep_\w+",
    r"_*(?:mark|register)_lock\w*",
    r"register_lock_class|look_up_lock_class|assign_lock_key",
    r"check_(?:prev|prevs|noncircular|deadlock|usage|irq_usage|wait_context)\w*",
    r"validate_chain\w*|valid_state|save_trace|debug_locks_off\w*",
    r"_*raw_(?:spin|read|write)_\w+",
    r"do_raw_\w+",
    r"_*spin_(?:lock|unlock|trylock)\w*",
    r"_*(?:read|write)_(?:lock|unlock|trylock|seqlock|sequnlock)\w*",
    r"queued_(?:spin|read|write)_\w+|native_queued_\w+|pv_queued_\w+",
    r"_*mutex_(?:lock|unlock|trylock|optimistic)\w*|__ww_mutex\w*|ww_mutex_\w+",
    r"_*down(?:_read|_write|_trylock|_interruptible|_killable|_timeout)?(?:_\w+)?",
    r"_*up(?:_read|_write)?(?:_non_owner)?",
    r"_*rwsem_\w+|percpu_(?:down|up)_\w+|_*percpu_rwsem_\w+",
    r"_*(?:rcu|srcu)_(?:lock|read_lock|read_unlock|dereference)\w*|debug_lockdep_\w+",
    r"seqprop_\w+|do_write_seq\w+|sched_annotate_sleep",
    r"trace_hardirqs_\w+|_*local_bh_\w+|_*trace_\w+_caller",
    r"rt_(?:spin|mutex|read|write)_\w+|rtlock_\w+",
    r"_*(?:task_)?rq_lock\w*|_*(?:un)?lock_task_sighand|reacquire_held_locks",
)

# Between user space, an interrupt or a trap, and the code that it is about.
ENTRY: tuple[str, ...] = (
    r"_*do_error_trap\w*|do_(?:invalid_op|general_protection|page_fault|double_fault|trap\w*|int3)",
    r"_*exc_\w+|asm_exc_\w+|asm_sysvec_\w+|sysvec_\w+",
    r"(?:invalid_op|error_entry|page_fault|async_page_fault|general_protection|double_fault)",
    r"no_context|_*bad_area\w*|spurious_fault|page_fault_oops|kernelmode_fixup_or_oops",
    r"handle_page_fault|do_user_addr_fault|do_kern_addr_fault|__do_page_fault|gp_try_fixup\w*",
    r"_*do_kernel_fault|do_(?:translation_fault|mem_abort|debug_exception|DataAbort|bad_area)",
    r"el[01]_\w+|el0t?_\w+|el1h?_\w+|__(?:dabt|irq|und|pabt)_\w+|do_undefinstr|call_undef_hook|bug_handler|brk_handler",
    r"program_check_\w+|\w+_trap",
    r"do_syscall_\w+|do_int80\w*|do_fast_syscall\w*|entry_\w+|ret_from_\w+|syscall_\w+|invoke_syscall",
)

# Code that does what it is told with the data it is given: the caller gave it.
LIBRARY: tuple[str, ...] = (
    r"_*rb_\w+|_*radix_tree_\w+|_*xas?_\w+|_*idr_\w+|_*ida_\w+|_*klist_\w+|_*llist_\w+|_*mas_\w+",
    r"_*rht_\w+|_*rhashtable_\w+|find_(?:next|first)_\w+|_*bitmap_\w+|sort\w*|bsearch",
    r"_*x86_indirect_thunk_\w+|_*x86_return_thunk|retint_\w+|restore_\w+|___?preempt_schedule\w*",
    r"osq_\w+|\w*rt_mutex\w*|mutex_\w+|call_rwsem_\w+",
    r"(?:finish|abort)_wait|_*add_wait_queue\w*|_*wake_up(?!_new_task)\w*|autoremove_wake_function|complete(?:_all)?|swake_up\w*",
    r"_*queue_(?:work|delayed_work)\w*|_*flush_work\w*|flush_delayed_work|_*cancel_(?:delayed_)?work\w*|insert_work",
    r"lock_timer_base|_*mod_timer\w*|_*del_timer\w*|_*timer_(?:delete|shutdown)\w*",
    r"(?:timer|work)_is_static_object|detach_\w*(?:timer|pending)|add_timer\w*|_*try_to_del_timer\w*|sk_(?:stop|reset)_timer\w*",
    r"try_to_grab_pending|work_grab_pending|_*(?:drain|destroy)_workqueue|_*cancel_work_sync",
    r"_*crc\w+|_*aes\w*_\w+|crypto_\w+|_*sha\d+_\w+|_*jhash\w*|siphash\w*",
    r"s?k?cipher_\w+|drbg_\w+|jent_\w+|[as]hash_\w+|rng_\w+|gf128mul_\w+|ghash_\w+|chacha\w*",
    r"k?str(?:n?dup)\w*|strn?str|kmemdup\w*|memdup_user\w*|pcpu_\w+|_*alloc_percpu\w*|_*list_lru_init|radix_tree_node_alloc",
    r"fortify_\w+|__fortify_\w+|skb_(?:panic|over_panic|under_panic|pull|push|put|under|over|copy_bits)|_*skb_(?:pull|push|put)\w*|_*pskb_\w+",
    r"(?:\w+_)?assert_?fail\w*|_*\w+_panic|seqprop_\w+|_*seqprop_\w+|ref_tracker_\w+",
    r"stack_trace_\w+|_*save_stack\w*|_*stack_depot\w*|arch_stack_walk|unwind_\w+|_*unwind\w*",
    r"do_\w+_fault|handle_bad_stack|__raw_(?:read|write)[bwlq]|logic_(?:in|out)s?[bwl]|panic_bad_stack|bad_mode\w*_handler",
    r"usb_submit_urb|usb_\w+_msg|usb_start_wait_urb",
    r"usb_(?:kill|unlink|poison|free)_\w+|_*kobject_(?:put|del|cleanup|release)|kthread_stop|kthread_bind\w*|put_device",
    r"device_(?:add|del|destroy|unregister|release|remove_file|for_each_child\w*|links?_\w+)",
    r"devres_release_\w+|sysfs_remove_\w+|kobject_uevent\w*|tty_unregister_device",
    r"\w*hwrng_unregister|i2c_del_adapter|__unregister_client|usb_hcd_submit_urb|dummy_urb_enqueue",
    r"iput|iput_final|dput|fast_dput|_*sk_destruct|_*sk_free|sk_common_release|lock_sock_nested|_*lock_sock\w*",
    r"(?:drop|clear|inc|set)_nlink|_*compound_head|folio_unlock|unlock_page|folio_\w*lock\w*|page_ref_\w+|put_page|folio_put",
    r"kthread(?:_worker_fn)?|worker_thread|process_one_work|process_scheduled_works|start_secondary|cpu_startup_entry|do_idle",
    r"lockdep_\w+|trace_(?:call_bpf|\w+_raw)|perf_trace_lock\w*|trace_event_raw_\w+",
)

# Printing, which reports of locks are often about.
PRINTING: tuple[str, ...] = (
    r"_*v?printk\w*|console_(?:unlock|lock|flush\w*|trylock\w*|emit\w*)|dev_printk\w*|_*dev_(?:err|warn|info)|dev_vprintk_emit",
)

# Sleeping primitives: a task that hangs is blamed on who called them.
SLEEPING: tuple[str, ...] = (
    r"context_switch",
    r"_*schedule\w*",
    r"preempt_schedule\w*",
    r"_*cond_resched\w*",
    r"_*io_schedule\w*",
    r"_*bit_wait\w*",
    r"_*wait_(?:on|for|rcu)_\w+|wait_(?:woken|current_\w+|transaction_\w+|lookup_\w+)|jbd2_log_wait_\w+",
    r"do_wait_for_common",
    r"_*(?:synchronize|completion)_\w+|request_wait_answer|\w+_slowlock\w*",
    r"_*switch_to\w*",
    r"_*out_of_line_wait\w*",
    r"_*prepare_to_wait\w*",
    r"schedule_preempt_disabled",
    r"_*flush_(?:work|workqueue)\w*",
    r"_*cancel_(?:delayed_)?work\w*",
    r"_*lock_sock\w*|__lock_page\w*|folio_wait\w*|__folio_lock\w*",
    r"_*wait_rcu_gp|rcu_barrier\w*",
    r"_*might_fault",
    r"usleep_range\w*|msleep\w*|_*mutex_\w+",
    r"kmem_cache_alloc\w*",
)

# The same by their names, for tasks that hang: whoever else waits or takes a lock.
WAITING: tuple[str, ...] = (
    r"\w*wait\w*",
    r"\w+_lock(?:_\w+)?",
    r"\w*(?:sched|completion|synchronize|kthread)\w*",
)

# Entry side: what stands between an interrupt and the code that it interrupted.
INTERRUPT: tuple[str, ...] = (
    r"nmi_\w+|arch_trigger_\w+|trigger_\w+|rcu_\w+|_*rcu_\w+|check_cpu_stall\w*|sched_\w+",
    r"update_process_times|tick_\w+|hrtimer_\w+|__hrtimer_\w+|_*run_hrtimer\w*|_*remove_hrtimer",
    r"(?:smp_|local_|__sysvec_|sysvec_)?_*apic_timer_interrupt\w*|smp_\w+interrupt|call_on_irq_stack\w*",
    r"run_on_irqstack\w*|asm_call_\w+|__irqentry\w*|irq_\w+|__irq_\w+|invoke_softirq",
    r"arch_timer_\w+|handle_\w*irq\w*|__handle_domain_irq|generic_handle_\w*irq\w*|gic_handle_irq",
    r"watchdog\w*|softlockup\w*|dump_cpu_task|rwsem_\w+|arch_(?:local|static)_\w+|kvm_\w*lock\w*",
)

# Warnings of helpers that speak of what their caller did.
HELPERS: tuple[str, ...] = (
    r"kobject_\w+|__?kobject_\w+|device_register|cdev_add|device_create\w*",
    r"proc_\w+|remove_proc_\w+|_*sysfs_\w+|kernfs_\w+",
    r"_*alloc_pages\w*|alloc_pages\w*|__get_free_pages|get_zeroed_page|alloc_skb\w*",
    r"memdup_user\w*|vmemdup_user|kmemdup\w*|bpf_map_area_alloc\w*",
    r"free_unref_\w+|_*free_pages\w*|_*folio_put\w*|release_pages|get_page_from_freelist|_*alloc_frozen_pages\w*",
    r"rollback_registered\w*|unregister_netdev\w*|get_device_parent|add_uevent_var",
    r"free_object|__free_object|lock_set_\w+",
    r"ktime_get_real\w*",
)

# Who asked for memory is to blame for it, not who hands it out.
ALLOCATION: tuple[str, ...] = (
    r"\w*alloc\w*",
    r"\w*(?:kmem|slab|slub)\w*",
    r"\w*(?:str|mem)n?dup\w*|kv?asprintf\w*",
    r"\w*mmap\w*|idr_get\w*|pcpu_create\w*",
)

# The allocators' own functions, by whatever name.
SLAB: tuple[str, ...] = (
    r"\w*(?:kmem|slab|slub)\w*",
    r"\w*k[vmcz]{0,2}alloc(?:_\w+)?|\w*vmalloc\w*",
)

# Freeing memory, and what is done to it on the way.
FREEING: tuple[str, ...] = (
    r"kmem_\w+|\w*slab_\w+|k?v?z?free\w*|v(?:un)?map|vunmap\w*|__free_\w+",
    r"\w*free_rcu\w*|kvfree_call_rcu",
)

# The objects that are debugged, by their own functions.
OBJECTS: tuple[str, ...] = (
    r"_*(?:hr)?timer_\w+|\w+_timer(?:_sync)?|_*init_timer\w*",
    r"\w*rcu\w*",
    r"_*(?:init|flush|cancel|queue|destroy)_\w*work\w*|work_\w+",
    r"percpu_\w+|_*percpu_counter_\w+",
    r"debug_\w+|kobject_\w+",
)

# Read-side marks and checks of RCU.
RCU: tuple[str, ...] = (r"\w*rcu\w*",)

# Taking a lock that nobody initialised: who calls the locking function is to blame.
KEYS: tuple[str, ...] = (r"\w*lock\w*", r"\w*stack\w*", r"\w*IRQ\w*")


# The lists of one family, or of one kind of it, beside those that ``lists_for`` gives to all.
_OWN: dict[str, tuple[tuple[str, ...], ...]] = {
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


def lists_for(family: str, kind: str, blame: Blame) -> tuple[tuple[str, ...], ...]:
    """The lists that hold for a report of this family and kind (after refinement)."""
    lists = [REPORTING, MACHINERY, ENTRY, LIBRARY]
    if blame is not Blame.LOCK:
        lists.append(PRINTING)
    if blame is Blame.WAIT:
        lists += [SLEEPING, WAITING]
    if blame is Blame.ENTRY:
        lists.append(SLEEPING)
    return (*lists, *_OWN.get(f"{family}/{kind}", _OWN.get(family, ())))


@cache
def compiled(*lists: tuple[str, ...]) -> re.Pattern[str]:
    """One pattern for the whole name of any function on the lists."""
    return re.compile("|".join(f"(?:{entry})" for entries in lists for entry in entries))


def is_report_code(function: str) -> bool:
    """Whether the function only finds and prints reports."""
    return compiled(REPORTING).fullmatch(function.partition(".")[0]) is not None
