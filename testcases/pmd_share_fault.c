// SPDX-License-Identifier: GPL-2.0-only
/*
 * The first fault in an aligned 1 GiB of a shared mapping looks through the VMAs of
 * the file for a page table to share.  The tree of VMAs, and the table that it finds,
 * hold still only under i_mmap_rwsem.
 *
 *	CPU0 (faulter, a fresh process)		CPU1 (another user of the file)
 *
 *	hugetlb_fault()				munmap() or exit()
 *	  i_mmap_lock_read()			  i_mmap_lock_write()
 *	  huge_pte_alloc()			  __unmap_hugepage_range()
 *	    huge_pmd_share()			    huge_pmd_unshare()
 *	      walks i_mmap			  unlinks the VMA, frees it
 *	      takes a reference to the table	frees the table
 *
 * Each process maps the file anew, reads its pages, and goes.  Who shares
 * a table sees the pages of the others at once, and HugetlbPages counts them for
 * those who faulted them in only: that tells that sharing took place.
 *
 * Two first faults in the same GiB may both find the table, and one of them has to let
 * go of it again.  A count that is wrong shows when the last user goes: its entries stay.
 *
 *	CPU0 (touches page 0)			CPU1 (touches page 1, in the same mm)
 *
 *	  pud_none(), raises the count		  pud_none(), raises the count
 *	  pud_populate()
 *						  no longer pud_none(): lowers the count
 *
 * fork() looks for a table in the same way, and may be given one that is not its
 * parent's: what that holds is counted already, and is not to be copied into it.
 */
#define _GNU_SOURCE
#include "catch.h"
#include "huge.h"
#include "phys.h"
#include "pool.h"
#include "race.h"
#include "repro.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define USERS 3
#define PAGES 3
#define OWNER 12
#define FORKS 3
#define BATCHES 3
#define MEETINGS 16	/* of two threads, until the table's first user goes */
#define BYSTANDERS 100

static struct counter *mapped, *shared, *moved, *forked, *met;
static unsigned long frames[PAGES];
static int file, nodes[2];

/* HugetlbPages of this process, in pages. */
static long own_pages(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[128];
	long kb = -1;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "HugetlbPages: %ld", &kb) == 1)
			break;
	if (f)
		fclose(f);
	return kb / 2048;
}

