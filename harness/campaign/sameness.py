"""Whether two builds are one kernel: a digest of what is loaded, not of how it was described."""

from __future__ import annotations

from harness.campaign.bench import Ready
from harness.elf import loaded


def image_of(ready: Ready) -> str:
    """Equal for kernels that run the same code on the same data; the content id of a kernel
    whose vmlinux is not at hand.
    """
    vmlinux = ready.kernel.vmlinux
    found = loaded(vmlinux) if vmlinux else None
    return found or ready.kernel.content_id
