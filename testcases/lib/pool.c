// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "pool.h"
#include "repro.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE 10	/* seconds for pages that a node lacks */

static unsigned long size_kb = 2048;

void pool_use(unsigned long page_bytes)
{
	size_kb = page_bytes >> 10;
}

/* node < 0: the whole machine */
static void path_of(char *path, size_t size, int node, const char *name)
{
	if (node < 0)
		snprintf(path, size, "/sys/kernel/mm/hugepages/hugepages-%lukB/%s", size_kb, name);
	else
		snprintf(path, size, "/sys/devices/system/node/node%d/hugepages/hugepages-%lukB/%s",
			 node, size_kb, name);
}

static long number_in(const char *path)
{
	char text[32] = "";
	ssize_t got;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		skip("no %s: %s", path, strerror(errno));
	got = read(fd, text, sizeof(text) - 1);
	close(fd);
	return got > 0 ? atol(text) : 0;
}

static long get(int node, const char *name)
{
	char path[160];

	path_of(path, sizeof(path), node, name);
	return number_in(path);
}

/* Whether vm.nr_hugepages is about our size: the default one never changes. */
static int is_default(void)
{
	static int known = -1;
	char line[128];
	long kb;
	FILE *f;

	if (known >= 0)
		return known == (int)size_kb;
	known = 0;
	f = fopen("/proc/meminfo", "r");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Hugepagesize: %ld", &kb) == 1)
			known = kb;
	if (f)
		fclose(f);
	return known == (int)size_kb;
}

