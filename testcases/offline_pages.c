// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory is taken out of use, with a warning (soft offline: the page moves away) or
 * without (hard: it is lost), page by page of every state that a huge page has.
 *
 *				soft				hard
 *	private, in use		another page, same data		SIGBUS MCEERR_AR
 *	of a file, in use	the same			the same
 *	in use, pool empty	the same, or EBUSY
 *	of a move in flight	the same, or EBUSY; nothing holds the page after that
 *	free			leaves the pool			the same
 *	free, but reserved	EBUSY; its owner gets it	nobody gets it
 *	shared by four					SIGBUS for each, at once for who
 *							asks for that (PR_MCE_KILL_EARLY)
 *
 * Only what was hit may be lost: its neighbours keep their data, who has a reservation
 * is never sent SIGBUS, and the pool loses the very page and no other.
 */
#define _GNU_SOURCE
#include "catch.h"
#include "huge.h"
#include "phys.h"
#include "pool.h"
#include "race.h"
#include "repro.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE 101
#endif
#define PAGES 2
#define OWNER 26
#define MOST 64
#define BAD 5		/* the base page that is broken of a huge page */

static struct counter *softened, *busy, *freed, *kept, *killed, *beside, *told_of;
static unsigned long poisoned[MOST];
static int n_poisoned;

/* What was poisoned is given back at the end: this guest has no broken memory. */
static void remember(unsigned long frame)
{
	if (frame && n_poisoned < MOST)
		poisoned[n_poisoned++] = frame;
}

static void give_back(void)
{
	while (n_poisoned)
		unpoison(poisoned[--n_poisoned]);
}

/* Where it is no huge page any more, one base page is lost of it, and 511 are not. */
static void one_part_lost(unsigned long frame, int part, int certain)
{
	uint64_t flags[512];
	int i;

	if (frames_flags(frame, flags, 512) < 512 || flags[0] & FRAME_HUGE ||
	    (!flags[part] && !certain))
		return;
	for (i = 0; i < 512; i++)
		if (!(flags[i] & FRAME_POISONED) != (i != part)) {
			fail("counters", "base page %d of a huge page whose base page %d is broken: "
			     "flags 0x%lx", i, part, (unsigned long)flags[i]);
			break;
		}
}

static void expect_kb(long kb, const char *when)
{
	if (hugetlb_kb() != kb)
		fail("counters", "%s: HugetlbPages is %ld kB, expected %ld", when, hugetlb_kb(), kb);
}

static void in_use(enum kind kind, const char *when)
{
	unsigned long old;
	struct huge h;
	int err;

	err = huge_open(&h, kind, HUGE_2M, PAGES, "/dev/hugepages", OWNER);
	if (err) {
		fail("errno", "%s: %s", kind_name(kind), strerror(err));
		return;
	}
	old = page_frame(h.addr);
	err = madvise(h.addr + 8192, 4096, MADV_SOFT_OFFLINE) ? errno : 0;
	if (err == EINVAL)
		skip("no soft offline: CONFIG_MEMORY_FAILURE");
	if (err && err != EBUSY && err != ENOMEM)
		fail("errno", "%s: soft offline of %s: %s", when, kind_name(kind), strerror(err));
	if (!err) {
		remember(old + 2);
		if (page_frame(h.addr) == old)
			fail("data", "%s: %s is still where memory was taken out of use", when,
			     kind_name(kind));
		one_part_lost(old, 2, 1);
		count_add(softened, 1);
	} else {
		count_add(busy, 1);
	}
	huge_check(&h, OWNER, when);
	pool_check(when);
	huge_close(&h);
}

#define MAPPERS 3

/* Those who share a page, in memory that all see. */
static struct {
	int ready, poisoned, early, late;
} *sharers;

#define BATCH 6
#define LOST 4		/* pages that may go */
#define TRIES 60

/*
 * Soft offline of a page that a migration has just now, and gives back: it is refused, or
 * waits and succeeds.  When all is over nobody has a reference to the page any more, so it
 * can be moved, and its pool has it.
 */
