// SPDX-License-Identifier: GPL-2.0-only
/*
 * A page is touched all the time while it migrates, and there is no other huge page:
 * whoever takes the page for missing can only fail.
 *
 *	CPU0 (mover)				CPU1 (toucher)
 *
 *	try_to_unmap_one()
 *	  page table lock
 *	  huge_ptep_clear_flush()
 *	    clears the entry
 *	    waits for the flush of CPU1		flushes; touches: the entry is none
 *						hugetlb_no_page()
 *						  alloc_huge_page() fails
 *						  looks again, under the lock: migrating
 *	  set_huge_swap_pte_at()
 *
 * The mover needs no page of the pool: it takes a temporary one.  The touchers keep
 * a number each, so that a lost write shows as well as a SIGBUS.
 */
#define _GNU_SOURCE
#include "catch.h"
#include "huge.h"
#include "pool.h"
#include "repro.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define TOUCHERS 2
#define OWNER 8

static struct counter *touched, *moved, *not_moved;
static int nodes[2];
static struct huge h;

static void *toucher(void *arg)
{
	volatile unsigned long *word = (unsigned long *)(h.addr + 1024) + 8 * (long)arg;
	unsigned long n = 0;

	while (running()) {
		int i;

		for (i = 0; i < 64; i++) {
			if (*word != n) {
				fail("data", "toucher %ld wrote %lu and found %lu", (long)arg, n, *word);
				return NULL;
			}
			*word = ++n;
		}
		count_add(touched, 64);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	int at = repro_start(argc, argv), turn, status, i;
	enum kind kind = at < argc && !strcmp(argv[at], "-f") ? MEMFD : ANON;
	struct pool all;
	long got;

	touched = counter("touched");
	moved = counter("moved");
	not_moved = counter("not_moved");
	two_nodes(nodes);
	catch_signals();
	pool_read(&all);
	if (all.free != all.nr || all.resv || all.surplus)
		skip("the pools are in use");
	pool_set("nr_overcommit_hugepages", 0);
	for (i = 0; i < all.n_nodes; i++)
		pool_node_set(all.node[i], all.node[i] == nodes[0]);
	got = huge_open(&h, kind, HUGE_2M, 1, NULL, OWNER);
	if (got)
		fail("errno", "the one page of the pool: %s", strerror(got));
	else {
		pthread_t threads[TOUCHERS];
		long t;

		pool_expect("free_hugepages", 0, "the pool is empty");
		for (t = 0; t < TOUCHERS; t++)
			pthread_create(&threads[t], NULL, toucher, (void *)t);
		for (turn = 1; running(); turn++) {
			got = move_page(0, h.addr, nodes[turn % 2], MPOL_MF_MOVE, &status);
			count_add(!got && status == nodes[turn % 2] ? moved : not_moved, 1);
		}
		for (t = 0; t < TOUCHERS; t++)
			pthread_join(threads[t], NULL);
		huge_check(&h, OWNER, "at the end");
		huge_close(&h);
	}
	pool_restore(&all);
	pool_same(&all, "at the end");
	return repro_end();
}
