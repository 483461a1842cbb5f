"""Functions that are never to blame: the reporting, the primitives, the way in and out.

Each entry is a regular expression for a whole function name, and a function that it is there for.
"""

from __future__ import annotations

Skips = tuple[tuple[str, str], ...]

# Printing a report, and the checkers that found it: not even when nothing else is on the stack.
REPORTING: Skips = (
    (r"_*dump_stack\w*", "dump_stack"),
    (r"dump_backtrace\w*", "dump_backtrace"),
    (r"unwind_backtrace", "unwind_backtrace"),
    (r"show_(?:stack|trace|regs)\w*", "show_regs"),
    (r"print_\w+", "print_ICs"),
    (r"_*report_\w+", "report_bug"),
    (r"panic\w*", "panic"),
    (r"nmi_panic\w*", "nmi_panic"),
    (r"vpanic", "vpanic"),
    (r"die\w*", "die"),
    (r"_*warn(?:_\w+)?", "__warn"),
    (r"fixup_bug", "fixup_bug"),
    (r"handle_bug", "handle_bug"),
    (r"check_panic_on_warn", "check_panic_on_warn"),
    (r"oops_\w+", "oops_end"),
    (r"ubsan_\w+", "ubsan_epilogue"),
    (r"__ubsan_\w+", "__ubsan_handle_shift_out_of_bounds"),
    (r"handle_overflow", "handle_overflow"),
    (r"val_to_string\w*", "val_to_string"),
    (r"__might_sleep", "__might_sleep"),
    (r"___?might_\w+", "___might_sleep"),
    (r"__might_\w+", "__might_fault"),
    (r"__cant_\w+", "__cant_sleep"),
    (r"__schedule_bug", "__schedule_bug"),
    (r"spin_(?:dump|bug)", "spin_bug"),
    (r"rwlock_bug", "rwlock_bug"),
    (r"debug_spin_\w+", "debug_spin_lock_before"),
    (r"bad_page\w*", "bad_page"),
    (r"free_page_is_bad\w*", "free_page_is_bad_report"),
    (r"check_(?:new|free)_page\w*", "check_free_page_bad"),
    (r"usercopy_abort", "usercopy_abort"),
    (r"__check_(?:object_size|heap_object)\w*", "__check_heap_object"),
    (r"check_object_size", "check_object_size"),
    (r"lockdep_rcu_\w+", "lockdep_rcu_suspicious"),
    (r"debug_print_object", "debug_print_object"),
    (r"debug_(?:object|check)\w*", "debug_check_no_locks_held"),
    (r"__debug_(?:object|check)\w*", "__debug_object_init"),
    (r"__stack_chk_fail", "__stack_chk_fail"),
    (r"should_fail\w*|__should_fail\w*", "should_fail"),
    (r"check_preemption_disabled", "check_preemption_disabled"),
    (r"_*(?:this_cpu_preempt_check|debug_smp_processor_id)", "debug_smp_processor_id"),
    # compiler instrumentation and memory checkers
    (r"_*kasan_\w+", "kasan_init"),
    (r"_*asan_\w+", "__asan_load1"),
    (r"_*kmsan_\w+", "kmsan_report"),
    (r"_*msan_\w+", "__msan_warning"),
    (r"_*kcsan_\w+", "kcsan_setup_watchpoint"),
    (r"_*tsan_\w+", "__tsan_read8"),
    (r"_*kfence_\w+", "kfence_report_error"),
    (r"_*hwasan_\w+", "__hwasan_check"),
    (r"_*sanitizer_cov_\w+", "__sanitizer_cov_trace_pc"),
    (r"write_comp_data", "write_comp_data"),
    (r"check_canary\w*", "check_canary_byte"),
    (r"check_memory_region\w*", "check_memory_region"),
    (r"memory_is_\w+", "memory_is_poisoned_16"),
    (r"check_region_inline", "check_region_inline"),
    (r"describe_\w+", "describe_object"),
    (r"slab_err|object_err|slab_pad_check|check_bytes\w*|slab_free\w*|on_freelist", "slab_err"),
    (r"instrument_\w+", "instrument_atomic_read"),
    (r"kunit_try_\w+(?<!run_case)", "kunit_try_catch_run"),
)

