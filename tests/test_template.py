"""Templates: what makes two guests one template's, and what a copy has of its own."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.cli import main
from harness.errors import EnvironmentFault
from harness.guest import boot as boot_module
from harness.guest import template
from harness.guest.accel import Accel
from harness.guest.boot import boot
from harness.guest.seam import LifeEvent, wait_for
from harness.guest.start import Setup
from harness.guest.vm import QemuGuest
from harness.kernel.built import BuiltKernel
from harness.progress import Progress
from harness.spec.machine import load_machine


@pytest.fixture
def kernel(tmp_path: Path) -> BuiltKernel:
    image = tmp_path / "bzImage"
    image.write_bytes(b"a kernel")
    return BuiltKernel("k", "0", "5.10.218", image, tmp_path / "config")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HUGETLB_HARNESS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def kept(cache: Path, key: str, size: int, used: float) -> Path:
    folder = cache / "templates" / key
    folder.mkdir(parents=True)
    (folder / "mem0").write_bytes(b"x" * size)
    (folder / "template.json").write_text(json.dumps({"kernel": "k", "machine": "m"}))
    os.utime(folder, (used, used))
    return folder


def test_key_tells_apart_what_boots_differently(kernel: BuiltKernel, tmp_path: Path) -> None:
    two = load_machine("two-nodes")
    setup = Setup(kernel, two, tmp_path, Accel.TCG)
    key = template.key_of(setup)
    assert template.key_of(replace(setup, run_dir=tmp_path / "other")) == key
    others = [
        replace(setup, machine=load_machine("four-nodes")),
        replace(setup, machine=replace(two, pools=())),
        replace(setup, append=("oops=panic",)),
        replace(setup, accel=Accel.KVM),
        replace(setup, kernel=replace(kernel, content_id="1")),
    ]
    keys = {template.key_of(other) for other in others}
    assert len(keys) == 5
    assert key not in keys
    kernel.image.write_bytes(b"another kernel at the same place")
    assert template.key_of(setup) != key


def test_template_used_least_recently_goes_first(cache: Path) -> None:
    for number, key in enumerate("abc"):
        kept(cache, key, 1 << 20, used=1e9 + number)
    assert [found.key for found in template.templates()] == ["c", "b", "a"]
    assert all(1 << 20 <= found.bytes < 2 << 20 for found in template.templates())
    assert [gone.key for gone in template.shrink_to(5 << 19)] == ["a"]
    assert [found.key for found in template.templates()] == ["c", "b"]


def test_template_that_is_being_copied_stays(cache: Path) -> None:
    import fcntl

    folder = kept(cache, "a", 10, used=1e9)
    with template._lock("a", fcntl.LOCK_SH):
        assert not template.remove("a")
        assert folder.exists()
    assert template.remove("a")
    assert not folder.exists()


def test_limit_of_nothing_switches_templates_off(
    kernel: BuiltKernel, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(template.VARIABLE, "0")
    setup = Setup(kernel, load_machine("two-nodes"), tmp_path, Accel.TCG)
    with pytest.raises(template.Unusable, match="switched off"):
        template.fresh_copy(setup, Progress(), 1.0)
    monkeypatch.setenv(template.VARIABLE, "many")
    with pytest.raises(EnvironmentFault, match="expected a number of MiB, got 'many'"):
        template.limit()


def test_prune_shows_and_removes(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, key in enumerate("abc"):
        kept(cache, key * 24, 1 << 20, used=1e9 + number)
    assert main(["prune", "--limit", "2", "--dry-run"]) == 0
    assert len(template.templates()) == 3
    assert main(["prune", "--limit", "2"]) == 0
    assert [found.key[0] for found in template.templates()] in (["c"], ["c", "b"])
    assert "removed" in capsys.readouterr().out
    assert main(["prune", "--all"]) == 0
    assert template.templates() == []
    assert capsys.readouterr().out.endswith("0 MiB of templates are kept, 0 are allowed\n")


class Telling(Progress):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def test_cold_boot_takes_over_and_says_so_once(
    kernel: BuiltKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unusable(*args: object) -> None:
        raise template.Unusable("QEMU is too old")

    monkeypatch.setattr(boot_module, "fresh_copy", unusable)
    booted = SimpleNamespace(pid=1, at_end=lambda call: call())
    monkeypatch.setattr(boot_module, "cold_boot", lambda *a: booted)
    monkeypatch.setattr(boot_module, "_told", set())
    progress = Telling()
    for _ in range(3):
        guest = boot(
            *(kernel, load_machine("two-nodes")),
            run_dir=tmp_path,
            accel=Accel.TCG,
            progress=progress,
        )
        assert guest is booted  # type: ignore[comparison-overlap]
    (line,) = progress.said
    assert "QEMU is too old; guests are booted instead" in line


Copy = Callable[..., QemuGuest]


@pytest.fixture(scope="module")
def copy(debug_kernel: BuiltKernel, accel: Accel, tmp_path_factory: pytest.TempPathFactory) -> Copy:
    def copy(progress: Progress | None = None, **more: object) -> QemuGuest:
        run_dir = tmp_path_factory.mktemp("copy") / "run"
        machine = load_machine("two-nodes")
        return boot(
            *(debug_kernel, machine),
            run_dir=run_dir,
            accel=accel,
            progress=progress or Progress(),
            **more,  # type: ignore[arg-type]
        )

    return copy


@pytest.fixture(scope="module")
def pair(copy: Copy) -> Iterator[tuple[QemuGuest, QemuGuest]]:
    with copy() as one, copy() as other:
        yield one, other


@pytest.mark.guest
def test_copies_share_a_boot_and_nothing_else(pair: tuple[QemuGuest, QemuGuest]) -> None:
    one, other = pair
    assert one.template == other.template != ""
    consoles = [guest.console(0)[: guest.boot_end] for guest in pair]
    same = consoles[0][: consoles[0].rindex(b"harness: ready")].rpartition(b"\n")[0]
    assert consoles[1].startswith(same)
    assert b"Linux version 5.10" in same.partition(b"\n")[0]
    assert b"pool 2M node 1 asked 16 got 16" in same
    assert one.address.port != other.address.port
    asked = (
        "cat /etc/dropbear/dropbear_ed25519_host_key /root/.ssh/authorized_keys | sha256sum",
        "head -c 16 /dev/urandom | od -x",
        "cat /proc/sys/kernel/random/uuid",
        "od -x -N 16 /dev/hwrng",
    )
    for command in asked:
        first, second = one.run(command), other.run(command)
        assert first.status == second.status == 0, command
        assert first.out != second.out, command
    one.run("echo mine >/tmp/mark; sync")
    assert other.run("cat /tmp/mark").status != 0


@pytest.mark.guest
def test_copy_knows_the_time_and_holds_no_key_of_its_template(copy: Copy) -> None:
    import time

    # Asked at once: a guest that gets half a CPU loses every other tick, and so does its clock.
    with copy() as one:
        now = int(one.run("date +%s").out)
        assert abs(now - time.time()) < 20
        public = one.run("cat /root/.ssh/authorized_keys").out.split()[1]
    folder = template._base() / one.template
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for file in sorted(folder.iterdir()):
        assert public not in file.read_bytes(), file


@pytest.mark.guest
def test_what_a_copy_does_to_its_memory_reaches_no_other(copy: Copy) -> None:
    """One dies by panic; the next copy starts as if nothing had been."""
    with copy() as guest:
        guest.start("echo c >/proc/sysrq-trigger")
        assert wait_for(lambda: bool(guest.life()), 60)
        assert guest.life()[0].event is LifeEvent.PANICKED
        template_of_it = guest.template
    with copy() as guest:
        assert guest.template == template_of_it
        assert b"Kernel panic" not in guest.console(0)
        assert guest.run("cat /proc/sys/kernel/tainted").out == b"0\n"
        assert guest.life() == ()


@pytest.mark.guest
def test_template_that_cannot_be_restored_is_replaced(copy: Copy, tmp_path: Path) -> None:
    with copy(append=["harness.test=1"]) as guest:
        folder = template._base() / guest.template
    (folder / "state").write_bytes(b"not what QEMU wrote")
    progress = Telling()
    with copy(progress, append=["harness.test=1"]) as guest:
        assert guest.template == ""  # booted
        assert guest.run("true").status == 0
    assert any("guests are booted instead" in line for line in progress.said)
    assert not folder.exists()
