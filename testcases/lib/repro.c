// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "repro.h"
#include "left.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef MAP_HUGE_2MB
#define MAP_HUGE_2MB (21 << 26)
#endif

#define MAX_COUNTERS 32
#define MAX_CHILDREN 64
#define CHUNK 4096
#define GRACE_SECONDS 20
/* For counts that a slow machine has not reached in time: so long, or so many times its time. */
#define MORE_SECONDS 30
#define MORE_TIMES 3
#define LOOK_SECONDS 0.2
#define VMSTAT "vmstat:"

struct counter {
	char name[32];
	unsigned long value;
};

static struct shared {
	struct counter counters[MAX_COUNTERS];
	unsigned long failures;
	long late_ms;		/* beyond its time, for counts that were not reached in it */
	int stop;
} *shared;

static struct {
	const char *name;
	pid_t pid;
} children[MAX_CHILDREN];

/*
 * What must be counted before the run is worth anything: "NAME=LEAST NAME=LEAST", by us or,
 * with "vmstat:" before the name, by the kernel since the start.
 */
static struct {
	char name[40];
	unsigned long least, start;
} asked[MAX_COUNTERS];

static int n_counters, n_children, n_asked;
static double start_time, end_time, last_time;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void setup(void)
{
	if (shared)
		return;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED) {
		perror("mmap of the counters");
		exit(2);
	}
	/* Line by line, also into a pipe: lines of several processes stay whole. */
	setvbuf(stdout, NULL, _IOLBF, 0);
}

long vmstat(const char *name)
{
	char line[128], word[64];
	long value, found = 0;
	FILE *f = fopen("/proc/vmstat", "r");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%63s %ld", word, &value) == 2 && !strcmp(word, name))
			found = value;
	if (f)
		fclose(f);
	return found;
}

static int is_vmstat(const char *name)
{
	return !strncmp(name, VMSTAT, strlen(VMSTAT));
}

static void read_asked(const char *text)
{
	int used;

	for (; text && n_asked < MAX_COUNTERS; text += used, n_asked++) {
		if (sscanf(text, " %39[^= ]=%lu%n", asked[n_asked].name, &asked[n_asked].least,
			   &used) != 2)
			break;
		if (is_vmstat(asked[n_asked].name))
			asked[n_asked].start = vmstat(asked[n_asked].name + strlen(VMSTAT));
	}
}

/* Whether each count that is asked for has been reached; one that there is not has been. */
static int look_at_counts(void)
{
	int i, j;

	for (i = 0; i < n_asked; i++)
		for (j = 0; j < n_counters; j++)
			if (!strcmp(asked[i].name, shared->counters[j].name) &&
			    count_read(&shared->counters[j]) < asked[i].least)
				return 0;
	for (i = 0; i < n_asked; i++)
		if (is_vmstat(asked[i].name) &&
		    vmstat(asked[i].name + strlen(VMSTAT)) - asked[i].start < asked[i].least)
			return 0;
	return 1;
}

/* Asked in the innermost loops, and seldom worth a look. */
static int enough(double at)
{
	static double next;

	if (at < next)
		return 0;
	next = at + LOOK_SECONDS;
	return look_at_counts();
}

int repro_start(int argc, char **argv)
{
	double seconds = 10;
	int i = 1;

	setup();
	read_asked(getenv("LEAST"));
	if (argc == 2 && !strcmp(argv[1], "--left"))
		exit(left_over());
	if (argc > 2 && !strcmp(argv[1], "-t")) {
		seconds = atof(argv[2]);
		i = 3;
	}
	start_time = now();
	end_time = start_time + seconds;
	last_time = end_time + (MORE_TIMES * seconds > MORE_SECONDS ? MORE_TIMES * seconds : MORE_SECONDS);
	return i;
}

int running(void)
{
	double at = now();

	if (__atomic_load_n(&shared->stop, __ATOMIC_RELAXED))
		return 0;
	if (at < end_time)
		return 1;
	if (at < last_time && !failed() && !enough(at)) {
		__atomic_store_n(&shared->late_ms, (long)((at - end_time) * 1000), __ATOMIC_RELAXED);
		return 1;
	}
	/* One has seen enough: so have all. */
	__atomic_store_n(&shared->stop, 1, __ATOMIC_RELAXED);
	return 0;
}

