// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "race.h"
#include "phys.h"
#include "repro.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MFD_HUGETLB
#define MFD_HUGETLB 4U
#endif
#define MFD_2MB (21U << 26)

static struct counter *moved, *not_moved, *gone;
static int nodes[2];

volatile unsigned long *shared_words(size_t n)
{
	void *p = mmap(NULL, n * sizeof(unsigned long), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("mmap of shared words");
		exit(2);
	}
	return p;
}

struct target *target_new(void)
{
	return (struct target *)shared_words(sizeof(struct target) / sizeof(unsigned long) + 1);
}

void target_set(struct target *t, pid_t pid, char *addr, int pages)
{
	__atomic_store_n(&t->pid, 0, __ATOMIC_RELEASE);
	t->addr = addr;
	t->pages = pages;
	__atomic_store_n(&t->pid, pid, __ATOMIC_RELEASE);
}

void movers_prepare(void)
{
	moved = counter("moved");
	not_moved = counter("not_moved");
	gone = counter("gone");
	two_nodes(nodes);
}

static int legal(int error)
{
	return error == EBUSY || error == EAGAIN || error == ENOENT || error == ENOMEM;
}

void move_target(const struct target *t, int turn)
{
	int at[64] = { 0 }, i, n, err, status, node;
	pid_t pid;
	char *addr;

	while (running()) {
		pid = __atomic_load_n(&t->pid, __ATOMIC_ACQUIRE);
		if (!pid) {
			sched_yield();
			continue;
		}
		addr = t->addr;
		n = t->pages < 64 ? t->pages : 64;
		node = nodes[turn++ % 2];
		for (i = 0; i < n && running(); i++) {
			err = move_one(pid, addr + i * HUGE_2M, node, MPOL_MF_MOVE_ALL, &status);
			if (err == EPERM || status == -EACCES)
				skip("MPOL_MF_MOVE_ALL wants CAP_SYS_NICE");
			if (!err && status == node) {
				/* A page that was there already has the same status. */
				if (at[i] != node + 1)
					count_add(moved, 1);
				at[i] = node + 1;
				continue;
			}
			at[i] = 0;
			/* EINVAL: the task is there, and its mm is gone. */
			if (err == ESRCH || err == EINVAL || (!err && status == -EFAULT))
				count_add(gone, 1);
			/* Not written (-EINVAL): the page could be isolated, and not moved. */
			else if (legal(err) || (!err && (legal(-status) || status == -EINVAL)))
				count_add(not_moved, 1);
			else
				fail("errno", "move_pages to node %d: errno %d, status %d", node,
				     err, status);
		}
	}
}

void move_together(pid_t pid, char *addr, int pages, const int *stop)
{
	int between[2], to[64], status[64], turn, i;
	void *at[64];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	memory_nodes(between, 2);
	for (turn = 0; !stop || !__atomic_load_n(stop, __ATOMIC_ACQUIRE); turn++) {
		for (i = 0; i < pages; i++) {
			at[i] = addr + i * HUGE_2M;
			to[i] = between[turn % 2];
		}
		syscall(SYS_move_pages, pid, (unsigned long)pages, at, to, status, MPOL_MF_MOVE_ALL);
	}
	_exit(0);
}

int huge_memfd(size_t bytes)
{
	int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB | MFD_2MB);

	if (fd < 0 || ftruncate(fd, bytes))
		skip("a memfd of huge pages: %s", strerror(errno));
	return fd;
}

char *map_pud(int fd, int prot)
{
	char *room = mmap(NULL, 2 * PUD_BYTES, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *at = (char *)(((uintptr_t)room + PUD_BYTES - 1) & ~(PUD_BYTES - 1));

	if (room == MAP_FAILED)
		skip("2 GiB of addresses: %s", strerror(errno));
	if (at > room)
		munmap(room, at - room);
	munmap(at + PUD_BYTES, room + PUD_BYTES - at);
	if (mmap(at, PUD_BYTES, prot, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, 0) == MAP_FAILED)
		skip("mmap of 1 GiB of huge pages, shared: %s", strerror(errno));
	return at;
}

int is_mapped(const void *p)
{
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	if (pread(fd, &entry, sizeof(entry), (uintptr_t)p / 4096 * 8) != sizeof(entry))
		entry = 0;
	close(fd);
	return entry >> 63;
}

void pin_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu % sysconf(_SC_NPROCESSORS_ONLN), &set);
	sched_setaffinity(0, sizeof(set), &set);
}

int busy_with(int least)
{
	static const int most = 24;	/* children: a large machine has enough of them */
	int cpus = sysconf(_SC_NPROCESSORS_ONLN);

	return cpus < least ? least : cpus < most ? cpus : most;
}

void idle_priority(void)
{
	struct sched_param param = { 0 };

	sched_setscheduler(0, SCHED_IDLE, &param);
}

void usual_priority(void)
{
	struct sched_param param = { 0 };

	sched_setscheduler(0, SCHED_OTHER, &param);
}

void flush_tlb(void)
{
	/* More than tlb_single_page_flush_ceiling pages: the kernel drops all. */
	static const size_t bytes = 64 * 4096;
	static __thread char *scratch;
	size_t i;

	if (!scratch)
		scratch = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			       -1, 0);
	for (i = 0; i < bytes; i += 4096)
		scratch[i] = 1;
	mprotect(scratch, bytes, PROT_READ);
	mprotect(scratch, bytes, PROT_READ | PROT_WRITE);
}

/* Poisoned pages of the machine, as the kernel counts them; -1 where it does not say. */
static long pages_poisoned(void)
{
	FILE *f = fopen("/proc/meminfo", "r");
	long kb, pages = -1;
	char line[128];

	while (f && pages < 0 && fgets(line, sizeof(line), f))
		if (sscanf(line, "HardwareCorrupted: %ld", &kb) == 1)
			pages = kb / 4;
	if (f)
		fclose(f);
	return pages;
}

/* Unpoisons what a read of /proc/kpageflags has found; how many. */
static int unpoison_of(int out, unsigned long pfn, const uint64_t *flags, int n)
{
	char text[32];
	int done = 0, len, i;

	for (i = 0; i < n; i++) {
		if (!(flags[i] & FRAME_POISONED))
			continue;
		len = snprintf(text, sizeof(text), "%lu", pfn + i);
		done += write(out, text, len) == len;
	}
	return done;
}

/*
 * An emulated guest takes seconds for the flags of all its pages.  What was poisoned by the
 * address of a huge page is that one's first base page, so those are looked at first, and
 * all the others only where the kernel still counts some.
 */
int unpoison_all(void)
{
	static const unsigned long steps[] = { HUGE_2M / 4096, 1 };
	static uint64_t flags[4096];
	long left = pages_poisoned();
	int out, done = 0, found, got, look;
	unsigned long pfn;
	size_t pass;

	out = open("/sys/kernel/debug/hwpoison/unpoison-pfn", O_WRONLY | O_CLOEXEC);
	for (pass = 0; pass < 2 && out >= 0; pass++) {
		look = steps[pass] == 1 ? 4096 : 1;
		for (pfn = 0; left; pfn += steps[pass] * look) {
			got = frames_flags(pfn, flags, look);
			if (!got)
				break;
			found = unpoison_of(out, pfn, flags, got);
			done += found;
			if (found)
				left = pages_poisoned();
		}
	}
	if (out >= 0)
		close(out);
	return done;
}
