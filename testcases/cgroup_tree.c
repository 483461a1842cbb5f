// SPDX-License-Identifier: GPL-2.0-only
/*
 * Groups below groups: what a process has is charged to its group and to each one above,
 * is refused where any of them is full, and ends, or goes to the parent, in all of them.
 *
 *	q	limit of pages, 2		usage	rsvd	refused	events	events.local
 *	  m	limit of reservations, 3
 *	    l	maps 3, touches 3	l	2	3	0	1	1
 *	    k				m	2	3	0	1	0
 *					q	2	3	1	1	0
 *
 * Version 1 counts a refusal where the limit is (failcnt), version 2 where the process is
 * (events.local) and in all above it (events).  "-g 1" and "-g 2" choose the version.
 */
#define _GNU_SOURCE
#include "catch.h"
#include "cg.h"
#include "huge.h"
#include "pool.h"
#include "repro.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define OWNER 26
#define TOP "q"
#define MIDDLE "q/m"
#define LEAF "q/m/l"
#define SIBLING "q/m/k"
#define NEW "q/n"
#define PATIENCE 8	/* seconds */

static struct counter *rounds, *moved, *refused, *reparented, *forked;
static const char *const all[] = { LEAF, MIDDLE, TOP };
static int nodes[2], version = 1;

