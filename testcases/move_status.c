// SPDX-License-Identifier: GPL-2.0-only
/*
 * Each page that move_pages(2) is asked for has an answer of its own, whatever its
 * neighbours in the array get.  The kernel handles runs of pages with one target at a
 * time, and fills in what it has left out; so the array is in another order each time,
 * with targets that alternate, stay, or are where the page is already.
 *
 *	in place, or moved	its node
 *	mapped twice		EACCES for MPOL_MF_MOVE, its node for MOVE_ALL
 *	untouched		ENOENT
 *	unmapped		EFAULT
 *
 * Asked without targets, for more pages than one chunk of the kernel's, it tells where
 * each one is.  The same of another process, by who may and by who may not.
 *
 * Pages that a pipe holds cannot be moved.  They are as they were, at once ready for the
 * next move, and no reason to leave those behind them in the list where they are; the same
 * by mbind() and by migrate_pages().
 */
#define _GNU_SOURCE
#include "catch.h"
#include "huge.h"
#include "pool.h"
#include "race.h"
#include "repro.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define HUGE 5		/* pages of each: private, of a file */
#define BASE 4
#define TWICE 2
#define ENTRIES (2 * HUGE + BASE + TWICE + 2)
#define ASKED 45	/* the kernel tells of 16 at a time */
#define OWNER 33
#define LIST 5		/* of them two are held */
#define REST 2		/* behind these in the array, for another node */

static struct counter *calls, *answers, *moved, *refused, *around;
static int nodes[2];
static unsigned int seed;

enum sort { OWN, SHARED, UNTOUCHED, UNMAPPED };

static struct entry {
	char *page;
	size_t bytes;
	enum sort sort;
	int node;	/* where it is */
} entries[ENTRIES];

static unsigned int rnd(unsigned int below)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 16) % below;
}

static void shuffle(void)
{
	struct entry swap;
	int i, j;

	for (i = ENTRIES - 1; i > 0; i--) {
		j = rnd(i + 1);
		swap = entries[i];
		entries[i] = entries[j];
		entries[j] = swap;
	}
}

static int expected_of(const struct entry *e, int to, int flags)
{
	switch (e->sort) {
	case UNTOUCHED:
		return -ENOENT;
	case UNMAPPED:
		return -EFAULT;
	case SHARED:
		return e->node == to || flags == MPOL_MF_MOVE_ALL ? to : -EACCES;
	default:
		return to;
	}
}

/* All entries in one call, each with a target of its own. */
static void move_all(pid_t pid, int flags, const char *when)
{
	int to[ENTRIES], status[ENTRIES], i, expected, style = rnd(3);
	void *pages[ENTRIES];
	long got;

	shuffle();
	for (i = 0; i < ENTRIES; i++) {
		pages[i] = entries[i].page;
		to[i] = nodes[style == 0 ? i % 2 : style == 1 ? (int)rnd(2) : i / 4 % 2];
		status[i] = NO_STATUS;
	}
	got = syscall(SYS_move_pages, pid, (unsigned long)ENTRIES, pages, to, status, flags);
	if (got) {
		fail("errno", "%s: %ld, %s", when, got, got < 0 ? strerror(errno) : "pages not moved");
		return;
	}
	for (i = 0; i < ENTRIES; i++) {
		expected = expected_of(&entries[i], to[i], flags);
		if (status[i] != expected)
			fail("errno", "%s: status of entry %d of %d is %d, expected %d", when, i,
			     ENTRIES, status[i], expected);
		if (expected >= 0 && entries[i].node != to[i]) {
			entries[i].node = to[i];
			count_add(moved, 1);
		}
		count_add(answers, 1);
	}
	count_add(calls, 1);
}

static void ask_all(pid_t pid, const char *when)
{
	int status[ASKED], at[ASKED], i, expected;
	void *pages[ASKED];

	for (i = 0; i < ASKED; i++) {
		at[i] = rnd(ENTRIES);
		pages[i] = entries[at[i]].page;
		status[i] = NO_STATUS;
	}
	if (syscall(SYS_move_pages, pid, (unsigned long)ASKED, pages, NULL, status, 0))
		fail("errno", "%s: asking where pages are: %s", when, strerror(errno));
	for (i = 0; i < ASKED; i++) {
		const struct entry *e = &entries[at[i]];

		expected = e->sort == UNTOUCHED ? -ENOENT : e->sort == UNMAPPED ? -EFAULT : e->node;
		if (status[i] != expected)
			fail("errno", "%s: entry %d of %d is told to be at %d, expected %d", when, i,
			     ASKED, status[i], expected);
		count_add(answers, 1);
	}
	count_add(calls, 1);
}

static char *map(size_t bytes, int flags)
{
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);

	if (p == MAP_FAILED)
		skip("mmap: %s", strerror(errno));
	return p;
}

static void add(int *n, char *page, size_t bytes, enum sort sort)
{
	entries[(*n)++] = (struct entry){
		page, bytes, sort, sort < UNTOUCHED ? page_node(page) : -1,
	};
}

static pid_t sharer;

