// SPDX-License-Identifier: GPL-2.0-only
/*
 * An anonymous huge page migrates while forks link and unlink VMAs in its
 * anon_vma.  The rmap walk must hold the anon_vma lock; since c0d0381ade79 (5.7)
 * and until 336bf30eb765 it said "locked" (TTU_RMAP_LOCKED) while it held only
 * i_mmap_rwsem, which is the lock of file pages.
 *
 *	CPU0 (mover)				CPU1 (forker and its child)
 *
 *	move_pages(owner, MPOL_MF_MOVE_ALL)	fork()
 *	  unmap_and_move_huge_page()		  anon_vma_fork()
 *	    try_to_unmap(TTU_RMAP_LOCKED)	    links a VMA into the anon_vma
 *	      rmap_walk_anon(locked)		_exit()
 *	        avc = first of the tree		  unlink_anon_vmas()
 *	        vma = avc->vma			    frees the anon_vma_chain
 *	        uses avc, vma: freed memory	  and the vm_area_struct
 *
 * The mover has unmapped the page: it walks, and is not walked.  MOVE_ALL is
 * essential: a page that is mapped twice is refused with -EACCES without it, and
 * the walk would never be entered.
 */
#include "race.h"
#include "repro.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define FORKERS 2	/* or as many as there are CPUs */
#define OWNER 1

static struct counter *moved, *not_moved, *forked;
static char *page;
static pid_t owner;
static int nodes[2];

static void mover(void *arg)
{
	int turn, status, err, at = -1;

	(void)arg;
	munmap(page, HUGE_2M);
	for (turn = 1; running(); turn++) {
		/* By turns: fast; and giving way at each VMA of the walk, while they go on. */
		if (turn % 32 == 0)
			turn % 64 ? idle_priority() : usual_priority();
		err = move_one(owner, page, nodes[turn % 2], MPOL_MF_MOVE_ALL, &status);
		if (err == EPERM || status == -EACCES)
			skip("MPOL_MF_MOVE_ALL wants CAP_SYS_NICE");
		if (err || status != nodes[turn % 2]) {
			count_add(not_moved, 1);	/* a fork held a reference just then */
			continue;
		}
		/* A page that is there already gives the same status as one that moved. */
		if (at >= 0 && at != status)
			count_add(moved, 1);
		at = status;
	}
}

static void forker(void *arg)
{
	pid_t pid;

	(void)arg;
	while (running()) {
		pid = fork();
		if (!pid)
			_exit(0);
		if (pid < 0)
			continue;
		waitpid(pid, NULL, 0);
		count_add(forked, 1);
	}
}

int main(int argc, char **argv)
{
	int i;

	repro_start(argc, argv);
	moved = counter("moved");
	not_moved = counter("not_moved");
	forked = counter("forked");
	two_nodes(nodes);

	owner = getpid();
	page = map_huge(1);
	pattern_write(page, HUGE_2M, OWNER, 0);
	child("mover", mover, NULL);
	for (i = 0; i < busy_with(FORKERS); i++)
		child("forker", forker, NULL);
	repro_wait();
	pattern_check(page, HUGE_2M, OWNER, 0);
	return repro_end();
}
