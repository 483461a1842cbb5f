// SPDX-License-Identifier: GPL-2.0-only
/*
 * Movers of one range that pull into opposite directions.  Each finds the migration
 * entries of the other and must wait, isolates a page once, and gives back a page
 * that it could not move.  Anonymous and shared pages; the owner writes and reads
 * them all the while, so that a lost update is seen.
 *
 *	CPU0 (mover)				CPU1 (mover)
 *
 *	move_pages(owner, page, node 1)		move_pages(owner, page, node 0)
 *	  isolate_hugetlb()			  follow_page()
 *	  try_to_unmap()			    follow_huge_pmd_pte()
 *	    sets a migration entry		      finds the entry: waits
 *	  copies the page			      (not: takes it for a page)
 *	  remove_migration_ptes()		  isolate_hugetlb(): EBUSY, or moves back
 *
 * Who only asks where the pages are (move_pages() without nodes) walks the same way, and
 * far more often, since it moves nothing.
 */
#define _GNU_SOURCE
#include "race.h"
#include "repro.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGES 4		/* of each kind */
#define MOVERS 3
#define ENOUGH 1000	/* answers about a page, to judge by their share */

static struct counter *checked, *asked, *absent;
static struct target *target;

static void mover(void *arg)
{
	move_target(target, (long)arg);
}

static int is_among(int node, const int *nodes, int n)
{
	while (n > 0 && nodes[n - 1] != node)
		n--;
	return n > 0;
}

/*
 * Where a page is, whoever moves it meanwhile: at one node or at the other, or at a third
 * one where its first touch has put it.  ENOENT is legal: follow_page_mask() looks without
 * the lock first, and for a moment of the unmapping there is neither the page nor a
 * migration entry.  That is 1 in 10,000; who does not wait for a migration to end is told
 * so of 1 in 4.
 */
static void asker(void *arg)
{
	int status[2 * PAGES], nodes[64], n, i;
	void *pages[2 * PAGES];
	pid_t pid;

	(void)arg;
	n = memory_nodes(nodes, 64);
	while (running()) {
		pid = __atomic_load_n(&target->pid, __ATOMIC_ACQUIRE);
		if (!pid) {
			usleep(1000);
			continue;
		}
		for (i = 0; i < 2 * PAGES; i++)
			pages[i] = target->addr + i * HUGE_2M;
		if (syscall(SYS_move_pages, pid, 2UL * PAGES, pages, NULL, status, 0)) {
			if (running())
				fail("errno", "where the pages are: %s", strerror(errno));
			return;
		}
		for (i = 0; i < 2 * PAGES; i++)
			count_add(absent, status[i] == -ENOENT);
		for (i = 0; i < 2 * PAGES; i++)
			if (status[i] != -ENOENT && !is_among(status[i], nodes, n))
				fail("errno", "where page %d is: %d", i, status[i]);
		count_add(asked, 1);
	}
}

static void owner(void *arg)
{
	unsigned int seq = 0, i;
	char *room, *page;
	int fd = huge_memfd(PAGES * HUGE_2M);

	(void)arg;
	/* One range: anonymous pages, and behind them shared ones. */
	room = map_huge(2 * PAGES);
	if (mmap(room + PAGES * HUGE_2M, PAGES * HUGE_2M, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
		skip("a shared mapping of %d huge pages", PAGES);
	for (i = 0; i < 2 * PAGES; i++)
		pattern_write(room + i * HUGE_2M, HUGE_2M, i, seq);
	target_set(target, getpid(), room, 2 * PAGES);
	for (; running(); seq++) {
		i = seq % (2 * PAGES);
		page = room + i * HUGE_2M;
		if (pattern_check(page, HUGE_2M, i, seq / (2 * PAGES)))
			return;
		pattern_write(page, HUGE_2M, i, seq / (2 * PAGES) + 1);
		count_add(checked, 1);
	}
}

int main(int argc, char **argv)
{
	unsigned long pages;
	long i;

	repro_start(argc, argv);
	movers_prepare();
	checked = counter("checked");
	asked = counter("asked");
	absent = counter("absent");
	target = target_new();
	child("owner", owner, NULL);
	for (i = 0; i < MOVERS; i++)
		child("mover", mover, (void *)i);
	child("asker", asker, NULL);
	repro_wait();
	/* 6.12 looks by folio_walk_start(), which does not wait; of those between nobody has looked. */
	pages = count_read(asked) * 2 * PAGES;
	if (!kernel_since(6, 2) && pages > ENOUGH && count_read(absent) > pages / 20)
		fail("errno", "of %lu pages that are all there %lu were ENOENT: nobody waits for a "
		     "migration", pages, count_read(absent));
	return repro_end();
}
