// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every allocation that an operation makes fails once: the first of it, then the
 * second, until the operation comes through with none left to fail.  Each time it
 * has to back out, and to leave reservations, pool, file and data as they were.
 *
 *	n = 1	mmap()  fails in the first allocation	-> counters as before
 *	n = 2	mmap()  fails in the second		-> counters as before
 *	...
 *	n = k	mmap()  succeeds, nothing failed	-> next operation
 *
 * An operation may succeed in spite of a failure, or fail as it is documented to; what
 * it may not do is to keep a reservation, a page, or half of a file.
 */
#define _GNU_SOURCE
#include "catch.h"
#include "huge.h"
#include "inject.h"
#include "pool.h"
#include "race.h"
#include "repro.h"
#include "uffd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES 3
#define OWNER 22
#define MOST 1000	/* allocations of one operation; a percpu one may take a page for each CPU */
#define PART 4096
#define FILES 64
#define TEXT(number) TEXT_OF(number)
#define TEXT_OF(word) #word
#define BYTES (PAGES * HUGE_2M)

static struct counter *injected, *errors, *operations, *forks;
static struct pool before;
static const char *mount_point;
static int nodes[2];
static char *source;

/* What an operation works on; made anew for each try, before the injection. */
struct subject {
	char *p;
	size_t bytes;
	int fd, uffd, shm;	/* -1: none */
	int shrunk;		/* the pools are to be restored */
};

struct operation {
	const char *name;
	void (*make)(struct subject *s);	/* with nothing failing */
	int (*run)(struct subject *s);		/* armed; 0 or an errno, or the signal */
	int file;				/* what is left in it is checked */
};

