"""Who can reach whom: no key of the user's, no port for others, no way out of a guest."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from harness.commands.guests import _ssh
from harness.guest.accel import Accel
from harness.guest.boot import boot
from harness.guest.keeper import Kept
from harness.guest.seam import wait_for
from harness.guest.ssh import MAX_STREAM
from harness.guest.vm import QemuGuest
from harness.kernel.built import BuiltKernel
from harness.progress import Progress
from harness.record.folder import RunFolder
from harness.spec.machine import load_machine


class Ears:
    """Sockets that note who comes."""

    def __init__(self, undo: ExitStack, folder: Path) -> None:
        self.heard: list[str] = []
        server = socket.create_server(("127.0.0.1", 0))
        self.port = int(server.getsockname()[1])
        self._listen(undo, "port", server)
        agent = socket.socket(socket.AF_UNIX)
        agent.bind(str(folder / "agent"))
        agent.listen()
        self.agent = str(folder / "agent")
        self._listen(undo, "agent", agent)

    def _listen(self, undo: ExitStack, name: str, server: socket.socket) -> None:
        undo.callback(server.close)

        def serve() -> None:
            try:
                while True:
                    server.accept()[0].close()
                    self.heard.append(name)
            except OSError:
                pass

        threading.Thread(target=serve, daemon=True).start()


@pytest.fixture(scope="module")
def ears(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ears]:
    with ExitStack() as undo:
        yield Ears(undo, tmp_path_factory.mktemp("ears"))


@pytest.fixture(scope="module")
def guest(
    ears: Ears, debug_kernel: BuiltKernel, accel: Accel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[QemuGuest]:
    """Started in a home whose keys cannot be read without waiting for ever."""
    home = tmp_path_factory.mktemp("home")
    (home / ".ssh").mkdir(mode=0o700)
    for name in ("id_rsa", "id_ed25519", "id_ecdsa", "config", "known_hosts"):
        os.mkfifo(home / ".ssh" / name)
    with pytest.MonkeyPatch.context() as patched:
        # The cache is where it was.
        patched.setenv("XDG_CACHE_HOME", str(Path("~/.cache").expanduser()))
        patched.setenv("HOME", str(home))
        patched.setenv("SSH_AUTH_SOCK", ears.agent)
        with boot(
            *(debug_kernel, load_machine("two-nodes")),
            run_dir=tmp_path_factory.mktemp("alone") / "run",
            accel=accel,
            progress=Progress(),
        ) as guest:
            yield guest


@pytest.mark.guest
def test_no_key_of_the_users_is_read(guest: QemuGuest, ears: Ears) -> None:
    assert guest.run("true").status == 0
    assert "agent" not in ears.heard


@pytest.mark.guest
@pytest.mark.skipif(not shutil.which("ss"), reason="there is no ss")
def test_nothing_listens_but_on_the_loopback(guest: QemuGuest) -> None:
    said = subprocess.run(["ss", "-Hltunp"], capture_output=True, text=True, check=True).stdout
    mine = [line.split() for line in said.splitlines() if f"pid={guest.pid}," in line]
    assert [words[4] for words in mine] == [f"127.0.0.1:{guest.address.port}"]


@pytest.mark.guest
def test_guest_reaches_nothing(guest: QemuGuest, ears: Ears) -> None:
    with socket.create_connection(("127.0.0.1", ears.port)):
        assert wait_for(lambda: "port" in ears.heard, 10)  # it would be heard
    ears.heard.clear()
    guest.run("route add default gw 10.0.2.2")
    for host in ("10.0.2.2", "127.0.0.1", "10.0.2.3", "192.0.2.1"):
        done = guest.run(f"echo x | timeout 4 nc -w 3 {host} {ears.port}", timeout=30)
        assert done.status != 0, host
    assert ears.heard == []


@pytest.mark.guest
def test_file_without_end_is_cut_off(guest: QemuGuest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten gigabytes would take an hour to come; what is kept of them is known before."""
    assert MAX_STREAM <= 1 << 25
    monkeypatch.setattr("harness.guest.ssh.MAX_STREAM", 1 << 20)
    running = guest.start("cat /dev/zero")
    assert wait_for(lambda: running.so_far()[0].endswith(b"[cut off by the harness]\n"), 120)
    assert len(running.so_far()[0]) < (1 << 20) + 100
    running.kill()
    assert wait_for(lambda: running.poll() is not None, 60)
    assert guest.life() == ()


def test_run_folders_are_private(tmp_path: Path) -> None:
    folder = RunFolder(["harness", "run"], tmp_path / "results")
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    for title in ("../../x", "/etc/passwd", "..", "a\0b", "\x1b]0;x\x07"):
        path = folder.trial_folder(title)
        assert path.parent == folder.path
        assert set(path.name) <= set("0123456789-._abcdefghijklmnopqrstuvwxyz")


def test_shell_uses_this_guests_key_alone() -> None:
    kept = Kept("g", 1, 2, "k", "m", 4022, "/key", "/known", "/console")
    words = _ssh(kept)
    assert words[1:5] == ["-F", "none", "-i", "/key"]
    for option in ("IdentitiesOnly=yes", "IdentityAgent=none", "StrictHostKeyChecking=yes"):
        assert option in words
    assert words[-1] == "root@127.0.0.1"
