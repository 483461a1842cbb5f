/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The huge page pools as sysfs tells of them, in pages of one size: for the whole
 * machine and for each node with memory.
 */
#ifndef POOL_H
#define POOL_H

#define MAX_NODES 64	/* as many as the masks here have bits */

struct pool {
	long nr, free, resv, surplus, overcommit;
	long wanted;	/* vm.nr_hugepages; -1 where it is of another size */
	int n_nodes, node[MAX_NODES];
	long node_nr[MAX_NODES], node_free[MAX_NODES], node_surplus[MAX_NODES];
};

/* Which size the rest is about; 2 MiB when nobody says. */
void pool_use(unsigned long page_bytes);

void pool_read(struct pool *pool);
/* nr, free and resv of the machine only: each file costs an emulated guest 0.3 ms. */
void pool_read_sums(struct pool *pool);

/* nr_hugepages or nr_overcommit_hugepages of the machine; 0 or an errno. */
int pool_set(const char *name, long value);
/* nr_hugepages of one node. */
int pool_node_set(int node, long value);

/*
 * Puts each node's nr_hugepages, and the overcommit, back to what they were; a node that
 * lacks pages then is asked again, for up to 10 s, less after a failure.  A migration to
 * an empty pool moves a page of the pool from one node to another.
 */
void pool_restore(const struct pool *to);

/*
 * No page for anybody, in the pools or beyond them, but first pages at the first node; and
 * a pool of at most so many pages a node, without overcommit.  Until pool_restore().
 */
void pool_empty(const struct pool *all, long first);
void pool_cap(const struct pool *all, long most);
#define POOL_ENOUGH 64	/* where a case takes all there is, and clears and fills each page */

/*
 * Calls fail("counters", ...) where the sums of the nodes differ from the machine's
 * counters, a node has more free or surplus pages than pages, less is free than
 * reserved, or the pool is not of the size that is wanted, its surplus left out.  Only for a moment when nobody changes the pools.
 */
void pool_check(const char *when);

/*
 * The same, and each counter must be as it was before.  Huge pages are given back
 * by a worker at times, so it waits up to a second for that, less after a failure.
 */
void pool_same(const struct pool *before, const char *when);

/* Waits up to a second for the counter to become what it should be; else fails. */
void pool_expect(const char *name, long value, const char *when);

#endif