static void *map_at(int fd, int flags)
{
	void *p = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, flags, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

static int touch(char *p)
{
	struct caught caught;

	return touch_write(p, 1, &caught);
}

static void make_nothing(struct subject *s)
{
	(void)s;
}

static void make_file(struct subject *s)
{
	s->fd = huge_file(mount_point, BYTES);
}

static void make_anon(struct subject *s)
{
	s->p = map_at(-1, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB);
}

static void make_shared(struct subject *s)
{
	make_file(s);
	s->p = map_at(s->fd, MAP_SHARED);
}

/* No reservation: the fault makes one, and has to take it back. */
static void make_unreserved(struct subject *s)
{
	make_file(s);
	s->p = map_at(s->fd, MAP_SHARED | MAP_NORESERVE);
}

static void make_anon_unreserved(struct subject *s)
{
	s->p = map_at(-1, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE);
}

static void make_private(struct subject *s)
{
	make_file(s);
	s->p = map_at(s->fd, MAP_PRIVATE);
}

/* Where nothing lies for terabytes: a page there wants page tables of each level first. */
#define FAR ((void *)(32UL << 40))

static void map_far(struct subject *s, int flags)
{
	s->p = mmap(FAR, BYTES, PROT_READ | PROT_WRITE, flags | MAP_FIXED, s->fd, 0);
	if (s->p == MAP_FAILED)
		skip("a mapping at %p: %s", FAR, strerror(errno));
}

static void make_far_shared(struct subject *s)
{
	make_file(s);
	map_far(s, MAP_SHARED);
}

static void make_far_anon(struct subject *s)
{
	map_far(s, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB);
}

static void make_anon_filled(struct subject *s)
{
	make_anon(s);
	pattern_write(s->p, BYTES, OWNER, 0);
}

static void make_shared_filled(struct subject *s)
{
	make_shared(s);
	pattern_write(s->p, BYTES, OWNER, 0);
}

/* The page cache holds what the private mapping will copy. */
static void make_private_over_cache(struct subject *s)
{
	char *view;

	make_file(s);
	view = map_at(s->fd, MAP_SHARED);
	pattern_write(view, BYTES, OWNER, 0);
	munmap(view, BYTES);
	s->p = map_at(s->fd, MAP_PRIVATE);
}

static void make_uffd(struct subject *s)
{
	make_anon(s);
	s->uffd = uffd_open();
	if (s->uffd < 0 || uffd_register(s->uffd, s->p, BYTES))
		skip("userfaultfd of huge pages (CONFIG_USERFAULTFD)");
}

static void make_uffd_far(struct subject *s)
{
	make_far_shared(s);
	s->uffd = uffd_open();
	if (s->uffd < 0 || uffd_register(s->uffd, s->p, BYTES))
		skip("userfaultfd of huge pages (CONFIG_USERFAULTFD)");
}

static void make_uffd_shared(struct subject *s)
{
	make_shared(s);
	s->uffd = uffd_open();
	if (s->uffd < 0 || uffd_register(s->uffd, s->p, BYTES))
		skip("userfaultfd of huge pages (CONFIG_USERFAULTFD)");
}

/* The whole segment is reserved before there is a file for it. */
static int run_shmget(struct subject *s)
{
	s->shm = shmget(IPC_PRIVATE, BYTES, IPC_CREAT | SHM_HUGETLB | 0600);
	/* Without CONFIG_SYSVIPC there is nothing to back out of. */
	return s->shm >= 0 || errno == ENOSYS ? 0 : errno;
}

static void make_shm(struct subject *s)
{
	int err = run_shmget(s);

	if (err)
		fail("errno", "shmget with nothing failing: %s", strerror(err));
}

static int run_shmat(struct subject *s)
{
	void *p = s->shm < 0 ? NULL : shmat(s->shm, NULL, 0);

	if (p == (void *)-1)
		return errno;
	s->p = p;
	return 0;
}

static int run_open(struct subject *s)
{
	s->fd = huge_file(mount_point, BYTES);
	return s->fd < 0 ? -s->fd : 0;
}

static int run_map_anon(struct subject *s)
{
	make_anon(s);
	return s->p ? 0 : errno;
}

static int run_map_shared(struct subject *s)
{
	s->p = map_at(s->fd, MAP_SHARED);
	return s->p ? 0 : errno;
}

static int run_map_private(struct subject *s)
{
	s->p = map_at(s->fd, MAP_PRIVATE);
	return s->p ? 0 : errno;
}

static int run_touch(struct subject *s)
{
	return touch(s->p + HUGE_2M);
}

static int run_allocate(struct subject *s)
{
	return fallocate(s->fd, 0, 0, BYTES) ? errno : 0;
}

static int run_punch(struct subject *s)
{
	return fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, HUGE_2M, HUGE_2M) ?
		errno : 0;
}

/*
 * Parts that do not touch each other: each one takes an entry of its own in the map of
 * reservations, and only the first finds one in stock.
 */
#define APART 7

static void make_apart(struct subject *s)
{
	s->bytes = APART * HUGE_2M;
	s->fd = huge_file(mount_point, s->bytes);
}

static void map_apart(struct subject *s, int flags)
{
	s->p = mmap(NULL, s->bytes, PROT_READ | PROT_WRITE, flags, s->fd, 0);
	if (s->p == MAP_FAILED)
		s->p = NULL;
}

static void make_apart_filled(struct subject *s)
{
	make_apart(s);
	map_apart(s, MAP_SHARED);
	pattern_write(s->p, s->bytes, OWNER, 0);
}

static void make_apart_unreserved(struct subject *s)
{
	make_apart(s);
	map_apart(s, MAP_SHARED | MAP_NORESERVE);
}

static int run_punch_apart(struct subject *s)
{
	int i, err = 0;

	for (i = 1; i < APART; i += 2)
		if (fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, i * HUGE_2M, HUGE_2M))
			err = errno;
	return err;
}

static int run_allocate_apart(struct subject *s)
{
	int i, err = 0;

	for (i = 1; i < APART; i += 2)
		if (fallocate(s->fd, 0, i * HUGE_2M, HUGE_2M))
			err = errno;
	return err;
}

