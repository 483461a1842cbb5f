// SPDX-License-Identifier: GPL-2.0-only
/*
 * One thread uses a huge page without a single system call, so that its CPU's TLB knows
 * the page; another thread takes that page away from the process, or rights to it.  When
 * the call has returned, the TLB must not know it any longer.  No page table is shared.
 *
 *	CPU0 (changer)				CPU1 (user)
 *
 *	write: copy on write, the old page	reads: must see what was written
 *	  stays with a child
 *	fork(): write-protects			writes: the child must not see it
 *	move_pages()				writes: must not be lost
 *	mprotect(PROT_READ)			writes: must get SIGSEGV
 *	mprotect(PROT_NONE), of pages of	reads: must get SIGSEGV
 *	  which this is the only one		  (and so must CPU0, with its own TLB)
 *	munmap()				writes: must get SIGSEGV
 *	mremap(), since 5.16			writes: must get SIGSEGV
 *	punch of a hole				reads: must see zero
 *	ftruncate()				writes: must get SIGBUS
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
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define AT 8192		/* where in the page the word is */

static struct counter *copied, *isolated, *migrated, *denied, *removed, *zeroed, *beyond;
static int nodes[2];

enum use { REST, READ, WRITE, LEAVE };

static struct {
	enum use use;
	int rests;		/* is behind its last touch */
	char *page;
	unsigned long n;	/* touches so far */
	unsigned long seen;	/* what the last one read or wrote */
	struct caught caught;	/* the signal that ended the use */
} user;

#define GET(field) __atomic_load_n(&user.field, __ATOMIC_SEQ_CST)
#define SET(field, value) __atomic_store_n(&user.field, value, __ATOMIC_SEQ_CST)

