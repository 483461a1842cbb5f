// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who waits for a huge page is killed, or gets a signal, in the midst of it.  It has given
 * up its locks to wait, and takes none back, or those that it has back are given up again;
 * a reference that it held to wait is dropped, and dropped once.
 *
 *	CPU0 (waiter)				CPU1
 *
 *	hugetlb_no_page()
 *	  handle_userfault() drops all locks
 *	    sleeps				SIGKILL, or a signal with a handler
 *	  VM_FAULT_RETRY			faults the same page, cuts the file off
 *
 *	process_vm_readv() of CPU1's page
 *	  follow_hugetlb_page()
 *	    the lock of CPU1's mm is dropped
 *	    sleeps				SIGKILL
 *	  does not drop it again		mmap(), munmap() want it
 *
 *	hugetlb_fault()				move_pages()
 *	  migration_entry_wait_huge()		  holds the page's lock
 *	    sleeps without a reference		SIGKILL
 *						moves it again, and frees it
 *
 * Afterwards whoever comes next finds no lock held and no page lost: the same page is faulted
 * in by another process, the file is cut off, and the pool is what it was.
 */
#define _GNU_SOURCE
#include "catch.h"
#include "huge.h"
#include "pool.h"
#include "race.h"
#include "repro.h"
#include "uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES 2
#define OWNER 41
#define VICTIMS 4	/* a round */

static struct counter *killed, *interrupted, *looked, *moving, *moved;
static int nodes[2];
static char *source;

