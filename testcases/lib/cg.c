// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "cg.h"
#include "phys.h"
#include "repro.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char root[64];
static int v2;

static int put(const char *group, const char *file, const char *text)
{
	char path[200];

	snprintf(path, sizeof(path), "%s/%s/%s", root, group, file);
	return write_file(path, text);
}

/* Of a file that begins with a word, the number behind it. */
static long number(const char *group, const char *file)
{
	char path[200], text[64] = "", *at = text;
	int fd;

	snprintf(path, sizeof(path), "%s/%s/%s", root, group, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = 0;
	close(fd);
	while (*at && *at != '-' && (*at < '0' || *at > '9'))
		at++;
	return atol(at);
}

static long get(const char *group, const char *file)
{
	long bytes = number(group, file);

	return bytes < 0 ? bytes : bytes / (long)HUGE_2M;
}

void cg_mount(int version)
{
	int err;

	v2 = version == 2;
	snprintf(root, sizeof(root), "/tmp/cgXXXXXX");
	if (!mkdtemp(root))
		skip("no folder to mount at: %s", strerror(errno));
	if (mount("cgroup", root, v2 ? "cgroup2" : "cgroup", 0, v2 ? NULL : "hugetlb")) {
		err = errno;
		rmdir(root);
		skip("no hugetlb cgroup v%d (CONFIG_CGROUP_HUGETLB, or mounted elsewhere): %s",
		     version, strerror(err));
	}
	if (v2) {
		err = put(".", "cgroup.subtree_control", "+hugetlb");
		if (err) {
			cg_umount();
			skip("cgroup v2 has no hugetlb controller: %s", strerror(err));
		}
	}
}

void cg_umount(void)
{
	umount(root);
	rmdir(root);
}

int cg_make(const char *group)
{
	char path[200], *slash;
	int err;

	snprintf(path, sizeof(path), "%s/%s", root, group);
	if (mkdir(path, 0755))
		return errno;
	slash = strrchr(group, '/');
	if (v2 && slash) {
		snprintf(path, sizeof(path), "%.*s", (int)(slash - group), group);
		err = put(path, "cgroup.subtree_control", "+hugetlb");
		return err;
	}
	return 0;
}

int cg_has(const char *group)
{
	char path[200];

	snprintf(path, sizeof(path), "%s/%s", root, group);
	return !access(path, F_OK);
}

int cg_remove(const char *group)
{
	char path[200];
	int tries;

	snprintf(path, sizeof(path), "%s/%s", root, group);
	/* A process that has just ended may still be counted. */
	for (tries = 0; tries < 20; tries++) {
		if (!rmdir(path))
			return 0;
		usleep(50000);
	}
	return errno;
}

int cg_enter(const char *group, pid_t pid)
{
	char text[32];

	snprintf(text, sizeof(text), "%d", pid);
	return put(group, "cgroup.procs", text);
}

static const char *limit_file(int rsvd)
{
	if (v2)
		return rsvd ? "hugetlb.2MB.rsvd.max" : "hugetlb.2MB.max";
	return rsvd ? "hugetlb.2MB.rsvd.limit_in_bytes" : "hugetlb.2MB.limit_in_bytes";
}

int cg_limit_bytes(const char *group, int rsvd, unsigned long bytes)
{
	char text[32];

	snprintf(text, sizeof(text), "%lu", bytes);
	return put(group, limit_file(rsvd), text);
}

int cg_limit(const char *group, int rsvd, long pages)
{
	if (pages < 0)
		return put(group, limit_file(rsvd), v2 ? "max" : "-1");
	return cg_limit_bytes(group, rsvd, pages * HUGE_2M);
}

long cg_limit_told(const char *group, int rsvd)
{
	long bytes = number(group, limit_file(rsvd));

	/* Version 2 says "max", version 1 the largest number of whole pages. */
	if ((v2 && !bytes) || bytes >= LONG_MAX - 2 * (long)HUGE_2M)
		return -1;
	return bytes % (long)HUGE_2M ? -2 : bytes / (long)HUGE_2M;
}

void cg_expect(const char *group, long usage, long rsvd, const char *when)
{
	long now = 0, now_rsvd = 0;
	int tries;

	for (tries = 0; tries < (failed() ? 2 : 20); tries++) {
		now = get(group, v2 ? "hugetlb.2MB.current" : "hugetlb.2MB.usage_in_bytes");
		now_rsvd = get(group, v2 ? "hugetlb.2MB.rsvd.current" :
			       "hugetlb.2MB.rsvd.usage_in_bytes");
		if ((usage < 0 || now == usage) && (rsvd < 0 || now_rsvd == rsvd))
			return;
		usleep(50000);
	}
	fail("counters", "%s: cgroup %s has %ld pages in use and %ld reserved, expected %ld and %ld",
	     when, group, now, now_rsvd, usage, rsvd);
}

long cg_other(const char *group, const char *size, int rsvd)
{
	char file[80];

	snprintf(file, sizeof(file), "hugetlb.%s.%s%s", size, rsvd ? "rsvd." : "",
		 v2 ? "current" : "usage_in_bytes");
	return number(group, file);
}

long cg_refusals(const char *group, int rsvd)
{
	if (v2)
		return rsvd ? -1 : number(group, "hugetlb.2MB.events");
	return number(group, rsvd ? "hugetlb.2MB.rsvd.failcnt" : "hugetlb.2MB.failcnt");
}

long cg_own_refusals(const char *group)
{
	return v2 ? number(group, "hugetlb.2MB.events.local") : -1;
}

int cg_reset_refusals(const char *group, int rsvd)
{
	return put(group, rsvd ? "hugetlb.2MB.rsvd.failcnt" : "hugetlb.2MB.failcnt", "0");
}

int cg_watch_refusals(const char *group)
{
	char path[200], text[64];
	int fd;

	snprintf(path, sizeof(path), "%s/%s/hugetlb.2MB.events", root, group);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && read(fd, text, sizeof(text)) < 0)
		return -1;
	return fd;
}

int cg_refusal_came(int watch)
{
	struct pollfd poller = { watch, POLLPRI, 0 };

	return poll(&poller, 1, 1000) == 1 && poller.revents & POLLPRI;
}

void cg_run(const char *group, void (*what)(void))
{
	pid_t pid = fork();
	int status = 0;

	if (!pid) {
		if (cg_enter(group, getpid()))
			fail("errno", "cannot enter the cgroup");
		else
			what();
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (status)
		fail("signal", "the process of the cgroup ended with status 0x%x", status);
}

static const char *peak(int rsvd)
{
	return rsvd ? "hugetlb.2MB.rsvd.max_usage_in_bytes" : "hugetlb.2MB.max_usage_in_bytes";
}

long cg_peak(const char *group, int rsvd)
{
	return v2 ? -1 : get(group, peak(rsvd));
}

int cg_reset_peak(const char *group, int rsvd)
{
	return v2 ? 0 : put(group, peak(rsvd), "0");
}
