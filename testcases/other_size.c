// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages of 2 MiB on a machine whose default size is 1 GiB, with nothing in the default
 * pool ("default_hugepagesz=1G"; 2 MiB are the second size of the kernel's table then).
 * What size a page, a file or a mapping is of, the kernel asks of it: page_hstate(),
 * hstate_file(), hstate_vma().  Code that takes the default instead goes unseen where both
 * are the same; here it counts, reserves, charges or allocates what there is not.
 *
 *			2 MiB: free, reserved	1 GiB	HugetlbPages	st_blocks
 *	mmap() of 2	.	+ 2		0	.		.
 *	touched		- 2	.		0	+ 2		+ 2
 *	moved, back	- 2	.		0	+ 2		+ 2
 *	hole, cut	- 1	.		0	+ 1		+ 1
 *	gone		.	.		0	.		.
 */
#define _GNU_SOURCE
#include "catch.h"
#include "cg.h"
#include "huge.h"
#include "pool.h"
#include "repro.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES 2
#define OWNER 41
#define MAP_OURS (MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | 21 << 26 /* MAP_HUGE_2MB */)
#define MFD_OURS (MFD_CLOEXEC | 4U /* MFD_HUGETLB */ | 21U << 26)
#define SHM_OURS (IPC_CREAT | SHM_HUGETLB | 21 << 26 | 0600)

static struct counter *rounds, *moved, *looked, *charged;
static int nodes[2];
static struct pool before;
static long base_kb, base_shm;

/* The number behind a word of /proc/meminfo; -1 where there is none. */
static long meminfo(const char *word)
{
	char line[128];
	long value = -1;
	size_t n = strlen(word);
	FILE *f = fopen("/proc/meminfo", "r");

	while (f && value < 0 && fgets(line, sizeof(line), f))
		if (!strncmp(line, word, n))
			sscanf(line + n, " %ld", &value);
	if (f)
		fclose(f);
	return value;
}

static void expect(long got, long expected, const char *what, const char *when)
{
	if (got != expected)
		fail("counters", "%s: %s is %ld, expected %ld", when, what, got, expected);
}

/* Nothing ever is of the default size. */
static void expect_none(const char *when)
{
	static const char *const names[] = {
		"nr_hugepages", "free_hugepages", "resv_hugepages", "surplus_hugepages",
	};
	char text[120];
	size_t i;

	snprintf(text, sizeof(text), "%s: of 1 GiB", when);
	pool_use(HUGE_1G);
	for (i = 0; i < sizeof(names) / sizeof(*names); i++)
		pool_expect(names[i], 0, text);
	pool_use(HUGE_2M);
}

/* Pages in use and promised, of this size and of none else. */
static void expect_pool(long used, long promised, const char *when)
{
	pool_expect("free_hugepages", before.free - used, when);
	pool_expect("resv_hugepages", before.resv + promised, when);
	expect_none(when);
	count_add(looked, 1);
}

static void expect_mapping(char *addr, long pages, const char *when)
{
	struct smaps told;

	smaps_read(getpid(), addr, &told);
	expect(told.page, HUGE_2M / 1024, "KernelPageSize in smaps", when);
	expect(told.size, pages * (long)(HUGE_2M / 1024), "the size of the mapping", when);
	if ((unsigned long)addr % HUGE_2M)
		fail("errno", "%s: the mapping is at %p", when, (void *)addr);
}

/* Base pages that System V shared memory has in use, as shmctl() tells. */
static long shm_rss(void)
{
	struct shm_info info = { 0 };

	shmctl(0, SHM_INFO, (struct shmid_ds *)&info);
	return info.shm_rss;
}

static void look(const struct huge *h, long pages, const char *what)
{
	unsigned char core[PAGES * 512];
	struct stat st = { 0 };
	char when[80];
	size_t i;
	long n;

	snprintf(when, sizeof(when), "%s, %s", kind_name(h->kind), what);
	expect_pool(pages, 0, when);
	expect(hugetlb_kb(), base_kb + pages * (long)(HUGE_2M / 1024), "HugetlbPages", when);
	if (h->kind == SHM)
		expect(shm_rss(), base_shm + pages * 512, "SHM_INFO's base pages in use", when);
	memset(core, 0, sizeof(core));
	if (mincore(h->addr, PAGES * HUGE_2M, core))
		fail("errno", "%s: mincore: %s", when, strerror(errno));
	for (i = n = 0; i < sizeof(core); i++)
		n += core[i] & 1;
	expect(n, pages * 512, "base pages in mincore()", when);
	if (h->fd < 0)
		return;
	fstat(h->fd, &st);
	expect(st.st_blksize, HUGE_2M, "st_blksize", when);
	if (kind_shared(h->kind))
		expect(st.st_blocks, pages * (long)(HUGE_2M / 512), "st_blocks", when);
}

/* There and back, each time another way. */
static void move(struct huge *h, int way, const char *what)
{
	int status = NO_STATUS, to = nodes[page_node(h->addr) == nodes[0]];
	unsigned long from = 1UL << nodes[to == nodes[0]], mask = 1UL << to;
	size_t i;
	long got = 0;

	if (way == 1) {
		got = syscall(SYS_mbind, h->addr, PAGES * HUGE_2M, MPOL_BIND, &mask, 64UL,
			      MPOL_MF_MOVE | MPOL_MF_STRICT);
		syscall(SYS_mbind, h->addr, PAGES * HUGE_2M, MPOL_DEFAULT, NULL, 0UL, 0);
	} else if (way == 2) {
		got = syscall(SYS_migrate_pages, 0, 64UL, &from, &mask);
		got = got > 0 ? 0 : got;	/* base pages that stay */
	} else {
		for (i = 0; i < PAGES && !got; i++)
			got = move_page(0, h->addr + i * HUGE_2M, to, MPOL_MF_MOVE, &status);
	}
	for (i = 0; i < PAGES; i++)
		if (got || page_node(h->addr + i * HUGE_2M) != to)
			fail("errno", "%s by way %d: %s: %ld, status %d, at node %d, not %d",
			     kind_name(h->kind), way, what, got, status,
			     page_node(h->addr + i * HUGE_2M), to);
		else
			count_add(moved, 1);
	huge_check(h, OWNER, what);
}

/* A child writes into each page: its own copy, or everybody's. */
static void fork_and_write(struct huge *h)
{
	long more = kind_shared(h->kind) ? 0 : PAGES;
	int status = 0, i;
	pid_t pid = fork();

	if (!pid) {
		for (i = 0; i < PAGES; i++)
			*(volatile char *)(h->addr + i * HUGE_2M) = h->addr[i * HUGE_2M];
		expect_pool(PAGES + more, 0, "a child has written");
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (status)
		fail("signal", "%s: a child ended with status 0x%x", kind_name(h->kind), status);
	look(h, PAGES, "a child was there");
}

/* Parts of one page: what is no multiple of the default size can be split all the same. */
static void parts(struct huge *h)
{
	static char buf[8192];
	struct iovec to = { buf, sizeof(buf) }, from = { h->addr + HUGE_2M - 4096, sizeof(buf) };

	if (mprotect(h->addr + HUGE_2M, HUGE_2M, PROT_READ) ||
	    mprotect(h->addr + HUGE_2M, HUGE_2M, PROT_READ | PROT_WRITE))
		fail("errno", "%s: mprotect() of one page of 2: %s", kind_name(h->kind),
		     strerror(errno));
	if (process_vm_readv(getpid(), &to, 1, &from, 1, 0) != sizeof(buf) ||
	    memcmp(buf, from.iov_base, sizeof(buf)))
		fail("data", "%s: process_vm_readv() across two pages", kind_name(h->kind));
	huge_check(h, OWNER, "split, and read by the kernel");
}

/* One page of the file goes by a hole, and comes again; the other goes by a cut. */
static void file_parts(struct huge *h)
{
	static char buf[8192];
	struct caught caught;
	unsigned char v;

	if (pread(h->fd, buf, sizeof(buf), HUGE_2M - 4096) != sizeof(buf) ||
	    memcmp(buf, h->addr + HUGE_2M - 4096, sizeof(buf)))
		fail("data", "%s: read() across two pages", kind_name(h->kind));
	if (fallocate(h->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, HUGE_2M, HUGE_2M))
		fail("errno", "%s: hole: %s", kind_name(h->kind), strerror(errno));
	look(h, 1, "a hole");
	touch_read(h->addr + HUGE_2M + 4096, &v, &caught);
	if (caught_is(&caught, h->addr + HUGE_2M, 0, 0, "a hole") && v)
		fail("data", "%s: a hole has 0x%x in it", kind_name(h->kind), v);
	look(h, 2, "a page where a hole was");
	if (ftruncate(h->fd, HUGE_2M))
		fail("errno", "%s: ftruncate: %s", kind_name(h->kind), strerror(errno));
	touch_read(h->addr + HUGE_2M, &v, &caught);
	caught_is(&caught, h->addr + HUGE_2M, SIGBUS, 0, "beyond the end");
	look(h, 1, "cut");
}

static void life(enum kind kind, const char *folder)
{
	struct huge h;
	int err, way;

	base_kb = hugetlb_kb();
	base_shm = shm_rss();
	err = huge_open(&h, kind, HUGE_2M, PAGES, folder, OWNER);
	if (err) {
		fail("errno", "%s: %s", kind_name(kind), strerror(err));
		return;
	}
	look(&h, PAGES, "touched");
	expect_mapping(h.addr, PAGES, kind_name(kind));
	for (way = 0; way < 3 && !failed(); way++) {
		/* Where a fault has put them is not said: together first. */
		if (page_node(h.addr) != page_node(h.addr + HUGE_2M))
			move_page(0, h.addr + HUGE_2M, page_node(h.addr), MPOL_MF_MOVE, &err);
		move(&h, way, "moved");
	}
	look(&h, PAGES, "moved");
	fork_and_write(&h);
	parts(&h);
	if (kind_shared(kind) && h.fd >= 0 && !failed())
		file_parts(&h);
	huge_close(&h);
	expect(hugetlb_kb(), base_kb, "HugetlbPages", kind_name(kind));
	pool_same(&before, kind_name(kind));
	expect_none(kind_name(kind));
}

/* A length is rounded to the size of the mapping, and what it promises is of that size. */
static void lengths(void)
{
	int fd = memfd_create("other", MFD_OURS), id;
	char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_OURS, -1, 0);

	if (p == MAP_FAILED) {
		fail("errno", "mmap() of part of a page: %s", strerror(errno));
		return;
	}
	expect_mapping(p, 1, "mmap() of part of a page");
	expect_pool(0, 1, "mmap() of part of a page");
	munmap(p, HUGE_2M);
	p = mmap(NULL, HUGE_2M + 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, HUGE_2M);
	if (p == MAP_FAILED) {
		fail("errno", "mmap() of a file at its second page: %s", strerror(errno));
	} else {
		expect_mapping(p, 2, "mmap() of a file at its second page");
		expect_pool(0, 2, "mmap() of a file at its second page");
		munmap(p, 2 * HUGE_2M);
	}
	close(fd);
	id = shmget(IPC_PRIVATE, HUGE_2M + 1, SHM_OURS);
	if (id < 0) {
		fail("errno", "shmget() of a page and a byte: %s", strerror(errno));
	} else {
		expect_pool(0, 2, "shmget() of a page and a byte");
		shmctl(id, IPC_RMID, NULL);
	}
	pool_same(&before, "lengths");
}

/* What a mount tells and keeps is in pages of its own size. */
static void limits_of_a_mount(void)
{
	const char *path = mount_huge("pagesize=2M,size=8M,min_size=4M");
	struct statfs fs = { 0 };
	struct huge h;

	expect_pool(0, 2, "a mount with min_size=4M");
	statfs(path, &fs);
	expect(fs.f_bsize, HUGE_2M, "f_bsize", "a mount with size=8M");
	expect(fs.f_blocks, 4, "f_blocks", "a mount with size=8M");
	if (huge_open(&h, SHARED_FILE, HUGE_2M, PAGES, path, OWNER)) {
		fail("errno", "2 pages of a mount with size=8M");
	} else {
		expect_pool(2, 0, "2 pages of a mount");
		move(&h, 0, "moved on a mount with limits");
		statfs(path, &fs);
		expect(fs.f_bfree, 2, "f_bfree", "2 pages of a mount");
		huge_close(&h);
	}
	expect_pool(0, 2, "a mount whose file is gone");
	if (umount_huge(path))
		fail("errno", "umount: %s", strerror(errno));
	pool_same(&before, "a mount with limits");
}

/* Pages beyond the pool are of the size that is short of them. */
static void beyond_the_pool(void)
{
	char *p;

	pool_set("nr_overcommit_hugepages", 1);
	p = mmap(NULL, (before.free + 1) * HUGE_2M, PROT_READ, MAP_OURS, -1, 0);
	if (p == MAP_FAILED)
		fail("errno", "a page more than the pool has, with 1 surplus: %s", strerror(errno));
	pool_expect("surplus_hugepages", 1, "a page more than the pool has");
	pool_expect("resv_hugepages", before.free + 1, "a page more than the pool has");
	expect_none("a page more than the pool has");
	if (p != MAP_FAILED)
		munmap(p, (before.free + 1) * HUGE_2M);
	pool_set("nr_overcommit_hugepages", before.overcommit);
	pool_same(&before, "beyond the pool");
}

static int outlived;

/* A group's counts are a size each: those of 1 GiB stay at nothing. */
static void in_a_group(void)
{
	struct caught caught;
	struct huge h;
	char *p;

	if (cg_enter("o/p", getpid())) {
		fail("errno", "cannot enter the cgroup");
		return;
	}
	if (huge_open(&h, MEMFD, HUGE_2M, PAGES, NULL, OWNER)) {
		fail("errno", "a file in a cgroup");
		return;
	}
	cg_expect("o/p", 2, 2, "a file in a group");
	expect(cg_other("o/p", "1GB", 0), 0, "charged of 1 GiB", "a file in a group");
	expect(cg_other("o/p", "1GB", 1), 0, "reserved of 1 GiB", "a file in a group");
	move(&h, 0, "moved in a group");
	cg_expect("o/p", 2, 2, "moved in a group");
	huge_close(&h);
	cg_expect("o/p", 0, 0, "a file that is gone");
	p = mmap(NULL, 2 * HUGE_2M, PROT_READ | PROT_WRITE, MAP_OURS, -1, 0);
	cg_limit("o/p", 0, 1);
	if (p != MAP_FAILED) {
		p[0] = 1;
		touch_write(p + HUGE_2M, 1, &caught);
		if (caught_is(&caught, p + HUGE_2M, SIGBUS, 0, "above the limit of a group"))
			count_add(charged, 1);
		cg_expect("o/p", 1, 2, "at the limit");
		munmap(p, 2 * HUGE_2M);
	}
	cg_limit("o/p", 0, -1);
	cg_expect("o/p", 0, 0, "unmapped");
	expect(cg_other("o/p", "1GB", 0), 0, "charged of 1 GiB", "at the end");
	expect(cg_other("o/p", "1GB", 1), 0, "reserved of 1 GiB", "at the end");
	/* It stays, and is the group above's when this one goes. */
	if (fallocate(outlived, 0, 0, HUGE_2M))
		fail("errno", "fallocate() in a cgroup: %s", strerror(errno));
}

static void group(void)
{
	int status = 0;
	pid_t pid;
	char *p;

	outlived = memfd_create("outlived", MFD_OURS);
	if (cg_make("o") || cg_make("o/p")) {
		fail("errno", "no cgroup: %s", strerror(errno));
		return;
	}
	pid = fork();
	if (!pid) {
		in_a_group();
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (status)
		fail("signal", "the process of the cgroup ended with status 0x%x", status);
	cg_expect("o/p", 1, -1, "the process is gone, its file is not");
	if (cg_remove("o/p"))
		fail("errno", "rmdir of a cgroup with a page: %s", strerror(errno));
	usleep(100000);		/* a worker sees to it */
	cg_expect("o", 1, -1, "the group is gone, the file is not");
	expect(cg_other("o", "1GB", 0), 0, "charged of 1 GiB", "the group is gone");
	p = mmap(NULL, HUGE_2M, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, outlived, 0);
	status = 0;
	if (p == MAP_FAILED ||
	    move_page(0, p, nodes[page_node(p) == nodes[0]], MPOL_MF_MOVE, &status))
		fail("errno", "a page that outlived its group cannot be moved");
	cg_expect("o", 1, -1, "moved, and its group is gone");
	munmap(p, HUGE_2M);
	close(outlived);
	cg_expect("o", 0, -1, "the file is gone, too");
	if (cg_remove("o"))
		fail("errno", "rmdir of a cgroup: %s", strerror(errno));
	pool_same(&before, "a group");
}

int main(int argc, char **argv)
{
	const char *path;
	int kind;

	repro_start(argc, argv);
	rounds = counter("rounds");
	moved = counter("moved");
	looked = counter("looked");
	charged = counter("charged");
	if (meminfo("Hugepagesize:") != HUGE_1G / 1024)
		skip("the default size is %ld kB, not 1 GiB: default_hugepagesz=1G (--machine default-1g)",
		     meminfo("Hugepagesize:"));
	two_nodes(nodes);
	catch_signals();
	pool_use(HUGE_1G);
	pool_read(&before);
	if (before.nr || before.overcommit)
		skip("the pool of 1 GiB has %ld pages, and %ld beyond it", before.nr,
		     before.overcommit);
	pool_use(HUGE_2M);
	pool_read(&before);
	cg_mount(1);
	do {
		expect(meminfo("Hugetlb:"), before.nr * (long)(HUGE_2M / 1024), "Hugetlb in meminfo",
		       "all pages");
		expect(meminfo("HugePages_Total:"), 0, "HugePages_Total in meminfo", "all pages");
		path = mount_huge("pagesize=2M");
		for (kind = 0; kind < KINDS && !failed(); kind++)
			life(kind, path);
		if (umount_huge(path))
			fail("errno", "umount: %s", strerror(errno));
		lengths();
		limits_of_a_mount();
		beyond_the_pool();
		group();
		count_add(rounds, 1);
	} while (running() && !failed());
	cg_umount();
	return repro_end();
}
