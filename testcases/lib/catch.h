/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A touch of memory that may be answered by a signal, as a value: which signal,
 * with what si_code and si_addr.  catch_signals() is called once, before the
 * first touch; it holds for all threads and for children.  A SIGBUS or SIGSEGV
 * anywhere else is a failure of its own, told with code, address and LSB.
 */
#ifndef CATCH_H
#define CATCH_H

#include <stddef.h>

struct caught {
	int sig;	/* 0: the touch succeeded */
	int code;
	int lsb;	/* si_addr_lsb of a memory error */
	void *addr;
};

void catch_signals(void);

int touch_read(const volatile void *p, unsigned char *value, struct caught *caught);
int touch_write(volatile void *p, unsigned char value, struct caught *caught);

/*
 * madvise(MADV_HWPOISON); its errno, or 0.  Since 6.11 ("mm/madvise: add
 * MF_ACTION_REQUIRED to madvise(MADV_HWPOISON)") who asks for it is answered by
 * SIGBUS itself, with BUS_MCEERR_AR and the page, before the call returns: it
 * is in caught, and a failure where it names another page.
 */
int poison_page(void *p, size_t len, struct caught *caught);

/*
 * Calls fail("signal", ...) unless the touch at p was answered by sig (0: by
 * none), with this si_code (0: any) and si_addr on the same huge page.
 */
int caught_is(const struct caught *caught, const volatile void *p, int sig, int code,
	      const char *when);

#endif
