"""The small process that holds one child of the harness, and ends it when the harness ends.

Run as a script by harness.proc, never imported by it:

    python -I -S warden.py LIFE REPORT PROGRAM ARGUMENT...

LIFE is the read end of a pipe whose write end the harness alone holds: end of file says
that the harness is gone, however it went.  On REPORT go the lines ``pid N``, ``exit STATUS``
(negative: the signal) and, instead of both, ``error ERRNO``.

The warden is single-threaded because PR_SET_PDEATHSIG fires when the *thread* that forked
the child ends (prctl(2)); a thread of the harness would kill its children by returning.
It imports no more than it must: each child waits for its start.
"""

# ruff: noqa: PTH123, PTH208, SIM105
# pathlib and contextlib would double the time of the start

from __future__ import annotations

import ctypes
import os
import select
import sys
import time

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
SIGKILL = 9
SIGPIPE = 13  # Python ignores it, and what is ignored stays ignored across exec
SIGXFSZ = 25  # likewise
SIG_DFL = None


def main() -> None:
    life, report = int(sys.argv[1]), int(sys.argv[2])
    argv = sys.argv[3:]
    os.set_inheritable(life, False)
    os.set_inheritable(report, False)
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    failed, fail = os.pipe()
    me = os.getpid()
    child = os.fork()
    if child == 0:
        _become(argv, libc, me, fail)
    os.close(fail)
    trouble = os.read(failed, 16)
    if trouble:
        os.waitpid(child, 0)
        _tell(report, b"error %s\n" % trouble)
        return
    _tell(report, b"pid %d\n" % child)
    _let_go(keep=(life, report))
    status = _watch(child, life)
    _end_the_rest(child)
    _tell(report, b"exit %d\n" % status)


def _tell(report: int, line: bytes) -> None:
    """A harness that is gone must not end the warden: what it started is still to be ended."""
    try:
        os.write(report, line)
    except BrokenPipeError:
        pass


def _become(argv: list[str], libc: ctypes.CDLL, warden: int, fail: int) -> None:
    """Turn into the program; on failure write the errno to ``fail``."""
    try:
        os.setsid()
        libc.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
        libc.signal(SIGPIPE, SIG_DFL)
        libc.signal(SIGXFSZ, SIG_DFL)
        if os.getppid() == warden:  # else it died before the prctl took effect
            os.execvp(argv[0], argv)
    except OSError as error:
        os.write(fail, b"%d" % (error.errno or 0))
    finally:
        os._exit(127)


def _let_go(keep: tuple[int, ...]) -> None:
    """Close what belongs to the child alone, so that its pipes see their end of file."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in keep:
            try:
                os.close(int(name))
            except OSError:
                pass  # the descriptor of the listing itself


def _watch(child: int, life: int) -> int:
    """Wait for the child, or for the harness to end, which ends the child."""
    pidfd = os.pidfd_open(child)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(life, select.POLLIN)
    while pidfd not in (ready := [fd for fd, _ in poll.poll()]):
        if life in ready:
            break
    _kill_group(child)  # not reaped yet, so the number is still its own
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _kill_group(leader: int) -> None:
    try:
        os.killpg(leader, SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # the group is empty, or became another user's by a set-user-id program


def _end_the_rest(child: int) -> None:
    """Kill and reap what left the group: as their subreaper, the warden inherits them all."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            if os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            return
        with open(f"/proc/self/task/{os.getpid()}/children") as children:
            for pid in children.read().split():
                try:
                    os.kill(int(pid), SIGKILL)
                except (ProcessLookupError, PermissionError):
                    pass  # gone meanwhile
        time.sleep(0.002)


if __name__ == "__main__":
    main()