static void in_flight(enum kind kind)
{
	int nodes[2], tries, i, err, status, lost = 0, refused = 0;
	struct pool before, now;
	struct huge h;
	char *page;
	pid_t pid;
	long got;

	memory_nodes(nodes, 2);
	pool_read(&before);
	if (huge_open(&h, kind, HUGE_2M, BATCH, "/dev/hugepages", OWNER))
		return;
	page = h.addr + (BATCH - 1) * HUGE_2M;
	memset((void *)sharers, 0, sizeof(*sharers));
	status = getpid();
	pid = fork();
	if (!pid)
		move_together(status, h.addr, BATCH, &sharers->ready);
	for (tries = 0; tries < TRIES && lost < LOST && refused < 4; tries++) {
		usleep(tries * 1700 % 9000);
		err = madvise(page, 4096, MADV_SOFT_OFFLINE) ? errno : 0;
		if (!err) {
			lost++;
		} else if (err == EBUSY || err == EIO || err == EAGAIN || err == ENOMEM) {
			refused++;
		} else {
			fail("errno", "soft offline beside moves: %s", strerror(err));
		}
	}
	__atomic_store_n(&sharers->ready, 1, __ATOMIC_RELEASE);
	waitpid(pid, &status, 0);
	count_add(beside, refused);
	for (i = 0; i < BATCH; i++) {
		int to = nodes[page_node(h.addr + i * HUGE_2M) == nodes[0]];

		got = move_page(0, h.addr + i * HUGE_2M, to, 2 /* MPOL_MF_MOVE */, &status);
		if (got || status != to)
			fail("errno", "a page cannot be moved after %d refusals of soft offline: %ld, "
			     "status %d", refused, got, status);
	}
	huge_check(&h, OWNER, "soft offline beside moves");
	huge_close(&h);
	pool_check("soft offline beside moves");
	pool_read(&now);
	for (tries = 0; tries < 20 && now.free != now.nr; tries++) {
		usleep(50000);
		pool_read(&now);
	}
	if (now.free != now.nr)
		fail("counters", "soft offline beside moves, %d refused: nr free were %ld %ld, are %ld %ld, "
		     "and nobody has a page", refused, before.nr, before.free, now.nr, now.free);
}

/* A free page leaves the pool, and nobody notices. */
static void free_page(void)
{
	struct pool before, now;
	unsigned long frame;
	struct huge h;
	int err;

	if (huge_open(&h, ANON, HUGE_2M, 1, NULL, OWNER))
		return;
	frame = page_frame(h.addr);
	huge_close(&h);
	pool_read(&before);
	err = soft_offline(frame + 3);
	pool_read(&now);
	if (err == EBUSY) {
		count_add(busy, 1);
		return;
	}
	if (err) {
		fail("errno", "soft offline of a free huge page: %s", strerror(err));
		return;
	}
	remember(frame + 3);
	if (now.nr != before.nr - 1 || now.free != before.free - 1 || now.resv != before.resv)
		fail("counters", "soft offline of a free page: nr free resv were %ld %ld %ld, are "
		     "%ld %ld %ld", before.nr, before.free, before.resv, now.nr, now.free, now.resv);
	one_part_lost(frame, 3, 1);
	count_add(freed, 1);
}

/*
 * A free page is taken out of use as its pool shrinks: by the time that hugetlb_lock is free it
 * may be no huge page any more (6bc9b56433b7).
 *
 *	CPU0				CPU1
 *
 *	soft_offline_page()		nr_hugepages = 0
 *	  PageHuge()			  hugetlb_lock
 *	  hugetlb_lock: waits		    one page after the other goes
 *	  PageHuge() again: no
 */
#define SMALL 16
#define SHRINKS 4

static void free_page_of_a_shrinking_pool(const struct pool *all)
{
	volatile unsigned long *begun = shared_words(1);
	unsigned long frame;
	struct huge h;
	int turn, err;
	pid_t pid;

	for (turn = 0; turn < SHRINKS && !failed(); turn++) {
		pool_set("nr_hugepages", SMALL);
		if (huge_open(&h, ANON, HUGE_2M, SMALL, NULL, OWNER))
			break;
		/* What is free first is at the end of the list, and goes last. */
		frame = page_frame(h.addr + turn % 2 * HUGE_2M);
		huge_close(&h);
		*begun = 0;
		pid = fork();
		if (!pid) {
			pin_cpu(1);
			*begun = 1;
			pool_set("nr_hugepages", 0);
			_exit(0);
		}
		while (!*begun)
			;
		usleep(turn * 300);
		err = soft_offline(frame);
		waitpid(pid, NULL, 0);
		if (err && err != EBUSY && err != EIO)
			fail("errno", "soft offline of a page of a pool that shrinks: %s", strerror(err));
		if (!err)
			count_add(freed, 1);
		pool_check("soft offline of a page of a pool that shrinks");
		unpoison(frame);
	}
	munmap((void *)begun, sizeof(*begun));
	pool_restore(all);
}

