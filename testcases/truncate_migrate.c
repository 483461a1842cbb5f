// SPDX-License-Identifier: GPL-2.0-only
/*
 * A file is truncated, punched and unlinked while its pages migrate, with so many
 * VMAs in i_mmap that the semaphore is held for long: the mover then finds it taken,
 * and must not wait for it with the page in a state that others cannot make sense
 * of.
 *
 *	CPU0 (mover)				CPU1 (truncator)
 *
 *	isolate_hugetlb(), lock_page()		ftruncate() or fallocate(PUNCH_HOLE)
 *	  i_mmap_trylock_write(): taken		  i_mmap_lock_write()
 *	  gives up: EAGAIN, another pass	  unmaps the page from every VMA
 *	  (not: marks the page as mapped,	  i_mmap_unlock_write()
 *	  and waits)				  remove_inode_hugepages()
 *						    lock_page(); the page is not mapped
 *						    leaves the page cache
 *	move_to_new_page(): page_mapping() is
 *	  NULL by now
 */
#define _GNU_SOURCE
#include "catch.h"
#include "race.h"
#include "repro.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES 4
#define VMAS 32
#define CUT 6		/* pages of the file that is cut to nothing */
#define ROUNDS 24

static struct counter *truncated, *punched, *faulted, *beyond, *emptied;
static struct target *target;
static int fd;

static void mover(void *arg)
{
	move_target(target, (long)arg);
}

static void truncator(void *arg)
{
	unsigned int turn;
	int err;

	(void)arg;
	for (turn = 0; running(); turn++) {
		if (turn % 4 == 3) {
			err = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					turn / 4 % PAGES * HUGE_2M, HUGE_2M);
			count_add(punched, !err);
		} else {
			err = ftruncate(fd, turn % 3 * HUGE_2M) || ftruncate(fd, PAGES * HUGE_2M);
			count_add(truncated, !err);
		}
		if (err)
			fail("errno", "turn %u: %s", turn, strerror(errno));
		usleep(500 + turn % 7 * 500);
	}
}

/* What is read is zero or whole: a page is either new, or was written by writers only. */
static void faulter(void *arg)
{
	struct caught caught;
	unsigned char value;
	char *rooms[VMAS];
	unsigned int i;

	(void)arg;
	for (i = 0; i < VMAS; i++) {
		rooms[i] = mmap(NULL, PAGES * HUGE_2M, PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_NORESERVE, fd, 0);
		if (rooms[i] == MAP_FAILED)
			skip("a shared mapping of %d huge pages: %s", PAGES, strerror(errno));
	}
	target_set(target, getpid(), rooms[0], PAGES);
	for (i = 0; running(); i++) {
		char *p = rooms[i % VMAS] + i / VMAS % PAGES * HUGE_2M;

		if (touch_read(p, &value, &caught) || touch_write(p, 0x77, &caught)) {
			caught_is(&caught, p, SIGBUS, BUS_ADRERR, "beyond the end of the file");
			count_add(beyond, 1);
		} else {
			count_add(faulted, 1);
			if (value && value != 0x77)
				fail("data", "page %u: found 0x%x", i / VMAS % PAGES, value);
		}
	}
}

/*
 * With nobody who faults a file that was cut to nothing has no page, whoever has one of them
 * just then.  All move in one call: the last are unmapped, and not yet gone, as their turn comes,
 * and are copied with their lock held and without i_mmap_rwsem.
 */
static void cut_to_nothing(void)
{
	int huge = huge_memfd(CUT * HUGE_2M), round, i, err;
	struct caught caught;
	struct stat st;
	pid_t pid, us = getpid();
	unsigned char value;
	char *p;

	p = mmap(NULL, CUT * HUGE_2M, PROT_READ | PROT_WRITE, MAP_SHARED, huge, 0);
	if (p == MAP_FAILED)
		skip("a shared mapping of %d huge pages: %s", CUT, strerror(errno));
	pid = fork();
	if (!pid) {
		munmap(p, CUT * HUGE_2M);
		move_together(us, p, CUT, NULL);
	}
	for (round = 0; round < ROUNDS && !failed(); round++) {
		for (i = 0; i < CUT; i++)
			p[i * HUGE_2M] = 0x33;
		usleep(round * 700 % 5000);
		err = round % 3 ? ftruncate(huge, 0) :
		      fallocate(huge, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, CUT * HUGE_2M);
		if (err || fstat(huge, &st) || ftruncate(huge, CUT * HUGE_2M))
			fail("errno", "a file that is cut to nothing beside moves: %s", strerror(errno));
		if (st.st_blocks)
			fail("counters", "a file was %s beside moves, and has %ld blocks",
			     round % 3 ? "cut to nothing" : "punched", (long)st.st_blocks);
		for (i = 0; i < CUT; i++)
			if (!touch_read(p + i * HUGE_2M, &value, &caught) && value)
				fail("data", "page %d of a file that was %s beside moves: found 0x%x", i,
				     round % 3 ? "cut to nothing" : "punched", value);
		count_add(emptied, 1);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	munmap(p, CUT * HUGE_2M);
	close(huge);
}

int main(int argc, char **argv)
{
	long i;

	repro_start(argc, argv);
	movers_prepare();
	catch_signals();
	truncated = counter("truncated");
	punched = counter("punched");
	faulted = counter("faulted");
	beyond = counter("beyond");
	emptied = counter("emptied");
	cut_to_nothing();
	target = target_new();
	fd = huge_memfd(PAGES * HUGE_2M);
	child("faulter", faulter, NULL);
	child("truncator", truncator, NULL);
	for (i = 0; i < 2; i++)
		child("mover", mover, (void *)i);
	repro_wait();
	close(fd);
	return repro_end();
}
