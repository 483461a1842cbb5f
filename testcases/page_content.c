// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a huge page holds when it comes: zeroes where nobody has written yet, whoever had
 * the memory before, and all of the original where it is a copy.  A huge page is cleared
 * and copied in 512 parts, in an order that depends on the address that was touched, so
 * each part is looked at, at its beginning and at its end.
 *
 *	fresh			by a write or a read in the first, an inner and the last part,
 *				MAP_POPULATE, fallocate(), the kernel's own write (pipe, another
 *				process), no reservation, a hole, a file that was cut and grew
 *	copied			on a write of the parent, of the child, out of the page cache
 *				(whoever else has the page there, and whoever writes),
 *				by UFFDIO_COPY (from memory that is there, and that is not),
 *				by a move
 */
#define _GNU_SOURCE
#include "catch.h"
#include "huge.h"
#include "pool.h"
#include "repro.h"
#include "uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PART 4096
#define PARTS (HUGE_2M / PART)
#define ANYWHERE ((size_t)-1)

static struct counter *fresh, *copied, *moved;
static int nodes[2];

/* Where a page is touched first, in turn: the parts are cleared around it. */
static size_t where(int turn)
{
	static const size_t parts[] = { 0, 511, 255, 256, 1, 510, 77, 400 };

	return parts[turn % 8] * PART + 808;
}

static uint64_t word(unsigned int owner, size_t part, int last)
{
	return (uint64_t)owner << 32 | part << 1 | last;
}

static volatile uint64_t *word_at(char *page, size_t part, int last)
{
	return (volatile uint64_t *)(page + part * PART + (last ? PART - 8 : 0));
}

static void fill(char *page, unsigned int owner)
{
	size_t part;
	int last;

	for (part = 0; part < PARTS; part++)
		for (last = 0; last < 2; last++)
			*word_at(page, part, last) = word(owner, part, last);
}

/* owner 0: all is zero. */
static int holds(char *page, unsigned int owner, const char *what)
{
	uint64_t expected, found;
	size_t part;
	int last;

	for (part = 0; part < PARTS; part++)
		for (last = 0; last < 2; last++) {
			found = *word_at(page, part, last);
			expected = owner ? word(owner, part, last) : 0;
			if (found == expected)
				continue;
			fail("data", "%s: part %zu of %zu %s with 0x%llx, expected 0x%llx", what, part,
			     PARTS, last ? "ends" : "begins", (unsigned long long)found,
			     (unsigned long long)expected);
			return 0;
		}
	return 1;
}

static char *map(size_t n, int flags, int fd)
{
	char *p = mmap(NULL, n * HUGE_2M, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (p == MAP_FAILED)
		skip("mmap of %zu huge pages: %s", n, strerror(errno));
	return p;
}

static int memfd(size_t n)
{
	int fd = memfd_create("content", MFD_CLOEXEC | 4U /* MFD_HUGETLB */ | 21U << 26);

	if (fd < 0 || ftruncate(fd, n * HUGE_2M))
		skip("a memfd of huge pages: %s", strerror(errno));
	return fd;
}

#define ANONYMOUS (MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB)

/* What is given back now is what is handed out next. */
static void leave_dirt(void)
{
	char *p = map(3, ANONYMOUS, -1);
	int i;

	for (i = 0; i < 3; i++)
		fill(p + i * HUGE_2M, 999);
	munmap(p, 3 * HUGE_2M);
}

static void is_fresh(char *page, const char *what)
{
	if (holds(page, 0, what))
		count_add(fresh, 1);
}

static void touched(int flags, int turn, const char *what)
{
	char *p;

	leave_dirt();
	p = map(2, flags, -1);
	p[where(turn)] = 0;
	is_fresh(p, what);
	(void)*(volatile char *)(p + HUGE_2M + where(turn));
	is_fresh(p + HUGE_2M, what);
	munmap(p, 2 * HUGE_2M);
}

/* The kernel writes for a process: into a page that is not there yet. */
static void written_by_kernel(int turn)
{
	char *p, from[16] = { 0 };
	struct iovec local = { from, sizeof(from) }, remote;
	int pipes[2];

	leave_dirt();
	p = map(2, ANONYMOUS, -1);
	if (pipe(pipes) || write(pipes[1], from, 16) != 16 ||
	    read(pipes[0], p + where(turn), 16) != 16)
		fail("errno", "read() into an untouched page: %s", strerror(errno));
	close(pipes[0]);
	close(pipes[1]);
	is_fresh(p, "a page that read() came to first");
	remote = (struct iovec){ p + HUGE_2M + where(turn), 16 };
	if (process_vm_writev(getpid(), &local, 1, &remote, 1, 0) != 16)
		fail("errno", "process_vm_writev() into an untouched page: %s", strerror(errno));
	is_fresh(p + HUGE_2M, "a page that process_vm_writev() came to first");
	munmap(p, 2 * HUGE_2M);
}

static void of_a_file(int turn)
{
	char *p, *q;
	int fd;

	leave_dirt();
	fd = memfd(3);
	if (fallocate(fd, 0, 0, HUGE_2M))
		fail("errno", "fallocate: %s", strerror(errno));
	p = map(3, MAP_SHARED, fd);
	is_fresh(p, "a page by fallocate()");
	p[HUGE_2M + where(turn)] = 0;
	is_fresh(p + HUGE_2M, "a page of a shared file");
	q = map(3, MAP_PRIVATE, fd);
	q[2 * HUGE_2M + where(turn)] = 0;
	is_fresh(q + 2 * HUGE_2M, "a private page over a hole");
	munmap(q, 3 * HUGE_2M);

	fill(p + HUGE_2M, 998);
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, HUGE_2M, HUGE_2M))
		fail("errno", "punch of a hole: %s", strerror(errno));
	is_fresh(p + HUGE_2M, "a hole that was a page");
	fill(p + HUGE_2M, 997);
	fill(p + 2 * HUGE_2M, 997);
	if (ftruncate(fd, HUGE_2M) || ftruncate(fd, 3 * HUGE_2M))
		fail("errno", "ftruncate: %s", strerror(errno));
	is_fresh(p + HUGE_2M, "a page of a file that was cut and grew");
	is_fresh(p + 2 * HUGE_2M, "a page of a file that was cut and grew");
	munmap(p, 3 * HUGE_2M);
	close(fd);
}

