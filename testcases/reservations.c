// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random operations on files and private mappings, and a model of what reservations
 * and pages they leave.  The kernel keeps a map of reserved pages for each file, and
 * for each private mapping a map of those that are used up; the model keeps a byte a
 * page, and knows the rules:
 *
 *	shared mmap()		reserves what of the range is not yet reserved, of any part
 *	touch, fallocate()	takes the page's reservation, or makes one as it goes
 *	hole			gives page and reservation back, where there is a page
 *	truncation, last close	gives back both, to the end of the file
 *	private mmap()		reserves all of it, for the process that called it
 *	touch			takes the page's reservation
 *	munmap() of a part	gives back that part's pages and reservations
 *	hole or end of its file	takes the copies that a private mapping has of it
 *	MADV_DONTNEED		takes the pages of a private mapping (since 5.18)
 *	touch after either	has no reservation any more (it is given back since 6.10)
 *	mprotect() of a page	splits a mapping, and
 *	fork()			the child has none; what it copies is gone with it
 *	move			changes none of it
 *
 *	HugePages_Rsvd	= reserved and not in the file, + private and not touched
 *	HugePages_Free	= pool - pages of files - private pages
 *
 * The seed is a word of the command line, and is told when something is wrong.
 */
#define _GNU_SOURCE
#include "catch.h"
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
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FILES 2
#define PRIVATES 2
#define PAGES 6		/* of each */
#define BYTES (PAGES * HUGE_2M)

static struct counter *operations, *moved, *refused, *forked, *split, *lost;
static struct pool base;
static int nodes[2];
static unsigned int seed;

/* One letter of the history is one operation, for who reads a failure. */
static char history[64];

static struct file {
	int fd, size;			/* pages; -1: closed */
	char *view[2];			/* mappings: reserving, and not */
	unsigned char resv[PAGES], page[PAGES];
	unsigned int owner[PAGES];	/* what the page holds */
} files[FILES];

static struct private {
	char *p;
	int reserve;
	struct file *file;		/* NULL: anonymous */
	/* used: no reservation is left for the page, be it there or not */
	unsigned char mapped[PAGES], page[PAGES], used[PAGES];
	unsigned int owner[PAGES];
} privates[PRIVATES];

/*
 * Each mapping has a place of its own: what is unmapped in part, and then again as a
 * whole, must not hit what another mmap() put into the gap.
 */
static char *place(int n)
{
	return (char *)(0x100000000000UL + n * 64 * HUGE_2M);
}

static unsigned int rnd(unsigned int below)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 16) % below;
}

static long model_resv(void)
{
	long n = 0;
	int f, i;

	for (f = 0; f < FILES; f++)
		for (i = 0; i < PAGES; i++)
			n += files[f].resv[i] && !files[f].page[i];
	for (f = 0; f < PRIVATES; f++)
		for (i = 0; i < PAGES; i++)
			n += privates[f].mapped[i] && privates[f].reserve && !privates[f].used[i];
	return base.resv + n;
}

static long model_free(void)
{
	long n = 0;
	int f, i;

	for (f = 0; f < FILES; f++)
		for (i = 0; i < PAGES; i++)
			n += files[f].page[i];
	for (f = 0; f < PRIVATES; f++)
		for (i = 0; i < PAGES; i++)
			n += privates[f].page[i];
	return base.free - n;
}

static long unreserved(void)
{
	return model_free() - model_resv();
}

static int check(const char *what)
{
	struct pool now;
	struct stat st;
	int f, i, pages;

	pool_read_sums(&now);
	if (now.resv != model_resv() || now.free != model_free() || now.nr != base.nr) {
		usleep(100000);	/* what a worker frees comes later */
		pool_read_sums(&now);
	}
	if (now.resv != model_resv() || now.free != model_free() || now.nr != base.nr) {
		fail("counters", "%s: Rsvd %ld Free %ld Total %ld, the model says %ld %ld %ld; "
		     "history %s", what, now.resv, now.free, now.nr, model_resv(), model_free(),
		     base.nr, history);
		return -1;
	}
	for (f = 0; f < FILES; f++) {
		if (files[f].fd < 0)
			continue;
		for (i = 0, pages = 0; i < PAGES; i++)
			pages += files[f].page[i];
		fstat(files[f].fd, &st);
		if (st.st_blocks != pages * (long)(HUGE_2M / 512)) {
			fail("counters", "%s: st_blocks %ld with %d pages; history %s", what,
			     (long)st.st_blocks, pages, history);
			return -1;
		}
	}
	return 0;
}

