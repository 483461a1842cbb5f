/*
 * root's shell, which the SSH server runs with "-c COMMAND" for each exchange: it gives the command
 * a session and process group of its own, and kills all of that when the server passes on the
 * signal TERM or HUP.  By itself the server would signal one shell, and leave the rest behind.
 *
 * A program of its own, because a busybox that does the same starts three more processes, each of
 * 15 to 30 ms of CPU time in an emulated kernel with KASAN.
 *
 * A command whose first line is
 *
 *	#take STREAM SIZE CHECK MODE PATH
 *
 * is preceded on its input by STREAM bytes, of which a file is made (harness/guest/delta.py): parts
 * that are there, and parts that are those of BASE.  When that fails the command is not run.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SHELL "/bin/sh"
#ifndef BASE
#define BASE "/sbin/agent"
#endif
#define NOT_TAKEN 120
#define TAKE "#take "

struct bytes {
	const unsigned char *at, *end;
};

static size_t left(const struct bytes *b)
{
	return (size_t)(b->end - b->at);
}

static size_t number(struct bytes *stream)
{
	size_t value = 0;
	unsigned int shift = 0;

	while (left(stream)) {
		unsigned char byte = *stream->at++;

		value |= (size_t)(byte & 0x7f) << shift;
		shift += 7;
		if (!(byte & 0x80) || shift > 28)
			break;
	}
	return value;
}

static uint64_t check(const unsigned char *data, size_t size)
{
	uint64_t value = 0xcbf29ce484222325u, word;

	for (size_t at = 0; at < size; at += 8) {
		memcpy(&word, data + at, 8);
		value = (value ^ word) * 0x100000001b3u;
	}
	return value;
}

/* How many bytes it came to; too many where something does not fit. */
static size_t unfold(struct bytes stream, struct bytes base, unsigned char *out, size_t size)
{
	size_t done = 0;

	while (left(&stream)) {
		size_t literal = number(&stream), same, place;

		if (literal > left(&stream) || literal > size - done)
			return size + 1;
		memcpy(out + done, stream.at, literal);
		stream.at += literal;
		done += literal;
		same = number(&stream);
		place = number(&stream);
		if (place > left(&base) || same > left(&base) - place || same > size - done)
			return size + 1;
		memcpy(out + done, base.at + place, same);
		done += same;
	}
	return done;
}

static int give(const char *path, mode_t mode, const unsigned char *data, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	size_t done = 0;
	ssize_t wrote = 1;

	if (fd < 0)
		return -1;
	while (done < size && (wrote = write(fd, data + done, size - done)) > 0)
		done += (size_t)wrote;
	return wrote <= 0 || fchmod(fd, mode) || close(fd) ? -1 : 0;
}

static int take(char *line, const char *path)
{
	char *rest = line + strlen(TAKE);
	size_t stream = strtoul(rest, &rest, 10), size = strtoul(rest, &rest, 10), got = 0;
	uint64_t wanted = strtoull(rest, &rest, 16);
	mode_t mode = (mode_t)strtoul(rest, &rest, 8);
	unsigned char *in, *out;
	struct bytes base = { NULL, NULL };
	struct stat about;
	ssize_t some = 1;
	int fd;

	in = malloc(stream + 1);
	out = calloc(1, size + 8);	/* the last word is padded */
	if (!in || !out)
		return -1;
	while (got < stream && (some = read(0, in + got, stream - got)) > 0)
		got += (size_t)some;
	fd = open(BASE, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && !fstat(fd, &about)) {
		base.at = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (base.at == MAP_FAILED)
			return -1;
		base.end = base.at + about.st_size;
	}
	if (got < stream || unfold((struct bytes){ in, in + got }, base, out, size) != size ||
	    check(out, size) != wanted || give(path, mode, out, size))
		return -1;
	/* This process stays while the command runs, in a guest whose memory is counted. */
	free(in);
	free(out);
	if (base.at)
		munmap((void *)base.at, left(&base));
	close(fd);
	return 0;
}

int main(int argc, char **argv)
{
	sigset_t watched, before;
	int caught, status;
	pid_t child;

	setenv("SHELL", SHELL, 1);
	/* A terminal stays with who has it as its own: "harness shell". */
	if (argc != 3 || strcmp(argv[1], "-c") || isatty(0)) {
		argv[0] = argv[0][0] == '-' ? "-sh" : "sh";
		execv(SHELL, argv);
		return 127;
	}
	if (!strncmp(argv[2], TAKE, strlen(TAKE))) {
		char *end = strchr(argv[2], '\n'), *path = strchr(argv[2], '/');

		if (!end || !path || path > end)
			return NOT_TAKEN;
		*end = 0;
		if (take(argv[2], path)) {
			perror(path);
			return NOT_TAKEN;
		}
		argv[2] = end + 1;
	}
	sigemptyset(&watched);
	sigaddset(&watched, SIGTERM);
	sigaddset(&watched, SIGHUP);
	sigaddset(&watched, SIGCHLD);
	sigprocmask(SIG_BLOCK, &watched, &before);
	child = vfork();
	if (!child) {
		setsid();
		sigprocmask(SIG_SETMASK, &before, NULL);
		execl(SHELL, "sh", "-c", argv[2], (char *)NULL);
		_exit(127);
	}
	if (child < 0)
		return 126;
	/* The command's input is the command's alone: who writes to it sees when it is closed. */
	close(0);
	for (;;) {
		if (waitpid(child, &status, WNOHANG) == child)
			return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
		caught = sigwaitinfo(&watched, NULL);
		if (caught == SIGTERM || caught == SIGHUP)
			kill(-child, SIGKILL);
	}
}
