// SPDX-License-Identifier: GPL-2.0-only
/*
 * The books of a pool through all that an administrator and programs can do to it.  Each
 * step has one right answer, for the machine and for each node, and every place that
 * tells of the pool tells the same: sysfs, /proc/meminfo, node meminfo, sysctl.
 *
 *	grown and shrunk		pages go round the nodes, or to those of the policy
 *	shrunk below what is in use	pages in use become surplus, and leave with their user
 *	reserved beyond the pool	surplus pages come, up to the limit, and go with it
 *	asked by two at once		one gets the last surplus page, the other is refused:
 *
 *		CPU0				CPU1
 *
 *		surplus 0 of 1: allocate	surplus 0 of 1: allocate
 *		  (without the lock)		  (without the lock)
 *		surplus still 0: it is 1	surplus 1 by now: the page goes back
 *
 *	given back, many pages at once	who reserves meanwhile keeps what it got
 *	refused				nothing changes
 *	a child of who has reserved	takes no page of the reservation
 */
#define _GNU_SOURCE
#include "catch.h"
#include "huge.h"
#include "pool.h"
#include "race.h"
#include "repro.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TURNS 96

static struct counter *steps, *refused, *surplus, *agreed, *at_once, *overtaken, *fetched;
static struct pool all;
static int nodes[2];

/* The number behind a word of a file such as /proc/meminfo; -1 where there is none. */
static long told(const char *path, const char *word)
{
	char line[200], *at;
	long value = -1;
	FILE *f = fopen(path, "r");

	while (f && fgets(line, sizeof(line), f))
		if ((at = strstr(line, word))) {
			value = atol(at + strlen(word));
			break;
		}
	if (f)
		fclose(f);
	return value;
}

static void same(long a, long b, const char *what, const char *when)
{
	if (a != b)
		fail("counters", "%s: %s tells %ld, sysfs %ld", when, what, a, b);
	else
		count_add(agreed, 1);
}

/* Whatever tells of the pool; only where 2 MiB is the default size. */
static void agree(const char *when)
{
	char path[80];
	struct pool p;
	int i;

	pool_check(when);
	pool_read(&p);
	if (told("/proc/meminfo", "Hugepagesize:") != 2048)
		return;
	same(told("/proc/meminfo", "HugePages_Total:"), p.nr, "HugePages_Total", when);
	same(told("/proc/meminfo", "HugePages_Free:"), p.free, "HugePages_Free", when);
	same(told("/proc/meminfo", "HugePages_Rsvd:"), p.resv, "HugePages_Rsvd", when);
	same(told("/proc/meminfo", "HugePages_Surp:"), p.surplus, "HugePages_Surp", when);
	same(told("/proc/sys/vm/nr_hugepages", ""), p.nr - p.surplus, "vm.nr_hugepages", when);
	same(told("/proc/sys/vm/nr_overcommit_hugepages", ""), p.overcommit,
	     "vm.nr_overcommit_hugepages", when);
	for (i = 0; i < p.n_nodes; i++) {
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/meminfo", p.node[i]);
		same(told(path, "HugePages_Total:"), p.node_nr[i], "node meminfo", when);
		same(told(path, "HugePages_Free:"), p.node_free[i], "node meminfo", when);
		same(told(path, "HugePages_Surp:"), p.node_surplus[i], "node meminfo", when);
	}
}

static void expect(long nr, long free, long resv, long surp, const char *when)
{
	struct pool p;
	int tries;

	for (tries = 0; tries < (failed() ? 2 : 20); tries++) {
		pool_read(&p);
		if (p.nr == nr && p.free == free && p.resv == resv && p.surplus == surp) {
			agree(when);
			count_add(steps, 1);
			return;
		}
		usleep(50000);
	}
	fail("counters", "%s: nr free resv surplus are %ld %ld %ld %ld, expected %ld %ld %ld %ld", when,
	     p.nr, p.free, p.resv, p.surplus, nr, free, resv, surp);
}

static long pages_of(int node)
{
	struct pool p;
	int i;

	pool_read(&p);
	for (i = 0; i < p.n_nodes; i++)
		if (p.node[i] == node)
			return p.node_nr[i];
	return 0;
}

static void expect_on(long a, long b, const char *when)
{
	if (pages_of(nodes[0]) != a || pages_of(nodes[1]) != b)
		fail("counters", "%s: the nodes have %ld and %ld pages, expected %ld and %ld", when,
		     pages_of(nodes[0]), pages_of(nodes[1]), a, b);
}

