"""VMCOREINFO for a kernel that wrote none, out of its vmlinux.

QEMU puts the note into a dump only where the guest's kernel has handed it over, which takes
CRASH_CORE and FW_CFG_SYSFS.  All that it would say stands in vmlinux too, because the harness
boots with nokaslr: every symbol is where the linker put it.
"""

from __future__ import annotations

from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from harness.elf import build_id
from harness.errors import EnvironmentFault

# As Documentation/admin-guide/kdump/vmcoreinfo.rst names them; in x86-64's C code
# swapper_pg_dir is a macro for init_top_pgt.
_SYMBOLS = {
    "init_uts_ns": "init_uts_ns",
    "_stext": "_stext",
    "swapper_pg_dir": "init_top_pgt",
    "mem_section": "mem_section",
}
_SECTIONS = 2048
"""NR_SECTION_ROOTS with 46 bits of address (page tables of 4 levels) and SPARSEMEM_EXTREME."""


def vmcoreinfo(vmlinux: Path, release: str) -> str:
    """The note's text.  Raises EnvironmentFault where ``vmlinux`` is not a kernel with symbols."""
    try:
        with vmlinux.open("rb") as stream:
            elf = ELFFile(stream)
            table = elf.get_section_by_name(".symtab")
            if not isinstance(table, SymbolTableSection):
                raise EnvironmentFault(f"{vmlinux}: it has no symbols")
            found = {name: table.get_symbol_by_name(own) for name, own in _SYMBOLS.items()}
            found_id = build_id(elf)
    except (OSError, ELFError) as error:
        raise EnvironmentFault(f"{vmlinux}: {error}") from None
    if lacking := [name for name, symbols in found.items() if not symbols]:
        raise EnvironmentFault(f"{vmlinux}: no symbol {lacking[0]}: is it a kernel for x86-64?")
    return "\n".join(
        [
            f"OSRELEASE={release}",
            *([f"BUILD-ID={found_id}"] if found_id else []),
            "PAGESIZE=4096",
            *(
                f"SYMBOL({name})={symbols[0]['st_value']:x}"
                for name, symbols in found.items()
                if symbols
            ),
            f"LENGTH(mem_section)={_SECTIONS}",
            "NUMBER(phys_base)=0",
            "NUMBER(pgtable_l5_enabled)=0",
            "KERNELOFFSET=0",
            "",
        ]
    )
