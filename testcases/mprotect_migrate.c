// SPDX-License-Identifier: GPL-2.0-only
/*
 * mprotect() changes the rights of huge pages while they migrate and while another
 * CPU has them in its TLB.  What mprotect() has taken away must be gone everywhere
 * when it returns, also for a page whose entry was one of migration, also for pages
 * below a PMD table that other processes share; what it gives back must be usable.
 *
 *	CPU0 (mover)			CPU1 (changer)			CPU2 (toucher)
 *
 *	try_to_unmap()			mprotect(PROT_READ)
 *	  writable migration entry	  hugetlb_change_protection()
 *	copies the page			    makes the entry read-only
 *	remove_migration_ptes()		    unshares a PMD table
 *	  maps by what the entry says	    flushes the TLB
 *					says "read-only"		writes: must get SIGSEGV
 *
 * Before that, with nobody in a hurry: a page that was read-only is so when it has moved,
 * and one that a child has too is written by each for itself, however often it moves.
 */
#include "catch.h"
#include "race.h"
#include "repro.h"

#include <linux/mempolicy.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES 2		/* of each kind: anonymous, shared, below a shared PMD table */

static struct counter *denied, *allowed, *shared_tables, *stayed;
static struct target *targets[3];
static volatile unsigned long *step;	/* how many changes there were; of toucher: seen */
static char *rooms[3];
static volatile int rights, room_now;

static void mover(void *arg)
{
	pin_cpu(0);
	nice(10);
	move_target(targets[(long)arg], (long)arg);
}

static void touch_all(char *room, int prot)
{
	struct caught caught;
	unsigned char value;
	int i;

	for (i = 0; i < PAGES; i++) {
		char *p = room + i * HUGE_2M + 4096;

		touch_read(p, &value, &caught);
		caught_is(&caught, p, prot & PROT_READ ? 0 : SIGSEGV, 0, "read after mprotect()");
		touch_write(p, value + 1, &caught);
		caught_is(&caught, p, prot & PROT_WRITE ? 0 : SIGSEGV, 0, "write after mprotect()");
		count_add(prot & PROT_WRITE ? allowed : denied, 1);
		if (prot & PROT_WRITE) {
			unsigned char again = ~value;

			touch_read(p, &again, &caught);
			if (again != (unsigned char)(value + 1))
				fail("data", "page %d: wrote %u, read %u", i,
				     (unsigned char)(value + 1), again);
		}
	}
}

static void *toucher(void *arg)
{
	unsigned long seen = 0;

	(void)arg;
	pin_cpu(1);
	while (running()) {
		/* Not a moment off the CPU: another process would flush the TLB. */
		if (*step == seen)
			continue;
		touch_all(rooms[room_now], rights);
		seen = *step;
		step[1] = seen;
	}
	return NULL;
}

static void sharer(void *arg)
{
	char *room = map_pud((int)(long)arg, PROT_READ | PROT_WRITE);
	int i;

	pin_cpu(0);
	/* It comes back again and again, so that the table is shared once more. */
	while (running()) {
		for (i = 0; i < PAGES; i++)
			*(volatile char *)(room + i * HUGE_2M) = 1;
		usleep(2000);
	}
}