static void file_open(struct file *f)
{
	f->fd = huge_file("/dev/hugepages", BYTES);
	if (f->fd < 0)
		skip("a file in /dev/hugepages: %s", strerror(-f->fd));
	f->size = PAGES;
}

static void file_map(struct file *f, int reserving)
{
	int i, need = 0;
	char *p;

	for (i = 0; i < PAGES; i++)
		need += !f->resv[i];
	p = mmap(place(2 * (f - files) + reserving), BYTES, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_FIXED | (reserving ? 0 : MAP_NORESERVE), f->fd, 0);
	if (p == MAP_FAILED) {
		if (!reserving || need <= unreserved())
			fail("errno", "shared mmap with %ld pages unreserved: %s; history %s",
			     unreserved(), strerror(errno), history);
		count_add(refused, 1);
		return;
	}
	f->view[reserving] = p;
	/* mmap() makes the file as long as the mapping. */
	f->size = PAGES;
	if (reserving)
		memset(f->resv, 1, PAGES);
}

/* A part of the file, for a moment: what it reserves, if it does, stays with the file. */
static void file_map_part(struct file *f, int from, int n)
{
	int i, need = 0, reserving = rnd(4) > 0;
	char *p;

	for (i = from; i < from + n; i++)
		need += reserving && !f->resv[i];
	p = mmap(place(2 * FILES + PRIVATES + 1), n * HUGE_2M, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_FIXED | (reserving ? 0 : MAP_NORESERVE), f->fd, from * HUGE_2M);
	if (p == MAP_FAILED) {
		if (need <= unreserved())
			fail("errno", "shared mmap of pages %d to %d with %ld unreserved: %s; history %s",
			     from, from + n - 1, unreserved(), strerror(errno), history);
		count_add(refused, 1);
		return;
	}
	if (need > unreserved())
		fail("errno", "shared mmap of pages %d to %d with %ld unreserved succeeds; history %s",
		     from, from + n - 1, unreserved(), history);
	if (from + n > f->size)
		f->size = from + n;
	if (reserving)
		memset(f->resv + from, 1, n);
	for (i = from; i < from + n; i++)
		if (f->page[i])
			pattern_check(p + (i - from) * HUGE_2M, 4096, f->owner[i], 0);
	munmap(p, n * HUGE_2M);
}

static void file_touch(struct file *f, int view, int i)
{
	char *p = f->view[view] + i * HUGE_2M;
	struct caught caught;
	int possible = i < f->size && (f->page[i] || f->resv[i] || unreserved() > 0);

	touch_write(p + 4000, 1, &caught);
	caught_is(&caught, p, possible ? 0 : SIGBUS, possible ? 0 : BUS_ADRERR, history);
	if (caught.sig)
		return;
	if (f->page[i])
		pattern_check(p, 4096, f->owner[i], 0);
	f->resv[i] = f->page[i] = 1;
	f->owner[i] = rnd(1000);
	pattern_write(p, HUGE_2M, f->owner[i], 0);
}

/* A page of a private mapping goes, and the mapping stays. */
static void private_lose(struct private *v, int i)
{
	if (!v->page[i])
		return;
	v->page[i] = 0;
	if (v->reserve && kernel_since(6, 10))
		v->used[i] = 0;
	count_add(lost, 1);
}

/* What private mappings of the file have copied of these pages. */
static void copies_go(const struct file *f, int from, int to)
{
	int v, i;

	for (v = 0; v < PRIVATES; v++)
		for (i = from; i < to && privates[v].file == f; i++)
			private_lose(&privates[v], i);
}

/* By one of its mappings, in parts as that may be, or by the file where that is NULL. */
static void file_punch(struct file *f, char *view, int from, int n)
{
	int i;

	if (view ? madvise(view + from * HUGE_2M, n * HUGE_2M, MADV_REMOVE) :
	    fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from * HUGE_2M,
		      n * HUGE_2M))
		fail("errno", "hole: %s", strerror(errno));
	for (i = from; i < from + n && i < PAGES; i++)
		if (f->page[i])
			f->page[i] = f->resv[i] = 0;
	copies_go(f, from, from + n);
}

