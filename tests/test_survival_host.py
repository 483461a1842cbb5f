"""What befalls the harness from below and from beside: a kernel that hangs for good, and its host.

`make survival` runs every row; see tests/test_survival.py for those that a reproducer makes.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import paramiko
import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from harness.errors import BootError, EnvironmentFault
from harness.guest import start as start_module
from harness.guest.accel import Accel
from harness.guest.boot import boot
from harness.guest.seam import wait_for
from harness.guest.vm import QemuGuest
from harness.kernel.build import build
from harness.kernel.built import BuiltKernel
from harness.progress import Progress
from harness.record.folder import RunFolder
from harness.record.load import load_run
from harness.spec.cases import select
from harness.spec.kernel import load_kernel
from harness.spec.machine import load_machine
from harness.trial.compile import compile_reproducer
from harness.trial.judge import judge
from harness.trial.run import Settings, run
from harness.trial.trial import Trial, perform
from harness.trial.verdict import Outcome, Verdict
from tests.survival import GOOD, maker, qemu_of, wanted

pytestmark = [pytest.mark.guest, wanted]

Make = Callable[..., Trial]


@pytest.fixture
def trial_of(
    debug_kernel: BuiltKernel, accel: Accel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Make:
    return maker(debug_kernel, accel, tmp_path, monkeypatch)


@pytest.fixture
def start(debug_kernel: BuiltKernel, accel: Accel, tmp_path: Path) -> Callable[..., QemuGuest]:
    def start(**more: object) -> QemuGuest:
        return boot(
            *(debug_kernel, load_machine("two-nodes")),
            run_dir=tmp_path / "run",
            accel=accel,
            progress=Progress(),
            **more,  # type: ignore[arg-type]
        )

    return start


def told(row: str, verdict: Verdict, seconds: float, deadline: float) -> None:
    print(f"{row}: {verdict.outcome.value} after {seconds:.0f} of {deadline:g} s")
    assert seconds < deadline


JUMP_TO_ITSELF = b"\xeb\xfe"
INTERRUPTS_OFF = b"\xfa"
SYSCALL = "__x64_sys_sethostname"
CALL_IT = 'sethostname("x", 1);'
ON_EACH_CPU = f"""
    for (int cpu = 0; cpu < 2; cpu++)
        if (!fork()) {{
            cpu_set_t set;
            CPU_ZERO(&set);
            CPU_SET(cpu, &set);
            sched_setaffinity(0, sizeof(set), &set);
            {CALL_IT}
        }}
    for (;;) pause();"""


def put_code(guest: QemuGuest, kernel: BuiltKernel, code: bytes) -> None:
    """Write machine code over a system call that nobody else makes, as a debugger would."""
    assert kernel.vmlinux
    with kernel.vmlinux.open("rb") as stream:
        table = ELFFile(stream).get_section_by_name(".symtab")
        assert isinstance(table, SymbolTableSection)
        found = table.get_symbol_by_name(SYSCALL)
        assert found
        address = found[0]["st_value"]
    monitor = guest.hold().monitor
    path = f"/tmp/guest-gdb-{os.getpid()}"
    monitor.look_away()
    monitor.human(f"gdbserver unix:{path},server=on,wait=off")
    what = f"{{unsigned char[{len(code)}]}}{address:#x}"
    words = ["-ex", f"target remote {path}"]
    words += ["-ex", f"set {what} = {{{', '.join(map(str, code))}}}", "-ex", "detach"]
    done = subprocess.run(["gdb", "-nx", "-batch", *words], capture_output=True, timeout=120)
    monitor.human("gdbserver none")
    Path(path).unlink(missing_ok=True)
    monitor.resume()
    assert b"detached" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("row", "code", "calls", "oracle", "deadline"),
    [
        ("soft lockup", JUMP_TO_ITSELF, CALL_IT, "splat", 90),
        (
            "hang with interrupts off",
            INTERRUPTS_OFF + JUMP_TO_ITSELF,
            ON_EACH_CPU,
            "pulse_lost",
            90,
        ),
    ],
)
def test_kernel_that_stands_still(
    row: str,
    code: bytes,
    calls: str,
    oracle: str,
    deadline: float,
    start: Callable[..., QemuGuest],
    trial_of: Make,
    debug_kernel: BuiltKernel,
    tmp_path: Path,
) -> None:
    trial = trial_of('put("/proc/sys/kernel/watchdog_thresh", "3");' + calls, seconds=120)
    with start() as guest:
        put_code(guest, debug_kernel, code)
        begin = time.monotonic()
        evidence = run(guest, trial.case, trial.binary.read_bytes(), Settings(trial.seconds))
        took = time.monotonic() - begin
    verdict = judge(trial.case, evidence)
    assert verdict.outcome is Outcome.FAIL
    assert oracle in {reason.oracle for reason in verdict.reasons}, verdict
    told(row, verdict, took, deadline)
    assert not qemu_of(tmp_path)


def test_panic_on_warn(accel: Accel, tmp_path: Path) -> None:
    """A report of a real race, in a kernel that panics of it."""
    case = select(["anon_fork_migrate"])[0]
    trial = Trial(
        case=case,
        binary=compile_reproducer(case.reproducer),
        seconds=120,
        kernel=build(load_kernel("v5.10-anon-race"), progress=Progress()),
        machine=load_machine("two-nodes"),
        accel=accel.value,
        append=("panic_on_warn=1",),
    )
    begin = time.monotonic()
    result = perform(trial, tmp_path / "run", Progress())
    took = time.monotonic() - begin - result.boot_seconds
    assert result.verdict.outcome is Outcome.FAIL
    assert {"splat", "panicked"} <= {reason.oracle for reason in result.verdict.reasons}
    assert b"panic_on_warn set" in (tmp_path / "run/console.log").read_bytes()
    told("panic_on_warn", result.verdict, took, 150)
    assert not qemu_of(tmp_path)


def test_console_flood_of_100_mb(trial_of: Make, tmp_path: Path) -> None:
    """An emulated serial port takes minutes for so much: the host writes into the same file."""
    trial = trial_of('for (;;) put("/dev/kmsg", "noise noise noise");', seconds=5)
    console = tmp_path / "run/console.log"

    def flood() -> None:
        assert wait_for(lambda: b"noise" in _read(console), 240)
        line = b"[   99.000000][  T999] " + b"x" * 100 + b"\n"
        with console.open("ab") as stream:
            for _ in range(100):
                stream.write(line * ((1 << 20) // len(line)))

    thread = threading.Thread(target=flood)
    thread.start()
    begin = time.monotonic()
    result = perform(trial, tmp_path / "run", Progress())
    took = time.monotonic() - begin - result.boot_seconds
    thread.join()
    assert console.stat().st_size > 99 << 20
    assert result.verdict.outcome is Outcome.FAIL
    assert {reason.oracle for reason in result.verdict.reasons} == {"hang"}
    told("console flood of 100 MB", result.verdict, took, 120)


def _read(file: Path) -> bytes:
    return file.read_bytes() if file.exists() else b""


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port of this host's where ``answer`` meets who comes."""
    with ExitStack() as undo:
        server = undo.enter_context(socket.create_server(("127.0.0.1", 0)))

        def serve() -> None:
            while True:
                try:
                    line, _ = server.accept()
                except OSError:
                    return
                undo.callback(line.close)
                answer(line)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


