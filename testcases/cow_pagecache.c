// SPDX-License-Identifier: GPL-2.0-only
/*
 * One file, mapped shared by one and privately by others: what is written privately
 * is never seen in the file, and a write to the file is seen by those who have not
 * copied yet.  All the time the page of the file, and the copies, migrate.
 *
 *	CPU0 (private writer, a fork chain)	CPU1 (mover)
 *
 *	hugetlb_fault(write)			unmap_and_move_huge_page()
 *	  locks the page of the page cache	  locks the same page
 *	  hugetlb_cow()
 *	    copies it				  moves it
 *	    page_remove_rmap(old)		  remove_migration_ptes()
 *
 * Copies are read back in each process of the chain, after its own write and after
 * those of its children; reservations and pages are all given back with the last.
 */
#define _GNU_SOURCE
#include "catch.h"
#include "huge.h"
#include "pool.h"
#include "repro.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES 2
#define BYTES (PAGES * HUGE_2M)
#define DEPTH 3		/* of a fork chain */
#define FILE_OWNER 20
#define COPY_OWNER 100	/* and the depth */

static struct counter *rounds, *copied, *moved;
static int nodes[2], file;
static char *shared;
static struct {
	char *private;
	pid_t pid;
} *said;

static void check(char *p, unsigned int owner, unsigned int seq)
{
	size_t i;

	for (i = 0; i < PAGES; i++)
		pattern_check(p + i * HUGE_2M, HUGE_2M, owner, seq);
}

static void fill(char *p, unsigned int owner, unsigned int seq)
{
	size_t i;

	for (i = 0; i < PAGES; i++)
		pattern_write(p + i * HUGE_2M, HUGE_2M, owner, seq);
}

/* Each process writes its copy, lets its child do the same, and finds its own again. */
static void chain(char *private, unsigned int depth, unsigned int turn)
{
	int status;
	pid_t pid;

	fill(private, COPY_OWNER + depth, turn);
	count_add(copied, 1);
	if (depth < DEPTH) {
		pid = fork();
		if (!pid) {
			check(private, COPY_OWNER + depth, turn);
			chain(private, depth + 1, turn);
			_exit(0);
		}
		if (pid > 0) {
			waitpid(pid, &status, 0);
			if (status)
				fail("signal", "depth %u ended with status 0x%x", depth + 1, status);
		}
	}
	check(private, COPY_OWNER + depth, turn);
	check(shared, FILE_OWNER, turn);
}

static void writer(void *arg)
{
	unsigned int turn;
	char *private;

	(void)arg;
	for (turn = 1; running(); turn++) {
		fill(shared, FILE_OWNER, turn);
		private = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
		if (private == MAP_FAILED) {
			fail("errno", "private mmap: %s", strerror(errno));
			return;
		}
		/* Not copied yet: it is the file that is seen. */
		check(private, FILE_OWNER, turn);
		said->pid = getpid();
		__atomic_store_n(&said->private, private, __ATOMIC_RELEASE);
		chain(private, 0, turn);
		__atomic_store_n(&said->private, NULL, __ATOMIC_RELEASE);
		munmap(private, BYTES);
		check(shared, FILE_OWNER, turn);
		count_add(rounds, 1);
	}
}

static void mover(void *arg)
{
	int status, turn, i;
	char *private;

	(void)arg;
	for (turn = 0; running(); turn++) {
		for (i = 0; i < PAGES; i++) {
			int to = nodes[turn % 2];

			if (!move_page(0, shared + i * HUGE_2M, to, MPOL_MF_MOVE_ALL, &status) &&
			    status == to)
				count_add(moved, 1);
			private = __atomic_load_n(&said->private, __ATOMIC_ACQUIRE);
			if (private && !move_page(said->pid, private + i * HUGE_2M, to,
						  MPOL_MF_MOVE_ALL, &status) && status == to)
				count_add(moved, 1);
		}
	}
}

int main(int argc, char **argv)
{
	struct pool before;

	repro_start(argc, argv);
	rounds = counter("rounds");
	copied = counter("copied");
	moved = counter("moved");
	two_nodes(nodes);
	catch_signals();
	pool_read(&before);
	said = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	file = huge_file("/dev/hugepages", BYTES);
	if (file < 0)
		skip("a file in /dev/hugepages: %s", strerror(-file));
	shared = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (shared == MAP_FAILED)
		skip("a shared mapping: %s", strerror(errno));
	fill(shared, FILE_OWNER, 0);
	child("writer", writer, NULL);
	child("mover", mover, NULL);
	repro_wait();
	munmap(shared, BYTES);
	close(file);
	pool_same(&before, "at the end");
	return repro_end();
}