/* Pages that nobody else has, some that a child has too, and two that there are not. */
static void prepare(void)
{
	char *own = map(HUGE * HUGE_2M, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB), *twice, *file, *base;
	int i, n = 0, pipes[2], status;
	char c = 0;

	twice = map(TWICE * HUGE_2M, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB);
	for (i = 0; i < TWICE; i++)
		pattern_write(twice + i * HUGE_2M, HUGE_2M, OWNER, 0);
	if (pipe(pipes))
		skip("a pipe: %s", strerror(errno));
	sharer = fork();
	if (!sharer) {
		for (i = 0; i < TWICE; i++)
			c ^= *(volatile char *)(twice + i * HUGE_2M);
		if (write(pipes[1], &c, 1) == 1)
			for (;;)
				pause();
		_exit(1);
	}
	status = read(pipes[0], &c, 1);
	close(pipes[0]);
	close(pipes[1]);
	if (status != 1)
		skip("a second process");

	file = map((HUGE + 1) * HUGE_2M, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB);
	base = map((BASE + 1) * 4096, MAP_PRIVATE | MAP_ANONYMOUS);
	for (i = 0; i < HUGE; i++) {
		pattern_write(own + i * HUGE_2M, HUGE_2M, OWNER, 0);
		pattern_write(file + i * HUGE_2M, HUGE_2M, OWNER, 0);
		add(&n, own + i * HUGE_2M, HUGE_2M, OWN);
		add(&n, file + i * HUGE_2M, HUGE_2M, OWN);
	}
	for (i = 0; i < TWICE; i++)
		add(&n, twice + i * HUGE_2M, HUGE_2M, SHARED);
	for (i = 0; i < BASE; i++) {
		pattern_write(base + i * 4096, 4096, OWNER, 0);
		add(&n, base + i * 4096, 4096, OWN);
	}
	add(&n, file + HUGE * HUGE_2M, HUGE_2M, UNTOUCHED);
	munmap(base + BASE * 4096, 4096);
	add(&n, base + BASE * 4096, 4096, UNMAPPED);
}

static void check(const char *when)
{
	int i;

	for (i = 0; i < ENTRIES; i++)
		if (entries[i].sort < UNTOUCHED &&
		    pattern_check(entries[i].page, 4096, OWNER, 0))
			fail("data", "%s", when);
}

