/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Fault injection into this thread only: the n-th allocation from here on fails, and
 * none of anybody else.
 */
#ifndef INJECT_H
#define INJECT_H

/*
 * Makes failslab and fail_page_alloc reach GFP_KERNEL and huge orders too, which they
 * leave out by default; skips where the kernel has no fault injection.
 */
void inject_prepare(void);
/* How failslab and fail_page_alloc were before. */
void inject_restore(void);

/* The n-th allocation of this thread fails, n >= 1. */
void inject_arm(int n);
/* Ends it; true where the n-th allocation came and failed. */
int inject_disarm(void);

#endif
