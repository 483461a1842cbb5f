// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the kernel tells of a huge page, at each step of its life, is known beforehand:
 *
 *			flags (/proc/kpageflags)	mapped	HugetlbPages	st_blocks
 *	untouched	-				0	.		.
 *	touched		HUGE UPTODATE, ANON or DIRTY	1	+ 1		+ 1 where a file
 *	child forked	.				2	.		.
 *	child gone	.				1	.		.
 *	moved		the same, unlocked		1	.		.
 *	moved back	the same, unlocked		1	.		.
 *	unmapped	-				0	as before	.
 *
 * Each place that tells of a page tells the same: pagemap of every part of it, whether one
 * process has it or several (pagemap, smaps), HugetlbPages of parent and child.  A write into
 * a page that was moved, or that a child had once, needs no fault, and no copy.
 *
 * A file's page that nobody maps must outlive "drop_caches", since there is no disk that
 * it could be read from again: that is what DIRTY is for.  read(2) finds what was written,
 * zeroes in a hole, and the end of the file.
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
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES 2
#define OWNER 30

/* Documentation/admin-guide/mm/pagemap.rst */
#define LOCKED		(1ULL << 0)
#define UPTODATE	(1ULL << 3)
#define DIRTY		(1ULL << 4)
#define IN_MMAP		(1ULL << 11)
#define IS_ANON		(1ULL << 12)
#define HUGE		(1ULL << 17)
#define HWPOISON	(1ULL << 19)
#define KEPT_FLAGS	(UPTODATE | DIRTY | IN_MMAP | IS_ANON | HUGE | HWPOISON)

static struct counter *looked, *moved, *kept, *read_back, *written;
static int nodes[2];
static long base_kb;	/* HugetlbPages of this process before the page */

