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
 * Each process maps the file anew, reads and writes two pages, and goes.  Who shares
 * a table sees the pages of the others at once, and HugetlbPages counts them for
 * those who faulted them in only: that tells that sharing took place.
 */
#define _GNU_SOURCE
#include "catch.h"
#include "huge.h"
#include "pool.h"
#include "repro.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define USERS 3
#define PAGES 2
#define OWNER 12

static struct counter *mapped, *shared, *moved;
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

static void one_life(int turn)
{
	char *all, *at = map(&all);
	size_t i;

	if (!at) {
		fail("errno", "mmap of 1 GiB: %s", strerror(errno));
		return;
	}
	for (i = 0; i < PAGES; i++)
		pattern_check(at + i * HUGE_2M, HUGE_2M, OWNER, 0);
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
	two_nodes(nodes);
	catch_signals();
	pool_read(&before);
	file = huge_file("/dev/hugepages", HUGE_1G);
	at = map(&all);
	if (file < 0 || !at)
		skip("a file of 1 GiB in /dev/hugepages: %s", strerror(errno));
	for (i = 0; i < PAGES; i++)
		pattern_write(at + i * HUGE_2M, HUGE_2M, OWNER, 0);
	for (i = 0; i < USERS; i++)
		child("user", user, (void *)i);
	child("mover", mover, at);
	repro_wait();
	for (i = 0; i < PAGES; i++)
		pattern_check(at + i * HUGE_2M, HUGE_2M, OWNER, 0);
	munmap(all, 2 * HUGE_1G);
	close(file);
	pool_same(&before, "at the end");
	return repro_end();
}
