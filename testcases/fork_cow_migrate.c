// SPDX-License-Identifier: GPL-2.0-only
/*
 * A process forks while its anonymous huge pages migrate.  A migration entry is
 * copied like a mapping, and is made read-only on both sides: parent and child must
 * not see each other's writes, whichever of them the page ends up with.
 *
 *	CPU0 (mover)				CPU1 (parent)
 *
 *	try_to_unmap()				fork()
 *	  a writable migration entry		  copy_hugetlb_page_range()
 *	copies the page				    copies the entry, for reading
 *	remove_migration_ptes()			    (not: takes it for a page)
 *	  maps the new page, as the entry says	parent writes; child must see the old value
 *	  (writable in both: COW is lost)	child writes; parent must not see that
 */
#include "race.h"
#include "repro.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES 2
#define MOVERS 1

static struct counter *forked, *isolated;
static struct target *target;
static volatile unsigned long *turn;

static void mover(void *arg)
{
	move_target(target, (long)arg);
}

/* Waits for the other one's turn to end. */
static void until(unsigned long step)
{
	while (*turn < step)
		sched_yield();
}

static void child_of(char *room, unsigned int seq)
{
	int i;

	until(1);	/* the parent has written what we must not see */
	for (i = 0; i < PAGES; i++)
		if (pattern_check(room + i * HUGE_2M, HUGE_2M, i, seq))
			_exit(1);
	for (i = 0; i < PAGES; i++)
		*(volatile unsigned long *)(room + i * HUGE_2M) = ~0UL;
	*turn = 2;
	until(3);
	_exit(0);
}

static void parent(void *arg)
{
	char *room = map_huge(PAGES);
	unsigned int seq = 0;
	int i, status;
	pid_t pid;

	(void)arg;
	for (i = 0; i < PAGES; i++)
		pattern_write(room + i * HUGE_2M, HUGE_2M, i, seq);
	target_set(target, getpid(), room, PAGES);
	while (running()) {
		*turn = 0;
		pid = fork();
		if (!pid)
			child_of(room, seq);
		if (pid < 0)
			continue;
		count_add(forked, 1);
		seq++;
		for (i = 0; i < PAGES; i++)
			pattern_write(room + i * HUGE_2M, HUGE_2M, i, seq);
		*turn = 1;
		while (*turn < 2 && !waitpid(pid, &status, WNOHANG))
			sched_yield();
		for (i = 0; i < PAGES; i++)
			if (pattern_check(room + i * HUGE_2M, HUGE_2M, i, seq))
				return;
		if (*turn < 2) {
			if (WIFSIGNALED(status))
				fail("signal", "the child was ended by signal %d",
				     WTERMSIG(status));
			return;
		}
		*turn = 3;
		waitpid(pid, &status, 0);
		count_add(isolated, 1);
	}
}

int main(int argc, char **argv)
{
	long i;

	repro_start(argc, argv);
	movers_prepare();
	forked = counter("forked");
	isolated = counter("isolated");
	target = target_new();
	turn = shared_words(1);
	child("parent", parent, NULL);
	for (i = 0; i < MOVERS; i++)
		child("mover", mover, (void *)i);
	repro_wait();
	return repro_end();
}
