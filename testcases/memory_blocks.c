// SPDX-License-Identifier: GPL-2.0-only
/*
 * Blocks of memory go offline with huge pages in them: free ones are dissolved, those
 * in use migrate out, and a writer does not notice.
 *
 *	CPU0 (hot remove)			CPU1 (writer)
 *
 *	offline_pages()				touches its pages all the time
 *	  start_isolate_page_range()
 *	  do_migrate_range()			  waits for the migration entry
 *	    isolate_hugetlb(), migrate_pages()
 *	  dissolve_free_huge_pages()
 *
 * A block with memory that cannot move is refused (EBUSY): legal, and counted.  So is one
 * whose free huge pages are all reserved, without a retry for ever (082d5b6b60e9).  Each
 * block that went comes back, and the pool is as large as before.
 */
#define _GNU_SOURCE
#include "catch.h"
#include "huge.h"
#include "phys.h"
#include "pool.h"
#include "repro.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define WIDE 160		/* pages of a node, as far as it has them, to find some of each block */
#define SPARE 4
#define KEPT 2		/* of each kind in a block */
#define MOST_BLOCKS 8
#define LAST_BLOCK 64
#define OWNER 27
#define GRACE 20		/* seconds that a refusal may take */
#define BLOCKS "/sys/devices/system/memory"

static struct counter *offlined, *refused, *evicted, *touched, *reserved;
static char *pages[2 * KEPT * MOST_BLOCKS];
static int home[2 * KEPT * MOST_BLOCKS];	/* the node of each */
static int nodes[2], n_pages, n_blocks, n_empty, stop;
static unsigned long block_frames, blocks[MOST_BLOCKS], empty[MOST_BLOCKS];

static void *writer(void *arg)
{
	volatile unsigned long *word;
	unsigned long n = 0;
	int i;

	(void)arg;
	for (; !__atomic_load_n(&stop, __ATOMIC_RELAXED); n++) {
		for (i = 0; i < n_pages; i++) {
			word = (unsigned long *)(pages[i] + 1024);
			if (*word != n) {
				fail("data", "page %d: wrote %lu, found %lu", i, n, *word);
				return NULL;
			}
			*word = n + 1;
		}
		count_add(touched, 1);
		usleep(100);
	}
	return NULL;
}

static unsigned long block_of(const char *page)
{
	return page_frame(page) / block_frames;
}

/* How many of our pages are in the block. */
static int in_block(unsigned long block)
{
	int i, n = 0;

	for (i = 0; i < n_pages; i++)
		n += block_of(pages[i]) == block;
	return n;
}

static void check_all(const char *when)
{
	int i;

	for (i = 0; i < n_pages; i++)
		if (pattern_check(pages[i], HUGE_2M, OWNER, 0))
			fail("data", "%s: page %d", when, i);
}

/* How many huge pages of the node we may take: it keeps a quarter where it has not enough. */
static long fill_pool(int node)
{
	struct pool now;
	int i;

	pool_node_set(node, WIDE + SPARE);
	pool_read(&now);
	for (i = 0; i < now.n_nodes; i++) {
		if (now.node[i] != node)
			continue;
		if (now.node_free[i] >= WIDE + SPARE)
			return WIDE;
		pool_node_set(node, now.node_nr[i] * 3 / 4);
		return now.node_nr[i] * 3 / 4 - SPARE;
	}
	return 0;
}

/* Which of the blocks that we try; -1 for another. */
static int index_of(unsigned long block)
{
	int i;

	for (i = 0; i < n_blocks; i++)
		if (blocks[i] == block)
			return i;
	return -1;
}

static int any_within(const struct huge *h)
{
	size_t i;

	for (i = 0; i < h->n; i++)
		if (index_of(block_of(h->addr + i * HUGE_2M)) >= 0)
			return 1;
	return 0;
}

/* The blocks that pages are in, until there are so many. */
static void take_blocks_of(const struct huge *h, int most)
{
	unsigned long block;
	size_t i;

	for (i = 0; i < h->n && n_blocks < most; i++) {
		block = block_of(h->addr + i * HUGE_2M);
		if (index_of(block) < 0)
			blocks[n_blocks++] = block;
	}
}

static void drop_empty(void)
{
	int i, n = 0;

	for (i = 0; i < n_blocks; i++)
		if (in_block(blocks[i]))
			blocks[n++] = blocks[i];
	n_blocks = n;
}

static int set_state(unsigned long block, const char *state)
{
	char path[100];

	snprintf(path, sizeof(path), BLOCKS "/memory%lu/state", block);
	return write_file(path, state);
}

/*
 * One page of the kernel's own makes a whole block stay, and where those are nobody knows.
 * So the blocks are those that go while nothing of ours is in them.
 */
static void find_blocks(void)
{
	char path[100];
	unsigned long block;

	for (block = 0; block < LAST_BLOCK && n_blocks < MOST_BLOCKS; block++) {
		snprintf(path, sizeof(path), BLOCKS "/memory%lu", block);
		if (access(path, F_OK) || set_state(block, "offline"))
			continue;
		if (set_state(block, "online"))
			fail("errno", "block %lu, empty, does not come back", block);
		empty[n_empty++] = blocks[n_blocks++] = block;
	}
}

