// SPDX-License-Identifier: GPL-2.0-only
/*
 * The owner of a private mapping writes a page that it shares with its children, and
 * there is no free huge page for the copy.  It has the reservation, so it wins: the
 * kernel takes the page from the children, who get SIGBUS when they touch it again, also
 * when there are free pages by then.
 *
 *	owner					migration of the same page
 *
 *	hugetlb_fault()				unmap_and_move_huge_page()
 *	  i_mmap_lock_read()			  lock_page()
 *	  mutex_lock(fault mutex)		  try_to_unmap()
 *	  hugetlb_cow()				    anon_vma lock, page table locks
 *	    alloc_huge_page() fails
 *	    drops both locks
 *	    unmap_ref_private()
 *	      i_mmap_lock_write()
 *	    takes both again
 *
 * With the read lock kept, the owner waits for itself.
 */
#define _GNU_SOURCE
#include "catch.h"
#include "huge.h"
#include "pool.h"
#include "repro.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILDREN 3
#define OWNER 19

static struct counter *rounds, *stolen, *moved, *not_moved;
static int nodes[2];

/* What the harness and the owner say to each other, in ordinary shared memory. */
static struct {
	int holding;	/* children that have read the page */
	int written;
	int moving;	/* a migration is under way, of this page or the one before */
	void *page;
	pid_t owner;
} *said;

/* A child holds the page until the owner has written, and touches it again. */
static void hold(char *page)
{
	struct caught caught;
	unsigned char v = 0;

	if (touch_read(page, &v, &caught))
		fail("signal", "a child's first touch: signal %d", caught.sig);
	__atomic_fetch_add(&said->holding, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&said->written, __ATOMIC_ACQUIRE))
		usleep(1000);
	touch_read(page, &v, &caught);
	if (!caught.sig)
		fail("signal", "a child still has the page that its owner took");
	else if (caught_is(&caught, page, SIGBUS, BUS_ADRERR, "page taken by its owner"))
		count_add(stolen, 1);
}

/*
 * cut: of a mapping that begins in the middle of its file.  The children are looked for by
 * their place there (36e4f20af833).
 */
static void owner(enum kind kind, int cut, const struct pool *all)
{
	struct caught caught;
	struct huge h, hog;
	struct pool now;
	pid_t pids[CHILDREN];
	int i, status;

	said->holding = said->written = 0;
	if (huge_open(&h, kind, HUGE_2M, 1 + cut, "/dev/hugepages", OWNER))
		return;
	if (cut)
		huge_cut(&h);
	for (i = 0; i < CHILDREN; i++) {
		pids[i] = fork();
		if (!pids[i]) {
			hold(h.addr);
			_exit(0);
		}
	}
	while (__atomic_load_n(&said->holding, __ATOMIC_ACQUIRE) < CHILDREN)
		usleep(1000);
	/* Somebody takes all the rest. */
	pool_read(&now);
	if (now.free && huge_open(&hog, ANON, HUGE_2M, now.free, NULL, 1))
		fail("errno", "the free pages of the pool cannot be taken");
	__atomic_store_n(&said->page, h.addr, __ATOMIC_RELEASE);
	touch_write(h.addr + 16, OWNER, &caught);	/* in the owner field of the pattern's 2nd word */
	caught_is(&caught, h.addr, 0, 0, "owner's write with no page free");
	__atomic_store_n(&said->page, NULL, __ATOMIC_SEQ_CST);
	/* With pages to be had again, a child must not get a new one in place of what it lost. */
	if (now.free)
		huge_close(&hog);
	__atomic_store_n(&said->written, 1, __ATOMIC_RELEASE);
	for (i = 0; i < CHILDREN; i++) {
		waitpid(pids[i], &status, 0);
		if (status)
			fail("signal", "a child ended with status 0x%x", status);
	}
	huge_check(&h, OWNER, "owner's page");
	huge_close(&h);
	/*
	 * A migration counts its temporary page in nr until it is done: the pool is made
	 * smaller by that one too, and then is one short of vm.nr_hugepages, on any kernel.
	 */
	while (__atomic_load_n(&said->moving, __ATOMIC_SEQ_CST))
		usleep(500);
	pool_restore(all);
	pool_same(all, "after the copy that was not made");
	count_add(rounds, 1);
}

static void owners(void *arg)
{
	said->owner = getpid();
	do {
		owner(ANON, 0, arg);
		owner(PRIVATE_FILE, 1, arg);
		owner(ANON, 1, arg);
		owner(PRIVATE_FILE, 0, arg);
	} while (running());
}

static void mover(void *arg)
{
	int status, turn;
	void *page;
	long got;

	(void)arg;
	for (turn = 0; running(); turn++) {
		__atomic_store_n(&said->moving, 1, __ATOMIC_SEQ_CST);
		page = __atomic_load_n(&said->page, __ATOMIC_SEQ_CST);
		if (page) {
			got = move_page(said->owner, page, nodes[turn % 2], MPOL_MF_MOVE_ALL, &status);
			count_add(!got && status == nodes[turn % 2] ? moved : not_moved, 1);
		}
		__atomic_store_n(&said->moving, 0, __ATOMIC_SEQ_CST);
		if (!page)
			usleep(500);
	}
}

int main(int argc, char **argv)
{
	static struct pool all, capped;

	repro_start(argc, argv);
	rounds = counter("rounds");
	stolen = counter("stolen");
	moved = counter("moved");
	not_moved = counter("not_moved");
	memory_nodes(nodes, 2);
	catch_signals();
	pool_read(&all);
	/* Surplus pages would be the way out. */
	pool_cap(&all, POOL_ENOUGH);
	pool_read(&capped);
	said = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	child("owner", owners, &capped);
	if (nodes[1])
		child("mover", mover, NULL);
	repro_wait();
	pool_restore(&all);
	return repro_end();
}
