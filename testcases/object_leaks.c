// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the kernel allocates for huge pages besides the pages themselves: maps of
 * reservations and their regions, subpools, inodes, VMAs, anon_vmas, page tables, groups.
 * Each operation is made TIMES times and undone, and then no cache may hold TIMES objects
 * more than before.  Somebody else's few objects make no difference.
 *
 *	/sys/kernel/slab/CACHE/objects	after "shrink", which empties KASAN's quarantine too
 *	PageTables of /proc/meminfo	tables that were shared and are not
 *	/proc/vmstat			base pages that are mapped, or isolated: huge ones are
 *					none of these, and what is taken off was never put on
 */
#define _GNU_SOURCE
#include "catch.h"
#include "cg.h"
#include "huge.h"
#include "phys.h"
#include "pool.h"
#include "race.h"
#include "repro.h"
#include "uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIMES 24
#define ROUNDS 6
#define PAGES 4
#define BYTES (PAGES * HUGE_2M)

static const char *const caches[] = {
	"kmalloc-32", "kmalloc-64", "kmalloc-96", "kmalloc-128", "kmalloc-192", "kmalloc-256",
	"kmalloc-512", "kmalloc-1k", "kmalloc-2k", "hugetlbfs_inode_cache", "vm_area_struct",
	"anon_vma", "anon_vma_chain", "userfaultfd_ctx_cache", "mm_struct", "filp",
};
#define CACHES (sizeof(caches) / sizeof(*caches))
static const char *const stats[] = {
	"nr_mapped", "nr_anon_pages", "nr_isolated_anon", "nr_isolated_file", "nr_mlock",
};
#define STATS (sizeof(stats) / sizeof(*stats))
#define TABLES CACHES
#define FIRST_STAT (CACHES + 1)
#define COUNTS (CACHES + 1 + STATS)

static const char *name_of(size_t count)
{
	return count < CACHES ? caches[count] : count == TABLES ? "page tables" : stats[count - FIRST_STAT];
}

static struct counter *operations, *watched;
static int nodes[2];
static size_t too_much;		/* bytes of one page more than the pool can ever give */

/* A cache that is not there, or is merged with another one, is 0. */
static void count_objects(long *counts)
{
	char path[100], line[128];
	size_t i;
	FILE *f;

	for (i = 0; i < CACHES; i++) {
		snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink", caches[i]);
		write_file(path, "1");
		snprintf(path, sizeof(path), "/sys/kernel/slab/%s/objects", caches[i]);
		counts[i] = read_number(path, 10, 0);
	}
	/*
	 * What each CPU has not told yet: that may be 125 of each, the more the more CPUs and
	 * memory there are, and the tables are counted in the same way.
	 */
	write_file("/proc/sys/vm/stat_refresh", "1");
	counts[TABLES] = 0;
	f = fopen("/proc/meminfo", "r");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "PageTables: %ld", &counts[TABLES]) == 1)
			break;
	if (f)
		fclose(f);
	counts[TABLES] /= 4;	/* kB to tables */
	for (i = 0; i < STATS; i++)
		counts[FIRST_STAT + i] = vmstat(stats[i]);
}

static void *map(int flags, int fd, size_t from, size_t n)
{
	void *p = mmap(NULL, n * HUGE_2M, PROT_READ | PROT_WRITE, flags, fd, from * HUGE_2M);

	if (p == MAP_FAILED)
		fail("errno", "mmap: %s", strerror(errno));
	return p;
}

static void parts_of_a_file(void)
{
	int fd = huge_file("/dev/hugepages", BYTES);
	char *p = map(MAP_SHARED, fd, 0, 1), *q = map(MAP_SHARED, fd, 2, 2);

	p[0] = q[HUGE_2M] = 1;
	fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 * HUGE_2M, 2 * HUGE_2M);
	q[0] = 1;
	munmap(q, 2 * HUGE_2M);
	if (ftruncate(fd, HUGE_2M))
		fail("errno", "ftruncate: %s", strerror(errno));
	munmap(p, HUGE_2M);
	close(fd);
}

static void parts_of_a_mapping(void)
{
	char *p = map(MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0, PAGES);

	p[0] = p[3 * HUGE_2M] = 1;
	munmap(p + HUGE_2M, HUGE_2M);
	mprotect(p, HUGE_2M, PROT_READ);
	munmap(p, HUGE_2M);
	munmap(p + 2 * HUGE_2M, 2 * HUGE_2M);
}

