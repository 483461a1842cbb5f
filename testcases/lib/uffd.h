/* SPDX-License-Identifier: GPL-2.0-only */
/* userfaultfd(2) for missing pages; each call gives 0 or an errno. */
#ifndef UFFD_H
#define UFFD_H

#include <stddef.h>

/* The descriptor, or a negative errno. */
int uffd_open(void);
int uffd_register(int uffd, void *addr, size_t bytes);
/* Both, with missing pages of the range told from now on; skips where the kernel cannot. */
int uffd_over(void *addr, size_t bytes);
/* *copied, where asked for, is what the kernel says it copied, or its negative errno. */
int uffd_copy(int uffd, void *to, const void *from, size_t bytes, long *copied);
int uffd_wake(int uffd, void *addr, size_t bytes);
/* Waits so many milliseconds for the next fault; its address, NULL where none came. */
void *uffd_next(int uffd, int ms);

#endif