MACHINERY: Skips = (
    # memory and atomic primitives
    (r"_*mem(?:cpy|set|move|cmp|chr|scan)\w*", "memchr"),
    (r"_*str(?:n?cpy|n?cmp|n?len|l?cat|lcpy|scpy|chr|rchr|n?casecmp|str|sep|spn)\w*", "strcat"),
    (
        r"s?v?s?n?printf|string(?:_nocheck)?|pointer|format_decode|vsnprintf|vsprintf|sprintf|snprintf|vscnprintf|scnprintf",
        "string",
    ),
    # Whatever copies for others by its name: who asks for it chose the place and the context.
    (r"_*(?:copy|clear)_(?:to|from|in)?_?user\w*|\w+_copy_(?:to|from)_user", "skb_copy_to_user"),
    (r"_*copy_(?:to|from)_iter\w*", "_copy_to_iter"),
    (r"copyout|copyin|copy_page_\w+", "copyin"),
    (r"(?:arch_|raw_)?_*atomic\w*", "_atomic_dec_and_lock"),
    (r"_*(?:arch_)?_*(?:test|set|clear|change)_(?:and_(?:set|clear|change)_)?bit\w*", "set_bit"),
    (
        r"read_word_at_a_time|__read_once_size\w*|__write_once_size\w*|variable_test_bit|constant_test_bit",
        "read_word_at_a_time",
    ),
    (r"_*list_(?:add|del)\w*", "__list_add_rcu"),
    (r"_*hlist_\w+", "hlist_add_head_rcu"),
    (r"_*refcount_\w+", "__refcount_add"),
    (r"_*kref_\w+", "kref_put"),
    (
        r"kmalloc\w*|_*kmalloc\w*|kzalloc\w*|_*kmem_cache_alloc\w*|_*kvmalloc\w*|krealloc|kcalloc\w*",
        "krealloc",
    ),
    (
        r"_*kfree\w*|_*kvfree\w*|_*kmem_cache_free\w*|cache_free_debugcheck|do_slab_free|cache_flusharray",
        "kfree",
    ),
    (
        r"slab_(?:alloc|post_alloc|pre_alloc)\w*|_*slab_alloc\w*|slab_post_alloc_hook|new_slab|allocate_slab",
        "___slab_alloc",
    ),
    (r"create_object|kmemleak_\w+", "kmemleak_alloc"),
    (r"_*vmalloc\w*|_*vzalloc\w*|__vmalloc_\w+", "vmalloc"),
    # locks
    (
        r"_*lock_(?:acquire|release|downgrade|set_class|is_held|pin|unpin|acquired|contended)\w*",
        "lock_acquire",
    ),
    (r"_*lockdep_\w+", "lockdep_init"),
    (r"_*(?:mark|register)_lock\w*", "mark_lock"),
    (r"register_lock_class|look_up_lock_class|assign_lock_key", "look_up_lock_class"),
    (
        r"check_(?:prev|prevs|noncircular|deadlock|usage|irq_usage|wait_context)\w*",
        "check_irq_usage",
    ),
    (r"validate_chain\w*|valid_state|save_trace|debug_locks_off\w*", "save_trace"),
    (r"_*raw_(?:spin|read|write)_\w+", "_raw_read_lock"),
    (r"do_raw_\w+", "do_raw_read_lock"),
    (r"_*spin_(?:lock|unlock|trylock)\w*", "spin_lock_irqsave_ssp_contention"),
    (r"_*(?:read|write)_(?:lock|unlock|trylock|seqlock|sequnlock)\w*", "read_lock_is_recursive"),
    (
        r"queued_(?:spin|read|write)_\w+|native_queued_\w+|pv_queued_\w+",
        "queued_read_lock_slowpath",
    ),
    (r"_*mutex_(?:lock|unlock|trylock|optimistic)\w*|__ww_mutex\w*|ww_mutex_\w+", "__mutex_lock"),
    (r"_*down(?:_read|_write|_trylock|_interruptible|_killable|_timeout)?(?:_\w+)?", "down"),
    (r"_*up(?:_read|_write)?(?:_non_owner)?|downgrade_write", "up"),
    (r"_*rwsem_\w+|percpu_(?:down|up)_\w+|_*percpu_rwsem_\w+", "rwsem_wake"),
    (
        r"_*(?:rcu|srcu)_(?:lock|read_lock|read_unlock|dereference)\w*|debug_lockdep_\w+",
        "rcu_read_unlock",
    ),
    (r"seqprop_\w+|do_write_seq\w+|sched_annotate_sleep", "do_write_seqcount_begin"),
    (r"trace_hardirqs_\w+|_*local_bh_\w+|_*trace_\w+_caller", "_local_bh_enable"),
    (r"rt_(?:spin|mutex|read|write)_\w+|rtlock_\w+", "rt_mutex_unlock"),
    (r"_*(?:task_)?rq_lock\w*|_*(?:un)?lock_task_sighand|reacquire_held_locks", "task_rq_lock"),
)

# Between user space, an interrupt or a trap, and the code that it is about.
ENTRY: Skips = (
    (
        r"_*do_error_trap\w*|do_(?:invalid_op|general_protection|page_fault|double_fault|trap\w*|int3)",
        "do_int3",
    ),
    (r"_*exc_\w+|asm_exc_\w+|asm_sysvec_\w+|sysvec_\w+", "exc_nmi"),
    (
        r"(?:invalid_op|error_entry|page_fault|async_page_fault|general_protection|double_fault)",
        "error_entry",
    ),
    (
        r"no_context|_*bad_area\w*|spurious_fault|page_fault_oops|kernelmode_fixup_or_oops",
        "bad_area",
    ),
    (
        r"handle_page_fault|do_user_addr_fault|do_kern_addr_fault|__do_page_fault|gp_try_fixup\w*",
        "do_kern_addr_fault",
    ),
    (
        r"_*do_kernel_fault|do_(?:translation_fault|mem_abort|debug_exception|DataAbort|bad_area)",
        "do_translation_fault",
    ),
    (
        r"el[01]_\w+|el0t?_\w+|el1h?_\w+|__(?:dabt|irq|und|pabt)_\w+|do_undefinstr|call_undef_hook|bug_handler|brk_handler",
        "__irq_startup",
    ),
    (r"program_check_\w+|\w+_trap", "force_sig_ptrace_errno_trap"),
    (
        r"do_syscall_\w+|do_int80\w*|do_fast_syscall\w*|entry_\w+|ret_(?:from|fast|slow)_\w+|vector_\w+|syscall_\w+|invoke_syscall",
        "entry_ibpb",
    ),
)
