// SPDX-License-Identifier: GPL-2.0-only
/*
 * What must be refused, with the errno that it is refused with, and without a trace:
 * addresses, lengths and offsets that are no whole huge pages, calls that know only
 * base pages, and nodes and pages that there are not.  The mapping is migrated before
 * and after, and keeps its data.
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
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES 2
#define OWNER 29

static struct counter *refused, *moved;
static int nodes[2];

/* result: what the call returned; err: what must have come of it, or other_err. */
static void expect2(long result, int err, int other_err, const char *what)
{
	if (result != -1)
		fail("errno", "%s succeeded, expected %s", what, strerror(err));
	else if (errno != err && errno != other_err)
		fail("errno", "%s: %s, expected %s", what, strerror(errno), strerror(err));
	else
		count_add(refused, 1);
}

static void expect(long result, int err, const char *what)
{
	expect2(result, err, err, what);
}

static void move(struct huge *h)
{
	int status, to = nodes[page_node(h->addr) == nodes[0]];

	if (!move_page(0, h->addr, to, MPOL_MF_MOVE, &status) && status == to)
		count_add(moved, 1);
	else
		fail("errno", "move after refusals: status %d", status);
	huge_check(h, OWNER, "after refusals");
}

static void addresses(struct huge *h)
{
	char *p = h->addr;
	void *q;

	expect(munmap(p + 4096, 4096), EINVAL, "munmap of a base page");
	expect(munmap(p, HUGE_2M + 4096), EINVAL, "munmap to within a huge page");
	expect(mprotect(p + 4096, 4096, PROT_READ), EINVAL, "mprotect of a base page");
	expect(mprotect(p, HUGE_2M / 2, PROT_READ), EINVAL, "mprotect of half a huge page");
	/* A policy of part of a huge page splits the VMA: 6.x rounds to whole pages. */
	q = mmap(p + 4096, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	expect2(q == MAP_FAILED ? -1 : 0, EINVAL, ENOMEM, "MAP_FIXED over a base page of a huge page");
	/* 5.16 can, and rounds half a page up to a whole one. */
	if (!kernel_since(5, 16)) {
		q = mremap(p, PAGES * HUGE_2M, (PAGES + 1) * HUGE_2M, MREMAP_MAYMOVE);
		expect2(q == MAP_FAILED ? -1 : 0, EINVAL, EINVAL, "mremap before 5.16");
		q = mremap(p, HUGE_2M / 2, HUGE_2M, MREMAP_MAYMOVE);
		expect2(q == MAP_FAILED ? -1 : 0, EINVAL, EINVAL, "mremap of half a huge page");
	}
	expect(madvise(p + 1, HUGE_2M, MADV_DONTNEED), EINVAL, "madvise at an odd address");
	if (!kind_shared(h->kind) && !kernel_since(5, 18))
		expect(madvise(p, HUGE_2M, MADV_DONTNEED), EINVAL, "MADV_DONTNEED before 5.18");
	expect(madvise(p, HUGE_2M, MADV_FREE), EINVAL, "MADV_FREE");
	if (!kind_shared(h->kind))
		expect2(madvise(p, HUGE_2M, MADV_REMOVE), EINVAL, EACCES, "MADV_REMOVE of a private mapping");
	expect2(madvise(p, HUGE_2M, 14 /* MADV_HUGEPAGE */), EINVAL, EINVAL, "MADV_HUGEPAGE");
}

static void files(struct huge *h)
{
	char c = 0;
	void *q;

	if (h->fd < 0)
		return;
	q = mmap(NULL, HUGE_2M, PROT_READ, MAP_SHARED, h->fd, 4096);
	expect2(q == MAP_FAILED ? -1 : 0, EINVAL, EINVAL, "mmap at the offset of a base page");
	expect(ftruncate(h->fd, 4096), EINVAL, "ftruncate to a base page");
	expect(fallocate(h->fd, 0x08 /* FALLOC_FL_COLLAPSE_RANGE */, 0, HUGE_2M), EOPNOTSUPP,
	       "FALLOC_FL_COLLAPSE_RANGE");
	expect2(write(h->fd, &c, 1), EINVAL, EINVAL, "write() of a hugetlbfs file");
}

/* What each seal refuses, and what it does not; a file of 2 pages stays one. */
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

static void expect_file(int fd, int size, int pages, const char *when)
{
	struct stat st = { 0 };

	fstat(fd, &st);
	if (st.st_size != size * (long)HUGE_2M || st.st_blocks != pages * (long)(HUGE_2M / 512))
		fail("counters", "%s: st_size %ld, st_blocks %ld, expected %d and %d pages", when,
		     (long)st.st_size, (long)st.st_blocks, size, pages);
}

/* done: what a call returned; it must have been refused with EPERM, or have succeeded. */
static void sealed(int done, int refuse, const char *what, const char *seal)
{
	char text[100];

	snprintf(text, sizeof(text), "%s under %s", what, seal);
	if (refuse)
		expect(done, EPERM, text);
	else if (done)
		fail("errno", "%s: %s", text, strerror(errno));
}

static int map_fails(int fd, int prot, int flags)
{
	char *p = mmap(NULL, HUGE_2M, prot, flags, fd, 0);

	if (p == MAP_FAILED)
		return -1;
	if (p[0] != 7)
		fail("data", "a sealed file has lost what was in it");
	if (flags == MAP_PRIVATE && prot & PROT_WRITE)
		p[0] = 8;	/* its own copy */
	munmap(p, HUGE_2M);
	return 0;
}

static void each_seal(int seal, const char *name)
{
	int fd = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING | 4U /* MFD_HUGETLB */ |
			      21U << 26), write = seal & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE);
	char *p, *q, c = 0;

	if (fd < 0 || ftruncate(fd, 2 * HUGE_2M))
		return;
	p = mmap(NULL, HUGE_2M, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		close(fd);
		return;
	}
	p[0] = 7;
	if (seal == F_SEAL_WRITE) {
		expect(fcntl(fd, F_ADD_SEALS, seal), EBUSY, "F_SEAL_WRITE of what is mapped writable");
		munmap(p, HUGE_2M);
	}
	if (fcntl(fd, F_ADD_SEALS, seal) || fcntl(fd, F_GET_SEALS) != seal)
		fail("errno", "%s is told as 0x%x", name, fcntl(fd, F_GET_SEALS));
	sealed(ftruncate(fd, 2 * HUGE_2M), 0, "ftruncate to the same", name);
	sealed(ftruncate(fd, 3 * HUGE_2M), seal == F_SEAL_GROW, "ftruncate to more", name);
	sealed(ftruncate(fd, 2 * HUGE_2M), seal == F_SEAL_SHRINK, "ftruncate to less", name);
	expect_file(fd, seal == F_SEAL_SHRINK ? 3 : 2, 1, name);
	sealed(fallocate(fd, 0, HUGE_2M, HUGE_2M), 0, "fallocate within the size", name);
	sealed(fallocate(fd, 0, HUGE_2M, 3 * HUGE_2M), seal == F_SEAL_GROW, "fallocate beyond the size",
	       name);
	sealed(fallocate(fd, FALLOC_FL_KEEP_SIZE, 4 * HUGE_2M, HUGE_2M), seal == F_SEAL_GROW,
	       "fallocate beyond the size, which is kept", name);
	expect_file(fd, seal == F_SEAL_GROW ? 2 : 4, seal == F_SEAL_GROW ? 2 : 5, name);
	sealed(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, HUGE_2M, HUGE_2M), write,
	       "a hole", name);
	expect_file(fd, seal == F_SEAL_GROW ? 2 : 4, (seal == F_SEAL_GROW ? 2 : 5) - !write, name);
	sealed(map_fails(fd, PROT_READ | PROT_WRITE, MAP_SHARED), write, "a writable mapping", name);
	sealed(map_fails(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE), 0, "a private mapping", name);
	if (seal != F_SEAL_WRITE) {	/* before 6.7 refused, for it could become writable */
		q = mmap(NULL, HUGE_2M, PROT_READ, MAP_SHARED, fd, 0);
		sealed(q == MAP_FAILED ? -1 : 0, 0, "a mapping to read", name);
		if (write)
			expect(mprotect(q, HUGE_2M, PROT_READ | PROT_WRITE), EACCES,
			       "mprotect of a mapping to read under F_SEAL_FUTURE_WRITE");
		else
			sealed(mprotect(q, HUGE_2M, PROT_READ | PROT_WRITE), 0, "mprotect", name);
		munmap(q, HUGE_2M);
		p[1] = 9;		/* what was mapped before may go on */
		if (pread(fd, &c, 1, 1) != 1 || c != 9)
			fail("data", "%s: a write of a mapping from before is lost", name);
		munmap(p, HUGE_2M);
	}
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL))
		fail("errno", "F_SEAL_SEAL: %s", strerror(errno));
	expect(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), EPERM, "a seal after F_SEAL_SEAL");
	close(fd);
}

