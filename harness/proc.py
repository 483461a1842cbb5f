"""Subprocesses that end with the harness, also when it is killed with SIGKILL.

Each one is held by a warden (see harness/warden.py), which kills it and all that it
started when the harness is gone.  The price is one start of a bare Python, about 15 ms.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from harness.errors import EnvironmentFault

_WARDEN = Path(__file__).with_name("warden.py")
_GRACE = 10.0
"""Seconds that a warden gets to end its child; SIGKILL takes long on a process in disk sleep."""


class Child:
    """A subprocess in its own session that dies with the harness.  Made by ``spawn``."""

    def __init__(
        self,
        argv: Sequence[str],
        warden: subprocess.Popen[bytes] | None,
        life: int,
        report: int,
        pid: int = 0,
    ):
        """Without a ``warden`` this takes over, by its pipes, what another harness has started."""
        self.argv = tuple(argv)
        self._warden = warden
        self._life = life
        self._report = report
        self._text = b""
        self._status: int | None = None
        self._lock = threading.Lock()
        self.pid = pid or self._started()

    @property
    def pipes(self) -> tuple[int, int]:
        """What another process needs to take this one over: see ``let_go``."""
        return self._life, self._report

    def let_go(self) -> None:
        """Forget it, without ending it: whoever got copies of ``pipes`` holds it now."""
        with self._lock:
            if self._status is None:
                self._close()
                self._status = 0

    def _started(self) -> int:
        while b"\n" not in self._text:
            if not self._read():
                break
        word, _, number = self._text.partition(b"\n")[0].partition(b" ")
        if word == b"pid":
            return int(number)
        self._close()
        self._reap()
        reason = os.strerror(int(number)) if word == b"error" else "its warden died"
        raise EnvironmentFault(
            f"cannot start {self.argv[0]}: {reason}",
            hint="`harness doctor` says what is missing",
        )

    def _read(self) -> bytes:
        data = os.read(self._report, 256)
        self._text += data
        return data

    def poll(self) -> int | None:
        """The exit status (negative: the signal that ended it), or None while it runs."""
        return self._await(0)

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired when ``timeout`` seconds pass first."""
        status = self._await(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(self.argv, timeout or 0.0)
        return status

    def _await(self, timeout: float | None) -> int | None:
        """Whoever holds the lock watches the pipe; slices keep other threads from starving."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._lock:
                if self._status is None:
                    self._look(_slice(deadline))
                if self._status is not None:
                    return self._status
            if deadline is not None and time.monotonic() >= deadline:
                return None

    def _look(self, seconds: float) -> None:
        if not _readable(self._report, seconds) or self._read():
            return
        self._close()
        self._reap()
        last = self._text.rstrip(b"\n").rpartition(b"\n")[2]
        word, _, number = last.partition(b" ")
        # A warden that was itself killed took the child with it (PR_SET_PDEATHSIG).
        self._status = int(number) if word == b"exit" else -9

    def kill(self) -> None:
        """End it and all that it started (SIGKILL), and reap it.  Idempotent."""
        with self._lock:
            if self._status is None and self._life >= 0:
                os.close(self._life)
                self._life = -1
        if self._await(_GRACE) is None and self._warden:
            self._warden.kill()
            self._await(_GRACE)

    def _reap(self) -> None:
        if self._warden:
            self._warden.wait()

    def _close(self) -> None:
        if self._life >= 0:
            os.close(self._life)
        os.close(self._report)
        self._life = self._report = -1

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()


def spawn(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: int | IO[bytes] | None = None,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
    pass_fds: Sequence[int] = (),
) -> Child:
    """Start ``argv``; standard input is /dev/null unless given.

    A caller who hands over the write end of a pipe closes its own copy afterwards.
    Raises EnvironmentFault when the program cannot be started.
    """
    life_read, life_write = os.pipe()
    report_read, report_write = os.pipe()
    try:
        warden = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", str(_WARDEN)),
                *(str(life_read), str(report_write)),
                *argv,
            ],
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=(life_read, report_write, *pass_fds),
            start_new_session=True,  # Ctrl-C in a terminal is for the harness, not for wardens
        )
    except BaseException:
        os.close(life_write)
        os.close(report_read)
        raise
    finally:
        os.close(life_read)
        os.close(report_write)
    return Child(argv, warden, life_write, report_read)


def run(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
    on_line: Callable[[str], None] | None = None,
    timeout: float | None = None,
) -> int:
    """Run ``argv`` to its end and give its exit status.

    Standard output and error, merged, are appended to ``log`` and handed to ``on_line``
    line by line, without the line's end.  Raises subprocess.TimeoutExpired after ``timeout``
    seconds, with everything it started killed.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    out, into = os.pipe()
    sink = log.open("ab") if log else None
    rest = b""
    try:
        try:
            child = spawn(argv, cwd=cwd, env=env, stdout=into, stderr=into)
        finally:
            os.close(into)
        with child:
            while True:
                if not _readable(out, _slice(deadline)):
                    if deadline is not None and time.monotonic() >= deadline:
                        raise subprocess.TimeoutExpired(argv, timeout or 0.0)
                    continue
                data = os.read(out, 1 << 16)
                if sink:
                    sink.write(data)
                    sink.flush()
                *lines, rest = (rest + data).split(b"\n")
                if not data and rest:
                    lines, rest = [rest], b""
                for line in lines:
                    if on_line:
                        on_line(line.decode("utf-8", "replace").rstrip("\r"))
                if not data:
                    break
            remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
            return child.wait(remaining)
    finally:
        os.close(out)
        if sink:
            sink.close()


def _slice(deadline: float | None) -> float:
    """Seconds to wait at one go."""
    return 0.2 if deadline is None else min(0.2, max(0.0, deadline - time.monotonic()))


def _readable(fd: int, seconds: float) -> bool:
    """select(2) cannot watch descriptors of 1024 and more; poll(2) can."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
