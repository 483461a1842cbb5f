// SPDX-License-Identifier: GPL-2.0-only
/*
 * Windows on a file that begin in its middle: which page of the file is at which address
 * is arithmetic with vm_pgoff, for whoever faults, migrates, punches, cuts or splits.
 *
 *	file		0   1   2   3   4   5
 *	wide		.   .   .   .   .   .	the parent; the child too, elsewhere
 *	narrow		        2   3   4	the parent
 *	last		                    5	the child
 *	private		            3   4	the parent, page 4 written
 *	mixed		3   2   5		the parent, a VMA each
 *
 * Copies that a private mapping has of its own are in no page cache: what a hole or a cut
 * takes too much is not faulted in again.  Such mappings have a file for themselves.
 *
 * After each move, hole and end of the file, every window of both processes shows what
 * the model says of that page, and nothing else: its data, zero, or SIGBUS.
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
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES 6
#define PART 4096

static struct counter *looked, *moved, *absent, *zero, *reads, *kept, *private_holes, *interrupted;
static int nodes[2], fd;

/* The model: what a page of the file holds; 0 is zero; the file's size; own private pages. */
static int owner[PAGES], size, private_owner[PAGES];

static struct window {
	char *addr;
	int first, n, private;
} wide, narrow, last, own, mixed[3];

static struct window open_window(int first, int n, int flags, char *at)
{
	struct window w = { .first = first, .n = n, .private = flags & MAP_PRIVATE };

	w.addr = mmap(at, n * HUGE_2M, PROT_READ | PROT_WRITE, flags | (at ? MAP_FIXED : 0), fd,
		      first * HUGE_2M);
	if (w.addr == MAP_FAILED)
		skip("a window of %d pages on a file: %s", n, strerror(errno));
	return w;
}

/* One touch in each page of the window, and the pattern of those that are there. */
static void look_into(const struct window *w, const char *name, const char *when)
{
	char text[100];
	int i, page, expected;
	struct caught caught;
	unsigned char v;
	char *p;

	for (i = 0; i < w->n; i++) {
		page = w->first + i;
		p = w->addr + i * HUGE_2M;
		snprintf(text, sizeof(text), "%s, page %d through %s", when, page, name);
		expected = w->private && private_owner[page] ? private_owner[page] : owner[page];
		touch_read(p + 5 * PART, &v, &caught);
		if (page >= size) {
			if (caught_is(&caught, p, SIGBUS, BUS_ADRERR, text))
				count_add(absent, 1);
			continue;
		}
		if (!caught_is(&caught, p, 0, 0, text))
			continue;
		if (expected && pattern_check(p, HUGE_2M, expected, 0))
			fail("data", "%s", text);
		else if (!expected) {
			size_t at;

			for (at = 0; at < HUGE_2M && !p[at] && !p[at + 8]; at += PART)
				;
			if (at < HUGE_2M)
				fail("data", "%s: not zero at 0x%zx", text, at);
			else
				count_add(zero, 1);
		}
		count_add(looked, 1);
	}
}

static void look_here(const char *when)
{
	int i;

	look_into(&wide, "the whole file", when);
	look_into(&narrow, "the window at page 2", when);
	look_into(&own, "the private window", when);
	for (i = 0; i < 3; i++)
		look_into(&mixed[i], "a page of its own VMA", when);
}

/*
 * The child has windows of its own, and is told the model; the first three words say it
 * is its turn, the last that it is done.
 */
static struct said {
	int turn, done, over;
	int owner[PAGES], size;
	char when[60];
} *said;

static void child_looks(void)
{
	int turn;

	wide = open_window(0, PAGES, MAP_SHARED | MAP_NORESERVE, NULL);
	last = open_window(5, 1, MAP_SHARED | MAP_NORESERVE, NULL);
	for (turn = 1; ; turn++) {
		while (__atomic_load_n(&said->turn, __ATOMIC_ACQUIRE) < turn)
			usleep(200);
		if (said->over)
			break;
		memcpy(owner, said->owner, sizeof(owner));
		size = said->size;
		look_into(&wide, "the child's own mapping", said->when);
		look_into(&last, "the child's window at page 5", said->when);
		__atomic_store_n(&said->done, turn, __ATOMIC_RELEASE);
	}
}