static void file_truncate(struct file *f, int size)
{
	int i;

	if (ftruncate(f->fd, size * HUGE_2M))
		fail("errno", "ftruncate: %s", strerror(errno));
	f->size = size;
	for (i = size; i < PAGES; i++)
		f->page[i] = f->resv[i] = 0;
	copies_go(f, size, PAGES);
}

static void file_allocate(struct file *f, int from, int n)
{
	long need = 0;
	int i, err;

	for (i = from; i < from + n; i++)
		need += !f->page[i] && !f->resv[i];
	if (need > unreserved())
		return;
	err = fallocate(f->fd, 0, from * HUGE_2M, n * HUGE_2M) ? errno : 0;
	if (err) {
		fail("errno", "fallocate: %s; history %s", strerror(err), history);
		return;
	}
	if (from + n > f->size)
		f->size = from + n;
	for (i = from; i < from + n; i++) {
		if (!f->page[i])
			f->owner[i] = 0;
		f->page[i] = f->resv[i] = 1;
	}
	/* A new page is zero: give it its pattern. */
	for (i = from; i < from + n; i++)
		if (!f->owner[i] && f->view[1])
			pattern_write(f->view[1] + i * HUGE_2M, HUGE_2M, f->owner[i] = 1, 0);
		else if (!f->owner[i])
			file_punch(f, NULL, i, 1);
}

static void private_unmap(struct private *v, int from, int n);

static void file_end(struct file *f)
{
	int i;

	for (i = 0; i < PRIVATES; i++)
		if (privates[i].p && privates[i].file == f)
			private_unmap(&privates[i], 0, PAGES);
	for (i = 0; i < 2; i++) {
		if (f->view[i])
			munmap(f->view[i], BYTES);
		f->view[i] = NULL;
	}
	close(f->fd);
	f->fd = -1;
	memset(f->page, 0, PAGES);
	memset(f->resv, 0, PAGES);
}

/* A page of a mapping has other rights for a moment: three mappings from then on. */
static void split_at(char *p)
{
	if (mprotect(p, HUGE_2M, PROT_READ) || mprotect(p, HUGE_2M, PROT_READ | PROT_WRITE))
		fail("errno", "mprotect: %s; history %s", strerror(errno), history);
	count_add(split, 1);
}

/* It takes no page of a file from anybody. */
static void file_forget(struct file *f, int view, int i, int n)
{
	int err = madvise(f->view[view] + i * HUGE_2M, n * HUGE_2M, MADV_DONTNEED) ? errno : 0;

	if (err != (kernel_since(5, 18) ? 0 : EINVAL))
		fail("errno", "MADV_DONTNEED of a shared mapping: %s; history %s", strerror(err),
		     history);
}

static void file_step(struct file *f)
{
	int what = rnd(20), i = rnd(PAGES), n = 1 + rnd(PAGES - i), view = rnd(2);

	snprintf(history + strlen(history), sizeof(history) - strlen(history), "%c", 'a' + what);
	if (f->fd < 0) {
		file_open(f);
		return;
	}
	switch (what) {
	case 0:
	case 1:
		if (!f->view[what])
			file_map(f, what);
		break;
	case 2:
		file_punch(f, f->view[view], i, n);
		break;
	case 3:
		file_truncate(f, i);
		break;
	case 4:
		file_truncate(f, PAGES);
		break;
	case 5:
		file_allocate(f, i, n);
		break;
	case 6:
		file_end(f);
		break;
	case 7:
		if (f->view[view])
			munmap(f->view[view], BYTES);
		f->view[view] = NULL;
		break;
	case 8:
	case 9:
		file_map_part(f, i, n);
		break;
	case 10:
		if (f->view[view])
			split_at(f->view[view] + i * HUGE_2M);
		break;
	case 11:
		if (f->view[view])
			file_forget(f, view, i, n);
		break;
	default:
		view = what & 1;
		if (f->view[view])
			file_touch(f, view, i);
	}
}

static void private_map(struct private *v, struct file *f, int reserve)
{
	v->reserve = reserve;
	v->file = f;
	v->p = mmap(place(2 * FILES + (v - privates)), BYTES, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_FIXED | (v->reserve ? 0 : MAP_NORESERVE) |
		    (v->file ? 0 : MAP_ANONYMOUS | MAP_HUGETLB), v->file ? f->fd : -1, 0);
	if (v->p == MAP_FAILED) {
		v->p = NULL;
		if (!v->reserve || PAGES <= unreserved())
			fail("errno", "private mmap with %ld pages unreserved: %s; history %s",
			     unreserved(), strerror(errno), history);
		count_add(refused, 1);
		return;
	}
	memset(v->mapped, 1, PAGES);
	if (v->file)
		f->size = PAGES;
}

