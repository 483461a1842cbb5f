// SPDX-License-Identifier: GPL-2.0-only
/*
 * Threads read and write a few huge pages that migrate all the time, with nothing
 * left in the pools.  A fault that meets the migration must wait for it; one that
 * finds the entry cleared for a moment must not take the page for missing, for
 * there is no other to be had, and a correct program would get SIGBUS.  Every
 * thread has a slot in each page and finds its own sequence number again.
 *
 *	CPU0 (mover)				CPU1 (a thread of the owner)
 *
 *	try_to_unmap_one()			hugetlb_fault()
 *	  ptep_clear_flush()			  sees no entry
 *	  sets a migration entry		  hugetlb_no_page()
 *	copies the page				    alloc_huge_page(): the pool is empty
 *	remove_migration_ptes()			    there is an entry by now: again
 *
 * Migration does not need the pool: it takes a fresh page from the buddy allocator.
 */
#include "pool.h"
#include "race.h"
#include "repro.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGES 2		/* of each kind */
#define THREADS 4
#define SLOT 64		/* words; each thread writes where no other does */

static struct counter *checked, *filled;
static struct target *target;
static volatile unsigned long *stage;
static char *room;

enum { OWNED = 1, FILLED };

static void mover(void *arg)
{
	move_target(target, (long)arg);
}

static void *storm(void *arg)
{
	unsigned long id = (unsigned long)arg, seq = 0, got;
	int page;

	while (running()) {
		for (page = 0; page < 2 * PAGES; page++) {
			volatile unsigned long *slot =
				(unsigned long *)(room + page * HUGE_2M) + id * SLOT;

			got = *slot;
			if (got != seq) {
				fail("data", "thread %lu page %d: expected %lu, found %lu", id,
				     page, seq, got);
				return NULL;
			}
			*slot = seq + 1;
			/* The far end of the page is copied last. */
			slot += HUGE_2M / sizeof(*slot) / 2;
			got = *slot;
			if (got != seq) {
				fail("data", "thread %lu page %d, second half: expected %lu, "
				     "found %lu", id, page, seq, got);
				return NULL;
			}
			*slot = seq + 1;
		}
		seq++;
		count_add(checked, 1);
	}
	return NULL;
}

static void owner(void *arg)
{
	pthread_t threads[THREADS];
	int fd = huge_memfd(PAGES * HUGE_2M);
	long i;

	(void)arg;
	room = map_huge(2 * PAGES);
	if (mmap(room + PAGES * HUGE_2M, PAGES * HUGE_2M, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
		skip("a shared mapping of %d huge pages", PAGES);
	for (i = 0; i < 2 * PAGES; i++)
		*(volatile char *)(room + i * HUGE_2M) = 0;
	*stage = OWNED;
	while (running() && *stage != FILLED)
		usleep(1000);
	target_set(target, getpid(), room, 2 * PAGES);
	for (i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, storm, (void *)i);
	for (i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

/* Takes all that the owner has left in the pools, page by page, and keeps it. */
static void filler(void *arg)
{
	char *p;

	(void)arg;
	while (running() && *stage != OWNED)
		usleep(1000);
	while (running()) {
		p = mmap(NULL, HUGE_2M, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
		if (p != MAP_FAILED) {
			*(volatile char *)p = 1;
			count_add(filled, 1);
			continue;
		}
		*stage = FILLED;
		usleep(10000);
	}
}

int main(int argc, char **argv)
{
	struct pool all;
	long i;

	repro_start(argc, argv);
	movers_prepare();
	checked = counter("checked");
	filled = counter("filled");
	target = target_new();
	stage = shared_words(1);
	pool_read(&all);
	pool_cap(&all, POOL_ENOUGH);
	child("owner", owner, NULL);
	child("filler", filler, NULL);
	for (i = 0; i < 2; i++)
		child("mover", mover, (void *)i);
	repro_wait();
	/* A page that moved without the pool is counted on its new node. */
	pool_restore(&all);
	return repro_end();
}
