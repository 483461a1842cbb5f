"""Functions that do what they are told: the one that told them is to blame.

Each entry is a regular expression for a whole function name, and a function that it is there for.
"""

from __future__ import annotations

from harness.splat.skips_machinery import Skips

# Code that does what it is told with the data it is given: the caller gave it.
LIBRARY: Skips = (
    (r"_*v?printk\w*|dev_printk\w*|_*dev_(?:err|warn|info)|dev_vprintk_emit", "printk"),
    (
        r"_*rb_\w+|_*radix_tree_\w+|_*xas?_\w+|_*idr_\w+|_*ida_\w+|_*klist_\w+|_*llist_\w+|_*mas_\w+",
        "rb_free",
    ),
    (r"_*rht_\w+|_*rhashtable_\w+|find_(?:next|first)_\w+|_*bitmap_\w+|sort\w*|bsearch", "sort"),
    (
        r"_*x86_indirect_thunk_\w+|_*x86_return_thunk|retint_\w+|restore_\w+|___?preempt_schedule\w*",
        "restore_altstack",
    ),
    (r"osq_\w+|\w*rt_mutex\w*|mutex_\w+|call_rwsem_\w+", "osq_lock"),
    (
        r"(?:finish|abort)_wait|_*add_wait_queue\w*|_*wake_up(?!_new_task)\w*|autoremove_wake_function|complete(?:_all)?|swake_up\w*",
        "complete",
    ),
    (
        r"_*queue_(?:work|delayed_work)\w*|_*flush_work\w*|flush_delayed_work|_*cancel_(?:delayed_)?work\w*|insert_work",
        "flush_work",
    ),
    (r"lock_timer_base|_*mod_timer\w*|_*del_timer\w*|_*timer_(?:delete|shutdown)\w*", "del_timer"),
    (
        r"(?:timer|work)_is_static_object|detach_\w*(?:timer|pending)|add_timer\w*|_*try_to_del_timer\w*|sk_(?:stop|reset)_timer\w*",
        "add_timer",
    ),
    (
        r"try_to_grab_pending|work_grab_pending|_*(?:drain|destroy)_workqueue|_*cancel_work_sync",
        "drain_workqueue",
    ),
    (r"_*crc\w+|_*aes\w*_\w+|crypto_\w+|_*sha\d+_\w+|_*jhash\w*|siphash\w*", "jhash"),
    (
        r"s?k?cipher_\w+|drbg_\w+|jent_\w+|[as]hash_\w+|rng_\w+|gf128mul_\w+|ghash_\w+|chacha\w*",
        "rng_dev_open",
    ),
    (
        r"k?str(?:n?dup)\w*|strn?str|kmemdup\w*|memdup_user\w*|pcpu_\w+|_*alloc_percpu\w*|_*list_lru_init|radix_tree_node_alloc",
        "strstr",
    ),
    (
        r"fortify_\w+|__fortify_\w+|skb_(?:panic|over_panic|under_panic|pull|push|put|under|over|copy_bits)|_*skb_(?:pull|push|put)\w*|_*pskb_\w+",
        "skb_put",
    ),
    (
        r"(?:\w+_)?assert_?fail\w*|_*\w+_panic|seqprop_\w+|_*seqprop_\w+|ref_tracker_\w+",
        "mce_panic",
    ),
    (
        r"stack_trace_\w+|_*save_stack\w*|_*stack_depot\w*|arch_stack_walk|unwind_\w+|_*unwind\w*",
        "unwind_dump",
    ),
    (
        r"do_\w+_fault|handle_bad_stack|__raw_(?:read|write)[bwlq]|logic_(?:in|out)s?[bwl]|panic_bad_stack|bad_mode\w*_handler",
        "do_kern_addr_fault",
    ),
    (r"usb_submit_urb|usb_\w+_msg|usb_start_wait_urb", "usb_control_msg"),
    (
        r"usb_(?:kill|unlink|poison|free)_\w+|_*kobject_(?:put|del|cleanup|release)|kthread_stop|kthread_bind\w*|put_device",
        "put_device",
    ),
    (
        r"device_(?:add|del|destroy|unregister|release|remove_file|for_each_child\w*|links?_\w+)",
        "device_add",
    ),
    (
        r"devres_release_\w+|sysfs_remove_\w+|kobject_uevent\w*|tty_unregister_device",
        "kobject_uevent",
    ),
    (
        r"\w*hwrng_unregister|i2c_del_adapter|__unregister_client|usb_hcd_submit_urb|dummy_urb_enqueue",
        "hwrng_unregister",
    ),
    (
        r"iput|iput_final|dput|fast_dput|_*sk_destruct|_*sk_free|sk_common_release|lock_sock_nested|_*lock_sock\w*",
        "dput",
    ),
    (
        r"(?:drop|clear|inc|set)_nlink|_*compound_head|folio_unlock|unlock_page|folio_\w*lock\w*|page_ref_\w+|put_page|folio_put",
        "put_page",
    ),
    (
        r"kthread(?:_worker_fn)?|worker_thread|process_one_work|process_scheduled_works|start_secondary|cpu_startup_entry|do_idle",
        "do_idle",
    ),
    (
        r"lockdep_\w+|trace_(?:call_bpf|\w+_raw)|perf_trace_lock\w*|trace_event_raw_\w+",
        "lockdep_init",
    ),
)

# The console, whose locks reports of locks are often about.
CONSOLE: Skips = ((r"console_(?:unlock|lock|flush\w*|trylock\w*|emit\w*)", "console_unlock"),)

# Warnings of helpers that speak of what their caller did.
HELPERS: Skips = (
    (r"kobject_\w+|__?kobject_\w+|device_register|cdev_add|device_create\w*", "cdev_add"),
    (r"proc_\w+|remove_proc_\w+|_*sysfs_\w+|kernfs_\w+", "kernfs_get"),
    (
        r"_*alloc_pages\w*|alloc_pages\w*|__get_free_pages|get_zeroed_page|alloc_skb\w*",
        "alloc_pages",
    ),
    (r"memdup_user\w*|vmemdup_user|kmemdup\w*|bpf_map_area_alloc\w*", "kmemdup"),
    (
        r"free_unref_\w+|_*free_pages\w*|_*folio_put\w*|release_pages|get_page_from_freelist|_*alloc_frozen_pages\w*",
        "free_pages",
    ),
    (
        r"rollback_registered\w*|unregister_netdev\w*|get_device_parent|add_uevent_var",
        "add_uevent_var",
    ),
    (r"free_object|__free_object|lock_set_\w+", "lock_set_class"),
    (r"ktime_get_real\w*", "ktime_get_real"),
)
