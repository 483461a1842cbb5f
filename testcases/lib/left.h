/* SPDX-License-Identifier: GPL-2.0-only */
/* What is left when all pools are empty: repro_start() calls it for "--left". */
#ifndef LEFT_H
#define LEFT_H

/* Prints two counts as result lines, and "@ end"; the exit status. */
int left_over(void);

#endif
