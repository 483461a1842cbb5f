"""Guests that are really booted: what they can do, and every way in which one can die."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest

from harness.errors import BootError, EnvironmentFault, GuestLost, UsageError
from harness.guest.accel import Accel
from harness.guest.boot import boot
from harness.guest.remote import connect
from harness.guest.seam import LifeEvent, Load, wait_for
from harness.guest.vm import QemuGuest
from harness.kernel.built import BuiltKernel
from harness.progress import Progress
from harness.spec.machine import load_machine
from harness.trial.prologue import begin
from tests.survival import qemu_of

pytestmark = pytest.mark.guest

Start = Callable[..., QemuGuest]


@pytest.fixture(scope="session")
def start(
    debug_kernel: BuiltKernel, accel: Accel, tmp_path_factory: pytest.TempPathFactory
) -> Start:
    def start(machine: str = "two-nodes", **more: object) -> QemuGuest:
        options: dict[str, object] = {
            "run_dir": tmp_path_factory.mktemp("guest") / "run",
            "accel": accel,
            "progress": Progress(),
            "timeout": 300.0,
        }
        return boot(
            debug_kernel,
            load_machine(machine),
            **(options | more),  # type: ignore[arg-type]
        )

    return start


@pytest.fixture(scope="module")
def guest(start: Start) -> Iterator[QemuGuest]:
    with start() as guest:
        yield guest


def test_commands_give_status_output_and_errors(guest: QemuGuest) -> None:
    done = guest.run("echo out; echo err >&2; exit 7")
    assert (done.status, done.out, done.err) == (7, b"out\n", b"err\n")
    assert guest.run("cat", stdin=b"\0\xff" * 50_000, timeout=60).out == b"\0\xff" * 50_000
    killed = guest.run("kill -SEGV $$")
    assert (killed.status, killed.err) == (128 + signal.SIGSEGV, b"")
    assert guest.life() == ()


def test_the_console_holds_the_boot_from_the_first_line_on(guest: QemuGuest) -> None:
    boot_text = guest.console()[: guest.boot_end]
    assert b"Linux version 5.10" in boot_text.partition(b"\n")[0]
    assert b"harness: ready " in boot_text.rstrip().rpartition(b"\n")[2]
    at = guest.console_size()
    guest.run("echo a marker of mine >/dev/kmsg")
    assert wait_for(lambda: b"a marker of mine" in guest.console(at), 10)


def test_pools_and_nodes_are_as_declared(guest: QemuGuest) -> None:
    done = guest.run("cat /sys/devices/system/node/node*/hugepages/hugepages-2048kB/nr_hugepages")
    assert done.out.split() == [b"16", b"16"]
    assert guest.console().count(b"asked 16 got 16") == 2
    cpus = guest.run("cat /sys/devices/system/node/node*/cpulist")
    assert cpus.out.split() == [b"0", b"1"]
    assert b"topology_sane" not in guest.console()


def test_a_command_is_killed_with_all_it_started(guest: QemuGuest) -> None:
    running = guest.start("sleep 1234 & sleep 1234 & echo up; wait")
    assert wait_for(lambda: running.so_far()[0] == b"up\n", 30)
    running.kill()
    assert wait_for(lambda: running.poll() is not None, 30)
    done = running.poll()
    assert done is not None
    assert (done.status, done.out) == (128 + signal.SIGKILL, b"up\n")
    assert guest.run("pgrep -f 'sleep 123[4]' || ps | grep -c 'sleep 123[4]'").out.strip() == b"0"


def test_a_command_that_leaves_its_output_open_ends(guest: QemuGuest) -> None:
    assert guest.run("sleep 60 & echo done", timeout=30).out == b"done\n"


def test_a_command_that_prints_without_end_is_cut_off(
    guest: QemuGuest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.guest.ssh.MAX_STREAM", 100_000)
    done = guest.run("head -c 300000 /dev/zero; echo end >&2")
    assert done.status == 0
    assert done.out == bytes(100_000) + b"\n[cut off by the harness]\n"
    assert done.err == b"end\n"


def test_a_command_without_end_is_given_up(guest: QemuGuest) -> None:
    with pytest.raises(GuestLost, match=r"no end within 0\.5 s"):
        guest.run("sleep 300", timeout=0.5)
    assert guest.life() == ()


def test_commands_start_while_others_end(guest: QemuGuest) -> None:
    """dropbear refused 6 of 136 such commands."""

    def beside_another(delay: float) -> bytes:
        other = guest.start("sleep 0.1")
        time.sleep(delay)
        out = guest.run("echo here", timeout=30).out
        assert wait_for(lambda: other.poll() is not None, 30)
        return out

    for turn in range(50):
        assert beside_another(0.1 + turn % 10 * 0.02) == b"here\n"


def test_what_is_brought_arrives_whole_and_waits(guest: QemuGuest) -> None:
    content = os.urandom(300_000)
    asked = ["cat; echo one", "echo two >&2"]
    load = Load(content, "/tmp/with space")
    begun = begin(
        guest, "n", load, asked, "cat /tmp/with\\ space | sha256sum; sleep 1; cat; exit 7"
    )
    assert begun.said == ["one\n", ""]
    assert guest.run("stat -c %a '/tmp/with space'").out == b"755\n"
    time.sleep(0.5)
    assert begun.poll() is None
    assert begun.so_far() == (b"", b"")
    begun.go()
    assert wait_for(lambda: begun.poll() is not None, 30)
    done = begun.poll()
    assert done
    assert (done.status, done.err) == (7, b"")
    assert done.out.decode() == f"{hashlib.sha256(content).hexdigest()}  -\n"


def test_what_waits_is_ended_without_the_word(guest: QemuGuest) -> None:
    begun = begin(guest, "n", Load(b"x", "/tmp/x", 0o600), ["true"], "touch /tmp/went")
    begun.kill()
    assert wait_for(lambda: begun.poll() is not None, 30)
    assert guest.run("ls /tmp/went").status != 0
    assert guest.run("stat -c %a /tmp/x").out == b"600\n"


def test_what_finds_no_place_is_told(guest: QemuGuest) -> None:
    with pytest.raises(GuestLost, match="bringing /no/where"):
        begin(guest, "n", Load(bytes(300_000), "/no/where"), ["true"], "true")


def test_only_this_runs_key_logs_in(guest: QemuGuest) -> None:
    for options in ({"pkey": paramiko.RSAKey.generate(2048)}, {"password": ""}):
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        with pytest.raises(paramiko.SSHException):
            client.connect(
                guest.address.host,
                port=guest.address.port,
                username="root",
                allow_agent=False,
                look_for_keys=False,
                timeout=60,
                banner_timeout=60,
                auth_timeout=60,
                **options,
            )
        client.close()


def test_the_run_folder_is_private_and_keeps_no_secret(guest: QemuGuest) -> None:
    console = next(w for w in guest.command if "id=console" in w).partition("path=")[2]
    folder = Path(console).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {file.name for file in folder.iterdir()} == {"console.log", "pulse.log", "qemu.log"}


def test_two_guests_at_once_do_not_meet(guest: QemuGuest, start: Start) -> None:
    with start() as other:
        assert other.address.port != guest.address.port
        other.run("echo only here >/tmp/mark")
        assert guest.run("cat /tmp/mark").status != 0
        registers = other.postmortem()
    assert registers.count("RIP=") == 2
    assert guest.run("true").status == 0
    assert guest.life() == ()


def test_a_guest_is_reached_as_a_remote_machine(guest: QemuGuest, tmp_path: Path) -> None:
    key, known = guest.write_access(tmp_path)
    target = f"root@{guest.address.host}:{guest.address.port}"
    with connect(target, key, Progress(), known_hosts=known) as remote:
        assert b"Linux version 5.10" in remote.console()[: remote.boot_end]
        assert remote.run("echo hi").out == b"hi\n"
        remote.run("echo seen from afar >/dev/kmsg")
        assert wait_for(lambda: b"seen from afar" in remote.console(remote.boot_end), 20)
        assert re.search(rb"\[ *\d+\.\d{6}\]\[ *T\d+\] seen from afar\n", remote.console())
        assert remote.life() == ()
    line = known.read_text()
    known.write_text("")
    with pytest.raises(UsageError, match="host key is not in"):
        connect(target, key, Progress(), known_hosts=known)
    other = paramiko.Ed25519Key.from_private_key_file(str(key))  # right type, wrong key
    known.write_text(f"{line.split()[0]} ssh-ed25519 {other.get_base64()}\n")
    with pytest.raises(UsageError, match="host key is not the one"):
        connect(target, key, Progress(), known_hosts=known)


def end_by(guest: QemuGuest, command: str) -> LifeEvent:
    """Run ``command``, which kills the guest, beside one that waits; give the first event."""
    waiting: list[BaseException] = []

    def wait() -> None:
        try:
            guest.run("sleep 600", timeout=600)
        except GuestLost as error:
            waiting.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    running = guest.start(command)
    assert wait_for(lambda: bool(guest.life()), 60), running.so_far()
    running.kill()  # returns, also now
    thread.join(10)
    assert len(waiting) == 1
    with pytest.raises(GuestLost):
        guest.run("true")
    return guest.life()[0].event


def test_a_panic_is_seen_and_its_text_is_kept(start: Start) -> None:
    with start(append=["oops=panic"]) as guest:
        assert end_by(guest, "echo c >/proc/sysrq-trigger") is LifeEvent.PANICKED
        assert wait_for(lambda: b"end Kernel panic" in guest.console(guest.boot_end), 10)
        assert guest.life()[0].event.kernel
        postmortem = guest.postmortem()
        assert postmortem.count("RIP=") == 2
        pid = guest.pid
    assert not Path(f"/proc/{pid}").exists()
    assert "QMP" in guest.postmortem()  # of an ended guest: says so, does not raise
    guest.end()


def test_a_reboot_is_seen(start: Start) -> None:
    with start() as guest:
        assert end_by(guest, "reboot -f") is LifeEvent.RESET


def test_a_shutdown_is_seen(start: Start) -> None:
    with start() as guest:
        assert end_by(guest, "poweroff -f") is LifeEvent.SHUTDOWN


def test_a_qemu_that_is_stopped_or_killed_is_seen(start: Start) -> None:
    with start() as guest:
        os.kill(guest.pid, signal.SIGSTOP)
        with pytest.raises(GuestLost, match="stopped"):
            guest.run("sleep 600", timeout=600)
        assert guest.life()[0].event is LifeEvent.QEMU_STOPPED
        assert not guest.life()[0].event.kernel
        os.kill(guest.pid, signal.SIGKILL)
        assert wait_for(lambda: len(guest.life()) > 1, 10)
        assert guest.life()[1].event is LifeEvent.QEMU_GONE
        assert "signal 9" in guest.life()[1].detail


def test_user_space_that_stands_still_is_seen(start: Start) -> None:
    with start() as guest:
        stop_pulse = (
            "for p in /proc/[0-9]*; do case $(readlink $p/fd/1) in "
            "*ttyS1) kill -STOP ${p#/proc/};; esac; done"
        )
        assert end_by(guest, stop_pulse + "; sleep 600") is LifeEvent.PULSE_LOST


def test_a_pulse_that_is_written_over_is_seen(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would hide a beat that stops, and its file would grow until the host's disk is full."""
    monkeypatch.setattr("harness.guest.monitor.PULSE_MOST", 1 << 14)
    with start() as guest:
        assert end_by(guest, "yes > /dev/ttyS1 & sleep 600") is LifeEvent.PULSE_FLOODED
        assert not guest.life()[0].event.kernel