static uint64_t number_at(const char *file, unsigned long frame)
{
	uint64_t value = ~0ULL;
	int fd = open(file, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return value;
	if (pread(fd, &value, sizeof(value), frame * sizeof(value)) != sizeof(value))
		value = ~0ULL;
	close(fd);
	return value;
}

/* Documentation/admin-guide/mm/pagemap.rst, of /proc/PID/pagemap */
#define TOLD_FRAME	((1ULL << 55) - 1)
#define TOLD_EXCLUSIVE	(1ULL << 56)
#define TOLD_FILE	(1ULL << 61)
#define TOLD_PRESENT	(1ULL << 63)

static void expect_number(long got, long expected, const struct huge *h, const char *what,
			  const char *when)
{
	if (got != expected)
		fail("counters", "%s, %s: %s %ld, expected %ld", kind_name(h->kind), when, what, got,
		     expected);
}

/* pagemap has an entry for each part of a page: the frames follow each other. */
static void look_at_parts(const struct huge *h, size_t page, unsigned long frame, int maps,
			  const char *when)
{
	static const int parts[] = { 0, 1, 255, 511 };
	uint64_t entry, wanted = TOLD_PRESENT;
	size_t i;

	if (maps == 1)
		wanted |= TOLD_EXCLUSIVE;
	if (kind_shared(h->kind))
		wanted |= TOLD_FILE;
	for (i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		entry = number_at("/proc/self/pagemap",
				  ((unsigned long)h->addr + page * h->page) / 4096 + parts[i]);
		if ((entry & TOLD_FRAME) != frame + parts[i] ||
		    (entry & (TOLD_PRESENT | TOLD_EXCLUSIVE | TOLD_FILE)) != wanted)
			fail("counters", "%s, %s: pagemap tells of part %d of page %zu 0x%llx, expected "
			     "0x%llx", kind_name(h->kind), when, parts[i], page,
			     (unsigned long long)entry,
			     (unsigned long long)(wanted | (frame + parts[i])));
	}
}

/* maps: in how many page tables each page is. */
static void look(const struct huge *h, int maps, const char *when)
{
	uint64_t flags, wanted = UPTODATE | HUGE | IN_MMAP | (kind_shared(h->kind) ? DIRTY : IS_ANON);
	unsigned char core[PAGES * 512];
	unsigned long frame;
	struct numa_maps maps_told;
	struct smaps kb;
	struct stat st;
	size_t i, n;
	int on;

	for (i = 0; i < h->n; i++) {
		frame = page_frame(h->addr + i * h->page);
		if (!frame) {
			fail("counters", "%s, %s: pagemap does not know page %zu",
			     kind_name(h->kind), when, i);
			continue;
		}
		flags = number_at("/proc/kpageflags", frame);
		if (!kind_shared(h->kind))
			flags &= ~DIRTY;	/* nobody asks that of an anonymous page */
		if (flags & LOCKED)
			fail("counters", "%s, %s: page %zu is locked", kind_name(h->kind), when, i);
		if ((flags & KEPT_FLAGS) != wanted)
			fail("counters", "%s, %s: page %zu has flags 0x%llx of 0x%llx, expected 0x%llx",
			     kind_name(h->kind), when, i, (unsigned long long)flags,
			     (unsigned long long)KEPT_FLAGS, (unsigned long long)wanted);
		expect_number(frame_maps(frame), maps, h, "mapped, times", when);
		look_at_parts(h, i, frame, maps, when);
	}
	smaps_read(getpid(), h->addr, &kb);
	expect_number(kb.private, maps == 1 ? h->n * h->page / 1024 : 0, h,
		      "kB of this process only in smaps", when);
	expect_number(kb.shared, maps > 1 ? h->n * h->page / 1024 : 0, h,
		      "kB of several processes in smaps", when);
	expect_number(hugetlb_kb(), base_kb + h->n * h->page / 1024, h, "kB of HugetlbPages", when);
	numa_maps_read(getpid(), h->addr, &maps_told);
	for (on = 0; on < 2; on++) {
		for (i = n = 0; i < h->n; i++)
			n += page_node(h->addr + i * h->page) == nodes[on];
		expect_number(maps_told.on[nodes[on]], n, h, "pages in numa_maps of a node", when);
	}
	memset(core, 0, sizeof(core));
	if (mincore(h->addr, h->n * h->page, core))
		fail("errno", "mincore: %s", strerror(errno));
	for (i = n = 0; i < h->n * h->page / 4096; i++)
		n += core[i] & 1;
	expect_number(n, h->n * h->page / 4096, h, "base pages in mincore()", when);
	if (h->fd >= 0 && kind_shared(h->kind)) {
		fstat(h->fd, &st);
		expect_number(st.st_blocks, h->n * h->page / 512, h, "st_blocks", when);
	}
	count_add(looked, 1);
}

static void move_all(struct huge *h, const char *when)
{
	int status, to;
	size_t i;
	long got;

	for (i = 0; i < h->n; i++) {
		to = nodes[page_node(h->addr + i * h->page) == nodes[0]];
		got = move_page(0, h->addr + i * h->page, to, MPOL_MF_MOVE, &status);
		if (got || status != to)
			fail("errno", "%s, %s: page %zu: %ld, status %d", kind_name(h->kind), when, i,
			     got, status);
		else
			count_add(moved, 1);
	}
}

/* A write into pages of one's own: none is copied, and once they are there none faults. */
static void write_in_place(const struct huge *h, int fault, const char *when)
{
	unsigned long frames[PAGES];
	struct rusage before, after;
	size_t i;

	for (i = 0; i < h->n; i++)
		frames[i] = page_frame(h->addr + i * h->page);
	getrusage(RUSAGE_SELF, &before);
	for (i = 0; i < h->n; i++)
		*(volatile char *)(h->addr + i * h->page) = *(h->addr + i * h->page);
	getrusage(RUSAGE_SELF, &after);
	/* Fewer than pages: one of the program's own may come in between. */
	if (!fault && after.ru_minflt - before.ru_minflt >= (long)h->n)
		fail("counters", "%s, %s: %ld faults for a write of %zu pages that are there",
		     kind_name(h->kind), when, after.ru_minflt - before.ru_minflt, h->n);
	for (i = 0; i < h->n; i++)
		if (page_frame(h->addr + i * h->page) != frames[i])
			fail("data", "%s, %s: page %zu is another one after a write, and nobody else has "
			     "it", kind_name(h->kind), when, i);
	count_add(written, 1);
}

static void with_a_child(struct huge *h)
{
	int in[2], out[2], status;
	long kb = -1;
	pid_t pid;
	size_t i;
	char c = 0;

	if (pipe(in) || pipe(out))
		return;
	pid = fork();
	if (!pid) {
		close(in[1]);
		for (i = 0; i < h->n; i++)	/* shared pages are not copied by fork() */
			c ^= *(volatile char *)(h->addr + i * h->page);
		kb = hugetlb_kb();
		if (write(out[1], &kb, sizeof(kb)) != sizeof(kb) || read(in[0], &c, 1) < 0)
			_exit(1);
		_exit(0);
	}
	if (read(out[0], &kb, sizeof(kb)) == sizeof(kb))
		look(h, 2, "a child has it");
	expect_number(kb, base_kb + h->n * h->page / 1024, h, "kB of HugetlbPages", "in the child");
	if (!kind_shared(h->kind)) {
		/* Copies on write, which are our own. */
		for (i = 0; i < h->n; i++)
			*(volatile char *)(h->addr + i * h->page) = *(h->addr + i * h->page);
		look(h, 1, "copied");
	}
	close(in[0]);
	close(in[1]);
	close(out[0]);
	close(out[1]);
	waitpid(pid, &status, 0);
	look(h, 1, "the child is gone");
	pid = fork();
	if (!pid)
		_exit(0);
	waitpid(pid, &status, 0);
	/* What was made read-only for the child takes a fault, and no copy. */
	write_in_place(h, 1, "a child was there");
}

/* Nobody maps the file; the cache is dropped; all is there as it was. */
static void unmapped(struct huge *h)
{
	static char buf[HUGE_2M];
	struct stat st;
	size_t i;
	ssize_t got;

	munmap(h->addr, h->n * h->page);
	write_file("/proc/sys/vm/drop_caches", "3");
	fstat(h->fd, &st);
	expect_number(st.st_blocks, h->n * h->page / 512, h, "st_blocks", "caches dropped");
	for (i = 0; i < h->n; i++) {
		got = pread(h->fd, buf, sizeof(buf), i * h->page);
		if (got != (ssize_t)sizeof(buf))
			fail("errno", "read of page %zu: %zd", i, got);
		else if (!pattern_check(buf, sizeof(buf), OWNER, 0))
			count_add(read_back, 1);
	}
	if (pread(h->fd, buf, 1, h->n * h->page) != 0)
		fail("errno", "read at the end of the file");
	h->addr = mmap(NULL, h->n * h->page, PROT_READ | PROT_WRITE, MAP_SHARED, h->fd, 0);
	if (h->addr == MAP_FAILED) {
		fail("errno", "mmap of a file with its pages: %s", strerror(errno));
		return;
	}
	if (!huge_check(h, OWNER, "nobody had it mapped, and caches were dropped"))
		count_add(kept, 1);
	look(h, 1, "mapped again");
	if (fallocate(h->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, h->page))
		fail("errno", "punch of a hole: %s", strerror(errno));
	got = pread(h->fd, buf, sizeof(buf), 0);
	for (i = 0; i < sizeof(buf) && !buf[i]; i++)
		;
	if (got != (ssize_t)sizeof(buf) || i < sizeof(buf))
		fail("data", "read of a hole: %zd bytes, not zero at %zu", got, i);
	fstat(h->fd, &st);
	expect_number(st.st_blocks, (h->n - 1) * h->page / 512, h, "st_blocks", "a hole was read");
}

/* What nobody has touched is nowhere. */
static void untouched(void)
{
	unsigned char core[PAGES * 512];
	struct huge h = { .kind = ANON, .page = HUGE_2M, .n = PAGES, .fd = -1 };
	size_t i, n;

	base_kb = hugetlb_kb();
	h.addr = map_huge(PAGES);
	memset(core, 0xff, sizeof(core));
	if (mincore(h.addr, PAGES * HUGE_2M, core))
		fail("errno", "mincore: %s", strerror(errno));
	for (i = n = 0; i < sizeof(core); i++)
		n += core[i] & 1;
	expect_number(n, 0, &h, "base pages in mincore()", "untouched");
	expect_number(page_frame(h.addr), 0, &h, "frame", "untouched");
	expect_number(hugetlb_kb(), base_kb, &h, "kB of HugetlbPages", "untouched");
	munmap(h.addr, PAGES * HUGE_2M);
}

static void life(enum kind kind, const struct pool *before)
{
	struct huge h;
	int err;

	base_kb = hugetlb_kb();
	err = huge_open(&h, kind, HUGE_2M, PAGES, "/dev/hugepages", OWNER);
	if (err) {
		fail("errno", "%s: %s", kind_name(kind), strerror(err));
		return;
	}
	look(&h, 1, "touched");
	write_in_place(&h, 1, "touched");
	move_all(&h, "moved");
	look(&h, 1, "moved");
	write_in_place(&h, 0, "moved");
	with_a_child(&h);
	move_all(&h, "moved back");
	look(&h, 1, "moved back");
	write_in_place(&h, 0, "moved back");
	huge_check(&h, OWNER, "at the end");
	if (kind_shared(kind) && h.fd >= 0)
		unmapped(&h);
	huge_close(&h);
	expect_number(hugetlb_kb(), base_kb, &h, "kB of HugetlbPages", "unmapped");
	pool_same(before, kind_name(kind));
}

int main(int argc, char **argv)
{
	struct pool before;
	int kind;

	repro_start(argc, argv);
	looked = counter("looked");
	moved = counter("moved");
	kept = counter("kept");
	read_back = counter("read_back");
	written = counter("written");
	two_nodes(nodes);
	if (number_at("/proc/kpageflags", 0) == ~0ULL)
		skip("no /proc/kpageflags: CONFIG_PROC_PAGE_MONITOR");
	catch_signals();
	/* A policy of one's own keeps NUMA balancing away, whose faults would be counted as ours. */
	syscall(SYS_set_mempolicy, MPOL_LOCAL, NULL, 0UL);
	pool_read(&before);
	do {
		for (kind = 0; kind < KINDS && !failed(); kind++)
			life(kind, &before);
	} while (running() && !failed());
	untouched();
	return repro_end();
}
