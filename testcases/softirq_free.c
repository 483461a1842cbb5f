// SPDX-License-Identifier: GPL-2.0-only
/*
 * A huge page whose last reference is a socket's: its mapping, its file, and even its
 * mount are gone, and the network gives it back in a softirq, in which free_huge_page()
 * may not take locks that a task holds with softirqs on.
 *
 *	CPU0 (task)				CPU0 (softirq)
 *
 *	vmsplice(), splice() to a socket whose
 *	  peer has a full window
 *	munmap(), close(), umount()
 *	spin_lock(&hugetlb_lock)
 *						tcp_reset(): the peer is gone
 *						  tcp_write_queue_purge()
 *						    free_huge_page()
 *						      5.10: free_hpage_work, c77c0a8ac4c5
 *						      later: hugetlb_lock with interrupts
 *						      off, db71ef79b59b
 *						      (else: deadlock)
 *
 * Until then the page is nobody's and not free, its data is what the peer reads, and a
 * pool that shrinks counts it as surplus.  Afterwards all is given back: the page, the
 * reservation, the charge to the mount's subpool, which goes with the last of its pages.
 */
#define _GNU_SOURCE
#include "catch.h"
#include "huge.h"
#include "phys.h"
#include "pool.h"
#include "race.h"
#include "repro.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PART 4096
#define PARTS 3		/* of a page that a packet holds, and one reference for each */
#define FILLER (256 << 10)
#define OWNER 41
#define WAIT_TRIES 200	/* 50 ms each */
#define STAY_MS 50

static struct counter *dropped, *received, *umounted, *surplus, *offlined, *not_yet;

/*
 * A connection of which the first end has more to send than the second has room for, so that
 * what is sent next waits in its queue.
 */
static int full_connection(int *peer)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int from = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int little = 4096, much = 4 * FILLER;
	socklen_t length = sizeof(address);
	static char filler[FILLER];

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (listener < 0 || from < 0 ||
	    setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &little, sizeof(little)) ||
	    setsockopt(from, SOL_SOCKET, SO_SNDBUF, &much, sizeof(much)) ||
	    bind(listener, (struct sockaddr *)&address, length) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&address, &length) ||
	    connect(from, (struct sockaddr *)&address, length))
		skip("a connection to oneself: %s", strerror(errno));
	*peer = accept(listener, NULL, NULL);
	close(listener);
	if (*peer < 0 || send(from, filler, FILLER, MSG_DONTWAIT) != FILLER)
		skip("a full connection to oneself: %s", strerror(errno));
	return from;
}

/* Puts parts of the page into the queue of the socket; 0 or an errno. */
static int give(int socket, char *page)
{
	static const size_t at[PARTS] = { 0, 100 * PART, 511 * PART };
	struct iovec iov[PARTS];
	int pipes[2], i, err = 0;

	for (i = 0; i < PARTS; i++)
		iov[i] = (struct iovec){ page + at[i], PART };
	if (pipe(pipes))
		return errno;
	if (vmsplice(pipes[1], iov, PARTS, 0) != PARTS * PART)
		err = errno;
	for (i = 0; i < PARTS && !err; i++)
		if (splice(pipes[0], NULL, socket, NULL, PART, SPLICE_F_MORE) != PART)
			err = errno;
	close(pipes[0]);
	close(pipes[1]);
	return err;
}

/* The peer goes without having read: its RST is worked on in a softirq. */
static void reset(int peer)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(peer, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(peer);
	count_add(dropped, 1);
}

static void receive(int peer, const char *expected, const char *what)
{
	static char bytes[FILLER + PARTS * PART];
	size_t got = 0;
	ssize_t n;

	while (got < sizeof(bytes) && (n = recv(peer, bytes + got, sizeof(bytes) - got, 0)) > 0)
		got += n;
	if (got != sizeof(bytes))
		fail("data", "%s: %zu bytes of %zu come", what, got, sizeof(bytes));
	else if (memcmp(bytes + FILLER, expected, PARTS * PART))
		fail("data", "%s: other bytes come than the page held", what);
	else
		count_add(received, 1);
	close(peer);
}

/* nr, surplus and free while the socket has the page; nr and surplus show a pool that shrank. */
static void held(const struct pool *before, int shrunk, const char *what)
{
	struct pool now;

	pool_read(&now);
	if (!shrunk && (now.nr != before->nr || now.free != before->free - 1))
		fail("counters", "%s: %ld of %ld free while a socket holds one, were %ld of %ld", what,
		     now.free, now.nr, before->free, before->nr);
	if (shrunk && (now.nr - before->resv != 1 || now.surplus - before->resv != 1 ||
		       now.free != before->resv))
		fail("counters", "%s: nr %ld surplus %ld free %ld in an empty pool, a socket holds one",
		     what, now.nr, now.surplus, now.free);
}

/* A datagram to oneself on each CPU: that CPU's net_rx_action() runs. */
static void stir(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_DGRAM, 0), cpu;
	cpu_set_t all;
	char byte = 0;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) ||
	    getsockname(fd, (struct sockaddr *)&address, &length) ||
	    sched_getaffinity(0, sizeof(all), &all))
		skip("a datagram to oneself: %s", strerror(errno));
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &all))
			continue;
		pin_cpu(cpu);
		sendto(fd, &byte, 1, MSG_DONTWAIT, (struct sockaddr *)&address, length);
	}
	sched_setaffinity(0, sizeof(all), &all);
	close(fd);
}