def test_a_silent_ssh_link_is_seen(start: Start) -> None:
    """The guest lives on; only the server that holds the link says nothing any more."""
    with start() as guest:
        stop_link = "kill -STOP $(pidof dropbear); sleep 600"
        assert end_by(guest, stop_link) is LifeEvent.SSH_LOST
        assert not guest.life()[0].event.kernel


def test_a_kernel_that_panics_at_boot_ends_the_boot(start: Start) -> None:
    with pytest.raises(BootError, match="Kernel panic - not syncing") as caught:
        start(append=["rdinit=/no/init", "init=/no/init"])
    assert caught.value.hint.endswith("console.log")


def test_a_boot_that_takes_too_long_is_given_up(start: Start) -> None:
    with pytest.raises(BootError, match="not ready within 1 s"):
        start(timeout=1.0, cold=True)


def test_what_qemu_says_when_it_does_not_start_is_quoted(
    debug_kernel: BuiltKernel, tmp_path: Path
) -> None:
    machine = replace(load_machine("two-nodes"), devices=("no-such-device",))
    for cold in (False, True):
        with pytest.raises(EnvironmentFault, match="'no-such-device' is not a valid device"):
            boot(
                *(debug_kernel, machine),
                run_dir=tmp_path,
                accel=Accel.TCG,
                progress=Progress(),
                cold=cold,
            )
    assert not qemu_of(tmp_path)