/* Of many pages of a node, a few in each of the blocks are kept, the others given back. */
static void choose(struct huge *h, int node)
{
	int kept[MOST_BLOCKS] = { 0 }, at;
	size_t i;

	for (i = 0; i < h->n; i++) {
		char *page = h->addr + i * HUGE_2M;

		at = index_of(block_of(page));
		if (at >= 0 && kept[at] < KEPT) {
			home[n_pages] = node;
			pages[n_pages++] = page;
			kept[at]++;
		} else if (h->fd >= 0) {
			fallocate(h->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, i * HUGE_2M, HUGE_2M);
		} else {
			munmap(page, HUGE_2M);
		}
	}
}

static void try_block(unsigned long block)
{
	int before = in_block(block), err;

	err = set_state(block, "offline");
	if (err) {
		if (err != EBUSY && err != EINVAL && err != EAGAIN && err != EINTR && err != ENOMEM)
			fail("errno", "offline of block %lu: %s", block, strerror(err));
		count_add(refused, 1);
		return;
	}
	count_add(offlined, 1);
	if (in_block(block))
		fail("data", "a page is still in a block that is offline");
	count_add(evicted, before);
	check_all("block offline");
	err = set_state(block, "online");
	if (err)
		fail("errno", "block %lu does not come back: %s", block, strerror(err));
}

static volatile sig_atomic_t late;

static void on_alarm(int sig)
{
	(void)sig;
	late = 1;
}

/* How many huge pages begin in the block. */
static int huge_in_block(unsigned long block)
{
	unsigned long frame;
	int n = 0;

	for (frame = block * block_frames; frame < (block + 1) * block_frames; frame += 512)
		n += !!(frame_flags(frame) & FRAME_HUGE);
	return n;
}

/*
 * Free pages that are reserved, all of them, must stay: a block that has one is refused,
 * and at once.  None is in use any more, and the blocks are those that went while empty.
 */
static void try_reserved(void)
{
	struct sigaction action = { .sa_handler = on_alarm };	/* no SA_RESTART */
	struct pool now;
	char *all;
	int i, err;

	pool_read(&now);
	all = mmap(NULL, now.free * HUGE_2M, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (all == MAP_FAILED) {
		fail("errno", "a mapping of all %ld free pages: %s", now.free, strerror(errno));
		return;
	}
	sigaction(SIGALRM, &action, NULL);
	for (i = 0; i < n_empty && !failed(); i++) {
		if (!huge_in_block(empty[i]))
			continue;
		alarm(GRACE);
		err = set_state(empty[i], "offline");
		alarm(0);
		pool_check("offline of a block whose free pages are reserved");
		if (err == EINTR && late)
			fail("hang", "offline of a block whose free pages are reserved had no end in "
			     "%d s", GRACE);
		else if (!err)
			fail("errno", "block %lu went offline with free pages that are reserved",
			     empty[i]);
		else
			count_add(reserved, 1);
		if (!err)
			set_state(empty[i], "online");
	}
	munmap(all, now.free * HUGE_2M);
}

int main(int argc, char **argv)
{
	static const enum kind kinds[2] = { ANON, MEMFD };
	unsigned long bytes, mask;
	struct huge h[2];
	struct pool all;
	pthread_t thread;
	int i, status, err, turn;
	long wide;

	repro_start(argc, argv);
	offlined = counter("offlined");
	refused = counter("refused");
	evicted = counter("evicted");
	touched = counter("touched");
	reserved = counter("reserved");
	two_nodes(nodes);
	bytes = read_number(BLOCKS "/block_size_bytes", 16, 0);
	if (!bytes)
		skip("no %s: CONFIG_MEMORY_HOTREMOVE", BLOCKS);
	block_frames = bytes / 4096;
	catch_signals();
	pool_read(&all);
	find_blocks();
	for (i = 0; i < 2; i++) {
		wide = fill_pool(nodes[i]);
		mask = 1UL << nodes[i];
		syscall(SYS_set_mempolicy, MPOL_BIND, &mask, 64UL);
		err = huge_open(&h[i], kinds[i], HUGE_2M, wide, NULL, OWNER);
		if (err) {
			pool_restore(&all);
			skip("%ld huge pages on node %d: %s", wide, nodes[i], strerror(err));
		}
	}
	/* Pages that leave the block may go anywhere. */
	syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0UL);
	/*
	 * Large nodes have room elsewhere: what came back last is handed out last, and none of
	 * our pages is in an empty block.  Then those with some are tried as they are, and one
	 * with a page of the kernel's own is refused.
	 */
	if (!any_within(&h[0]) && !any_within(&h[1])) {
		n_blocks = 0;
		take_blocks_of(&h[0], MOST_BLOCKS / 2);
		take_blocks_of(&h[1], MOST_BLOCKS);
	}
	choose(&h[0], nodes[0]);
	choose(&h[1], nodes[1]);
	drop_empty();
	pthread_create(&thread, NULL, writer, NULL);
	for (turn = 0; n_blocks && running() && !failed(); turn++) {
		try_block(blocks[turn % n_blocks]);
		pool_check("a block came and went");
		/* Not all come back into the block, but most do while its node is preferred. */
		for (i = 0; i < n_pages; i++) {
			move_page(0, pages[i], nodes[home[i] == nodes[0]], MPOL_MF_MOVE, &status);
			move_page(0, pages[i], home[i], MPOL_MF_MOVE, &status);
		}
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	check_all("at the end");
	huge_close(&h[0]);
	huge_close(&h[1]);
	/* Each block that went has lost its free pages. */
	fill_pool(nodes[0]);
	fill_pool(nodes[1]);
	try_reserved();
	pool_restore(&all);
	pool_same(&all, "at the end");
	return repro_end();
}