struct counter *counter(const char *name)
{
	struct counter *c;

	int i;

	setup();
	for (i = 0; i < n_counters; i++)
		if (!strcmp(shared->counters[i].name, name))
			return &shared->counters[i];
	if (n_counters == MAX_COUNTERS) {
		fprintf(stderr, "more than %d counters\n", MAX_COUNTERS);
		exit(2);
	}
	c = &shared->counters[n_counters++];
	snprintf(c->name, sizeof(c->name), "%s", name);
	return c;
}

void count_add(struct counter *c, unsigned long n)
{
	__atomic_fetch_add(&c->value, n, __ATOMIC_RELAXED);
}

unsigned long count_read(const struct counter *c)
{
	return __atomic_load_n(&c->value, __ATOMIC_RELAXED);
}

static void print_counts(void)
{
	int i;

	for (i = 0; i < n_counters; i++)
		printf("@ count %s %lu\n", shared->counters[i].name,
		       count_read(&shared->counters[i]));
	fflush(stdout);
}

/* The number that a file begins with; -1 where there is none. */
static long number_in(const char *path)
{
	long value = -1;
	FILE *f = fopen(path, "r");

	if (!f)
		return -1;
	if (fscanf(f, "%ld", &value) != 1)
		value = -1;
	fclose(f);
	return value;
}

static long pages(int node, int kb, const char *kind)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/hugepages"
		 "/hugepages-%dkB/%s_hugepages", node, kb, kind);
	return number_in(path);
}

static void print_migrations(FILE *to)
{
	char line[128], name[32];
	unsigned long value;
	FILE *f = fopen("/proc/vmstat", "r");

	if (!f)
		return;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "pgmigrate_%24s %lu", name, &value) == 2 &&
		    (!strcmp(name, "success") || !strcmp(name, "fail")))
			fprintf(to, "@ gauge pgmigrate_%s %lu\n", name, value);
	fclose(f);
}

/*
 * Read by the parent, which sleeps otherwise, and without locks in the kernel: it
 * must not get in the way of the race.  All in one write, for each one is a packet.
 */
static void print_gauges(void)
{
	static const struct {
		const char *name;
		int kb;
	} sizes[] = { { "2M", 2048 }, { "1G", 1048576 } };
	char text[4096] = "";
	int nodes[16], n, i;
	unsigned int size;
	FILE *to = fmemopen(text, sizeof(text), "w");

	if (!to)
		return;
	n = memory_nodes(nodes, 16);
	for (i = 0; i < n; i++)
		for (size = 0; size < 2; size++)
			if (pages(nodes[i], sizes[size].kb, "nr") > 0)
				fprintf(to, "@ gauge free_%s.node%d %ld\n", sizes[size].name,
					nodes[i], pages(nodes[i], sizes[size].kb, "free"));
	print_migrations(to);
	fprintf(to, "@ gauge own_ms %.0f\n", (now() - start_time) * 1000);
	fclose(to);
	fputs(text, stdout);
	fflush(stdout);
}

