// SPDX-License-Identifier: GPL-2.0-only
/*
 * A file is truncated while others fault its pages in.  Size and unmapping change
 * under one hold of i_mmap_rwsem, so a fault sees the old file or the new one.
 *
 *	CPU0 (truncater)			CPU1 (faulters)
 *
 *	hugetlb_vmtruncate()			hugetlb_fault()
 *	  i_mmap_lock_write()			  i_mmap_lock_read(): waits
 *	  i_size_write()
 *	  hugetlb_vmdelete_list()
 *	  i_mmap_unlock_write()			  granted
 *	  remove_inode_hugepages()		  hugetlb_no_page()
 *	    a mapped page is a bug		    beyond i_size: SIGBUS
 *
 * Many VMAs of the file make the hold long, so that faulters are queued behind it
 * when it ends.  After each truncation no page is left in the file, and no mapping
 * reaches beyond its end.
 */
#define _GNU_SOURCE
#include "catch.h"
#include "huge.h"
#include "pool.h"
#include "repro.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGES 2
#define VIEWS 24
#define FAULTERS 3

static struct counter *truncated, *faulted, *sigbus, *late_sigbus;
static int file;
static char *views[VIEWS];

/* Set while the file is known to be empty and to stay so. */
static struct {
	int empty;
} *said;

static void faulter(void *arg)
{
	long seed = (long)arg;
	struct caught caught;
	unsigned char v;
	int private = seed == FAULTERS - 1, turn, empty;
	char *own, *p;

	/* The last one maps privately: its pages are not in the file, and go all the same. */
	own = mmap(NULL, PAGES * HUGE_2M, PROT_READ | PROT_WRITE,
		   (private ? MAP_PRIVATE : MAP_SHARED) | MAP_NORESERVE, file, 0);
	if (own == MAP_FAILED) {
		fail("errno", "mmap: %s", strerror(errno));
		return;
	}
	for (turn = 0; running(); turn++) {
		p = (turn % 3 ? own : views[(turn + seed) % VIEWS]) + turn % PAGES * HUGE_2M;
		empty = __atomic_load_n(&said->empty, __ATOMIC_SEQ_CST);
		if (private && turn % 3)
			touch_write(p, 1, &caught);
		else
			touch_read(p, &v, &caught);
		if (!caught.sig) {
			count_add(faulted, 1);
			/* The flag before and after: the file was empty all the time. */
			if (empty && __atomic_load_n(&said->empty, __ATOMIC_SEQ_CST) == empty)
				fail("signal", "%s page beyond the end of the file was touched, "
				     "no SIGBUS", private && turn % 3 ? "private" : "shared");
		} else if (caught_is(&caught, p, SIGBUS, BUS_ADRERR, "truncated page")) {
			count_add(sigbus, 1);
			if (empty)
				count_add(late_sigbus, 1);
		}
	}
}

static void truncater(void *arg)
{
	struct stat st;
	int turn, mark;

	(void)arg;
	for (turn = 1; running(); turn++) {
		if (ftruncate(file, PAGES * HUGE_2M))
			fail("errno", "ftruncate up: %s", strerror(errno));
		/* Faulters may have all, some, or nothing when it goes. */
		usleep(turn % 8 * 500);
		if (ftruncate(file, 0))
			fail("errno", "ftruncate down: %s", strerror(errno));
		mark = turn;
		__atomic_store_n(&said->empty, mark, __ATOMIC_SEQ_CST);
		fstat(file, &st);
		if (st.st_blocks)
			fail("counters", "st_blocks %ld of a file that is empty", (long)st.st_blocks);
		if (turn % 4 == 0)
			usleep(1000);
		__atomic_store_n(&said->empty, 0, __ATOMIC_SEQ_CST);
		count_add(truncated, 1);
	}
	/* Leave it empty, for the counters. */
	if (ftruncate(file, 0))
		fail("errno", "ftruncate at the end: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	struct pool before;
	long i;

	repro_start(argc, argv);
	truncated = counter("truncated");
	faulted = counter("faulted");
	sigbus = counter("sigbus");
	late_sigbus = counter("late_sigbus");
	catch_signals();
	pool_read(&before);
	said = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	file = huge_file("/dev/hugepages", PAGES * HUGE_2M);
	if (file < 0)
		skip("a file in /dev/hugepages: %s", strerror(-file));
	for (i = 0; i < VIEWS; i++) {
		views[i] = mmap(NULL, PAGES * HUGE_2M, PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_NORESERVE, file, 0);
		if (views[i] == MAP_FAILED)
			skip("mmap of a file: %s", strerror(errno));
	}
	for (i = 0; i < FAULTERS; i++)
		child("faulter", faulter, (void *)i);
	child("truncater", truncater, NULL);
	repro_wait();
	for (i = 0; i < VIEWS; i++)
		munmap(views[i], PAGES * HUGE_2M);
	close(file);
	pool_same(&before, "at the end");
	return repro_end();
}
