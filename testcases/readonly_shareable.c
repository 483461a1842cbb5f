// SPDX-License-Identifier: GPL-2.0-only
/*
 * MAP_SHARED of a file that is open for reading only: the VMA may share page tables
 * (VM_MAYSHARE), and does not have VM_SHARED.  No page of it may ever be anonymous:
 * whoever decides by the wrong flag breaks the file's coherence, and walks the
 * wrong tree when the page migrates.
 *
 *	reader, O_RDONLY, MAP_SHARED			writer, MAP_SHARED
 *
 *	reads a hole: hugetlb_no_page()
 *	  page cache (not: an anonymous page)
 *							writes through its own mapping
 *	must read what was written
 *	/proc/self/mem, forced write: must fail
 *	UFFDIO_REGISTER: must fail with EPERM
 *	a private sibling writes: COW, and nobody sees it
 *	the page migrates; a second reader shares the table
 *	must still read what was written
 *
 * Nothing races; each round is a new file.  A kernel with the probe of
 * guests/patches/instrument/ counts anonymous pages in such areas itself.
 */
#include "race.h"
#include "repro.h"
#include "uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define VALUE(round) (0x5a5a000000000000UL + (round))

static struct counter *rounds, *moved, *shared_tables;
static int nodes[2];

static void expect(const volatile unsigned long *p, unsigned long value, const char *when)
{
	if (*p != value)
		fail("data", "%s: expected 0x%lx, found 0x%lx", when, value, *p);
}

/* A write that asks for force, as a debugger's: nothing may come of it here. */
static void forced_write(volatile unsigned long *p, unsigned long value)
{
	unsigned long other = ~value;
	int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);

	if (fd >= 0 && pwrite(fd, &other, sizeof(other), (off_t)p) >= 0)
		fail("errno", "/proc/self/mem wrote into a shared mapping that is read-only");
	close(fd);
	expect(p, value, "after a forced write");
}

static void register_uffd(char *room)
{
	int uffd = uffd_open(), err;

	if (uffd < 0)
		return;		/* not built in */
	err = uffd_register(uffd, room, HUGE_2M);
	if (err != EPERM)
		fail("errno", "UFFDIO_REGISTER of a read-only shared mapping: errno %d (%s), "
		     "expected EPERM", err, strerror(err));
	close(uffd);
}

static void private_sibling(int fd, unsigned long value)
{
	volatile unsigned long *p = mmap(NULL, HUGE_2M, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);

	if (p == MAP_FAILED)
		return;
	expect(p, value, "private sibling");
	*p = ~value;
	expect(p, ~value, "private sibling after its write");
	munmap((void *)p, HUGE_2M);
}

static void second_reader(int fd, unsigned long value)
{
	pid_t pid = fork();
	char *room;

	if (!pid) {
		room = map_pud(fd, PROT_READ);
		expect((unsigned long *)room, value, "second reader");
		count_add(shared_tables, is_mapped(room + HUGE_2M));
		_exit(0);
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

static void play(unsigned long round)
{
	int rw = huge_memfd(PUD_BYTES), ro, i, status;
	unsigned long value = VALUE(round);
	volatile unsigned long *writer;
	char path[64], *room;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", rw);
	ro = open(path, O_RDONLY | O_CLOEXEC);
	if (ro < 0)
		skip("a second open of a memfd: %s", strerror(errno));
	room = map_pud(ro, PROT_READ);
	expect((unsigned long *)room, 0, "a hole");
	(void)*(volatile char *)(room + HUGE_2M);
	writer = mmap(NULL, HUGE_2M, PROT_READ | PROT_WRITE, MAP_SHARED, rw, 0);
	if (writer == MAP_FAILED)
		skip("a shared mapping for writing: %s", strerror(errno));
	*writer = value;
	expect((unsigned long *)room, value, "what another mapping wrote");
	forced_write((unsigned long *)room, value);
	register_uffd(room);
	private_sibling(rw, value);
	expect((unsigned long *)room, value, "after a private sibling's write");
	second_reader(ro, value);
	for (i = 0; i < 3; i++) {
		if (!move_one(0, room, nodes[i % 2], MPOL_MF_MOVE_ALL, &status) &&
		    status == nodes[i % 2] && i)
			count_add(moved, 1);
		expect((unsigned long *)room, value, "after a migration");
		second_reader(ro, value);
	}
	*writer = value + 1;
	expect((unsigned long *)room, value + 1, "what was written after the migration");
	munmap((void *)writer, HUGE_2M);
	munmap(room, PUD_BYTES);
	close(ro);
	close(rw);
	count_add(rounds, 1);
}

static void reader(void *arg)
{
	unsigned long round;

	(void)arg;
	for (round = 1; running(); round++)
		play(round);
}

int main(int argc, char **argv)
{
	repro_start(argc, argv);
	rounds = counter("rounds");
	moved = counter("moved");
	shared_tables = counter("shared_tables");
	two_nodes(nodes);
	child("reader", reader, NULL);
	repro_wait();
	return repro_end();
}
