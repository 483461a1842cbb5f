"""Whether two builds are one kernel: a digest of what is loaded, not of how it was described."""

from __future__ import annotations

import hashlib
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile

from harness.campaign.bench import Ready

_DESCRIBES = {".notes"}
"""Holds the build id, a digest of the debug information too, which a moved comment changes."""


def image_of(ready: Ready) -> str:
    """Equal for kernels that run the same code on the same data; the content id of a kernel
    whose vmlinux is not at hand.
    """
    vmlinux = ready.kernel.vmlinux
    found = loaded(vmlinux) if vmlinux else None
    return found or ready.kernel.content_id


def loaded(vmlinux: Path) -> str | None:
    """A digest of all that is loaded to memory; None where the file cannot be read as ELF."""
    digest = hashlib.sha256()
    try:
        with vmlinux.open("rb") as file:
            for section in ELFFile(file).iter_sections():
                allocated = section["sh_flags"] & SH_FLAGS.SHF_ALLOC
                if not allocated or section["sh_type"] == "SHT_NOBITS":
                    continue
                if section.name not in _DESCRIBES:
                    digest.update(f"{section.name} {section['sh_addr']}\n".encode())
                    digest.update(section.data())
    except (OSError, ELFError):
        return None
    return digest.hexdigest()[:20]
