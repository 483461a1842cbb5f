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
 */
#include "catch.h"
#include "race.h"
#include "repro.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGES 2		/* of each kind: anonymous, shared, below a shared PMD table */

static struct counter *denied, *allowed, *shared_tables;
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

int main(int argc, char **argv)
{
	long i, fd;

	repro_start(argc, argv);
	movers_prepare();
	catch_signals();
	denied = counter("denied");
	allowed = counter("allowed");
	shared_tables = counter("shared_tables");
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
