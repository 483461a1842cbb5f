// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who only looks at a page while it migrates: what he sees is the page as it is, or a
 * migration entry that he has to know for one.
 *
 *	CPU0 (mover)			CPU1 (observers of the mover's target)
 *
 *	try_to_unmap()			/proc/PID/smaps, numa_maps, pagemap
 *	  migration entry		mincore()
 *	move_to_new_page()		process_vm_readv(), /proc/PID/mem
 *	remove_migration_ptes()		FUTEX_WAIT and FUTEX_WAKE in the page
 *					a core dump
 *
 * Each observer knows the answer beforehand: the data, the size of the mapping, that a
 * page is present or just migrating, that a wake-up finds its waiter.
 */
#define _GNU_SOURCE
#include "catch.h"
#include "huge.h"
#include "pool.h"
#include "repro.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/mempolicy.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGES 2
#define OWNER 28
#define WORD 2048	/* where in a page the futex is: between two chunks of the pattern */

static struct counter *moved, *looked, *read_over, *told_of, *woken, *apart, *dumped, *left_out;
static struct huge shared, private;
static int nodes[2];
static pid_t target;

static void mover(void *arg)
{
	struct huge *all[] = { &shared, &private };
	int status, turn, i;

	(void)arg;
	for (turn = 0; running(); turn++)
		for (i = 0; i < 2 * PAGES; i++) {
			int to = nodes[turn % 2];

			if (!move_page(target, all[i % 2]->addr + i / 2 * HUGE_2M, to,
				       MPOL_MF_MOVE_ALL, &status) && status == to)
				count_add(moved, 1);
		}
}

static void look(void *arg)
{
	char path[64];
	struct numa_maps told;
	struct smaps kb;
	unsigned char core[PAGES * 512];
	uint64_t entry;
	ssize_t got;
	int fd, i;

	(void)arg;
	while (running()) {
		/* A page that is migrating is in neither of the two, so less is legal. */
		if (!smaps_read(target, shared.addr, &kb) ||
		    kb.private + kb.shared > (long)(PAGES * HUGE_2M >> 10))
			fail("counters", "smaps tells of %ld and %ld kB of huge pages, there are %d pages",
			     kb.private, kb.shared, PAGES);
		if (!smaps_read(target, private.addr, &kb) || kb.page != 2048)
			fail("counters", "smaps tells of a page size of %ld kB", kb.page);

		/* Fewer while some migrate; but each one is of the kind that the mapping has. */
		if (numa_maps_read(target, shared.addr, &told) && (told.pages > PAGES || told.anon))
			fail("counters", "numa_maps of a file's %d pages: %ld pages, %ld anonymous",
			     PAGES, told.pages, told.anon);
		if (numa_maps_read(target, private.addr, &told)) {
			if (told.pages > PAGES || told.anon != told.pages)
				fail("counters", "numa_maps of %d private pages: %ld pages, %ld anonymous",
				     PAGES, told.pages, told.anon);
			count_add(told_of, 1);
		}

		snprintf(path, sizeof(path), "/proc/%d/pagemap", target);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		for (i = 0; fd >= 0 && i < PAGES; i++) {
			got = pread(fd, &entry, 8, ((unsigned long)shared.addr + i * HUGE_2M) / 4096 * 8);
			/* Bit 63: present.  5.10 says nothing at all of a migrating huge page. */
			if (got == 8 && entry >> 63 & 1)
				count_add(looked, 1);
		}
		close(fd);

		/* In this process, which has both mapped since the fork. */
		if (mincore(shared.addr, PAGES * HUGE_2M, core))
			fail("errno", "mincore: %s", strerror(errno));
	}
}

static void read_other(void *arg)
{
	char buf[4096], path[64];
	struct iovec local = { buf, sizeof(buf) }, remote;
	struct huge *h;
	int turn, fd;
	ssize_t got;
	size_t at;

	(void)arg;
	snprintf(path, sizeof(path), "/proc/%d/mem", target);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	for (turn = 0; running(); turn++) {
		h = turn % 2 ? &shared : &private;
		at = (size_t)turn * 4096 * 37 % HUGE_2M & ~4095UL;
		remote.iov_base = h->addr + HUGE_2M + at;
		remote.iov_len = 4096;
		if (turn % 3)
			got = process_vm_readv(target, &local, 1, &remote, 1, 0);
		else
			got = pread(fd, buf, 4096, (off_t)(unsigned long)remote.iov_base);
		if (got != 4096) {
			fail("errno", "a read of the other process: %zd, %s", got, strerror(errno));
			break;
		}
		/* The offset is that within the page, the chunk is one. */
		if (*(uint64_t *)buf != at || *(uint32_t *)(buf + 8) != OWNER)
			fail("data", "read of the other process at 0x%zx: found 0x%llx owner %u", at,
			     (unsigned long long)*(uint64_t *)buf, *(uint32_t *)(buf + 8));
		count_add(read_over, 1);
	}
	close(fd);
}

static long futex(int *word, int op, int value)
{
	struct timespec limit = { 5, 0 };

	return syscall(SYS_futex, word, op, value, op == FUTEX_WAIT ? &limit : NULL, NULL, 0);
}

/* A shared futex is found by file and offset: both sides must agree, wherever the page is. */
static void waiter(void *arg)
{
	int *word = (int *)(shared.addr + WORD), value = 0;

	(void)arg;
	while (running()) {
		if (futex(word, FUTEX_WAIT, value) && errno == ETIMEDOUT && running()) {
			fail("hang", "a futex wake-up was lost: the word is %d, waited for %d",
			     __atomic_load_n(word, __ATOMIC_SEQ_CST), value);
			break;
		}
		value = __atomic_load_n(word, __ATOMIC_SEQ_CST);
		count_add(woken, 1);
	}
}

static void waker(void *arg)
{
	int *word = (int *)(shared.addr + WORD);

	(void)arg;
	while (running()) {
		__atomic_fetch_add(word, 1, __ATOMIC_SEQ_CST);
		if (futex(word, FUTEX_WAKE, 1) < 0)
			fail("errno", "FUTEX_WAKE: %s", strerror(errno));
		usleep(200);
	}
	futex(word, FUTEX_WAKE, 100);
}

/* What a core has of a mapping: its bytes, or 0 where it was not asked for; -1: no such part. */
static long in_core(const char *core, size_t size, const char *addr, const char **bytes)
{
	const Elf64_Ehdr *head = (const void *)core;
	const Elf64_Phdr *part = (const void *)(core + head->e_phoff);
	int i;

	for (i = 0; i < head->e_phnum; i++)
		if (part[i].p_vaddr == (unsigned long)addr) {
			*bytes = core + part[i].p_offset;
			if (part[i].p_offset + part[i].p_filesz > size)
				return -1;
			return part[i].p_filesz;
		}
	return -1;
}

/* As huge_open() has filled them; a part that the kernel found no page for reads as zeroes. */
static int all_there(const char *bytes, const char *which)
{
	size_t at, empty = 0, wrong = 0, first = 0;

	for (at = 0; at < PAGES * HUGE_2M; at += 4096) {
		if (*(uint64_t *)(bytes + at) == at % HUGE_2M && *(uint32_t *)(bytes + at + 8) == OWNER)
			continue;
		first = empty + wrong ? first : at;
		if (*(uint64_t *)(bytes + at) || *(uint64_t *)(bytes + at + 8))
			wrong++;
		else
			empty++;
	}
	if (empty + wrong)
		fail("data", "a core: of %d parts of the %s pages %zu are empty and %zu wrong, from 0x%zx on",
		     (int)(PAGES * HUGE_2M / 4096), which, empty, wrong, first);
	return !(empty + wrong);
}

static void check_core(int asked)
{
	const struct huge *all[] = { &shared, &private };
	int fd = open("/tmp/core", O_RDONLY | O_CLOEXEC), i;
	struct stat st = { 0 };
	const char *bytes;
	char *core;
	long held;

	if (fd < 0 || fstat(fd, &st) || !st.st_size)
		return;		/* no room, or none wanted here: then it does not count either */
	core = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (core == MAP_FAILED)
		return;
	for (i = 0; i < 2; i++) {
		held = in_core(core, st.st_size, all[i]->addr, &bytes);
		if (held != (asked ? (long)(PAGES * HUGE_2M) : 0)) {
			fail("data", "a core has %ld bytes of %d %s pages, which were %sasked for", held,
			     PAGES, i ? "private" : "shared", asked ? "" : "not ");
			continue;
		}
		if (held && !all_there(bytes, i ? "private" : "shared"))
			break;
	}
	munmap(core, st.st_size);
	count_add(asked ? dumped : left_out, 1);
}

/* A process that has the pages dies by SIGABRT and leaves a core, with them or without. */
static void dumper(void *arg)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
	int status, turn;
	pid_t pid;

	(void)arg;
	for (turn = 0; running(); turn++) {
		pid = fork();
		if (!pid) {
			setrlimit(RLIMIT_CORE, &limit);
			prctl(PR_SET_DUMPABLE, 1);
			signal(SIGABRT, SIG_DFL);
			/* Bits 5 and 6: private and shared huge pages too. */
			FILE *f = fopen("/proc/self/coredump_filter", "w");

			if (f) {
				fprintf(f, turn % 2 ? "0x1f\n" : "0x7f\n");
				fclose(f);
			}
			if (chdir("/tmp"))
				_exit(1);
			abort();
		}
		if (pid < 0)
			continue;
		waitpid(pid, &status, 0);
		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
			fail("signal", "a process that aborts ended with status 0x%x", status);
		check_core(turn % 2 == 0);
		unlink("/tmp/core");
		usleep(50000);
	}
}

