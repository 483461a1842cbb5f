// SPDX-License-Identifier: GPL-2.0-only
/*
 * A mount with size= or min_size= charges each page to its subpool, found by
 * page_private().  Whatever becomes of the page, the charge has to follow: a
 * migration hands it to the new page, a deletion gives it back, and a failure that
 * comes after the charge too.  statfs() and HugePages_Rsvd show each of them.
 *
 *	size=8M, 4 pages:	mmap 2	fault	move	back	delete
 *	f_bfree		 4	 2	 2	 2	 2	 4
 *
 * A charge that is lost in the move shows as 2 after the deletion, and as a mount
 * that is full with nothing in it some rounds later.
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
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES 4
#define OWNER 23

static struct counter *rounds, *moved, *private_busy, *full, *starved, *named;
static int nodes[2];

static void expect_free(const char *path, long pages, const char *when)
{
	struct statfs fs = { 0 };

	statfs(path, &fs);
	if ((long)fs.f_bfree != pages || (long)fs.f_bavail != pages || fs.f_blocks != PAGES)
		fail("counters", "%s: statfs of the mount: %ld of %ld pages free, expected %ld of %d",
		     when, (long)fs.f_bfree, (long)fs.f_blocks, pages, PAGES);
}

static void expect_blocks(int fd, long pages, const char *when)
{
	struct stat st = { 0 };

	fstat(fd, &st);
	if (st.st_blocks != pages * (long)(HUGE_2M / 512))
		fail("counters", "%s: st_blocks %ld, expected %ld pages", when, (long)st.st_blocks,
		     pages);
}

/* There and back; how many pages arrived. */
static int move_all(struct huge *h)
{
	int status, turn, done = 0;
	size_t i;
	long got;

	for (i = 0; i < h->n; i++) {
		char *page = h->addr + i * HUGE_2M;
		int first = page_node(page) == nodes[0];

		for (turn = 0; turn < 2; turn++, first = !first) {
			got = move_page(0, page, nodes[first], MPOL_MF_MOVE, &status);
			if (!got && status == nodes[first] && page_node(page) == nodes[first])
				done++;
			else if (kind_shared(h->kind) && got != -EAGAIN)
				fail("errno", "move of a page of the mount: %ld, status %d", got,
				     status);
			else
				count_add(private_busy, 1);
		}
	}
	return done;
}

/* A shared file from its birth to its end, with a move in between. */
static void shared_file(const char *path, enum kind kind)
{
	struct huge h;
	int err;

	expect_free(path, PAGES, "before a file");
	err = huge_open(&h, kind, HUGE_2M, 2, path, OWNER);
	if (err) {
		fail("errno", "%s of 2 pages on a mount of %d: %s", kind_name(kind), PAGES,
		     strerror(err));
		return;
	}
	expect_free(path, PAGES - 2, "file in use");
	expect_blocks(h.fd, 2, "file in use");
	count_add(moved, move_all(&h));
	expect_free(path, PAGES - 2, "after moves");
	expect_blocks(h.fd, 2, "after moves");
	huge_check(&h, OWNER, "after moves");
	huge_close(&h);
	expect_free(path, PAGES, "after the file's end");
}

/* A copy is a page more, whoever makes it; where there is no more it is refused. */
static void copies(const char *path, struct huge *h)
{
	struct caught caught;
	int i, status, pipes[2], fd = -1;
	pid_t pid;

	for (i = 0; i < 2; i++) {
		if (i) {
			fd = huge_file(path, 2 * HUGE_2M);
			if (fallocate(fd, 0, 0, 2 * HUGE_2M))
				fail("errno", "the last 2 pages: %s", strerror(errno));
		}
		pid = fork();
		if (!pid) {
			touch_write(h->addr, 7, &caught);
			caught_is(&caught, h->addr, i ? SIGBUS : 0, i ? BUS_ADRERR : 0,
				  i ? "a child's copy on a full mount" : "a child's copy");
			expect_free(path, i ? 0 : 1, "a child's copy");
			_exit(0);
		}
		waitpid(pid, &status, 0);
		expect_free(path, i ? 0 : 2, "the child is gone");
		if (i)
			close(fd);
	}
	/* The child has the page, the parent the copy. */
	if (pipe(pipes))
		return;
	pid = fork();
	if (!pid) {
		close(pipes[1]);
		_exit(read(pipes[0], &i, 1) < 0);
	}
	pattern_write(h->addr + HUGE_2M, HUGE_2M, OWNER, 0);
	expect_free(path, 1, "the parent's copy");
	close(pipes[0]);
	close(pipes[1]);
	waitpid(pid, &status, 0);
	expect_free(path, 2, "the child is gone, the parent has its copy");
}

