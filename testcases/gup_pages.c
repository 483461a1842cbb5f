// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel looks a process's huge pages up by itself, to read or write them for
 * somebody, or to hold them: any part of a page, several at a time, across pages, ones
 * that are not there yet, and ones that must be copied first.
 *
 *	process_vm_readv, _writev	another process's pages, at odd places
 *	/proc/PID/mem			the same, by FOLL_FORCE where the page is read-only
 *	O_DIRECT			held while a device reads and writes them
 *	vmsplice()			held by a pipe, part by part, while others write
 *	mlock(), MAP_POPULATE		faulted in ahead
 *	madvise(MADV_POPULATE_*)	the same, since 5.14
 *	PTRACE_POKEDATA			what is forced upon a child is not its parent's
 *
 * So are ranges across mappings of several kinds, and pages that move meanwhile.
 *
 * The answer is known for each byte; what must be refused is, with EFAULT, and leaves
 * nothing behind; and when the last holder is gone, the page moves.
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
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES 3
#define PART 4096

static struct counter *read_over, *written_over, *refused, *held, *direct, *populated, *bordered, *poked, *raced;
static int nodes[2];

/* Each word tells where it is. */
static uint64_t word_of(size_t at, unsigned int owner)
{
	return (uint64_t)owner << 32 | at;
}

static void fill(char *p, size_t bytes, unsigned int owner)
{
	size_t at;

	for (at = 0; at < bytes; at += 512)
		*(uint64_t *)(p + at) = word_of(at, owner);
}

/* from is what was at this offset of a range that fill() has filled; any length. */
static int is_filled(const char *buf, size_t from, size_t bytes, unsigned int owner)
{
	size_t at;

	for (at = (from + 511) & ~511UL; at + 8 <= from + bytes; at += 512)
		if (*(const uint64_t *)(buf + at - from) != word_of(at, owner))
			return 0;
	return 1;
}

/* Odd beginnings and lengths, within parts, across parts, and across pages. */
static const struct {
	size_t at, bytes;
} places[] = {
	{ 0, 4096 }, { 100, 700 }, { HUGE_2M - 4096, 8192 }, { HUGE_2M - 1000, 5000 },
	{ 17 * PART + 1, 3 * PART }, { 2 * HUGE_2M - 2 * PART - 8, 4 * PART + 600 },
	{ 3 * HUGE_2M - 600, 600 }, { HUGE_2M + 511 * PART, PART }, { 255 * PART, 6 * PART },
};
#define PLACES (sizeof(places) / sizeof(*places))

/* The owner of the range; waits until it is told to end. */
static pid_t other_process(void)
{
	pid_t pid = fork();

	if (!pid)
		for (;;)
			pause();
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static int mem_of(pid_t pid, int flags)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	return open(path, flags | O_CLOEXEC);
}

static void read_other(pid_t pid, char *range, const char *what)
{
	static char buf[16 * PART];
	struct iovec local, remote;
	int mem = mem_of(pid, O_RDONLY);
	size_t i;

	for (i = 0; i < PLACES; i++) {
		local = (struct iovec){ buf, places[i].bytes };
		remote = (struct iovec){ range + places[i].at, places[i].bytes };
		memset(buf, 0xee, sizeof(buf));
		if (process_vm_readv(pid, &local, 1, &remote, 1, 0) != (ssize_t)places[i].bytes)
			fail("errno", "%s: process_vm_readv() at 0x%zx: %s", what, places[i].at,
			     strerror(errno));
		else if (!is_filled(buf, places[i].at, places[i].bytes, 1))
			fail("data", "%s: process_vm_readv() of %zu bytes at 0x%zx", what,
			     places[i].bytes, places[i].at);
		else
			count_add(read_over, 1);
		memset(buf, 0xee, sizeof(buf));
		if (pread(mem, buf, places[i].bytes, (off_t)(uintptr_t)remote.iov_base) !=
		    (ssize_t)places[i].bytes || !is_filled(buf, places[i].at, places[i].bytes, 1))
			fail("data", "%s: /proc/PID/mem of %zu bytes at 0x%zx", what, places[i].bytes,
			     places[i].at);
		else
			count_add(read_over, 1);
	}
	close(mem);
}

