// SPDX-License-Identifier: GPL-2.0-only
/*
 * A hard memory error hits an anonymous huge page that several processes map, while
 * they fork and exit.  memory_failure() walks the anon_vma to unmap the page, twice:
 * to find whom to kill, and to put in the entries that answer a touch by SIGBUS.
 * fork() must copy such an entry as one.
 *
 *	CPU0 (owner)				CPU1 (forker and its child)
 *
 *	madvise(MADV_HWPOISON)			fork()
 *	  memory_failure()			  anon_vma_fork(): links a VMA
 *	    hwpoison_user_mappings()		  copy_hugetlb_page_range()
 *	      try_to_unmap()			_exit()
 *	        rmap_walk_anon()		  unlink_anon_vmas()
 *	          under the anon_vma lock	    frees chain and VMA
 *	touch: SIGBUS, BUS_MCEERR_AR		touch: SIGBUS, BUS_MCEERR_AR
 *
 * Each round costs the pool a page.  It is given back: the poison is taken off by
 * hwpoison-inject, and the pools are set as they were.
 */
#include "catch.h"
#include "pool.h"
#include "race.h"
#include "repro.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef BUS_MCEERR_AR
#define BUS_MCEERR_AR 4
#endif
#define FORKERS 3
#define PAGES 6		/* of one VMA: each one poisoned is a walk of its own */

static struct counter *poisoned, *not_poisoned, *forked, *answered;
static struct pool before;

static void forker(char *page, volatile unsigned long *poison)
{
	struct caught caught;
	unsigned long gone;
	unsigned char value;
	pid_t pid;

	for (;;) {
		pid = fork();
		if (!pid)
			_exit(0);
		if (pid > 0)
			waitpid(pid, NULL, 0);
		count_add(forked, 1);
		gone = *poison;
		if (!gone)
			continue;
		/* The child of a poisoned parent meets the entry, too. */
		pid = fork();
		touch_read(page, &value, &caught);
		if (gone == 1)
			caught_is(&caught, page, SIGBUS, BUS_MCEERR_AR, "touch of a poisoned page");
		count_add(answered, 1);
		if (pid > 0)
			waitpid(pid, NULL, 0);
		_exit(0);
	}
}

static int poison(char *page)
{
	if (!madvise(page, HUGE_2M, MADV_HWPOISON)) {
		count_add(poisoned, 1);
		return 1;
	}
	if (errno == EINVAL)
		skip("MADV_HWPOISON: the kernel needs CONFIG_MEMORY_FAILURE");
	if (errno != EBUSY)
		fail("errno", "MADV_HWPOISON: %s", strerror(errno));
	count_add(not_poisoned, 1);
	return 2;
}

static void refill(void)
{
	unpoison_all();
	pools_restore(&before);
}

static void owner(void *arg)
{
	volatile unsigned long *state = shared_words(1);
	struct caught caught;
	unsigned char value;
	int i, done, first = 0, rounds = 0;
	char *page;

	(void)arg;
	while (running()) {
		*state = 0;
		page = mmap(NULL, PAGES * HUGE_2M, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
		if (page == MAP_FAILED) {
			refill();
			continue;
		}
		/*
		 * A poisoned page that somebody still held could not leave the pool;
		 * it is counted as free there, and nobody gets it.
		 */
		for (i = 0; i < PAGES; i++)
			if (touch_write(page + i * HUGE_2M, 1, &caught))
				break;
		if (i < PAGES) {
			munmap(page, PAGES * HUGE_2M);
			refill();
			continue;
		}
		pattern_write(page, PAGES * HUGE_2M, 1, rounds);
		for (i = 0; i < FORKERS; i++)
			if (!fork())
				forker(page, state);
		usleep(1000 * (rounds++ % 8));
		for (i = 0; i < PAGES; i++) {
			done = poison(page + i * HUGE_2M);
			touch_read(page + i * HUGE_2M, &value, &caught);
			if (done == 1)
				caught_is(&caught, page + i * HUGE_2M, SIGBUS, BUS_MCEERR_AR,
					  "touch of a poisoned page");
			if (!i)
				first = done;
		}
		*state = first;
		while (waitpid(-1, NULL, 0) > 0)
			;
		munmap(page, PAGES * HUGE_2M);
	}
}

int main(int argc, char **argv)
{
	repro_start(argc, argv);
	catch_signals();
	poisoned = counter("poisoned");
	not_poisoned = counter("not_poisoned");
	forked = counter("forked");
	answered = counter("answered");
	pool_read(&before);
	child("owner", owner, NULL);
	repro_wait();
	refill();
	return repro_end();
}
