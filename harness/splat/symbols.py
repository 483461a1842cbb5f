"""Functions and offsets of a report to lines of the kernel's source.

A report prints ``function+0xoffset/0xsize``.  The ELF symbol table gives the function's address;
addr2line, started once for all frames of a call, gives file and line from the debug information.
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from harness import elf, proc
from harness.errors import EnvironmentFault
from harness.splat import frames
from harness.splat.report import Frame, Splat, Stack

ADDR2LINE_SECONDS = 120.0
# Addresses on one command line: 20 bytes each, far below what execve() takes.
_BATCH = 2000
# kallsyms prints the distance to the next symbol as the size; the ELF size lacks the padding.
_PADDING = 256
_FUNCTION_TYPES = frozenset({0, 2, 10})  # STT_NOTYPE (assembly), STT_FUNC, STT_GNU_IFUNC
_ADDRESS = re.compile(r"0x[0-9a-f]{1,16}$")
# init/version.c linux_banner
_BANNER = re.compile(
    rb"Linux version (\d[\w.+~-]{2,80}) \([^\n\x00]{1,400}?(?: (#\d{1,9}) |[\n\x00]|$)"
)
_LINE = re.compile(r"(.+):(\d+)(?: \(discriminator \d+\))?$")
# A function of every kernel whose source file is known: it tells where the tree stood.
_LANDMARK = ("start_kernel", "init/main.c")


def build_id(vmlinux: Path) -> str:
    """The build id in hexadecimal, as the kernel has it in /sys/kernel/notes; "" without one.

    Raises EnvironmentFault when the file cannot be read as ELF.
    """
    try:
        with vmlinux.open("rb") as stream:
            return elf.build_id(ELFFile(stream))
    except (OSError, ELFError) as error:
        raise EnvironmentFault(f"{vmlinux}: cannot read a build id: {error}") from error


def symbols_of(vmlinux: Path) -> Symbols:
    """Those of a kernel that reports again and again: its table is read once, and each line."""
    try:
        found = vmlinux.stat()
    except OSError:
        return Symbols(vmlinux)
    return _kept(vmlinux, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=2)  # a table takes tens of MiB
def _kept(vmlinux: Path, size: int, written: int) -> Symbols:
    return Symbols(vmlinux)


class Symbols:
    """The debug information of one kernel.  ``vmlinux`` None is a kernel without any.

    Nothing here raises for what is missing: places stay empty, and ``reason`` says why.
    ``calls`` looks one byte before a return address, at the call itself: behind the last call of
    a function is another's code.
    """

    def __init__(
        self, vmlinux: Path | None, *, addr2line: str = "addr2line", calls: bool = True
    ) -> None:
        self._calls = calls
        self._vmlinux = vmlinux
        self._addr2line = addr2line
        self._known: dict[int, list[tuple[str, str]]] = {}
        self.reason = ""

    def symbolise(self, splat: Splat) -> Splat:
        """The report with file:line in its frames; functions that were inlined become frames.

        Frames of a call's return address are looked up one byte earlier, within the call;
        instruction pointers are looked up as they are.
        """
        return self.symbolise_all([splat])[0]

    def symbolise_all(self, splats: Sequence[Splat]) -> list[Splat]:
        """Several reports of one kernel, with one addr2line process for all of them."""
        wanted: dict[tuple[Frame, bool], int] = {}
        strange = [self._stranger(splat) for splat in splats]
        self.reason = next(filter(None, strange), self.reason)
        for splat in (splat for splat, why in zip(splats, strange, strict=True) if not why):
            exact = _instruction_pointers(splat)
            for frame in (frame for stack in splat.stacks for frame in stack.frames):
                key = (frame, (frame.function, frame.offset) in exact)
                if (address := self._address(*key)) is not None:
                    wanted[key] = address
        if not wanted:
            return list(splats)
        lines = self._lines(sorted(set(wanted.values())))
        return [
            splat if why else self._rewrite(splat, wanted, lines)
            for splat, why in zip(splats, strange, strict=True)
        ]

    def _stranger(self, splat: Splat) -> str:
        """Why the report cannot be of this kernel, "" where nothing speaks against it.

        The wrong vmlinux gives lines too, and all of them are wrong.
        """
        if splat.build_id and self._build_id and splat.build_id != self._build_id:
            return (
                f"{self._vmlinux} has build id {self._build_id},"
                f" the kernel that reported {splat.build_id}"
            )
        release, build = self._banner
        if splat.kernel and release and splat.kernel != release:
            return f"{self._vmlinux} is {release}, the kernel that reported {splat.kernel}"
        if splat.kernel and splat.build and build and splat.build != build:
            return (
                f"{self._vmlinux} is build {build} of {release}, the kernel that reported"
                f" {splat.build}"
            )
        return ""

    @cached_property
    def _build_id(self) -> str:
        try:
            return build_id(self._vmlinux) if self._vmlinux is not None else ""
        except EnvironmentFault:
            return ""

    @cached_property
    def _banner(self) -> tuple[str, str]:
        """Release and build number ("#5") in the kernel's banner, "" where it does not say."""
        try:
            with self._vmlinux.open("rb") if self._vmlinux is not None else nullcontext() as stream:
                section = ELFFile(stream).get_section_by_name(".rodata") if stream else None
                found = _BANNER.search(section.data()) if section is not None else None
        except (OSError, ELFError):
            return "", ""
        return (found.group(1).decode(), (found.group(2) or b"").decode()) if found else ("", "")

    def name(self, addresses: Sequence[int]) -> dict[int, str]:
        """``function (file:line)`` for bare addresses of a kernel that was not relocated (nokaslr).

        Addresses of no kernel function (user space, modules) are left out.
        """
        lines = self._lines(sorted(set(addresses))) if addresses else {}
        return {
            address: f"{found[0][0]} ({found[0][1]})"
            for address, found in lines.items()
            if found and found[0][1]
        }

    def _rewrite(
        self,
        splat: Splat,
        wanted: dict[tuple[Frame, bool], int],
        lines: dict[int, list[tuple[str, str]]],
    ) -> Splat:
        exact = _instruction_pointers(splat)

        def placed(frame: Frame) -> Iterator[Frame]:
            key = (frame, (frame.function, frame.offset) in exact)
            *inlined, own = lines.get(wanted.get(key, -1)) or [("", "")]
            for function, place in inlined:
                yield Frame(function, sure=frame.sure, place=place, inlined=True)
            yield frame._replace(place=own[1] or frame.place)

        return replace(
            splat,
            stacks=tuple(
                Stack(stack.name, tuple(new for old in stack.frames for new in placed(old)))
                for stack in splat.stacks
            ),
        )

    def _address(self, frame: Frame, exact: bool) -> int | None:
        if frame.offset < 0 or frame.place:
            return None
        start = self._start(frame.function, frame.size)
        if start is None:
            return None
        return start + frame.offset - (self._calls and not exact and frame.offset > 0)

    def _start(self, function: str, size: int) -> int | None:
        """Where the function begins; None when unknown, or one of several of that name."""
        fitting = [
            address
            for address, length, distance in self._table.get(function, ())
            if size < 0
            or size in (length, distance)
            or length == 0
            or length < size <= length + _PADDING
        ]
        if len(fitting) > 1:
            fitting = [
                address
                for address, length, distance in self._table[function]
                if size in (length, distance)
            ]
        return fitting[0] if len(fitting) == 1 else None

    @cached_property
    def _table(self) -> dict[str, list[tuple[int, int, int]]]:
        """Name to (address, ELF size, distance to the next symbol)."""
        if self._vmlinux is None:
            self.reason = "no vmlinux with debug information is known for this kernel"
            return {}
        try:
            symbols = _read_symbols(self._vmlinux)
        except (OSError, ELFError, struct.error) as error:
            self.reason = f"{self._vmlinux}: cannot read its symbols: {error}"
            return {}
        if not symbols:
            self.reason = f"{self._vmlinux}: has no symbol table"
        starts = sorted({address for _, address, _ in symbols})
        table: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
        for name, address, size in symbols:
            following = bisect_right(starts, address)
            distance = starts[following] - address if following < len(starts) else size
            entry = (address, size, distance)
            if entry not in table[name]:
                table[name].append(entry)
        return dict(table)

    def _lines(self, addresses: list[int]) -> dict[int, list[tuple[str, str]]]:
        """Address to (function, file:line), the innermost inlined function first."""
        if new := [address for address in addresses if address not in self._known]:
            self._known |= self._asked(new)
        return {address: self._known[address] for address in addresses if address in self._known}

    def _asked(self, addresses: list[int]) -> dict[int, list[tuple[str, str]]]:
        """The same from addr2line, which needs its time to read a kernel's debug information."""
        if shutil.which(self._addr2line) is None:
            self.reason = f"{self._addr2line} is not installed (Debian: binutils)"
            return {}
        landmark = self._table.get(_LANDMARK[0], [(0, 0, 0)])[0][0]
        printed: list[str] = []
        for begin in range(0, len(addresses), _BATCH):
            argv = [
                self._addr2line,
                *("-e", str(self._vmlinux)),
                "-a",
                "-f",
                "-i",
                *(f"{address:#x}" for address in (*addresses[begin : begin + _BATCH], landmark)),
            ]
            try:
                status = proc.run(argv, on_line=printed.append, timeout=ADDR2LINE_SECONDS)
            except subprocess.TimeoutExpired:
                self.reason = f"{self._addr2line} did not end within {ADDR2LINE_SECONDS:g} s"
                return {}
            except EnvironmentFault as error:
                self.reason = error.what
                return {}
            if status != 0:
                self.reason = f"{self._addr2line}: exit status {status}: {' '.join(printed[-1:])}"
                return {}
        found = _parse(printed)
        root = ""
        for _, place in found.get(landmark, ()):
            path = place.rpartition(":")[0]
            if path.endswith("/" + _LANDMARK[1]):
                root = path[: -len(_LANDMARK[1])]
        return {
            address: [(function, _relative(place, root)) for function, place in chain]
            for address, chain in found.items()
        }


