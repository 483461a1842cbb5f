// SPDX-License-Identifier: GPL-2.0-only
/*
 * A huge page is charged to the cgroup of who faulted it in, and its reservation to
 * who mapped it.  A migration moves the charges to the new page; they end with the
 * page or with its file, not with the process, and go to the parent when the group
 * is removed first.
 *
 *				usage	rsvd
 *	mmap() of 2 pages	0	2
 *	touched			2	2
 *	moved, and back		2	2
 *	munmap()		0	0
 *
 * "-g 1" and "-g 2" choose the version of cgroups.
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

#define OWNER 25

static struct counter *rounds, *moved, *limited, *reparented, *splits;
static int nodes[2];
static const char *group;	/* that is charged */

static void move_there_and_back(struct huge *h)
{
	int status, turn, to;
	size_t i;
	long got;

	for (i = 0; i < h->n; i++) {
		char *page = h->addr + i * HUGE_2M;

		for (turn = 0; turn < 2; turn++) {
			to = nodes[page_node(page) == nodes[0]];
			got = move_page(0, page, to, MPOL_MF_MOVE, &status);
			if (!got && status == to)
				count_add(moved, 1);
			else
				fail("errno", "move in a cgroup: %ld, status %d", got, status);
			cg_expect(group, h->n, -1, "just moved");
		}
	}
}

/* Charged with the fault, kept by the moves, gone with the file or the mapping. */
static void charged(enum kind kind)
{
	struct huge h;
	int err = huge_open(&h, kind, HUGE_2M, 2, "/dev/hugepages", OWNER);

	if (err) {
		fail("errno", "%s in a cgroup: %s", kind_name(kind), strerror(err));
		return;
	}
	cg_expect(group, 2, 2, "touched");
	move_there_and_back(&h);
	cg_expect(group, 2, 2, "moved");
	huge_check(&h, OWNER, "moved in a cgroup");
	huge_close(&h);
	cg_expect(group, 0, 0, "unmapped");
}

/* Without a reservation both charges come with the fault. */
static void unreserved(void)
{
	char *p = mmap(NULL, HUGE_2M, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE, -1, 0);
	struct huge h = { .kind = ANON, .page = HUGE_2M, .n = 1, .addr = p, .fd = -1 };

	if (p == MAP_FAILED) {
		fail("errno", "MAP_NORESERVE in a cgroup: %s", strerror(errno));
		return;
	}
	cg_expect(group, 0, 0, "not reserved");
	pattern_write(p, HUGE_2M, OWNER, 0);
	cg_expect(group, 1, 1, "faulted in without a reservation");
	move_there_and_back(&h);
	cg_expect(group, 1, 1, "moved without a reservation");
	huge_close(&h);
	cg_expect(group, 0, 0, "unmapped without a reservation");
}