def impostor(line: socket.socket) -> None:
    transport = paramiko.Transport(line)
    transport.add_server_key(paramiko.RSAKey.generate(2048))
    transport.start_server(event=threading.Event(), server=paramiko.ServerInterface())


@pytest.mark.parametrize(
    ("row", "answer", "says"),
    [("port stolen", impostor, "ost key"), ("port silent", lambda line: None, "SSH does not")],
)
def test_ssh_port(
    row: str,
    answer: Callable[[socket.socket], None],
    says: str,
    start: Callable[..., QemuGuest],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    begin = time.monotonic()
    with listening(answer) as port, pytest.raises(BootError, match=says):
        monkeypatch.setattr(start_module.Start, "_port", lambda self, monitor: port)
        start(timeout=60.0, cold=True)
    told(row, Verdict(Outcome.ERROR), time.monotonic() - begin, 120)
    assert not qemu_of(tmp_path)


@contextmanager
def small_disk(at: Path, mib: int) -> Iterator[Path]:
    at.mkdir(exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=700", "none", str(at)],
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("only root can mount a small disk")
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


def test_host_disk_full(trial_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fills while a trial runs: what was recorded before is whole, and no guest is left."""
    monkeypatch.setattr("harness.guest.boot.DISK", 0)
    with small_disk(tmp_path / "disk", 3) as disk:
        folder = RunFolder(["harness", "run"], disk)
        first = perform(
            trial_of('puts("@ count done 1");' + GOOD), folder.trial_folder("a"), Progress()
        )
        folder.add(first, [])
        path = folder.trial_folder("b")

        def fill() -> None:
            assert wait_for(lambda: b"begin wild" in _read(path / "console.log"), 240)
            with (disk / "full").open("wb", buffering=0) as stream:
                try:
                    while True:
                        stream.write(bytes(1 << 12))
                except OSError:
                    pass

        thread = threading.Thread(target=fill)
        thread.start()
        flood = 'for (int n = 0; n < 3000; n++) put("/dev/kmsg", "noise noise noise noise");'
        begin = time.monotonic()
        second = perform(
            trial_of(flood + 'puts("@ count done 1");' + GOOD, seconds=30), path, Progress()
        )
        took = time.monotonic() - begin - second.boot_seconds
        thread.join()
        # What the console did not get cannot have been seen: no PASS.
        assert second.verdict.outcome in (Outcome.INCONCLUSIVE, Outcome.ERROR), second.verdict
        with pytest.raises(EnvironmentFault, match="No space left"):
            folder.add(second, [])
        run_ = load_run(folder.path)
        assert [trial["verdict"] for trial in run_.trials] == ["PASS"]
        assert not run_.complaints
        told("host disk full", second.verdict, took, 120)
    assert not qemu_of(tmp_path)


CLI = [sys.executable, "-m", "harness.cli"]


def test_shm_full(tmp_path: Path) -> None:
    """Guests keep nothing there."""
    script = (
        "mount -t tmpfs -o size=1m none /dev/shm && { head -c 2M /dev/zero >/dev/shm/x; true; }"
    )
    words = [*CLI, "run", "anon_fork_migrate", "--time", "5", "--results", str(tmp_path)]
    argv = ["unshare", "-m", "sh", "-c", f'{script} && exec "$@"', "sh", *words]
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("only root gets a /dev/shm of its own")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr


def test_two_harnesses_at_once_on_one_cache(tmp_path: Path) -> None:
    """Neither has the template yet; one makes it, both use it, and both keep their history."""
    fresh = f"--append=harness.test={os.getpid()}"
    words = ["run", "anon_fork_migrate", "--time", "5", "-n", "1", fresh]
    both = [
        subprocess.Popen(
            [*CLI, *words, "--results", str(tmp_path / name)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in "ab"
    ]
    said = [harness.communicate(timeout=500) for harness in both]
    assert [harness.returncode for harness in both] == [0, 0], said
    frozen = [text for _, text in said if "freezing" in text]
    assert len(frozen) == 1, said
    (a,), (b,) = ([*(tmp_path / name).glob("*/result.json")] for name in "ab")
    assert json.loads(a.read_text())["trials"] and json.loads(b.read_text())["trials"]
    assert not qemu_of(tmp_path)


def test_host_clock_jumps(trial_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A day on and two back while a trial runs; its deadlines know the clock that cannot jump.

    paramiko's own handshake does not: a jump just then costs a second try, by a boot.
    """
    console, real, days = tmp_path / "run/console.log", time.time, [0.0]
    monkeypatch.setattr("time.time", lambda: real() + 86400 * days[0])

    def jump() -> None:
        assert wait_for(lambda: b"begin wild" in _read(console), 240)
        for days[0] in (1.0, -1.0, 1.0, -1.0):
            time.sleep(1)

    thread = threading.Thread(target=jump)
    thread.start()
    code = 'sleep(6); puts("@ count done 1");' + GOOD
    begin = time.monotonic()
    result = perform(trial_of(code, seconds=10), tmp_path / "run", Progress())
    took = time.monotonic() - begin - result.boot_seconds
    thread.join()
    assert result.verdict.outcome is Outcome.PASS, result.verdict
    told("the host's clock jumps", result.verdict, took, 60)


def test_harness_stopped_for_a_while(tmp_path: Path) -> None:
    """SIGSTOP for longer than any silence is borne, then SIGCONT: the guest was well all along."""
    words = ["run", "anon_fork_migrate", "--time", "12", "-n", "1", "--results", str(tmp_path)]
    with subprocess.Popen(
        [*CLI, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as harness:
        console = "*/001-*/console.log"
        assert wait_for(
            lambda: any(b"harness: begin" in _read(file) for file in tmp_path.glob(console)), 240
        )
        os.kill(harness.pid, signal.SIGSTOP)
        time.sleep(25)
        os.kill(harness.pid, signal.SIGCONT)
        out, err = harness.communicate(timeout=300)
    assert harness.returncode == 0, out + err
