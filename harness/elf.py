"""What several rooms ask of an ELF file."""

from __future__ import annotations

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import NoteSection


def build_id(elf: ELFFile) -> str:
    """NT_GNU_BUILD_ID in hexadecimal: the linker's digest of what it made.  "" without one."""
    for section in elf.iter_sections():
        for note in section.iter_notes() if isinstance(section, NoteSection) else ():
            if note["n_type"] == "NT_GNU_BUILD_ID":
                return str(note["n_desc"])
    return ""