/* A child has the same pages: what is written for it is its own copy, or the file's. */
static void write_other(char *range, int shared, const char *what)
{
	struct iovec local, remote;
	pid_t pid = other_process();
	static char buf[16 * PART], now[16 * PART];
	size_t i, j;

	read_other(pid, range, what);
	for (i = 0; i < PLACES; i++) {
		for (j = 0; j < places[i].bytes; j++)
			buf[j] = i + j * 7;
		local = (struct iovec){ buf, places[i].bytes };
		remote = (struct iovec){ range + places[i].at, places[i].bytes };
		if (process_vm_writev(pid, &local, 1, &remote, 1, 0) != (ssize_t)places[i].bytes) {
			fail("errno", "%s: process_vm_writev() at 0x%zx: %s", what, places[i].at,
			     strerror(errno));
			continue;
		}
		local.iov_base = now;
		if (process_vm_readv(pid, &local, 1, &remote, 1, 0) != (ssize_t)places[i].bytes ||
		    memcmp(buf, now, places[i].bytes))
			fail("data", "%s: what was written to the other process at 0x%zx is not there",
			     what, places[i].at);
		if (shared && memcmp(range + places[i].at, buf, places[i].bytes))
			fail("data", "%s: a write to the other process is not seen here", what);
		else
			count_add(written_over, 1);
	}
	if (!shared && !is_filled(range, 0, PAGES * HUGE_2M, 1))
		fail("data", "%s: a write to the child's copy came to its parent's page", what);
	end(pid);
	fill(range, PAGES * HUGE_2M, 1);
}

static void expect_efault(ssize_t got, const char *what)
{
	if (got >= 0 || errno != EFAULT)
		fail("errno", "%s: %zd, %s, expected EFAULT", what, got, strerror(errno));
	else
		count_add(refused, 1);
}