static pid_t other;

static void look(const char *when)
{
	int turn = said->turn + 1;

	memcpy(said->owner, owner, sizeof(owner));
	said->size = size;
	snprintf(said->when, sizeof(said->when), "%s", when);
	__atomic_store_n(&said->turn, turn, __ATOMIC_RELEASE);
	while (__atomic_load_n(&said->done, __ATOMIC_ACQUIRE) < turn) {
		if (waitpid(other, NULL, WNOHANG) == other) {
			fail("signal", "%s: the child is gone", when);
			return;
		}
		usleep(200);
	}
	look_here(when);
}

static void move(char *p, const char *when)
{
	int status, to = nodes[page_node(p) == nodes[0]];
	long got = move_page(0, p, to, MPOL_MF_MOVE_ALL, &status);

	if (got || status != to)
		fail("errno", "%s: %ld, status %d", when, got, status);
	else
		count_add(moved, 1);
}

static void write_page(int page)
{
	owner[page] = 100 + page;
	pattern_write(wide.addr + page * HUGE_2M, HUGE_2M, owner[page], 0);
}

static void expect_file(int pages, const char *when)
{
	struct stat st = { 0 };

	fstat(fd, &st);
	if (st.st_blocks != pages * (long)(HUGE_2M / 512) || st.st_size != size * (long)HUGE_2M)
		fail("counters", "%s: st_blocks %ld, st_size %ld, expected %d pages of %d", when,
		     (long)st.st_blocks, (long)st.st_size, pages, size);
}

static int hole(off_t from, off_t bytes)
{
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from, bytes) ? errno : 0;
}

