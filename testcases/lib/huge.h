/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Huge pages of every kind that a program can have, each filled with the pattern
 * of repro.h; moves with all that move_pages(2) says; a hugetlbfs mount of one's own.
 */
#ifndef HUGE_H
#define HUGE_H

#include <stddef.h>
#include <sys/types.h>

#define HUGE_1G (1UL << 30)

enum kind {
	ANON,		/* MAP_PRIVATE | MAP_ANONYMOUS */
	PRIVATE_FILE,	/* a private mapping, written: anonymous pages of a file's VMA */
	SHARED_FILE,
	MEMFD,
	SHM,		/* System V */
	FALLOCATED,	/* in the page cache before they are mapped */
	UFFD_PRIVATE,	/* made by UFFDIO_COPY */
	UFFD_SHARED,
	KINDS
};

const char *kind_name(enum kind kind);
/* The pages are in a page cache, and are seen by whoever maps the file. */
int kind_shared(enum kind kind);

struct huge {
	enum kind kind;
	size_t page, n;
	char *addr;
	int fd;		/* -1 where there is no file, as of ANON */
};

/*
 * Maps n pages and fills each with pattern_write(page, 4 KiB a chunk, owner, seq 0).
 * folder is a hugetlbfs mount, for the kinds that need one.  0 or an errno.
 */
int huge_open(struct huge *h, enum kind kind, size_t page, size_t n, const char *folder,
	      unsigned int owner);
void huge_close(struct huge *h);
/*
 * Unmaps the first page, so that the rest begins in the middle of its file, or of an anonymous
 * range: the kernel looks for mappings by their place there, in base pages.
 */
void huge_cut(struct huge *h);
int huge_check(const struct huge *h, unsigned int owner, const char *when);

/* The node of a page, or a negative errno. */
int page_node(void *page);

/*
 * What /proc/PID/numa_maps tells of the mapping at addr: its pages on all nodes, those that
 * are anonymous, and those of each node.  0 where there is no such line, or no such file.
 */
struct numa_maps {
	long pages, anon, on[64];	/* as many nodes as the masks here have bits */
};
int numa_maps_read(pid_t pid, const void *addr, struct numa_maps *told);

/*
 * What /proc/PID/smaps tells of the mapping that begins at addr, in kB, read once for all, for it
 * takes long.  0 where there is no such mapping.
 */
struct smaps {
	long size, page, private, shared;	/* KernelPageSize, Private_ and Shared_Hugetlb */
};
int smaps_read(pid_t pid, const void *addr, struct smaps *told);

/* HugetlbPages of this process, in kB; -1 where that is not told. */
long hugetlb_kb(void);

/*
 * move_pages(2) of one page as it is: its return value (pages not moved; or a
 * negative errno), and its status, -1000 where the kernel wrote none.
 */
long move_page(pid_t pid, void *page, int node, int flags, int *status);
#define NO_STATUS (-1000)

/* A fresh mount of hugetlbfs with these options; the path lives until the next call. */
const char *mount_huge(const char *options);
/* Tries for up to a second; 0 or an errno. */
int umount_huge(const char *path);

/* A file of n huge pages in folder, unlinked; the descriptor, or a negative errno. */
int huge_file(const char *folder, size_t bytes);

#endif
