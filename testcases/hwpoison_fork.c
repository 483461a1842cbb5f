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
 * Every other round is aimed at the walk itself.  The walk offers the CPU between two
 * VMAs (cond_resched()); an owner of idle priority that is preempted there does not come
 * back while somebody is busy on its CPU, and meanwhile all other users of the page exit:
 *
 *	CPU0 (owner, SCHED_IDLE)	CPU0 (reaper)		CPU1 (mourners)
 *
 *	  rmap_walk_anon()
 *	    cond_resched()		kill(all mourners)	exit_mmap()
 *					busy			  unlink_anon_vmas()
 *	    goes on with this VMA	  (waits for the lock; not: frees the VMA)
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
#include <time.h>
#include <unistd.h>

#ifndef BUS_MCEERR_AR
#define BUS_MCEERR_AR 4
#endif
#define FORKERS 3
#define PAGES 6		/* of one VMA: each one poisoned is a walk of its own */
#define MOURNERS 12
#define AIMED_PAGES 2
#define BUSY_US 60000	/* some exits of an emulated guest */
#define SHORTEST_US 200	/* what is aimed at: a timer comes as late as 50 */

static struct counter *poisoned, *not_poisoned, *forked, *answered, *aimed;
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
	struct caught caught;
	int err = poison_page(page, HUGE_2M, &caught);

	if (!err) {
		count_add(poisoned, 1);
		return 1;
	}
	if (err == EINVAL)
		skip("MADV_HWPOISON: the kernel needs CONFIG_MEMORY_FAILURE");
	if (err != EBUSY)
		fail("errno", "MADV_HWPOISON: %s", strerror(err));
	count_add(not_poisoned, 1);
	return 2;
}

static void refill(void)
{
	unpoison_all();
	pool_restore(&before);
}

/* Pages of one VMA, all there; NULL where the pool has too few, which is mended. */
static char *map_pages(int n)
{
	struct caught caught;
	char *page = mmap(NULL, n * HUGE_2M, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	int i;

	if (page == MAP_FAILED) {
		refill();
		return NULL;
	}
	/*
	 * A poisoned page that somebody still held could not leave the pool;
	 * it is counted as free there, and nobody gets it.
	 */
	for (i = 0; i < n; i++)
		if (touch_write(page + i * HUGE_2M, 1, &caught)) {
			munmap(page, n * HUGE_2M);
			refill();
			return NULL;
		}
	return page;
}

/* Poisons each page of the range; what became of the first one. */
static int poison_all(char *page, int n)
{
	struct caught caught;
	unsigned char value;
	int i, done, first = 0;

	for (i = 0; i < n; i++) {
		done = poison(page + i * HUGE_2M);
		touch_read(page + i * HUGE_2M, &value, &caught);
		if (done == 1)
			caught_is(&caught, page + i * HUGE_2M, SIGBUS, BUS_MCEERR_AR,
				  "touch of a poisoned page");
		if (!i)
			first = done;
	}
	return first;
}

static void among_forks(volatile unsigned long *state, int turn)
{
	char *page = map_pages(PAGES);
	int i;

	if (!page)
		return;
	*state = 0;
	pattern_write(page, PAGES * HUGE_2M, 1, turn);
	for (i = 0; i < FORKERS; i++)
		if (!fork())
			forker(page, state);
	usleep(1000 * (turn % 8));
	*state = poison_all(page, PAGES);
	while (waitpid(-1, NULL, 0) > 0)
		;
	munmap(page, PAGES * HUGE_2M);
}

static long us_of(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void until(long us)
{
	struct timespec ts = { us / 1000000, us % 1000000 * 1000 };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

static void reap_at(long us, const pid_t *mourners, int n)
{
	int i;

	until(us);
	for (i = 0; i < n; i++)
		kill(mourners[i], SIGKILL);
	while (us_of(CLOCK_MONOTONIC) < us + BUSY_US)
		;
	_exit(0);
}

/* The users of the page exit at another moment of the walk in each turn. */
static void in_mid_walk(int turn)
{
	static long span = 4000;	/* CPU time of what is aimed at, as last seen */
	pid_t mourners[MOURNERS];
	char *page = map_pages(AIMED_PAGES);
	long begin, used;
	int i;

	if (!page)
		return;
	for (i = 0; i < MOURNERS; i++) {
		mourners[i] = fork();
		if (!mourners[i]) {
			pin_cpu(1);
			for (;;)
				pause();
		}
	}
	begin = us_of(CLOCK_MONOTONIC) + 20000;
	pin_cpu(0);
	if (!fork())
		reap_at(begin + turn * 377L % 1000 * span / 1000, mourners, MOURNERS);
	until(begin);
	used = us_of(CLOCK_THREAD_CPUTIME_ID);
	idle_priority();
	poison_all(page, AIMED_PAGES);
	usual_priority();
	used = us_of(CLOCK_THREAD_CPUTIME_ID) - used;
	span = used < SHORTEST_US ? SHORTEST_US : used > 50000 ? 50000 : used;
	for (i = 0; i < MOURNERS; i++)
		if (mourners[i] > 0)
			kill(mourners[i], SIGKILL);
	while (waitpid(-1, NULL, 0) > 0)
		;
	munmap(page, AIMED_PAGES * HUGE_2M);
	count_add(aimed, 1);
}

static void owner(void *arg)
{
	volatile unsigned long *state = shared_words(1);
	int turn;

	(void)arg;
	for (turn = 0; running(); turn++)
		if (turn % 4)
			in_mid_walk(turn);
		else
			among_forks(state, turn / 4);
}

int main(int argc, char **argv)
{
	repro_start(argc, argv);
	catch_signals();
	poisoned = counter("poisoned");
	not_poisoned = counter("not_poisoned");
	forked = counter("forked");
	answered = counter("answered");
	aimed = counter("aimed");
	pool_read(&before);
	child("owner", owner, NULL);
	repro_wait();
	refill();
	return repro_end();
}
