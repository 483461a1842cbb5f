"""harness splats: the reports in any console, as a table, as JSON, or as text for a mail."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from harness.errors import EnvironmentFault, UsageError
from harness.splat.noise import known
from harness.splat.reader import Reader, opened
from harness.splat.report import Splat
from harness.splat.shown import as_json, as_mail, listed
from harness.splat.signature import signature

if TYPE_CHECKING:
    from harness.splat.symbols import Symbols

CHUNK = 1 << 20
NOTHING_SHOWN = 125
"""The exit status of a console that cannot have shown a report: it is empty, or is none."""
_PACKED = {
    b"\x1f\x8b": ("gzip", "zcat"),
    b"\xfd7zXZ": ("xz", "xzcat"),
    b"\x28\xb5\x2f\xfd": ("zstd", "zstdcat"),
    b"BZh": ("bzip2", "bzcat"),
}
_CONTROL = bytes(set(range(32)) - set(b"\t\n\r\x1b\x08\x00\x07\x0c")) + b"\x7f"


def add(verbs: Any) -> None:
    verb = verbs.add_parser(
        "splats",
        help="the kernel's reports in a console or dmesg",
        description="Finds the kernel's reports in any console or dmesg.",
        epilog="examples:\n  harness splats console.log\n  harness splats --json dmesg.txt\n\n"
        "exit status: 0 no report, 1 a report of a bug, 125 nothing that could show one",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument("console", metavar="FILE", help="- for standard input")
    form = verb.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="an object a line, as they are found")
    form.add_argument("--mail", action="store_true", help="text for a mail: trimmed, not private")
    symbols = verb.add_mutually_exclusive_group()
    symbols.add_argument("--vmlinux", type=Path, help="for file:line of each frame")
    symbols.add_argument("-k", "--kernel", default="", help="the same, of a kernel built here")
    verb.add_argument(
        "--all", action="store_true", help="also what is no bug, and known noise of the boot"
    )
    verb.set_defaults(main=run)


def run(args: argparse.Namespace) -> int:
    symbols = _symbols(args)
    with ExitStack() as closing:
        stream = _open(args.console, closing)
        first = stream.read(CHUNK)
        if word := _no_console(first):
            print(f"{args.console}: {word}", file=sys.stderr)
            return NOTHING_SHOWN
        reader = opened(first)
        left_out: Counter[str] = Counter()
        found = _found(reader, first, stream)
        shown = found if args.all else _bugs(found, left_out)
        if symbols is not None:
            shown = iter(symbols.symbolise_all(list(shown)))
        bugs = _json(shown) if args.json else _mail(shown, reader) if args.mail else None
        if bugs is None:
            bugs = _table(shown, reader)
    if symbols is not None and symbols.reason:
        print(f"without file:line: {symbols.reason}", file=sys.stderr)
    for title, times in left_out.items():
        print(f"left out: {times} x {title} (--all shows it)", file=sys.stderr)
    for key, times in reader.repeated.items() if args.json else ():
        print(f"{key}: {times} further sightings", file=sys.stderr)
    return 1 if bugs else 0


def _symbols(args: argparse.Namespace) -> Symbols | None:
    if not args.kernel and args.vmlinux is None:
        return None
    # What reads ELF and finds kernels takes longer to import than a console to be read.
    from harness.kernel.build import find
    from harness.spec.kernel import load_kernel
    from harness.splat.symbols import Symbols

    if args.kernel:
        built = find(load_kernel(args.kernel))
        if built is None:
            raise UsageError(f"{args.kernel} is not built", hint=f"harness build {args.kernel}")
        return Symbols(built.vmlinux)
    if not args.vmlinux.is_file():
        raise UsageError(f"{args.vmlinux}: no such file")
    return Symbols(args.vmlinux)


def _open(name: str, closing: ExitStack) -> IO[bytes]:
    if name == "-":
        return sys.stdin.buffer
    path = Path(name)
    if path.is_dir():
        raise UsageError(
            f"{name}: a directory, not a console",
            hint="in a record: harness splats results/RUN/TRIAL/console.log",
        )
    try:
        return closing.enter_context(path.open("rb"))
    except FileNotFoundError as error:
        raise UsageError(f"{name}: no such file") from error
    except OSError as error:
        raise EnvironmentFault(f"{name}: cannot be read: {error.strerror}") from error


def _no_console(first: bytes) -> str:
    """Why these first bytes are no console, "" where they may be one."""
    if not first:
        return "empty: a console that says nothing shows nothing"
    for magic, (name, tool) in _PACKED.items():
        if first.startswith(magic):
            return f"packed with {name}: {tool} FILE | harness splats -"
    sample = first[:65536]
    strange = len(sample) - len(sample.translate(None, _CONTROL))
    if strange > len(sample) // 20:
        return "binary, not a console"
    return ""


def _found(reader: Reader, first: bytes, stream: IO[bytes]) -> Iterator[Splat]:
    chunk = first
    while chunk:
        yield from reader.feed(chunk)
        chunk = stream.read(CHUNK)
    yield from reader.finish()


def _bugs(splats: Iterator[Splat], left_out: Counter[str]) -> Iterator[Splat]:
    for splat in splats:
        if splat.is_bug and not known(splat):
            yield splat
        else:
            left_out[splat.title] += 1


def _json(splats: Iterator[Splat]) -> int:
    bugs = 0
    for splat in splats:
        bugs += splat.is_bug
        for one in listed(splat):
            print(json.dumps(as_json(one)))
    return bugs


def _grouped(splats: Iterator[Splat], reader: Reader) -> tuple[list[Splat], Mapping[str, int]]:
    """The first sighting of each report, and how often each was seen."""
    firsts: dict[str, Splat] = {}
    times: Counter[str] = Counter()
    for splat in splats:
        key = signature(splat)
        firsts.setdefault(key, splat)
        times[key] += 1
    times.update(reader.repeated)
    return list(firsts.values()), times


def _mail(splats: Iterator[Splat], reader: Reader) -> int:
    firsts, times = _grouped(splats, reader)
    print("\n\n".join(as_mail(one, times=times[signature(one)]) for one in firsts), end="")
    return sum(one.is_bug for one in firsts)


def _table(splats: Iterator[Splat], reader: Reader) -> int:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    firsts, times = _grouped(splats, reader)
    console = Console(soft_wrap=False, highlight=False)
    if not firsts:
        console.print("no reports")
        return 0
    drawn = Table(pad_edge=False)
    drawn.add_column("at, s", justify="right", no_wrap=True)
    drawn.add_column("report", overflow="fold", ratio=1)
    drawn.add_column("task", overflow="fold")
    drawn.add_column("times", justify="right", no_wrap=True)
    drawn.add_column("signature", no_wrap=True)
    for splat in firsts:
        drawn.add_row(
            f"{splat.stamp:.3f}" if splat.stamp >= 0 else "",
            Text(_said(splat)),  # of a guest, and hostile: no markup, no control codes
            Text(splat.task),
            str(times[signature(splat)]),
            signature(splat),
        )
    console.print(drawn)
    return sum(one.is_bug for one in firsts)


def _said(splat: Splat) -> str:
    lines = [splat.title + (f" ({splat.place})" if splat.place else "")]
    if splat.corrupted:
        lines.append(f"not whole: {splat.corrupted}")
    if splat.follows >= 0:
        lines.append("may have come of a report before it")
    lines += [f"then {one.title}" for one in splat.secondary]
    return "\n".join(lines)
