/*
 * The guest's end of the second serial port: a beat a second for as long as user space is
 * scheduled, and the few orders that make this guest one of its own: fresh randomness, the time,
 * who may log in, and by which key it is known.  None of that is in the root file system, so a
 * frozen guest holds no secret, and each copy of it gets its own.
 *
 * Orders are lines of the host's; nothing in the guest can write to that port's input.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define PORT "/dev/ttyS1"
/* Where dropbear looks by itself, when the first client comes. */
#define HOST_KEY "/etc/dropbear/dropbear_ed25519_host_key"
#define AUTHORIZED "/root/.ssh/authorized_keys"
#define PID_FILE "/run/dropbear.pid"
#define SETTLED "/run/settled" /* made by init when the pools are filled */
#define LINE 2048

extern char **environ;

static char nonce[65];
static pid_t server;	/* dropbear, until it has gone into the background: then it listens */
static int asked, listening, forgetting;

static void say(const char *file, const char *text)
{
	int fd = open(file, O_WRONLY | O_CLOEXEC);

	if (fd >= 0) {
		/* One write: a record of /dev/kmsg is what comes in one piece. */
		if (write(fd, text, strlen(text)) < 0) { /* nobody else to tell */ }
		close(fd);
	}
}

static void reply(const char *text)
{
	if (write(1, text, strlen(text)) < 0) { /* the host sees that nothing comes */ }
}

static void put(const char *path, const void *data, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		say("/dev/kmsg", "harness: an order could not be written\n");
	if (fd >= 0)
		close(fd);
}

/* The bytes of a hexadecimal text, in its own place; 0 where it is none. */
static size_t unhex(char *text)
{
	size_t length = strlen(text), i;
	unsigned int byte;

	if (length % 2)
		return 0;
	for (i = 0; i < length / 2; i++) {
		if (sscanf(text + 2 * i, "%2x", &byte) != 1)
			return 0;
		text[i] = (char)byte;
	}
	return length / 2;
}

/*
 * What the frozen guest had drawn from its generator and nobody had read: up to 64 bytes with the
 * core (drivers/char/hw_random/core.c, rng_buffer), as many with virtio-rng, and in 5.10 a request
 * that was made and not waited for. All copies would be handed the same ones, so these go first.
 */
static void drain(void)
{
	char stale[256];
	size_t left = sizeof(stale);
	ssize_t got;
	int fd = open("/dev/hwrng", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	while (left && (got = read(fd, stale, left)) > 0)
		left -= (size_t)got;
	close(fd);
}

/* Copies of one frozen guest would all draw the same numbers. */
static void seed(const char *bytes, size_t size)
{
	union {
		struct rand_pool_info info;
		char room[sizeof(struct rand_pool_info) + 256];
	} pool;
	int fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || size > 256)
		return;
	pool.info.entropy_count = 8 * (int)size;
	pool.info.buf_size = (int)size;
	memcpy(pool.room + sizeof(pool.info), bytes, size);
	ioctl(fd, RNDADDENTROPY, &pool);
	ioctl(fd, RNDRESEEDCRNG);
	close(fd);
}

static void set_clock(const char *text)
{
	struct timeval now;
	long long seconds, micro;

	if (sscanf(text, "%lld.%6lld", &seconds, &micro) == 2) {
		now.tv_sec = seconds;
		now.tv_usec = micro;
		settimeofday(&now, NULL);
	}
}

/* With -R it reads its key when a client comes, so that it can listen before there is one. */
static void start_server(void)
{
	char *argv[] = { "dropbear", "-s", "-j", "-k", "-m", "-R", "-W", "1048576", "-p", "22", "-P", PID_FILE, NULL };

	if (posix_spawn(&server, "/sbin/dropbear", NULL, NULL, argv, environ)) {
		server = 0;
		say("/dev/kmsg", "harness: dropbear did not start\n");
	}
}

static void serve(const char *text)
{
	snprintf(nonce, sizeof(nonce), "%s", text);
	asked = 1;
	if (!listening && !server)
		start_server();
}

/*
 * The server that knew the keys goes, and one that never saw any takes its place: a copy of this
 * guest then has one that listens, where to start it took a quarter of all its time.
 */
static void forget(void)
{
	char text[16] = "";
	int fd = open(PID_FILE, O_RDONLY | O_CLOEXEC), tries = 500;
	pid_t old = 0;

	if (fd >= 0) {
		if (read(fd, text, sizeof(text) - 1) > 0)
			old = atoi(text);
		close(fd);
	}
	if (old > 1) {
		kill(old, SIGKILL);
		while (!kill(old, 0) && tries--)	/* its port is free when it is gone */
			usleep(10000);
	}
	unlink(PID_FILE);
	unlink(HOST_KEY);
	unlink(AUTHORIZED);
	asked = listening = 0;
	forgetting = 1;
	start_server();
}

static void obey(char *line)
{
	char *rest = strchr(line, ' ');

	if (rest)
		*rest++ = 0;
	else
		rest = line + strlen(line);
	if (!strcmp(line, "seed")) {
		drain();
		seed(rest, unhex(rest));
	} else if (!strcmp(line, "clock"))
		set_clock(rest);
	else if (!strcmp(line, "authorized")) {
		put(AUTHORIZED, rest, strlen(rest));
	} else if (!strcmp(line, "hostkey"))
		put(HOST_KEY, rest, unhex(rest));
	else if (!strcmp(line, "serve"))
		serve(rest);
	else if (!strcmp(line, "forget"))
		forget();
}

static void listen_to_host(void)
{
	static char line[LINE];
	static size_t length;
	ssize_t got = read(0, line + length, LINE - length);
	char *end;

	if (got <= 0)
		return;
	length += (size_t)got;
	while ((end = memchr(line, '\n', length))) {
		*end++ = 0;
		obey(line);
		length -= (size_t)(end - line);
		memmove(line, end, length);
	}
	if (length == LINE)
		length = 0;
}

static void reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == server) {
			server = 0;
			listening = !status;
			if (status)
				say("/dev/kmsg", "harness: dropbear did not start\n");
			else if (forgetting)
				reply("forgotten\n");
			forgetting = 0;
		}
}

static void tell_when_ready(void)
{
	char text[128];

	if (!asked || !listening || access(SETTLED, F_OK))
		return;
	asked = 0;
	snprintf(text, sizeof(text), "harness: ready %s\n", nonce);
	say("/dev/kmsg", text);
}

static long long now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000LL + time.tv_nsec / 1000000;
}

int main(void)
{
	struct pollfd port = { .fd = 0, .events = POLLIN };
	struct termios raw;
	long long beat = now();
	int fd = open(PORT, O_RDWR | O_NOCTTY);

	if (fd < 0)
		return 1;
	dup2(fd, 0);
	dup2(fd, 1);
	close(fd);
	if (!tcgetattr(0, &raw)) {
		cfmakeraw(&raw);
		cfsetspeed(&raw, B115200);
		tcsetattr(0, TCSANOW, &raw);
	}
	/* A guest without memory and full of processes must not look dead. */
	say("/proc/self/oom_score_adj", "-1000");
	mlockall(MCL_CURRENT | MCL_FUTURE);
	for (;;) {
		long long left = beat - now();

		if (left <= 0) {
			reply("beat\n");
			beat = now() + 1000;
			left = 1000;
		}
		/* Neither the end of a child nor the file of init wakes poll(). */
		if ((asked || forgetting) && left > 10)
			left = 10;
		if (poll(&port, 1, (int)left) > 0)
			listen_to_host();
		reap();
		tell_when_ready();
	}
}