HARNESS = """
import sys
from pathlib import Path
from harness.guest.accel import Accel
from harness.guest.boot import boot
from harness.kernel.built import BuiltKernel
from harness.progress import Progress
from harness.spec.machine import load_machine
from harness.trial.prologue import begin
run_dir, image, config = map(Path, sys.argv[1:])
kernel = BuiltKernel("k", "id", "5.10", image, config)
machine = load_machine("two-nodes")
boot(kernel, machine, run_dir=run_dir, accel=Accel.TCG, progress=Progress(), cold=True)
"""


def test_no_qemu_outlives_a_killed_harness(debug_kernel: BuiltKernel, tmp_path: Path) -> None:
    harness = subprocess.Popen(
        [sys.executable, "-c", HARNESS, tmp_path, debug_kernel.image, debug_kernel.config]
    )
    try:
        assert wait_for(lambda: bool(qemu_of(tmp_path)), 60)
        time.sleep(0.5)
        assert qemu_of(tmp_path)
    finally:
        harness.kill()
        harness.wait(10)
    assert wait_for(lambda: not qemu_of(tmp_path), 10)


def test_a_qemu_that_crashes_before_the_guest_is_ready_is_started_again(
    start: Start, tmp_path: Path
) -> None:
    """The crash is not the kernel's; it is told, and its console is kept."""

    class Crashing(Progress):
        said: tuple[str, ...] = ()

        def say(self, text: str) -> None:
            self.said += (text,)

    progress = Crashing()
    run_dir = tmp_path / "run"

    def crash() -> None:
        console = run_dir / "console.log"
        wait_for(lambda: console.exists() and console.stat().st_size > 0, 120)
        for pid in qemu_of(run_dir):
            os.kill(pid, signal.SIGSEGV)

    thread = threading.Thread(target=crash)
    thread.start()
    with start(progress=progress, run_dir=run_dir, cold=True) as guest:
        thread.join()
        assert guest.run("true").status == 0
    assert any("crashed by signal 11" in line for line in progress.said)
    assert b"Linux version" in (run_dir / "console.crash1.log").read_bytes()


def test_a_boot_that_stands_still_is_tried_again_and_then_told(
    debug_kernel: BuiltKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.guest.start.STUCK", 0.3)  # acpi_init alone is silent for longer
    run_dir = tmp_path / "run"
    with pytest.raises(BootError, match=r"printed nothing for 0\.3 s"):
        boot(
            debug_kernel,
            load_machine("two-nodes"),
            run_dir=run_dir,
            accel=Accel.TCG,
            progress=Progress(),
            cold=True,
        )
    for number in (1, 2):
        assert (run_dir / f"console.stuck{number}.log").is_file()
    assert "RIP=" in (run_dir / "stuck.txt").read_text()
    assert not qemu_of(run_dir)
