// SPDX-License-Identifier: GPL-2.0-only
/*
 * A file ends while one of its pages migrates: last munmap(), close, unlink and
 * umount, a mount of its own each round.  A mover that has to wait for i_mmap_rwsem
 * holds the page, and that holds neither the inode nor the mount.
 *
 *	CPU1 (mover, SCHED_IDLE, and a busy task)	CPU0 (owner)
 *
 *	move_pages(owner)				mprotect(), mprotect(): i_mmap_rwsem
 *	  isolates and locks the page			  is taken most of the time
 *	  i_mmap_trylock_write() fails: gives up
 *	  (not: unlocks the page, waits; is		munmap(), close(), unlink(), umount()
 *	  woken, and stays where it slept		  the page leaves the page cache
 *	  behind the busy task)				  the inode is evicted
 *							  RCU frees it, with the semaphore
 *	  uses the semaphore
 *
 * The mover's priority makes that window as long as the busy task's turn.
 */
#include "huge.h"
#include "pool.h"
#include "race.h"
#include "repro.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#define BUSY_MS 60
#define REST_MS 6

static struct counter *mounts, *files, *retries;
static struct target *target;

static void mover(void *arg)
{
	pin_cpu(1);
	idle_priority();
	move_target(target, (long)arg);
}

static long ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void busy(void *arg)
{
	long end;

	(void)arg;
	pin_cpu(1);
	while (running()) {
		for (end = ms() + BUSY_MS; ms() < end;)
			;
		usleep(REST_MS * 1000);
	}
}

/* A file from its first page to its last reference. */
static void file_life(const char *folder, unsigned int turn)
{
	char path[128], *room;
	long end;
	int fd;

	snprintf(path, sizeof(path), "%s/%u", folder, turn);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, PUD_BYTES)) {
		fail("errno", "%s: %s", path, strerror(errno));
		return;
	}
	room = map_pud(fd, PROT_READ | PROT_WRITE);
	pattern_write(room, HUGE_2M, 1, turn);
	unlink(path);
	close(fd);
	target_set(target, getpid(), room, 1);
	for (end = ms() + 2 + turn % 8; ms() < end;) {
		mprotect(room, PUD_BYTES, PROT_READ);
		mprotect(room, PUD_BYTES, PROT_READ | PROT_WRITE);
	}
	pattern_check(room, HUGE_2M, 1, turn);
	munmap(room, PUD_BYTES);	/* the last reference to the file */
	target_set(target, 0, NULL, 0);
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
	mounts = counter("mounts");
	files = counter("files");
	retries = counter("umount_retries");
	target = target_new();
	child("owner", owner, NULL);
	child("busy", busy, NULL);
	child("mover", mover, (void *)0);
	child("mover", mover, (void *)1);
	repro_wait();
	return repro_end();
}