def _instruction_pointers(splat: Splat) -> frozenset[tuple[str, int]]:
    """Which (function, offset) the report prints as an instruction pointer."""
    found = (frames.pointer(line.encode()) for line in splat.text.split("\n"))
    return frozenset((frame.function, frame.offset) for frame in found if frame is not None)


def _read_symbols(vmlinux: Path) -> list[tuple[str, int, int]]:
    """(name, address, size) of what may be a function.

    The table is read in one sweep: walking 100,000 entries one by one takes seconds.
    """
    with vmlinux.open("rb") as stream:
        elf = ELFFile(stream)
        section = elf.get_section_by_name(".symtab")
        if section is None:
            return []
        data: bytes = section.data()
        names: bytes = elf.get_section(section["sh_link"]).data()
        order = "<" if elf.little_endian else ">"
        wide = elf.elfclass == 64
    entries = struct.iter_unpack(order + ("IBBHQQ" if wide else "IIIBBH"), data)
    symbols = []
    for entry in entries:
        if wide:
            name, info, _, index, address, size = entry
        else:
            name, address, size, info, _, index = entry
        if index and address and info & 0xF in _FUNCTION_TYPES:
            text = names[name : names.index(b"\0", name)].decode("ascii", "replace")
            if text:
                symbols.append((text, address, size))
    return symbols


def _parse(printed: Sequence[str]) -> dict[int, list[tuple[str, str]]]:
    """The output of ``addr2line -a -f -i``: an address, then pairs of function and place."""
    found: dict[int, list[tuple[str, str]]] = {}
    chain: list[tuple[str, str]] = []
    function = None
    for line in printed:
        if _ADDRESS.match(line):
            chain = found.setdefault(int(line, 16), [])
            chain.clear()
            function = None
        elif function is None:
            function = line
        else:
            place = _LINE.match(line)
            known = place is not None and not place.group(1).startswith("?")
            chain.append(
                (function, f"{place.group(1)}:{place.group(2)}" if place and known else "")
            )
            function = None
    return found


def _relative(place: str, root: str) -> str:
    """A place as the kernel tree names it: ``mm/rmap.c:1867``."""
    if root and place.startswith(root):
        place = place[len(root) :]
    return place.removeprefix("./")
