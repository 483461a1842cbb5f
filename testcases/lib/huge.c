// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "huge.h"
#include "repro.h"
#include "uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MAP_HUGE_SHIFT
#define MAP_HUGE_SHIFT 26
#endif
#define HUGE_FLAG(page) (__builtin_ctzl(page) << MAP_HUGE_SHIFT)

static const char *const names[KINDS] = {
	"anon", "private-file", "shared-file", "memfd", "shm", "fallocated",
	"uffd-private", "uffd-shared",
};

const char *kind_name(enum kind kind)
{
	return names[kind];
}

int kind_shared(enum kind kind)
{
	return kind != ANON && kind != PRIVATE_FILE && kind != UFFD_PRIVATE;
}

int huge_file(const char *folder, size_t bytes)
{
	char path[200];
	int fd, err;

	snprintf(path, sizeof(path), "%s/hugeXXXXXX", folder);
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	unlink(path);
	if (ftruncate(fd, bytes)) {
		err = errno;
		close(fd);
		return -err;
	}
	return fd;
}

/* The file behind the mapping; -1 where there is none. */
static int file_of(struct huge *h, const char *folder)
{
	size_t bytes = h->n * h->page;

	switch (h->kind) {
	case MEMFD:
		/* MFD_HUGETLB, and the size in the same bits as for mmap() */
		h->fd = memfd_create("huge", MFD_CLOEXEC | 4U | HUGE_FLAG(h->page));
		if (h->fd < 0 || ftruncate(h->fd, bytes))
			return errno;
		return 0;
	case PRIVATE_FILE:
	case SHARED_FILE:
	case FALLOCATED:
	case UFFD_SHARED:
		h->fd = huge_file(folder, bytes);
		if (h->fd < 0)
			return -h->fd;
		if (h->kind == FALLOCATED && fallocate(h->fd, 0, 0, bytes))
			return errno;
		return 0;
	default:
		return 0;
	}
}

static int map(struct huge *h)
{
	size_t bytes = h->n * h->page;
	int flags, id;

	if (h->kind == SHM) {
		id = shmget(IPC_PRIVATE, bytes, IPC_CREAT | SHM_HUGETLB | HUGE_FLAG(h->page) | 0600);
		if (id < 0)
			return errno;
		h->addr = shmat(id, NULL, 0);
		flags = errno;
		shmctl(id, IPC_RMID, NULL);
		return h->addr == MAP_FAILED ? flags : 0;
	}
	flags = kind_shared(h->kind) ? MAP_SHARED : MAP_PRIVATE;
	if (h->fd < 0)
		flags |= MAP_ANONYMOUS | MAP_HUGETLB | HUGE_FLAG(h->page);
	h->addr = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, h->fd, 0);
	return h->addr == MAP_FAILED ? errno : 0;
}