/* Where the memory to read into ends, what came before counts, from a page and from a hole. */
static void read_into_a_gap(void)
{
	char *room = mmap(NULL, 2 * PART, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int file = huge_memfd(2 * HUGE_2M), i;
	ssize_t got;

	munmap(room + PART, PART);
	for (i = 0; i < 2; i++) {
		if (i && fallocate(file, 0, 0, 2 * HUGE_2M))
			fail("errno", "fallocate: %s", strerror(errno));
		memset(room, 1, PART);
		got = pread(file, room, 2 * PART, HUGE_2M - PART / 2);
		if (got != PART || room[0] || room[PART - 1])
			fail("errno", "read() of %s into %d bytes of 8192: %zd, %s",
			     i ? "pages" : "a hole", PART, got, got < 0 ? strerror(errno) : "not zero");
		got = pread(file, room + PART, PART, 0);
		if (got != -1 || errno != EFAULT)
			fail("errno", "read() of %s into no memory: %zd", i ? "pages" : "a hole", got);
	}
	close(file);
	munmap(room, PART);
}

/* read(2) from anywhere to anywhere finds what the mappings show, to the end of the file. */
static void read_across(void)
{
	static unsigned char buf[3 * PART];
	size_t from = 3 * HUGE_2M - PART - 100, i;
	ssize_t got = pread(fd, buf, sizeof(buf), from);

	if (got != (ssize_t)sizeof(buf)) {
		fail("errno", "read() across two pages: %zd", got);
		return;
	}
	for (i = 0; i < sizeof(buf); i++)
		if (buf[i] != (unsigned char)wide.addr[from + i]) {
			fail("data", "read() across two pages differs at %zu", i);
			return;
		}
	got = pread(fd, buf, sizeof(buf), size * HUGE_2M - 77);
	if (got != 77)
		fail("errno", "read() over the end of the file: %zd, expected 77", got);
	if (pread(fd, buf, 1, size * HUGE_2M) || pread(fd, buf, 1, (size + 2) * HUGE_2M))
		fail("errno", "read() at the end of the file, or beyond it, finds something");
	read_into_a_gap();
	count_add(reads, 1);
}

static void moves(void)
{
	int i;

	for (i = 0; i < narrow.n; i++)
		move(narrow.addr + i * HUGE_2M, "move through a window");
	look("moved through a window");
	for (i = 0; i < 3; i++)
		move(mixed[i].addr, "move through a VMA of one page");
	move(own.addr + HUGE_2M, "move of a private page at an offset");
	look("moved through another one");
}

/* A hole that is within one page, and one of no whole base page: zero to the byte, or nothing. */
static void hole_within(void)
{
	static const size_t at[] = { 3 * PART, 5 * PART + 100 }, bytes[] = { 2 * PART, 5000 };
	char *page = wide.addr + HUGE_2M;
	size_t i, k;

	for (i = 0; i < 2; i++) {
		const size_t marks[] = { at[i] - 1, at[i], at[i] + bytes[i] - 1, at[i] + bytes[i] };

		for (k = 0; k < 4; k++)
			page[marks[k]] = 0x55;
		if (hole(HUGE_2M + at[i], bytes[i]))
			fail("errno", "a hole within a page: %s", strerror(errno));
		for (k = 0; k < 4; k++)
			if (page[marks[k]] != ((k == 1 || k == 2) && kernel_since(5, 19) ? 0 : 0x55))
				fail("data", "a hole of %zu bytes at 0x%zx of a page: 0x%x at 0x%zx",
				     bytes[i], at[i], page[marks[k]], marks[k]);
		for (k = 0; k < 4; k++)
			page[marks[k]] = 0;
	}
	expect_file(PAGES, "holes within a page");
	write_page(1);
}

/* Inner pages go, what is beside them stays, to the byte. */
static void holes(void)
{
	size_t at, from = HUGE_2M + 7 * PART;

	if (hole(3 * HUGE_2M, HUGE_2M))
		fail("errno", "hole: %s", strerror(errno));
	owner[3] = 0;
	look_into(&wide, "the whole file", "a hole of one page");
	look("a hole of one page");
	expect_file(6, "a hole that was read");
	write_page(3);

	/* 7 parts of page 1 stay, page 2 goes, of page 3 all but 5 parts stay. */
	if (hole(from, 3 * HUGE_2M + 5 * PART - from))
		fail("errno", "hole: %s", strerror(errno));
	owner[2] = 0;
	for (at = 0; at < HUGE_2M; at += PART) {
		int clear1 = at >= 7 * PART, clear3 = at < 5 * PART;
		unsigned int got1 = *(unsigned int *)(wide.addr + HUGE_2M + at + 8);
		unsigned int got3 = *(unsigned int *)(wide.addr + 3 * HUGE_2M + at + 8);

		/* Parts of pages are cleared since 5.19, and left alone before. */
		if ((got1 != 101 && !clear1) || (clear1 && got1 != (kernel_since(5, 19) ? 0 : 101)) ||
		    (got3 != 103 && !clear3) || (clear3 && got3 != (kernel_since(5, 19) ? 0 : 103))) {
			fail("data", "a hole in parts of pages 1 and 3: at 0x%zx %u and %u", at, got1,
			     got3);
			break;
		}
	}
	write_page(1);
	write_page(3);
	look("a hole with parts of pages");
	write_page(2);
	hole_within();
}

static void ends(void)
{
	int i;

	for (size = 5; size > 1; size -= 2) {
		if (ftruncate(fd, size * HUGE_2M))
			fail("errno", "ftruncate: %s", strerror(errno));
		for (i = size; i < PAGES; i++)
			owner[i] = private_owner[i] = 0;
		expect_file(size, "cut");
		look("the file was cut");
	}
	size = PAGES;
	if (ftruncate(fd, size * HUGE_2M))
		fail("errno", "ftruncate: %s", strerror(errno));
	expect_file(3, "grown");
	look("the file has grown");
	expect_file(PAGES, "grown and read");
	for (i = 0; i < PAGES; i++)
		write_page(i);
}

/* fallocate(): to the page that its range ends in, beyond the end, and over what is there. */
static void allocations(void)
{
	int i;

	if (ftruncate(fd, 2 * HUGE_2M))
		fail("errno", "ftruncate: %s", strerror(errno));
	size = 2;
	memset(&owner[2], 0, sizeof(owner) - 2 * sizeof(int));
	memset(&private_owner[2], 0, sizeof(owner) - 2 * sizeof(int));
	if (fallocate(fd, FALLOC_FL_KEEP_SIZE, HUGE_2M + PART, HUGE_2M))
		fail("errno", "fallocate, size kept: %s", strerror(errno));
	/* A touch of what is there beyond the end is SIGBUS before 5.19, and none later. */
	expect_file(3, "allocated beyond the end");
	if (ftruncate(fd, size * HUGE_2M))
		fail("errno", "ftruncate to the same size: %s", strerror(errno));
	expect_file(2, "cut to the size that it has, with a page beyond it");
	for (i = 3; i < PAGES; i++)
		if (fallocate(fd, FALLOC_FL_KEEP_SIZE, i * HUGE_2M, HUGE_2M))
			fail("errno", "fallocate beyond the end, size kept: %s", strerror(errno));
	expect_file(2 + PAGES - 3, "allocated far beyond the end");
	if (hole(4 * HUGE_2M, HUGE_2M))
		fail("errno", "a hole beyond the end: %s", strerror(errno));
	expect_file(1 + PAGES - 3, "a hole beyond the end");
	if (fallocate(fd, 0, 2 * HUGE_2M, 4 * HUGE_2M))
		fail("errno", "fallocate: %s", strerror(errno));
	size = PAGES;
	expect_file(PAGES, "allocated, and grown");
	look("allocated, and grown");
	if (!fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, HUGE_2M) || errno != EOPNOTSUPP)
		fail("errno", "FALLOC_FL_ZERO_RANGE: %s", strerror(errno));
	for (size = 0; size < PAGES; size++)
		write_page(size);
}