/*
 * A mapping of all free pages that has touched none of them yet, and the frame of one of them;
 * NULL where that cannot be had.
 */
static char *promised(struct pool *now, unsigned long *frame)
{
	struct huge h;
	char *p;

	if (huge_open(&h, ANON, HUGE_2M, 1, NULL, OWNER))
		return NULL;
	*frame = page_frame(h.addr);
	huge_close(&h);
	pool_read(now);
	p = mmap(NULL, now->free * HUGE_2M, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (p != MAP_FAILED)
		return p;
	fail("errno", "a mapping of all free pages: %s", strerror(errno));
	return NULL;
}

/* The last free pages belong to a mapping that has not touched them yet. */
static void reserved_page(void)
{
	struct caught caught;
	unsigned long frame;
	struct pool now;
	char *p;
	long i;
	int err;

	p = promised(&now, &frame);
	if (!p)
		return;
	err = soft_offline(frame);
	if (err != EBUSY)
		fail("errno", "soft offline of a reserved page: %s, expected EBUSY",
		     err ? strerror(err) : "success");
	pool_check("soft offline of a reserved page");
	for (i = 0; i < now.free; i++) {
		touch_write(p + i * HUGE_2M, 1, &caught);
		caught_is(&caught, p + i * HUGE_2M, 0, 0, "a page that was reserved");
	}
	munmap(p, now.free * HUGE_2M);
	if (!err)
		remember(frame);
	else
		count_add(kept, 1);
}

/* The entry of a poisoned page is no page: whoever lists pages leaves it out. */
static void not_told_of(struct huge *h)
{
	struct numa_maps told;

	if (page_frame(h->addr))
		fail("data", "pagemap tells of a poisoned page of %s: frame 0x%lx", kind_name(h->kind),
		     page_frame(h->addr));
	if (!numa_maps_read(getpid(), h->addr, &told))
		return;		/* CONFIG_NUMA */
	if (told.pages != PAGES - 1 || told.anon != (kind_shared(h->kind) ? 0 : PAGES - 1))
		fail("counters", "numa_maps of %s with 1 of %d pages poisoned: %ld pages, %ld anonymous",
		     kind_name(h->kind), PAGES, told.pages, told.anon);
	count_add(told_of, 1);
}

/*
 * A private page that is poisoned is freed and dissolved, and 511 base pages are saved.  One
 * of a file stays in use in the books: memory_failure() keeps its reference, on 5.10 to 6.12.
 */
static void none_in_use(enum kind kind, const struct pool *before, const char *when)
{
	struct pool now;

	pool_read(&now);
	if (!kind_shared(kind) && now.nr - now.free != before->nr - before->free)
		fail("counters", "%s of %s is unmapped, and the pool says that %ld are in use, before %ld",
		     when, kind_name(kind), now.nr - now.free, before->nr - before->free);
}

/* The page is gone with its data; who had it mapped is told so, and only by that page. */
static void lost(enum kind kind)
{
	struct caught caught;
	unsigned long frame;
	unsigned char v;
	struct huge h;
	long kb = hugetlb_kb();
	struct pool before;
	int err;

	pool_read(&before);
	if (huge_open(&h, kind, HUGE_2M, PAGES, "/dev/hugepages", OWNER))
		return;
	frame = page_frame(h.addr);
	err = poison_page(h.addr + BAD * 4096, 4096, &caught);
	if (err == EBUSY) {
		count_add(busy, 1);
	} else if (err) {
		fail("errno", "MADV_HWPOISON of %s: %s", kind_name(kind), strerror(err));
	} else {
		remember(frame);
		remember(frame + BAD);
		touch_read(h.addr + 100, &v, &caught);
		if (caught_is(&caught, h.addr, SIGBUS, BUS_MCEERR_AR, "poisoned page")) {
			if (caught.lsb != 21)
				fail("signal", "si_addr_lsb %d of a poisoned huge page, expected 21",
				     caught.lsb);
			count_add(killed, 1);
		}
		if (pattern_check(h.addr + HUGE_2M, HUGE_2M, OWNER, 0))
			fail("data", "the neighbour of a poisoned page of %s", kind_name(kind));
		not_told_of(&h);
		expect_kb(kb + (PAGES - 1) * 2048, "a page is poisoned");
	}
	huge_close(&h);
	expect_kb(kb, "a poisoned page is unmapped");
	pool_check("after a poisoned page");
	none_in_use(kind, &before, "a poisoned page");
	if (!err)
		one_part_lost(frame, BAD, 0);
}

static volatile sig_atomic_t told;
static char *watched;

static void on_early(int sig, siginfo_t *info, void *context)
{
	unsigned long at = (unsigned long)info->si_addr & ~(HUGE_2M - 1);

	(void)sig;
	(void)context;
	told = info->si_code == BUS_MCEERR_AO && info->si_addr_lsb == 21 &&
	       at == (unsigned long)watched ? 1 : -1;
}

/* Wants to know at once; whoever does not is told when he touches the page. */
static void want_to_know(char *page)
{
	struct sigaction action = { .sa_flags = SA_SIGINFO };

	watched = page;
	action.sa_sigaction = on_early;
	sigaction(SIGBUS, &action, NULL);
	prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
}

static void was_told(void)
{
	int tries;

	for (tries = 0; tries < 1000 && !told; tries++)
		usleep(1000);
	if (told == 1)
		__atomic_fetch_add(&sharers->early, 1, __ATOMIC_RELAXED);
	else
		fail("signal", "who asks for it (PR_MCE_KILL_EARLY) is %s of a poisoned page",
		     told ? "told wrongly" : "not told");
	catch_signals();
}

static void meets_poison(struct huge *h, const char *who)
{
	struct caught caught;
	unsigned char v;

	touch_read(h->addr + 300, &v, &caught);
	if (!caught_is(&caught, h->addr, SIGBUS, BUS_MCEERR_AR, who))
		return;
	if (caught.lsb != 21)
		fail("signal", "%s: si_addr_lsb %d, expected 21", who, caught.lsb);
	else
		__atomic_fetch_add(&sharers->late, 1, __ATOMIC_RELAXED);
}

static void share(struct huge *h, int early)
{
	volatile char *p = h->addr;

	if (early)
		want_to_know(h->addr);
	(void)p[0];
	(void)p[HUGE_2M];
	__atomic_fetch_add(&sharers->ready, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&sharers->poisoned, __ATOMIC_ACQUIRE))
		usleep(500);
	if (early)
		was_told();
	meets_poison(h, "a poisoned page that others have too");
	if (pattern_check(h->addr + HUGE_2M, HUGE_2M, OWNER, 0))
		fail("data", "the neighbour of a poisoned page that others have too");
	_exit(0);
}