static int run_touch_apart(struct subject *s)
{
	int i, err = 0;

	for (i = 1; i < APART; i += 2)
		err |= touch(s->p + i * HUGE_2M);
	return err;
}

static int run_map_apart(struct subject *s)
{
	int i, err = 0;
	char *p;

	for (i = 1; i < APART; i += 2) {
		p = mmap(NULL, HUGE_2M, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, i * HUGE_2M);
		if (p == MAP_FAILED)
			err = errno;
		else if (munmap(p, HUGE_2M)) {
			/* The maple tree of 6.1 may want a node for this, and only one is refused. */
			err = errno;
			munmap(p, HUGE_2M);
		}
	}
	return err;
}

static int run_truncate(struct subject *s)
{
	return ftruncate(s->fd, HUGE_2M) ? errno : 0;
}

static int run_split(struct subject *s)
{
	return munmap(s->p + HUGE_2M, HUGE_2M) ? errno : 0;
}

static int run_protect(struct subject *s)
{
	return mprotect(s->p + HUGE_2M, HUGE_2M, PROT_READ) ? errno : 0;
}

static int run_fork(struct subject *s)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		return errno;
	if (!pid) {
		touch(s->p);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return 0;
}

/* The parent's copy, with a child that has the page too. */
static int run_fork_write(struct subject *s)
{
	int pipes[2], err;
	pid_t pid;
	char c;

	if (pipe(pipes))
		return errno;
	pid = fork();
	if (pid < 0) {
		err = errno;
	} else if (!pid) {
		close(pipes[1]);
		if (read(pipes[0], &c, 1))
			_exit(1);
		_exit(0);
	} else {
		err = touch(s->p);
	}
	close(pipes[0]);
	close(pipes[1]);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	return err;
}

static int run_move(struct subject *s)
{
	int status, to = nodes[page_node(s->p) == nodes[0]];
	long got = move_page(0, s->p, to, MPOL_MF_MOVE, &status);

	return got < 0 ? -got : got || status != to ? EAGAIN : 0;
}

/* The target comes from the buddy allocator: move_pages() has pages isolated when it has none. */
static void make_target_empty(struct subject *s)
{
	make_anon_filled(s);
	pool_node_set(nodes[page_node(s->p) == nodes[0]], 0);
	s->shrunk = 1;
}

static int run_copy(struct subject *s)
{
	return uffd_copy(s->uffd, s->p + HUGE_2M, source, HUGE_2M, NULL);
}

/*
 * Those with most to undo come first: a short run ends before the others.  A fork has some 65
 * allocations, the others have one to nine.
 */
