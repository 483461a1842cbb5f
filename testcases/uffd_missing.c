// SPDX-License-Identifier: GPL-2.0-only
/*
 * A fault on a missing page of a userfaultfd range sleeps with no lock held, until
 * somebody copies a page in, wakes it, or closes the descriptor.  By then the VMA
 * may be gone, and the file with its mapping.
 *
 *	CPU0 (faulter)				CPU1 (monitor)
 *
 *	hugetlb_no_page()
 *	  drops fault mutex, i_mmap_rwsem
 *	  handle_userfault() drops mmap_lock
 *	    sleeps				munmap(): VMA, file, inode, mapping go
 *						close(): wakes
 *	  must not touch the mapping
 *
 * Beside that, each answer of UFFDIO_COPY, with the reservations that it must leave
 * as they were, to a child that has inherited no registration, of several pages at once, for a page that the kernel looks up for another
 * call, and copies that race with a migration of the pages around them.
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
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES 3
#define OWNER 24

static struct counter *vanished, *copied, *refused, *raced, *stale, *moved, *waited, *forked;
static int nodes[2];
static char *source;

struct fault {
	char *page;
	struct caught caught;
	unsigned char value;
};

static void *fault(void *arg)
{
	struct fault *f = arg;

	touch_read(f->page, &f->value, &f->caught);
	return NULL;
}

static char *map(enum kind kind, int *fd)
{
	char *p;

	*fd = -1;
	if (kind == ANON)
		p = mmap(NULL, PAGES * HUGE_2M, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	else {
		*fd = huge_file("/dev/hugepages", PAGES * HUGE_2M);
		p = mmap(NULL, PAGES * HUGE_2M, PROT_READ | PROT_WRITE,
			 kind == PRIVATE_FILE ? MAP_PRIVATE : MAP_SHARED, *fd, 0);
	}
	if (p == MAP_FAILED)
		skip("mmap of %s: %s", kind_name(kind), strerror(errno));
	return p;
}

/* The mapping and its file go away under a waiting fault. */
static void vanish(enum kind kind)
{
	struct fault f;
	pthread_t thread;
	char *range;
	int fd, uffd;

	range = map(kind, &fd);
	uffd = uffd_over(range, PAGES * HUGE_2M);
	if (fd >= 0)
		close(fd);
	f.page = range + HUGE_2M;
	pthread_create(&thread, NULL, fault, &f);
	if (uffd_next(uffd, 2000) != f.page)
		fail("errno", "no message of the missing page");
	munmap(range, PAGES * HUGE_2M);
	usleep(20000);	/* inodes are freed after a grace period */
	close(uffd);
	pthread_join(thread, NULL);
	if (caught_is(&f.caught, f.page, SIGSEGV, SEGV_MAPERR, "mapping gone while it waited"))
		count_add(vanished, 1);
}

static void expect_copy(int uffd, char *to, const void *from, size_t bytes, int expected,
			const char *when)
{
	long n = 0;
	int err = uffd_copy(uffd, to, from, bytes, &n);

	if (err != expected || (err && n != -err) || (!err && n != (long)bytes))
		fail("errno", "UFFDIO_COPY %s: errno %d, copy %ld, expected errno %d", when, err, n,
		     expected);
	count_add(err ? refused : copied, 1);
}