/*
 * Since 68822bdf76f1 (5.19) who has received leaves the buffer to the CPU that made it,
 * which frees it when it has something to receive, however long that takes.
 */
static void wait_for_put(const struct pool *before, int shrinks)
{
	struct pool now;
	int tries;

	for (tries = 0; tries < (failed() ? 2 : WAIT_TRIES); tries++) {
		pool_read_sums(&now);
		if (shrinks ? now.nr == before->resv : now.free == before->free)
			return;
		stir();
		usleep(50000);
	}
}

static void last_put(enum kind kind, const char *options, int reads, int shrinks, const char *what)
{
	char expected[PARTS * PART];
	const char *path;
	struct pool before;
	struct huge h;
	int from, to, err;

	pool_read(&before);
	from = full_connection(&to);
	path = options ? mount_huge(options) : "/dev/hugepages";
	err = path ? huge_open(&h, kind, HUGE_2M, 1, path, OWNER) : EINVAL;
	if (err) {
		fail("errno", "%s: a page: %s", what, strerror(err));
		return;
	}
	memcpy(expected, h.addr, PART);
	memcpy(expected + PART, h.addr + 100 * PART, PART);
	memcpy(expected + 2 * PART, h.addr + 511 * PART, PART);
	err = give(from, h.addr);
	huge_close(&h);
	if (err) {
		fail("errno", "%s: to a socket: %s", what, strerror(err));
		return;
	}
	if (options) {
		err = umount_huge(path);
		if (err)
			fail("errno", "%s: umount: %s", what, strerror(err));
		else
			count_add(umounted, 1);
	}
	if (shrinks && !pool_set("nr_hugepages", 0))
		count_add(surplus, 1);
	else
		shrinks = 0;
	held(&before, shrinks, what);
	if (reads)
		receive(to, expected, what);
	else
		reset(to);
	wait_for_put(&before, shrinks);
	if (shrinks) {
		pool_expect("nr_hugepages", 0, what);
		pool_restore(&before);
	}
	pool_same(&before, what);
	close(from);
}

/*
 * On 5.10 a page that went in a softirq waits for a worker: it has no reference, and is not
 * free.  Whoever takes free pages out of use must not take it then (7ffddd499ba6).  A task
 * that the worker may not preempt has the CPU for a while, so that this lasts.
 *
 *	CPU0				CPU1 (SCHED_FIFO)
 *
 *					close(): softirq: free_huge_page()
 *					  schedule_work()
 *	soft_offline_page()		stays
 *	  dissolve_free_huge_page()
 *	    not PageHugeFreed(): waits
 *					goes
 *					  free_hpage_workfn()
 *	    takes it off the free list
 */
static void stay(int peer, volatile unsigned long *put)
{
	struct sched_param first = { .sched_priority = 1 };
	struct timespec from, now;

	pin_cpu(1);
	/* Refused where groups have no time for it: then the worker may come, and not_yet tells. */
	sched_setscheduler(0, SCHED_FIFO, &first);
	reset(peer);
	*put = 1;
	clock_gettime(CLOCK_MONOTONIC, &from);
	do
		clock_gettime(CLOCK_MONOTONIC, &now);
	while ((now.tv_sec - from.tv_sec) * 1000 + (now.tv_nsec - from.tv_nsec) / 1000000 < STAY_MS);
	_exit(0);
}

static void offline_not_yet_free(void)
{
	volatile unsigned long *put = shared_words(1);
	struct pool before, now;
	int from, to, err;
	unsigned long frame;
	struct huge h;
	pid_t pid;

	pool_read(&before);
	from = full_connection(&to);
	if (huge_open(&h, ANON, HUGE_2M, 1, NULL, OWNER))
		return;
	frame = page_frame(h.addr);
	err = give(from, h.addr);
	huge_close(&h);
	if (err) {
		fail("errno", "a page to take out of use, to a socket: %s", strerror(err));
		return;
	}
	pid = fork();
	if (!pid)
		stay(to, put);
	close(to);
	while (!*put && !waitpid(pid, NULL, WNOHANG))
		sched_yield();
	pool_read_sums(&now);
	count_add(not_yet, now.free == before.free - 1);
	err = soft_offline(frame);
	waitpid(pid, NULL, 0);
	/* Where it went, and where it could not. */
	pool_expect("nr_hugepages", before.nr - !err, "a page taken out of use as it became free");
	pool_expect("free_hugepages", before.free - !err, "a page taken out of use as it became free");
	unpoison(frame);
	pool_restore(&before);
	pool_same(&before, "a page taken out of use as it became free");
	count_add(offlined, !err);
	close(from);
}

int main(int argc, char **argv)
{
	int reads;

	repro_start(argc, argv);
	dropped = counter("dropped");
	received = counter("received");
	umounted = counter("umounted");
	surplus = counter("surplus");
	offlined = counter("offlined");
	not_yet = counter("not_yet");
	catch_signals();
	do {
		for (reads = 0; reads < 2; reads++) {
			last_put(ANON, NULL, reads, 0, "anonymous");
			last_put(PRIVATE_FILE, NULL, reads, 0, "private copy");
			last_put(MEMFD, NULL, reads, 0, "memfd");
			last_put(SHARED_FILE, "size=8M", reads, 0, "file of a mount with size=");
			last_put(SHARED_FILE, "size=8M,min_size=4M", reads, 0,
				 "file of a mount with min_size=");
		}
		last_put(ANON, NULL, 0, 1, "anonymous, and the pool shrinks");
		offline_not_yet_free();
	} while (running() && !failed());
	repro_wait();
	return repro_end();
}