#define ALWAYS 13	/* operations that a short run has, too */
static const struct operation all[] = {
	{ "touch private anonymous", make_anon, run_touch, 0 },
	{ "touch shared", make_shared, run_touch, 0 },
	{ "touch shared, far away", make_far_shared, run_touch, 0 },
	{ "UFFDIO_COPY, far away", make_uffd_far, run_copy, 0 },
	{ "open a file", make_nothing, run_open, 0 },
	{ "punch holes apart", make_apart_filled, run_punch_apart, 0 },
	{ "touch apart, not reserved", make_apart_unreserved, run_touch_apart, 0 },
	{ "touch shared, not reserved", make_unreserved, run_touch, 0 },
	{ "touch private", make_private, run_touch, 0 },
	{ "touch private, not reserved", make_anon_unreserved, run_touch, 0 },
	{ "copy from the page cache", make_private_over_cache, run_touch, PAGES },
	{ "move to an empty pool", make_target_empty, run_move, 0 },
	{ "shmget", make_nothing, run_shmget, 0 },
	{ "shmat", make_shm, run_shmat, 0 },
	{ "UFFDIO_COPY", make_uffd, run_copy, 0 },
	{ "UFFDIO_COPY, shared", make_uffd_shared, run_copy, 0 },
	{ "touch private, far away", make_far_anon, run_touch, 0 },
	{ "punch a hole", make_shared_filled, run_punch, 0 },
	{ "move shared", make_shared_filled, run_move, PAGES },
	{ "mmap shared", make_file, run_map_shared, 0 },
	{ "mmap parts apart", make_apart, run_map_apart, 0 },
	{ "fallocate apart", make_apart, run_allocate_apart, 0 },
	{ "mmap private anonymous", make_nothing, run_map_anon, 0 },
	{ "mmap private", make_file, run_map_private, 0 },
	{ "fallocate", make_file, run_allocate, 0 },
	{ "fallocate of a mapping", make_shared, run_allocate, 0 },
	{ "truncate", make_shared_filled, run_truncate, 0 },
	{ "split a shared mapping", make_shared_filled, run_split, PAGES },
	{ "split a private mapping", make_anon_filled, run_split, 0 },
	{ "split an untouched private mapping", make_anon, run_split, 0 },
	{ "mprotect", make_anon_filled, run_protect, 0 },
	{ "move private", make_anon_filled, run_move, 0 },
	{ "fork, then the parent writes", make_anon_filled, run_fork_write, 0 },
	{ "fork", make_anon_filled, run_fork, 0 },
	{ "fork with an untouched mapping", make_anon, run_fork, 0 },
	{ "fork, shared", make_shared_filled, run_fork, PAGES },
};

static void check_file(const struct operation *op, const struct subject *s)
{
	struct stat st = { 0 };

	fstat(s->fd, &st);
	if (st.st_blocks != op->file * (long)(HUGE_2M / 512))
		fail("counters", "%s: st_blocks %ld, expected %d pages", op->name,
		     (long)st.st_blocks, op->file);
}

/* One try; true where the n-th allocation came.  *told: what the operation made of it. */
static int try(const struct operation *op, int n, int *told)
{
	struct subject s = { .bytes = BYTES, .fd = -1, .uffd = -1, .shm = -1 };
	char when[120];
	int err, hit;

	op->make(&s);
	inject_arm(n);
	err = *told = op->run(&s);
	hit = inject_disarm();
	if (hit)
		count_add(injected, 1);
	if (err)
		count_add(errors, 1);
	snprintf(when, sizeof(when), "%s, allocation %d %s", op->name, n, hit ? "failed" : "of none");
	if (err && !hit)
		fail("errno", "%s: %s", when, strerror(err));
	pool_check(when);
	if (op->file)
		check_file(op, &s);
	if (s.p)
		munmap(s.p, s.bytes);
	if (s.shm >= 0)
		shmctl(s.shm, IPC_RMID, NULL);
	if (s.uffd >= 0)
		close(s.uffd);
	if (s.fd >= 0)
		close(s.fd);
	if (s.shrunk)
		pool_restore(&before);
	pool_same(&before, when);
	return hit;
}

/*
 * fork() with each kind of page at once: of a file, by page tables of one's own and by
 * tables that are shared, and private ones.  Where it fails, half a child is taken apart
 * again.  The pages are made once: a fork has some 65 allocations, most of them for
 * other things, and its own time is enough.
 */