static void dropped(void)
{
	char *p = map(1, ANONYMOUS, -1);

	fill(p, 996);
	/* Refused before 5.18. */
	if (!madvise(p, HUGE_2M, MADV_DONTNEED))
		is_fresh(p, "a page after MADV_DONTNEED");
	munmap(p, HUGE_2M);
}

static void is_copy(char *page, unsigned int owner, size_t at, int value, const char *what)
{
	if (!holds(page, owner, what))
		return;
	if (at != ANYWHERE && *(volatile char *)(page + at) != value)
		fail("data", "%s: a write of %d is lost, found %d", what, value, page[at]);
	else
		count_add(copied, 1);
}

/* Parent and child write one page each, the other one keeps what it had. */
static void on_write(int flags, int fd, int turn, const char *what)
{
	char *p = map(2, flags, fd);
	size_t at = where(turn);
	int in[2], out[2], i;
	pid_t pid;
	char c = 0;

	for (i = 0; i < 2; i++)
		fill(p + i * HUGE_2M, 10 + i);
	if (pipe(in) || pipe(out))
		return;
	pid = fork();
	if (!pid) {
		close(in[1]);
		p[at] = 1;
		is_copy(p, 10, at, 1, what);
		if (write(out[1], &c, 1) != 1 || read(in[0], &c, 1) != 1)
			_exit(1);
		is_copy(p, 10, at, 1, what);
		is_copy(p + HUGE_2M, 11, at, 0, what);
		_exit(0);
	}
	close(in[0]);
	close(out[1]);
	if (read(out[0], &c, 1) != 1)
		fail("signal", "%s: the child is gone", what);
	is_copy(p, 10, at, 0, what);
	p[HUGE_2M + at] = 2;
	is_copy(p + HUGE_2M, 11, at, 2, what);
	if (write(in[1], &c, 1) != 1)
		fail("signal", "%s: the child is gone", what);
	close(in[1]);
	close(out[0]);
	waitpid(pid, NULL, 0);
	is_copy(p, 10, at, 0, what);
	is_copy(p + HUGE_2M, 11, at, 2, what);
	munmap(p, 2 * HUGE_2M);
}

/* Who else has the file's page while somebody writes his private view of it. */
enum other { NOBODY, SHARER, READER, CHILD, OTHERS };
static const char *const others[OTHERS] = {
	"that nobody else has", "that a shared mapping has", "that a private mapping has read",
	"that a child has read",
};

static int write_one(char *p, char value, int by_kernel)
{
	struct iovec local = { &value, 1 }, remote = { p, 1 };

	if (by_kernel)
		return process_vm_writev(getpid(), &local, 1, &remote, 1, 0) == 1;
	*(volatile char *)p = value;
	return 1;
}

static void in_file(int fd, unsigned int owner, const char *what)
{
	uint64_t word_read = 0;
	size_t part;

	for (part = 0; part < PARTS; part += 73) {
		if (pread(fd, &word_read, 8, part * PART) != 8 || word_read != word(owner, part, 0)) {
			fail("data", "%s: read() of part %zu of the file gives 0x%llx", what, part,
			     (unsigned long long)word_read);
			return;
		}
	}
	count_add(copied, 1);
}

