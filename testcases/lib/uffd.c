// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "repro.h"
#include "uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int uffd_open(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd, err;

	fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (ioctl(fd, UFFDIO_API, &api)) {
		err = errno;
		close(fd);
		return -err;
	}
	return fd;
}

int uffd_register(int uffd, void *addr, size_t bytes)
{
	struct uffdio_register reg = {
		.range = { (unsigned long)addr, bytes },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	return ioctl(uffd, UFFDIO_REGISTER, &reg) ? errno : 0;
}

int uffd_over(void *addr, size_t bytes)
{
	int uffd = uffd_open(), err;

	if (uffd < 0)
		skip("userfaultfd: %s (CONFIG_USERFAULTFD)", strerror(-uffd));
	err = uffd_register(uffd, addr, bytes);
	if (err)
		skip("UFFDIO_REGISTER of huge pages: %s", strerror(err));
	return uffd;
}

int uffd_copy(int uffd, void *to, const void *from, size_t bytes, long *copied)
{
	struct uffdio_copy copy = {
		.dst = (unsigned long)to, .src = (unsigned long)from, .len = bytes,
	};
	int err = ioctl(uffd, UFFDIO_COPY, &copy) ? errno : 0;

	if (copied)
		*copied = copy.copy;
	return err;
}

int uffd_wake(int uffd, void *addr, size_t bytes)
{
	struct uffdio_range range = { (unsigned long)addr, bytes };

	return ioctl(uffd, UFFDIO_WAKE, &range) ? errno : 0;
}

void *uffd_next(int uffd, int ms)
{
	struct pollfd poller = { uffd, POLLIN, 0 };
	struct uffd_msg msg;

	if (poll(&poller, 1, ms) != 1 || read(uffd, &msg, sizeof(msg)) != sizeof(msg))
		return NULL;
	return msg.event == UFFD_EVENT_PAGEFAULT ? (void *)msg.arg.pagefault.address : NULL;
}
