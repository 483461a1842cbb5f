// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who may move which huge pages, and what the policy calls answer.
 *
 *					own page	page mapped twice
 *	mbind(MOVE)			moves		stays; with STRICT: EIO, since 6.x
 *	mbind(MOVE_ALL)			moves		moves, CAP_SYS_NICE only: else EPERM
 *	mbind(STRICT)			EIO where a page is elsewhere, moves nothing
 *	migrate_pages(pid)		moves		moves only for CAP_SYS_NICE
 *	move_pages(MOVE)		moves		status -EACCES
 *
 *	mbind(MOVE), a hole behind	EFAULT, and all stays where and as it was
 *
 *	A part of a mapping has a policy of its own: only its pages move.  Who is bound to nodes
 *	gets pages of these or none, and is promised no more than they have.
 *
 *	A page behind a page table that processes share is mapped once, whoever uses it: it
 *	stays for mbind(MOVE) and for migrate_pages() without CAP_SYS_NICE.
 *
 *	Another process of the same user, for who has no capability: its pages move where one may
 *	look into it (ptrace_may_access()), and EPERM where it is not dumpable.
 *
 *	cpuset.memory_migrate		moves what its tasks have, when the nodes change
 */
#define _GNU_SOURCE
#include "catch.h"
#include "huge.h"
#include "phys.h"
#include "pool.h"
#include "race.h"
#include "repro.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/mempolicy.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define OWNER 5

static struct counter *moved, *refused, *by_cpuset, *behind_table, *bound, *surplus, *same_user;
static int nodes[2];

static int bind_to(void *p, size_t bytes, int node, int flags)
{
	unsigned long mask = 1UL << node;

	return syscall(SYS_mbind, p, bytes, MPOL_BIND, &mask, 64UL, flags) ? errno : 0;
}

static void unbind(void *p, size_t bytes)
{
	syscall(SYS_mbind, p, bytes, MPOL_DEFAULT, NULL, 0UL, 0);
}

static void expect(int got, int expected, const char *what)
{
	if (got != expected)
		fail("errno", "%s: %s, expected %s", what, got ? strerror(got) : "success",
		     expected ? strerror(expected) : "success");
}

static void expect_node(struct huge *h, int node, const char *what)
{
	if (page_node(h->addr) != node)
		fail("errno", "%s: the page is at node %d, expected %d", what, page_node(h->addr), node);
	else
		count_add(moved, 1);
	huge_check(h, OWNER, what);
}

static void drop_privileges(void)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data))
		return;
	data[0].effective &= ~(1U << CAP_SYS_NICE);
	data[0].permitted &= ~(1U << CAP_SYS_NICE);
	if (syscall(SYS_capset, &header, data))
		fail("errno", "capset: %s", strerror(errno));
}

/* A page that nobody else has. */
static void own(enum kind kind)
{
	struct huge h;
	int here, there;

	if (huge_open(&h, kind, HUGE_2M, 1, "/dev/hugepages", OWNER)) {
		fail("errno", "no page of kind %s", kind_name(kind));
		return;
	}
	here = page_node(h.addr);
	there = nodes[here == nodes[0]];
	expect(bind_to(h.addr, HUGE_2M, there, MPOL_MF_STRICT), EIO, "STRICT, page elsewhere");
	expect_node(&h, here, "STRICT moves nothing");
	expect(bind_to(h.addr, HUGE_2M, here, MPOL_MF_STRICT), 0, "STRICT, page in place");
	expect(bind_to(h.addr, HUGE_2M, there, MPOL_MF_MOVE | MPOL_MF_STRICT), 0, "MOVE | STRICT");
	expect_node(&h, there, "MOVE | STRICT");
	expect(bind_to(h.addr, HUGE_2M, here, MPOL_MF_MOVE_ALL), 0, "MOVE_ALL");
	expect_node(&h, here, "MOVE_ALL");
	expect(bind_to(h.addr, HUGE_2M, there, 0), 0, "no flag");
	expect_node(&h, here, "no flag moves nothing");
	unbind(h.addr, HUGE_2M);
	huge_close(&h);
}

