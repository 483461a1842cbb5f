// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "catch.h"
#include "repro.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_HWPOISON
#define MADV_HWPOISON 100
#endif

static __thread sigjmp_buf back;
static __thread volatile sig_atomic_t armed;
static __thread volatile sig_atomic_t poisoning;
static __thread struct caught seen;

static void on_signal(int sig, siginfo_t *info, void *context)
{
	(void)context;
	seen.sig = sig;
	seen.code = info->si_code;
	seen.addr = info->si_addr;
	seen.lsb = sig == SIGBUS && (info->si_code == BUS_MCEERR_AR ||
				     info->si_code == BUS_MCEERR_AO) ? info->si_addr_lsb : 0;
	if (armed) {
		armed = 0;
		siglongjmp(back, 1);
	}
	/* Sent by somebody to tell of a memory error: nothing was touched. */
	if (sig == SIGBUS && info->si_code == BUS_MCEERR_AO)
		return;
	if (sig == SIGBUS && info->si_code == BUS_MCEERR_AR && poisoning)
		return;
	fail("signal", "unexpected signal %d (%s), si_code %d, si_addr %p, lsb %d", sig,
	     strsignal(sig), seen.code, seen.addr, seen.lsb);
	_exit(1);
}

void catch_signals(void)
{
	struct sigaction action = { .sa_flags = SA_SIGINFO | SA_NODEFER };

	action.sa_sigaction = on_signal;
	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
}

int touch_read(const volatile void *p, unsigned char *value, struct caught *caught)
{
	memset(&seen, 0, sizeof(seen));
	if (!sigsetjmp(back, 0)) {
		armed = 1;
		*value = *(const volatile unsigned char *)p;
		armed = 0;
	}
	*caught = seen;
	return caught->sig;
}

int touch_write(volatile void *p, unsigned char value, struct caught *caught)
{
	memset(&seen, 0, sizeof(seen));
	if (!sigsetjmp(back, 0)) {
		armed = 1;
		*(volatile unsigned char *)p = value;
		armed = 0;
	}
	*caught = seen;
	return caught->sig;
}

int poison_page(void *p, size_t len, struct caught *caught)
{
	int err;

	memset(&seen, 0, sizeof(seen));
	poisoning = 1;
	err = madvise(p, len, MADV_HWPOISON) ? errno : 0;
	poisoning = 0;
	*caught = seen;
	if (caught->sig)
		caught_is(caught, p, SIGBUS, BUS_MCEERR_AR, "MADV_HWPOISON");
	return err;
}

int caught_is(const struct caught *caught, const volatile void *p, int sig, int code,
	      const char *when)
{
	uintptr_t mask = ~(HUGE_2M - 1);

	if (caught->sig == sig &&
	    (!sig || ((!code || caught->code == code) &&
		      ((uintptr_t)caught->addr & mask) == ((uintptr_t)p & mask))))
		return 1;
	fail("signal", "%s: touch of %p: expected signal %d code %d, got %d code %d at %p", when,
	     (const void *)p, sig, code, caught->sig, caught->code, caught->addr);
	return 0;
}