void fail(const char *oracle, const char *fmt, ...)
{
	char text[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	__atomic_fetch_add(&shared->failures, 1, __ATOMIC_RELAXED);
	printf("@ fail %s %s\n", oracle, text);
	fflush(stdout);
}

int failed(void)
{
	return __atomic_load_n(&shared->failures, __ATOMIC_RELAXED) > 0;
}

void skip(const char *fmt, ...)
{
	char text[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	printf("@ skip %s\n", text);
	fflush(stdout);
	__atomic_store_n(&shared->stop, 1, __ATOMIC_RELAXED);
	exit(0);
}

void child(const char *name, void (*fn)(void *), void *arg)
{
	pid_t pid;

	if (n_children == MAX_CHILDREN) {
		fprintf(stderr, "more than %d children\n", MAX_CHILDREN);
		exit(2);
	}
	fflush(stdout);
	pid = fork();
	if (pid < 0) {
		fprintf(stderr, "fork of %s: %s\n", name, strerror(errno));
		exit(2);
	}
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		fn(arg);
		fflush(stdout);
		_exit(0);
	}
	children[n_children].name = name;
	children[n_children++].pid = pid;
}

/* Reaps what has ended; how many children are left. */
static int reap(void)
{
	int i, status, left = 0;

	for (i = 0; i < n_children; i++) {
		if (!children[i].pid)
			continue;
		if (waitpid(children[i].pid, &status, WNOHANG) != children[i].pid) {
			left++;
			continue;
		}
		children[i].pid = 0;
		if (WIFSIGNALED(status))
			fail("signal", "child %s was ended by signal %d (%s)", children[i].name,
			     WTERMSIG(status), strsignal(WTERMSIG(status)));
		else if (WEXITSTATUS(status))
			fail("errno", "child %s ended with status %d", children[i].name,
			     WEXITSTATUS(status));
		else if (running())
			fail("errno", "child %s ended before its time", children[i].name);
	}
	return left;
}

/*
 * A task of our own (children, threads, and their children: the process group) that is in
 * uninterruptible sleep, and has not run between STUCK_LOOKS looks, a second apart.
 * Whoever waits for a lock or a page here waits for milliseconds.
 */
#define STUCK_LOOKS 10
#define MAX_SLEEPERS 256

static struct sleeper {
	pid_t tid;
	unsigned long switches;
	int looks;
} sleepers[MAX_SLEEPERS];
static int n_sleepers;

/* The state, and how often the task has left the CPU. */
static char state_of(const char *task, unsigned long *switches)
{
	char path[340], line[128], state = 0;
	unsigned long n;
	FILE *f;

	snprintf(path, sizeof(path), "%s/status", task);
	f = fopen(path, "r");
	*switches = 0;
	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f)) {
		if (!strncmp(line, "State:", 6))
			sscanf(line, "State: %c", &state);
		else if (sscanf(line, "voluntary_ctxt_switches: %lu", &n) == 1 ||
			 sscanf(line, "nonvoluntary_ctxt_switches: %lu", &n) == 1)
			*switches += n;
	}
	fclose(f);
	return state;
}

/* Looks at one task, keeps it in mind in now[]; true when it is stuck. */
static int look(const char *task, pid_t tid, struct sleeper *now, int *n)
{
	unsigned long switches;
	char where[64] = "?", path[340];
	int i, looks = 1;
	FILE *f;

	if (state_of(task, &switches) != 'D' || *n == MAX_SLEEPERS)
		return 0;
	for (i = 0; i < n_sleepers; i++)
		if (sleepers[i].tid == tid && sleepers[i].switches == switches)
			looks = sleepers[i].looks + 1;
	now[(*n)++] = (struct sleeper){ tid, switches, looks };
	if (looks < STUCK_LOOKS)
		return 0;
	snprintf(path, sizeof(path), "%s/wchan", task);
	f = fopen(path, "r");
	if (f) {
		if (fscanf(f, "%63s", where) != 1)
			strcpy(where, "?");
		fclose(f);
	}
	fail("hang", "task %d sleeps uninterruptibly in %s and has not run for %d s", tid, where,
	     STUCK_LOOKS);
	return 1;
}

static int any_stuck(void)
{
	struct sleeper now[MAX_SLEEPERS];
	struct dirent *process, *thread;
	char path[280], task[320];
	int n = 0, stuck = 0;
	DIR *all = opendir("/proc"), *tasks;

	while (all && (process = readdir(all))) {
		pid_t pid = atoi(process->d_name);

		if (pid <= 0 || getpgid(pid) != getpgrp())
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task", pid);
		tasks = opendir(path);
		while (tasks && (thread = readdir(tasks))) {
			pid_t tid = atoi(thread->d_name);

			snprintf(task, sizeof(task), "%s/%d", path, tid);
			if (tid > 0)
				stuck += look(task, tid, now, &n);
		}
		if (tasks)
			closedir(tasks);
	}
	if (all)
		closedir(all);
	memcpy(sleepers, now, sizeof(now[0]) * n);
	n_sleepers = n;
	return stuck;
}