static char *map(int pages, int flags)
{
	char *p = mmap(NULL, pages * HUGE_2M, PROT_READ | PROT_WRITE,
		       flags | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* Of the leaf and of all above it. */
static void expect_up(long usage, long rsvd, const char *when)
{
	size_t i;

	for (i = 0; i < sizeof(all) / sizeof(*all); i++)
		cg_expect(all[i], usage, rsvd, when);
}

/* Refusals so far: of pages, of reservations, and of one's own. */
struct told {
	long pages[3], rsvd[3], own[3];
};

static struct told tell(void)
{
	struct told t;
	int i;

	for (i = 0; i < 3; i++) {
		t.pages[i] = cg_refusals(all[i], 0);
		t.rsvd[i] = cg_refusals(all[i], 1);
		t.own[i] = cg_own_refusals(all[i]);
	}
	return t;
}

/* One more refusal than before; at: the group with the limit, 0 is the leaf. */
static void expect_refusal(const struct told *before, int at, int rsvd, const char *when)
{
	struct told now = tell();
	int i;

	count_add(refused, 1);
	for (i = 0; i < 3; i++) {
		long pages = now.pages[i] - before->pages[i], own = now.own[i] - before->own[i];
		long of_rsvd = now.rsvd[i] - before->rsvd[i];

		/* Version 2 has one count for both. */
		if (version == 2 ? pages != 1 || own != !i :
		    pages != (i == at && !rsvd) || of_rsvd != (i == at && rsvd))
			fail("counters", "%s: %s tells of %ld refusals of pages more, %ld of "
			     "reservations, %ld of its own", when, all[i], pages, of_rsvd, own);
	}
}

/*
 * In a leaf of its own each: one that was put more often than it was got is told of as it goes,
 * as long as nobody else holds it.
 */
static void in_leaf(void (*what)(void))
{
	int i;

	if (cg_make(LEAF)) {
		fail("errno", "no cgroup: %s", strerror(errno));
		return;
	}
	cg_run(LEAF, what);
	/* It may have removed the leaf. */
	for (i = cg_has(LEAF) ? 0 : 1; i < 3; i++)
		cg_expect(all[i], 0, 0, "the process is gone");
	if (cg_has(LEAF) && cg_remove(LEAF))
		fail("errno", "rmdir of a leaf: %s", strerror(errno));
}

static void move_all(char *p, int pages, const char *when)
{
	int i, status, to;
	long got;

	for (i = 0; i < pages; i++) {
		to = nodes[page_node(p + i * HUGE_2M) == nodes[0]];
		got = move_page(0, p + i * HUGE_2M, to, MPOL_MF_MOVE, &status);
		if (got || status != to)
			fail("errno", "%s: move in a cgroup: %ld, status %d", when, got, status);
		else
			count_add(moved, 1);
	}
}

static void above(char *page, const char *when)
{
	struct caught caught;

	touch_write(page, 1, &caught);
	caught_is(&caught, page, SIGBUS, BUS_ADRERR, when);
}

/* The limit of the group at the top holds for who is two levels below. */
static void full_at_the_top(void)
{
	struct told before = tell();
	char *p = map(3, MAP_PRIVATE);
	int watch = version == 2 ? cg_watch_refusals(TOP) : -1;

	if (!p) {
		fail("errno", "3 pages in a leaf: %s", strerror(errno));
		return;
	}
	expect_up(0, 3, "3 pages promised in a leaf");
	cg_limit_bytes(TOP, 0, 3 * HUGE_2M - 4096);	/* rounded down to whole pages */
	p[0] = p[HUGE_2M] = 1;
	above(p + 2 * HUGE_2M, "above the limit of the top");
	expect_refusal(&before, 2, 0, "above the limit of the top");
	if (version == 2) {
		if (!cg_refusal_came(watch))
			fail("counters", "who waits for events of the top is not woken");
		close(watch);
	} else {
		cg_reset_refusals(TOP, 0);
		if (cg_refusals(TOP, 0) || cg_refusals(TOP, 1) != before.rsvd[2])
			fail("counters", "refusals of the top, pages set back to 0: %ld, reservations "
			     "%ld", cg_refusals(TOP, 0), cg_refusals(TOP, 1));
	}
	expect_up(2, 3, "at the limit of the top");
	/* What it has may not be forbidden, nor forgotten. */
	if (cg_limit(TOP, 0, 1) != EBUSY)
		fail("errno", "a limit of 1 page below 2 in use: %s, expected EBUSY", strerror(errno));
	if (cg_limit_told(TOP, 0) != 2)
		fail("counters", "a limit of 2 pages is told as %ld", cg_limit_told(TOP, 0));
	move_all(p, 2, "at the limit of the top");
	expect_up(2, 3, "moved at the limit of the top");
	munmap(p + HUGE_2M, HUGE_2M);
	expect_up(1, 2, "one page less in a leaf");
	p[2 * HUGE_2M] = 1;
	expect_up(2, 2, "room for another page");
	cg_limit(TOP, 0, -1);
	if (cg_limit_told(TOP, 0) != -1)
		fail("counters", "no limit is told as %ld pages", cg_limit_told(TOP, 0));
}

/* The same of promises, of a private mapping and of a file: what is refused leaves nothing. */
static void full_in_the_middle(void)
{
	struct told before = tell();
	int fd, turn;
	char *p, *q;

	cg_limit(MIDDLE, 1, 3);
	if (cg_limit_told(MIDDLE, 1) != 3)
		fail("counters", "a limit of 3 promises is told as %ld", cg_limit_told(MIDDLE, 1));
	for (turn = 0; turn < 2; turn++) {
		p = map(4, turn ? MAP_SHARED : MAP_PRIVATE);
		if (p || errno != ENOMEM)
			fail("errno", "4 pages above a limit of 3: %s", p ? "succeeds" : strerror(errno));
		expect_refusal(&before, 1, 1, "promises above the limit of the middle");
		expect_up(0, 0, "4 promises are refused");
		before = tell();
	}
	fd = huge_file("/dev/hugepages", 4 * HUGE_2M);
	p = mmap(NULL, 3 * HUGE_2M, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		fail("errno", "3 pages at a limit of 3: %s", strerror(errno));
		return;
	}
	expect_up(0, 3, "3 promises of a file");
	before = tell();
	q = mmap(NULL, HUGE_2M, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 3 * HUGE_2M);
	if (q != MAP_FAILED)
		fail("errno", "a fourth page above a limit of 3 succeeds");
	expect_refusal(&before, 1, 1, "a promise of a file above the limit of the middle");
	/* A page without a promise wants one as it comes. */
	before = tell();
	q = mmap(NULL, HUGE_2M, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 3 * HUGE_2M);
	if (q != MAP_FAILED)
		above(q, "a page without a promise, above the limit of promises");
	expect_refusal(&before, 1, 1, "a fault above the limit of the middle");
	p[0] = 1;
	expect_up(1, 3, "after refusals");
	cg_limit(MIDDLE, 1, -1);
	close(fd);
}

/*
 * What is promised of a file is kept by range, each with its group: ranges that come to lie
 * side by side are one, one that loses its middle is two.
 */
static void ranges(void)
{
	static const int order[] = { 0, 2, 1, 4 };
	int fd = huge_file("/dev/hugepages", 5 * HUGE_2M), i;
	char *p;

	for (i = 0; i < 4; i++) {
		p = mmap(NULL, HUGE_2M, PROT_READ | PROT_WRITE, MAP_SHARED, fd, order[i] * HUGE_2M);
		if (p == MAP_FAILED) {
			fail("errno", "page %d of a file in a leaf: %s", order[i], strerror(errno));
			return;
		}
		p[0] = 1;
		munmap(p, HUGE_2M);
		expect_up(i + 1, i + 1, "one page more of a file");
	}
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, HUGE_2M, HUGE_2M))
		fail("errno", "hole: %s", strerror(errno));
	expect_up(3, 3, "a hole in the middle of a range");
	if (ftruncate(fd, 2 * HUGE_2M))
		fail("errno", "ftruncate: %s", strerror(errno));
	expect_up(1, 1, "a cut behind the hole");
	close(fd);
	expect_up(0, 0, "a file of ranges is gone");
}

