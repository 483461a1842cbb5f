// SPDX-License-Identifier: GPL-2.0-only
/*
 * A hole is punched while others fault its pages in.  It is unmapped first, all of
 * it, and removed page by page; who faults between the two maps a page again that
 * the removal has to unmap once more.
 *
 *	CPU0 (puncher)				CPU1 (faulters)
 *
 *	hugetlbfs_punch_hole()
 *	  hugetlb_vmdelete_list(all)
 *	  remove_inode_hugepages()		hugetlb_fault()
 *	    page 0: fault mutex, page lock	  page 3: fault mutex
 *	    removed				    finds it in the page cache
 *	    ...					    maps it
 *	    page 3: mapped again
 *
 * A punched page that is read later is zero.  Who writes round numbers into the pages
 * finds his own last number or zero, never an older one; and when all is over, the
 * file's st_blocks, HugePages_Rsvd and the pool fit.
 */
#define _GNU_SOURCE
#include "catch.h"
#include "huge.h"
#include "pool.h"
#include "repro.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGES 4
#define FAULTERS 3

static struct counter *punched, *faulted, *zeroed;
static int file;


/* Each faulter has its own word in each page. */
static void faulter(void *arg)
{
	long me = (long)arg;
	unsigned long wrote[PAGES] = { 0 }, n, got;
	volatile unsigned long *word;
	char *view = mmap(NULL, PAGES * HUGE_2M, PROT_READ | PROT_WRITE,
			  MAP_SHARED | (me ? MAP_NORESERVE : 0), file, 0);
	int i;

	if (view == MAP_FAILED) {
		fail("errno", "mmap: %s", strerror(errno));
		return;
	}
	for (n = 1; running(); n++) {
		/* Last page first: it is removed last, so the window is widest. */
		for (i = PAGES - 1; i >= 0; i--) {
			word = (volatile unsigned long *)(view + i * HUGE_2M) + 8 * me;
			got = *word;
			if (got && got != wrote[i])
				fail("data", "page %d: %lu of faulter %ld, who last wrote %lu", i, got,
				     me, wrote[i]);
			if (!got && wrote[i])
				count_add(zeroed, 1);
			*word = wrote[i] = n;
			count_add(faulted, 1);
		}
	}
	munmap(view, PAGES * HUGE_2M);
}

static void puncher(void *arg)
{
	char *view = mmap(NULL, PAGES * HUGE_2M, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_NORESERVE, file, 0);
	unsigned int turn;
	int err;

	(void)arg;
	for (turn = 0; running(); turn++) {
		switch (turn % 4) {
		case 0:
			err = madvise(view + HUGE_2M, (PAGES - 1) * HUGE_2M, MADV_REMOVE);
			break;
		case 1:
			/* Not a whole page at either end: rounded inwards. */
			err = fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096,
					PAGES * HUGE_2M - 4096);
			break;
		default:
			err = fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
					PAGES * HUGE_2M);
		}
		if (err)
			fail("errno", "hole: %s", strerror(errno));
		count_add(punched, 1);
		if (turn % 16 == 15 && fallocate(file, 0, 0, PAGES * HUGE_2M) && errno != ENOSPC)
			fail("errno", "fallocate: %s", strerror(errno));
	}
	munmap(view, PAGES * HUGE_2M);
}

int main(int argc, char **argv)
{
	struct pool before;
	struct stat st;
	long i;

	repro_start(argc, argv);
	punched = counter("punched");
	faulted = counter("faulted");
	zeroed = counter("zeroed");
	catch_signals();
	pool_read(&before);
	file = huge_file("/dev/hugepages", PAGES * HUGE_2M);
	if (file < 0)
		skip("a file in /dev/hugepages: %s", strerror(-file));
	for (i = 0; i < FAULTERS; i++)
		child("faulter", faulter, (void *)i);
	child("puncher", puncher, NULL);
	repro_wait();

	/* All mappings are gone: one last hole empties the file. */
	if (fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGES * HUGE_2M))
		fail("errno", "the last hole: %s", strerror(errno));
	fstat(file, &st);
	if (st.st_blocks)
		fail("counters", "st_blocks %ld of a file that is one hole", (long)st.st_blocks);
	pool_expect("free_hugepages", before.free, "the last hole");
	close(file);
	pool_same(&before, "at the end");
	return repro_end();
}
