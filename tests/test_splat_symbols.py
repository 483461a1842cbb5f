"""Symbols: functions and offsets to lines, on a small program that stands in for a kernel."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from harness.errors import EnvironmentFault
from harness.kernel.build import build
from harness.paths import cache_dir
from harness.progress import Progress
from harness.spec.kernel import load_kernel
from harness.splat.reader import read
from harness.splat.report import Frame, Splat, Stack
from harness.splat.symbols import Symbols, build_id

MAIN = """\
extern int other(int);
extern int again(int);
static inline __attribute__((always_inline)) int inlined(volatile int *where)
{
	return *where;
}
__attribute__((noinline)) int faulty(int *where)
{
	return inlined(where) + 1;
}
__attribute__((noinline)) int start_kernel(int *where)
{
	int first = faulty(where);
	return other(first) + again(first);
}
const char linux_banner[] = "Linux version 9.9.1 (made up) #1 SMP";
int main(void) { int zero = 0; return start_kernel(&zero); }
"""
OTHER = """\
static __attribute__((noinline)) int twin(int x) { return x * 3; }
int other(int x) { return twin(x) + 1; }
"""
AGAIN = """\
static __attribute__((noinline)) int twin(int x)
{
	volatile int sum = 0;
	for (int i = 0; i < x; i++)
		sum += i * x;
	return sum;
}
int again(int x) { return twin(x) + 1; }
"""


@pytest.fixture(scope="module")
def vmlinux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("tree")
    for name, text in (("init/main.c", MAIN), ("lib/other.c", OTHER), ("lib/again.c", AGAIN)):
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).write_text(text, encoding="utf-8")
    out = tree / "vmlinux"
    sources = [str(tree / name) for name in ("init/main.c", "lib/other.c", "lib/again.c")]
    subprocess.run(
        ["gcc", "-g", "-O1", "-no-pie", "-Wl,--build-id=sha1", *sources, "-o", str(out)],
        check=True,
    )
    return out


def sizes(vmlinux: Path, name: str) -> list[tuple[int, int]]:
    """(address, size) of every symbol of that name."""
    with vmlinux.open("rb") as stream:
        table = ELFFile(stream).get_section_by_name(".symtab")
        assert isinstance(table, SymbolTableSection)
        return [(s["st_value"], s["st_size"]) for s in table.get_symbol_by_name(name) or ()]


def report(*frames: Frame, text: str = "") -> Splat:
    return Splat(
        "WARNING", "", "", "", "faulty", 0, 1, stacks=(Stack("access", frames),), text=text
    )


def call_in(vmlinux: Path, caller: str, callee: str) -> int:
    """The offset of the return address of the only call of ``callee`` in ``caller``."""
    listing = subprocess.run(
        ["objdump", "-d", f"--disassemble={caller}", "--no-show-raw-insn", str(vmlinux)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    at = next(i for i, line in enumerate(listing) if "call" in line and f"<{callee}>" in line)
    return int(listing[at + 1].split(":")[0], 16) - sizes(vmlinux, caller)[0][0]


def test_a_return_address_is_the_line_of_the_call(vmlinux: Path) -> None:
    size = sizes(vmlinux, "start_kernel")[0][1]
    offset = call_in(vmlinux, "start_kernel", "faulty")
    splat = Symbols(vmlinux).symbolise(report(Frame("start_kernel", offset, size)))
    assert [frame.place for frame in splat.stacks[0].frames] == ["init/main.c:13"]


def test_an_inlined_function_becomes_a_frame(vmlinux: Path) -> None:
    _, size = sizes(vmlinux, "faulty")[0]
    text = f"RIP: 0010:faulty+0x0/{size:#x}\n"
    listing = Symbols(vmlinux).symbolise(report(Frame("faulty", 0, size), text=text))
    assert listing.stacks[0].frames[-1].place.startswith("init/main.c:")
    # The load itself: the first instruction that reads memory through the argument.
    dump = subprocess.run(
        ["objdump", "-d", "--disassemble=faulty", "--no-show-raw-insn", str(vmlinux)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    load = next(line for line in dump.splitlines() if "(%rdi)" in line)
    offset = int(load.split(":")[0], 16) - sizes(vmlinux, "faulty")[0][0]
    text = f"RIP: 0010:faulty+{offset:#x}/{size:#x}\n"
    splat = Symbols(vmlinux).symbolise(report(Frame("faulty", offset, size), text=text))
    assert [(f.function, f.place) for f in splat.stacks[0].frames] == [
        ("inlined", "init/main.c:5"),
        ("faulty", "init/main.c:9"),
    ]
    assert splat.place == "init/main.c:9"


def test_a_name_that_occurs_twice_is_told_by_its_size(vmlinux: Path) -> None:
    twins = sizes(vmlinux, "twin")
    assert len(twins) == 2
    splat = Symbols(vmlinux).symbolise(report(*(Frame("twin", 1, size) for _, size in twins)))
    files = {frame.place.partition(":")[0] for frame in splat.stacks[0].frames}
    assert files == {"lib/other.c", "lib/again.c"}


def test_a_function_of_another_kernel_gets_no_place(vmlinux: Path) -> None:
    frames = (Frame("faulty", 2, 0x4000), Frame("never_built", 2, 0x40), Frame("faulty"))
    splat = report(*frames)
    assert Symbols(vmlinux).symbolise(splat) == splat


def test_read_and_symbolised(vmlinux: Path) -> None:
    offset, size = call_in(vmlinux, "start_kernel", "faulty"), sizes(vmlinux, "start_kernel")[0][1]
    text = (
        "[    1.000000][    T1] BUG: sleeping function called from invalid context at a.c:1\n"
        "[    1.000001][    T1] Call Trace:\n"
        f"[    1.000002][    T1]  start_kernel+{offset:#x}/{size:#x}\n"
    )
    (splat,) = read(text.encode())
    assert Symbols(vmlinux).symbolise(splat).place == "init/main.c:13"


def test_what_is_missing_is_said(vmlinux: Path, tmp_path: Path) -> None:
    splat = report(Frame("faulty", 2, sizes(vmlinux, "faulty")[0][1]))
    junk = tmp_path / "junk"
    junk.write_bytes(b"not ELF")
    for symbols, word in (
        (Symbols(None), "no vmlinux"),
        (Symbols(tmp_path / "gone"), "gone"),
        (Symbols(junk), "junk"),
        (Symbols(vmlinux, addr2line="no-such-addr2line"), "no-such-addr2line"),
    ):
        assert symbols.symbolise(splat) == splat
        assert word in symbols.reason


def test_build_id(vmlinux: Path, tmp_path: Path) -> None:
    found = build_id(vmlinux)
    notes = subprocess.run(
        ["readelf", "-n", str(vmlinux)], check=True, capture_output=True, text=True
    ).stdout
    assert len(found) == 40
    assert found in notes
    with pytest.raises(EnvironmentFault, match="gone"):
        build_id(tmp_path / "gone")


def test_another_kernels_report_gets_no_lines(vmlinux: Path) -> None:
    splat = report(Frame("faulty", 2, sizes(vmlinux, "faulty")[0][1]))
    own = build_id(vmlinux)
    for known in (
        replace(splat, kernel="9.9.1"),
        replace(splat, build_id=own),
        replace(splat, kernel="9.9.1", build_id=own),
        replace(splat, kernel="9.9.1", build="#1"),
    ):
        assert Symbols(vmlinux).symbolise(known).place.startswith("init/main.c:")
    for stranger, word in (
        (replace(splat, kernel="9.9.2"), "9.9.2"),
        (replace(splat, kernel="9.9.1", build="#2"), "is build #1 of 9.9.1"),
        (replace(splat, kernel="9.9.1", build_id="ab" * 20), "build id"),
    ):
        symbols = Symbols(vmlinux)
        assert symbols.symbolise(stranger) == stranger
        assert word in symbols.reason
        mixed = Symbols(vmlinux).symbolise_all([splat, stranger])
        assert [bool(one.place) for one in mixed] == [True, False]


def test_the_build_id_that_a_report_prints_is_read() -> None:
    line = f"CPU: 0 PID: 7 Comm: a b Not tainted 9.9.1 #3 PREEMPT(full)  {'ab' * 20}"
    (splat,) = read(f"BUG: Bad page state in process a\n{line}\nCall Trace:\n f+0x1/0x2\n".encode())
    assert (splat.kernel, splat.build, splat.build_id) == ("9.9.1", "#3", "ab" * 20)


@pytest.mark.guest
def test_the_same_lines_as_decode_stacktrace() -> None:
    """Against the kernel tree's own script, which looks at addresses as they are printed."""
    kernel = build(load_kernel("v5.10-debug"), progress=Progress())
    assert kernel.vmlinux is not None
    script = next(cache_dir().glob("work/*/tree/scripts/decode_stacktrace.sh"))
    names = ("unmap_and_move_huge_page", "migrate_pages", "rmap_walk_anon", "hugetlb_fault")
    frames = [
        Frame(name, offset, size)
        for name in names
        for _, size in sizes(kernel.vmlinux, name)[:1]
        for offset in range(1, size, max(1, size // 6))
    ]
    assert len(frames) > 12
    text = "".join(f" {f.function}+{f.offset:#x}/{f.size:#x}\n" for f in frames)
    printed = subprocess.run(
        ["bash", script, kernel.vmlinux, script.parent.parent],
        input=text,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    splats = [report(one) for one in frames]
    for line, splat in zip(
        printed, Symbols(kernel.vmlinux, calls=False).symbolise_all(splats), strict=True
    ):
        places = [frame.place.rpartition("/")[2] for frame in splat.stacks[0].frames]
        assert [place.rpartition("/")[2] for place in re.findall(r"\S+:\d+", line)] == places
