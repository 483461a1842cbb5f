// SPDX-License-Identifier: GPL-2.0-only
/*
 * A page that somebody holds a reference to cannot migrate: the attempt unmaps it,
 * finds the reference, and has to put all back as it was, whatever the way in.
 *
 *	holder				mover
 *
 *	vmsplice(pipe, page)		move_pages(), mbind(), migrate_pages():
 *					  try_to_unmap()
 *					  expected_page_refs() does not fit
 *					  remove_migration_ptes(old page)
 *					  putback_active_hugepage()
 *	reads the pipe			the same move succeeds
 *
 * The page is still there, with its data, at its node, and writable; soft offline
 * says EBUSY.  Direct I/O holds pages for moments only: it reads a RAM disk into a
 * page that is moved all the time, and nothing of what it read may be lost.
 *
 * Whoever asks during such attempts finds a migration entry every other time, for a page
 * that goes nowhere: so there is one right answer to where it is, and an entry that was
 * taken for something else gives another one.
 */
#define _GNU_SOURCE
#include "catch.h"
#include "huge.h"
#include "phys.h"
#include "pool.h"
#include "repro.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE 101
#endif
#define OWNER 6
#define QUESTIONS 200
#define TRIES 20	/* to move it meanwhile: on a fast machine 200 questions are over at once */

static struct counter *refused, *offline_refused, *released, *direct, *moved, *asked, *tried;
static int nodes[2];

static int pin(int pipe_fd, char *page)
{
	struct iovec iov = { page, 4096 };

	return vmsplice(pipe_fd, &iov, 1, 0) == 4096 ? 0 : errno;
}

/* Nothing may have changed: node, data, and that it can be written. */
static void still_there(struct huge *h, int node, const char *after)
{
	struct caught caught;

	if (page_node(h->addr) != node)
		fail("errno", "%s: the pinned page is at node %d, was at %d", after,
		     page_node(h->addr), node);
	huge_check(h, OWNER, after);
	touch_write(h->addr + 64, 1, &caught);
	caught_is(&caught, h->addr, 0, 0, after);
}

static void pinned(enum kind kind, const struct pool *before)
{
	unsigned long mask, old_mask;
	int pipes[2], node, other, status, err;
	char byte[4096];
	struct huge h;
	long got;

	err = huge_open(&h, kind, HUGE_2M, 1, "/dev/hugepages", OWNER);
	if (err || pipe(pipes)) {
		fail("errno", "%s or a pipe: %s", kind_name(kind), strerror(err ? err : errno));
		return;
	}
	node = page_node(h.addr);
	other = nodes[node == nodes[0]];
	err = pin(pipes[1], h.addr);
	if (err) {
		fail("errno", "vmsplice of %s: %s", kind_name(kind), strerror(err));
		goto out;
	}
	got = move_page(0, h.addr, other, MPOL_MF_MOVE, &status);
	if (got == 0 && status == other)
		fail("errno", "%s: move_pages moved a pinned page", kind_name(kind));
	else if (got < 0 && got != -EAGAIN && got != -EBUSY && got != -ENOMEM)
		fail("errno", "%s: move_pages of a pinned page: %ld", kind_name(kind), got);
	still_there(&h, node, "move_pages of a pinned page");

	mask = 1UL << other;
	got = syscall(SYS_mbind, h.addr, HUGE_2M, MPOL_BIND, &mask, 64UL,
		      MPOL_MF_MOVE | MPOL_MF_STRICT) ? errno : 0;
	if (got != EIO)
		fail("errno", "%s: mbind(MOVE | STRICT) of a pinned page: %s, expected EIO",
		     kind_name(kind), strerror(got));
	still_there(&h, node, "mbind of a pinned page");
	syscall(SYS_mbind, h.addr, HUGE_2M, MPOL_DEFAULT, NULL, 0UL, 0);

	old_mask = 1UL << node;
	got = syscall(SYS_migrate_pages, 0, 64UL, &old_mask, &mask);
	if (got < 0)
		fail("errno", "%s: migrate_pages: %s", kind_name(kind), strerror(errno));
	still_there(&h, node, "migrate_pages of a pinned page");
	count_add(refused, 1);

	err = madvise(h.addr, 4096, MADV_SOFT_OFFLINE) ? errno : 0;
	if (err == EBUSY)
		count_add(offline_refused, 1);
	else if (err != EINVAL && err != EPERM)	/* no MEMORY_FAILURE */
		fail("errno", "%s: soft offline of a pinned page: %s, expected EBUSY",
		     kind_name(kind), strerror(err));
	still_there(&h, node, "soft offline of a pinned page");

	if (read(pipes[0], byte, sizeof(byte)) != sizeof(byte))
		fail("data", "the pipe does not give back what it was given");
	close(pipes[0]);
	close(pipes[1]);
	pipes[0] = -1;
	got = move_page(0, h.addr, other, MPOL_MF_MOVE, &status);
	if (got || status != other)
		fail("errno", "%s: move of a page no longer pinned: %ld, status %d",
		     kind_name(kind), got, status);
	else
		count_add(released, 1);
	huge_check(&h, OWNER, "moved when no longer pinned");
out:
	if (pipes[0] >= 0) {
		close(pipes[0]);
		close(pipes[1]);
	}
	huge_close(&h);
	pool_same(before, "after a pinned page");
}