static void seals(void)
{
	int fd = memfd_create("unsealed", MFD_CLOEXEC | 4U | 21U << 26);

	each_seal(F_SEAL_SHRINK, "F_SEAL_SHRINK");
	each_seal(F_SEAL_GROW, "F_SEAL_GROW");
	each_seal(F_SEAL_WRITE, "F_SEAL_WRITE");
	each_seal(F_SEAL_FUTURE_WRITE, "F_SEAL_FUTURE_WRITE");
	if (fd >= 0)
		expect(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), EPERM, "a seal of what may not be sealed");
	close(fd);
}

static volatile sig_atomic_t too_large;

static void on_sigxfsz(int sig)
{
	(void)sig;
	too_large++;
}

/* A mapping makes its file longer where it may write, and reaches no further where it may not. */
static void longer_than_the_file(void)
{
	static const int flags[] = { MAP_SHARED, MAP_PRIVATE };
	struct caught caught;
	unsigned char v;
	int fd, i;
	char *p;

	for (i = 0; i < 2; i++) {
		fd = huge_file("/dev/hugepages", HUGE_2M);
		p = mmap(NULL, 2 * HUGE_2M, PROT_READ, flags[i], fd, 0);
		if (p == MAP_FAILED) {
			fail("errno", "a mapping to read, longer than its file: %s", strerror(errno));
			return;
		}
		expect_file(fd, 1, 0, "a mapping to read, longer than its file");
		touch_read(p + HUGE_2M, &v, &caught);
		if (caught_is(&caught, p + HUGE_2M, SIGBUS, BUS_ADRERR, "beyond the file"))
			count_add(refused, 1);
		munmap(p, 2 * HUGE_2M);
		p = mmap(NULL, 2 * HUGE_2M, PROT_READ | PROT_WRITE, flags[i], fd, 0);
		if (p != MAP_FAILED) {
			expect_file(fd, 2, 0, "a mapping to write, longer than its file");
			munmap(p, 2 * HUGE_2M);
		}
		close(fd);
	}
}