/* Every answer of UFFDIO_COPY, and the reservations after it. */
static void answers(enum kind kind, const struct pool *before)
{
	struct fault f;
	pthread_t thread;
	char *range, *hole;
	struct pool now;
	int fd, uffd;

	range = map(kind, &fd);
	uffd = uffd_over(range, PAGES * HUGE_2M);
	pool_expect("resv_hugepages", before->resv + PAGES, "mapped");
	hole = mmap(NULL, HUGE_2M, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	f.page = range;
	pthread_create(&thread, NULL, fault, &f);
	if (uffd_next(uffd, 2000) != range)
		fail("errno", "no message of the missing page");
	expect_copy(uffd, range, source, HUGE_2M, 0, "of a missing page");
	pthread_join(thread, NULL);
	caught_is(&f.caught, range, 0, 0, "page copied in");
	pattern_check(range, HUGE_2M, OWNER, 0);
	pool_expect("resv_hugepages", before->resv + PAGES - 1, "one copied");

	expect_copy(uffd, range, source, HUGE_2M, EEXIST, "of a page that is there");
	expect_copy(uffd, range + HUGE_2M, source, 4096, EINVAL, "of a base page");
	expect_copy(uffd, range + HUGE_2M, hole, HUGE_2M, EFAULT, "from nowhere");
	pool_read(&now);
	if (now.resv > before->resv + PAGES - 1 || now.resv < before->resv + PAGES - 2)
		fail("counters", "resv_hugepages %ld after a copy that failed, of %d mapped", now.resv,
		     PAGES);
	expect_copy(uffd, range + HUGE_2M, source, HUGE_2M, 0, "after one that failed");
	pattern_check(range + HUGE_2M, HUGE_2M, OWNER, 0);
	munmap(hole, HUGE_2M);
	close(uffd);
	munmap(range, PAGES * HUGE_2M);
	if (fd >= 0)
		close(fd);
	pool_same(before, "after the answers of UFFDIO_COPY");
}

/*
 * Nothing is promised: the page that a copy takes makes a promise of its own, which a copy that
 * fails has to take back, from the file and from the limit of its mount (21205bf8f77b).
 */
static void unreserved(int flags, const struct pool *before)
{
	const char *folder = mount_huge("pagesize=2M,size=8M");
	int fd = folder ? huge_file(folder, PAGES * HUGE_2M) : -1, uffd, err;
	struct statfs fs = { 0 };
	char *range, *hole;

	range = mmap(NULL, PAGES * HUGE_2M, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE, fd, 0);
	hole = mmap(NULL, HUGE_2M, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (range == MAP_FAILED)
		skip("mmap of a file of a mount with size=: %s", strerror(errno));
	uffd = uffd_over(range, PAGES * HUGE_2M);
	pool_expect("resv_hugepages", before->resv, "mapped without a promise");
	expect_copy(uffd, range + HUGE_2M, hole, HUGE_2M, EFAULT, "from nowhere, nothing promised");
	expect_copy(uffd, range + 2 * HUGE_2M, hole, HUGE_2M, EFAULT, "from nowhere, nothing promised");
	pool_check("after copies that failed, nothing promised");
	expect_copy(uffd, range + HUGE_2M, source, HUGE_2M, 0, "after one that failed");
	pattern_check(range + HUGE_2M, HUGE_2M, OWNER, 0);
	close(uffd);
	munmap(hole, HUGE_2M);
	munmap(range, PAGES * HUGE_2M);
	close(fd);
	statfs(folder, &fs);
	if (fs.f_bfree != fs.f_blocks)
		fail("counters", "statfs of the mount: %ld of %ld pages free after copies that failed",
		     (long)fs.f_bfree, (long)fs.f_blocks);
	err = umount_huge(folder);
	if (err)
		fail("errno", "umount: %s", strerror(err));
	pool_same(before, "after copies that failed, nothing promised");
}

/* What is copied into a mapping that may only be read now may not be written either. */
static void read_only(enum kind kind, const struct pool *before)
{
	struct caught caught;
	char *range;
	int fd, uffd;

	range = map(kind, &fd);
	uffd = uffd_over(range, PAGES * HUGE_2M);
	mprotect(range + HUGE_2M, HUGE_2M, PROT_READ);
	expect_copy(uffd, range + HUGE_2M, source, HUGE_2M, 0, "of a page that may only be read");
	touch_write(range + HUGE_2M + 64, 1, &caught);
	caught_is(&caught, range + HUGE_2M, SIGSEGV, SEGV_ACCERR, "a copy that may only be read");
	mprotect(range + HUGE_2M, HUGE_2M, PROT_READ | PROT_WRITE);
	pattern_check(range + HUGE_2M, HUGE_2M, OWNER, 0);
	touch_write(range + HUGE_2M, 1, &caught);
	caught_is(&caught, range + HUGE_2M, 0, 0, "a copy that may be written again");
	close(uffd);
	munmap(range, PAGES * HUGE_2M);
	if (fd >= 0)
		close(fd);
	pool_same(before, "after a copy that may only be read");
}

/* Beyond the end of a file, as a truncation left it. */
static void beyond(const struct pool *before)
{
	char *range;
	int fd, uffd;

	range = map(SHARED_FILE, &fd);
	uffd = uffd_over(range, PAGES * HUGE_2M);
	if (ftruncate(fd, HUGE_2M))
		fail("errno", "ftruncate: %s", strerror(errno));
	expect_copy(uffd, range + HUGE_2M, source, HUGE_2M, EFAULT, "beyond the end");
	expect_copy(uffd, range, source, HUGE_2M, 0, "before the end");
	close(uffd);
	munmap(range, PAGES * HUGE_2M);
	close(fd);
	pool_same(before, "after a copy beyond the end");
}

/* Several pages in one call, each from its own place; it ends at the first that is there. */
static void several(enum kind kind, const struct pool *before)
{
	char *range, *from;
	int fd, uffd, err;
	long n = 0;

	from = mmap(NULL, 2 * HUGE_2M, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (from == MAP_FAILED)
		skip("4 MiB: %s", strerror(errno));
	pattern_write(from, HUGE_2M, OWNER + 1, 0);
	pattern_write(from + HUGE_2M, HUGE_2M, OWNER + 2, 0);
	range = map(kind, &fd);
	uffd = uffd_over(range, PAGES * HUGE_2M);
	expect_copy(uffd, range, from, 2 * HUGE_2M, 0, "of two pages");
	if (pattern_check(range, HUGE_2M, OWNER + 1, 0) ||
	    pattern_check(range + HUGE_2M, HUGE_2M, OWNER + 2, 0))
		fail("data", "UFFDIO_COPY of two pages");
	pool_expect("resv_hugepages", before->resv + 1, "two copied at once");
	expect_copy(uffd, range + HUGE_2M, from, 2 * HUGE_2M, EEXIST, "of a page that is there, and one");
	pool_expect("resv_hugepages", before->resv + 1, "none copied");
	close(uffd);
	munmap(range, PAGES * HUGE_2M);
	if (fd >= 0)
		close(fd);

	range = map(kind, &fd);
	uffd = uffd_over(range, PAGES * HUGE_2M);
	expect_copy(uffd, range + HUGE_2M, source, HUGE_2M, 0, "of the second page");
	err = uffd_copy(uffd, range, from, 2 * HUGE_2M, &n);
	if (err != EAGAIN || n != (long)HUGE_2M)
		fail("errno", "UFFDIO_COPY of two pages, the second is there: errno %d, copy %ld", err, n);
	if (pattern_check(range, HUGE_2M, OWNER + 1, 0) ||
	    pattern_check(range + HUGE_2M, HUGE_2M, OWNER, 0))
		fail("data", "UFFDIO_COPY of two pages, the second is there");
	pool_expect("resv_hugepages", before->resv + 1, "one of two copied");
	close(uffd);
	munmap(range, PAGES * HUGE_2M);
	if (fd >= 0)
		close(fd);
	munmap(from, 2 * HUGE_2M);
	pool_same(before, "after copies of several pages");
}

struct look {
	char *page, buf[64];
	ssize_t got;
	int err;
};

static void *look_up(void *arg)
{
	struct look *l = arg;
	struct iovec local = { l->buf, sizeof(l->buf) }, remote = { l->page + 4096, sizeof(l->buf) };

	l->got = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
	l->err = errno;
	return NULL;
}

/* Not the program, the kernel finds the page missing, as it looks it up for somebody. */
static void looked_up(enum kind kind, const struct pool *before)
{
	pthread_t thread;
	struct look l;
	char *range;
	int fd, uffd;

	range = map(kind, &fd);
	uffd = uffd_over(range, PAGES * HUGE_2M);
	memset(&l, 0xee, sizeof(l));
	l.page = range + HUGE_2M;
	pthread_create(&thread, NULL, look_up, &l);
	if (uffd_next(uffd, 2000) != l.page)
		fail("errno", "no message of a missing page that process_vm_readv() looks up");
	expect_copy(uffd, l.page, source, HUGE_2M, 0, "of a page that is looked up");
	pthread_join(thread, NULL);
	if (l.got != (ssize_t)sizeof(l.buf))
		fail("errno", "process_vm_readv() of a page that was missing: %zd, %s", l.got,
		     strerror(l.err));
	else if (memcmp(l.buf, source + 4096, sizeof(l.buf)))
		fail("data", "process_vm_readv() of a page that was missing");
	else
		count_add(waited, 1);
	close(uffd);
	munmap(range, PAGES * HUGE_2M);
	if (fd >= 0)
		close(fd);
	pool_same(before, "after a missing page that was looked up");
}

/* A child has the pages, and nobody to ask for those that are missing: they are zero to it. */
static void inherited(enum kind kind, const struct pool *before)
{
	struct fault f;
	pthread_t thread;
	char *range;
	int fd, uffd, tries;
	pid_t pid;

	range = map(kind, &fd);
	uffd = uffd_over(range, PAGES * HUGE_2M);
	expect_copy(uffd, range, source, HUGE_2M, 0, "before a fork");
	pid = fork();
	if (!pid) {
		close(uffd);
		pattern_check(range, HUGE_2M, OWNER, 0);
		f.value = 1;
		touch_read(range + HUGE_2M, &f.value, &f.caught);
		if (!caught_is(&f.caught, range + HUGE_2M, 0, 0, "a child's missing page"))
			_exit(0);
		if (f.value)
			fail("data", "a child's missing page reads %u", f.value);
		_exit(0);
	}
	for (tries = 0; tries < 1000 && !waitpid(pid, NULL, WNOHANG); tries++)
		usleep(10000);
	if (tries == 1000) {
		fail("hang", "a child waits for a missing page of its parent's userfaultfd");
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	/* Its parent is asked as before; of a file the child's page is there by now. */
	f.page = range + (kind_shared(kind) ? 2 : 1) * HUGE_2M;
	pthread_create(&thread, NULL, fault, &f);
	if (uffd_next(uffd, 2000) != f.page)
		fail("errno", "no message of a missing page after a fork");
	expect_copy(uffd, f.page, source, HUGE_2M, 0, "after a fork");
	pthread_join(thread, NULL);
	pattern_check(f.page, HUGE_2M, OWNER, 0);
	count_add(forked, 1);
	close(uffd);
	munmap(range, PAGES * HUGE_2M);
	if (fd >= 0)
		close(fd);
	pool_same(before, "after a fork of a userfaultfd range");
}

struct race {
	int uffd, stop, done;
	char *range;
};

static void *mover(void *arg)
{
	struct race *r = arg;
	int status, turn = 0;
	size_t i;

	for (; !__atomic_load_n(&r->stop, __ATOMIC_RELAXED); turn++)
		for (i = 0; i < PAGES; i++) {
			int to = nodes[turn % 2];

			if (!move_page(0, r->range + i * HUGE_2M, to, MPOL_MF_MOVE, &status) &&
			    status == to)
				count_add(moved, 1);
		}
	return NULL;
}

static void *reader(void *arg)
{
	struct race *r = arg;
	size_t i;

	for (i = 0; i < PAGES; i++)
		pattern_check(r->range + i * HUGE_2M, HUGE_2M, OWNER, 0);
	__atomic_store_n(&r->done, 1, __ATOMIC_RELEASE);
	return NULL;
}

/* Pages are copied in under a reader, while those that are there migrate. */
static void race(enum kind kind, const struct pool *before)
{
	struct race r = { .stop = 0 };
	pthread_t threads[2];
	int fd, err, tries;
	char *page;

	r.range = map(kind, &fd);
	r.uffd = uffd_over(r.range, PAGES * HUGE_2M);
	pthread_create(&threads[0], NULL, mover, &r);
	pthread_create(&threads[1], NULL, reader, &r);
	for (tries = 0; !__atomic_load_n(&r.done, __ATOMIC_ACQUIRE) && tries < 200; ) {
		page = uffd_next(r.uffd, 50);
		if (!page) {
			tries++;
			continue;
		}
		err = uffd_copy(r.uffd, page, source, HUGE_2M, NULL);
		/*
		 * Until 6.1 a fault that finds the entry cleared, for the moment of the
		 * migration, tells of a missing page that is none.
		 */
		if (err == EEXIST) {
			count_add(stale, 1);
			uffd_wake(r.uffd, page, HUGE_2M);
		} else if (err) {
			fail("errno", "UFFDIO_COPY beside a migration: %s", strerror(err));
			break;
		} else {
			count_add(raced, 1);
		}
	}
	if (tries == 200)
		fail("hang", "the reader of a userfaultfd range did not end");
	pthread_join(threads[1], NULL);
	__atomic_store_n(&r.stop, 1, __ATOMIC_RELAXED);
	pthread_join(threads[0], NULL);
	reader(&r);
	close(r.uffd);
	munmap(r.range, PAGES * HUGE_2M);
	if (fd >= 0)
		close(fd);
	pool_same(before, "after copies beside a migration");
}

int main(int argc, char **argv)
{
	struct pool before;

	repro_start(argc, argv);
	vanished = counter("vanished");
	copied = counter("copied");
	refused = counter("refused");
	raced = counter("raced");
	stale = counter("stale");
	waited = counter("waited");
	forked = counter("forked");
	moved = counter("moved");
	two_nodes(nodes);
	catch_signals();
	pool_read(&before);
	source = mmap(NULL, HUGE_2M, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pattern_write(source, HUGE_2M, OWNER, 0);
	do {
		vanish(SHARED_FILE);
		vanish(ANON);
		answers(SHARED_FILE, &before);
		answers(ANON, &before);
		answers(PRIVATE_FILE, &before);
		read_only(SHARED_FILE, &before);
		read_only(ANON, &before);
		unreserved(MAP_SHARED, &before);
		unreserved(MAP_PRIVATE, &before);
		beyond(&before);
		several(SHARED_FILE, &before);
		several(ANON, &before);
		inherited(SHARED_FILE, &before);
		inherited(ANON, &before);
		looked_up(MEMFD, &before);
		looked_up(ANON, &before);
		race(SHARED_FILE, &before);
		race(ANON, &before);
	} while (running() && !failed());
	return repro_end();
}
