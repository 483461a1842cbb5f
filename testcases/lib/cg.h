/* SPDX-License-Identifier: GPL-2.0-only */
/* hugetlb control groups, v1 or v2, for 2 MiB pages; values in pages. */
#ifndef CG_H
#define CG_H

#include <sys/types.h>

/* Mounts the hierarchy and makes the controller usable in it; skips where it cannot. */
void cg_mount(int version);
void cg_umount(void);

/* A group below the root, or below another group ("a/b"); 0 or an errno. */
int cg_make(const char *group);
int cg_has(const char *group);
int cg_remove(const char *group);
int cg_enter(const char *group, pid_t pid);
/* Runs what() in a process of the group, and waits for its end. */
void cg_run(const char *group, void (*what)(void));
/* Pages that are allowed, -1 for any number; rsvd: of reservations. */
int cg_limit(const char *group, int rsvd, long pages);

/*
 * Calls fail("counters", ...) unless usage and reservations are so many pages;
 * waits up to a second for it.  -1: not asked.
 */
void cg_expect(const char *group, long usage, long rsvd, const char *when);

/* Bytes charged of another size ("1GB"), pages or reservations; -1 where that is not told. */
long cg_other(const char *group, const char *size, int rsvd);

/* A limit that need not be whole pages. */
int cg_limit_bytes(const char *group, int rsvd, unsigned long bytes);
/* What is allowed, as it is told, in pages; -1 for any number, -2 for no whole number. */
long cg_limit_told(const char *group, int rsvd);

/*
 * How often a limit was met, of pages or of reservations: in version 1 of this group, in
 * version 2 by this group or one below it, both kinds together (-1 is said of rsvd).
 */
long cg_refusals(const char *group, int rsvd);
/* By processes of this group itself; -1 in version 1. */
long cg_own_refusals(const char *group);
/* Counts from nothing again; only in version 1. */
int cg_reset_refusals(const char *group, int rsvd);
/*
 * A descriptor to wait at until refusals of the group are told of anew, and whether that came
 * within a second; only in version 2.
 */
int cg_watch_refusals(const char *group);
int cg_refusal_came(int watch);

/* The most pages that were ever in use at a time, and that from now on; -1 in version 2. */
long cg_peak(const char *group, int rsvd);
int cg_reset_peak(const char *group, int rsvd);

#endif