static void set(long value, const char *when)
{
	int err = pool_set("nr_hugepages", value);

	if (err)
		fail("errno", "%s: nr_hugepages = %ld: %s", when, value, strerror(err));
}

static char *map(size_t n, int flags)
{
	char *p = mmap(NULL, n * HUGE_2M, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | flags, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void touch(char *p, int n, int sig, const char *when)
{
	struct caught caught;
	int i;

	for (i = 0; i < n; i++) {
		touch_write(p + i * HUGE_2M, 1, &caught);
		caught_is(&caught, p + i * HUGE_2M, sig, sig ? BUS_ADRERR : 0, when);
	}
}

/* More pages go round the nodes, fewer too; and each node, and each policy, by itself. */
static void sizes(void)
{
	unsigned long mask = 1UL << nodes[1];

	set(0, "emptied");
	expect(0, 0, 0, 0, "emptied");
	set(4, "grown");
	expect(4, 4, 0, 0, "grown to 4");
	expect_on(2, 2, "grown to 4");
	set(2, "shrunk");
	expect(2, 2, 0, 0, "shrunk to 2");
	expect_on(1, 1, "shrunk to 2");
	pool_node_set(nodes[0], 3);
	expect_on(3, 1, "a node grown to 3");
	expect(4, 4, 0, 0, "a node grown to 3");
	pool_node_set(nodes[1], 0);
	expect_on(3, 0, "a node emptied");
	pool_node_set(nodes[0], 0);
	expect(0, 0, 0, 0, "both nodes emptied");
	syscall(SYS_set_mempolicy, MPOL_BIND, &mask, 64UL);
	if (pool_set("nr_hugepages_mempolicy", 3))
		fail("errno", "nr_hugepages_mempolicy: %s", strerror(errno));
	expect_on(0, 3, "grown under a policy");
	/* The plain file knows no policy. */
	set(5, "grown in spite of a policy");
	expect_on(1, 4, "grown in spite of a policy");
	if (pool_set("nr_hugepages_mempolicy", 2))
		fail("errno", "nr_hugepages_mempolicy: %s", strerror(errno));
	expect_on(1, 1, "shrunk under a policy");
	syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0UL);
	set(0, "emptied");
}

/* The pool gets smaller than what is in use: those pages leave when their user does. */
static void shrunk_in_use(void)
{
	char *p;

	set(4, "in use");
	p = map(3, 0);
	if (!p)
		return;
	expect(4, 4, 3, 0, "3 of 4 reserved");
	touch(p, 3, 0, "reserved pages");
	expect(4, 1, 0, 0, "3 of 4 in use");
	set(1, "shrunk in use");
	expect(3, 0, 0, 2, "shrunk to 1 with 3 in use");
	munmap(p + 2 * HUGE_2M, HUGE_2M);
	expect(2, 0, 0, 1, "one of the surplus pages is freed");
	set(3, "grown in use");
	expect(3, 1, 0, 0, "grown to 3 with 2 in use");
	munmap(p, 2 * HUGE_2M);
	expect(3, 3, 0, 0, "all are freed");
	count_add(surplus, 2);

	/* The same with pages that are promised. */
	p = map(2, 0);
	set(0, "shrunk with reservations");
	expect(2, 2, 2, 2, "shrunk to nothing with 2 reserved");
	touch(p, 1, 0, "a page that was promised");
	expect(2, 1, 1, 2, "one of the promised pages is in use");
	munmap(p, 2 * HUGE_2M);
	expect(0, 0, 0, 0, "what was promised is given back");
	count_add(surplus, 2);
}

/* Reservations and faults beyond the pool are met by surplus pages, up to the limit. */
static void beyond_the_pool(void)
{
	char *p, *q;

	set(4, "beyond the pool");
	pool_set("nr_overcommit_hugepages", 3);
	p = map(6, 0);
	if (!p) {
		fail("errno", "6 pages with 4 and 3 surplus: %s", strerror(errno));
		return;
	}
	expect(6, 6, 6, 2, "6 reserved of a pool of 4");
	q = map(2, 0);
	if (q)
		fail("errno", "8 pages of a pool of 4 with 3 surplus");
	else
		count_add(refused, 1);
	expect(6, 6, 6, 2, "2 more are refused");
	touch(p, 5, 0, "pages of an overcommitted reservation");
	expect(6, 1, 1, 2, "5 of 6 in use");
	q = map(2, MAP_NORESERVE);
	if (q) {
		touch(q, 1, 0, "a surplus page by a fault");
		expect(7, 1, 1, 3, "one more by a fault");
		touch(q + HUGE_2M, 1, SIGBUS, "above nr_overcommit_hugepages");
		count_add(refused, 1);
		munmap(q, 2 * HUGE_2M);
	}
	expect(6, 1, 1, 2, "that one is freed");
	pool_set("nr_overcommit_hugepages", 0);
	expect(6, 1, 1, 2, "no more surplus is allowed");
	munmap(p, 6 * HUGE_2M);
	expect(4, 4, 0, 0, "all is given back");
	count_add(surplus, 3);

	/* Untouched. */
	pool_set("nr_overcommit_hugepages", 2);
	p = map(6, 0);
	if (p) {
		expect(6, 6, 6, 2, "reserved, untouched");
		munmap(p, 6 * HUGE_2M);
	}
	expect(4, 4, 0, 0, "given back untouched");
	pool_set("nr_overcommit_hugepages", 0);
}

/* Both are here; who waits long may be the one whose CPU the other needs. */
static void meet(volatile unsigned long *here, unsigned long both)
{
	int spins = 0;

	__atomic_fetch_add(here, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(here, __ATOMIC_SEQ_CST) < both)
		if (++spins > 20000)
			sched_yield();
}

/* Asks for a page that the pool lacks, by a reservation and by a fault in turn. */
static void one_more(int who, volatile unsigned long *here, volatile unsigned long *got)
{
	unsigned long met = 0;
	struct caught caught;
	struct pool now;
	int turn;
	char *p;

	pin_cpu(who);
	for (turn = 0; turn < TURNS && (!turn || got[turn - 1] < 2); turn++) {
		p = turn & 1 ? map(1, MAP_NORESERVE) : NULL;
		meet(here, met += 2);
		meet(here, met += 2);	/* neither is in sched_yield() now */
		if (turn & 1)
			touch_write(p, 1, &caught);
		else
			p = map(1, 0);
		if (p && !(turn & 1 && caught.sig))
			__atomic_fetch_add(&got[turn], 1, __ATOMIC_SEQ_CST);
		meet(here, met += 2);
		if (!who) {
			pool_read_sums(&now);
			if (now.nr > 1 || got[turn] > 1)
				fail("counters", "two asked at once for the last surplus page, by a %s: "
				     "%lu got one, nr is %ld of no pool and 1 surplus page",
				     turn & 1 ? "fault" : "reservation", got[turn], now.nr);
			count_add(at_once, got[turn] > 0);	/* the buddy allocator may have none */
		}
		meet(here, met += 2);
		if (p)
			munmap(p, HUGE_2M);
	}
}

static void wait_for_both(const pid_t pid[2])
{
	int who, status;

	for (who = 0; who < 2; who++)
		if (waitpid(-1, &status, 0) > 0 && status) {
			fail("signal", "who asked for a surplus page ended with status 0x%x", status);
			kill(pid[0], SIGKILL);	/* who is left waits for him */
			kill(pid[1], SIGKILL);
		}
}

/* Processes, for threads would wait for each other in mmap(). */
static void last_page(void)
{
	volatile unsigned long *words = shared_words(1 + TURNS);
	int who;
	pid_t pid[2];

	set(0, "the last surplus page");
	pool_set("nr_overcommit_hugepages", 1);
	for (who = 0; who < 2; who++) {
		pid[who] = fork();
		if (!pid[who]) {
			one_more(who, words, words + 1);
			_exit(0);
		}
	}
	wait_for_both(pid);
	munmap((void *)words, (1 + TURNS) * sizeof(*words));
	expect(0, 0, 0, 0, "after the last surplus page");
	pool_set("nr_overcommit_hugepages", 0);
}

/*
 * A large reservation of surplus pages is given back, page by page, and whoever does it may be
 * made to wait in the middle: by another task of its CPU, for it is of idle priority.  What is
 * reserved meanwhile is not what goes next (e5bbc8a6c992).
 *
 *	CPU0				CPU1 (idle priority)
 *
 *					munmap() of 12 reserved pages
 *					  return_unused_surplus_pages()
 *					    resv and nr become less, together
 *					    cond_resched_lock(): another task
 *	mmap(): 4 pages are reserved
 *					    goes on with its own
 *	touches them
 */
#define MANY 12
#define FEW 4
#define GIVERS 2

static void give_back(volatile unsigned long *has)
{
	char *p = map(MANY, 0);

	pin_cpu(1);
	idle_priority();
	*has = p ? 1 : 2;
	if (p)
		munmap(p, MANY * HUGE_2M);
	_exit(0);
}

static void get_in_the_way(void)
{
	struct timespec from, now;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pin_cpu(1);
	for (;;) {
		clock_gettime(CLOCK_MONOTONIC, &from);
		do
			clock_gettime(CLOCK_MONOTONIC, &now);
		while ((now.tv_sec - from.tv_sec) * 1000000 + (now.tv_nsec - from.tv_nsec) / 1000 < 2000);
		usleep(200);
	}
}

static void given_back_meanwhile(void)
{
	volatile unsigned long *has = shared_words(1);
	pid_t giver, other = fork();
	struct pool now;
	int turn, gone;
	char *p;

	if (!other)
		get_in_the_way();
	set(0, "a large reservation");
	pool_set("nr_overcommit_hugepages", MANY + FEW);
	for (turn = 0; turn < GIVERS && !failed(); turn++) {
		*has = gone = 0;
		giver = fork();
		if (!giver)
			give_back(has);
		do {
			gone = waitpid(giver, NULL, WNOHANG) == giver;
			pool_read_sums(&now);
		} while (!gone && (!*has || now.resv >= MANY));
		/* The buddy allocator may have none for the one or for the other. */
		p = *has == 1 ? map(FEW, 0) : NULL;
		if (!gone && waitpid(giver, NULL, WNOHANG) != giver) {
			count_add(overtaken, 1);
			waitpid(giver, NULL, 0);
		}
		if (!p)
			break;
		expect(FEW, FEW, FEW, FEW, "reserved while a larger reservation is given back");
		touch(p, FEW, 0, "reserved while a larger reservation is given back");
		munmap(p, FEW * HUGE_2M);
		expect(0, 0, 0, 0, "both are given back");
	}
	kill(other, SIGKILL);
	waitpid(other, NULL, 0);
	munmap((void *)has, sizeof(*has));
	pool_set("nr_overcommit_hugepages", 0);
}

/*
 * A page is touched that nobody has reserved, and reserved while it is fetched: from the buddy
 * allocator, which takes long.  Whoever is second finds that there is a reservation too much.
 *
 *	CPU0				CPU1
 *
 *	alloc_huge_page()
 *	  vma_needs_reservation(): yes
 *	  fetches a page		mmap(): hugetlb_reserve_pages(), resv + 1
 *	  vma_commit_reservation(): is
 *	  there by now, resv - 1
 */
#define MEETINGS 16

static void one_page(int who, int fd, volatile unsigned long *here)
{
	struct caught caught;
	int turn, spins;
	char *p;

	pin_cpu(who);
	for (turn = 0; turn < MEETINGS; turn++) {
		if (!who)
			p = mmap(NULL, HUGE_2M, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
		meet(here, 4 * turn + 2);
		/* The buddy allocator may have none, for the one or for the other. */
		if (!who) {
			if (!touch_write(p, 1, &caught))
				count_add(fetched, 1);
		} else {
			for (spins = 0; spins < turn * turn * 20; spins++)
				__asm__ volatile("" ::: "memory");
			p = mmap(NULL, HUGE_2M, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		}
		meet(here, 4 * turn + 4);
		if (p != MAP_FAILED)
			munmap(p, HUGE_2M);
		if (!who)
			fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, HUGE_2M);
	}
}

static void reserved_meanwhile(void)
{
	volatile unsigned long *here = shared_words(1);
	int fd = huge_file("/dev/hugepages", HUGE_2M), who;
	pid_t pid[2];

	set(0, "reserved meanwhile");
	pool_set("nr_overcommit_hugepages", 3);
	for (who = 0; who < 2; who++) {
		pid[who] = fork();
		if (!pid[who]) {
			one_page(who, fd, here);
			_exit(0);
		}
	}
	wait_for_both(pid);
	close(fd);
	expect(0, 0, 0, 0, "touched, and reserved meanwhile");
	munmap((void *)here, sizeof(*here));
	pool_set("nr_overcommit_hugepages", 0);
}

/* A child gets what is left, and never what its parent was promised. */
static void heirs(void)
{
	int status;
	char *p;
	pid_t pid;

	set(4, "heirs");
	p = map(3, 0);
	if (!p)
		return;
	pid = fork();
	if (!pid) {
		touch(p, 1, 0, "a child's page, of what is left");
		touch(p + HUGE_2M, 1, SIGBUS, "a child's page, with all others promised");
		expect(4, 3, 3, 0, "a child has the last page that is not promised");
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (status)
		fail("signal", "a child ended with status 0x%x", status);
	expect(4, 4, 3, 0, "the child is gone");
	touch(p, 3, 0, "what was promised");
	munmap(p, 3 * HUGE_2M);
	expect(4, 4, 0, 0, "the parent has nothing");

	/* Of a shared mapping the file has the promise, whoever comes. */
	p = mmap(NULL, 4 * HUGE_2M, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (p == MAP_FAILED)
		return;
	pid = fork();
	if (!pid) {
		touch(p, 3, 0, "a child's pages of a shared mapping");
		_exit(0);
	}
	waitpid(pid, &status, 0);
	expect(4, 1, 1, 0, "a child has touched 3 of 4 shared pages");
	touch(p, 4, 0, "shared pages");
	munmap(p, 4 * HUGE_2M);
	expect(4, 4, 0, 0, "the shared mapping is gone");
}

static int become_nobody(void)
{
	struct rlimit none = { 0, 0 };	/* what may be locked would do as well */

	return setrlimit(RLIMIT_MEMLOCK, &none) || setgroups(0, NULL) || setgid(77) || setuid(78);
}

/* Who is nobody needs the group for SHM_HUGETLB. */
static void by_group(void)
{
	char old[32];
	int status, id;
	pid_t pid;
	FILE *f;

	snprintf(old, sizeof(old), "%ld\n", told("/proc/sys/vm/hugetlb_shm_group", ""));
	pid = fork();
	if (!pid) {
		if (become_nobody())
			_exit(0);
		id = shmget(IPC_PRIVATE, HUGE_2M, IPC_CREAT | SHM_HUGETLB | 0600);
		if (id >= 0 || errno != EPERM)
			fail("errno", "SHM_HUGETLB without rights: %s, expected EPERM",
			     id < 0 ? strerror(errno) : "success");
		else
			count_add(refused, 1);
		if (id >= 0)
			shmctl(id, IPC_RMID, NULL);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	f = fopen("/proc/sys/vm/hugetlb_shm_group", "w");
	if (!f)
		return;
	fputs("77\n", f);
	fclose(f);
	pid = fork();
	if (!pid) {
		if (become_nobody())
			_exit(0);
		id = shmget(IPC_PRIVATE, HUGE_2M, IPC_CREAT | SHM_HUGETLB | 0600);
		if (id < 0)
			fail("errno", "SHM_HUGETLB of hugetlb_shm_group: %s", strerror(errno));
		else
			shmctl(id, IPC_RMID, NULL);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	f = fopen("/proc/sys/vm/hugetlb_shm_group", "w");
	if (f) {
		fputs(old, f);
		fclose(f);
	}
	expect(4, 4, 0, 0, "shared memory is gone");
}

int main(int argc, char **argv)
{
	repro_start(argc, argv);
	steps = counter("steps");
	refused = counter("refused");
	surplus = counter("surplus");
	agreed = counter("agreed");
	at_once = counter("at_once");
	overtaken = counter("overtaken");
	fetched = counter("fetched");
	two_nodes(nodes);
	catch_signals();
	pool_read(&all);
	if (all.free != all.nr || all.resv || all.surplus || all.n_nodes != 2)
		skip("two nodes with free pools are needed: nr %ld free %ld resv %ld surplus %ld",
		     all.nr, all.free, all.resv, all.surplus);
	pool_set("nr_overcommit_hugepages", 0);
	do {
		sizes();
		shrunk_in_use();
		beyond_the_pool();
		last_page();
		given_back_meanwhile();
		reserved_meanwhile();
		heirs();
		by_group();
	} while (running() && !failed());
	pool_restore(&all);
	pool_same(&all, "at the end");
	return repro_end();
}
