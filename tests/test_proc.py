from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from harness import proc
from harness.errors import EnvironmentFault
from harness.guest.seam import wait_for


def alive(pid: int) -> bool:
    """A zombie counts as dead: nobody may be there to reap it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # gone before, or in the middle of it
        return False


def test_exit_status_and_signal_are_those_of_the_program() -> None:
    with proc.spawn(["sh", "-c", "exit 7"]) as child:
        assert child.wait(10) == 7
        assert child.poll() == 7
    with proc.spawn(["sh", "-c", "kill -TERM $$"]) as child:
        assert child.wait(10) == -signal.SIGTERM


def test_pid_is_that_of_the_program() -> None:
    with proc.spawn(["sleep", "60"]) as child:
        assert Path(f"/proc/{child.pid}/comm").read_text().strip() == "sleep"
        assert child.poll() is None
    assert child.poll() == -signal.SIGKILL
    assert not alive(child.pid)


def test_wait_gives_up_at_its_deadline() -> None:
    with proc.spawn(["sleep", "60"]) as child, pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.05)


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(EnvironmentFault, match="no-such-program: No such file"):
        proc.spawn(["/no-such-program"])


def test_kill_reaches_grandchildren_in_sessions_of_their_own(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"setsid sleep 60 & echo $! >> {pids}; sleep 61 & echo $! >> {pids}; wait"
    with proc.spawn(["sh", "-c", script]):
        assert wait_for(lambda: pids.exists() and len(pids.read_text().split()) == 2, 10)
        below = [int(pid) for pid in pids.read_text().split()]
        assert all(alive(pid) for pid in below)
    assert not any(alive(pid) for pid in below)


# A shell's background job ignores SIGINT, and so does all that it starts, these tests included.
PARENT = """
import signal, time
from harness import proc
signal.signal(signal.SIGINT, signal.default_int_handler)
child = proc.spawn(["sh", "-c", "sleep 60 & echo $! $$; setsid sleep 61 & echo $!; wait"])
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_a_killed_harness(number: signal.Signals) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    words: list[str] = []
    while len(words) < 3:
        line = parent.stdout.readline()
        assert line, "the parent ended before its child said who is there"
        words += line.split()
    pids = [int(word) for word in words]
    assert all(alive(pid) for pid in pids)
    parent.send_signal(number)
    parent.wait(10)
    parent.stdout.close()
    assert wait_for(lambda: not any(alive(pid) for pid in pids), 10)


def test_a_harness_that_is_gone_before_it_was_told_of_its_child(tmp_path: Path) -> None:
    """The child may run for a while before the warden writes that it does."""
    pids = tmp_path / "pids"
    script = f"setsid sleep 60 & echo $! $$ >> {pids}; sleep 61 & echo $! >> {pids}; wait"
    life_read, life_write = os.pipe()
    report_read, report_write = os.pipe()
    os.close(report_read)
    warden = subprocess.Popen(
        [
            *(sys.executable, "-I", "-S", str(proc._WARDEN), str(life_read), str(report_write)),
            *("sh", "-c", script),
        ],
        pass_fds=(life_read, report_write),
    )
    os.close(life_read)
    os.close(report_write)
    assert wait_for(lambda: pids.exists() and len(pids.read_text().split()) == 3, 10)
    below = [int(pid) for pid in pids.read_text().split()]
    assert all(alive(pid) for pid in below)
    os.close(life_write)
    assert warden.wait(10) == 0
    assert not any(alive(pid) for pid in below)


def test_the_child_dies_with_its_warden() -> None:
    with proc.spawn(["sleep", "60"]) as child:
        stat = Path(f"/proc/{child.pid}/stat").read_text()
        os.kill(int(stat.rpartition(")")[2].split()[1]), signal.SIGKILL)
        assert child.wait(10) == -signal.SIGKILL
        assert wait_for(lambda: not alive(child.pid), 10)


def test_children_that_start_at_once_do_not_hold_each_others_pipes() -> None:
    """Each child but the last would keep the others' output open for as long as it lives."""
    ends: list[bytes] = []

    def one() -> None:
        out, into = os.pipe()
        with proc.spawn(["sh", "-c", "echo done; exec sleep 60 >/dev/null"], stdout=into):
            os.close(into)
            with os.fdopen(out, "rb") as stream:
                ends.append(stream.read())

    threads = [threading.Thread(target=one, daemon=True) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert ends == [b"done\n"] * 6


def test_the_child_gets_the_descriptors_it_was_given_and_no_others() -> None:
    read, write = os.pipe()
    out, into = os.pipe()
    child = proc.spawn(["ls", "/proc/self/fd"], stdout=into, pass_fds=[write])
    os.close(into)
    with os.fdopen(out) as stream, child:
        listed = {int(word) for word in stream.read().split()}
    os.close(read)
    os.close(write)
    assert write in listed
    assert len(listed) == 5  # 0, 1, 2, the one handed over, and ls's own of the folder


def test_run_gives_lines_log_and_status(tmp_path: Path) -> None:
    lines: list[str] = []
    log = tmp_path / "log"
    status = proc.run(
        ["sh", "-c", "echo one; printf '\\377two\\r\\n' >&2; printf three; exit 3"],
        log=log,
        on_line=lines.append,
    )
    assert (status, lines) == (3, ["one", "\ufffdtwo", "three"])
    assert log.read_bytes() == b"one\n\xfftwo\r\nthree"


def test_run_kills_at_its_deadline(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with pytest.raises(subprocess.TimeoutExpired):
        proc.run(["sh", "-c", f"sleep 60 & echo $! > {pid}; wait"], timeout=1)
    assert not alive(int(pid.read_text()))


def test_signals_that_python_ignores_work_in_the_child() -> None:
    lines: list[str] = []
    assert proc.run(["sh", "-c", "grep SigIgn /proc/$$/status"], on_line=lines.append) == 0
    assert int(lines[0].split()[1], 16) & (1 << (signal.SIGPIPE - 1)) == 0


def test_a_thread_that_ends_takes_no_child_with_it() -> None:
    kept: list[proc.Child] = []
    thread = threading.Thread(target=lambda: kept.append(proc.spawn(["sleep", "60"])))
    thread.start()
    thread.join()
    with kept[0] as child:
        time.sleep(0.1)
        assert child.poll() is None