/* Another process asks for our pages: root may, who is nobody may not, and of no process. */
static void from_elsewhere(void)
{
	int status = 0, node = nodes[0];
	void *page = entries[0].page;
	pid_t target = getpid(), pid = fork();

	if (!pid) {
		ask_all(target, "asked by another process");
		if (setgid(77) || setuid(78))
			_exit(0);
		if (syscall(SYS_move_pages, target, 1UL, &page, &node, &status, MPOL_MF_MOVE) != -1 ||
		    errno != EPERM)
			fail("errno", "move_pages() of root's page by nobody: expected EPERM");
		else
			count_add(refused, 1);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	/* That process is no more. */
	if (syscall(SYS_move_pages, pid, 1UL, &page, &node, &status, MPOL_MF_MOVE) != -1 ||
	    errno != ESRCH)
		fail("errno", "move_pages() of no process: expected ESRCH");
	else
		count_add(refused, 1);
}

static int is_held(int i)
{
	return i == 1 || i == 3;
}

static long free_of(const struct pool *p, int node)
{
	int i;

	for (i = 0; i < p->n_nodes; i++)
		if (p->node[i] == node)
			return p->node_free[i];
	return 0;
}

/* The first n pages of the range, the rest to the other node; what the call returns. */
static long move_list(char *range, int n, int rest, int to, int *status)
{
	int at[LIST + REST], i;
	void *pages[LIST + REST];

	for (i = 0; i < n + rest; i++) {
		pages[i] = range + i * HUGE_2M;
		at[i] = i < n ? to : nodes[to == nodes[0]];
		status[i] = NO_STATUS;
	}
	return syscall(SYS_move_pages, 0, n + rest + 0UL, pages, at, status, MPOL_MF_MOVE);
}

static void all_move(char *range, int n, int to, const char *when)
{
	int status[LIST + REST], i;
	long got = move_list(range, n, 0, to, status);

	if (got)
		fail("errno", "%s: move of %d pages to node %d: %ld", when, n, to, got);
	for (i = 0; i < n; i++)
		if (status[i] != to || page_node(range + i * HUGE_2M) != to)
			fail("errno", "%s: page %d of %d: status %d, it is at node %d, not %d", when, i,
			     n, status[i], page_node(range + i * HUGE_2M), to);
}

enum way { MOVE_PAGES, MBIND, MIGRATE_PAGES, WAYS };

static void around_held(int shared, enum way way, const struct pool *before)
{
	static const char *const ways[WAYS] = { "move_pages", "mbind", "migrate_pages" };
	int n = LIST + REST, from = nodes[0], to = nodes[1], status[LIST + REST], pipes[2], i, at;
	unsigned long from_mask = 1UL << from, to_mask = 1UL << to;
	struct pool was, is;
	char *range, when[80];
	struct iovec iov[2];
	long got;

	snprintf(when, sizeof(when), "two of %d %s pages held, %s", LIST, shared ? "shared" : "private",
		 ways[way]);
	range = map(n * HUGE_2M, (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS | MAP_HUGETLB);
	for (i = 0; i < n; i++)
		pattern_write(range + i * HUGE_2M, HUGE_2M, OWNER + i, 0);
	all_move(range, n, from, when);
	if (pipe(pipes))
		skip("a pipe: %s", strerror(errno));
	iov[0] = (struct iovec){ range + HUGE_2M, 4096 };
	iov[1] = (struct iovec){ range + 3 * HUGE_2M + 4096, 4096 };
	if (vmsplice(pipes[1], iov, 2, 0) != 8192)
		fail("errno", "vmsplice: %s", strerror(errno));
	pool_read(&was);
	if (way == MOVE_PAGES) {
		got = move_list(range, LIST, REST, to, status);
		/*
		 * Those held and those not tried, as the manual page has it; 5.10 leaves
		 * out the one at which it has given up.
		 */
		if (got != 2 + REST && got != 2 + REST - 1)
			fail("errno", "%s: %ld are told to be left, expected %d", when, got, 2 + REST);
	} else if (way == MBIND) {
		got = syscall(SYS_mbind, range, LIST * HUGE_2M, MPOL_BIND, &to_mask, 64UL,
			      MPOL_MF_MOVE | MPOL_MF_STRICT) ? errno : 0;
		if (got != EIO)
			fail("errno", "%s: %s, expected EIO", when, strerror(got));
		syscall(SYS_mbind, range, LIST * HUGE_2M, MPOL_DEFAULT, NULL, 0UL, 0);
	} else {
		got = syscall(SYS_migrate_pages, 0, 64UL, &from_mask, &to_mask);
		if (got < 2)
			fail("errno", "%s: %ld are told to be left", when, got);
	}
	pool_read(&is);
	for (i = 0; i < n; i++) {
		at = page_node(range + i * HUGE_2M);
		/* Of the rest nothing is asked but by migrate_pages(), which takes all. */
		if (at != (is_held(i) || (i >= LIST && way != MIGRATE_PAGES) ? from : to))
			fail("errno", "%s: page %d is at node %d", when, i, at);
		if (way == MOVE_PAGES && status[i] >= 0 && status[i] != at)
			fail("errno", "%s: page %d: status %d, and it is at node %d", when, i, status[i],
			     at);
		pattern_check(range + i * HUGE_2M, 4096, OWNER + i, 0);
	}
	got = LIST - 2 + (way == MIGRATE_PAGES ? REST : 0);
	if (free_of(&is, from) != free_of(&was, from) + got ||
	    free_of(&is, to) != free_of(&was, to) - got)
		fail("counters", "%s: %ld pages moved, node %d had %ld free and has %ld, node %d %ld and %ld",
		     when, got, from, free_of(&was, from), free_of(&is, from), to, free_of(&was, to),
		     free_of(&is, to));
	close(pipes[0]);
	close(pipes[1]);
	all_move(range, n, to, when);
	for (i = 0; i < n; i++)
		pattern_check(range + i * HUGE_2M, HUGE_2M, OWNER + i, 0);
	munmap(range, n * HUGE_2M);
	pool_same(before, when);
	count_add(around, 1);
}

int main(int argc, char **argv)
{
	struct pool before;
	int at = repro_start(argc, argv), turn;

	calls = counter("calls");
	answers = counter("answers");
	moved = counter("moved");
	refused = counter("refused");
	around = counter("around_held");
	two_nodes(nodes);
	catch_signals();
	seed = at < argc ? atoi(argv[at]) : getpid();
	printf("seed %u\n", seed);
	/* A policy of one's own keeps NUMA balancing away, which would move the base pages. */
	syscall(SYS_set_mempolicy, MPOL_LOCAL, NULL, 0UL);
	pool_read(&before);
	/* Each way once, then once more with the other kind of page while there is time. */
	for (turn = 0; turn < 2 * WAYS && (turn < WAYS || running()) && !failed(); turn++)
		around_held(turn % 2, turn % WAYS, &before);
	prepare();
	for (turn = 0; (turn < 4 || running()) && !failed(); turn++) {
		move_all(0, MPOL_MF_MOVE, "MPOL_MF_MOVE");
		ask_all(0, "after MPOL_MF_MOVE");
		move_all(0, MPOL_MF_MOVE_ALL, "MPOL_MF_MOVE_ALL");
		ask_all(0, "after MPOL_MF_MOVE_ALL");
		check("after both");
		if (turn % 8 == 0)
			from_elsewhere();
	}
	kill(sharer, SIGKILL);
	waitpid(sharer, NULL, 0);
	for (turn = 0; turn < ENTRIES; turn++)
		if (entries[turn].sort != UNMAPPED)
			munmap(entries[turn].page, entries[turn].bytes);
	pool_same(&before, "at the end");
	return repro_end();
}