/* Nobody may write what is read-only, nor find what there is no page for. */
static void refusals(const struct pool *before)
{
	char buf[64] = "", *p;
	struct iovec local = { buf, 8 }, remote;
	int fd = huge_memfd(2 * HUGE_2M), pipes[2];

	p = mmap(NULL, 2 * HUGE_2M, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED || pipe(pipes))
		return;
	remote = (struct iovec){ p + 5000, 8 };
	expect_efault(process_vm_writev(getpid(), &local, 1, &remote, 1, 0), "write of a read-only page");
	if (p[5000])
		fail("data", "a refused write has come through");
	if (write(pipes[1], "x", 1) != 1)
		return;
	expect_efault(read(pipes[0], p + 5000, 1), "read() into a read-only page");
	munmap(p, 2 * HUGE_2M);

	/* Beyond the end of a file. */
	p = mmap(NULL, 2 * HUGE_2M, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	p[0] = 1;
	if (ftruncate(fd, HUGE_2M))
		fail("errno", "ftruncate: %s", strerror(errno));
	remote.iov_base = p + HUGE_2M + 5000;
	expect_efault(process_vm_readv(getpid(), &local, 1, &remote, 1, 0), "a page beyond the end");
	expect_efault(process_vm_writev(getpid(), &local, 1, &remote, 1, 0), "a page beyond the end");
	/* What begins before the end is read up to it. */
	local.iov_len = remote.iov_len = 64;
	remote.iov_base = p + HUGE_2M - 32;
	if (process_vm_readv(getpid(), &local, 1, &remote, 1, 0) != 32)
		fail("errno", "a read across the end of a file: expected 32 bytes");
	munmap(p, 2 * HUGE_2M);
	close(fd);
	close(pipes[0]);
	close(pipes[1]);
	pool_same(before, "after refusals");
}

/* No page is left for who has reserved none. */
static void no_page(const struct pool *before)
{
	char buf[8] = "", *p;
	struct iovec local = { buf, 8 }, remote;

	p = mmap(NULL, HUGE_2M, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return;
	pool_empty(before, 0);
	remote = (struct iovec){ p + 70000, 8 };
	expect_efault(process_vm_writev(getpid(), &local, 1, &remote, 1, 0), "write with no page left");
	expect_efault(process_vm_readv(getpid(), &local, 1, &remote, 1, 0), "read with no page left");
	pool_restore(before);
	if (process_vm_writev(getpid(), &local, 1, &remote, 1, 0) != 8)
		fail("errno", "write with pages again: %s", strerror(errno));
	munmap(p, HUGE_2M);
	pool_same(before, "after a pool that was empty");
}

static void moves(char *page, int there, const char *what)
{
	int status, from = page_node(page), to = nodes[from == nodes[0]];
	long got = move_page(0, page, to, MPOL_MF_MOVE, &status);

	if (there && (got || status != to))
		fail("errno", "%s: it cannot be moved any longer: %ld, status %d", what, got, status);
	if (!there && page_node(page) != from)
		fail("errno", "%s: a page that is held was moved", what);
}

/* A pipe holds parts of two pages; each holder alone keeps its page in place. */
static void by_pipe(char *range, const char *what)
{
	struct iovec iov[3] = {
		{ range + 9 * PART, PART }, { range + HUGE_2M - PART, 2 * PART },
		{ range + HUGE_2M + 300 * PART, PART },
	};
	static char buf[4 * PART];
	int pipes[2], i;

	if (pipe(pipes))
		return;
	if (vmsplice(pipes[1], iov, 3, 0) != 4 * PART) {
		fail("errno", "%s: vmsplice: %s", what, strerror(errno));
		return;
	}
	moves(range, 0, what);
	moves(range + HUGE_2M, 0, what);
	/* The pipe has the page itself, so it sees what is written now. */
	range[9 * PART + 77] = 'x';
	for (i = 0; i < 4; i++)
		if (read(pipes[0], buf + i * PART, PART) != PART)
			fail("errno", "%s: the pipe is empty", what);
	if (buf[77] != 'x' || !is_filled(buf, 9 * PART, PART, 1) ||
	    !is_filled(buf + PART, HUGE_2M - PART, 2 * PART, 1) ||
	    !is_filled(buf + 3 * PART, HUGE_2M + 300 * PART, PART, 1))
		fail("data", "%s: the pipe has other parts of pages than it was given", what);
	else
		count_add(held, 1);
	range[9 * PART + 77] = 0;
	close(pipes[0]);
	close(pipes[1]);
	moves(range, 1, what);
	moves(range + HUGE_2M, 1, what);
	if (!is_filled(range, 0, PAGES * HUGE_2M, 1))
		fail("data", "%s: held, let go, and moved", what);
}

/* A RAM disk takes and gives what lies across two pages, and what was not there yet. */
static void by_disk(char *range)
{
	size_t at = HUGE_2M - 32 * PART, bytes = 64 * PART;
	int disk = open("/dev/ram0", O_RDWR | O_DIRECT | O_CLOEXEC);
	char *fresh;

	if (disk < 0) {
		count_add(direct, 1);	/* this kernel has no RAM disk */
		return;
	}
	fresh = mmap(NULL, 2 * HUGE_2M, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (pwrite(disk, range + at, bytes, 0) != (ssize_t)bytes)
		fail("errno", "direct write across two huge pages: %s", strerror(errno));
	if (fresh != MAP_FAILED && pread(disk, fresh + at, bytes, 0) != (ssize_t)bytes)
		fail("errno", "direct read into two untouched huge pages: %s", strerror(errno));
	else if (fresh != MAP_FAILED && !is_filled(fresh + at, at, bytes, 1))
		fail("data", "direct I/O across two huge pages");
	else
		count_add(direct, 1);
	close(disk);
	munmap(fresh, 2 * HUGE_2M);
}

static void expect_free(long pages, const char *what)
{
	struct pool now;

	pool_read(&now);
	if (now.free != pages)
		fail("counters", "%s: %ld pages are free, expected %ld", what, now.free, pages);
	else
		count_add(populated, 1);
}

/* Faulted in ahead: so many pages, no more; and locked ones are counted in VmLck. */
static void ahead(const struct pool *before)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB;
	char line[128], *p = mmap(NULL, 2 * HUGE_2M, PROT_READ | PROT_WRITE, flags | MAP_POPULATE, -1, 0);
	long kb = -1;
	FILE *f;

	expect_free(before->free - 2, "MAP_POPULATE of 2 pages");
	munmap(p, 2 * HUGE_2M);
	p = mmap(NULL, 3 * HUGE_2M, PROT_READ | PROT_WRITE, flags, -1, 0);
	if (p == MAP_FAILED)
		return;
	if (mlock(p + HUGE_2M, HUGE_2M))
		fail("errno", "mlock: %s", strerror(errno));
	expect_free(before->free - 1, "mlock() of 1 page of 3");
	f = fopen("/proc/self/status", "r");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "VmLck: %ld", &kb) == 1)
			break;
	if (f)
		fclose(f);
	/* Huge pages are never swapped: they are faulted in, and not counted as locked. */
	if (kb != 0)
		fail("counters", "VmLck is %ld kB", kb);
	munlock(p + HUGE_2M, HUGE_2M);
	if (!madvise(p, HUGE_2M, 23 /* MADV_POPULATE_WRITE */))
		expect_free(before->free - 2, "MADV_POPULATE_WRITE of 1 page");
	if (!madvise(p, 3 * HUGE_2M, 22 /* MADV_POPULATE_READ */))
		expect_free(before->free - 3, "MADV_POPULATE_READ of 3 pages");
	munmap(p, 3 * HUGE_2M);
	pool_same(before, "after pages that were faulted in ahead");
}