/* A file's page and a private view of it, written by the program or for it, read first or not. */
static void out_of_the_cache(enum other other, int read_first, int by_kernel, int turn)
{
	char *view, *p, *q = NULL, c = 0, what[120], at_value;
	size_t at = where(turn);
	int fd = memfd(1), in[2] = { -1, -1 }, out[2] = { -1, -1 };
	pid_t pid = 0;

	snprintf(what, sizeof(what), "a private write%s of a file's page %s%s", by_kernel ? " by the kernel" : "",
		 others[other], read_first ? ", read first" : "");
	view = map(1, MAP_SHARED, fd);
	fill(view, 20);
	at_value = view[at];
	if (other != SHARER)
		munmap(view, HUGE_2M);
	p = map(1, MAP_PRIVATE, fd);
	if (read_first)
		(void)*(volatile char *)(p + at);
	if (other == READER) {
		q = map(1, MAP_PRIVATE, fd);
		(void)*(volatile char *)q;
	}
	if (other == CHILD && !pipe(in) && !pipe(out)) {
		pid = fork();
		if (!pid) {
			close(in[1]);
			c = *(volatile char *)(p + at);
			if (write(out[1], &c, 1) != 1 || read(in[0], &c, 1) != 0)
				_exit(1);
			is_copy(p, 20, at, at_value, what);
			_exit(0);
		}
		close(in[0]);
		if (read(out[0], &c, 1) != 1)
			fail("signal", "%s: the child is gone", what);
	}
	if (!write_one(p + at, 3, by_kernel))
		fail("errno", "%s: %s", what, strerror(errno));
	is_copy(p, 20, at, 3, what);
	/* Once more, into what is one's own now. */
	write_one(p + at, 4, !by_kernel);
	is_copy(p, 20, at, 4, what);
	if (q) {
		is_copy(q, 20, at, at_value, what);
		munmap(q, HUGE_2M);
	}
	if (pid > 0) {
		close(in[1]);
		waitpid(pid, NULL, 0);
		close(out[0]);
		close(out[1]);
	}
	in_file(fd, 20, what);
	if (other != SHARER)
		view = map(1, MAP_SHARED, fd);
	is_copy(view, 20, at, at_value, what);
	munmap(view, HUGE_2M);
	munmap(p, HUGE_2M);
	close(fd);
}

/* read_first and by_kernel change with the turn, so a few rounds have them all. */
static void private_writes(int turn)
{
	int other;

	for (other = 0; other < OTHERS; other++) {
		out_of_the_cache(other, turn & 1, 0, turn);
		out_of_the_cache(other, !(turn & 1), turn >> 1 & 1, turn);
	}
}

/* The second source has no page table yet: the kernel has to let go and fault it in. */
static void by_uffd(void)
{
	int plain = memfd_create("source", MFD_CLOEXEC), uffd = uffd_open();
	char *to, *from, *unmapped;

	if (uffd < 0 || plain < 0 || ftruncate(plain, HUGE_2M + PART)) {
		close(uffd);
		close(plain);
		return;		/* CONFIG_USERFAULTFD, or no tmpfs */
	}
	leave_dirt();
	from = map(1, MAP_SHARED, plain);
	fill(from, 30);
	unmapped = map(1, MAP_SHARED, plain);
	to = map(2, ANONYMOUS, -1);
	if (uffd_register(uffd, to, 2 * HUGE_2M) || uffd_copy(uffd, to, from, HUGE_2M, NULL) ||
	    uffd_copy(uffd, to + HUGE_2M, unmapped, HUGE_2M, NULL)) {
		fail("errno", "UFFDIO_COPY: %s", strerror(errno));
	} else {
		is_copy(to, 30, ANYWHERE, 0, "UFFDIO_COPY");
		is_copy(to + HUGE_2M, 30, ANYWHERE, 0, "UFFDIO_COPY from what is not mapped yet");
	}
	munmap(to, 2 * HUGE_2M);
	munmap(from, HUGE_2M);
	munmap(unmapped, HUGE_2M);
	close(uffd);
	close(plain);
}

static void by_move(int flags, int fd, const char *what)
{
	char *p = map(1, flags, fd);
	int status, to, turn;

	fill(p, 40);
	for (turn = 0; turn < 2; turn++) {
		leave_dirt();
		to = nodes[page_node(p) == nodes[0]];
		if (move_page(0, p, to, MPOL_MF_MOVE, &status) || status != to)
			fail("errno", "%s: status %d", what, status);
		else
			count_add(moved, 1);
		is_copy(p, 40, ANYWHERE, 0, what);
	}
	munmap(p, HUGE_2M);
}

static void round_of(int turn)
{
	int fd = memfd(2);

	touched(ANONYMOUS, turn, "an anonymous page");
	touched(ANONYMOUS | MAP_NORESERVE, turn, "a page that was not reserved");
	touched(MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, turn, "a shared page");
	touched(ANONYMOUS | MAP_POPULATE, turn, "a page by MAP_POPULATE");
	written_by_kernel(turn);
	of_a_file(turn);
	dropped();
	on_write(ANONYMOUS, -1, turn, "a copy on write");
	on_write(MAP_PRIVATE, fd, turn, "a copy on write of a private mapping of a file");
	private_writes(turn);
	by_uffd();
	by_move(ANONYMOUS, -1, "a private page that was moved");
	by_move(MAP_SHARED, fd, "a page of a file that was moved");
	close(fd);
}

int main(int argc, char **argv)
{
	struct pool before;
	int turn = 0;

	repro_start(argc, argv);
	fresh = counter("fresh");
	copied = counter("copied");
	moved = counter("moved");
	two_nodes(nodes);
	catch_signals();
	pool_read(&before);
	do {
		round_of(turn++);
		pool_same(&before, "after a round");
	} while (running() && !failed());
	return repro_end();
}