static void private_unmap(struct private *v, int from, int n)
{
	int i, left = 0;

	munmap(v->p + from * HUGE_2M, n * HUGE_2M);
	for (i = from; i < from + n; i++)
		v->mapped[i] = v->page[i] = v->used[i] = 0;
	for (i = 0; i < PAGES; i++)
		left += v->mapped[i];
	if (!left)
		v->p = NULL;
}

static void private_touch(struct private *v, int i)
{
	char *p = v->p + i * HUGE_2M;
	struct caught caught;
	int possible;

	if (!v->mapped[i])
		return;
	possible = v->page[i] || (v->reserve && !v->used[i]) || unreserved() > 0;
	if (v->file)
		possible = possible && i < v->file->size;
	if (!v->page[i] && v->file && v->file->page[i] && i < v->file->size && rnd(2)) {
		/* Who only reads sees the file's page, and takes none. */
		pattern_check(p, 4096, v->file->owner[i], 0);
		return;
	}
	touch_write(p + 4000, 1, &caught);
	caught_is(&caught, p, possible ? 0 : SIGBUS, possible ? 0 : BUS_ADRERR, history);
	if (caught.sig)
		return;
	if (v->page[i])
		pattern_check(p, 4096, v->owner[i], 0);
	else if (v->file && v->file->page[i])
		pattern_check(p, 4096, v->file->owner[i], 0);
	v->page[i] = v->used[i] = 1;
	v->owner[i] = rnd(1000);
	pattern_write(p, HUGE_2M, v->owner[i], 0);
}

/* The child reads all, writes one page where there is one to copy into, and goes. */
static void private_fork(struct private *v, int i)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		if (v->mapped[i] && v->page[i]) {
			pattern_check(v->p + i * HUGE_2M, HUGE_2M, v->owner[i], 0);
			if (unreserved() > 0)
				pattern_write(v->p + i * HUGE_2M, HUGE_2M, 5000, 0);
		}
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (status)
		fail("signal", "a child ended with status 0x%x; history %s", status, history);
	count_add(forked, 1);
	if (v->mapped[i] && v->page[i])
		pattern_check(v->p + i * HUGE_2M, HUGE_2M, v->owner[i], 0);
}

static void private_move(struct private *v, int i)
{
	int status, to, tries;

	for (tries = 0; tries < PAGES && !v->page[i]; tries++)
		i = (i + 1) % PAGES;
	if (!v->page[i])
		return;
	to = nodes[page_node(v->p + i * HUGE_2M) == nodes[0]];
	if (!move_page(0, v->p + i * HUGE_2M, to, MPOL_MF_MOVE, &status) && status == to)
		count_add(moved, 1);
	pattern_check(v->p + i * HUGE_2M, HUGE_2M, v->owner[i], 0);
}

static void private_forget(struct private *v, int i)
{
	int err;

	if (!v->mapped[i])
		return;
	err = madvise(v->p + i * HUGE_2M, HUGE_2M, MADV_DONTNEED) ? errno : 0;
	if (err != (kernel_since(5, 18) ? 0 : EINVAL))
		fail("errno", "MADV_DONTNEED of a private mapping: %s; history %s", strerror(err),
		     history);
	if (!err)
		private_lose(v, i);
}

static void private_step(struct private *v)
{
	int what = rnd(12), i = rnd(PAGES), n = 1 + rnd(PAGES - i);

	snprintf(history + strlen(history), sizeof(history) - strlen(history), "%c", 'A' + what);
	if (!v->p) {
		struct file *f = &files[rnd(FILES)];

		private_map(v, rnd(3) && f->fd >= 0 ? f : NULL, rnd(3) > 0);
		return;
	}
	if (what == 0)
		private_unmap(v, 0, PAGES);
	else if (what == 1)
		private_unmap(v, i, n);
	else if (what == 2)
		private_fork(v, i);
	else if (what < 5)
		private_move(v, i);
	else if (what == 5)
		private_forget(v, i);
	else if (what == 6 && v->mapped[i])
		split_at(v->p + i * HUGE_2M);
	else
		private_touch(v, i);
}

