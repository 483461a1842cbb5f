// SPDX-License-Identifier: GPL-2.0-only
/*
 * The life of a PMD table that several processes share: found and shared by a fault,
 * inherited by fork(), given up by mprotect(), munmap() and a split of part of the
 * range, unshared by migration, and left by exit, in all orders, all at once.
 *
 *	CPU0 (sharer)				CPU1 (sharer, or mover)
 *
 *	hugetlb_fault()				munmap(), mprotect(), _exit(), or
 *	  i_mmap_lock_read()			try_to_unmap()
 *	  huge_pmd_share()			  i_mmap_lock_write()
 *	    takes the table of a neighbour	  huge_pmd_unshare()
 *	    pud_populate()			    pud_clear(), the share count
 *	  uses an entry of it			the last user frees the table
 *
 * The pages hold a pattern that nobody changes; whoever maps them must find it.
 */
#include "catch.h"
#include "race.h"
#include "repro.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES 4
#define SHARERS 4

static struct counter *shared_tables, *lives, *checked;
static struct target *target;
static int fd;

static void mover(void *arg)
{
	move_target(target, (long)arg);
}

static void check(char *room, unsigned int from)
{
	unsigned int i, page;

	for (i = 0; i < PAGES; i++) {
		page = (from + i) % PAGES;
		if (!pattern_check(room + page * HUGE_2M, HUGE_2M, page, 0))
			count_add(checked, 1);
	}
}

static void life(unsigned int turn)
{
	char *room = map_pud(fd, PROT_READ | PROT_WRITE);
	pid_t pid = 0;

	*(volatile char *)(room + turn % PAGES * HUGE_2M + 2048);
	count_add(shared_tables, is_mapped(room + (turn + 1) % PAGES * HUGE_2M));
	check(room, turn);
	if (turn % 3 == 0)
		target_set(target, getpid(), room, PAGES);
	if (turn % 4 == 1) {
		pid = fork();
		if (!pid) {
			check(room, turn + 1);
			_exit(0);
		}
	}
	switch (turn % 5) {
	case 0:	/* a split within the range: no part can share any longer */
		mprotect(room + HUGE_2M, HUGE_2M, PROT_READ);
		check(room, 0);
		break;
	case 1:
		munmap(room + PAGES / 2 * HUGE_2M, PUD_BYTES / 2);
		break;
	case 2:	/* all of it, without a split */
		mprotect(room, PUD_BYTES, PROT_READ);
		check(room, 0);
		mprotect(room, PUD_BYTES, PROT_READ | PROT_WRITE);
		check(room, 0);
		break;
	case 3:
		madvise(room + HUGE_2M, HUGE_2M, MADV_DONTFORK);
		check(room, 0);
		break;
	}
	if (turn % 2)
		munmap(room, PUD_BYTES);	/* else at exit */
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

static void sharer(void *arg)
{
	unsigned int turn = 7 * (long)arg;
	int status;
	pid_t pid;

	for (; running(); turn++) {
		pid = fork();
		if (!pid) {
			life(turn);
			_exit(0);
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid)
			continue;
		if (WIFSIGNALED(status))
			fail("signal", "a sharer was ended by signal %d", WTERMSIG(status));
		count_add(lives, 1);
	}
}

int main(int argc, char **argv)
{
	char *room;
	long i;

	repro_start(argc, argv);
	movers_prepare();
	catch_signals();
	shared_tables = counter("shared_tables");
	lives = counter("lives");
	checked = counter("checked");
	target = target_new();
	fd = huge_memfd(PUD_BYTES);
	room = map_pud(fd, PROT_READ | PROT_WRITE);
	for (i = 0; i < PAGES; i++)
		pattern_write(room + i * HUGE_2M, HUGE_2M, i, 0);
	munmap(room, PUD_BYTES);
	child("mover", mover, (void *)0);
	for (i = 0; i < SHARERS; i++)
		child("sharer", sharer, (void *)i);
	repro_wait();
	/* What is left in the file is what was written. */
	room = map_pud(fd, PROT_READ);
	check(room, 0);
	munmap(room, PUD_BYTES);
	close(fd);
	return repro_end();
}
