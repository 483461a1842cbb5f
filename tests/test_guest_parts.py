"""The guest room without a guest."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import stat
import struct
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest

from harness.commands import guests
from harness.errors import EnvironmentFault, SpecError, UsageError
from harness.guest import accel as accel_module
from harness.guest import admission, cpio, rootfs
from harness.guest.accel import Accel, boot_sector, choose, probe
from harness.guest.keeper import Kept
from harness.guest.keys import make_keys
from harness.guest.kmsg import KmsgLines
from harness.guest.life import LifeLog, PanicText, Quiet
from harness.guest.lived import Lived, waits
from harness.guest.qemu import (
    GIB,
    Launch,
    command,
    gigantic_pools,
    kernel_arguments,
    pasteable,
    version,
)
from harness.guest.remote import connect, parse_target
from harness.guest.seam import LifeEvent
from harness.guest.start import CLEARING, Setup
from harness.kernel.built import BuiltKernel
from harness.progress import Progress
from harness.spec.machine import MachineSpec, Pool, load_machine
from harness.stop import Stop


def launch(machine: MachineSpec, **more: object) -> Launch:
    base = Launch(
        image=Path("/k/bzImage"),
        release="5.10.218",
        initrd=Path("/r/initrd"),
        machine=machine,
        accel=Accel.TCG,
        console=Path("/r/console.log"),
        pulse=Path("/r/pulse.log"),
        qmp=7,
        agent=8,
    )
    return replace(base, **more)  # type: ignore[arg-type]


def values(argv: list[str], option: str) -> list[str]:
    return [argv[i + 1] for i, word in enumerate(argv) if word == option]


def test_two_nodes_have_memory_and_a_socket_each() -> None:
    argv = command(launch(load_machine("two-nodes")))
    assert values(argv, "-numa") == [
        "node,nodeid=0,memdev=mem0,cpus=0-0",
        "node,nodeid=1,memdev=mem1,cpus=1-1",
    ]
    assert values(argv, "-object") == [
        "memory-backend-ram,id=mem0,size=768M",
        "memory-backend-ram,id=mem1,size=512M",
    ]
    assert values(argv, "-m") == ["1280M"]
    assert values(argv, "-smp") == ["2,sockets=2,cores=1,threads=1"]


def test_a_memoryless_node_has_no_backend_and_distances_are_given() -> None:
    argv = command(launch(load_machine("four-nodes")))
    numa = values(argv, "-numa")
    assert "node,nodeid=3,cpus=3-3" in numa
    assert "dist,src=0,dst=3,val=40" in numa
    assert len(values(argv, "-object")) == 3


def test_nothing_listens_beyond_this_host() -> None:
    argv = command(launch(load_machine("two-nodes")))
    (net,) = values(argv, "-netdev")
    assert "hostfwd=tcp:127.0.0.1:0-:22" in net
    assert "restrict=on" in net
    assert not {"-vnc", "-spice", "-gdb", "-s", "-monitor", "-qmp"} & set(argv)


def test_the_line_for_people_has_no_inherited_descriptor() -> None:
    argv = command(launch(load_machine("two-nodes")))
    shown = pasteable(argv)
    assert not [word for word in shown if "qmp" in word or "fd=" in word]
    assert len(argv) - len(shown) == 4
    assert values(shown, "-chardev")[1] == "null,id=pulse"


def test_the_line_for_people_boots_what_a_template_was_made_of() -> None:
    machine = load_machine("two-nodes")
    copy = command(launch(machine, memory=Path("/t,x"), copy=True))
    assert values(copy, "-incoming") == ["defer"]
    assert values(copy, "-object")[1] == (
        "memory-backend-file,id=mem1,size=512M,mem-path=/t,,x/mem1,share=off"
    )
    assert pasteable(copy) == pasteable(command(launch(machine)))
    made = command(launch(machine, memory=Path("/t")))
    assert [word.rpartition("=")[2] for word in values(made, "-object")] == ["on", "on"]
    assert not values(made, "-incoming")


def test_a_comma_in_a_path_does_not_end_it() -> None:
    argv = command(launch(load_machine("two-nodes"), console=Path("/a,b/console.log")))
    assert "file,id=console,path=/a,,b/console.log,append=on" in values(argv, "-chardev")


def test_the_callers_arguments_come_last_and_nothing_silences_the_console() -> None:
    words = kernel_arguments(load_machine("two-nodes"), "5.10.218", ["oops=panic"])
    assert words[-1] == "oops=panic"
    assert "ignore_loglevel" in words
    assert "quiet" not in words
    assert "harness.pools=2M:16,16" in words


@pytest.mark.parametrize(
    ("release", "wanted"),
    [
        ("5.10.218", "hugepages=2"),
        ("5.15.0-rc1", "hugepages=2"),
        ("5.16.0", "hugepages=0:1,1:1"),
        ("6.1.0-44-cloud-amd64", "hugepages=0:1,1:1"),
    ],
)
def test_gigantic_pages_are_asked_for_as_the_release_can(release: str, wanted: str) -> None:
    pools = [Pool(2 << 20, (16, 16)), Pool(GIB, (1, 1))]
    assert gigantic_pools(pools, release) == ("default_hugepagesz=2M", "hugepagesz=1G", wanted)


def test_no_gigantic_pool_asks_for_none() -> None:
    assert gigantic_pools([Pool(2 << 20, (16, 16)), Pool(GIB, (0, 0))], "6.1.0") == ()


def test_versions() -> None:
    assert version("6.12.30+bpo-cloud-amd64") == (6, 12)
    assert version("next") == (0, 0)


def test_an_archive_is_what_cpio_reads(tmp_path: Path) -> None:
    first = cpio.archive(
        [
            cpio.file("bin/tool", b"#!x\n" * 999, 0o755),
            cpio.link("bin/link", "tool"),
            cpio.file("etc/odd", b"abc"),
        ]
    )
    assert first == cpio.archive(
        [
            cpio.file("/bin/tool", b"#!x\n" * 999, 0o755),
            cpio.link("/bin/link", "tool"),
            cpio.file("/etc/odd", b"abc"),
        ]
    )
    assert len(first) % 512 == 0  # archives are joined end to end
    subprocess.run(
        ["busybox", "cpio", "-idm"], input=first, cwd=tmp_path, check=True, capture_output=True
    )
    assert (tmp_path / "bin/tool").read_bytes() == b"#!x\n" * 999
    assert stat.S_IMODE((tmp_path / "bin/tool").stat().st_mode) == 0o755
    assert os.readlink(tmp_path / "bin/link") == "tool"  # noqa: PTH115
    assert (tmp_path / "etc/odd").read_bytes() == b"abc"


def test_the_root_file_system_is_found_again_and_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUGETLB_HARNESS_CACHE", str(tmp_path))
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "modules.load").write_text("b.ko\na.ko\n")
    (modules / "a.ko").write_bytes(b"A")
    (modules / "b.ko").write_bytes(b"B")
    plain = BuiltKernel("k", "id", "5.10", tmp_path / "image", tmp_path / "config")
    root = rootfs.initramfs(plain)
    assert rootfs.initramfs(plain) == root
    with_modules = rootfs.initramfs(replace(plain, modules=modules))
    assert with_modules != root
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    with with_modules.open("rb") as archive:
        subprocess.run(
            ["busybox", "cpio", "-id"], stdin=archive, cwd=unpacked, check=True, stderr=-3
        )
    assert (unpacked / "lib/modules/load").read_text() == "/lib/modules/b.ko\n/lib/modules/a.ko\n"
    assert (unpacked / "lib/modules/a.ko").read_bytes() == b"A"
    dropbear = shutil.which("dropbear", path="/usr/sbin:/sbin:/usr/bin:/bin")
    assert dropbear
    for name in rootfs.needed_libraries(Path(dropbear)):
        assert (unpacked / name.lstrip("/")).stat().st_size > 0
    assert os.access(unpacked / "init", os.X_OK)
    assert not list(unpacked.rglob("*hostkey*"))  # secrets are never in the cache


def test_a_program_that_the_host_lacks_is_named(tmp_path: Path) -> None:
    declaration = tmp_path / "root.yaml"
    declaration.write_text("programs:\n  /bin/x: no-such-program-here\n")
    plain = BuiltKernel("k", "id", "5.10", tmp_path / "image", tmp_path / "config")
    with pytest.raises(EnvironmentFault, match="no-such-program-here"):
        rootfs.initramfs(plain, rootfs.load_root(declaration))


@pytest.mark.parametrize(
    "text",
    [
        "programs:\n  bin/x: busybox\n",
        "programs:\n  /../x: busybox\n",
        "programs:\n  /bin/x: busybox\nunknown: 1\n",
        "files:\n  /init: not-there\n",
        "applets: /bin/busybox\n",
    ],
)
def test_a_wrong_root_declaration_is_refused(tmp_path: Path, text: str) -> None:
    declaration = tmp_path / "root.yaml"
    declaration.write_text(text)
    with pytest.raises(SpecError, match=r"root\.yaml"):
        rootfs.load_root(declaration)


def test_keys_are_what_paramiko_and_dropbear_read(tmp_path: Path) -> None:
    keys = make_keys()
    assert keys.client_key().get_base64() == keys.client_public.split()[1]
    (length,) = struct.unpack(">I", keys.host[:4])
    assert keys.host[4 : 4 + length] == b"ssh-ed25519"
    file = tmp_path / "hostkey"
    file.write_bytes(keys.host)
    shown = subprocess.run(
        ["dropbearkey", "-y", "-f", str(file)], capture_output=True, text=True, check=True
    ).stdout
    assert keys.host_public.split()[1] in shown
    assert isinstance(keys.host_key(), paramiko.PKey)
    assert keys.client not in repr(keys)
    assert make_keys().nonce != keys.nonce


def test_the_probe_ends_under_emulation() -> None:
    assert len(boot_sector()) == 512
    assert probe(Accel.TCG, 60)


def test_the_probe_of_a_machine_that_hangs_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    hang = b"\xeb\xfe".ljust(510, b"\0") + b"\x55\xaa"
    monkeypatch.setattr(accel_module, "boot_sector", lambda: hang)
    assert not probe(Accel.TCG, 2)


def test_the_answer_of_the_probe_is_remembered_for_this_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probes: list[Accel] = []

    def probed(accel: Accel) -> bool:
        probes.append(accel)
        return True

    device = tmp_path / "kvm"
    device.write_bytes(b"")
    monkeypatch.setenv("HUGETLB_HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(accel_module.VARIABLE, raising=False)
    monkeypatch.setattr(accel_module, "probe", probed)
    monkeypatch.setattr(accel_module, "KVM_DEVICE", device)
    assert choose(Progress()) is Accel.KVM
    assert choose(Progress()) is Accel.KVM
    assert probes == [Accel.KVM]
    device.chmod(0o666)  # another device: asked again
    assert choose(Progress()) is Accel.KVM
    assert len(probes) == 2
    memory = tmp_path / "cache" / "accel.json"
    memory.write_text(json.dumps(dict.fromkeys(json.loads(memory.read_text()), "nonsense")))
    assert choose(Progress()) is Accel.KVM
    assert len(probes) == 3


def test_the_choice_can_be_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(accel_module.VARIABLE, "kvm")
    assert choose(Progress()) is Accel.KVM
    assert choose(Progress(), "tcg") is Accel.TCG
    monkeypatch.setenv(accel_module.VARIABLE, "xen")
    with pytest.raises(UsageError, match="HUGETLB_HARNESS_ACCEL"):
        choose(Progress())
    with pytest.raises(UsageError, match="--accel"):
        choose(Progress(), "xen")


def test_too_little_memory_is_told_with_numbers() -> None:
    machine = load_machine("two-nodes")
    huge = replace(machine, nodes=(replace(machine.nodes[0], memory=1 << 50),))
    with pytest.raises(EnvironmentFault, match=r"1073741824.*available are \d+ MiB"):
        admission.admit(huge)


def test_guest_waits_for_the_memory_of_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for two, of which the first has taken little: the third comes when one has ended."""
    machine = load_machine("two-nodes")
    need = machine.memory + admission.OVERHEAD
    monkeypatch.setattr(admission, "_admitted", [])
    monkeypatch.setattr(admission, "memory_available", lambda: 5 * need // 2)
    monkeypatch.setattr(admission, "_LOOK", 0.01)
    first, second = admission.admit(machine), admission.admit(machine)
    with pytest.raises(EnvironmentFault, match=f"available are {need // 2 >> 20} MiB"):
        admission.admit(machine)
    came = threading.Event()

    def third() -> None:
        admission.admit(machine, Stop())
        came.set()

    thread = threading.Thread(target=third, daemon=True)
    thread.start()
    assert not came.wait(0.2)
    first.release()
    first.release()
    assert came.wait(20)
    thread.join()
    stop = Stop()
    stop.set()
    with pytest.raises(EnvironmentFault):
        admission.admit(machine, stop)
    monkeypatch.setattr(admission, "_private", lambda pid: need)
    admission.admit(machine).release()  # what the others have taken they take no more
    second.release()


def test_life_keeps_the_first_of_each_kind_and_nothing_after_its_end() -> None:
    log = LifeLog()
    log.add(LifeEvent.PANICKED, "first")
    log.add(LifeEvent.PANICKED, "second")
    log.add(LifeEvent.SSH_LOST)
    log.close()
    log.add(LifeEvent.QEMU_GONE)
    assert [(life.event, life.detail) for life in log.events()] == [
        (LifeEvent.PANICKED, "first"),
        (LifeEvent.SSH_LOST, ""),
    ]


def test_panic_text_is_found_across_a_cut() -> None:
    panic = PanicText()
    assert panic.feed(b"[ 1.0] Kernel pan") == ""
    assert panic.feed(b"ic - not syncing: Fatal exception\r\nmore") == (
        "Kernel panic - not syncing: Fatal exception"
    )


def test_quiet_counts_only_what_it_saw(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("harness.guest.life.time.monotonic", lambda: now)
    quiet = Quiet(step=1.0)
    quiet.look(1)
    now += 0.5
    assert quiet.look(1) == 0.5
    now += 3600  # the watcher was suspended, and the guest with it
    assert quiet.look(1) == 1.5
    assert quiet.look(2) == 0


def test_guest_that_waits_for_the_host_has_not_lived(monkeypatch: pytest.MonkeyPatch) -> None:
    now, waited = 100.0, {1: 5.0, 2: 0.0}
    monkeypatch.setattr("harness.guest.lived.time.monotonic", lambda: now)
    lived = Lived(1, lambda pid: waited)
    now += 10
    waited = {1: 14.0, 2: 3.0}
    assert lived.seconds() == 1.0
    now += 10  # idle, or at work: it had its CPUs
    assert lived.seconds() == 11.0
    waited = {1: 17.0, 2: 3.0, 9: 1.0}  # a wait that was under way is told when it is over
    assert lived.seconds() == 11.0
    waited = {}
    assert lived.seconds() == 20.0


def test_waits_are_those_of_each_thread() -> None:
    assert all(seconds >= 0 for seconds in waits(os.getpid()).values())
    assert waits(2**22 + 1) == {}


def test_quiet_goes_by_the_guests_clock() -> None:
    now = 0.0
    quiet = Quiet(lambda: now, step=1.0)
    quiet.look(1)
    now = 0.25
    assert quiet.look(1) == 0.25


def test_kmsg_records_become_console_lines() -> None:
    lines = KmsgLines()
    first = b"6,1,5140900,-,caller=T1;one;two\n SUBSYSTEM=pci\n4,2,12"
    assert lines.feed(first) == b"[    5.140900][    T1] one;two\n"
    assert lines.feed(b"000042,-;three\n") == b"[   12.000042] three\n"
    # Started again at the oldest record.
    assert lines.feed(b"6,1,5140900,-;one;two\n4,3,13000000,-;four\n") == b"[   13.000000] four\n"


@pytest.mark.parametrize(
    ("target", "parsed"),
    [
        ("root@lab", ("root", "lab", 22)),
        ("root@10.0.0.1:2222", ("root", "10.0.0.1", 2222)),
        ("root@[fe80::1]:2222", ("root", "fe80::1", 2222)),
    ],
)
def test_targets(target: str, parsed: tuple[str, str, int]) -> None:
    assert parse_target(target) == parsed


@pytest.mark.parametrize("target", ["", "root@", "root@a:0", "root@a:99999", "a b", "a:b:c"])
def test_wrong_targets(target: str) -> None:
    with pytest.raises(UsageError, match="user@host"):
        parse_target(target)


def test_a_host_that_does_not_answer_is_the_environments_fault(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match="no SSH connection"):
        connect("root@127.0.0.1:1", None, Progress(), known_hosts=None)
    with pytest.raises(UsageError, match="no such file"):
        connect("root@127.0.0.1:1", tmp_path / "key", Progress())


def test_a_boot_that_clears_gigantic_pages_may_be_silent_for_longer(tmp_path: Path) -> None:
    kernel = BuiltKernel("k", "id", "5.10", Path("bzImage"), Path("config"))

    def clearing(machine: str, accel: Accel) -> float:
        return Setup(kernel, load_machine(machine), tmp_path, accel).clearing

    assert clearing("gigantic", Accel.TCG) == 2 * CLEARING
    assert clearing("gigantic", Accel.KVM) == clearing("two-nodes", Accel.TCG) == 0


def test_halt_asks_which_of_several(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []
    monkeypatch.setattr(guests, "running", lambda: [kept("mine"), kept("theirs")])
    monkeypatch.setattr(guests, "halt", lambda guest: ended.append(guest.name))
    nameless = argparse.Namespace(guest=[], all=False)
    with pytest.raises(UsageError, match="2 guests are held: mine, theirs"):
        guests.run_halt(nameless)
    assert ended == []
    guests.run_halt(argparse.Namespace(guest=[], all=True))
    assert ended == ["mine", "theirs"]


def kept(name: str) -> Kept:
    return Kept(name, 1, 1, "v5.10-debug", "two-nodes", 1, "/r/key", "/r/hosts", "/r/console.log")