/* Private, shared and base pages side by side, and nothing behind them: as one range, up to there. */
static void borders(const struct pool *before)
{
	static const size_t from[] = { HUGE_2M - 600, 2 * HUGE_2M - 5000, 2 * HUGE_2M - PART };
	size_t room = 2 * HUGE_2M + 4 * PART, i;
	static char buf[4 * PART];
	struct iovec local, remote;
	int fd = huge_memfd(HUGE_2M);
	char *p, *range;

	p = mmap(NULL, 4 * HUGE_2M, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return;
	range = (char *)(((uintptr_t)p + HUGE_2M - 1) & ~(HUGE_2M - 1));
	if (mmap(range, HUGE_2M, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_FIXED, -1, 0) == MAP_FAILED ||
	    mmap(range + HUGE_2M, HUGE_2M, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) ==
	    MAP_FAILED || mmap(range + 2 * HUGE_2M, 4 * PART, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		skip("three mappings side by side: %s", strerror(errno));
	fill(range, room, 1);
	for (i = 0; i < 3; i++) {
		local = (struct iovec){ buf, 3 * PART };
		remote = (struct iovec){ range + from[i], 3 * PART };
		memset(buf, 0xee, sizeof(buf));
		if (process_vm_readv(getpid(), &local, 1, &remote, 1, 0) != 3 * PART ||
		    !is_filled(buf, from[i], 3 * PART, 1))
			fail("data", "process_vm_readv() across mappings at 0x%zx", from[i]);
		memset(buf, i + 1, sizeof(buf));
		if (process_vm_writev(getpid(), &local, 1, &remote, 1, 0) != 3 * PART ||
		    memcmp(range + from[i], buf, 3 * PART))
			fail("data", "process_vm_writev() across mappings at 0x%zx", from[i]);
		else
			count_add(bordered, 1);
		fill(range, room, 1);
	}
	/* What is readable up to the end is read. */
	remote = (struct iovec){ range + room - PART - 100, 3 * PART };
	if (process_vm_readv(getpid(), &local, 1, &remote, 1, 0) != PART + 100)
		fail("errno", "a read across the end of a mapping: expected %d bytes", PART + 100);
	munmap(range + 2 * HUGE_2M, 4 * PART);
	remote.iov_base = range + 2 * HUGE_2M - 100;
	if (process_vm_readv(getpid(), &local, 1, &remote, 1, 0) != 100)
		fail("errno", "a read across the end of a huge page: expected 100 bytes");
	munmap(p, 4 * HUGE_2M);
	close(fd);
	pool_same(before, "after ranges of several mappings");
}

static void poke(int prot)
{
	int fd = huge_memfd(2 * HUGE_2M);
	char *file = mmap(NULL, 2 * HUGE_2M, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	char *range = mmap(NULL, 2 * HUGE_2M, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	long word = 0x706f6b65, old;
	size_t at, page;
	pid_t pid;

	if (file == MAP_FAILED || range == MAP_FAILED)
		skip("a file of 2 huge pages");
	fill(file, 2 * HUGE_2M, 1);
	/* The first page is its own, and shared with the child; the second is the file's. */
	fill(range, HUGE_2M, 2);
	mprotect(range, 2 * HUGE_2M, prot);
	pid = other_process();
	if (ptrace(PTRACE_ATTACH, pid, NULL, NULL) || waitpid(pid, NULL, 0) != pid) {
		fail("errno", "PTRACE_ATTACH: %s", strerror(errno));
		return;
	}
	for (page = 0; page < 2; page++) {
		at = page * HUGE_2M + 300 * PART + 512;
		errno = 0;
		old = ptrace(PTRACE_PEEKDATA, pid, range + at, NULL);
		if (errno || (uint64_t)old != word_of(at, page ? 1 : 2))
			fail("data", "PTRACE_PEEKDATA of page %zu: 0x%lx", page, old);
		/* check_vma_flags() of 6.1 refuses what 5.10 writes to a copy. */
		if (ptrace(PTRACE_POKEDATA, pid, range + at, word)) {
			if (prot & PROT_WRITE || errno != EIO)
				fail("errno", "PTRACE_POKEDATA: %s", strerror(errno));
			word = old;
		}
		if (ptrace(PTRACE_PEEKDATA, pid, range + at, NULL) != word)
			fail("data", "what was poked into page %zu is not there", page);
		word = 0x706f6b65;
		if (!is_filled(range, 0, HUGE_2M, 2) || !is_filled(range + HUGE_2M, HUGE_2M, HUGE_2M, 1))
			fail("data", "what was poked into a child's page %zu came to its parent", page);
		else if (!is_filled(file, 0, 2 * HUGE_2M, 1))
			fail("data", "what was poked into a private page %zu came to its file", page);
		else
			count_add(poked, 1);
	}
	end(pid);
	munmap(range, 2 * HUGE_2M);
	munmap(file, 2 * HUGE_2M);
	close(fd);
}

/*
 * Another process's pages are read and written while a third one moves them: each place
 * once, and on until some pages have moved meanwhile, which a fast CPU does not see in the
 * time of a few calls.
 */
#define BESIDE 16	/* places */
#define MOVED 4		/* the first two may have been there already */
static void beside_moves(enum kind kind, const struct pool *before)
{
	volatile unsigned long *there = shared_words(1);
	uint64_t word, now, words[BESIDE];
	struct iovec local, remote;
	pid_t owner, mover;
	struct huge h;
	size_t at;
	int i, status;

	if (huge_open(&h, kind, HUGE_2M, 2, "/dev/hugepages", 1))
		return;
	fill(h.addr, 2 * HUGE_2M, 1);
	owner = other_process();
	mover = fork();
	if (!mover)
		for (i = 0; ; i++)
			*there += !move_page(owner, h.addr + i % 2 * HUGE_2M, nodes[i / 2 % 2],
					     MPOL_MF_MOVE_ALL, &status) &&
				  status == nodes[i / 2 % 2];
	for (i = 0; i < BESIDE || (*there < MOVED && running() && !failed()); i++) {
		at = (size_t)i % BESIDE * 517 % 1024 * PART + 8;
		word = words[i % BESIDE] = word_of(at, 0x100 + i);
		local = (struct iovec){ &word, 8 };
		remote = (struct iovec){ h.addr + at, 8 };
		if (process_vm_writev(owner, &local, 1, &remote, 1, 0) != 8)
			fail("errno", "process_vm_writev() beside a move: %s", strerror(errno));
		local.iov_base = &now;
		if (process_vm_readv(owner, &local, 1, &remote, 1, 0) != 8 || now != word)
			fail("data", "process_vm_writev() beside a move is lost");
		if (kind_shared(kind) != (*(volatile uint64_t *)(h.addr + at) == word))
			fail("data", "process_vm_writev() to a child's %s page beside a move",
			     kind_name(kind));
	}
	count_add(raced, *there < MOVED ? 0 : BESIDE);
	end(mover);
	munmap((void *)there, sizeof(*there));
	for (i = 0; i < BESIDE; i++) {
		at = (size_t)i * 517 % 1024 * PART + 8;
		remote = (struct iovec){ h.addr + at, 8 };
		local = (struct iovec){ &now, 8 };
		if (process_vm_readv(owner, &local, 1, &remote, 1, 0) != 8 ||
		    now != words[i])
			fail("data", "what was written beside moves is lost after them");
	}
	end(owner);
	if (!is_filled(h.addr, 0, 2 * HUGE_2M, 1))
		fail("data", "other words of a page than those written beside moves have changed");
	huge_close(&h);
	pool_same(before, "after pages that moved while they were read and written");
}

static void over(enum kind kind, const struct pool *before)
{
	struct huge h;

	if (huge_open(&h, kind, HUGE_2M, PAGES, "/dev/hugepages", 1)) {
		fail("errno", "%d pages of %s", PAGES, kind_name(kind));
		return;
	}
	fill(h.addr, PAGES * HUGE_2M, 1);
	read_other(getpid(), h.addr, kind_name(kind));
	write_other(h.addr, kind_shared(kind), kind_name(kind));
	by_pipe(h.addr, kind_name(kind));
	by_disk(h.addr);
	huge_close(&h);
	pool_same(before, kind_name(kind));
}

int main(int argc, char **argv)
{
	struct pool before;

	repro_start(argc, argv);
	read_over = counter("read_over");
	written_over = counter("written_over");
	refused = counter("refused");
	held = counter("held");
	direct = counter("direct");
	populated = counter("populated");
	bordered = counter("bordered");
	poked = counter("poked");
	raced = counter("raced");
	two_nodes(nodes);
	catch_signals();
	pool_read(&before);
	do {
		over(ANON, &before);
		over(MEMFD, &before);
		over(PRIVATE_FILE, &before);
		over(SHM, &before);
		borders(&before);
		poke(PROT_READ | PROT_WRITE);
		poke(PROT_READ);
		pool_same(&before, "after what was poked");
		beside_moves(ANON, &before);
		beside_moves(MEMFD, &before);
		refusals(&before);
		no_page(&before);
		ahead(&before);
	} while (running() && !failed());
	return repro_end();
}
