"""Frames to lines: the harness against the kernel tree's own scripts/decode_stacktrace.sh.

    python benchmarks/splat_symbols.py --kernel NAME CONSOLE

Both are given the first report of a console that this kernel printed.  The script looks at the
address as printed; so does the harness here.  (In a report it looks one byte before a return
address, at the call; how many lines that makes another is told too.)  Time is CPU time, children
included.  The exit status is 1 where one line differs.
"""

from __future__ import annotations

import argparse
import re
import resource
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness.errors import HarnessError, UsageError
from harness.kernel.build import find
from harness.paths import cache_dir
from harness.spec.kernel import load_kernel
from harness.splat.frames import frame, pointer
from harness.splat.reader import read
from harness.splat.report import Frame, Splat, Stack
from harness.splat.symbols import Symbols

_DECODED = re.compile(r"([\w.]+) \((.*)\)\s*$")
_PLACE = re.compile(r"\S+:\d+")


def cpu() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def as_printed(splat: Splat) -> list[Frame]:
    """Every frame of the text, in order, the guessed ones included."""
    lines = (line.encode() for line in splat.text.splitlines())
    found = (frame(line) or pointer(line) for line in lines)
    return [one for one in found if one is not None]


def of_the_script(text: str, vmlinux: Path, tree: Path) -> list[list[str]]:
    """The lines of each decoded frame, as ``scripts/decode_stacktrace.sh`` gives them."""
    script = tree / "scripts" / "decode_stacktrace.sh"
    printed = subprocess.run(
        ["bash", script, vmlinux, tree], input=text, capture_output=True, text=True, check=True
    ).stdout
    decoded = (_DECODED.search(line) for line in printed.splitlines())
    return [_PLACE.findall(one.group(2)) if one else [] for one in decoded]


def of_the_harness(frames: list[Frame], vmlinux: Path, *, calls: bool) -> list[list[str]]:
    """The same of the harness: the places of each frame, the innermost inlined first."""
    splats = [Splat("", "", "", "", "", 0, 1, stacks=(Stack("access", (one,)),)) for one in frames]
    symbols = Symbols(vmlinux, calls=calls)
    done = symbols.symbolise_all(splats)
    return [[one.place for one in splat.stacks[0].frames if one.place] for splat in done]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kernel", default="v5.10-anon-race")
    parser.add_argument("console", type=Path)
    args = parser.parse_args()
    try:
        kernel = find(load_kernel(args.kernel))
        if kernel is None or kernel.vmlinux is None:
            raise UsageError(f"{args.kernel} is not built", hint=f"harness build {args.kernel}")
    except HarnessError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    splat = read(args.console.read_bytes())[0]
    tree = next(cache_dir().glob("work/*/tree/scripts/decode_stacktrace.sh")).parent.parent
    frames = as_printed(splat)
    text = "".join(f" {one.function}+{one.offset:#x}/{one.size:#x}\n" for one in frames)
    begin = cpu()
    theirs = of_the_script(text, kernel.vmlinux, tree)
    between = cpu()
    ours = of_the_harness(frames, kernel.vmlinux, calls=False)
    end = cpu()
    at_calls = of_the_harness(frames, kernel.vmlinux, calls=True)
    differing = [
        (one.function, mine, other)
        for one, mine, other in zip(frames, ours, theirs, strict=True)
        if [place.rpartition("/")[2] for place in mine] != [p.rpartition("/")[2] for p in other]
    ]
    for name, mine, other in differing:
        print(f"differs: {name}: {mine} and {other}")
    moved = sum(mine != other for mine, other in zip(ours, at_calls, strict=True))
    print(
        f"{len(frames)} frames, {sum(map(len, ours))} lines: {len(differing)} differ;"
        f" {moved} frames have another line at the call than behind it\n"
        f"decode_stacktrace.sh {between - begin:.2f} s, harness {end - between:.2f} s of CPU:"
        f" {(between - begin) / (end - between):.0f} times faster"
    )
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