/* A limit holds after a migration as before it, for faults and for reservations. */
static void limits(void)
{
	long met = cg_refusals(group, 0), met_rsvd = cg_refusals(group, 1);
	struct caught caught;
	struct huge h;
	char *more;

	cg_limit(group, 0, 1);
	more = mmap(NULL, 2 * HUGE_2M, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (more == MAP_FAILED) {
		fail("errno", "mmap below the limit of reservations: %s", strerror(errno));
	} else {
		h = (struct huge){ .kind = ANON, .page = HUGE_2M, .n = 1, .addr = more, .fd = -1 };
		pattern_write(more, HUGE_2M, OWNER, 0);
		move_there_and_back(&h);
		touch_write(more + HUGE_2M, 1, &caught);
		if (caught_is(&caught, more + HUGE_2M, SIGBUS, BUS_ADRERR, "above the limit"))
			count_add(limited, 1);
		if (met >= 0 && cg_refusals(group, 0) <= met)
			fail("counters", "a limit was met, and %ld times are told as before", met);
		cg_expect(group, 1, 2, "at the limit");
		munmap(more, 2 * HUGE_2M);
	}
	cg_limit(group, 0, -1);
	cg_limit(group, 1, 1);
	more = mmap(NULL, 2 * HUGE_2M, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (more != MAP_FAILED || errno != ENOMEM)
		fail("errno", "mmap above the limit of reservations: %s",
		     more == MAP_FAILED ? strerror(errno) : "succeeded");
	if (met_rsvd >= 0 && cg_refusals(group, 1) <= met_rsvd)
		fail("counters", "a limit of reservations was met, and %ld times are told as before",
		     met_rsvd);
	cg_limit(group, 1, -1);
	cg_expect(group, 0, 0, "refused");
}

/*
 * What has no reservation is charged twice as it is made, and either charge may be refused:
 * then the other goes too.  A fault of a private and of a shared mapping, a copy on write,
 * a page that fallocate() makes.
 */
enum refused { PRIVATE_FAULT, SHARED_FAULT, COPY, ALLOCATED, REFUSED };

static const char *const refused_name[] = {
	[PRIVATE_FAULT] = "fault of a private mapping",
	[SHARED_FAULT] = "fault of a shared mapping",
	[COPY] = "copy on write",
	[ALLOCATED] = "fallocate()",
};

static void above_limit(char *page, enum refused what)
{
	struct caught caught;
	char text[80];

	snprintf(text, sizeof(text), "%s above a limit", refused_name[what]);
	touch_write(page, 1, &caught);
	if (caught_is(&caught, page, SIGBUS, BUS_ADRERR, text))
		count_add(limited, 1);
}

static void refused(enum refused what, int rsvd)
{
	int fd = -1, flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, status;
	char text[80], *p;
	pid_t pid;

	snprintf(text, sizeof(text), "%s, %s refused", refused_name[what],
		 rsvd ? "reservation" : "page");
	if (what == SHARED_FAULT || what == ALLOCATED) {
		fd = huge_file("/dev/hugepages", 2 * HUGE_2M);
		flags = MAP_SHARED;
	}
	p = mmap(NULL, 2 * HUGE_2M, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE, fd, 0);
	if (p == MAP_FAILED) {
		fail("errno", "%s: mmap: %s", text, strerror(errno));
		return;
	}
	cg_limit(group, rsvd, 1);
	if (what == ALLOCATED) {
		if (!fallocate(fd, 0, 0, 2 * HUGE_2M))
			fail("errno", "%s: fallocate() of 2 pages succeeded", text);
		else
			count_add(limited, 1);
	} else {
		p[0] = 1;
		pid = what == COPY ? fork() : 0;
		if (what != COPY || !pid)
			above_limit(what == COPY ? p : p + HUGE_2M, what);
		if (what == COPY && !pid)
			_exit(0);
		if (pid > 0)
			waitpid(pid, &status, 0);
	}
	cg_expect(group, 1, 1, text);
	cg_limit(group, rsvd, -1);
	munmap(p, 2 * HUGE_2M);
	if (fd >= 0)
		close(fd);
	snprintf(text, sizeof(text), "%s, and unmapped", refused_name[what]);
	cg_expect(group, 0, 0, text);
}

static void all_refused(void)
{
	int what;

	for (what = 0; what < REFUSED; what++) {
		refused(what, 0);
		refused(what, 1);
	}
}

/* A charge that comes before a failure goes with it: no page for the fault, no room to map. */
static void failures(void)
{
	struct caught caught;
	struct pool all;
	char *p;

	pool_read(&all);
	p = mmap(NULL, HUGE_2M, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE, -1, 0);
	pool_empty(&all, 0);
	if (p != MAP_FAILED) {
		touch_write(p, 1, &caught);
		caught_is(&caught, p, SIGBUS, BUS_ADRERR, "fault with an empty pool");
		cg_expect(group, 0, 0, "a fault found no page");
		munmap(p, HUGE_2M);
	}
	p = mmap(NULL, 2 * HUGE_2M, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (p != MAP_FAILED)
		fail("errno", "mmap with an empty pool succeeded");
	cg_expect(group, 0, 0, "an mmap found no pages");
	pool_restore(&all);
}

/* Half of it goes: of a private mapping by munmap(), of a file by truncation and a hole. */
static void by_halves(void)
{
	char *p = mmap(NULL, 2 * HUGE_2M, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	int fd;

	if (p != MAP_FAILED) {
		p[0] = p[HUGE_2M] = 1;
		cg_expect(group, 2, 2, "both halves");
		munmap(p + HUGE_2M, HUGE_2M);
		cg_expect(group, 1, 1, "half of a private mapping");
		munmap(p, HUGE_2M);
		cg_expect(group, 0, 0, "neither half");
	}
	fd = huge_file("/dev/hugepages", 3 * HUGE_2M);
	p = mmap(NULL, 3 * HUGE_2M, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		fail("errno", "a file of 3 pages in a cgroup: %s", strerror(errno));
		return;
	}
	p[0] = p[HUGE_2M] = p[2 * HUGE_2M] = 1;
	cg_expect(group, 3, 3, "a file of 3 pages");
	if (ftruncate(fd, 2 * HUGE_2M))
		fail("errno", "ftruncate: %s", strerror(errno));
	cg_expect(group, 2, 2, "a file cut to 2 pages");
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, HUGE_2M))
		fail("errno", "punch of a hole: %s", strerror(errno));
	cg_expect(group, 1, 1, "a file with a hole");
	munmap(p, 3 * HUGE_2M);
	cg_expect(group, 1, 1, "a file that nobody maps");
	close(fd);
	cg_expect(group, 0, 0, "no file");
}

/*
 * A private mapping that is reserved holds on to its group, and so does each part of it
 * when it is split: by munmap() in the middle, by mprotect(), in a child of a fork that
 * has none of the reservation.  A part too many that lets go is seen when the group goes.
 */
#define PARTS 7

static void split_up(void)
{
	char *p = mmap(NULL, PARTS * HUGE_2M, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	int status;
	pid_t pid;

	if (p == MAP_FAILED) {
		fail("errno", "%d pages in a cgroup: %s", PARTS, strerror(errno));
		return;
	}
	p[0] = p[2 * HUGE_2M] = 1;
	cg_expect(group, 2, PARTS, "before the splits");
	munmap(p + HUGE_2M, HUGE_2M);
	cg_expect(group, 2, PARTS - 1, "a page in the middle is gone, that was not touched");
	mprotect(p + 4 * HUGE_2M, HUGE_2M, PROT_READ);
	pid = fork();
	if (!pid) {
		munmap(p + 5 * HUGE_2M, HUGE_2M);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	cg_expect(group, 2, PARTS - 1, "a child with parts of it is gone");
	munmap(p + 2 * HUGE_2M, HUGE_2M);
	cg_expect(group, 1, PARTS - 2, "a page in the middle is gone, that was touched");
	munmap(p + 5 * HUGE_2M, HUGE_2M);
	cg_expect(group, 1, PARTS - 3, "five parts are left");
	count_add(splits, 4);
	/* The rest goes with the process. */
}

/* Each time a group of its own: what its parts let go too often is told as it goes. */
static void splits_to_the_end(void)
{
	const char *kept = group;
	int turn;

	group = "p/s";
	for (turn = 0; turn < 2; turn++) {
		if (cg_make(group)) {
			fail("errno", "no cgroup: %s", strerror(errno));
			break;
		}
		cg_run(group, split_up);
		cg_expect(group, 0, 0, "all parts are gone");
		if (cg_remove(group))
			fail("errno", "rmdir of a cgroup that had a mapping split: %s",
			     strerror(errno));
	}
	group = kept;
}

/* The most that was in use, of pages and of reservations (version 1). */
static void peaks(void)
{
	char *p;

	if (cg_peak(group, 0) < 0)
		return;
	p = mmap(NULL, 3 * HUGE_2M, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (p == MAP_FAILED)
		return;
	cg_reset_peak(group, 0);
	cg_reset_peak(group, 1);
	p[0] = p[HUGE_2M] = 1;
	munmap(p, 3 * HUGE_2M);
	if (cg_peak(group, 0) != 2 || cg_peak(group, 1) != 3)
		fail("counters", "the most in use was 2 pages and 3 reservations, told are %ld and %ld",
		     cg_peak(group, 0), cg_peak(group, 1));
	cg_expect(group, 0, 0, "after the peak");
}

/* Copies on write, and what a child inherits: charged to whoever faults. */
static void forked(void)
{
	char *p = mmap(NULL, HUGE_2M, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	int status;
	pid_t pid;

	if (p == MAP_FAILED)
		return;
	p[0] = 1;
	pid = fork();
	if (!pid) {
		p[0] = 2;	/* a copy, without a reservation */
		cg_expect(group, 2, -1, "a child has its copy");
		_exit(0);
	}
	waitpid(pid, &status, 0);
	cg_expect(group, 1, 1, "the child is gone");
	munmap(p, HUGE_2M);
	cg_expect(group, 0, 0, "the parent has nothing");
}

/*
 * One file, whose pages two groups have reserved, and one of them has touched: each page
 * and each reservation ends in the group that it was charged to.
 */
static int common;

static void reserve_first(void)
{
	char *p = mmap(NULL, HUGE_2M, PROT_READ | PROT_WRITE, MAP_SHARED, common, 0);

	if (p == MAP_FAILED)
		fail("errno", "the first page of a common file: %s", strerror(errno));
}

static void reserve_second(void)
{
	char *p = mmap(NULL, HUGE_2M, PROT_READ | PROT_WRITE, MAP_SHARED, common, HUGE_2M),
	     *q = mmap(NULL, HUGE_2M, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, common, 0);

	if (p == MAP_FAILED || q == MAP_FAILED)
		fail("errno", "the second page of a common file: %s", strerror(errno));
	else
		q[0] = 1;
}

static void two_groups(void)
{
	const char *kept = group;

	common = huge_file("/dev/hugepages", 2 * HUGE_2M);
	if (cg_make("p/a") || cg_make("p/b")) {
		fail("errno", "no cgroup: %s", strerror(errno));
		return;
	}
	group = "p/a";
	cg_run(group, reserve_first);
	group = "p/b";
	cg_run(group, reserve_second);
	group = kept;
	cg_expect("p/a", 0, 1, "who has reserved the first page");
	cg_expect("p/b", 1, 1, "who has touched it, and reserved the second");
	if (fallocate(common, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, HUGE_2M))
		fail("errno", "punch of a hole: %s", strerror(errno));
	cg_expect("p/a", 0, 0, "the first page is gone");
	cg_expect("p/b", 0, 1, "the first page is gone, the second is not");
	close(common);
	cg_expect("p/b", 0, 0, "the file of two groups is gone");
	if (cg_remove("p/a") || cg_remove("p/b"))
		fail("errno", "rmdir of two groups with a file: %s", strerror(errno));
}

static void all_kinds(void)
{
	static const enum kind kinds[] = { ANON, PRIVATE_FILE, MEMFD, SHARED_FILE, FALLOCATED };
	size_t i;

	for (i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		charged(kinds[i]);
	unreserved();
	limits();
	all_refused();
	failures();
	by_halves();
	peaks();
	forked();
}

static int outlived;
static char *view;

static void leave_a_file(void)
{
	pattern_write(view, HUGE_2M, OWNER, 0);
	pattern_write(view + HUGE_2M, HUGE_2M, OWNER, 0);
}

/*
 * The file outlives the process and then its group: the parent inherits the charge.  A
 * worker sees to that, some grace period after rmdir(); nothing tells when it has.
 */
static void reparent(void)
{
	struct huge h = { .kind = SHARED_FILE, .page = HUGE_2M, .n = 2 };
	int err;

	outlived = huge_file("/dev/hugepages", 2 * HUGE_2M);
	view = mmap(NULL, 2 * HUGE_2M, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
		    outlived, 0);
	if (outlived < 0 || view == MAP_FAILED) {
		fail("errno", "a file to outlive its cgroup: %s", strerror(errno));
		return;
	}
	h.addr = view;
	h.fd = outlived;
	cg_run(group, leave_a_file);
	cg_expect("p/t", 2, 2, "the process is gone, the file is not");
	huge_check(&h, OWNER, "a file that outlived its writer");
	move_there_and_back(&h);
	cg_expect("p", 2, -1, "of the group above");
	err = cg_remove("p/t");
	if (err)
		fail("errno", "rmdir of a cgroup with pages: %s", strerror(err));
	else
		count_add(reparented, 1);
	usleep(250000);
	cg_expect("p", 2, -1, "the group is gone, the file is not");
	huge_check(&h, OWNER, "after the cgroup's end");
	group = "p";
	move_there_and_back(&h);
	huge_close(&h);
	cg_expect("p", 0, -1, "the file is gone, too");
}

int main(int argc, char **argv)
{
	struct pool before;
	int at = repro_start(argc, argv);

	rounds = counter("rounds");
	moved = counter("moved");
	limited = counter("limited");
	reparented = counter("reparented");
	splits = counter("splits");
	two_nodes(nodes);
	catch_signals();
	pool_read(&before);
	cg_mount(at + 1 < argc ? atoi(argv[at + 1]) : 1);
	do {
		group = "p/t";
		if (cg_make("p") || cg_make(group)) {
			fail("errno", "no cgroup: %s", strerror(errno));
			break;
		}
		splits_to_the_end();
		cg_run(group, all_kinds);
		cg_expect(group, 0, 0, "empty");
		two_groups();
		reparent();
		if (cg_remove("p"))
			fail("errno", "rmdir of the group above: %s", strerror(errno));
		pool_same(&before, "after the cgroup");
		count_add(rounds, 1);
	} while (running() && !failed());
	cg_umount();
	return repro_end();
}
