/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What races over migration share: movers, a file of huge pages that is mapped so
 * that its page tables are shared, and ways to be in the window: a CPU of one's own,
 * a task that is stopped wherever it sleeps.
 */
#ifndef RACE_H
#define RACE_H

#include <stddef.h>
#include <sys/types.h>

#define PUD_BYTES (1UL << 30)

/* Where movers look for pages; in shared memory.  A pid of 0: nothing to move just now. */
struct target {
	pid_t pid;
	char *addr;
	int pages;
};
struct target *target_new(void);
void target_set(struct target *t, pid_t pid, char *addr, int pages);

/*
 * Moves the pages of the target to and fro between two nodes, as long as running().
 * Counts moved, not_moved (EBUSY, EAGAIN, ENOENT: a legal race was lost) and gone
 * (EFAULT, ESRCH: the target was unmapped or ended meanwhile), and calls
 * fail("errno", ...) for all that move_pages(2) has no reason to say.  turn is 0 or 1:
 * movers of different turn pull into different directions.
 */
void movers_prepare(void);	/* once, before the first child: nodes and counters */
void move_target(const struct target *t, int turn);

/*
 * Moves so many pages to and fro, at most 64, all in one call: each one is isolated until those
 * before it have been copied.  Until *stop or, where that is NULL, for good; then exits, and so
 * it does with its parent.
 */
void move_together(pid_t pid, char *addr, int pages, const int *stop)
	__attribute__((noreturn));

/* A memfd of 2 MiB pages; skips where there is none. */
int huge_memfd(size_t bytes);

/*
 * MAP_SHARED | MAP_NORESERVE of the first GiB of the file at an aligned address: its
 * PMD table is shared with every other mapping of this kind that has touched a page.
 */
char *map_pud(int fd, int prot);

/*
 * Whether a page is mapped in this process (/proc/self/pagemap).  One that was never
 * touched here is mapped only if the page table came from somebody else.
 */
int is_mapped(const void *p);

void pin_cpu(int cpu);
/*
 * As many as keep all CPUs busy, at least so many: a task of idle priority is preempted only
 * where there is no other CPU for those who are not.
 */
int busy_with(int least);
/*
 * SCHED_IDLE: where other tasks are busy it stays wherever it has slept or was asked to
 * give way (cond_resched()), as in the middle of an rmap walk.
 */
void idle_priority(void);
void usual_priority(void);

/* Flushes the TLB of this process, as far as the kernel is concerned. */
void flush_tlb(void);

/* A word in memory that several processes share, 0 at first; n of them. */
volatile unsigned long *shared_words(size_t n);

/* Takes the poison off every page of the machine that has it (hwpoison-inject); how many. */
int unpoison_all(void);

#endif
