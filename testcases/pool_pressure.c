// SPDX-License-Identifier: GPL-2.0-only
/*
 * A migration whose target pool is empty takes a temporary page from the buddy
 * allocator; then the new page belongs to the pool and the old one is freed.  So
 * the pages of the machine stay as many as they were, each node's follow the moves,
 * and a surplus page is a surplus page of its new node.
 *
 *		node A				node B
 *
 *	nr 1 surplus 1 (faulted in)		nr 0 surplus 0, pool empty
 *	  old page becomes temporary <- move ->	temporary page becomes the pool's
 *	nr 0 surplus 0				nr 1 surplus 1
 *	munmap()				the surplus page goes: nr 0
 *
 * A page goes to the very node that was asked for, or stays where it is: not to a third
 * place whose pool happens to have free pages, while the caller is told that all is well.
 *
 * The same with pages of the pool proper, with a pool that is all reserved by
 * somebody else, who must not be robbed, and with pools that grow and shrink meanwhile.
 */
#define _GNU_SOURCE
#include "catch.h"
#include "huge.h"
#include "pool.h"
#include "repro.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES 2
#define OWNER 7

static struct counter *surplus_moved, *pool_moved, *reserved_moved, *resized, *raced, *exact;
static int nodes[2];

static void set_pools(const struct pool *to, long a, long b)
{
	int i;

	for (i = 0; i < to->n_nodes; i++)
		pool_node_set(to->node[i], to->node[i] == nodes[0] ? a : to->node[i] == nodes[1] ? b : 0);
}

static long on_node(const struct pool *p, const long *what, int node)
{
	int i;

	for (i = 0; i < p->n_nodes; i++)
		if (p->node[i] == node)
			return what[i];
	return 0;
}

/* Moves each page to the node; how many arrived.  What is told must be true. */
static int move_to(struct huge *h, int node)
{
	int status, done = 0, before, after;
	size_t i;
	long got;

	for (i = 0; i < h->n; i++) {
		before = page_node(h->addr + i * HUGE_2M);
		got = move_page(0, h->addr + i * HUGE_2M, node, MPOL_MF_MOVE, &status);
		after = page_node(h->addr + i * HUGE_2M);
		if (after != (!got && status == node ? node : before))
			fail("errno", "move from node %d to node %d: %ld, status %d, and the page is at "
			     "node %d", before, node, got, status, after);
		if (!got && status == node)
			done++;
		else if (got != -ENOMEM)	/* the buddy allocator may have none */
			fail("errno", "move to node %d: %ld, status %d", node, got, status);
	}
	return done;
}

static void expect_pages(int node, long pages, long surplus, const char *when)
{
	struct pool now;

	pool_check(when);
	pool_read(&now);
	if (on_node(&now, now.node_nr, node) != pages ||
	    on_node(&now, now.node_surplus, node) != surplus ||
	    now.nr != pages || now.surplus != surplus)
		fail("counters", "%s: node %d has nr %ld surplus %ld, the machine %ld and %ld, "
		     "expected %ld and %ld", when, node, on_node(&now, now.node_nr, node),
		     on_node(&now, now.node_surplus, node), now.nr, now.surplus, pages, surplus);
}

/* No pool at all: each page is a surplus page, wherever it goes. */
static void surplus(enum kind kind, const struct pool *all)
{
	struct huge h;
	int turn, node;

	set_pools(all, 0, 0);
	pool_set("nr_overcommit_hugepages", PAGES);
	if (!huge_open(&h, kind, HUGE_2M, PAGES, "/dev/hugepages", OWNER)) {
		node = page_node(h.addr) == nodes[0];
		for (turn = 0; turn < 3; turn++, node = !node) {
			int done = move_to(&h, nodes[node]);

			count_add(surplus_moved, done);
			if (done == PAGES)
				expect_pages(nodes[node], PAGES, PAGES, "surplus pages moved");
			huge_check(&h, OWNER, "surplus pages moved");
		}
		huge_close(&h);
	}
	pool_expect("nr_hugepages", 0, "surplus pages given back");
	pool_expect("surplus_hugepages", 0, "surplus pages given back");
	pool_check("surplus pages given back");
	pool_set("nr_overcommit_hugepages", 0);
}

enum way { MOVE_PAGES, MIGRATE_PAGES, MBIND };