/* A child in another group: its copies are that group's, what it inherits is not. */
static void child_elsewhere(void)
{
	char *p = map(2, MAP_PRIVATE);
	int status = 0;
	pid_t pid;

	if (!p) {
		fail("errno", "2 pages in a leaf: %s", strerror(errno));
		return;
	}
	pattern_write(p, 2 * HUGE_2M, OWNER, 0);
	pid = fork();
	if (!pid) {
		if (cg_enter(SIBLING, getpid()))
			fail("errno", "cannot enter the other cgroup");
		cg_expect(SIBLING, 0, 0, "a child with pages of another group");
		p[8] = 1;
		cg_expect(SIBLING, 1, 1, "a child's copy");
		cg_expect(LEAF, 2, 2, "a child of another group has a copy");
		cg_expect(TOP, 3, 3, "a child's copy, of the top");
		move_all(p, 1, "a child's copy");
		cg_expect(SIBLING, 1, 1, "a child's copy was moved");
		cg_expect(LEAF, 2, 2, "a child's copy was moved");
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (status)
		fail("signal", "a child ended with status 0x%x", status);
	count_add(forked, 1);
	cg_expect(SIBLING, 0, 0, "the child is gone");
	expect_up(2, 2, "the child is gone");
	pattern_check(p, 2 * HUGE_2M, OWNER, 0);
}

/*
 * A promise may outlive its group by days, and nobody may wait for it: a group that is made and
 * removed wants the lock under which another one goes.
 */
static void others_go_on(const char *when)
{
	int tries, status = 0;
	pid_t pid = fork();

	if (!pid)
		_exit(cg_make(NEW) || cg_remove(NEW));
	for (tries = 0; tries < PATIENCE * 100; tries++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			break;
		usleep(10000);
	}
	if (tries == PATIENCE * 100)
		fail("hang", "%s: a new group waits for %d s", when, PATIENCE);
	else if (status)
		fail("errno", "%s: no new group, status 0x%x", when, status);
}

/*
 * The process goes to another group, its pages do not: they are the leaf's until that is
 * removed, then of the group above, mapped as they are.  A promise stays with the dead one.
 */
static void left_behind(void)
{
	char *p = map(2, MAP_PRIVATE), *q = map(2, MAP_PRIVATE);

	if (!p || !q) {
		fail("errno", "4 pages in a leaf: %s", strerror(errno));
		return;
	}
	pattern_write(p, 2 * HUGE_2M, OWNER, 0);
	if (cg_enter(SIBLING, getpid()))
		fail("errno", "cannot enter the other cgroup");
	expect_up(2, 4, "its process went to another group");
	cg_expect(SIBLING, 0, 0, "a process came from another group");
	move_all(p, 2, "of a group that it left");
	cg_expect(LEAF, 2, 4, "moved by a process of another group");
	cg_expect(SIBLING, 0, 0, "it moved pages of the group that it left");
	if (cg_remove(LEAF)) {
		fail("errno", "rmdir of a cgroup with pages that are mapped: %s", strerror(errno));
		return;
	}
	count_add(reparented, 1);
	usleep(100000);		/* a worker sees to it */
	cg_expect(MIDDLE, 2, 4, "its leaf is gone");
	cg_expect(TOP, 2, 4, "the leaf below the middle is gone");
	cg_expect(SIBLING, 0, 0, "the leaf beside it is gone");
	others_go_on("a group is gone that has a promise left");
	move_all(p, 2, "of a group that is gone");
	cg_expect(MIDDLE, 2, 4, "moved, and the leaf is gone");
	pattern_check(p, 2 * HUGE_2M, OWNER, 0);
	/* A page of a promise that was made in the group that is gone is this group's. */
	q[0] = 1;
	cg_expect(SIBLING, 1, 0, "touched what a dead group was promised");
	cg_expect(TOP, 3, 4, "touched what a dead group was promised");
	munmap(p, HUGE_2M);
	cg_expect(MIDDLE, 2, 3, "one of the pages is gone");
	munmap(q, 2 * HUGE_2M);
	cg_expect(SIBLING, 0, 0, "the promise is gone");
	cg_expect(TOP, 1, 1, "the promise is gone");
}

/* Two leaves share what the group above them may have. */
static int ready[2], go[2];

static void sharer(void)
{
	char *p = map(1, MAP_PRIVATE), c;

	if (cg_enter(SIBLING, getpid()) || !p)
		fail("errno", "cannot enter the other cgroup");
	else
		p[0] = 1;
	if (write(ready[1], "r", 1) != 1 || read(go[0], &c, 1) < 0)
		_exit(1);
	_exit(0);
}

static void shared_limit(void)
{
	char *p = map(2, MAP_PRIVATE), c;
	int status;
	pid_t pid;

	if (pipe(ready) || pipe(go) || !p)
		return;
	pid = fork();
	if (!pid)
		sharer();
	if (read(ready[0], &c, 1) != 1)
		fail("signal", "the process of the other group is gone");
	cg_limit(MIDDLE, 0, 2);
	p[0] = 1;
	above(p + HUGE_2M, "above what two groups may have");
	cg_expect(LEAF, 1, -1, "at the limit of two groups");
	cg_expect(SIBLING, 1, -1, "at the limit of two groups");
	cg_expect(MIDDLE, 2, -1, "at the limit of two groups");
	if (write(go[1], "g", 1) != 1)
		fail("errno", "pipe");
	waitpid(pid, &status, 0);
	cg_expect(SIBLING, 0, 0, "the other process is gone");
	p[HUGE_2M] = 1;
	expect_up(2, -1, "the other process is gone");
	cg_limit(MIDDLE, 0, -1);
	close(ready[0]);
	close(ready[1]);
	close(go[0]);
	close(go[1]);
}

int main(int argc, char **argv)
{
	int at = repro_start(argc, argv);
	struct pool before;

	rounds = counter("rounds");
	moved = counter("moved");
	refused = counter("refused");
	reparented = counter("reparented");
	forked = counter("forked");
	two_nodes(nodes);
	catch_signals();
	pool_read(&before);
	version = at + 1 < argc ? atoi(argv[at + 1]) : 1;
	cg_mount(version);
	do {
		if (cg_make(TOP) || cg_make(MIDDLE) || cg_make(SIBLING)) {
			fail("errno", "no cgroup: %s", strerror(errno));
			break;
		}
		in_leaf(full_at_the_top);
		in_leaf(full_in_the_middle);
		in_leaf(ranges);
		in_leaf(child_elsewhere);
		in_leaf(shared_limit);
		in_leaf(left_behind);
		/* Nothing of the groups may hold on to them: whoever counts them sees that. */
		if (cg_remove(SIBLING) || cg_remove(MIDDLE) || cg_remove(TOP))
			fail("errno", "rmdir of the groups: %s", strerror(errno));
		pool_same(&before, "after the groups");
		count_add(rounds, 1);
	} while (running() && !failed());
	cg_umount();
	return repro_end();
}
