// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "inject.h"
#include "phys.h"
#include "repro.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DEBUGFS "/sys/kernel/debug/"

static struct {
	const char *file, *value;
	char before[16];
} settings[] = {
	{ DEBUGFS "failslab/ignore-gfp-wait", "N", "" },
	{ DEBUGFS "failslab/verbose", "0", "" },
	{ DEBUGFS "fail_page_alloc/ignore-gfp-wait", "N", "" },
	{ DEBUGFS "fail_page_alloc/ignore-gfp-highmem", "N", "" },
	{ DEBUGFS "fail_page_alloc/min-order", "0", "" },
	{ DEBUGFS "fail_page_alloc/verbose", "0", "" },
};
#define SETTINGS (sizeof(settings) / sizeof(*settings))

/* fail-nth of this thread, kept open: an open() while it is armed would be counted. */
static __thread int fd;
static __thread pid_t fd_of;

void inject_prepare(void)
{
	size_t i;
	int file, err;

	if (access("/proc/self/fail-nth", W_OK))
		skip("no /proc/self/fail-nth: CONFIG_FAULT_INJECTION");
	for (i = 0; i < SETTINGS; i++) {
		file = open(settings[i].file, O_RDONLY | O_CLOEXEC);
		if (file < 0)
			skip("no %s: CONFIG_FAILSLAB, CONFIG_FAIL_PAGE_ALLOC, debugfs",
			     settings[i].file);
		if (read(file, settings[i].before, sizeof(settings[i].before) - 1) < 0)
			settings[i].before[0] = 0;
		close(file);
		err = write_file(settings[i].file, settings[i].value);
		if (err)
			skip("%s: %s", settings[i].file, strerror(err));
	}
}

void inject_restore(void)
{
	size_t i;

	for (i = 0; i < SETTINGS; i++)
		write_file(settings[i].file, settings[i].before);
}

void inject_arm(int n)
{
	pid_t tid = syscall(SYS_gettid);
	char text[16];
	int len;

	if (fd_of != tid) {
		/* What a fork or a thread inherits is its maker's. */
		if (fd_of)
			close(fd);
		fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
		fd_of = tid;
	}
	len = snprintf(text, sizeof(text), "%d", n);
	if (pwrite(fd, text, len, 0) != len)
		fail("errno", "fail-nth: %s", strerror(errno));
}

int inject_disarm(void)
{
	char text[16] = "1";

	if (pread(fd, text, sizeof(text) - 1, 0) < 0)
		fail("errno", "fail-nth: %s", strerror(errno));
	if (pwrite(fd, "0", 1, 0) != 1)
		fail("errno", "fail-nth cannot be ended: %s", strerror(errno));
	return atoi(text) == 0;
}
