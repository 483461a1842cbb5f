// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every kind of huge page by every way to move it: there, back, and back again, since
 * a first move may leave behind what only the next one trips over.
 *
 *			move_pages()	mbind()		migrate_pages()
 *	anon		.		.		.
 *	private-file	.		.		.
 *	shared-file	.		.		.
 *	...
 *
 * After each move: what the call says, status[] (in an array of pages and holes, where
 * each entry has its own answer), the node of every page, its data, and its node's
 * counters.  A second process that maps shared pages must see the same data.
 *
 * "-p 2M" or "-p 1G" is the page size, "-k WORDS" which kinds, separated by commas.  A
 * cell is a counter, KIND:WAY, of pages that arrived.
 */
#define _GNU_SOURCE
#include "catch.h"
#include "huge.h"
#include "pool.h"
#include "repro.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOVES 3		/* there, back, and back again */
#define OWNER 4

enum way { MOVE_PAGES, MBIND, MIGRATE_PAGES, WAYS };
static const char *const ways[WAYS] = { "move_pages", "mbind", "migrate_pages" };

static struct counter *cells[KINDS][WAYS], *refused;
static size_t page_bytes = HUGE_2M, n_pages = 2;
static int nodes[2];

/* All pages by one call, a hole among them: each has its own status. */
static int by_move_pages(struct huge *h, int node)
{
	void *pages[4];
	int to[4], status[4], i, n = h->n;
	long got;

	for (i = 0; i < n; i++) {
		pages[i] = h->addr + i * h->page;
		to[i] = node;
		status[i] = NO_STATUS;
	}
	pages[n] = NULL;	/* nothing is mapped there */
	to[n] = node;
	status[n] = NO_STATUS;
	got = syscall(SYS_move_pages, 0, n + 1UL, pages, to, status, MPOL_MF_MOVE);
	if (got < 0)
		return errno;
	if (status[n] != -EFAULT && status[n] != -ENOENT)
		fail("errno", "%s: status of a hole is %d", kind_name(h->kind), status[n]);
	for (i = 0; i < n; i++)
		if (status[i] != node)
			return got > 0 || status[i] == -EBUSY ? EBUSY : -status[i];
	return 0;
}

static int by_mbind(struct huge *h, int node)
{
	unsigned long mask = 1UL << node;
	int err = 0;

	if (syscall(SYS_mbind, h->addr, h->n * h->page, MPOL_BIND, &mask, 64UL,
		    MPOL_MF_MOVE | MPOL_MF_STRICT))
		err = errno;
	syscall(SYS_mbind, h->addr, h->n * h->page, MPOL_DEFAULT, NULL, 0UL, 0);
	return err;
}

static int by_migrate_pages(struct huge *h, int node)
{
	unsigned long from = 1UL << nodes[node == nodes[0]], to = 1UL << node;
	size_t i;

	/*
	 * What it returns is the pages that stayed, and all pages of the task were
	 * asked for: a page of its stack that a CPU still has in a list is among them.
	 */
	if (syscall(SYS_migrate_pages, 0, 64UL, &from, &to) < 0)
		return errno;
	for (i = 0; i < h->n; i++)
		if (page_node(h->addr + i * h->page) != node)
			return EBUSY;
	return 0;
}

