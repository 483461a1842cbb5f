// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "left.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

/* Documentation/admin-guide/mm/pagemap.rst */
#define KPF_SLAB		(1ULL << 7)
#define KPF_BUDDY		(1ULL << 10)
#define KPF_COMPOUND_HEAD	(1ULL << 15)
#define KPF_COMPOUND_TAIL	(1ULL << 16)
#define KPF_HUGE		(1ULL << 17)
#define KPF_HWPOISON		(1ULL << 19)
#define KPF_THP			(1ULL << 22)

#define PAGES_OF_2M 512

static int flags_of(int fd, uint64_t pfn, uint64_t *flags)
{
	return pread(fd, flags, sizeof(*flags), pfn * sizeof(*flags)) == sizeof(*flags);
}

/*
 * Whether all of the 2 MiB from here on is one compound page.  The first frame alone
 * does not tell: a large kmalloc() may begin there, and some other one end at 2 MiB.
 */
static int is_one_page(int fd, uint64_t pfn)
{
	uint64_t flags[PAGES_OF_2M];
	int i;

	if (pread(fd, flags, sizeof(flags), pfn * sizeof(*flags)) != sizeof(flags))
		return 0;
	for (i = 1; i < PAGES_OF_2M; i++)
		if (!(flags[i] & KPF_COMPOUND_TAIL) || (flags[i] & KPF_COMPOUND_HEAD))
			return 0;
	return 1;
}

/*
 * Huge pages are aligned, so one frame in 512 is looked at.  With every pool
 * empty there is none of hugetlb, or it was lost from the books; and nothing
 * else in such a kernel is a compound page of 2 MiB but one that left hugetlb
 * and never came back.  A poisoned page is kept away on purpose.
 */
int left_over(void)
{
	unsigned long hugetlb = 0, compound = 0;
	uint64_t pfn, flags;
	int fd = open("/proc/kpageflags", O_RDONLY);

	if (fd < 0) {	/* no CONFIG_PROC_PAGE_MONITOR: nobody can tell */
		printf("@ end\n");
		return 0;
	}
	for (pfn = 0; flags_of(fd, pfn, &flags); pfn += PAGES_OF_2M) {
		if (flags & (KPF_HWPOISON | KPF_BUDDY | KPF_SLAB))
			continue;
		if (flags & KPF_HUGE) {
			if (flags & KPF_COMPOUND_HEAD)
				hugetlb++;
			continue;
		}
		if (!(flags & KPF_COMPOUND_HEAD) || (flags & KPF_THP))
			continue;
		compound += is_one_page(fd, pfn);
	}
	close(fd);
	printf("@ count hugetlb %lu\n@ count compound %lu\n@ end\n", hugetlb, compound);
	return 0;
}
