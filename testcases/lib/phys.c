// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "phys.h"
#include "repro.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

unsigned long page_frame(const void *p)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0;

	if (fd < 0)
		return 0;
	if (pread(fd, &entry, 8, (unsigned long)p / 4096 * 8) != 8)
		entry = 0;
	close(fd);
	return entry >> 63 & 1 ? entry & ((1UL << 55) - 1) : 0;
}

int frames_flags(unsigned long frame, uint64_t *flags, int n)
{
	int fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	ssize_t got = 0;

	if (fd >= 0) {
		got = pread(fd, flags, n * 8L, frame * 8);
		close(fd);
	}
	return got < 0 ? 0 : got / 8;
}

unsigned long frame_flags(unsigned long frame)
{
	uint64_t flags;

	return frames_flags(frame, &flags, 1) == 1 ? flags : 0;
}

long frame_maps(unsigned long frame)
{
	int fd = open("/proc/kpagecount", O_RDONLY | O_CLOEXEC);
	uint64_t maps = 0;
	long told = -1;

	if (fd < 0)
		return -1;
	if (pread(fd, &maps, 8, frame * 8) == 8)
		told = maps;
	close(fd);
	return told;
}

int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return errno;
	if (write(fd, text, strlen(text)) < 0)
		err = errno;
	close(fd);
	return err;
}

long isolated_pages(void)
{
	long sum = 0;
	int tries;

	for (tries = 0; tries < 20; tries++) {
		if (tries)
			usleep(50000);
		/* What each CPU has not told yet. */
		write_file("/proc/sys/vm/stat_refresh", "1");
		sum = vmstat("nr_isolated_anon") + vmstat("nr_isolated_file");
		if (!sum)
			break;
	}
	return sum;
}

int write_number(const char *path, unsigned long number)
{
	char text[32];

	snprintf(text, sizeof(text), "0x%lx", number);
	return write_file(path, text);
}

unsigned long read_number(const char *path, int base, unsigned long fallback)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[32] = "";

	if (fd < 0)
		return fallback;
	if (read(fd, text, sizeof(text) - 1) <= 0)
		text[0] = 0;
	close(fd);
	return text[0] ? strtoul(text, NULL, base) : fallback;
}

int soft_offline(unsigned long frame)
{
	return write_number("/sys/devices/system/memory/soft_offline_page", frame * 4096);
}

int unpoison(unsigned long frame)
{
	return write_number("/sys/kernel/debug/hwpoison/unpoison-pfn", frame);
}