/* An aligned GiB of address space, and the file there. */
static char *map(char **all)
{
	char *at;

	*all = mmap(NULL, 2 * HUGE_1G, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (*all == MAP_FAILED)
		return NULL;
	at = (char *)(((unsigned long)*all + HUGE_1G - 1) & ~(HUGE_1G - 1));
	at = mmap(at, HUGE_1G, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, file, 0);
	return at == MAP_FAILED ? NULL : at;
}

/*
 * Nobody else has the file mapped, and nobody moves its pages.  A process that is gone may
 * leave its page tables to one that was just reading its status.
 */
static void expect_maps(long expected, const char *when)
{
	long maps = -1;
	int i, tries;

	for (i = 0; i < PAGES; i++) {
		for (tries = 0; tries < 20; tries++) {
			maps = frames[i] ? frame_maps(frames[i]) : -1;
			if (maps < 0 || maps == expected)
				break;
			usleep(50000);
		}
		if (maps >= 0 && maps != expected) {
			fail("counters", "%s: page %d is in %ld page tables, expected %ld", when, i,
			     maps, expected);
			return;
		}
	}
}

static void check(char *at)
{
	int i;

	for (i = 0; i < PAGES; i++)
		pattern_check(at + i * HUGE_2M, HUGE_2M, OWNER, 0);
}

/* Unmaps the file; the addresses stay ours, so that no other mapping is put there. */
static void vacate(char *at)
{
	if (mmap(at, HUGE_1G, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
		 0) == MAP_FAILED)
		skip("1 GiB of addresses: %s", strerror(errno));
}

/*
 * Two views of the file with a table each, as the second was not writable when it was
 * touched.  Now they are alike, and fork() may give each one's child either table.
 */
static void forks_beside_another_table(void)
{
	char *one = map_pud(file, PROT_READ | PROT_WRITE), *other = map_pud(file, PROT_READ);
	int i;
	pid_t pid;

	check(one);
	check(other);
	for (i = 0; i < PAGES; i++)
		frames[i] = page_frame(one + i * HUGE_2M);
	if (mprotect(other, HUGE_1G, PROT_READ | PROT_WRITE))
		fail("errno", "mprotect of 1 GiB: %s", strerror(errno));
	expect_maps(2, "two views");
	for (i = 0; i < FORKS && !failed(); i++) {
		pid = fork();
		if (!pid) {
			check(other);
			check(one);
			count_add(forked, own_pages() < 2 * PAGES);
			_exit(0);
		}
		if (pid > 0)
			waitpid(pid, NULL, 0);
		expect_maps(2, "a child of two views is gone");
	}
	munmap(one, HUGE_1G);
	expect_maps(1, "one of two views is gone");
	munmap(other, HUGE_1G);
	expect_maps(0, "two views are gone");
}

static struct {
	char *at;
	int round, done, over;
} meeting;

static void *second_toucher(void *arg)
{
	int round = 0;

	pin_cpu(1);
	while (!__atomic_load_n(&meeting.over, __ATOMIC_ACQUIRE)) {
		if (__atomic_load_n(&meeting.round, __ATOMIC_ACQUIRE) == round)
			continue;
		*(volatile char *)(meeting.at + HUGE_2M);
		__atomic_store_n(&meeting.done, ++round, __ATOMIC_RELEASE);
	}
	return arg;
}

/* A fresh mapping each time, in which both threads are the first. */
static void meet(void)
{
	int round = meeting.round + 1;

	if (mmap(meeting.at, HUGE_1G, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_NORESERVE | MAP_FIXED, file, 0) == MAP_FAILED) {
		fail("errno", "mmap of 1 GiB: %s", strerror(errno));
		return;
	}
	__atomic_store_n(&meeting.round, round, __ATOMIC_RELEASE);
	*(volatile char *)meeting.at;
	while (__atomic_load_n(&meeting.done, __ATOMIC_ACQUIRE) != round)
		;
	count_add(met, is_mapped(meeting.at + 2 * HUGE_2M));
}

/*
 * The walk through the VMAs of the file is the window: bystanders, which map too little to
 * share anything and come before the others in the tree, make it long.
 */
static void first_faults_meet(void)
{
	char *bystander[BYSTANDERS], *first;
	pthread_t thread;
	cpu_set_t all;
	int i, batch;

	for (i = 0; i < BYSTANDERS; i++)
		bystander[i] = mmap(NULL, PAGES * HUGE_2M, PROT_READ,
				    MAP_SHARED | MAP_NORESERVE, file, 0);
	meeting.at = map_pud(file, PROT_READ | PROT_WRITE);
	sched_getaffinity(0, sizeof(all), &all);
	pin_cpu(0);
	if (pthread_create(&thread, NULL, second_toucher, NULL))
		skip("a second thread: %s", strerror(errno));
	for (batch = 0; batch < BATCHES && !failed(); batch++) {
		first = map_pud(file, PROT_READ | PROT_WRITE);
		check(first);
		for (i = 0; i < MEETINGS; i++)
			meet();
		vacate(meeting.at);
		expect_maps(1, "two first faults at once, and their mapping is gone");
		munmap(first, HUGE_1G);
		expect_maps(0, "two first faults at once, and all mappings are gone");
	}
	__atomic_store_n(&meeting.over, 1, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	munmap(meeting.at, HUGE_1G);
	sched_setaffinity(0, sizeof(all), &all);
	for (i = 0; i < BYSTANDERS; i++)
		if (bystander[i] != MAP_FAILED)
			munmap(bystander[i], PAGES * HUGE_2M);
}

static void one_life(int turn)
{
	char *all, *at = map(&all);

	if (!at) {
		fail("errno", "mmap of 1 GiB: %s", strerror(errno));
		return;
	}
	check(at);
	count_add(mapped, 1);
	if (own_pages() < PAGES)
		count_add(shared, 1);
	switch (turn % 4) {
	case 0:
		munmap(at, HUGE_1G);
		break;
	case 1:
		mprotect(at, HUGE_2M, PROT_READ);
		pattern_check(at, HUGE_2M, OWNER, 0);
		break;
	case 2:
		munmap(at + HUGE_1G / 2, HUGE_1G / 2);
		pattern_check(at + HUGE_2M, HUGE_2M, OWNER, 0);
		break;
	}
	munmap(all, 2 * HUGE_1G);
}

static void user(void *arg)
{
	int turn = (int)(long)arg;
	pid_t pid;

	for (; running(); turn++) {
		one_life(turn);
		pid = fork();
		if (!pid) {
			one_life(turn + 1);
			_exit(0);
		}
		if (pid > 0)
			waitpid(pid, NULL, 0);
	}
}

static void mover(void *arg)
{
	int status, turn;

	for (turn = 0; running(); turn++) {
		if (!move_page(0, arg, nodes[turn % 2], MPOL_MF_MOVE_ALL, &status) &&
		    status == nodes[turn % 2])
			count_add(moved, 1);
		usleep(2000);
	}
}

int main(int argc, char **argv)
{
	struct pool before;
	char *all, *at;
	long i;

	repro_start(argc, argv);
	mapped = counter("mapped");
	shared = counter("shared");
	moved = counter("moved");
	forked = counter("forked");
	met = counter("met");
	two_nodes(nodes);
	catch_signals();
	pool_read(&before);
	file = huge_file("/dev/hugepages", HUGE_1G);
	at = map(&all);
	if (file < 0 || !at)
		skip("a file of 1 GiB in /dev/hugepages: %s", strerror(errno));
	for (i = 0; i < PAGES; i++)
		pattern_write(at + i * HUGE_2M, HUGE_2M, OWNER, 0);
	vacate(at);
	forks_beside_another_table();
	first_faults_meet();
	if (mmap(at, HUGE_1G, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, file,
		 0) == MAP_FAILED)
		fail("errno", "mmap of 1 GiB: %s", strerror(errno));
	else
		check(at);
	for (i = 0; i < USERS; i++)
		child("user", user, (void *)i);
	child("mover", mover, at);
	repro_wait();
	check(at);
	munmap(all, 2 * HUGE_1G);
	close(file);
	pool_same(&before, "at the end");
	return repro_end();
}
