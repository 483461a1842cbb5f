// SPDX-License-Identifier: GPL-2.0-only
/*
 * A process uses huge pages through a PMD table that it shares, on a CPU of its own,
 * while another takes the pages away: by migration, by ftruncate(), by a punched
 * hole, or by migration after a thread of the process itself has called mprotect() for
 * another part.  Its TLB must not know the old page any longer when the call returns.
 *
 *	CPU0 (attacker)				CPU1 (user; its peer shares the table)
 *
 *	clears the PUD or the entry		writes, writes, writes: its TLB has the
 *	  flushes the TLB of every mm		page, and needs no page table
 *	  (not: of one, or of none)		goes on with a page that is no longer
 *	says "gone"				its own
 *	migration: maps the file anew		what it wrote must be there
 *	ftruncate: -				must get SIGBUS
 *	punch: -				must find zeroes
 *
 * The peer comes first in i_mmap in one round and second in the next.
 */
#define _GNU_SOURCE
#include "catch.h"
#include "race.h"
#include "repro.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES 2
#define APART 300	/* the page at which a mapping is split */

enum attack { MIGRATE, TRUNCATE, PUNCH, SPLIT, ATTACKS };

static struct counter *rounds[ATTACKS], *shared_tables, *not_shared;
static int fd, nodes[2];

static struct state {
	char *addr;		/* where the user has mapped the file */
	char *peer_addr;
	int peer_ready, user_ready, gone, done, split;
	unsigned long written;
} *state;

#define SET(field, value) __atomic_store_n(&state->field, value, __ATOMIC_SEQ_CST)
#define GET(field) __atomic_load_n(&state->field, __ATOMIC_SEQ_CST)

static int until(const int *flag)
{
	while (!__atomic_load_n(flag, __ATOMIC_SEQ_CST)) {
		if (!running())
			return 0;
		sched_yield();
	}
	return 1;
}

/* Those who use the page make no system call, so that nothing else flushes the TLB. */
static void use_while_migrating(volatile unsigned long *p)
{
	unsigned long n = 0;

	while (!GET(done) && running()) {
		*p = ++n;
		SET(written, n);
	}
}

static void use_until_truncated(volatile char *p)
{
	struct caught caught;
	int gone;

	do {
		gone = GET(gone);
		if (touch_write(p, 1, &caught)) {
			caught_is(&caught, p, SIGBUS, BUS_ADRERR, "write beyond the end of file");
			return;
		}
	} while (!gone && running());
	if (!gone)
		return;
	gone = is_mapped((const void *)p);
	flush_tlb();
	fail("signal", "ftruncate() had returned, and a write beyond the end of file got no SIGBUS; "
	     "the page table %s the page, and with a fresh TLB the write %s",
	     gone ? "has" : "does not have",
	     touch_write(p, 1, &caught) ? "gets it" : "gets none either");
}

static void use_until_punched(volatile unsigned long *p)
{
	unsigned long value;
	int gone;

	do {
		gone = GET(gone);
		value = *p;
	} while (!gone && running());
	if (gone && value)
		fail("data", "the hole was punched, and the page held 0x%lx for a process that "
		     "had it mapped", value);
}

/* Shares the table, and does nothing. */
static pid_t fork_peer(void)
{
	pid_t pid = fork();
	char *room, *p;

	if (pid)
		return pid;
	room = map_pud(fd, PROT_READ | PROT_WRITE);
	for (p = room; p < room + PAGES * HUGE_2M; p += HUGE_2M)
		(void)*(volatile char *)p;
	SET(peer_addr, room);
	SET(peer_ready, 1);
	for (;;)
		pause();
}

/* A mapping that is split gives up the table, and all of it leaves the TLB, not the part alone. */
static void *split(void *room)
{
	pin_cpu(0);
	while (!GET(split) && running())
		usleep(200);
	if (mprotect((char *)room + APART * HUGE_2M, HUGE_2M, PROT_READ))
		fail("errno", "mprotect of a page in the middle: %s", strerror(errno));
	SET(split, 2);
	return NULL;
}