/* The node that is asked for has no pool, the page's own one has free pages: none of these is meant. */
static void exactly(enum kind kind, enum way way, const struct pool *all)
{
	static const char *const names[] = { "move_pages", "migrate_pages", "mbind(MOVE | STRICT)" };
	unsigned long from = 1UL << nodes[0], to = 1UL << nodes[1];
	size_t i, there = 0;
	struct huge h;
	long got = 0;
	int at;

	set_pools(all, 2 * PAGES, 0);
	if (huge_open(&h, kind, HUGE_2M, PAGES, "/dev/hugepages", OWNER))
		return;
	if (way == MOVE_PAGES)
		got = move_to(&h, nodes[1]) < PAGES;
	else if (way == MIGRATE_PAGES)
		got = syscall(SYS_migrate_pages, 0, 64UL, &from, &to);
	else
		got = syscall(SYS_mbind, h.addr, PAGES * HUGE_2M, MPOL_BIND, &to, 64UL,
			      MPOL_MF_MOVE | MPOL_MF_STRICT);
	if (got < 0 && errno != ENOMEM && errno != EIO)
		fail("errno", "%s to a node without a pool: %s", names[way], strerror(errno));
	for (i = 0; i < PAGES; i++) {
		at = page_node(h.addr + i * HUGE_2M);
		there += at == nodes[1];
		if (!got && at != nodes[1])
			fail("errno", "%s to node %d, whose pool is empty, succeeds: a page of %s is at "
			     "node %d", names[way], nodes[1], kind_name(kind), at);
	}
	count_add(exact, there == PAGES);
	huge_check(&h, OWNER, names[way]);
	pool_check(names[way]);
	huge_close(&h);
	set_pools(all, 0, 0);
	pool_expect("nr_hugepages", 0, names[way]);
}

/* Pages of the pool: they move with their node's count, and stay in the pool when freed. */
static void persistent(const struct pool *all)
{
	struct huge h;
	int turn, done = PAGES;

	set_pools(all, PAGES, 0);
	if (huge_open(&h, ANON, HUGE_2M, PAGES, NULL, OWNER))
		return;
	for (turn = 1; turn < 3 && done == PAGES; turn++) {
		done = move_to(&h, nodes[turn % 2]);
		count_add(pool_moved, done);
		if (done == PAGES)
			expect_pages(nodes[turn % 2], PAGES, 0, "pages of the pool moved");
	}
	huge_check(&h, OWNER, "pages of the pool moved");
	huge_close(&h);
	pool_expect("nr_hugepages", PAGES, "pages of the pool given back");
	pool_expect("free_hugepages", PAGES, "pages of the pool given back");
}

/*
 * All that is free is somebody's reservation: he must get it, during the move, after it,
 * and when the page has come back.  A page that was a surplus page leaves the pool when it
 * is freed, and fills no gap.
 */