/* Where a policy puts a page that is touched first, and whose counters tell of it. */
static void placed(void)
{
	unsigned long both = 1UL << nodes[0] | 1UL << nodes[1];
	struct pool before, after;
	int i, j, on[2] = { 0, 0 };
	char *p;

	for (i = 0; i < 2; i++) {
		p = mmap(NULL, HUGE_2M, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
		if (p == MAP_FAILED)
			return;
		expect(bind_to(p, HUGE_2M, nodes[i], 0), 0, "MPOL_BIND of what is untouched");
		pool_read(&before);
		*(volatile char *)p = 1;
		pool_read(&after);
		if (page_node(p) != nodes[i])
			fail("errno", "bound to node %d, and at node %d", nodes[i], page_node(p));
		for (j = 0; j < after.n_nodes; j++)
			if (after.node_free[j] != before.node_free[j] - (after.node[j] == nodes[i]))
				fail("counters", "a page was taken of node %d: node %d had %ld free, has %ld",
				     nodes[i], after.node[j], before.node_free[j], after.node_free[j]);
		munmap(p, HUGE_2M);
	}
	p = mmap(NULL, 4 * HUGE_2M, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (p == MAP_FAILED)
		return;
	syscall(SYS_mbind, p, 4 * HUGE_2M, MPOL_INTERLEAVE, &both, 64UL, 0);
	for (i = 0; i < 4; i++) {
		p[i * HUGE_2M] = 1;
		on[page_node(p + i * HUGE_2M) == nodes[1]]++;
	}
	if (on[0] != 2 || on[1] != 2)
		fail("errno", "interleaved: %d pages at node %d, %d at node %d", on[0], nodes[0], on[1],
		     nodes[1]);
	munmap(p, 4 * HUGE_2M);
}

static void expect_policy(char *page, int mode, unsigned long nodes_of, const char *what)
{
	unsigned long mask = 0;
	int got = -1, at = -1;

	if (syscall(SYS_get_mempolicy, &got, &mask, 64UL, page, MPOL_F_ADDR) || got != mode ||
	    mask != nodes_of)
		fail("errno", "%s: the policy is %d of nodes 0x%lx, expected %d of 0x%lx", what, got, mask,
		     mode, nodes_of);
	if (syscall(SYS_get_mempolicy, &at, NULL, 0UL, page, MPOL_F_ADDR | MPOL_F_NODE) ||
	    at != page_node(page))
		fail("errno", "%s: get_mempolicy() tells of node %d, move_pages() of %d", what, at,
		     page_node(page));
}

/* The middle of three pages: its neighbours stay where they are, and have no policy. */
static void part(enum kind kind)
{
	unsigned long frames[3];
	int i, at[3], there;
	struct huge h;

	if (huge_open(&h, kind, HUGE_2M, 3, "/dev/hugepages", OWNER)) {
		fail("errno", "no pages of kind %s", kind_name(kind));
		return;
	}
	for (i = 0; i < 3; i++)
		at[i] = page_node(h.addr + i * HUGE_2M);
	there = nodes[at[1] == nodes[0]];
	for (i = 0; i < 3; i++)
		if (at[i] == there && !bind_to(h.addr + i * HUGE_2M, HUGE_2M, at[1], MPOL_MF_MOVE)) {
			at[i] = at[1];
			unbind(h.addr + i * HUGE_2M, HUGE_2M);
		}
	for (i = 0; i < 3; i++)
		frames[i] = page_frame(h.addr + i * HUGE_2M);
	expect(bind_to(h.addr + HUGE_2M, HUGE_2M, there, MPOL_MF_MOVE | MPOL_MF_STRICT), 0,
	       "MOVE | STRICT of the middle of three pages");
	at[1] = there;
	/* Who moves a neighbour takes the neighbour's policy: it may land at the same node. */
	for (i = 0; i < 3; i++)
		if (page_node(h.addr + i * HUGE_2M) != at[i] ||
		    (i != 1 && page_frame(h.addr + i * HUGE_2M) != frames[i]))
			fail("errno", "mbind() of the middle of three pages: page %d is at node %d, frame "
			     "0x%lx, expected node %d, and it was 0x%lx", i,
			     page_node(h.addr + i * HUGE_2M), page_frame(h.addr + i * HUGE_2M), at[i],
			     frames[i]);
	expect_policy(h.addr, MPOL_DEFAULT, 0, "before the part with a policy");
	expect_policy(h.addr + HUGE_2M, MPOL_BIND, 1UL << there, "the part with a policy");
	expect_policy(h.addr + 2 * HUGE_2M, MPOL_DEFAULT, 0, "behind the part with a policy");
	count_add(moved, 1);
	huge_check(&h, OWNER, "a part with a policy");
	huge_close(&h);
}

/*
 * Two mappings, and a hole behind them: the pages of the first are isolated by the time it is
 * met, and EFAULT gives them back.
 */
static void before_a_hole(enum kind kind)
{
	int here, there, status;
	struct huge h;
	long got;

	if (huge_open(&h, kind, HUGE_2M, 3, "/dev/hugepages", OWNER))
		return;
	munmap(h.addr + 2 * HUGE_2M, HUGE_2M);
	h.n = 2;
	here = page_node(h.addr);
	there = nodes[here == nodes[0]];
	mprotect(h.addr + HUGE_2M, HUGE_2M, PROT_READ);		/* a mapping of its own */
	expect(bind_to(h.addr, 3 * HUGE_2M, there, MPOL_MF_MOVE), EFAULT, "MOVE, a hole at the end");
	expect_node(&h, here, "a hole at the end");
	got = move_page(0, h.addr, there, MPOL_MF_MOVE, &status);
	if (got || status != there)
		fail("errno", "a page that mbind() gave back for a hole cannot be moved: %ld, status %d",
		     got, status);
	expect_node(&h, there, "moved after a hole");
	unbind(h.addr, 2 * HUGE_2M);
	huge_close(&h);
}

static void expect_books(const struct pool *want, long resv, const char *what)
{
	struct pool now;

	pool_read(&now);
	if (now.nr != want->nr || now.free != want->free || now.resv != want->resv + resv)
		fail("counters", "%s: nr free resv are %ld %ld %ld, expected %ld %ld %ld", what, now.nr,
		     now.free, now.resv, want->nr, want->free, want->resv + resv);
	else
		count_add(bound, 1);
}

/* Four pages are free, and one of them, or none, at the node that is asked for. */
static void bound_to_few(const struct pool *all)
{
	static const int flags[] = { MAP_PRIVATE, MAP_SHARED };
	unsigned long mask = 1UL << nodes[1];
	struct caught caught;
	struct pool few;
	char *p;
	int i, n;

	pool_set("nr_overcommit_hugepages", 0);
	for (i = 0; i < all->n_nodes; i++)
		pool_node_set(all->node[i], all->node[i] == nodes[0] ? 3 : all->node[i] == nodes[1]);
	pool_read(&few);
	for (i = 0; i < 2; i++)
		for (n = 1; n < 3; n++) {
			syscall(SYS_set_mempolicy, MPOL_BIND, &mask, 64UL);
			p = mmap(NULL, n * HUGE_2M, PROT_READ | PROT_WRITE,
				 flags[i] | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
			syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0UL);
			if (n == 1 ? p == MAP_FAILED : p != MAP_FAILED || errno != ENOMEM)
				fail("errno", "mmap of %d pages, bound to a node with 1: %s", n,
				     p == MAP_FAILED ? strerror(errno) : "success");
			expect_books(&few, p == MAP_FAILED ? 0 : n, "a promise to who is bound to a node");
			if (p != MAP_FAILED)
				munmap(p, n * HUGE_2M);
			expect_books(&few, 0, "after a promise to who is bound to a node");
		}

	pool_node_set(nodes[1], 0);
	pool_read(&few);
	p = map_huge(1);
	expect(bind_to(p, HUGE_2M, nodes[1], 0), 0, "MPOL_BIND of what is untouched");
	touch_write(p, 1, &caught);
	caught_is(&caught, p, SIGBUS, BUS_ADRERR, "bound to a node without pages");
	expect_books(&few, 1, "a fault that found no page at its node");
	syscall(SYS_mbind, p, HUGE_2M, MPOL_PREFERRED, &mask, 64UL, 0);
	touch_write(p, 1, &caught);
	if (caught_is(&caught, p, 0, 0, "a node without pages is preferred") &&
	    page_node(p) != nodes[0])
		fail("errno", "all pages are at node %d, and one is at node %d", nodes[0], page_node(p));
	munmap(p, HUGE_2M);
	expect_books(&few, 0, "after a fault that found no page at its node");

	/* He was promised a page of the pool, and gets one that the pool has not: the promise is kept. */
	pool_set("nr_overcommit_hugepages", 1);
	p = map_huge(1);
	expect(bind_to(p, HUGE_2M, nodes[1], 0), 0, "MPOL_BIND of what is untouched");
	touch_write(p, 1, &caught);
	if (!caught.sig) {	/* the buddy allocator may have none */
		if (page_node(p) != nodes[1])
			fail("errno", "bound to node %d, and the page is at node %d", nodes[1],
			     page_node(p));
		count_add(surplus, 1);
	}
	munmap(p, HUGE_2M);
	expect_books(&few, 0, "after a surplus page for who was promised another");
	pool_restore(all);
}

/*
 * A page that two processes have mapped.  The child asks, without CAP_SYS_NICE first;
 * what it may not move stays where it was.
 */
static void mapped_twice(enum kind kind)
{
	int here, there, status, err;
	struct huge h;
	pid_t pid;
	long got;

	if (huge_open(&h, kind, HUGE_2M, 1, "/dev/hugepages", OWNER))
		return;
	here = page_node(h.addr);
	there = nodes[here == nodes[0]];
	pid = fork();
	if (!pid) {
		unsigned long from = 1UL << here, to = 1UL << there;

		huge_check(&h, OWNER, "mapped twice");	/* maps it here too */
		drop_privileges();
		got = move_page(0, h.addr, there, MPOL_MF_MOVE, &status);
		if (got || status != -EACCES)
			fail("errno", "move_pages(MOVE) of a page mapped twice: %ld, status %d", got,
			     status);
		got = move_page(0, h.addr, there, MPOL_MF_MOVE_ALL, &status);
		if (got != -EPERM)
			fail("errno", "move_pages(MOVE_ALL) without CAP_SYS_NICE: %ld", got);
		err = bind_to(h.addr, HUGE_2M, there, MPOL_MF_MOVE_ALL);
		expect(err, EPERM, "mbind(MOVE_ALL) without CAP_SYS_NICE");
		err = bind_to(h.addr, HUGE_2M, there, MPOL_MF_MOVE | MPOL_MF_STRICT);
		/* 5.10 does not count such a huge page as misplaced; later kernels do. */
		if (err && err != EIO)
			expect(err, EIO, "mbind(MOVE | STRICT) of a page mapped twice");
		unbind(h.addr, HUGE_2M);
		if (syscall(SYS_migrate_pages, 0, 64UL, &from, &to) < 0)
			fail("errno", "migrate_pages of oneself: %s", strerror(errno));
		if (page_node(h.addr) != here)
			fail("errno", "a page mapped twice was moved without CAP_SYS_NICE");
		else
			count_add(refused, 1);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	pid = fork();
	if (!pid) {
		huge_check(&h, OWNER, "mapped twice");
		got = move_page(0, h.addr, there, MPOL_MF_MOVE_ALL, &status);
		if (got || status != there)
			fail("errno", "move_pages(MOVE_ALL) of a page mapped twice: %ld, status %d",
			     got, status);
		expect(bind_to(h.addr, HUGE_2M, here, MPOL_MF_MOVE_ALL | MPOL_MF_STRICT), 0,
		       "mbind(MOVE_ALL | STRICT) of a page mapped twice");
		expect_node(&h, here, "MOVE_ALL of a page mapped twice");
		_exit(0);
	}
	waitpid(pid, &status, 0);
	huge_check(&h, OWNER, "after the moves of the other process");
	huge_close(&h);
}

static void both_stay(char *p, const int *at, const char *what)
{
	int i;

	for (i = 0; i < 2; i++)
		if (page_node(p + i * HUGE_2M) != at[i])
			fail("errno", "%s without CAP_SYS_NICE: a page that another process uses too was "
			     "moved from node %d to node %d", what, at[i], page_node(p + i * HUGE_2M));
}

/* The child has the very table of this process, so each page of it has one map count. */
static void shared_table(void)
{
	int fd = huge_memfd(PUD_BYTES), at[2], i, there, status, err;
	char *room = map_pud(fd, PROT_READ | PROT_WRITE), *own;
	unsigned long from, to;
	pid_t pid;

	for (i = 0; i < 2; i++) {
		pattern_write(room + i * HUGE_2M, HUGE_2M, OWNER, 0);
		at[i] = page_node(room + i * HUGE_2M);
	}
	there = nodes[at[0] == nodes[0]];
	from = 1UL << at[0];
	to = 1UL << there;
	pid = fork();
	if (!pid) {
		munmap(room, PUD_BYTES);
		own = map_pud(fd, PROT_READ | PROT_WRITE);
		pattern_check(own, HUGE_2M, OWNER, 0);
		/* Never touched here: the other one's table brought it. */
		count_add(behind_table, is_mapped(own + HUGE_2M));
		drop_privileges();
		if (syscall(SYS_migrate_pages, 0, 64UL, &from, &to) < 0)
			fail("errno", "migrate_pages of oneself: %s", strerror(errno));
		both_stay(own, at, "migrate_pages");
		/* The whole range: a part of it would split the mapping, and unshare the table. */
		expect(bind_to(own, PUD_BYTES, there, MPOL_MF_MOVE), 0, "mbind(MOVE), shared table");
		both_stay(own, at, "mbind(MOVE)");
		err = bind_to(own, PUD_BYTES, there, MPOL_MF_MOVE | MPOL_MF_STRICT);
		if (err && err != EIO)
			expect(err, EIO, "mbind(MOVE | STRICT), shared table");
		both_stay(own, at, "mbind(MOVE | STRICT)");
		_exit(0);
	}
	waitpid(pid, &status, 0);
	both_stay(room, at, "a process beside,");
	for (i = 0; i < 2; i++)
		pattern_check(room + i * HUGE_2M, HUGE_2M, OWNER, 0);
	munmap(room, PUD_BYTES);
	close(fd);
}

static void expect_user(long err, int dumpable, const char *call)
{
	if (err != (dumpable ? 0 : EPERM))
		fail("errno", "%s of a process of the same user that is%s dumpable: %s, expected %s", call,
		     dumpable ? "" : " not", err ? strerror(err) : "success",
		     dumpable ? "success" : "EPERM");
}

/* Nobody, and a child that moves his page there and back. */
static void by_user(int dumpable)
{
	int here, there, status;
	struct huge h;
	pid_t pid;
	long got;

	pid = fork();
	if (!pid) {
		unsigned long from, to;

		/* setuid() has made it a process that is not dumpable, whichever it is to be. */
		if (huge_open(&h, ANON, HUGE_2M, 1, NULL, OWNER) || setgroups(0, NULL) ||
		    setgid(77) || setuid(78) || prctl(PR_SET_DUMPABLE, dumpable))
			_exit(0);
		here = page_node(h.addr);
		there = nodes[here == nodes[0]];
		from = 1UL << there;
		to = 1UL << here;
		pid = fork();
		if (!pid) {
			munmap(h.addr, HUGE_2M);	/* mapped once again */
			got = move_page(getppid(), h.addr, there, MPOL_MF_MOVE, &status);
			expect_user(got < 0 ? -got : 0, dumpable, "move_pages");
			if (!got && status != there)
				fail("errno", "move_pages of the same user's page: status %d", status);
			got = syscall(SYS_migrate_pages, getppid(), 64UL, &from, &to);
			expect_user(got < 0 ? errno : 0, dumpable, "migrate_pages");
			count_add(same_user, 1);
			_exit(0);
		}
		waitpid(pid, &status, 0);
		expect_node(&h, here, "there and back by the same user, or refused to him");
		_exit(0);
	}
	waitpid(pid, &status, 0);
}

static int put(const char *folder, const char *file, const char *text)
{
	char path[200];

	snprintf(path, sizeof(path), "%s/%s", folder, file);
	return write_file(path, text);
}

/* The pages of a task follow the nodes of its cpuset. */
static void cpuset(enum kind kind)
{
	char root[] = "/tmp/cpusetXXXXXX", group[64], text[32];
	int here, there, status, tries;
	struct huge h;
	pid_t pid;

	if (!mkdtemp(root))
		return;
	if (mount("cpuset", root, "cgroup", 0, "cpuset")) {
		rmdir(root);
		count_add(by_cpuset, 1);	/* CONFIG_CPUSETS, or it is at work elsewhere */
		return;
	}
	snprintf(group, sizeof(group), "%s/t", root);
	mkdir(group, 0755);
	pid = fork();
	if (!pid) {
		if (huge_open(&h, kind, HUGE_2M, 1, "/dev/hugepages", OWNER))
			_exit(0);
		here = page_node(h.addr);
		there = nodes[here == nodes[0]];
		put(group, "cpuset.cpus", "0");
		snprintf(text, sizeof(text), "%d", here);
		put(group, "cpuset.mems", text);
		put(group, "cpuset.memory_migrate", "1");
		snprintf(text, sizeof(text), "%d", getpid());
		expect(put(group, "cgroup.procs", text), 0, "entering a cpuset");
		snprintf(text, sizeof(text), "%d", there);
		expect(put(group, "cpuset.mems", text), 0, "other nodes for a cpuset");
		/* A worker does it. */
		for (tries = 0; tries < 40 && page_node(h.addr) != there; tries++)
			usleep(50000);
		expect_node(&h, there, "cpuset.memory_migrate");
		count_add(by_cpuset, 1);
		put(root, "cgroup.procs", "0");
		huge_close(&h);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	for (tries = 0; tries < 20 && rmdir(group); tries++)
		usleep(50000);
	umount(root);
	rmdir(root);
}

int main(int argc, char **argv)
{
	struct pool before;

	repro_start(argc, argv);
	moved = counter("moved");
	refused = counter("refused");
	by_cpuset = counter("by_cpuset");
	behind_table = counter("behind_table");
	bound = counter("bound");
	surplus = counter("surplus");
	same_user = counter("same_user");
	two_nodes(nodes);
	catch_signals();
	pool_read(&before);
	do {
		placed();
		bound_to_few(&before);
		part(ANON);
		part(MEMFD);
		before_a_hole(ANON);
		before_a_hole(MEMFD);
		own(ANON);
		own(SHARED_FILE);
		own(PRIVATE_FILE);
		mapped_twice(SHARED_FILE);
		mapped_twice(ANON);
		shared_table();
		by_user(1);
		by_user(0);
		cpuset(ANON);
		cpuset(SHARED_FILE);
		pool_same(&before, "after a round");
	} while (running() && !failed());
	return repro_end();
}