static pid_t fork_user(enum attack attack)
{
	pthread_t thread;
	char *room, *p;
	pid_t pid = fork();

	if (pid)
		return pid;
	pin_cpu(1);
	room = map_pud(fd, PROT_READ | PROT_WRITE);
	p = room + 4096;
	*(volatile char *)p = *(volatile char *)p;
	SET(addr, room);
	SET(user_ready, 1);
	until(&state->peer_ready);
	/* The peer and nobody else has touched the second page. */
	count_add(is_mapped(room + HUGE_2M) ? shared_tables : not_shared, 1);
	if (attack == SPLIT)
		pthread_create(&thread, NULL, split, room);
	SET(user_ready, 2);
	if (attack == MIGRATE || attack == SPLIT)
		use_while_migrating((unsigned long *)p);
	else if (attack == TRUNCATE)
		use_until_truncated(p);
	else
		use_until_punched((unsigned long *)p);
	_exit(0);
}

static void migrate(pid_t pid, char *page, int turn)
{
	int i, err, status;
	unsigned long base, before, found;
	char *room;

	for (i = 0; i < 2 && running(); i++) {
		err = move_one(pid, page, nodes[(turn + i) % 2], MPOL_MF_MOVE_ALL, &status);
		if (err || status < 0)
			continue;
		/* Some writes after the move has returned; then look with fresh eyes. */
		base = GET(written);
		while (GET(written) < base + 3 && running())
			sched_yield();
		before = GET(written);
		room = map_pud(fd, PROT_READ);
		found = *(volatile unsigned long *)(room + 4096);
		munmap(room, PUD_BYTES);
		if (found < before)
			fail("data", "a process had written %lu, and the file holds %lu: "
			     "writes were lost", before, found);
	}
	SET(done, 1);
}

static void play(int round)
{
	enum attack attack = round % ATTACKS;
	int peer_first = round / ATTACKS % 2, i, status;
	pid_t peer = 0, user;
	char *room;

	memset(state, 0, sizeof(*state));
	if (ftruncate(fd, PUD_BYTES))
		fail("errno", "ftruncate: %s", strerror(errno));
	room = map_pud(fd, PROT_READ | PROT_WRITE);
	for (i = 0; i < PAGES; i++)
		*(volatile unsigned long *)(room + i * HUGE_2M + 4096) =
			attack == PUNCH ? 0x6b6b6b6b : 0;
	munmap(room, PUD_BYTES);

	if (peer_first) {
		peer = fork_peer();
		until(&state->peer_ready);
	}
	user = fork_user(attack);
	until(&state->user_ready);
	if (!peer_first)
		peer = fork_peer();
	while (GET(user_ready) != 2 && running())
		sched_yield();
	if (GET(user_ready) != 2 || !GET(peer_ready)) {
		/* The time was over first.  A writable mmap() still to come makes a file longer. */
		if (user > 0)
			kill(user, SIGKILL);
		if (peer > 0)
			kill(peer, SIGKILL);
		while (waitpid(-1, NULL, 0) > 0)
			;
		return;
	}
	usleep(1000);		/* the user is at it */

	if (attack == MIGRATE) {
		migrate(user, GET(addr), round / ATTACKS);
	} else if (attack == SPLIT) {
		SET(split, 1);
		while (GET(split) != 2 && running())
			usleep(200);
		migrate(peer, GET(peer_addr), round / ATTACKS);
	} else if (attack == TRUNCATE ? ftruncate(fd, 0) :
		 fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, HUGE_2M))
		fail("errno", "%s", strerror(errno));
	SET(gone, 1);
	if (waitpid(user, &status, 0) == user && WIFSIGNALED(status))
		fail("signal", "the user was ended by signal %d", WTERMSIG(status));
	kill(peer, SIGKILL);
	waitpid(peer, NULL, 0);
	count_add(rounds[attack], 1);
}

static void attacker(void *arg)
{
	int round;

	(void)arg;
	pin_cpu(0);
	for (round = 0; running(); round++)
		play(round);
}

int main(int argc, char **argv)
{
	repro_start(argc, argv);
	catch_signals();
	rounds[MIGRATE] = counter("migrations");
	rounds[TRUNCATE] = counter("truncations");
	rounds[PUNCH] = counter("holes");
	rounds[SPLIT] = counter("splits");
	shared_tables = counter("shared_tables");
	not_shared = counter("not_shared");
	two_nodes(nodes);
	state = (struct state *)shared_words(sizeof(*state) / sizeof(long) + 1);
	fd = huge_memfd(PUD_BYTES);
	child("attacker", attacker, NULL);
	repro_wait();
	close(fd);
	return repro_end();
}
