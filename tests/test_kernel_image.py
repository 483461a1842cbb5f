"""What is kept of a distribution's kernel image."""

from __future__ import annotations

import lzma
import subprocess
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.kernel import image, kept
from harness.kernel.apt import Package
from harness.kernel.modules import LOAD, collect, depends
from harness.spec.kernel import KernelSpec

RELEASE = "6.1.0-1-cloud-amd64"


def module(folder: Path, name: str, needs: str, *, packed: bool = False) -> bytes:
    """An object with the .modinfo section that a kernel module has."""
    code = f'const char info[] __attribute__((section(".modinfo"))) = "depends={needs}\\0name=x";\n'
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.ko"
    argv = ["gcc", "-x", "c", "-c", "-o", str(path), "-"]
    subprocess.run(argv, input=code.encode(), check=True)
    data = path.read_bytes()
    if packed:
        path.with_name(path.name + ".xz").write_bytes(lzma.compress(data))
        path.unlink()
    return data


def release(tmp_path: Path) -> Path:
    base = tmp_path / "lib/modules" / RELEASE
    drivers = base / "kernel/drivers"
    module(drivers / "net", "virtio_net", "net_failover,virtio_ring")
    module(drivers / "net", "net_failover", "failover", packed=True)
    module(base / "kernel/net/core", "failover", "")
    module(drivers / "virtio", "virtio_ring", "")
    module(drivers / "virtio", "virtio_pci", "virtio_ring")
    module(drivers / "misc/pvpanic", "pvpanic-pci", "pvpanic")
    module(drivers / "misc/pvpanic", "pvpanic", "")
    module(drivers / "gpu", "unwanted", "")
    return base


def test_modules_are_unpacked_and_listed_in_load_order(tmp_path: Path) -> None:
    target = tmp_path / "kept"
    collect(release(tmp_path), target)
    listed = (target / LOAD).read_text().split()
    assert sorted(listed) == sorted(path.name for path in target.glob("*.ko"))
    assert "unwanted.ko" not in listed
    for first, later in (
        ("virtio_ring", "virtio_pci"),
        ("failover", "net_failover"),
        ("net_failover", "virtio_net"),
        ("pvpanic", "pvpanic_pci"),
    ):
        assert listed.index(f"{first}.ko") < listed.index(f"{later}.ko")
    assert depends((target / "net_failover.ko").read_bytes()) == ["failover"]


def test_an_unpacked_image_is_a_kernel_without_vmlinux(tmp_path: Path) -> None:
    release(tmp_path)
    (tmp_path / "boot").mkdir()
    (tmp_path / f"boot/vmlinuz-{RELEASE}").write_bytes(b"image")
    (tmp_path / f"boot/config-{RELEASE}").write_text("CONFIG_SMP=y\n")
    entry = kept.Entry("0123", "Debian linux-image-x 1", ())
    image._keep(tmp_path, Package("linux-image-x", "1", "", ""), entry, tmp_path / "cache")
    kernel = kept.load(tmp_path / "cache", KernelSpec("stock", tmp_path, "", ()), entry)
    assert kernel and kernel.release == RELEASE
    assert kernel.vmlinux is None and kernel.log is None
    assert kernel.modules and (kernel.modules / LOAD).is_file()
    assert kernel.option("CONFIG_SMP") == "y"


def test_a_package_without_a_kernel_is_named(tmp_path: Path) -> None:
    entry = kept.Entry("0123", "", ())
    with pytest.raises(UsageError, match="linux-image-x 1"):
        image._keep(tmp_path, Package("linux-image-x", "1", "", ""), entry, tmp_path / "cache")
    assert kept.load(tmp_path / "cache", KernelSpec("stock", tmp_path, "", ()), entry) is None
