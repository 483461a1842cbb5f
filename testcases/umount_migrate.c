// SPDX-License-Identifier: GPL-2.0-only
/*
 * A file ends while one of its pages migrates: last munmap(), close, unlink and
 * umount, a mount of its own each round.  A mover that has to wait for i_mmap_rwsem
 * holds the page, and that holds neither the inode nor the mount.
 *
 *	CPU1 (mover, then the spoiler)			CPU0 (owner, and a holder of the lock)
 *
 *	move_pages(owner)				mprotect() of many GiB: holds
 *	  isolates and locks the page			  i_mmap_rwsem for milliseconds
 *	  i_mmap_trylock_write() fails: gives up
 *	  (not: unlocks the page, waits, and
 *	  does not get the CPU back from the		munmap(), exit: the last reference
 *	  spoiler, who is SCHED_FIFO)			  the page leaves the page cache
 *							  the inode is evicted
 *							  RCU frees it, with the semaphore
 *	the spoiler rests
 *	  uses the semaphore
 *
 * The holder is a process of its own: the mover has to wait for i_mmap_rwsem, not for the
 * mmap_lock of its target.
 */
#define _GNU_SOURCE
#include "huge.h"
#include "pool.h"
#include "race.h"
#include "repro.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROOM (24 * PUD_BYTES)
#define GRACE_MS 50	/* of RCU */
#define LONGEST_MS 250	/* where the mover has what the end of the file waits for */

static struct counter *mounts, *files, *retries, *moved, *spoilt;
static struct target *target;
static volatile unsigned long *stage;

enum { IDLE, SPOIL, STOP, ENDED };

static void mover(void *arg)
{
	pin_cpu(1);
	move_target(target, (long)arg);
}

static long ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void spoiler(void *arg)
{
	struct sched_param first = { .sched_priority = 1 };
	unsigned int turn;
	long end;

	(void)arg;
	pin_cpu(1);
	if (sched_setscheduler(0, SCHED_FIFO, &first))
		skip("SCHED_FIFO: %s", strerror(errno));
	for (turn = 0; running(); turn++) {
		while (running() && *stage == IDLE)
			usleep(500);
		usleep(500 * (turn % 16));
		end = ms() + LONGEST_MS;
		while (*stage != ENDED && ms() < end)
			;
		for (end = ms() + GRACE_MS; ms() < end;)
			;
		*stage = IDLE;
		count_add(spoilt, 1);
	}
}

/* Holds i_mmap_rwsem most of the time, until told; the file's last reference is its own. */
static void hold(int fd)
{
	char *room = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);

	if (room == MAP_FAILED)
		skip("%lu GiB of addresses: %s", ROOM >> 30, strerror(errno));
	while (*stage != SPOIL && running())
		usleep(500);
	while (*stage == SPOIL) {
		mprotect(room, ROOM, PROT_READ);
		mprotect(room, ROOM, PROT_READ | PROT_WRITE);
	}
	_exit(0);
}

/* A file from its first page to its last reference. */
static void file_life(const char *folder, unsigned int turn)
{
	unsigned long before = count_read(moved);
	char path[128], *page;
	pid_t holder;
	long end;
	int fd;

	snprintf(path, sizeof(path), "%s/%u", folder, turn);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, ROOM)) {
		fail("errno", "%s: %s", path, strerror(errno));
		return;
	}
	holder = fork();
	if (!holder)
		hold(fd);
	page = mmap(NULL, HUGE_2M, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (page == MAP_FAILED) {
		fail("errno", "mmap of %s: %s", path, strerror(errno));
		return;
	}
	pattern_write(page, HUGE_2M, 1, turn);
	unlink(path);
	close(fd);
	target_set(target, getpid(), page, 1);
	for (end = ms() + 200; ms() < end && count_read(moved) < before + 2;)
		usleep(1000);
	pattern_check(page, HUGE_2M, 1, turn);
	while (*stage != IDLE && running())
		usleep(500);
	*stage = SPOIL;
	usleep(10000);
	*stage = STOP;
	munmap(page, HUGE_2M);
	target_set(target, 0, NULL, 0);
	if (holder > 0)
		waitpid(holder, NULL, 0);
	*stage = ENDED;
	count_add(files, 1);
}

static void owner(void *arg)
{
	unsigned int turn = 0;
	const char *folder;
	struct statfs fs;
	int i, tries;

	(void)arg;
	pin_cpu(0);
	while (running()) {
		folder = mount_huge("size=16M");
		for (i = 0; i < 4 && running(); i++)
			file_life(folder, turn++);
		/* A mover may hold the last reference for a moment. */
		for (tries = 0; tries < 100; tries++) {
			if (!statfs(folder, &fs) && fs.f_blocks == fs.f_bfree)
				break;
			usleep(20000);
		}
		if (fs.f_blocks != fs.f_bfree)
			fail("counters", "the mount is empty, and %ld of its %ld blocks are free",
			     (long)fs.f_bfree, (long)fs.f_blocks);
		for (tries = 0; umount(folder); tries++) {
			count_add(retries, 1);
			if (tries == 250) {
				fail("errno", "umount of a mount without files: %s",
				     strerror(errno));
				return;
			}
			usleep(20000);
		}
		rmdir(folder);
		count_add(mounts, 1);
	}
}

int main(int argc, char **argv)
{
	repro_start(argc, argv);
	movers_prepare();
	moved = counter("moved");
	mounts = counter("mounts");
	files = counter("files");
	retries = counter("umount_retries");
	spoilt = counter("spoilt");
	stage = shared_words(1);
	target = target_new();
	child("owner", owner, NULL);
	child("spoiler", spoiler, NULL);
	child("mover", mover, (void *)0);
	child("mover", mover, (void *)1);
	repro_wait();
	return repro_end();
}