/* One page more than can be promised: nothing of the part that could be may stay behind. */
static void overask(void)
{
	long pages = unreserved() + 1;
	char *p = mmap(place(2 * FILES + PRIVATES), pages * HUGE_2M, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_FIXED, -1, 0);

	if (p == MAP_FAILED) {
		count_add(refused, 1);
		return;
	}
	fail("errno", "mmap of %ld pages with %ld unreserved succeeds; history %s", pages,
	     pages - 1, history);
	munmap(p, pages * HUGE_2M);
}

/* Holes at the end, in the middle and at the beginning of what is promised, by a mapping in parts. */
static void holes_by_parts(void)
{
	static const int pages[] = { 0, 2, 3, 5 };
	struct file *f = &files[1];
	size_t i;

	file_open(f);
	file_map(f, 1);
	if (!f->view[1])
		return;
	split_at(f->view[1] + 2 * HUGE_2M);
	split_at(f->view[1] + 4 * HUGE_2M);
	for (i = 0; i < 4; i++)
		file_touch(f, 1, pages[i]);
	check("pages of a mapping in parts");
	file_punch(f, f->view[1], 5, 1);
	check("a hole at the end");
	file_punch(f, f->view[1], 2, 2);
	check("a hole in the middle");
	file_punch(f, f->view[1], 0, 1);
	check("a hole at the beginning");
	file_map_part(f, 1, 5);
	check("promised again");
	file_end(f);
	check("without the file");
}

/*
 * Copies of a file's pages that a hole and a cut have taken, and every other page promised:
 * what is left of a promise is kept, and what is used up is used up.
 */
static void nothing_left(void)
{
	static const int pages[] = { 0, 2, 4, 2, 4, 1 };
	struct private *v = &privates[0];
	struct file *f = &files[0];
	long hog;
	size_t i;
	char *p;

	file_open(f);
	private_map(v, f, 1);
	for (i = 0; i < 3 && v->p; i++)
		private_touch(v, pages[i]);
	check("copies of a file's pages");
	private_fork(v, 0);
	check("a child was there");
	file_punch(f, NULL, 1, 2);
	check("a hole with a copy in it");
	file_truncate(f, 3);
	file_truncate(f, PAGES);
	check("a cut with a copy behind it");
	hog = unreserved();
	p = mmap(place(2 * FILES + PRIVATES), hog * HUGE_2M, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_FIXED, -1, 0);
	if (p == MAP_FAILED)
		fail("errno", "mmap of all %ld pages that are left: %s", hog, strerror(errno));
	base.resv += hog;
	for (i = 3; i < 6 && v->p; i++)
		private_touch(v, pages[i]);
	check("every other page is promised");
	munmap(p, hog * HUGE_2M);
	base.resv -= hog;
	for (i = 3; i < 6 && v->p; i++)
		private_touch(v, pages[i]);
	check("copies again");
	file_end(f);
	check("without the file");
}

int main(int argc, char **argv)
{
	int at = repro_start(argc, argv), i, n, wrong = 0;
	struct pool all;

	operations = counter("operations");
	moved = counter("moved");
	refused = counter("refused");
	forked = counter("forked");
	split = counter("split");
	lost = counter("lost");
	two_nodes(nodes);
	catch_signals();
	seed = at < argc ? atoi(argv[at]) : getpid();
	printf("seed %u\n", seed);
	pool_read(&all);
	/* Fewer pages than all could want, so that some are refused. */
	for (i = 0; i < all.n_nodes; i++)
		pool_node_set(all.node[i], all.node[i] == nodes[0] || all.node[i] == nodes[1] ? 8 : 0);
	pool_set("nr_overcommit_hugepages", 0);
	pool_read(&base);
	for (i = 0; i < FILES; i++)
		files[i].fd = -1;
	nothing_left();
	holes_by_parts();
	for (n = 0; running() && !wrong && !failed(); n++) {
		if (n % 60 == 0)
			history[0] = 0;
		/* Often enough for the shortest run; the others are refused by chance only. */
		if (n % 32 == 16)
			overask();
		else if (rnd(2))
			file_step(&files[rnd(FILES)]);
		else
			private_step(&privates[rnd(PRIVATES)]);
		wrong = check("after an operation");
		count_add(operations, 1);
	}
	for (i = 0; i < FILES; i++)
		if (files[i].fd >= 0)
			file_end(&files[i]);
	for (i = 0; i < PRIVATES; i++)
		if (privates[i].p)
			private_unmap(&privates[i], 0, PAGES);
	if (!wrong)
		check("at the end");
	pool_restore(&all);
	return repro_end();
}
