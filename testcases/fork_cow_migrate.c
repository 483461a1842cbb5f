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

static struct counter *forked, *parent_first, *child_first;
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

static int holds(char *room, unsigned int seq)
{
	int i;

	for (i = 0; i < PAGES; i++)
		if (pattern_check(room + i * HUGE_2M, HUGE_2M, i, seq))
			return 0;
	return 1;
}

static void put(char *room, unsigned int seq)
{
	int i;

	for (i = 0; i < PAGES; i++)
		pattern_write(room + i * HUGE_2M, HUGE_2M, i, seq);
}

/*
 * Whoever writes first, by what the fork left of a writable entry, must not be seen by the
 * other: who comes second writes to a page that is nobody else's by then.
 */
static void child_of(char *room, unsigned int seq, int first)
{
	if (!first)
		until(1);	/* the parent has written what we must not see */
	if (!holds(room, seq))
		_exit(1);
	put(room, ~seq);
	*turn = first ? 1 : 2;
	until(first ? 2 : 3);
	_exit(!holds(room, ~seq));
}

static void parent(void *arg)
{
	char *room = map_huge(PAGES);
	unsigned int seq = 0;
	int first, status = 0;
	pid_t pid;

	(void)arg;
	put(room, seq);
	target_set(target, getpid(), room, PAGES);
	while (running()) {
		first = seq & 1;
		*turn = 0;
		pid = fork();
		if (!pid)
			child_of(room, seq, first);
		if (pid < 0)
			continue;
		count_add(forked, 1);
		if (!first) {
			put(room, ++seq);
			*turn = 1;
		}
		while (*turn < (first ? 1 : 2) && !waitpid(pid, &status, WNOHANG))
			sched_yield();
		if (!holds(room, seq))
			return;
		if (*turn < (first ? 1 : 2))
			break;
		if (first)
			put(room, ++seq);
		*turn = first ? 2 : 3;
		waitpid(pid, &status, 0);
		if (status)
			break;
		count_add(first ? child_first : parent_first, 1);
	}
	if (WIFSIGNALED(status))
		fail("signal", "the child was ended by signal %d", WTERMSIG(status));
}

int main(int argc, char **argv)
{
	long i;

	repro_start(argc, argv);
	movers_prepare();
	forked = counter("forked");
	parent_first = counter("parent_first");
	child_first = counter("child_first");
	target = target_new();
	turn = shared_words(1);
	child("parent", parent, NULL);
	for (i = 0; i < MOVERS; i++)
		child("mover", mover, (void *)i);
	repro_wait();
	return repro_end();
}