/* A private mapping of a file: its pages may be refused, never lost. */
static void private_file(const char *path)
{
	struct huge h;

	if (huge_open(&h, PRIVATE_FILE, HUGE_2M, 2, path, OWNER))
		return;
	expect_free(path, PAGES - 2, "private mapping in use");
	count_add(moved, move_all(&h));
	expect_free(path, PAGES - 2, "private mapping after moves");
	huge_check(&h, OWNER, "private mapping after moves");
	copies(path, &h);
	huge_check(&h, OWNER, "private mapping after copies");
	huge_close(&h);
	expect_free(path, PAGES, "after the private mapping's end");
}

/* One page more than there is: refused by mmap(), fallocate() and by a fault. */
static void overfull(const char *path)
{
	struct caught caught;
	struct huge h;
	char *more;
	int fd;

	if (huge_open(&h, SHARED_FILE, HUGE_2M, PAGES, path, OWNER)) {
		fail("errno", "the mount does not take its %d pages", PAGES);
		return;
	}
	expect_free(path, 0, "full");
	fd = huge_file(path, HUGE_2M);
	more = mmap(NULL, HUGE_2M, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (more != MAP_FAILED || errno != ENOMEM)
		fail("errno", "mmap on a full mount: %s", more == MAP_FAILED ? strerror(errno) :
		     "succeeded");
	if (!fallocate(fd, 0, 0, HUGE_2M) || errno != ENOSPC)
		fail("errno", "fallocate on a full mount: %s", strerror(errno));
	more = mmap(NULL, HUGE_2M, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (more == MAP_FAILED) {
		fail("errno", "MAP_NORESERVE on a full mount: %s", strerror(errno));
	} else {
		touch_write(more, 1, &caught);
		caught_is(&caught, more, SIGBUS, BUS_ADRERR, "fault on a full mount");
		munmap(more, HUGE_2M);
	}
	expect_free(path, 0, "full, after refusals");
	expect_blocks(fd, 0, "refused file");
	close(fd);
	move_all(&h);
	huge_check(&h, OWNER, "full mount after moves");
	huge_close(&h);
	expect_free(path, PAGES, "emptied");
	count_add(full, 1);
}

/*
 * The mount would have the pages, and the pool has not: the charge comes first, and has to
 * go again when mmap(), a fault or fallocate() is refused for want of pages.
 */
static void empty_pool(const char *path)
{
	static const int flags[] = { MAP_SHARED, MAP_PRIVATE };
	struct caught caught;
	struct pool all;
	int fd, i, turn;
	char *p;

	pool_read(&all);
	pool_empty(&all, 1);
	for (i = 0; i < 2; i++) {
		fd = huge_file(path, 3 * HUGE_2M);
		for (turn = 0; turn < 2; turn++) {
			p = mmap(NULL, 3 * HUGE_2M, PROT_READ | PROT_WRITE, flags[i], fd, 0);
			if (p != MAP_FAILED || errno != ENOMEM)
				fail("errno", "mmap of 3 pages, 1 in the pool: %s",
				     p == MAP_FAILED ? strerror(errno) : "succeeded");
			expect_free(path, PAGES, "mmap found no pages in the pool");
		}
		p = mmap(NULL, 3 * HUGE_2M, PROT_READ | PROT_WRITE, flags[i] | MAP_NORESERVE, fd,
			 0);
		if (p == MAP_FAILED) {
			fail("errno", "MAP_NORESERVE of 3 pages: %s", strerror(errno));
		} else {
			p[0] = 1;
			expect_free(path, PAGES - 1, "the only page of the pool");
			touch_write(p + HUGE_2M, 1, &caught);
			if (caught_is(&caught, p + HUGE_2M, SIGBUS, BUS_ADRERR,
				      "fault with an empty pool"))
				count_add(starved, 1);
			if (!fallocate(fd, 0, HUGE_2M, HUGE_2M) || errno != ENOSPC)
				fail("errno", "fallocate with an empty pool: %s", strerror(errno));
			expect_free(path, PAGES - 1, "a fault found no page in the pool");
			munmap(p, 3 * HUGE_2M);
		}
		close(fd);
		expect_free(path, PAGES, "after refusals for want of pages");
	}
	pool_restore(&all);
}

/* min_size= holds a reservation from the mount on; it is used, and comes back. */
static void minimum(const struct pool *before)
{
	const char *path = mount_huge("pagesize=2M,min_size=4M");
	struct huge h;
	int err;

	pool_expect("resv_hugepages", before->resv + 2, "min_size mount");
	err = huge_open(&h, SHARED_FILE, HUGE_2M, 2, path, OWNER);
	if (err)
		fail("errno", "2 pages of min_size=4M: %s", strerror(err));
	else {
		pool_expect("resv_hugepages", before->resv, "min_size used");
		count_add(moved, move_all(&h));
		huge_check(&h, OWNER, "min_size after moves");
		huge_close(&h);
	}
	pool_expect("resv_hugepages", before->resv + 2, "min_size given back");
	err = umount_huge(path);
	if (err)
		fail("errno", "umount of the min_size mount: %s", strerror(err));
	pool_same(before, "after the min_size mount");
}

/* A private mapping of more than the minimum, one page of it touched, goes in parts. */
static void by_parts(const char *path, const struct pool *before)
{
	int fd = huge_file(path, 3 * HUGE_2M);
	char *p = mmap(NULL, 3 * HUGE_2M, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);

	if (p == MAP_FAILED) {
		fail("errno", "3 private pages of size=8M,min_size=4M: %s", strerror(errno));
		return;
	}
	pool_expect("resv_hugepages", before->resv + 3, "3 private pages, 2 of them the minimum");
	expect_free(path, PAGES - 3, "3 private pages promised");
	p[0] = 1;
	pool_expect("resv_hugepages", before->resv + 2, "1 private page of 3 in use");
	munmap(p + HUGE_2M, HUGE_2M);
	pool_expect("resv_hugepages", before->resv + 1, "an untouched private page is unmapped");
	expect_free(path, PAGES - 2, "an untouched private page is unmapped");
	munmap(p, HUGE_2M);
	pool_expect("resv_hugepages", before->resv + 2, "a private page in use is unmapped");
	expect_free(path, PAGES - 1, "a private page in use is unmapped");
	munmap(p + 2 * HUGE_2M, HUGE_2M);
	pool_expect("resv_hugepages", before->resv + 2, "all private pages are unmapped");
	expect_free(path, PAGES, "all private pages are unmapped");
	close(fd);
}

/* More than the minimum: that much is the mount's own, the rest is the pool's, to the limit. */
static void beyond_minimum(const struct pool *before)
{
	const char *path = mount_huge("pagesize=2M,size=8M,min_size=4M");
	int fd = huge_file(path, 5 * HUGE_2M), err;
	char *p, *q;

	pool_expect("resv_hugepages", before->resv + 2, "mount with both limits");
	p = mmap(NULL, 3 * HUGE_2M, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		fail("errno", "3 pages of size=8M,min_size=4M: %s", strerror(errno));
		return;
	}
	pool_expect("resv_hugepages", before->resv + 3, "3 pages, 2 of them the minimum");
	expect_free(path, PAGES - 3, "3 pages promised");
	p[0] = p[HUGE_2M] = p[2 * HUGE_2M] = 1;
	pool_expect("resv_hugepages", before->resv, "3 pages in use");
	expect_free(path, PAGES - 3, "3 pages in use");
	q = mmap(NULL, 2 * HUGE_2M, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 3 * HUGE_2M);
	if (q != MAP_FAILED || errno != ENOMEM)
		fail("errno", "5 pages of size=8M: %s", q == MAP_FAILED ? strerror(errno) : "succeeded");
	pool_expect("resv_hugepages", before->resv, "2 pages more are refused");
	/* One page goes: the two that are left are the minimum. */
	munmap(p, 3 * HUGE_2M);
	if (ftruncate(fd, 2 * HUGE_2M))
		fail("errno", "ftruncate: %s", strerror(errno));
	pool_expect("resv_hugepages", before->resv, "2 pages left of a minimum of 2");
	expect_free(path, PAGES - 2, "2 pages left");
	if (ftruncate(fd, HUGE_2M))
		fail("errno", "ftruncate: %s", strerror(errno));
	pool_expect("resv_hugepages", before->resv + 1, "1 page left of a minimum of 2");
	close(fd);
	pool_expect("resv_hugepages", before->resv + 2, "no page left of a minimum of 2");

	/* All three are given back at once, and were never in use. */
	fd = huge_file(path, 3 * HUGE_2M);
	p = mmap(NULL, 3 * HUGE_2M, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	pool_expect("resv_hugepages", before->resv + 3, "3 pages promised, 2 of them the minimum");
	munmap(p, 3 * HUGE_2M);
	close(fd);
	pool_expect("resv_hugepages", before->resv + 2, "3 pages given back untouched");
	expect_free(path, PAGES, "3 pages given back untouched");
	by_parts(path, before);
	err = umount_huge(path);
	if (err)
		fail("errno", "umount of the mount with both limits: %s", strerror(err));
	pool_same(before, "after the mount with both limits");
}

/* A minimum that the pool does not have, and a maximum below it. */
static void refused_mounts(void)
{
	static const char *const options[] = {
		"pagesize=2M,min_size=200T", "pagesize=2M,size=4M,min_size=8M", "pagesize=3M",
		"pagesize=2M,size=x", "pagesize=2M,mode=abc",
	};
	char path[] = "/tmp/hugeXXXXXX";
	size_t i;

	if (!mkdtemp(path))
		return;
	for (i = 0; i < sizeof(options) / sizeof(*options); i++)
		if (!mount("huge", path, "hugetlbfs", 0, options[i])) {
			fail("errno", "a mount with \"%s\" succeeds", options[i]);
			umount(path);
		} else if (errno != EINVAL && errno != ENOMEM) {
			fail("errno", "a mount with \"%s\": %s", options[i], strerror(errno));
		}
	rmdir(path);
}

/* What a mount is told is what it does, and what it tells. */
static void told(const struct pool *before)
{
	static const char *const words[] = {
		",uid=77", ",gid=78", ",mode=1750", ",nr_inodes=9", ",pagesize=2M", ",min_size=2097152",
	};
	const char *path = mount_huge("pagesize=2M,size=25%,min_size=2M,uid=77,gid=78,mode=1750,nr_inodes=9");
	char line[400], where[80];
	long size = before->nr / 4;
	struct statfs fs = { 0 };
	struct stat st = { 0 };
	size_t i;
	FILE *f = fopen("/proc/mounts", "r");

	snprintf(where, sizeof(where), " %s hugetlbfs ", path);
	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, where))
			break;
	if (f)
		fclose(f);
	for (i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (!strstr(line, words[i]))
			fail("counters", "/proc/mounts does not tell of %s: %.120s", words[i] + 1, line);
	stat(path, &st);
	if (st.st_uid != 77 || st.st_gid != 78 || (st.st_mode & 07777) != 01750)
		fail("counters", "the mount belongs to %d and %d, mode %o", st.st_uid, st.st_gid,
		     st.st_mode & 07777);
	statfs(path, &fs);
	if (fs.f_bsize != (long)HUGE_2M || (long)fs.f_blocks != size || fs.f_files != 9)
		fail("counters", "size=25%% of %ld pages: %ld blocks of %ld bytes, %ld inodes", before->nr,
		     (long)fs.f_blocks, (long)fs.f_bsize, (long)fs.f_files);
	pool_expect("resv_hugepages", before->resv + 1, "min_size=2M");
	if (umount_huge(path))
		fail("errno", "umount: %s", strerror(errno));
	pool_same(before, "after a mount with many words");
}

/* nr_inodes= counts what has no pages, too, and each end gives one back. */
static void inodes(void)
{
	const char *path = mount_huge("pagesize=2M,size=8M,nr_inodes=5");
	static const char *const names[] = { "file", "folder", "fifo", "node" };
	struct statfs fs = { 0 };
	char file[160];
	int err, fd;
	size_t i;

	/* There is no page to write the target to: refused, after an inode was taken. */
	snprintf(file, sizeof(file), "%s/link", path);
	if (!symlink("nowhere", file))
		unlink(file);
	for (i = 0; i < 4; i++) {
		snprintf(file, sizeof(file), "%s/%s", path, names[i]);
		fd = -1;
		err = i == 0 ? (fd = open(file, O_CREAT | O_RDWR | O_CLOEXEC, 0600)) < 0 :
		      i == 1 ? mkdir(file, 0700) : i == 2 ? mkfifo(file, 0600) :
			       mknod(file, S_IFCHR | 0600, makedev(1, 3));
		if (fd >= 0)
			close(fd);
		if (err)
			fail("errno", "%s on a mount of 5 inodes: %s", names[i], strerror(errno));
	}
	statfs(path, &fs);
	if (fs.f_files != 5 || fs.f_ffree != 0)
		fail("counters", "nr_inodes=5, all in use: %ld of %ld free", (long)fs.f_ffree,
		     (long)fs.f_files);
	snprintf(file, sizeof(file), "%s/more", path);
	if (!mkdir(file, 0700))
		fail("errno", "a sixth inode on a mount of 5");
	else if (errno != ENOSPC)
		fail("errno", "a sixth inode: %s, expected ENOSPC", strerror(errno));
	for (i = 0; i < 4; i++) {
		snprintf(file, sizeof(file), "%s/%s", path, names[i]);
		if (i == 1 ? rmdir(file) : unlink(file))
			fail("errno", "end of %s: %s", names[i], strerror(errno));
	}
	statfs(path, &fs);
	if (fs.f_ffree != 4)
		fail("counters", "nr_inodes=5, all but the root gone: %ld free", (long)fs.f_ffree);
	if (umount_huge(path))
		fail("errno", "umount of the mount with nr_inodes=: %s", strerror(errno));
}

static long inodes_left(const char *path)
{
	struct statfs fs = { 0 };

	statfs(path, &fs);
	return fs.f_ffree;
}

static void expect_left(const char *path, long pages, long left, const char *when)
{
	expect_free(path, pages, when);
	if (inodes_left(path) != left)
		fail("counters", "%s: %ld inodes are left, expected %ld", when, inodes_left(path), left);
}

static void expect_links(int fd, int links, const char *when)
{
	struct stat st = { 0 };

	fstat(fd, &st);
	if ((int)st.st_nlink != links)
		fail("counters", "%s: %d links, expected %d", when, (int)st.st_nlink, links);
}

/* A file of so many pages with a pattern, and no mapping. */
static int named_file(const char *name, size_t pages, int owner)
{
	int fd = open(name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	char *p = mmap(NULL, pages * HUGE_2M, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	size_t i;

	if (fd < 0 || p == MAP_FAILED) {
		fail("errno", "a file of %zu pages: %s", pages, strerror(errno));
		return fd;
	}
	for (i = 0; i < pages; i++)
		pattern_write(p + i * HUGE_2M, HUGE_2M, owner, 0);
	munmap(p, pages * HUGE_2M);
	return fd;
}

static void must(int result, const char *what)
{
	if (result)
		fail("errno", "%s: %s", what, strerror(errno));
}

/*
 * Names come and go, pages and inodes stay until the last name, descriptor and mapping has
 * gone: by unlink(), by a rename() onto the last name, by an end of O_TMPFILE.
 */
static void names_of_files(void)
{
	const char *path = mount_huge("pagesize=2M,size=8M,nr_inodes=9");
	char a[80], b[80], c[80], from[40];
	struct huge h = { .kind = SHARED_FILE, .page = HUGE_2M, .n = 2, .fd = -1 };
	long left = inodes_left(path);
	int fd, other;
	char *p;

	snprintf(a, sizeof(a), "%s/a", path);
	snprintf(b, sizeof(b), "%s/b", path);
	snprintf(c, sizeof(c), "%s/c", path);
	fd = named_file(a, 2, OWNER);
	expect_left(path, PAGES - 2, left - 1, "a file of 2 pages");
	must(link(a, b), "link");
	expect_links(fd, 2, "a file with a second name");
	must(rename(b, c), "rename");
	expect_left(path, PAGES - 2, left - 1, "a file with two names");
	must(unlink(a), "unlink of one of two names");
	expect_links(fd, 1, "a file with a name less");
	close(fd);
	expect_left(path, PAGES - 2, left - 1, "nobody has it open");

	/* Found by its other name, whole. */
	fd = open(c, O_RDWR | O_CLOEXEC);
	h.addr = mmap(NULL, 2 * HUGE_2M, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd < 0 || h.addr == MAP_FAILED) {
		fail("errno", "a file by its second name: %s", strerror(errno));
		return;
	}
	h.fd = fd;
	huge_check(&h, OWNER, "by its second name");

	/* Another file takes the name: the first is held by its mapping only. */
	other = named_file(b, 1, OWNER + 1);
	expect_left(path, PAGES - 3, left - 2, "a second file");
	must(rename(b, c), "rename onto a name");
	expect_links(fd, 0, "a file whose name went to another");
	close(fd);
	h.fd = -1;
	expect_left(path, PAGES - 3, left - 2, "a file that only a mapping has");
	count_add(moved, move_all(&h));
	huge_check(&h, OWNER, "moved, and only a mapping has it");
	munmap(h.addr, HUGE_2M);
	expect_left(path, PAGES - 3, left - 2, "a file that half a mapping has");
	munmap(h.addr + HUGE_2M, HUGE_2M);
	expect_left(path, PAGES - 1, left - 1, "a file that nobody has");

	/* The other one is emptied as it is opened. */
	close(other);
	other = open(c, O_RDWR | O_TRUNC | O_CLOEXEC);
	expect_left(path, PAGES, left - 1, "O_TRUNC");
	expect_blocks(other, 0, "O_TRUNC");
	must(unlink(c), "unlink");
	expect_left(path, PAGES, left - 1, "a file without a name that is open");
	close(other);
	expect_left(path, PAGES, left, "all are gone");

	/* No name from the beginning; then one. */
	fd = open(path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0) {
		fail("errno", "O_TMPFILE: %s", strerror(errno));
	} else {
		expect_links(fd, 0, "O_TMPFILE");
		expect_left(path, PAGES, left - 1, "O_TMPFILE");
		must(fallocate(fd, 0, 0, 2 * HUGE_2M), "fallocate of O_TMPFILE");
		expect_left(path, PAGES - 2, left - 1, "O_TMPFILE with 2 pages");
		p = mmap(NULL, HUGE_2M, PROT_READ | PROT_WRITE, MAP_SHARED, fd, HUGE_2M);
		if (p != MAP_FAILED) {
			pattern_write(p, HUGE_2M, OWNER, 0);
			munmap(p, HUGE_2M);
		}
		snprintf(from, sizeof(from), "/proc/self/fd/%d", fd);
		must(linkat(AT_FDCWD, from, AT_FDCWD, a, AT_SYMLINK_FOLLOW), "a name for O_TMPFILE");
		expect_links(fd, 1, "O_TMPFILE with a name");
		close(fd);
		expect_left(path, PAGES - 2, left - 1, "O_TMPFILE with a name, closed");
		fd = open(a, O_RDONLY | O_CLOEXEC);
		p = mmap(NULL, HUGE_2M, PROT_READ, MAP_SHARED, fd, HUGE_2M);
		if (p == MAP_FAILED)
			fail("errno", "O_TMPFILE by its name: %s", strerror(errno));
		else
			pattern_check(p, HUGE_2M, OWNER, 0);
		munmap(p, HUGE_2M);
		must(unlink(a), "unlink");
		close(fd);
		expect_left(path, PAGES, left, "O_TMPFILE is gone");
		fd = open(path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		must(fallocate(fd, 0, 0, HUGE_2M), "fallocate of O_TMPFILE");
		close(fd);
		expect_left(path, PAGES, left, "O_TMPFILE never had a name");
	}
	if (umount_huge(path))
		fail("errno", "umount of the mount with names: %s", strerror(errno));
	count_add(named, 1);
}

int main(int argc, char **argv)
{
	const char *path;
	struct pool before;
	int err;

	repro_start(argc, argv);
	rounds = counter("rounds");
	moved = counter("moved");
	private_busy = counter("private_busy");
	full = counter("full");
	starved = counter("starved");
	named = counter("named");
	two_nodes(nodes);
	catch_signals();
	pool_read(&before);
	do {
		path = mount_huge("pagesize=2M,size=8M");
		shared_file(path, SHARED_FILE);
		shared_file(path, FALLOCATED);
		private_file(path);
		overfull(path);
		empty_pool(path);
		err = umount_huge(path);
		if (err)
			fail("errno", "umount: %s", strerror(err));
		pool_same(&before, "after the size= mount");
		minimum(&before);
		beyond_minimum(&before);
		inodes();
		names_of_files();
		pool_same(&before, "after names");
		refused_mounts();
		told(&before);
		count_add(rounds, 1);
	} while (running() && !failed());
	return repro_end();
}