/* Everybody who has the page loses it, by the right signal; it cannot be moved or inherited. */
static void lost_by_all(enum kind kind)
{
	int err, i, status, late = MAPPERS + 1;
	struct caught caught;
	unsigned long frame;
	struct pool before;
	struct huge h;
	pid_t pid;
	long got;

	pool_read(&before);
	if (huge_open(&h, kind, HUGE_2M, PAGES + 1, "/dev/hugepages", OWNER))
		return;
	huge_cut(&h);		/* a0f7a756c2f7: who has the page is looked for by its place */
	memset((void *)sharers, 0, sizeof(*sharers));
	frame = page_frame(h.addr);
	for (i = 0; i < MAPPERS; i++)
		if (!fork())
			share(&h, i == 0);
	while (__atomic_load_n(&sharers->ready, __ATOMIC_ACQUIRE) < MAPPERS)
		usleep(500);
	err = poison_page(h.addr, 4096, &caught);
	if (!err)
		remember(frame);
	else
		fail("errno", "MADV_HWPOISON of %s that 4 have: %s", kind_name(kind), strerror(err));
	__atomic_store_n(&sharers->poisoned, 1, __ATOMIC_RELEASE);
	meets_poison(&h, "a poisoned page of one's own");
	got = move_page(0, h.addr, page_node(h.addr + HUGE_2M), 2 /* MPOL_MF_MOVE */, &status);
	if (!got && status >= 0)
		fail("errno", "a poisoned page is said to be moved to node %d", status);
	pid = fork();
	if (!pid) {
		meets_poison(&h, "a poisoned page that was inherited");
		_exit(0);
	}
	mprotect(h.addr, HUGE_2M, PROT_READ);
	mprotect(h.addr, HUGE_2M, PROT_READ | PROT_WRITE);
	meets_poison(&h, "a poisoned page after mprotect()");
	while (wait(&status) > 0)
		if (status)
			fail("signal", "one of those who have the page ended with status 0x%x", status);
	/* Who inherits, and mprotect(). */
	late += 2;
	if (!failed() && sharers->early == 1 && sharers->late == late)
		count_add(killed, 1);
	huge_close(&h);
	pool_check("after a poisoned page that many had");
	none_in_use(kind, &before, "a poisoned page that many had");
}