static void refusals(void)
{
	void *p = mmap(NULL, too_much, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	int fd = huge_memfd(HUGE_2M);

	if (p != MAP_FAILED)
		fail("errno", "%zu bytes of huge pages are promised, more than there are", too_much);
	p = mmap(NULL, too_much, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p != MAP_FAILED)
		fail("errno", "%zu bytes of a file are promised, more than there are", too_much);
	close(fd);
}

static void shared_memory(void)
{
	int id = shmget(IPC_PRIVATE, HUGE_2M, IPC_CREAT | SHM_HUGETLB | 0600);
	char *p = shmat(id, NULL, 0);

	shmctl(id, IPC_RMID, NULL);
	if (p == (void *)-1)
		return;
	p[0] = 1;
	shmdt(p);
}

static void forks(void)
{
	char *p = map(MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0, 2);
	pid_t pid;

	p[0] = 1;
	pid = fork();
	if (!pid) {
		p[0] = p[HUGE_2M] = 2;
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	p[0] = 3;
	munmap(p, 2 * HUGE_2M);
}

static void moves(void)
{
	char *p = map(MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0, 1);
	int status;

	p[0] = 1;
	move_page(0, p, nodes[page_node(p) == nodes[0]], MPOL_MF_MOVE, &status);
	munmap(p, HUGE_2M);
}

static void tables(void)
{
	int fd = huge_memfd(2 * HUGE_2M);
	char *p = map_pud(fd, PROT_READ | PROT_WRITE), *q;
	pid_t pid;

	p[0] = 1;
	pid = fork();
	if (!pid) {
		p[HUGE_2M] = 1;
		q = map_pud(fd, PROT_READ | PROT_WRITE);
		q[0] = 1;
		mprotect(q, HUGE_2M, PROT_READ);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	munmap(p, PUD_BYTES);
	close(fd);
}

static void mounts(void)
{
	const char *path = mount_huge("pagesize=2M,size=8M,min_size=4M");
	int fd = huge_file(path, 2 * HUGE_2M);
	char *p = map(MAP_PRIVATE, fd, 0, 2);

	p[0] = 1;
	munmap(p, 2 * HUGE_2M);
	close(fd);
	umount_huge(path);
}

static void missing(void)
{
	char *p = map(MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0, 2);
	static char *from;
	int uffd = uffd_open();

	if (!from)
		from = map(MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, 1);
	if (uffd >= 0 && !uffd_register(uffd, p, 2 * HUGE_2M))
		uffd_copy(uffd, p, from, HUGE_2M, NULL);
	munmap(p, HUGE_2M);
	close(uffd);
	munmap(p + HUGE_2M, HUGE_2M);
}

static int grouped;

static void groups(void)
{
	char *p;
	pid_t pid;

	if (!grouped || cg_make("t"))
		return;
	pid = fork();
	if (!pid) {
		if (!cg_enter("t", getpid())) {
			p = map(MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0, 2);
			p[0] = 1;
			munmap(p + HUGE_2M, HUGE_2M);
			parts_of_a_file();
		}
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	cg_remove("t");
}

static const struct operation {
	const char *name;
	void (*run)(void);
} all[] = {
	{ "parts of a file", parts_of_a_file },
	{ "parts of a private mapping", parts_of_a_mapping },
	{ "mappings that are refused", refusals },
	{ "shared memory", shared_memory },
	{ "fork and copies", forks },
	{ "moves", moves },
	{ "shared page tables", tables },
	{ "mounts with limits", mounts },
	{ "userfaultfd", missing },
	{ "groups", groups },
};

/* A statistic that falls with each operation is as wrong as one that rises. */
static int has_grown(size_t count, long by)
{
	return by >= TIMES - 4 || (count >= FIRST_STAT && -by >= TIMES - 4);
}

/* What has grown by an object each time; what RCU and workers free comes later. */
static int grown(const struct operation *op, long *by)
{
	long before[COUNTS], after[COUNTS];
	int i, tries, n = 0;
	size_t c;

	count_objects(before);
	for (i = 0; i < TIMES; i++)
		op->run();
	for (tries = 0; tries < 10; tries++) {
		count_objects(after);
		for (c = 0, n = 0; c < COUNTS; c++) {
			by[c] = after[c] - before[c];
			n += has_grown(c, by[c]);
		}
		if (!n)
			break;
		usleep(100000);
	}
	for (c = 0; c < COUNTS; c++)
		count_add(watched, before[c] > 0);
	return n;
}

/*
 * A cache that somebody fills once is none that leaks: it has to grow in each of the rounds.
 * There are many of them, for all of a CPU's slab counts as in use: who allocates a single
 * object on another CPU, between the shrinking and the count, adds up to a page of them.
 */
static void repeat(const struct operation *op)
{
	long by[COUNTS], least[COUNTS];
	int round;
	size_t c;

	op->run();
	for (round = 0; round < ROUNDS; round++) {
		if (!grown(op, by))
			break;
		for (c = 0; c < COUNTS; c++)
			if (!round || labs(by[c]) < labs(least[c]))
				least[c] = by[c];
	}
	for (c = 0; round == ROUNDS && c < COUNTS; c++)
		if (has_grown(c, least[c]))
			fail("leak", "%d times %s: %ld more of %s, and so %d times", TIMES, op->name,
			     least[c], name_of(c), ROUNDS);
	count_add(operations, 1);
}

int main(int argc, char **argv)
{
	int at = repro_start(argc, argv);
	struct pool before;
	size_t i;

	operations = counter("operations");
	watched = counter("watched");
	two_nodes(nodes);
	if (access("/sys/kernel/slab/kmalloc-64/objects", R_OK))
		skip("no /sys/kernel/slab/kmalloc-64/objects: CONFIG_SLUB_DEBUG");
	catch_signals();
	pool_read(&before);
	/* Not a pool's worth of surplus pages on the way to each refusal. */
	pool_set("nr_overcommit_hugepages", 0);
	too_much = (before.nr + 4000) * HUGE_2M;
	if (at < argc && !strcmp(argv[at], "groups")) {
		cg_mount(1);
		grouped = 1;
	}
	for (i = 0; i < sizeof(all) / sizeof(*all) && !failed(); i++)
		repeat(&all[i]);
	if (grouped)
		cg_umount();
	pool_set("nr_overcommit_hugepages", before.overcommit);
	pool_same(&before, "at the end");
	return repro_end();
}
