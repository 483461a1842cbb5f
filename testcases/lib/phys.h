/* SPDX-License-Identifier: GPL-2.0-only */
/* Where a page is in physical memory, and what root can do to memory there. */
#ifndef PHYS_H
#define PHYS_H

#include <stdint.h>

/* The page frame of a present page of this process; 0 where it is not told. */
unsigned long page_frame(const void *p);

/* What /proc/kpageflags tells of a frame; 0 where it tells nothing. */
unsigned long frame_flags(unsigned long frame);
/* The same of n frames, at once; how many it tells of. */
int frames_flags(unsigned long frame, uint64_t *flags, int n);
/* In how many page tables a frame is (/proc/kpagecount); -1 where that is not told. */
long frame_maps(unsigned long frame);
#define FRAME_HUGE (1UL << 17)
#define FRAME_POISONED (1UL << 19)

/* Writes text to a file of sysfs or debugfs; 0 or an errno. */
int write_file(const char *path, const char *text);
int write_number(const char *path, unsigned long number);
/* The number in such a file in this base, fallback where there is none. */
unsigned long read_number(const char *path, int base, unsigned long fallback);

/*
 * Pages that /proc/vmstat tells are isolated for a migration or for reclaim.  Others have
 * some for moments, so it waits up to a second for 0.  Huge pages are never counted there.
 */
long isolated_pages(void);

/* By /sys/devices/system/memory/soft_offline_page; 0 or an errno. */
int soft_offline(unsigned long frame);
/* By hwpoison-inject; 0 or an errno. */
int unpoison(unsigned long frame);

#endif