/* Another process maps the file, and sees what the first one wrote. */
static void seen_elsewhere(struct huge *h)
{
	int status = 0;
	pid_t pid = fork();

	if (!pid) {
		size_t i;

		for (i = 0; i < h->n; i++)
			if (pattern_check(h->addr + i * h->page, h->page, OWNER, 0))
				_exit(1);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (status)
		fail("data", "%s: a second process does not see the data: 0x%x",
		     kind_name(h->kind), status);
}

static void cell(struct huge *h, enum way way)
{
	static int (*const by[WAYS])(struct huge *, int) = {
		by_move_pages, by_mbind, by_migrate_pages
	};
	char when[80];
	int turn, node, err;
	size_t i;

	snprintf(when, sizeof(when), "%s by %s", kind_name(h->kind), ways[way]);
	for (turn = 0; turn < MOVES; turn++) {
		if (h->page != HUGE_2M && !running())
			return;		/* each move takes seconds */
		/* All pages first where the first one is: a fault may have spread them. */
		node = nodes[page_node(h->addr) == nodes[0]];
		err = by[way](h, node);
		/* move_pages() does not find 1 GiB before 6.0: follow_huge_pud() takes no reference. */
		if (way == MOVE_PAGES && h->page != HUGE_2M && !kernel_since(6, 0)) {
			if (err != ENOENT || page_node(h->addr) == node)
				fail("errno", "%s before 6.0: %s, expected ENOENT and no move", when,
				     strerror(err));
			count_add(refused, 1);
			return;
		}
		if (err == EBUSY || err == ENOMEM || (err == EIO && way == MBIND)) {
			count_add(refused, 1);
			if (h->page == HUGE_2M && err != ENOMEM)
				fail("errno", "%s, move %d: %s", when, turn, strerror(err));
			return;
		}
		if (err) {
			fail("errno", "%s, move %d: %s", when, turn, strerror(err));
			return;
		}
		for (i = 0; i < h->n; i++) {
			if (page_node(h->addr + i * h->page) == node)
				count_add(cells[h->kind][way], 1);
			else
				fail("errno", "%s, move %d: page %zu is at node %d, not %d", when, turn,
				     i, page_node(h->addr + i * h->page), node);
		}
		huge_check(h, OWNER, when);
		pool_check(when);
	}
}

/* Every page writable, and still itself, when all moves are over. */
static void rewritten(struct huge *h)
{
	size_t i;

	for (i = 0; i < h->n; i++) {
		pattern_write(h->addr + i * h->page, h->page, OWNER, 1);
		pattern_check(h->addr + i * h->page, h->page, OWNER, 1);
	}
}

static void row(enum kind kind, const char *folder, const struct pool *before)
{
	struct huge h;
	int err, way;

	err = huge_open(&h, kind, page_bytes, n_pages, folder, OWNER);
	if (err) {
		fail("errno", "%s: %s", kind_name(kind), strerror(err));
		return;
	}
	for (way = 0; way < WAYS; way++)
		cell(&h, way);
	if (kind_shared(kind))
		seen_elsewhere(&h);
	rewritten(&h);
	huge_close(&h);
	pool_same(before, kind_name(kind));
}

/* Whether the comma-separated words have this one. */
static int among(const char *words, const char *word)
{
	size_t n = strlen(word);
	const char *at = words;

	while ((at = strstr(at, word))) {
		if ((at == words || at[-1] == ',') && (!at[n] || at[n] == ','))
			return 1;
		at += n;
	}
	return 0;
}

static struct pool before;
static const char *folder;
static int chosen[KINDS];

static void rows(void *arg)
{
	int kind;

	(void)arg;
	do {
		for (kind = 0; kind < KINDS; kind++)
			if (chosen[kind])
				row(kind, folder, &before);
	} while (running() && !failed());
}

int main(int argc, char **argv)
{
	int at = repro_start(argc, argv), kind, way;
	const char *kinds = NULL;
	char name[32];

	for (; at + 1 < argc; at += 2) {
		if (!strcmp(argv[at], "-p") && !strcmp(argv[at + 1], "1G")) {
			page_bytes = HUGE_1G;
			n_pages = 1;
		} else if (!strcmp(argv[at], "-k")) {
			kinds = argv[at + 1];
		}
	}
	refused = counter("refused");
	for (kind = 0; kind < KINDS; kind++) {
		chosen[kind] = !kinds || among(kinds, kind_name(kind));
		for (way = 0; chosen[kind] && way < WAYS; way++) {
			snprintf(name, sizeof(name), "%s:%s", kind_name(kind), ways[way]);
			cells[kind][way] = counter(name);
		}
	}
	two_nodes(nodes);
	catch_signals();
	pool_use(page_bytes);
	pool_read(&before);
	folder = page_bytes == HUGE_2M ? "/dev/hugepages" : mount_huge("pagesize=1G");
	child("rows", rows, NULL);
	repro_wait();
	if (page_bytes != HUGE_2M && umount_huge(folder))
		fail("errno", "umount: %s", strerror(errno));
	return repro_end();
}
