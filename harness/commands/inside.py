"""harness gdb, harness drgn: what is in a guest's kernel, live or at its splat."""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness.errors import EnvironmentFault, UsageError
from harness.guest.control import asked
from harness.guest.keeper import Kept, find
from harness.kernel.checkout import check_out
from harness.paths import PROJECT, cache_dir
from harness.progress import default_progress
from harness.trial.atsplat import DUMP


def add(verbs: Any) -> None:
    gdb = verbs.add_parser(
        "gdb",
        help="gdb at the kernel of a guest that is frozen or runs",
        epilog="harness gdb -- -batch -ex bt; the guest goes on as before when gdb ends",
    )
    gdb.add_argument("-g", "--guest", default="", help="which one; default: the newest")
    gdb.set_defaults(main=run_gdb, behind=[])
    drgn = verbs.add_parser(
        "drgn",
        help="what huge pages are like in a dump, or in a guest that is frozen or runs",
        epilog="harness drgn results/RUN/TRIAL: what harness run --on-splat dump wrote",
    )
    drgn.add_argument("dump", nargs="?", type=Path, help="a dump, or the folder of its trial")
    drgn.add_argument("-g", "--guest", default="", help="which one; default: the newest")
    drgn.add_argument(
        "--now",
        action="store_true",
        help="a frozen guest as it is now, not as it was when its report began",
    )
    drgn.add_argument("--shell", action="store_true", help="drgn itself, with the dump open")
    drgn.add_argument("--vmlinux", type=Path, help="default: the kernel that the record names")
    drgn.set_defaults(main=run_drgn)


def run_gdb(args: argparse.Namespace) -> int:
    if not shutil.which("gdb"):
        raise EnvironmentFault("there is no gdb", hint="apt install gdb")
    kept = find(args.guest)
    vmlinux = _symbols(kept)
    with tempfile.TemporaryDirectory(prefix="harness-source-") as scratch:
        source = Path(scratch)
        with default_progress().stage(f"unpacking the source of {kept.kernel}"):
            check_out(vmlinux.parent, vmlinux, source)
        with asked(kept.folder, "gdb") as socket:
            # gdb speaks of files as they were called where the kernel was built: from its root.
            return subprocess.call(gdb_command(vmlinux, source, socket, args.behind))


def gdb_command(vmlinux: Path, source: Path, socket: str, more: list[str]) -> list[str]:
    return [
        "gdb",
        *("-nx", "-quiet"),
        *("-ex", "set confirm off"),
        *("-ex", "set pagination off"),
        *("-ex", f"directory {source}"),
        *("-ex", f"target remote {socket}"),
        *more,
        str(vmlinux),
    ]


def run_drgn(args: argparse.Namespace) -> int:
    if importlib.util.find_spec("drgn") is None:
        raise EnvironmentFault(
            "drgn is needed for this", hint="pip install 'hugetlb-harness[drgn]', or -e '.[drgn]'"
        )
    if args.dump and args.guest:
        raise UsageError("one of the two is wanted: a dump, or a guest")
    if args.dump:
        dump = args.dump / DUMP if args.dump.is_dir() else args.dump
        if not dump.is_file():
            raise UsageError(
                f"{dump}: no such dump", hint="harness run --on-splat dump writes them"
            )
        vmlinux, release = _recorded(dump, args.vmlinux)
    else:
        kept = find(args.guest)
        vmlinux, release = args.vmlinux or _symbols(kept), kept.release
        dump = Path(kept.console).with_name(DUMP)  # of the splat's first sign, by --on-splat freeze
        if kept.state != "frozen" or args.now or not dump.is_file():
            dump = kept.folder / DUMP
            stage = default_progress().stage(f"dumping the memory of {kept.name}")
            with stage, asked(kept.folder, "dump", dump):
                pass
    command = [sys.executable, "-m", "harness.dump.opened", str(dump), str(vmlinux), release]
    return subprocess.call([*command, *(["--shell"] if args.shell else [])], cwd=PROJECT)


def _symbols(kept: Kept) -> Path:
    if not kept.vmlinux:
        raise UsageError(f"{kept.name}: {kept.kernel} has no debug information")
    return Path(kept.vmlinux)


def _recorded(dump: Path, vmlinux: Path | None) -> tuple[Path, str]:
    """The kernel of a dump: the run's record names it by its content."""
    record = dump.absolute().parent.parent / "result.json"
    try:
        trials = json.loads(record.read_text(encoding="utf-8"))["trials"]
        kernel = next(t["kernel"] for t in trials if t["folder"] == dump.absolute().parent.name)
        content, release = str(kernel["content_id"]), str(kernel["release"])
    except (OSError, ValueError, KeyError, StopIteration, TypeError):
        raise UsageError(f"{dump}: {record} does not tell whose memory it is") from None
    found = vmlinux or cache_dir() / "kernels" / content / "vmlinux"
    if not found.is_file():
        raise UsageError(
            f"{found}: the kernel of this dump is not there any more",
            hint="build it again (harness build), or give --vmlinux FILE",
        )
    return found, release