static void owner(void *arg)
{
	static const int protections[] = {
		PROT_READ, PROT_READ | PROT_WRITE, PROT_NONE, PROT_READ | PROT_WRITE,
	};
	int fd = huge_memfd(PAGES * HUGE_2M), turn;
	pthread_t thread;
	long i;

	pin_cpu(0);
	rooms[0] = map_huge(PAGES);
	rooms[1] = mmap(NULL, PAGES * HUGE_2M, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (rooms[1] == MAP_FAILED)
		skip("a shared mapping of %d huge pages", PAGES);
	rooms[2] = map_pud((int)(long)arg, PROT_READ | PROT_WRITE);
	for (i = 0; i < 3; i++) {
		touch_all(rooms[i], PROT_READ | PROT_WRITE);
		target_set(targets[i], getpid(), rooms[i], PAGES);
	}
	pthread_create(&thread, NULL, toucher, NULL);
	for (turn = 0; running(); turn++) {
		int prot = protections[turn % 4];
		size_t bytes = PAGES * HUGE_2M;

		i = turn / 4 % 3;
		if (i == 2 && turn % 4 == 0) {
			/* The whole range by turns: no split, the table may be shared. */
			munmap(rooms[2], PUD_BYTES);
			rooms[2] = map_pud((int)(long)arg, PROT_READ | PROT_WRITE);
			*(volatile char *)rooms[2] = 1;
			count_add(shared_tables, is_mapped(rooms[2] + HUGE_2M));
			target_set(targets[2], getpid(), rooms[2], PAGES);
		}
		if (i == 2 && turn / 12 % 2)
			bytes = PUD_BYTES;
		/* Who touches waits for a migration to end; who wakes up is in the midst of one. */
		if (turn % 2 == 0)	/* rights are taken away */
			usleep(300 + turn * 377 % 3000);
		else
			touch_all(rooms[i], protections[(turn + 3) % 4]);
		if (mprotect(rooms[i], bytes, prot))
			fail("errno", "mprotect of %zu bytes", bytes);
		rights = prot;
		room_now = i;
		__atomic_add_fetch((unsigned long *)step, 1, __ATOMIC_SEQ_CST);
		while (running() && step[1] != step[0])
			sched_yield();
	}
	pthread_join(thread, NULL);
}

static void move_away(char *page)
{
	int nodes[2], status, turn;

	two_nodes(nodes);
	/* It is on one of them, so one of these is a move. */
	for (turn = 0; turn < 2; turn++)
		if (move_one(0, page, nodes[turn], MPOL_MF_MOVE_ALL, &status) ||
		    status != nodes[turn])
			fail("errno", "move to node %d: status %d", nodes[turn], status);
}

static void read_only_stays(int shared)
{
	int fd = shared ? huge_memfd(HUGE_2M) : -1;
	char *page = mmap(NULL, HUGE_2M, PROT_READ | PROT_WRITE,
			  shared ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, fd, 0);
	struct caught caught;
	unsigned char value;

	if (page == MAP_FAILED)
		skip("a huge page");
	page[4096] = 1;
	mprotect(page, HUGE_2M, PROT_READ);
	move_away(page);
	touch_write(page + 4096, 2, &caught);
	caught_is(&caught, page, SIGSEGV, SEGV_ACCERR, "write to a read-only page that was moved");
	touch_read(page + 4096, &value, &caught);
	if (caught.sig || value != 1)
		fail("data", "a read-only page that was moved reads %u", value);
	mprotect(page, HUGE_2M, PROT_READ | PROT_WRITE);
	move_away(page);
	touch_write(page + 4096, 3, &caught);
	if (caught_is(&caught, page, 0, 0, "write to a page that is writable again"))
		count_add(stayed, 1);
	munmap(page, HUGE_2M);
	if (fd >= 0)
		close(fd);
}

/* Whoever writes first, the other one sees what was there before. */
static void isolation_stays(int child_first)
{
	volatile char *page = map_huge(1);
	int pipes[2], status = 0;
	pid_t pid;
	char c = 0;

	page[4096] = 1;
	if (pipe(pipes))
		skip("a pipe");
	pid = fork();
	if (!pid) {
		if (read(pipes[0], &c, 1) != 1)
			_exit(2);
		if (page[4096] != 1)
			_exit(1);
		page[4096] = 2;
		_exit(page[4096] != 2);
	}
	move_away((char *)page);
	if (!child_first)
		page[4096] = 3;
	if (write(pipes[1], &c, 1) != 1)
		kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	if (status)
		fail("data", "a child of who has moved its page: status 0x%x", status);
	else if (page[4096] != (child_first ? 1 : 3))
		fail("data", "what a child has written to a page that was moved is seen by its parent");
	else
		count_add(stayed, 1);
	close(pipes[0]);
	close(pipes[1]);
	munmap((void *)page, HUGE_2M);
}

int main(int argc, char **argv)
{
	long i, fd;

	repro_start(argc, argv);
	movers_prepare();
	catch_signals();
	denied = counter("denied");
	allowed = counter("allowed");
	shared_tables = counter("shared_tables");
	stayed = counter("stayed");
	for (i = 0; i < 2; i++) {
		read_only_stays(i);
		isolation_stays(i);
	}
	step = shared_words(2);
	for (i = 0; i < 3; i++)
		targets[i] = target_new();
	fd = huge_memfd(PUD_BYTES);
	child("owner", owner, (void *)fd);
	child("sharer", sharer, (void *)fd);
	for (i = 0; i < 3; i++)
		child("mover", mover, (void *)i);
	repro_wait();
	close(fd);
	return repro_end();
}