static void fail_forks(void)
{
	int small = huge_memfd(BYTES), large = huge_memfd(PUD_BYTES), n, hit = 1, pages = 3, i;
	char *page[3] = { map_at(small, MAP_SHARED), map_pud(large, PROT_READ | PROT_WRITE),
			  map_at(-1, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB) };
	pid_t pid;

	for (i = 0; i < pages; i++) {
		if (!page[i])
			skip("a mapping to fork: %s", strerror(errno));
		page[i][0] = OWNER;
	}
	for (n = 1; hit && n <= MOST && !failed(); n++) {
		inject_arm(n);
		pid = fork();
		if (!pid) {
			/* All that its parent has, or there is no child. */
			for (i = 0; i < pages; i++)
				if (page[i][0] != OWNER)
					fail("data", "fork succeeds in spite of allocation %d: the child's "
					     "page %d holds %d", n, i, page[i][0]);
				else
					page[i][PART] = 1;
			_exit(0);
		}
		hit = inject_disarm();
		if (pid > 0)
			waitpid(pid, NULL, 0);
		if (pid < 0 && !hit)
			fail("errno", "fork with no failed allocation: %s", strerror(errno));
		/* Nobody holds the lock of a file, or the page of another. */
		if (fallocate(small, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, HUGE_2M, HUGE_2M) ||
		    fallocate(large, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, HUGE_2M, HUGE_2M))
			fail("errno", "a hole after a fork: %s", strerror(errno));
		for (i = 0; i < pages; i++)
			if (page[i][0] != OWNER || ((pid < 0 || i == 2) && page[i][PART] != 0))
				fail("data", "fork, allocation %d %s: page %d holds %d and %d", n,
				     hit ? "failed" : "of none", i, page[i][0], page[i][PART]);
			else
				page[i][PART] = 0;
		if (hit)
			count_add(forks, 1);
	}
	munmap(page[0], BYTES);
	munmap(page[1], PUD_BYTES);
	munmap(page[2], BYTES);
	close(small);
	close(large);
	pool_same(&before, "forks that failed");
}

/* A file that could be made, and not be unlinked, has kept its name. */
static void sweep(void)
{
	DIR *folder = opendir(mount_point);
	struct dirent *entry;

	while (folder && (entry = readdir(folder)))
		if (entry->d_name[0] != '.')
			unlinkat(dirfd(folder), entry->d_name, 0);
	if (folder)
		closedir(folder);
}

static void expect_mount_empty(const char *after)
{
	struct statfs fs = { 0 };

	sweep();
	statfs(mount_point, &fs);
	if (fs.f_bfree != fs.f_blocks)
		fail("counters", "%s: statfs of the mount: %ld of %ld pages free, expected all",
		     after, (long)fs.f_bfree, (long)fs.f_blocks);
	/* The root is a file, too. */
	if (fs.f_ffree != FILES - 1)
		fail("counters", "%s: statfs of the mount: %ld of %d files free, expected all but "
		     "one", after, (long)fs.f_ffree, FILES);
}

/*
 * Until it comes through, or the time is over; a whole operation is counted.
 *
 * Where a slab is full, the pages of a new one are an allocation too, and SLUB makes do with
 * fewer of them when they fail: nobody is told, and the n-th of the operation's own was not
 * the one that failed.  So that one is tried again, where others have been told.
 */
static void fail_each(const struct operation *op, int always)
{
	int n, hit, told, ever = 0;

	for (n = 1; n <= MOST && !failed() && (always || running()); n++) {
		hit = try(op, n, &told);
		ever |= told;
		if (hit && !told && ever)
			hit = try(op, n, &told);
		if (!hit) {
			count_add(operations, 1);
			break;
		}
	}
	expect_mount_empty(op->name);
}

int main(int argc, char **argv)
{
	int at = repro_start(argc, argv), err;
	size_t i;

	injected = counter("injected");
	errors = counter("errors");
	operations = counter("operations");
	forks = counter("forks");
	two_nodes(nodes);
	catch_signals();
	source = mmap(NULL, HUGE_2M, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pattern_write(source, HUGE_2M, OWNER, 0);
	/* A mount with limits, so that the charges to them are seen as well. */
	mount_point = mount_huge("pagesize=2M,size=16M,nr_inodes=" TEXT(FILES));
	pool_read(&before);
	inject_prepare();
	if (at == argc)
		fail_forks();
	for (i = 0; i < sizeof(all) / sizeof(*all) && (running() || i < ALWAYS); i++)
		if (at == argc || strstr(all[i].name, argv[at]))
			fail_each(&all[i], i < ALWAYS);
	inject_restore();
	err = umount_huge(mount_point);
	if (err)
		fail("errno", "umount: %s", strerror(err));
	return repro_end();
}