/* RLIMIT_FSIZE holds for what makes a file grow, pages beyond its size included. */
static void size_limit(void)
{
	struct rlimit limit = { 2 * HUGE_2M, RLIM_INFINITY };
	int fd = huge_file("/dev/hugepages", 4 * HUGE_2M), status = 0;
	pid_t pid = fork();

	if (!pid) {
		signal(SIGXFSZ, on_sigxfsz);
		setrlimit(RLIMIT_FSIZE, &limit);
		/* Above the limit, but less than there was. */
		if (ftruncate(fd, 3 * HUGE_2M))
			fail("errno", "ftruncate to less, above RLIMIT_FSIZE: %s", strerror(errno));
		expect(ftruncate(fd, 4 * HUGE_2M), EFBIG, "ftruncate above RLIMIT_FSIZE");
		expect(fallocate(fd, 0, 3 * HUGE_2M, HUGE_2M), EFBIG, "fallocate above RLIMIT_FSIZE");
		if (too_large != 2)
			fail("signal", "SIGXFSZ came %d times for 2 refusals", (int)too_large);
		expect_file(fd, 3, 0, "RLIMIT_FSIZE");
		if (ftruncate(fd, HUGE_2M))
			fail("errno", "ftruncate below RLIMIT_FSIZE: %s", strerror(errno));
		expect(fallocate(fd, FALLOC_FL_KEEP_SIZE, HUGE_2M, 2 * HUGE_2M), EFBIG,
		       "fallocate above RLIMIT_FSIZE, size kept");
		expect_file(fd, 1, 0, "RLIMIT_FSIZE, size kept");
		if (fallocate(fd, 0, 0, 2 * HUGE_2M))
			fail("errno", "fallocate up to RLIMIT_FSIZE: %s", strerror(errno));
		expect_file(fd, 2, 2, "up to RLIMIT_FSIZE");
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (status)
		fail("signal", "a process with RLIMIT_FSIZE ended with status 0x%x", status);
	close(fd);
}

/*
 * Pages of 1 GiB where there are none: whatever is asked of them is measured by 1 GiB, not by
 * the size that is the default, and what is refused takes nothing of another pool.
 */
#define HUGE_FLAG_1G (30 << 26)		/* MAP_HUGE_1GB, MFD_HUGE_1GB, SHM_HUGE_1GB */

static void untouchable(char *p, const char *what)
{
	struct caught caught;

	touch_write(p + HUGE_2M, 1, &caught);
	if (caught.sig == SIGBUS && caught.code == BUS_ADRERR)
		count_add(refused, 1);
	else
		fail("signal", "%s: a touch is answered by signal %d, code %d", what, caught.sig,
		     caught.code);
}

static void file_of_gigantic(int fd, const char *what)
{
	struct stat st = { 0 };
	char *p, *q;
	int uffd;

	fstat(fd, &st);
	if (st.st_blksize != (long)HUGE_1G)
		fail("counters", "%s: st_blksize %ld", what, (long)st.st_blksize);
	expect(ftruncate(fd, HUGE_2M), EINVAL, "ftruncate to part of 1 GiB");
	if (ftruncate(fd, 2 * HUGE_1G))
		fail("errno", "%s: ftruncate to 2 GiB: %s", what, strerror(errno));
	expect(fallocate(fd, 0, 0, HUGE_2M), ENOSPC, "fallocate of 1 GiB");
	q = mmap(NULL, HUGE_2M, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	expect2(q == MAP_FAILED ? -1 : 0, ENOMEM, ENOMEM, "a promise of 1 GiB");
	q = mmap(NULL, HUGE_2M, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	expect2(q == MAP_FAILED ? -1 : 0, ENOMEM, ENOMEM, "a private promise of 1 GiB");
	q = mmap(NULL, HUGE_1G, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, HUGE_2M);
	expect2(q == MAP_FAILED ? -1 : 0, EINVAL, EINVAL, "mmap at an offset within 1 GiB");
	/* Its length is rounded up to 1 GiB, and its address is a multiple of it. */
	p = mmap(NULL, HUGE_1G + HUGE_2M, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (p == MAP_FAILED) {
		fail("errno", "%s: mmap of 1 GiB without a promise: %s", what, strerror(errno));
		return;
	}
	if ((unsigned long)p % HUGE_1G)
		fail("errno", "%s: pages of 1 GiB at %p", what, (void *)p);
	untouchable(p + HUGE_1G, what);
	expect(munmap(p, HUGE_2M), EINVAL, "munmap of part of 1 GiB");
	expect(mprotect(p + HUGE_2M, HUGE_2M, PROT_READ), EINVAL, "mprotect of part of 1 GiB");
	if (mprotect(p + HUGE_1G, HUGE_1G, PROT_READ))
		fail("errno", "%s: mprotect of 1 GiB: %s", what, strerror(errno));
	uffd = uffd_open();
	if (uffd >= 0) {
		errno = uffd_register(uffd, p, HUGE_2M);
		expect(errno ? -1 : 0, EINVAL, "UFFDIO_REGISTER of part of 1 GiB");
		close(uffd);
	}
	if (munmap(p, 2 * HUGE_1G))
		fail("errno", "%s: munmap of 2 GiB: %s", what, strerror(errno));
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, HUGE_1G))
		fail("errno", "%s: a hole of 1 GiB: %s", what, strerror(errno));
}

static void gigantic(void)
{
	struct statfs fs = { 0 };
	const char *path;
	struct pool none;
	int fd, id;
	void *q;

	if (access("/sys/kernel/mm/hugepages/hugepages-1048576kB", F_OK))
		return;
	pool_use(HUGE_1G);
	pool_read(&none);
	pool_use(HUGE_2M);
	if (none.free)
		return;
	q = mmap(NULL, HUGE_2M, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | HUGE_FLAG_1G, -1, 0);
	expect2(q == MAP_FAILED ? -1 : 0, ENOMEM, ENOMEM, "MAP_HUGE_1GB of an empty pool");
	q = mmap(NULL, HUGE_2M, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB |
		 MAP_NORESERVE | HUGE_FLAG_1G, -1, 0);
	if (q == MAP_FAILED) {
		fail("errno", "MAP_HUGE_1GB without a promise: %s", strerror(errno));
	} else {
		untouchable(q, "MAP_HUGE_1GB");
		munmap(q, HUGE_1G);
	}
	id = shmget(IPC_PRIVATE, HUGE_2M, IPC_CREAT | SHM_HUGETLB | HUGE_FLAG_1G | 0600);
	expect(id < 0 ? -1 : 0, ENOMEM, "SHM_HUGE_1GB of an empty pool");
	fd = memfd_create("gigantic", MFD_CLOEXEC | 4U | HUGE_FLAG_1G);
	if (fd >= 0) {
		file_of_gigantic(fd, "MFD_HUGE_1GB");
		close(fd);
	}
	path = mount_huge("pagesize=1G,size=3G");
	statfs(path, &fs);
	if (fs.f_bsize != (long)HUGE_1G || fs.f_blocks != 3 || fs.f_bfree != 3)
		fail("counters", "a mount of 3 pages of 1 GiB: %ld of %ld blocks of %ld bytes free",
		     (long)fs.f_bfree, (long)fs.f_blocks, (long)fs.f_bsize);
	fd = huge_file(path, HUGE_1G);
	if (fd >= 0) {
		file_of_gigantic(fd, "pagesize=1G");
		close(fd);
	}
	statfs(path, &fs);
	if (fs.f_bfree != 3)
		fail("counters", "%ld of 3 pages of 1 GiB are left after refusals", (long)fs.f_bfree);
	if (umount_huge(path))
		fail("errno", "umount: %s", strerror(errno));
	pool_use(HUGE_1G);
	pool_same(&none, "pages of 1 GiB");
	pool_use(HUGE_2M);
}

/* Offsets whose end does not fit a file. */
static void far_off(void)
{
	int fd = huge_file("/dev/hugepages", HUGE_2M);
	unsigned long last = ~0UL >> 1 & ~(HUGE_2M - 1);
	void *q;

	if (fd < 0)
		return;
	q = (void *)syscall(SYS_mmap, NULL, 4 * HUGE_2M, PROT_READ, MAP_SHARED, fd, last);
	expect2(q == MAP_FAILED ? -1 : 0, EINVAL, EOVERFLOW, "mmap beyond the last offset");
	q = (void *)syscall(SYS_mmap, NULL, HUGE_2M, PROT_READ, MAP_SHARED, fd, ~(HUGE_2M - 1));
	expect2(q == MAP_FAILED ? -1 : 0, EINVAL, EOVERFLOW, "mmap at a negative offset");
	expect2(fallocate(fd, 0, last, 4 * HUGE_2M), EFBIG, EFBIG, "fallocate beyond the last offset");
	close(fd);
}

static void movers(struct huge *h)
{
	unsigned long mask = 1UL << 40;
	void *page = h->addr;
	int status, node = 63;
	long got;

	expect2(syscall(SYS_move_pages, 0, 1UL, &page, &node, &status, MPOL_MF_MOVE), ENODEV, EACCES,
		"move to a node that there is not");
	expect(syscall(SYS_move_pages, 0, 1UL, &page, &node, &status, 1 << 10), EINVAL,
	       "move_pages with an unknown flag");
	expect(syscall(SYS_mbind, h->addr, HUGE_2M, MPOL_BIND, &mask, 64UL, MPOL_MF_MOVE), EINVAL,
	       "mbind to a node that there is not");
	expect(syscall(SYS_mbind, h->addr + 1, HUGE_2M, MPOL_DEFAULT, NULL, 0UL, 0), EINVAL,
	       "mbind at an odd address");
	/* A page inside a huge page cannot be moved by itself; 6.x moves the whole. */
	page = h->addr + 4096;
	node = nodes[page_node(h->addr) == nodes[0]];
	status = NO_STATUS;
	got = syscall(SYS_move_pages, 0, 1UL, &page, &node, &status, MPOL_MF_MOVE);
	if (got < 0)
		fail("errno", "move of an inner page: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	static const enum kind kinds[] = { ANON, SHARED_FILE, MEMFD, SHM, PRIVATE_FILE };
	struct pool before;
	struct huge h;
	size_t i;

	repro_start(argc, argv);
	refused = counter("refused");
	moved = counter("moved");
	two_nodes(nodes);
	catch_signals();
	pool_read(&before);
	for (i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		if (huge_open(&h, kinds[i], HUGE_2M, PAGES, "/dev/hugepages", OWNER))
			skip("%d pages of %s", PAGES, kind_name(kinds[i]));
		move(&h);
		addresses(&h);
		files(&h);
		movers(&h);
		move(&h);
		huge_close(&h);
		pool_same(&before, "after refusals");
	}
	seals();
	longer_than_the_file();
	size_limit();
	far_off();
	gigantic();
	pool_same(&before, "after refusals of files");
	return repro_end();
}