static void nap(double seconds)
{
	struct timespec ts = { (time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9) };

	nanosleep(&ts, NULL);
}

void repro_wait(void)
{
	double next = now(), look_at = now() + 1, step = 0.1, deadline;
	int i, grace = GRACE_SECONDS;

	while (running()) {
		nap(0.05);
		if (reap() < n_children && running())
			break;
		if (now() >= next) {
			print_counts();
			print_gauges();
			next += step;
			/* The first splat may come at once. */
			step = step < 0.5 ? 2 * step : 1;
		}
		if (now() >= look_at) {
			look_at = now() + 1;
			if (any_stuck()) {
				grace = 1;	/* the others wait for that one */
				break;
			}
		}
	}
	__atomic_store_n(&shared->stop, 1, __ATOMIC_RELAXED);
	deadline = now() + grace;
	while (reap() && now() < deadline) {
		nap(0.02);
		if (now() >= next) {
			print_gauges();		/* the clock: who waits for us sees that we wait, too */
			next = now() + 1;
		}
	}
	for (i = 0; i < n_children; i++) {
		if (!children[i].pid)
			continue;
		fail("hang", "child %s (pid %d) did not end within %d s", children[i].name,
		     children[i].pid, grace);
		kill(children[i].pid, SIGKILL);
	}
}

int repro_end(void)
{
	print_counts();
	if (shared->late_ms > 0)
		printf("@ gauge late_ms %ld\n", shared->late_ms);
	printf("@ end\n");
	fflush(stdout);
	return shared->failures ? 1 : 0;
}

int kernel_since(int major, int minor)
{
	struct utsname name;
	int a = 0, b = 0;

	uname(&name);
	return sscanf(name.release, "%d.%d", &a, &b) == 2 &&
	       (a > major || (a == major && b >= minor));
}

int memory_nodes(int *nodes, int max)
{
	FILE *f = fopen("/sys/devices/system/node/has_memory", "r");
	int n = 0, first, last;

	if (!f) {	/* a kernel without NUMA */
		nodes[0] = 0;
		return 1;
	}
	while (n < max && fscanf(f, "%d", &first) == 1) {
		last = first;
		if (fscanf(f, "-%d", &last) < 0)
			last = first;
		for (; first <= last && n < max; first++)
			nodes[n++] = first;
		if (fgetc(f) != ',')
			break;
	}
	fclose(f);
	return n;
}

void two_nodes(int nodes[2])
{
	if (memory_nodes(nodes, 2) < 2)
		skip("two nodes with memory are needed");
}

void *map_huge(size_t n)
{
	void *p = mmap(NULL, n * HUGE_2M, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_2MB, -1, 0);

	if (p == MAP_FAILED)
		skip("mmap of %zu huge pages of 2 MiB: %s", n, strerror(errno));
	return p;
}

struct chunk {
	uint64_t offset;
	uint32_t owner;
	uint32_t seq;
};

void pattern_write(void *start, size_t bytes, unsigned int owner, unsigned int seq)
{
	size_t at;

	for (at = 0; at < bytes; at += CHUNK)
		*(volatile struct chunk *)((char *)start + at) =
			(struct chunk){ at, owner, seq };
}

int pattern_check(const void *start, size_t bytes, unsigned int owner, unsigned int seq)
{
	size_t at;

	for (at = 0; at < bytes; at += CHUNK) {
		const volatile struct chunk *c = (const void *)((const char *)start + at);
		struct chunk got = *c;

		if (got.offset == at && got.owner == owner && got.seq == seq)
			continue;
		fail("data", "offset 0x%zx: expected offset 0x%zx owner %u seq %u, "
		     "found 0x%llx %u %u", at, at, owner, seq,
		     (unsigned long long)got.offset, got.owner, got.seq);
		return -1;
	}
	return 0;
}

int move_one(pid_t pid, void *page, int node, int flags, int *status)
{
	*status = -EINVAL;
	if (syscall(SYS_move_pages, pid, 1UL, &page, &node, status, flags) < 0)
		return errno;
	return 0;
}