static int fill(struct huge *h, unsigned int owner)
{
	size_t i, bytes = h->n * h->page;
	char *from;
	int uffd, err = 0;

	if (h->kind != UFFD_PRIVATE && h->kind != UFFD_SHARED) {
		for (i = 0; i < h->n; i++)
			pattern_write(h->addr + i * h->page, h->page, owner, 0);
		return 0;
	}
	uffd = uffd_open();
	if (uffd < 0)
		return -uffd;
	from = mmap(NULL, h->page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (from == MAP_FAILED) {
		close(uffd);
		return errno;
	}
	pattern_write(from, h->page, owner, 0);
	err = uffd_register(uffd, h->addr, bytes);
	for (i = 0; !err && i < h->n; i++)
		err = uffd_copy(uffd, h->addr + i * h->page, from, h->page, NULL);
	munmap(from, h->page);
	close(uffd);
	return err;
}

int huge_open(struct huge *h, enum kind kind, size_t page, size_t n, const char *folder,
	      unsigned int owner)
{
	int err;

	*h = (struct huge){ .kind = kind, .page = page, .n = n, .fd = -1, .addr = MAP_FAILED };
	err = file_of(h, folder);
	if (!err)
		err = map(h);
	if (!err)
		err = fill(h, owner);
	if (err)
		huge_close(h);
	return err;
}

void huge_close(struct huge *h)
{
	if (h->addr != MAP_FAILED) {
		if (h->kind == SHM)
			shmdt(h->addr);
		else
			munmap(h->addr, h->n * h->page);
	}
	if (h->fd >= 0)
		close(h->fd);
	h->addr = MAP_FAILED;
	h->fd = -1;
}

void huge_cut(struct huge *h)
{
	munmap(h->addr, h->page);
	h->addr += h->page;
	h->n--;
}

int huge_check(const struct huge *h, unsigned int owner, const char *when)
{
	size_t i;

	for (i = 0; i < h->n; i++) {
		if (pattern_check(h->addr + i * h->page, h->page, owner, 0)) {
			fail("data", "%s: %s, page %zu", when, kind_name(h->kind), i);
			return -1;
		}
	}
	return 0;
}

int page_node(void *page)
{
	int status = -ENOENT;

	if (syscall(SYS_move_pages, 0, 1UL, &page, NULL, &status, 0) < 0)
		return -errno;
	return status;
}

int numa_maps_read(pid_t pid, const void *addr, struct numa_maps *told)
{
	char path[64], line[1024], *word;
	int found = 0, node;
	long n;
	FILE *f;

	*told = (struct numa_maps){ 0 };
	snprintf(path, sizeof(path), "/proc/%d/numa_maps", pid);
	f = fopen(path, "r");
	while (f && !found && fgets(line, sizeof(line), f)) {
		if (strtoul(line, NULL, 16) != (unsigned long)addr)
			continue;
		found = 1;
		for (word = strtok(line, " \n"); word; word = strtok(NULL, " \n")) {
			if (sscanf(word, "N%d=%ld", &node, &n) == 2) {
				told->pages += n;
				if (node >= 0 && node < (int)(sizeof(told->on) / sizeof(*told->on)))
					told->on[node] = n;
			} else if (sscanf(word, "anon=%ld", &n) == 1)
				told->anon = n;
		}
	}
	if (f)
		fclose(f);
	return found;
}

int smaps_read(pid_t pid, const void *addr, struct smaps *told)
{
	char path[64], line[256];
	unsigned long from, to;
	int here = 0, found = 0;
	FILE *f;

	*told = (struct smaps){ 0 };
	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2) {
			if (from > (unsigned long)addr)
				break;
			here = from == (unsigned long)addr;
			found |= here;
		}
		if (here) {
			sscanf(line, "Size: %ld", &told->size);
			sscanf(line, "KernelPageSize: %ld", &told->page);
			sscanf(line, "Private_Hugetlb: %ld", &told->private);
			sscanf(line, "Shared_Hugetlb: %ld", &told->shared);
		}
	}
	if (f)
		fclose(f);
	return found;
}

long hugetlb_kb(void)
{
	char line[128];
	long kb = -1;
	FILE *f = fopen("/proc/self/status", "r");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "HugetlbPages: %ld", &kb) == 1)
			break;
	if (f)
		fclose(f);
	return kb;
}

long move_page(pid_t pid, void *page, int node, int flags, int *status)
{
	long got;

	*status = NO_STATUS;
	got = syscall(SYS_move_pages, pid, 1UL, &page, &node, status, flags);
	return got < 0 ? -errno : got;
}

const char *mount_huge(const char *options)
{
	static char path[64];

	snprintf(path, sizeof(path), "/tmp/hugeXXXXXX");
	if (!mkdtemp(path))
		skip("no folder to mount at: %s", strerror(errno));
	if (mount("huge", path, "hugetlbfs", 0, options)) {
		int err = errno;

		rmdir(path);
		skip("mount of hugetlbfs with \"%s\": %s", options, strerror(err));
	}
	return path;
}

int umount_huge(const char *path)
{
	int tries;

	for (tries = 0; tries < 20; tries++) {
		if (!umount(path)) {
			rmdir(path);
			return 0;
		}
		usleep(50000);
	}
	return errno;
}