/*
 * Where the page is, for all who ask.  Nowhere is legal, for the moment between page and entry
 * (movers_collide.c); elsewhere is not.
 */
static void ask(const struct huge *h, int node, unsigned long frame, int turn)
{
	unsigned long mask = 1UL << node, at_frame;
	struct numa_maps told;
	int at, i;

	at = page_node(h->addr);
	if (at != node && at != -ENOENT)
		fail("errno", "%s: move_pages tells of a page that is pinned at node %d: %d",
		     kind_name(h->kind), node, at);
	at_frame = page_frame(h->addr);
	if (at_frame && at_frame != frame)
		fail("errno", "%s: pagemap tells of a page that is pinned in frame %#lx: %#lx",
		     kind_name(h->kind), frame, at_frame);
	/* Since 1cb5d11a370f (6.7) a page under migration counts as one that is elsewhere. */
	if (syscall(SYS_mbind, h->addr, HUGE_2M, MPOL_BIND, &mask, 64UL, MPOL_MF_STRICT) &&
	    !(errno == EIO && kernel_since(6, 7)))
		fail("errno", "%s: mbind(STRICT) to node %d, where the page is pinned: %s",
		     kind_name(h->kind), node, strerror(errno));
	if (turn % 8 || !numa_maps_read(getpid(), h->addr, &told))
		return;
	for (i = 0; i < 64; i++)
		if (told.on[i] && i != node)
			fail("errno", "%s: numa_maps has a page that is pinned at node %d on node %d",
			     kind_name(h->kind), node, i);
}

/* At the higher node: what is made of an entry by mistake lies lower. */
static void looked_at(enum kind kind, const struct pool *before)
{
	unsigned long mask = 1UL << nodes[1];
	unsigned long enough = count_read(tried) + TRIES, frame;
	int pipes[2], status, turn = 0, err;
	struct huge h;
	pid_t pid;

	syscall(SYS_set_mempolicy, MPOL_BIND, &mask, 64UL);
	err = huge_open(&h, kind, HUGE_2M, 1, "/dev/hugepages", OWNER);
	syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0UL);
	if (err || pipe(pipes) || pin(pipes[1], h.addr)) {
		fail("errno", "%s at node %d, or its pin: %s", kind_name(kind), nodes[1],
		     strerror(err ? err : errno));
		return;
	}
	frame = page_frame(h.addr);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		munmap(h.addr, HUGE_2M);
		for (;;) {
			move_page(getppid(), h.addr, nodes[0], MPOL_MF_MOVE_ALL, &status);
			count_add(tried, 1);
		}
	}
	do {
		ask(&h, nodes[1], frame, turn++);
		count_add(asked, 1);
	} while ((turn < QUESTIONS || count_read(tried) < enough) && running());
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(pipes[0]);
	close(pipes[1]);
	huge_check(&h, OWNER, "looked at");
	huge_close(&h);
	pool_same(before, "after a pinned page that was looked at");
}

static void mover(void *arg)
{
	int status, turn;

	munmap(arg, HUGE_2M);
	for (turn = 0; running(); turn++)
		if (!move_page(getppid(), arg, nodes[turn % 2], MPOL_MF_MOVE_ALL, &status) &&
		    status == nodes[turn % 2])
			count_add(moved, 1);
}

/* Direct reads of a RAM disk into a page that moves all the time. */
static void direct_io(void)
{
	unsigned int seq = 0;
	struct huge h;
	int disk, fd;
	char *out;

	disk = open("/dev/ram0", O_RDWR | O_DIRECT | O_CLOEXEC);
	if (disk < 0) {
		count_add(direct, 1);	/* this kernel has no RAM disk */
		return;
	}
	fd = huge_open(&h, ANON, HUGE_2M, 1, NULL, OWNER);
	out = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (fd || out == MAP_FAILED) {
		close(disk);
		return;
	}
	child("mover", mover, h.addr);
	for (; running(); seq++) {
		pattern_write(out, 65536, OWNER, seq);
		if (pwrite(disk, out, 65536, 0) != 65536)
			fail("errno", "write of the RAM disk: %s", strerror(errno));
		if (pread(disk, h.addr, 65536, 0) != 65536)
			fail("errno", "direct read into a huge page: %s", strerror(errno));
		if (pattern_check(h.addr, 65536, OWNER, seq))
			break;
		count_add(direct, 1);
	}
	repro_wait();
	munmap(out, 65536);
	huge_close(&h);
	close(disk);
}

int main(int argc, char **argv)
{
	static const enum kind kinds[] = { ANON, SHARED_FILE, MEMFD, PRIVATE_FILE, SHM };
	struct pool before;
	size_t i;

	repro_start(argc, argv);
	refused = counter("refused");
	offline_refused = counter("offline_refused");
	released = counter("released");
	direct = counter("direct");
	moved = counter("moved");
	asked = counter("asked");
	tried = counter("tried");
	two_nodes(nodes);
	catch_signals();
	pool_read(&before);
	for (i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		pinned(kinds[i], &before);
	looked_at(ANON, &before);
	looked_at(SHARED_FILE, &before);
	direct_io();
	pool_same(&before, "at the end");
	return repro_end();
}