/* Until the process sleeps, in the only call that it makes. */
static void sleeps(pid_t pid)
{
	char path[64], state = 0;
	FILE *f;
	int i;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	for (i = 0; i < 2000 && state != 'S'; i++) {
		usleep(1000);
		f = fopen(path, "r");
		if (!f || fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
			state = 0;
		if (f)
			fclose(f);
	}
}

/* Three words of one file, seen at other addresses: a wake-up is for the one that was meant. */
static void futexes_apart(void)
{
	static const struct {
		size_t at;
		int wakes;
		const char *what;
	} tries[] = {
		{ HUGE_2M + WORD + 4096, 0, "the same word of another part" },
		{ WORD + 4096, 0, "the same word of another part of another page" },
		{ WORD, 0, "the same word of another page" },
		{ WORD + 4, 0, "the next word" },
		{ HUGE_2M + WORD, 1, "the word itself" },
	};
	char *other = mmap(NULL, PAGES * HUGE_2M, PROT_READ | PROT_WRITE, MAP_SHARED, shared.fd, 0);
	int status;
	long woke;
	size_t i;
	pid_t pid;

	if (other == MAP_FAILED) {
		fail("errno", "a second mapping: %s", strerror(errno));
		return;
	}
	pid = fork();
	if (!pid)
		_exit(futex((int *)(shared.addr + HUGE_2M + WORD), FUTEX_WAIT, 0) != 0);
	sleeps(pid);
	for (i = 0; i < sizeof(tries) / sizeof(*tries); i++) {
		woke = futex((int *)(other + tries[i].at), FUTEX_WAKE, 10);
		if (woke != tries[i].wakes)
			fail("data", "FUTEX_WAKE of %s wakes %ld, expected %d", tries[i].what, woke,
			     tries[i].wakes);
	}
	if (waitpid(pid, &status, 0) == pid && !status)
		count_add(apart, 1);
	munmap(other, PAGES * HUGE_2M);
}

int main(int argc, char **argv)
{
	struct pool before;

	repro_start(argc, argv);
	moved = counter("moved");
	looked = counter("looked");
	read_over = counter("read_over");
	told_of = counter("told_of");
	woken = counter("woken");
	apart = counter("apart");
	dumped = counter("dumped");
	left_out = counter("left_out");
	two_nodes(nodes);
	catch_signals();
	pool_read(&before);
	target = getpid();
	if (huge_open(&shared, SHARED_FILE, HUGE_2M, PAGES, "/dev/hugepages", OWNER) ||
	    huge_open(&private, ANON, HUGE_2M, PAGES, NULL, OWNER))
		skip("%d huge pages: %s", 2 * PAGES, strerror(errno));
	futexes_apart();
	child("mover", mover, NULL);
	child("observer", look, NULL);
	child("reader", read_other, NULL);
	child("waiter", waiter, NULL);
	child("waker", waker, NULL);
	child("dumper", dumper, NULL);
	repro_wait();
	huge_check(&shared, OWNER, "at the end");
	huge_check(&private, OWNER, "at the end");
	huge_close(&shared);
	huge_close(&private);
	pool_same(&before, "at the end");
	return repro_end();
}