/* Touches a byte until told otherwise or until a signal comes; reads what the byte holds. */
static void *use_page(void *arg)
{
	struct caught caught = { 0 };
	unsigned char value = 0;
	enum use use;

	(void)arg;
	pin_cpu(1);
	while ((use = GET(use)) != LEAVE) {
		if (use == REST) {
			SET(rests, 1);
			continue;
		}
		if (use == READ ? touch_read(GET(page) + AT, &value, &caught) :
				  touch_write(GET(page) + AT, ++value, &caught)) {
			user.caught = caught;
			SET(use, REST);
			continue;
		}
		SET(seen, value);
		__atomic_fetch_add(&user.n, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

/* Some more touches, all of them begun after this call; false where a signal ended the use. */
static int touches(unsigned long n)
{
	unsigned long from = GET(n);

	while (GET(n) < from + n + 1) {
		if (GET(use) == REST)
			return 0;
		sched_yield();
	}
	return 1;
}

static void begin(char *page, enum use use)
{
	memset(&user.caught, 0, sizeof(user.caught));
	SET(page, page);
	SET(use, use);
	touches(3);
}

static void rest(void)
{
	SET(use, REST);
	SET(rests, 0);
	while (!GET(rests))
		sched_yield();
}

static void ends_by(int sig, int code, struct counter *c, const char *when)
{
	int went_on = touches(20);

	rest();
	if (went_on)
		fail("signal", "%s: a thread on another CPU went on with the page", when);
	else if (caught_is(&user.caught, user.page + AT, sig, code, when))
		count_add(c, 1);
}

static char *map_one(int flags, int fd)
{
	char *page = mmap(NULL, HUGE_2M, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (page == MAP_FAILED)
		return NULL;
	page[AT] = 1;
	return page;
}

static char *map_private(void)
{
	return map_one(MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1);
}

/* Keeps the page, reads it when asked, and says what it holds. */
static pid_t keeper(char *page, int *ask, int *answer)
{
	int in[2], out[2];
	pid_t pid;
	char c;

	if (pipe(in) || pipe(out))
		return -1;
	pid = fork();
	if (!pid) {
		close(in[1]);	/* or its end would never be seen */
		close(out[0]);
		while (read(in[0], &c, 1) == 1) {
			c = page[AT];
			if (write(out[1], &c, 1) != 1)
				break;
		}
		_exit(0);
	}
	close(in[0]);
	close(out[1]);
	*ask = in[1];
	*answer = out[0];
	return pid;
}

static int what_it_holds(int ask, int answer)
{
	unsigned char c = 0;

	if (write(ask, &c, 1) != 1 || read(answer, &c, 1) != 1)
		return -1;
	return c;
}

/* Copy on write here, while the other thread reads: it must read the copy. */
static void copy(void)
{
	char *page = map_private();
	int ask, answer, held;
	pid_t pid;

	if (!page)
		return;
	pid = keeper(page, &ask, &answer);
	if (pid > 0) {
		begin(page, READ);
		page[AT] = 2;
		touches(3);
		rest();
		held = what_it_holds(ask, answer);
		if (user.seen != 2)
			fail("data", "a page was copied on a write, and a thread on another CPU "
			     "still reads %lu in it", user.seen);
		else if (held != 1)
			fail("data", "a page was copied on a write, and the child reads %d", held);
		else
			count_add(copied, 1);
		close(ask);
		close(answer);
		waitpid(pid, NULL, 0);
	}
	munmap(page, HUGE_2M);
}

/* fork() while the other thread writes: the child keeps what was there at one moment. */
static void isolate(void)
{
	char *page = map_private();
	int ask, answer, first, i;
	pid_t pid;

	if (!page)
		return;
	begin(page, WRITE);
	pid = keeper(page, &ask, &answer);
	if (pid > 0) {
		first = what_it_holds(ask, answer);
		for (i = 0; i < 3 && touches(5); i++)
			if (what_it_holds(ask, answer) != first) {
				fail("data", "a child sees what a thread of its parent writes "
				     "after the fork");
				break;
			}
		rest();
		if (first >= 0 && i == 3)
			count_add(isolated, 1);
		close(ask);
		close(answer);
		waitpid(pid, NULL, 0);
	}
	rest();
	munmap(page, HUGE_2M);
}

static void migrate(int shared)
{
	int status, to, fd = shared ? huge_memfd(HUGE_2M) : -1;
	char *page = shared ? map_one(MAP_SHARED, fd) : map_private();
	unsigned long before;

	if (page) {
		begin(page, WRITE);
		to = nodes[page_node(page) == nodes[0]];
		if (!move_page(0, page, to, MPOL_MF_MOVE, &status) && status == to) {
			touches(5);
			rest();
			/* Nobody writes now; the thread's own CPU knows best what it wrote. */
			before = user.seen;
			flush_tlb();
			if ((unsigned char)page[AT] != before)
				fail("data", "a %s page was moved, and a thread on another CPU had "
				     "written %lu where there is %u now", shared ? "shared" : "private",
				     before, (unsigned char)page[AT]);
			else
				count_add(migrated, 1);
		}
		rest();
		munmap(page, HUGE_2M);
	}
	if (fd >= 0)
		close(fd);
}

static void deny(void)
{
	char *page = map_private();

	if (!page)
		return;
	begin(page, WRITE);
	mprotect(page, HUGE_2M, PROT_READ);
	ends_by(SIGSEGV, SEGV_ACCERR, denied, "write after mprotect(PROT_READ)");
	munmap(page, HUGE_2M);

	page = map_private();
	if (!page)
		return;
	begin(page, WRITE);
	munmap(page, HUGE_2M);
	ends_by(SIGSEGV, SEGV_MAPERR, removed, "write after munmap()");
}

/*
 * Rights to a range go, of which one page is there: the first, the last or one between
 * two that nobody has touched.  Who asks for it has the page in a TLB as well.
 */
#define RANGE 3
static void deny_range(int there, int shared, int prot)
{
	int fd = shared ? huge_memfd(RANGE * HUGE_2M) : -1;
	char *range = mmap(NULL, RANGE * HUGE_2M, PROT_READ | PROT_WRITE,
			   shared ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, fd, 0);
	char *page = range + there * HUGE_2M, when[100];
	struct caught caught;
	unsigned char value;

	if (range != MAP_FAILED) {
		snprintf(when, sizeof(when), "%s after mprotect(%s) of %d %s pages, only page %d there",
			 prot ? "write" : "read", prot ? "PROT_READ" : "PROT_NONE", RANGE,
			 shared ? "shared" : "private", there);
		begin(page, prot ? WRITE : READ);
		touch_write(page + AT + 1, 1, &caught);
		mprotect(range, RANGE * HUGE_2M, prot);
		if (prot)
			touch_write(page + AT + 1, 2, &caught);
		else
			touch_read(page + AT + 1, &value, &caught);
		ends_by(SIGSEGV, SEGV_ACCERR, denied, when);
		caught_is(&caught, page, SIGSEGV, SEGV_ACCERR, when);
		munmap(range, RANGE * HUGE_2M);
	}
	if (fd >= 0)
		close(fd);
}

/* Two of the twelve each round; the first six have each page, private and shared. */
static void deny_ranges(void)
{
	static int turn;
	int i;

	for (i = 0; i < 2; i++, turn = (turn + 1) % 12)
		deny_range(turn % RANGE, turn % 2, turn % 2 == turn / 6 ? PROT_READ : PROT_NONE);
}

/* Where hugetlb has mremap(); before 5.16 it is refused. */
static void move_mapping(void)
{
	char *page = map_private(), *room, *now;

	if (!page)
		return;
	room = mmap(NULL, 2 * HUGE_2M, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	room = (char *)(((unsigned long)room + HUGE_2M - 1) & ~(HUGE_2M - 1));
	begin(page, WRITE);
	now = mremap(page, HUGE_2M, HUGE_2M, MREMAP_MAYMOVE | MREMAP_FIXED, room);
	if (now == MAP_FAILED) {
		rest();
		munmap(page, HUGE_2M);
		munmap(room, HUGE_2M);
		return;
	}
	ends_by(SIGSEGV, SEGV_MAPERR, removed, "write after mremap()");
	if ((unsigned char)now[AT] != user.seen)
		fail("data", "mremap() took a page that held %lu to where it holds %u", user.seen,
		     (unsigned char)now[AT]);
	munmap(now, HUGE_2M);
}

/* The page leaves a file that is mapped here and nowhere else. */
static void shrink(void)
{
	int fd = huge_memfd(HUGE_2M);
	char *page = map_one(MAP_SHARED, fd);

	if (page) {
		begin(page, READ);
		if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, HUGE_2M))
			fail("errno", "punch of a hole: %s", strerror(errno));
		touches(3);
		rest();
		if (user.seen)
			fail("data", "the hole was punched, and a thread on another CPU reads %lu",
			     user.seen);
		else
			count_add(zeroed, 1);
		begin(page, WRITE);
		if (ftruncate(fd, 0))
			fail("errno", "ftruncate: %s", strerror(errno));
		ends_by(SIGBUS, BUS_ADRERR, beyond, "write after ftruncate()");
		munmap(page, HUGE_2M);
	}
	close(fd);
}

static void changer(void *arg)
{
	const struct pool *before = arg;
	pthread_t thread;

	pin_cpu(0);
	pthread_create(&thread, NULL, use_page, NULL);
	while (running() && !failed()) {
		copy();
		isolate();
		migrate(0);
		migrate(1);
		deny();
		deny_ranges();
		move_mapping();
		shrink();
		pool_same(before, "after a round");
	}
	SET(use, LEAVE);
	pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
	struct pool before;

	repro_start(argc, argv);
	catch_signals();
	copied = counter("copied");
	isolated = counter("isolated");
	migrated = counter("migrated");
	denied = counter("denied");
	removed = counter("removed");
	zeroed = counter("zeroed");
	beyond = counter("beyond");
	two_nodes(nodes);
	pool_read(&before);
	child("changer", changer, &before);
	repro_wait();
	return repro_end();
}
