// SPDX-License-Identifier: GPL-2.0-only
/*
 * VMAs that map migrating huge pages are split, punched and replaced piece by piece,
 * in children and grandchildren: each piece has an anon_vma_chain in the anon_vma
 * that the mover walks.  With "file" the pages are shared ones, and it is the tree of
 * i_mmap that changes.
 *
 *	CPU0 (mover)				CPU1 (a child of the owner)
 *
 *	move_pages(owner, MPOL_MF_MOVE_ALL)	madvise() of one page: __split_vma()
 *	  try_to_unmap()			  anon_vma_clone() into the same anon_vma
 *	    rmap_walk_anon()			munmap() of one page in the middle
 *	      avc, vma of the tree		  unmap_vmas()	under i_mmap_rwsem
 *	      page table walk			  unlink_anon_vmas()	frees the chain
 *	  remove_migration_ptes()		  unlink_file_vma()	under i_mmap_rwsem
 *	    the same walk again			  frees page tables and VMA
 *
 * i_mmap_rwsem alone keeps none of this away from the walk of an anonymous page.
 */
#include "race.h"
#include "repro.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES 4
#define SPLITTERS 3	/* or as many as there are CPUs */

static struct counter *split, *unmapped, *checked;
static struct target *target;
static char *room;
static int shared;

static void mover(void *arg)
{
	munmap(room, PAGES * HUGE_2M);
	/* The second one gives way at each VMA of the walk, and the others go on. */
	if (arg)
		idle_priority();
	move_target(target, (long)arg);
}

static void pieces(unsigned int turn)
{
	unsigned int i, page;

	for (i = 0; i < PAGES; i++) {
		page = (turn + 3 * i) % PAGES;
		if (!madvise(room + page * HUGE_2M, HUGE_2M, MADV_DONTFORK))
			count_add(split, 1);
		if (i == 1) {
			/* Over the piece: unmaps it, and links a new one. */
			mmap(room + page * HUGE_2M, HUGE_2M, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
			count_add(unmapped, 1);
		} else if (i < 3 && !munmap(room + page * HUGE_2M, HUGE_2M)) {
			count_add(unmapped, 1);
		}
	}
}

static void splitter(void *arg)
{
	unsigned int turn = (long)arg;
	pid_t pid;

	while (running()) {
		pid = fork();
		if (!pid) {
			/* Every second one has a child of its own: a deeper anon_vma. */
			if (turn % 2 && !fork()) {
				pieces(turn + 1);
				_exit(0);
			}
			pieces(turn);
			while (waitpid(-1, NULL, 0) > 0)
				;
			_exit(0);
		}
		if (pid > 0)
			waitpid(pid, NULL, 0);
		turn++;
	}
}

static void checker(void)
{
	unsigned int i;

	for (i = 0; i < PAGES; i++)
		if (!pattern_check(room + i * HUGE_2M, HUGE_2M, i, 0))
			count_add(checked, 1);
}

int main(int argc, char **argv)
{
	long i;
	int at = repro_start(argc, argv);

	shared = at < argc && !strcmp(argv[at], "file");
	movers_prepare();
	split = counter("split");
	unmapped = counter("unmapped");
	checked = counter("checked");
	target = target_new();
	if (shared) {
		int fd = huge_memfd(PAGES * HUGE_2M);

		room = mmap(NULL, PAGES * HUGE_2M, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (room == MAP_FAILED)
			skip("a shared mapping of %d huge pages", PAGES);
	} else {
		room = map_huge(PAGES);
	}
	for (i = 0; i < PAGES; i++)
		pattern_write(room + i * HUGE_2M, HUGE_2M, i, 0);
	target_set(target, getpid(), room, PAGES);
	for (i = 0; i < 2; i++)
		child("mover", mover, (void *)i);
	for (i = 0; i < busy_with(SPLITTERS); i++)
		child("splitter", splitter, (void *)i);
	repro_wait();
	checker();
	return repro_end();
}
