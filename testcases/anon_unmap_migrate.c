// SPDX-License-Identifier: GPL-2.0-only
/*
 * Anonymous huge pages are moved by other processes while their owner maps, writes,
 * checks and unmaps them, and while short-lived owners exit with them: the mover
 * has the page isolated, and its VMA, its page table and its anon_vma go away.
 *
 *	CPU0 (mover)				CPU1 (owner)
 *
 *	move_pages(owner, MPOL_MF_MOVE_ALL)	mmap(), writes
 *	  follow_page(), isolate_hugetlb()	munmap() or _exit()
 *	  unmap_and_move_huge_page()		  unmaps page or migration entry
 *	    page_get_anon_vma()			  unlink_anon_vmas()
 *	    try_to_unmap(): rmap walk		  frees VMA and page table
 *	    remove_migration_ptes()		mmap() takes the page from the pool again
 *
 * With "soft" the owner also takes pages offline, by MADV_SOFT_OFFLINE: migration
 * by the owner itself, then the page leaves the pool, and one base page of it is
 * poisoned.  The pools are refilled as it goes and the poison is taken off at the end.
 */
#include "pool.h"
#include "race.h"
#include "repro.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE 101
#endif

#define PAGES 4
#define MOVERS 2

static struct counter *unmapped, *exited, *offlined, *not_offlined;
static struct target *target;
static struct pool before;
static int soft;

static void mover(void *arg)
{
	move_target(target, (long)arg);
}

static void soften(char *page)
{
	if (!madvise(page, HUGE_2M, MADV_SOFT_OFFLINE)) {
		count_add(offlined, 1);
		return;
	}
	switch (errno) {
	case EINVAL:
		skip("MADV_SOFT_OFFLINE: the kernel needs CONFIG_MEMORY_FAILURE");
	case EBUSY:	/* a mover has it, or a reference was held just then */
	case ENOMEM:	/* nothing free to move it to */
	case EAGAIN:
		count_add(not_offlined, 1);
		break;
	default:
		fail("errno", "MADV_SOFT_OFFLINE: %s", strerror(errno));
	}
}

/* One life of a mapping; false when there was no page to be had. */
static int live(unsigned int seq)
{
	char *room = mmap(NULL, PAGES * HUGE_2M, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	int i;

	if (room == MAP_FAILED)
		return 0;
	for (i = 0; i < PAGES; i++)
		pattern_write(room + i * HUGE_2M, HUGE_2M, i, seq);
	target_set(target, getpid(), room, PAGES);
	if (soft)
		soften(room + seq % PAGES * HUGE_2M);
	for (i = 0; i < PAGES; i++)
		pattern_check(room + i * HUGE_2M, HUGE_2M, i, seq);
	munmap(room, PAGES * HUGE_2M);
	count_add(unmapped, 1);
	return 1;
}

static void owner(void *arg)
{
	unsigned int seq = 0;
	pid_t pid;

	(void)arg;
	while (running()) {
		if (!live(seq++) && soft)
			pool_restore(&before);
		if (seq % 4)
			continue;
		pid = fork();
		if (!pid) {
			/* Ends with its pages mapped, and with movers at work. */
			char *room = mmap(NULL, PAGES * HUGE_2M, PROT_READ | PROT_WRITE,
					  MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);

			if (room == MAP_FAILED)
				_exit(0);
			pattern_write(room, PAGES * HUGE_2M, 1, seq);
			target_set(target, getpid(), room, PAGES);
			usleep(1000);
			_exit(0);
		}
		if (pid > 0 && waitpid(pid, NULL, 0) == pid)
			count_add(exited, 1);
	}
	target_set(target, 0, NULL, 0);
}

int main(int argc, char **argv)
{
	long i;
	int at = repro_start(argc, argv);

	soft = at < argc && !strcmp(argv[at], "soft");
	movers_prepare();
	unmapped = counter("unmapped");
	exited = counter("exited");
	offlined = counter("offlined");
	not_offlined = counter("not_offlined");
	target = target_new();
	pool_read(&before);
	child("owner", owner, NULL);
	for (i = 0; i < MOVERS; i++)
		child("mover", mover, (void *)i);
	repro_wait();
	if (soft) {
		unpoison_all();
		pool_restore(&before);
	}
	return repro_end();
}