static void reserved(enum kind kind, int surplus_pages, const struct pool *all)
{
	const char *what = surplus_pages ? "surplus pages moved beside reservations" :
			   "pages moved beside reservations";
	struct caught caught;
	struct pool now;
	struct huge h;
	char *theirs;
	int i, node;
	long n;

	set_pools(all, surplus_pages ? 0 : PAGES, surplus_pages ? 0 : PAGES);
	pool_set("nr_overcommit_hugepages", surplus_pages ? PAGES : 0);
	if (huge_open(&h, kind, HUGE_2M, PAGES, "/dev/hugepages", OWNER))
		return;
	if (surplus_pages)
		pool_set("nr_hugepages", 2 * PAGES);
	pool_read(&now);
	n = now.free - now.resv;
	theirs = mmap(NULL, n * HUGE_2M, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (theirs != MAP_FAILED) {
		if (surplus_pages) {	/* what is in use or reserved, and there is nothing else */
			pool_set("nr_hugepages", 0);
			pool_expect("surplus_hugepages", 2 * PAGES, "a pool of surplus pages only");
		}
		for (i = 0; i < 2; i++) {
			node = page_node(h.addr) == nodes[0];
			count_add(reserved_moved, move_to(&h, nodes[node]));
			pool_check(what);
			pool_expect("resv_hugepages", n, what);
			huge_check(&h, OWNER, what);
		}
		for (i = 0; i < n; i++) {
			touch_write(theirs + i * HUGE_2M, 1, &caught);
			caught_is(&caught, theirs + i * HUGE_2M, 0, 0, "reserved page");
		}
		munmap(theirs, n * HUGE_2M);
	}
	huge_close(&h);
	pool_check(what);
	pool_set("nr_overcommit_hugepages", 0);
	set_pools(all, 0, 0);
	pool_expect("nr_hugepages", 0, what);
}

/* The owner of reservations comes for them in the middle of moves, when nothing else is free. */
static void promised(const struct pool *all)
{
	struct caught caught;
	struct huge h;
	char *theirs, c = 0;
	int turn, pipes[2];
	pid_t pid;

	set_pools(all, PAGES, PAGES);
	if (pipe(pipes) || huge_open(&h, ANON, HUGE_2M, PAGES, NULL, OWNER))
		return;
	pid = fork();
	if (!pid) {
		munmap(h.addr, PAGES * HUGE_2M);
		if (write(pipes[1], &c, 1) != 1)
			_exit(1);
		for (turn = 0; turn < 12 && !failed(); turn++) {
			theirs = mmap(NULL, PAGES * HUGE_2M, PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
			if (theirs == MAP_FAILED) {
				usleep(500);	/* a move has the page for a moment */
				continue;
			}
			usleep(turn * 377 % 2000);
			touch_write(theirs, 1, &caught);
			caught_is(&caught, theirs, 0, 0, "a reserved page beside moves");
			touch_write(theirs + HUGE_2M, 1, &caught);
			caught_is(&caught, theirs + HUGE_2M, 0, 0, "a reserved page beside moves");
			munmap(theirs, PAGES * HUGE_2M);
		}
		_exit(0);
	}
	if (read(pipes[0], &c, 1) != 1)
		fail("errno", "a process beside: %s", strerror(errno));
	close(pipes[0]);
	close(pipes[1]);
	for (turn = 0; waitpid(pid, NULL, WNOHANG) != pid; turn++)
		count_add(reserved_moved, move_to(&h, nodes[turn % 2]));
	huge_check(&h, OWNER, "moves beside who comes for his reservation");
	huge_close(&h);
	pool_check("moves beside who comes for his reservation");
}

static void resizer(void *arg)
{
	const struct pool *all = arg;
	long turn;

	for (turn = 0; running(); turn++) {
		pool_set("nr_overcommit_hugepages", turn & 3);
		set_pools(all, 1 + (turn >> 1 & 3), turn >> 2 & 3);
		count_add(resized, 1);
	}
}

int main(int argc, char **argv)
{
	struct pool all, low;
	struct huge h;
	int turn, status, way;
	long got;

	repro_start(argc, argv);
	surplus_moved = counter("surplus_moved");
	pool_moved = counter("pool_moved");
	reserved_moved = counter("reserved_moved");
	resized = counter("resized");
	raced = counter("raced");
	exact = counter("exact");
	two_nodes(nodes);
	catch_signals();
	pool_read(&all);
	if (all.free != all.nr || all.resv || all.surplus)
		skip("the pools are in use: nr %ld free %ld resv %ld surplus %ld", all.nr, all.free,
		     all.resv, all.surplus);
	surplus(ANON, &all);
	surplus(MEMFD, &all);
	surplus(SHARED_FILE, &all);
	for (way = MOVE_PAGES; way <= MBIND; way++) {
		exactly(ANON, way, &all);
		exactly(MEMFD, way, &all);
	}
	persistent(&all);
	reserved(ANON, 0, &all);
	reserved(MEMFD, 0, &all);
	reserved(ANON, 1, &all);
	reserved(MEMFD, 1, &all);
	promised(&all);

	set_pools(&all, PAGES, 0);
	if (!huge_open(&h, ANON, HUGE_2M, 1, NULL, OWNER)) {
		child("resizer", resizer, &all);
		for (turn = 0; running(); turn++) {
			got = move_page(0, h.addr, nodes[turn % 2], MPOL_MF_MOVE, &status);
			if (got < 0 && got != -ENOMEM)
				fail("errno", "move while pools change: %ld, status %d", got, status);
			huge_check(&h, OWNER, "move while pools change");
			if (!got && status == nodes[turn % 2])
				count_add(raced, 1);
		}
		repro_wait();
		huge_close(&h);
	}
	pool_set("nr_overcommit_hugepages", 0);
	set_pools(&all, 0, 0);
	pool_expect("nr_hugepages", 0, "pools shrunk to nothing");
	pool_expect("surplus_hugepages", 0, "pools shrunk to nothing");
	pool_read(&low);
	pool_check("pools shrunk to nothing");
	pool_restore(&all);
	return repro_end();
}