static char *map(int fd)
{
	char *p = mmap(NULL, PAGES * HUGE_2M, PROT_READ | PROT_WRITE, fd < 0 ?
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB : MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		skip("mmap of %d huge pages: %s", PAGES, strerror(errno));
	return p;
}

static void kill_it(pid_t pid, const char *what)
{
	int i;

	kill(pid, SIGKILL);
	for (i = 0; i < 1000; i++) {
		if (waitpid(pid, NULL, WNOHANG))
			return;
		usleep(10000);
	}
	fail("hang", "%s: SIGKILL did not end it within 10 s", what);
}

static void *touch(void *page)
{
	return (void *)(long)*(volatile char *)page;
}

/* Maps the range for itself, has two threads wait for its second page, and tells so. */
static void waits(int fd, int tell)
{
	char *range = map(fd);
	int uffd = uffd_over(range, PAGES * HUGE_2M), i;
	pthread_t thread;

	for (i = 0; i < 2; i++)
		pthread_create(&thread, NULL, touch, range + HUGE_2M);
	for (i = 0; i < 2; i++)
		if (uffd_next(uffd, 5000) != range + HUGE_2M)
			_exit(1);
	if (write(tell, "", 1) == 1)
		for (;;)
			pause();
	_exit(1);
}

static void killed_in_fault(int shared, const struct pool *before)
{
	int fd = shared ? huge_file("/dev/hugepages", PAGES * HUGE_2M) : -1, pipes[2];
	char *range = map(fd), c;
	struct caught caught;
	unsigned char value;
	pid_t pid;

	if (pipe2(pipes, O_CLOEXEC))
		skip("a pipe: %s", strerror(errno));
	pid = fork();
	if (!pid)
		waits(fd, pipes[1]);
	close(pipes[1]);
	if (read(pipes[0], &c, 1) != 1)
		fail("errno", "two threads do not wait for a missing page");
	kill_it(pid, "two threads that wait for a missing page");
	close(pipes[0]);
	/* Another process wants the very page; nobody has registered its mapping. */
	touch_write(range + HUGE_2M, 7, &caught);
	caught_is(&caught, range + HUGE_2M, 0, 0, "the page that was waited for");
	if (shared) {
		if (ftruncate(fd, HUGE_2M))
			fail("errno", "ftruncate: %s", strerror(errno));
		touch_read(range + HUGE_2M, &value, &caught);
		caught_is(&caught, range + HUGE_2M, SIGBUS, BUS_ADRERR, "cut off after that");
		close(fd);
	}
	munmap(range, PAGES * HUGE_2M);
	pool_same(before, "after a process that was killed as it waited for a missing page");
	count_add(killed, 1);
}

static volatile sig_atomic_t signals;

static void on_signal(int sig)
{
	(void)sig;
	signals++;
}

/* The handler runs, and the fault is told of anew. */
static void signalled(int shared, const struct pool *before)
{
	int fd = shared ? huge_memfd(PAGES * HUGE_2M) : -1, uffd, err, i;
	char *range = map(fd), *page = range + HUGE_2M;
	struct sigaction action = { .sa_handler = on_signal };
	pthread_t thread;

	sigaction(SIGUSR1, &action, NULL);
	uffd = uffd_over(range, PAGES * HUGE_2M);
	signals = 0;
	pthread_create(&thread, NULL, touch, page);
	for (i = 0; i < 3; i++) {
		if (uffd_next(uffd, 5000) != page)
			fail("errno", "no message of the missing page after %d signals", i);
		pool_expect("resv_hugepages", before->resv + PAGES, "a fault that waits");
		if (i < 2)
			pthread_kill(thread, SIGUSR1);
	}
	if (signals != 2)
		fail("signal", "%d of 2 signals came to who waits for a page", (int)signals);
	err = uffd_copy(uffd, page, source, HUGE_2M, NULL);
	if (err)
		fail("errno", "UFFDIO_COPY after signals: %s", strerror(err));
	pthread_join(thread, NULL);
	pattern_check(page, HUGE_2M, OWNER, 0);
	close(uffd);
	munmap(range, PAGES * HUGE_2M);
	if (fd >= 0)
		close(fd);
	pool_same(before, "after a fault with signals");
	count_add(interrupted, 1);
}

/* Another process looks our page up, has to wait for it, and is killed: our mm is as it was. */
static void killed_in_look(int write, const struct pool *before)
{
	int fd = huge_memfd(PAGES * HUGE_2M), uffd, err;
	char *range = map(fd), *page = range + HUGE_2M, buf[64] = "";
	struct iovec local = { buf, sizeof(buf) }, remote = { page + 4096, sizeof(buf) };
	pid_t pid, us = getpid();
	void *other;

	uffd = uffd_over(range, PAGES * HUGE_2M);
	pid = fork();
	if (!pid) {
		if (write)
			process_vm_writev(us, &local, 1, &remote, 1, 0);
		else
			process_vm_readv(us, &local, 1, &remote, 1, 0);
		_exit(0);
	}
	if (uffd_next(uffd, 5000) != page)
		fail("errno", "no message of a missing page that process_vm_%s() looks up",
		     write ? "writev" : "readv");
	kill_it(pid, "process_vm_readv() or _writev() of a missing page");
	/* Nobody has our mmap_lock. */
	other = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (other == MAP_FAILED || munmap(other, 4096))
		fail("errno", "mmap(), munmap(): %s", strerror(errno));
	err = uffd_copy(uffd, page, source, HUGE_2M, NULL);
	if (err)
		fail("errno", "UFFDIO_COPY of a page that was looked up: %s", strerror(err));
	pattern_check(page, HUGE_2M, OWNER, 0);
	close(uffd);
	munmap(range, PAGES * HUGE_2M);
	close(fd);
	pool_same(before, "after a process that was killed as it looked a page up");
	count_add(looked, 1);
}

static void to_and_fro(pid_t pid, char *range)
{
	int status, i, turn;

	munmap(range, PAGES * HUGE_2M);
	for (turn = 0; ; turn++)
		for (i = 0; i < PAGES; i++)
			if (!move_page(pid, range + i * HUGE_2M, nodes[turn % 2],
				       MPOL_MF_MOVE_ALL, &status) && status == nodes[turn % 2])
				count_add(moved, 1);
}

/* Whether it sleeps and no signal wakes it: here, for a page's lock or for its file's. */
static int is_waiting(pid_t pid)
{
	char path[40], text[128] = "", *state;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		text[0] = 0;
	if (fd >= 0)
		close(fd);
	state = strrchr(text, ')');
	return state && state[2] == 'D';
}

/* Readers of pages that move all the time, each killed when it is seen to wait. */
static void killed_in_move(const struct pool *before)
{
	int fd = huge_memfd(PAGES * HUGE_2M), n, i;
	char *range = map(fd);
	pid_t us = getpid(), mover, victim;

	for (i = 0; i < PAGES; i++)
		pattern_write(range + i * HUGE_2M, HUGE_2M, OWNER, 0);
	mover = fork();
	if (!mover)
		to_and_fro(us, range);
	for (n = 0; n < VICTIMS; n++) {
		victim = fork();
		if (!victim)
			for (i = 0; ; i++)
				(void)*(volatile char *)(range + i % PAGES * HUGE_2M);
		for (i = 0; i < 200 && !is_waiting(victim); i++)
			sched_yield();
		count_add(moving, i < 200);
		kill_it(victim, "a reader of pages that move");
	}
	kill_it(mover, "who moves the pages");
	for (i = 0; i < PAGES; i++)
		pattern_check(range + i * HUGE_2M, HUGE_2M, OWNER, 0);
	if (ftruncate(fd, 0))
		fail("errno", "ftruncate: %s", strerror(errno));
	munmap(range, PAGES * HUGE_2M);
	close(fd);
	pool_same(before, "after readers that were killed as they waited for a migration");
}

static void rounds(void *arg)
{
	const struct pool *before = arg;

	do {
		killed_in_fault(1, before);
		killed_in_fault(0, before);
		signalled(1, before);
		signalled(0, before);
		killed_in_look(0, before);
		killed_in_look(1, before);
		killed_in_move(before);
	} while (running() && !failed());
}

int main(int argc, char **argv)
{
	struct pool before;

	repro_start(argc, argv);
	killed = counter("killed");
	interrupted = counter("interrupted");
	looked = counter("looked");
	moving = counter("killed_moving");
	moved = counter("moved");
	two_nodes(nodes);
	catch_signals();
	pool_read(&before);
	source = mmap(NULL, HUGE_2M, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pattern_write(source, HUGE_2M, OWNER, 0);
	child("rounds", rounds, &before);
	repro_wait();
	return repro_end();
}
