"""How fast consoles are read, in CPU time of one core, and how much memory that takes.

    python benchmarks/splat_speed.py [--sizes 4,16,64]

Four consoles, made of what the project's own guests printed: one that is clean, one with a report
in every megabyte, a flood, in which one report follows the other with nothing between, and the
same with another name for each function in every report, so that nothing but reports is read and
none is like one before.  All go through ``Reader.feed`` in pieces of a megabyte; each row is a
process of its own.
"""

from __future__ import annotations

import argparse
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness.splat.reader import Reader

CONSOLES = Path(__file__).resolve().parent.parent / "tests" / "consoles"
KINDS = ("clean", "a report a MB", "flood", "all different")
MB = 1_000_000
_FUNCTION = re.compile(rb"([A-Za-z_][\w.]*)(\+0x)")
_STAMP = re.compile(rb"\[ *\d+\.\d{6}\]")


def clean_megabyte() -> bytes:
    """A boot's lines, without the banner, which would be a reboot each time."""
    text = (CONSOLES / "v5.10-debug-clean.log").read_bytes()
    lines = b"".join(line for line in text.splitlines(True) if b"Linux version" not in line)
    return lines * (MB // len(lines))


def reports(*, different: bool = False) -> Iterator[bytes]:
    """One KASAN report, 30 ms later each time; or one with other functions each time."""
    text = (CONSOLES / "v5.10-anon-race-1.log").read_bytes()
    report = text[text.rfind(b"\n", 0, text.index(b"BUG: KASAN")) + 1 :]
    at, number = 20.0, 0
    while True:
        at, number = at + 0.03, number + 1
        made = _FUNCTION.sub(rb"\1_%d\2" % number, report) if different else report
        yield _STAMP.sub(b"[%12.6f]" % at, made)


def pieces(kind: str, size: int) -> Iterator[bytes]:
    """About ``size`` bytes, a megabyte at a time: no more of it is ever in memory."""
    clean, report, made = clean_megabyte(), reports(different=kind == "all different"), 0
    while made < size:
        if kind in ("flood", "all different"):
            piece = b"".join(next(report) for _ in range(175))
        else:
            piece = clean + (next(report) if kind != "clean" else b"")
        made += len(piece)
        yield piece


def measure(kind: str, size: int) -> str:
    reader = Reader(prefixed=True, booted=True)
    seconds, read, given = 0.0, 0, 0
    for piece in pieces(kind, size):
        begin = time.process_time()
        given += len(reader.feed(piece))
        seconds += time.process_time() - begin
        read += len(piece)
    given += len(reader.finish())
    counted = sum(reader.repeated.values())
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return (
        f"{kind:<14} {size // MB:>4} MB {read / MB / seconds:>7.1f} MB/s"
        f" {given:>6} given {counted:>6} counted {memory:>5} MiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", default="4,16,64", help="in MB")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(measure(args.one[0], int(args.one[1]) * MB))
        return
    for kind in KINDS:
        for size in args.sizes.split(","):
            subprocess.run([sys.executable, __file__, "--one", kind, size], check=True)


if __name__ == "__main__":
    main()