/* A window loses its middle, and gets it back; neighbours do not notice. */
static void middle(void)
{
	struct caught caught;
	unsigned char v;
	char *p = narrow.addr + HUGE_2M;

	munmap(p, HUGE_2M);
	touch_read(p, &v, &caught);
	caught_is(&caught, p, SIGSEGV, SEGV_MAPERR, "the middle of a window is unmapped");
	move(narrow.addr, "move beside a gap");
	move(narrow.addr + 2 * HUGE_2M, "move behind a gap");
	open_window(3, 1, MAP_SHARED, p);
	touch_read(p, &v, &caught);
	if (mprotect(p, HUGE_2M, PROT_READ))
		fail("errno", "mprotect: %s", strerror(errno));
	touch_write(p, 1, &caught);
	caught_is(&caught, p, SIGSEGV, SEGV_ACCERR, "a window's page that is read-only");
	move(p, "move of a read-only page");
	touch_write(p, 1, &caught);
	caught_is(&caught, p, SIGSEGV, SEGV_ACCERR, "a read-only page that was moved");
	if (mprotect(p, HUGE_2M, PROT_READ | PROT_WRITE))
		fail("errno", "mprotect: %s", strerror(errno));
	look("a window with a middle of its own");
}

/* Since 5.16: a window moves to another address, and the pages with it. */
static void elsewhere(void)
{
	char *room = mmap(NULL, 5 * HUGE_2M, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *now;

	room = (char *)(((unsigned long)room + 2 * HUGE_2M - 1) & ~(HUGE_2M - 1));
	now = mremap(wide.addr + 4 * HUGE_2M, 2 * HUGE_2M, 2 * HUGE_2M,
		     MREMAP_MAYMOVE | MREMAP_FIXED, room);
	if (now == MAP_FAILED)
		return;
	last = (struct window){ now, 4, 2, 0 };
	look_into(&last, "a window that went elsewhere", "mremap()");
	move(now, "move of a window that went elsewhere");
	look_into(&last, "a window that went elsewhere", "mremap(), and a move");
	munmap(now, 2 * HUGE_2M);
	open_window(4, 2, MAP_SHARED, wide.addr + 4 * HUGE_2M);
	look_into(&wide, "the whole file", "mremap(), and mapped again");
}

/*
 * Private copies of all pages of two windows, and each hole that the file can have, by
 * fallocate() and by madvise(); then each end.  Whether copies in a hole go is the
 * kernel's choice (hugetlbfs takes them), but they go or stay all together; those
 * outside it stay.
 */
static void private_marks(const struct window *w)
{
	int i;

	for (i = 0; i < w->n; i++)
		if (w->first + i < size) {
			*(w->addr + i * HUGE_2M) = 50 + i;
			*(w->addr + (i + 1) * HUGE_2M - 1) = 60 + i;
		}
}

static void private_look(const struct window *w, int from, int to, int *gone, const char *when)
{
	struct caught caught;
	unsigned char begin, end;
	int i, page;
	char *p;

	for (i = 0; i < w->n; i++) {
		page = w->first + i;
		p = w->addr + i * HUGE_2M;
		if (touch_read(p, &begin, &caught) || touch_read(p + HUGE_2M - 1, &end, &caught)) {
			if (page < size)
				caught_is(&caught, p, 0, 0, when);
			else
				caught_is(&caught, p, SIGBUS, BUS_ADRERR, when);
			continue;
		}
		if (page >= size)
			fail("signal", "%s: page %d of the file was read, which has %d", when, page,
			     size);
		else if (begin == 50 + i && end == 60 + i) {
			if (page >= from && page < to)
				gone[0]++;
			else
				count_add(kept, 1);
		} else if (begin || end || page < from || page >= to) {
			fail("data", "%s: page %d of a window at page %d, private: holds %u and %u, "
			     "expected %u and %u", when, page, w->first, begin, end, 50 + i, 60 + i);
		} else {
			gone[1]++;
		}
	}
}

static void private_hole(const struct window *all, const struct window *a,
			 const struct window *b, int from, int to)
{
	int gone[2] = { 0 }, err;
	char when[100];

	private_marks(a);
	private_marks(b);
	if ((from + to) % 2)
		err = madvise(all->addr + from * HUGE_2M, (to - from) * HUGE_2M, MADV_REMOVE);
	else
		err = hole(from * HUGE_2M, (to - from) * HUGE_2M);
	snprintf(when, sizeof(when), "hole of pages %d to %d", from, to - 1);
	if (err)
		fail("errno", "%s: %s", when, strerror(err < 0 ? errno : err));
	private_look(a, from, to, gone, when);
	private_look(b, from, to, gone, when);
	if (gone[0] && gone[1])
		fail("data", "%s: %d private copies in it are there, %d are gone", when, gone[0],
		     gone[1]);
	count_add(private_holes, 1);
}

static void private_windows(const struct pool *before)
{
	struct window all, a, b;
	int from, to, gone[2] = { 0 };

	fd = huge_memfd(PAGES * HUGE_2M);
	all = open_window(0, PAGES, MAP_SHARED | MAP_NORESERVE, NULL);
	a = open_window(1, 4, MAP_PRIVATE, NULL);
	b = open_window(3, 3, MAP_PRIVATE, NULL);
	size = PAGES;
	for (from = 0; from < PAGES && !failed(); from++)
		for (to = from + 1; to <= PAGES && !failed(); to++)
			private_hole(&all, &a, &b, from, to);
	private_marks(&a);
	private_marks(&b);
	while (--size && !failed()) {
		if (ftruncate(fd, size * HUGE_2M))
			fail("errno", "ftruncate: %s", strerror(errno));
		private_look(&a, size, PAGES, gone, "the file was cut");
		private_look(&b, size, PAGES, gone, "the file was cut");
	}
	munmap(all.addr, all.n * HUGE_2M);
	munmap(a.addr, a.n * HUGE_2M);
	munmap(b.addr, b.n * HUGE_2M);
	close(fd);
	pool_same(before, "after holes under private copies");
}

static void on_signal(int sig)
{
	(void)sig;
}

/* Its first page is there: a signal for the process that makes the others. */
static void disturb(int file)
{
	struct stat st = { 0 };

	while (st.st_blocks < 2 * (long)(HUGE_2M / 512) && !said->over)
		fstat(file, &st);
	kill(getppid(), SIGUSR1);
	_exit(0);
}

/*
 * A signal ends fallocate() before its last page: those that it made are the file's, each
 * counted once, zero, and none of what was there before is another.
 */
static void disturbed(const struct pool *before)
{
	struct sigaction act = { .sa_handler = on_signal };
	int err, tries, pages = 0, cut_short = 0, i;
	struct stat st = { 0 };
	size_t at;
	pid_t pid;
	char *p;

	sigaction(SIGUSR1, &act, NULL);
	for (tries = 0; tries < 8 && !cut_short && !failed(); tries++) {
		fd = huge_memfd(PAGES * HUGE_2M);
		p = mmap(NULL, PAGES * HUGE_2M, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
			 fd, 0);
		if (p == MAP_FAILED)
			return;
		pattern_write(p, HUGE_2M, 99, 0);
		said->over = 0;
		pid = fork();
		if (!pid)
			disturb(fd);
		usleep(2000);
		err = fallocate(fd, 0, 0, PAGES * HUGE_2M) ? errno : 0;
		said->over = 1;
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		fstat(fd, &st);
		pages = st.st_blocks / (HUGE_2M / 512);
		if (err == EINTR && pages > 1 && pages < PAGES)
			cut_short = 1;
		else if ((err && err != EINTR) || (!err && pages != PAGES))
			fail("errno", "fallocate() beside a signal: %s, %d pages", strerror(err), pages);
		pool_expect("free_hugepages", before->free - pages, "fallocate() beside a signal");
		pool_expect("resv_hugepages", before->resv, "fallocate() beside a signal");
		pattern_check(p, HUGE_2M, 99, 0);
		for (i = 1; i < pages; i++)
			for (at = 0; at < HUGE_2M; at += PART)
				if (p[i * HUGE_2M + at]) {
					fail("data", "page %d of fallocate() is not zero", i);
					break;
				}
		if (fallocate(fd, 0, 0, PAGES * HUGE_2M))
			fail("errno", "fallocate() of the rest: %s", strerror(errno));
		fstat(fd, &st);
		if (st.st_blocks != PAGES * (long)(HUGE_2M / 512))
			fail("counters", "fallocate() of the rest: st_blocks %ld", (long)st.st_blocks);
		pattern_check(p, HUGE_2M, 99, 0);
		munmap(p, PAGES * HUGE_2M);
		close(fd);
		pool_same(before, "after fallocate() beside a signal");
	}
	count_add(interrupted, cut_short);
}

static void a_round(const struct pool *before)
{
	char *room;
	int i;

	fd = huge_memfd(PAGES * HUGE_2M);
	size = PAGES;
	memset(private_owner, 0, sizeof(private_owner));
	memset((void *)said, 0, sizeof(*said));
	other = fork();
	if (!other) {
		child_looks();
		_exit(0);
	}
	wide = open_window(0, PAGES, MAP_SHARED, NULL);
	narrow = open_window(2, 3, MAP_SHARED, NULL);
	own = open_window(3, 2, MAP_PRIVATE, NULL);
	room = mmap(NULL, 4 * HUGE_2M, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	room = (char *)(((unsigned long)room + HUGE_2M - 1) & ~(HUGE_2M - 1));
	mixed[0] = open_window(3, 1, MAP_SHARED, room);
	mixed[1] = open_window(2, 1, MAP_SHARED, room + HUGE_2M);
	mixed[2] = open_window(5, 1, MAP_SHARED, room + 2 * HUGE_2M);
	for (i = 0; i < PAGES; i++)
		write_page(i);
	private_owner[4] = 204;
	pattern_write(own.addr + HUGE_2M, HUGE_2M, private_owner[4], 0);
	look("written");
	moves();
	read_across();
	middle();
	elsewhere();
	/* What a hole or a cut takes from a private mapping is asked in private_windows(). */
	munmap(own.addr, own.n * HUGE_2M);
	own.n = 0;
	holes();
	ends();
	allocations();
	look("at the end");
	said->over = 1;
	__atomic_store_n(&said->turn, said->turn + 1, __ATOMIC_RELEASE);
	waitpid(other, NULL, 0);
	munmap(wide.addr, PAGES * HUGE_2M);
	munmap(narrow.addr, narrow.n * HUGE_2M);
	munmap(room, 3 * HUGE_2M);
	close(fd);
	pool_same(before, "after a round");
}

int main(int argc, char **argv)
{
	struct pool before;

	repro_start(argc, argv);
	looked = counter("looked");
	moved = counter("moved");
	absent = counter("absent");
	zero = counter("zero");
	reads = counter("reads");
	kept = counter("kept");
	interrupted = counter("interrupted");
	private_holes = counter("private_holes");
	two_nodes(nodes);
	catch_signals();
	pool_read(&before);
	said = (struct said *)shared_words(sizeof(*said) / sizeof(long) + 1);
	private_windows(&before);
	do {
		a_round(&before);
		disturbed(&before);
	} while (running() && !failed());
	return repro_end();
}
