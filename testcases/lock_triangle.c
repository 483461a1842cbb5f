// SPDX-License-Identifier: GPL-2.0-only
/*
 * The locks of one shared file: page lock, i_mmap_rwsem, fault mutex.  Migration
 * holds the page lock while it copies; first touches from fresh mappings want it
 * under i_mmap_rwsem, read; writers queue for i_mmap_rwsem.  Whoever waits for that
 * with the page locked closes a circle, which lockdep does not see, for the page
 * lock is a bit.
 *
 *	mover			faulter			writer
 *
 *	lock_page(old, new)
 *	try_to_unmap()		hugetlb_fault()
 *	copies the page		  i_mmap_lock_read()
 *				  hugetlb_no_page()
 *				    lock_page(): waits	mmap(), munmap(), fork(),
 *	remove_migration_ptes()				ftruncate(), punch (of a part: lock_page())
 *	  has i_mmap_rwsem				  i_mmap_lock_write(): waits
 *	  (not: i_mmap_lock_read():
 *	  waits behind the writer)
 *
 * All of them sleep, so it needs no more CPUs than there are.
 */
#define _GNU_SOURCE
#include "catch.h"
#include "race.h"
#include "repro.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES 4
#define TORN 3	/* the page that holes end in: what it holds is not looked at here */
#define FAULTERS 2

static struct counter *faulted, *written;
static struct target *target;
static int fd;

static void mover(void *arg)
{
	move_target(target, (long)arg);
}

static char *map_file(void)
{
	return mmap(NULL, PAGES * HUGE_2M, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
}

/* First touches: nothing is mapped in a fresh mapping. */
static void faulter(void *arg)
{
	unsigned int i = (long)arg;
	char *room;

	for (; running(); i++) {
		room = map_file();
		if (room == MAP_FAILED)
			continue;
		(void)*(volatile char *)(room + i % PAGES * HUGE_2M);
		(void)*(volatile char *)(room + (i + 1) % PAGES * HUGE_2M);
		munmap(room, PAGES * HUGE_2M);
		count_add(faulted, 1);
	}
}

static void writer(void *arg)
{
	unsigned int i;
	char *room;
	pid_t pid;

	(void)arg;
	for (i = 0; running(); i++) {
		room = map_file();
		if (room != MAP_FAILED)
			munmap(room, PAGES * HUGE_2M);
		if (i % 4 == 0) {
			/* One page more, which nobody touches. */
			if (ftruncate(fd, (PAGES + 1) * HUGE_2M) || ftruncate(fd, PAGES * HUGE_2M))
				fail("errno", "ftruncate: errno %d", errno);
		}
		/* Beyond the end: i_mmap_rwsem, and nothing to free. */
		if (i % 4 == 1)
			fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				  PAGES * HUGE_2M, HUGE_2M);
		/* Holes that end within a page: since 6.0 (68d32527d340) its lock under i_mmap_rwsem. */
		if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, TORN * HUGE_2M + 4096,
			      i % 2 ? 8192 : HUGE_2M))
			fail("errno", "a hole within a page: errno %d", errno);
		if (i % 4 == 2) {
			pid = fork();
			if (!pid)
				_exit(0);
			if (pid > 0)
				waitpid(pid, NULL, 0);
		}
		count_add(written, 1);
	}
}

static void owner(void *arg)
{
	char *room = map_file();
	int i;

	(void)arg;
	room[TORN * HUGE_2M] = 1;
	for (i = 0; i < TORN; i++)
		pattern_write(room + i * HUGE_2M, HUGE_2M, i, 0);
	target_set(target, getpid(), room, PAGES);
	while (running())
		for (i = 0; i < TORN; i++)
			pattern_check(room + i * HUGE_2M, HUGE_2M, i, 0);
}

int main(int argc, char **argv)
{
	long i;

	repro_start(argc, argv);
	movers_prepare();
	catch_signals();
	faulted = counter("faulted");
	written = counter("written");
	target = target_new();
	fd = huge_memfd(PAGES * HUGE_2M);
	child("owner", owner, NULL);
	for (i = 0; i < 2; i++)
		child("mover", mover, (void *)i);
	for (i = 0; i < FAULTERS; i++)
		child("faulter", faulter, (void *)i);
	child("writer", writer, NULL);
	repro_wait();
	close(fd);
	return repro_end();
}
