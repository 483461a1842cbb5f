"""What several rooms ask of an ELF file."""

from __future__ import annotations

import hashlib
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import NoteSection


def build_id(elf: ELFFile) -> str:
    """NT_GNU_BUILD_ID in hexadecimal: the linker's digest of what it made.  "" without one."""
    for section in elf.iter_sections():
        for note in section.iter_notes() if isinstance(section, NoteSection) else ():
            if note["n_type"] == "NT_GNU_BUILD_ID":
                return str(note["n_desc"])
    return ""


def loaded(file: Path) -> str | None:
    """A digest of all that is loaded to memory; None where ``file`` cannot be read as ELF.

    Without its notes: the build id is a digest of the debug information too, which a moved comment
    or another folder changes.
    """
    digest = hashlib.sha256()
    try:
        with file.open("rb") as opened:
            for section in ELFFile(opened).iter_sections():
                allocated = section["sh_flags"] & SH_FLAGS.SHF_ALLOC
                if allocated and section["sh_type"] not in ("SHT_NOBITS", "SHT_NOTE"):
                    digest.update(f"{section.name} {section['sh_addr']}\n".encode())
                    digest.update(section.data())
    except (OSError, ELFError):
        return None
    return digest.hexdigest()[:20]