/* Nobody has it, so nobody is hurt: the pool loses it, and nothing else. */
static void free_page_lost(void)
{
	struct pool before, now;
	unsigned long frame;
	struct huge h;

	if (huge_open(&h, ANON, HUGE_2M, 1, NULL, OWNER))
		return;
	frame = page_frame(h.addr);
	huge_close(&h);
	pool_read(&before);
	if (write_number("/sys/kernel/debug/hwpoison/corrupt-pfn", frame))
		return;		/* CONFIG_HWPOISON_INJECT */
	remember(frame);
	pool_read(&now);
	if (now.nr != before.nr - 1 || now.free != before.free - 1 || now.resv != before.resv)
		fail("counters", "a free page is poisoned: nr free resv were %ld %ld %ld, are "
		     "%ld %ld %ld", before.nr, before.free, before.resv, now.nr, now.free, now.resv);
	count_add(freed, 1);
	pool_check("a free page is poisoned");
}

/*
 * A free page that a reservation counts on cannot leave the pool.  It is broken all the same,
 * and nobody gets it (243abd5b7802): there is one page less than was promised.
 */
static void reserved_page_lost(void)
{
	int i, got = 0, refused = 0;
	unsigned long frame;
	struct caught caught;
	struct pool now;
	char *p;

	p = promised(&now, &frame);
	if (!p)
		return;
	i = write_number("/sys/kernel/debug/hwpoison/corrupt-pfn", frame);
	/* 6.1 tells by it that the page is still in its pool, 5.10 says nothing. */
	if (!i || i == EBUSY) {
		pool_expect("nr_hugepages", now.nr, "a reserved page is poisoned");
		for (i = 0; i < now.free; i++) {
			if (!touch_write(p + i * HUGE_2M, 1, &caught))
				got += page_frame(p + i * HUGE_2M) == frame;
			else if (caught_is(&caught, p + i * HUGE_2M, SIGBUS, BUS_ADRERR,
					   "all pages that are not poisoned are in use"))
				refused++;
		}
		if (got)
			fail("data", "a free page is poisoned, and somebody gets it");
		else if (refused != 1)
			fail("signal", "of %ld pages promised one is poisoned, and %d are refused",
			     now.free, refused);
		else
			count_add(kept, 1);
		i = unpoison(frame);
		if (i)
			fail("errno", "unpoison of a free huge page: %s", strerror(i));
	}
	munmap(p, now.free * HUGE_2M);
	pool_same(&now, "a reserved page was poisoned");
}

int main(int argc, char **argv)
{
	struct pool all, large;
	struct huge hog;

	repro_start(argc, argv);
	softened = counter("softened");
	busy = counter("busy");
	freed = counter("freed");
	kept = counter("kept");
	killed = counter("killed");
	beside = counter("beside");
	told_of = counter("told_of");
	catch_signals();
	sharers = (void *)shared_words(sizeof(*sharers) / sizeof(long));
	pool_read(&large);
	if (large.free != large.nr || large.resv || large.surplus || large.nr < 2 * (BATCH + LOST))
		skip("the pools are in use, or have fewer than %d pages", 2 * (BATCH + LOST));
	pool_cap(&large, POOL_ENOUGH);
	pool_read(&all);
	in_use(ANON, "pages in the pool");
	in_use(SHARED_FILE, "pages in the pool");
	in_use(MEMFD, "pages in the pool");
	free_page();
	reserved_page();
	pool_restore(&all);
	reserved_page_lost();
	free_page_of_a_shrinking_pool(&all);

	/* All but what the next ones need is taken: the page has nowhere in the pool to go. */
	if (!huge_open(&hog, ANON, HUGE_2M, all.nr - PAGES, NULL, 1)) {
		in_use(ANON, "pool empty");
		in_use(SHARED_FILE, "pool empty");
		huge_close(&hog);
	}
	pool_restore(&all);
	/* Whether a move has the page just then is luck. */
	do {
		in_flight(ANON);
		in_flight(MEMFD);
		give_back();
		unpoison_all();		/* where those in flight were, only the kernel knows */
		pool_restore(&all);
	} while (!count_read(beside) && running() && !failed());
	lost(ANON);
	lost(MEMFD);
	lost_by_all(MEMFD);
	lost_by_all(ANON);
	free_page_lost();
	if (isolated_pages())
		fail("counters", "all is over, and %ld pages are told to be isolated", isolated_pages());

	give_back();
	pool_restore(&large);
	pool_same(&large, "at the end");
	return repro_end();
}
