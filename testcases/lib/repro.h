/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What reproducers share: the clock, result lines, counters that survive a
 * killed child, NUMA nodes, huge pages with a pattern, children with a watchdog.
 *
 * Result lines go to stdout, one a line, and start with "@ ", so that they are
 * told from anything else that a program prints:
 *
 *	@ count NAME VALUE	cumulative; the last one of a name holds
 *	@ gauge NAME VALUE	a level now, for plots: it goes up and down
 *	@ fail ORACLE TEXT	an oracle spoke: data, errno, signal, hang
 *	@ skip TEXT		the guest lacks something
 *	@ end			all was done, all children are gone
 *
 * A run without "@ end" was cut short.
 */
#ifndef REPRO_H
#define REPRO_H

#include <stddef.h>
#include <sys/types.h>

#define HUGE_2M (2UL << 20)

/*
 * Counters live in shared memory: each child adds, the parent prints.  A name
 * is given before the first fork; given again, it is the same counter.
 */
struct counter;
struct counter *counter(const char *name);
void count_add(struct counter *c, unsigned long n);
unsigned long count_read(const struct counter *c);

/*
 * repro_start() reads "-t SECONDS" (default 10) and returns the index of the
 * first argument that it does not know.  running() is true until the time is
 * over, in every process; longer, up to three times its time or 30 s, where a count is too
 * low that the variable LEAST asks for ("moved=20 vmstat:pgmigrate_success=5"), as on a slow
 * machine.  How much longer it took is told as the gauge late_ms.  So a reproducer that has
 * something to count to loops while running(), and needs no minimum that its machine reaches.
 *
 * Call it first of all: with "--left" as the only argument it looks for huge
 * pages that are in no pool's books, tells their number, and exits.  That is
 * asked at the end of every trial, when the pools have been emptied.
 */
int repro_start(int argc, char **argv);
int running(void);

/* A count of /proc/vmstat, as far as each CPU has told it; 0 where there is none. */
long vmstat(const char *name);

void fail(const char *oracle, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Whether anybody has called fail(): what comes after may be a consequence. */
int failed(void);
void skip(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* fork(); the child runs fn(arg) until it returns, and exits. */
void child(const char *name, void (*fn)(void *), void *arg);

/*
 * Prints the counters, and the huge pages of each node and migrations of the whole
 * machine as gauges, often at first and then every second, until the time is
 * over or a child is gone that should not be; then waits for the children.  One
 * that is still there 20 s later hangs: that is a failure, and SIGKILL is tried.
 * So is a task of ours that sleeps uninterruptibly for 10 s and more; that ends the run.
 */
void repro_wait(void);

/* Prints the last counts and "@ end"; the exit status: 1 when fail() was called. */
int repro_end(void);

/* Whether the kernel is of this version or newer, by its name: backports do not show. */
int kernel_since(int major, int minor);

/* Nodes that have memory, in order; how many there are, at most max. */
int memory_nodes(int *nodes, int max);

/* The first two of them; skips where there is only one. */
void two_nodes(int nodes[2]);

/* A private anonymous mapping of n 2 MiB huge pages, untouched. */
void *map_huge(size_t n);

/*
 * Each 4 KiB of the range holds its own offset, the owner and a sequence
 * number.  pattern_check() calls fail("data", ...) on the first difference.
 */
void pattern_write(void *start, size_t bytes, unsigned int owner, unsigned int seq);
int pattern_check(const void *start, size_t bytes, unsigned int owner, unsigned int seq);

/* move_pages(2) on one page; 0 or the error as in errno; *status as the kernel gave it. */
int move_one(pid_t pid, void *page, int node, int flags, int *status);

#endif