static int set(int node, const char *name, long value)
{
	char path[160], text[32];
	int fd, len, err = 0;

	path_of(path, sizeof(path), node, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return errno;
	len = snprintf(text, sizeof(text), "%ld", value);
	if (write(fd, text, len) != len)
		err = errno;
	close(fd);
	return err;
}

int pool_set(const char *name, long value)
{
	return set(-1, name, value);
}

int pool_node_set(int node, long value)
{
	return set(node, "nr_hugepages", value);
}

void pool_empty(const struct pool *all, long first)
{
	int i;

	pool_set("nr_overcommit_hugepages", 0);
	for (i = 0; i < all->n_nodes; i++)
		pool_node_set(all->node[i], i ? 0 : first);
}

void pool_cap(const struct pool *all, long most)
{
	int i;

	pool_set("nr_overcommit_hugepages", 0);
	for (i = 0; i < all->n_nodes; i++)
		if (all->node_nr[i] > most)
			pool_node_set(all->node[i], most);
}

void pool_restore(const struct pool *to)
{
	time_t end = time(NULL) + (failed() ? 1 : PATIENCE);
	int i, lacks;

	pool_set("nr_overcommit_hugepages", to->overcommit);
	for (i = 0; i < to->n_nodes; i++)
		pool_node_set(to->node[i], to->node_nr[i]);
	/*
	 * What other CPUs have taken of a large pool meanwhile, into their lists of free pages
	 * or for the page cache, breaks up huge pages until it is given back or moved.  A page
	 * that there is no room for costs a compaction a try.
	 */
	do {
		for (i = lacks = 0; i < to->n_nodes; i++) {
			if (get(to->node[i], "nr_hugepages") >= to->node_nr[i])
				continue;
			lacks = 1;
			usleep(50000);
			pool_node_set(to->node[i], to->node_nr[i]);
		}
	} while (lacks && time(NULL) < end);
}

void pool_read_sums(struct pool *pool)
{
	pool->nr = get(-1, "nr_hugepages");
	pool->free = get(-1, "free_hugepages");
	pool->resv = get(-1, "resv_hugepages");
}

void pool_read(struct pool *pool)
{
	int i;

	pool_read_sums(pool);
	pool->n_nodes = memory_nodes(pool->node, MAX_NODES);
	pool->surplus = get(-1, "surplus_hugepages");
	pool->overcommit = get(-1, "nr_overcommit_hugepages");
	pool->wanted = is_default() ? number_in("/proc/sys/vm/nr_hugepages") : -1;
	for (i = 0; i < pool->n_nodes; i++) {
		pool->node_nr[i] = get(pool->node[i], "nr_hugepages");
		pool->node_free[i] = get(pool->node[i], "free_hugepages");
		pool->node_surplus[i] = get(pool->node[i], "surplus_hugepages");
	}
}

/* What is wrong with the pool, in words; 0 when nothing is. */
static int wrong(const struct pool *p, char *text, size_t size)
{
	long nr = 0, free = 0, surplus = 0;
	int i;

	for (i = 0; i < p->n_nodes; i++) {
		nr += p->node_nr[i];
		free += p->node_free[i];
		surplus += p->node_surplus[i];
		if (p->node_free[i] > p->node_nr[i] || p->node_surplus[i] > p->node_nr[i] ||
		    p->node_free[i] < 0 || p->node_surplus[i] < 0 || p->node_nr[i] < 0)
			return snprintf(text, size, "node %d: nr %ld free %ld surplus %ld",
					p->node[i], p->node_nr[i], p->node_free[i],
					p->node_surplus[i]);
	}
	if (nr != p->nr || free != p->free || surplus != p->surplus)
		return snprintf(text, size, "nr %ld free %ld surplus %ld, of the nodes %ld %ld %ld",
				p->nr, p->free, p->surplus, nr, free, surplus);
	if (p->wanted >= 0 && p->wanted != p->nr - p->surplus)
		return snprintf(text, size, "nr %ld surplus %ld, and vm.nr_hugepages is %ld", p->nr,
				p->surplus, p->wanted);
	if (p->resv < 0 || p->resv > p->free)
		return snprintf(text, size, "resv %ld with free %ld", p->resv, p->free);
	return 0;
}

static int different(const struct pool *a, const struct pool *b, char *text, size_t size)
{
	int i;

	if (a->nr != b->nr || a->free != b->free || a->resv != b->resv || a->surplus != b->surplus)
		return snprintf(text, size, "nr free resv surplus were %ld %ld %ld %ld, "
				"are %ld %ld %ld %ld", a->nr, a->free, a->resv, a->surplus,
				b->nr, b->free, b->resv, b->surplus);
	for (i = 0; i < a->n_nodes; i++)
		if (a->node_nr[i] != b->node_nr[i] || a->node_free[i] != b->node_free[i] ||
		    a->node_surplus[i] != b->node_surplus[i])
			return snprintf(text, size, "node %d: nr free surplus were %ld %ld %ld, "
					"are %ld %ld %ld", a->node[i],
					a->node_nr[i], a->node_free[i], a->node_surplus[i],
					b->node_nr[i], b->node_free[i], b->node_surplus[i]);
	return 0;
}

void pool_check(const char *when)
{
	struct pool now;
	char text[200];
	int tries;

	for (tries = 0; tries < (failed() ? 2 : 20); tries++) {
		pool_read(&now);
		if (!wrong(&now, text, sizeof(text)))
			return;
		usleep(50000);
	}
	fail("counters", "%s: %s", when, text);
}

void pool_same(const struct pool *before, const char *when)
{
	struct pool now;
	char text[200];
	int tries;

	for (tries = 0; tries < (failed() ? 2 : 20); tries++) {
		pool_read(&now);
		if (!wrong(&now, text, sizeof(text)) &&
		    !different(before, &now, text, sizeof(text)))
			return;
		usleep(50000);
	}
	fail("counters", "%s: %s", when, text);
}

void pool_expect(const char *name, long value, const char *when)
{
	long now = 0;
	int tries;

	for (tries = 0; tries < (failed() ? 2 : 20); tries++) {
		now = get(-1, name);
		if (now == value)
			return;
		usleep(50000);
	}
	fail("counters", "%s: %s is %ld, expected %ld", when, name, now, value);
}
