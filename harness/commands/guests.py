"""harness boot, harness guests, harness shell, harness halt."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import time
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.commands.options import common
from harness.errors import EnvironmentFault, UsageError
from harness.guest.control import asked
from harness.guest.keeper import Kept, find, halt, keep, running
from harness.kernel.build import build
from harness.progress import default_progress
from harness.spec.kernel import load_kernel
from harness.spec.machine import USUAL_MACHINE, load_machine


def add(verbs: Any) -> None:
    booting = verbs.add_parser(
        "boot",
        help="leave a guest running, and say how to reach it",
        epilog="harness boot -k v5.10-debug",
    )
    common(booting, several=False)
    booting.set_defaults(main=boot)
    listing = verbs.add_parser(
        "guests", help="the guests that run or are frozen", epilog="harness guests"
    )
    listing.set_defaults(main=show_guests)
    shell = verbs.add_parser(
        "shell",
        help="a shell, or one command, in a guest that is running",
        epilog="harness shell -- cat /proc/lockdep_stats",
    )
    shell.add_argument("-g", "--guest", default="", help="which one; default: the newest")
    shell.add_argument("command", nargs="*", help="a command (after --); default: a shell")
    shell.set_defaults(main=run_shell, behind=[])
    halting = verbs.add_parser(
        "halt", help="end guests that were left running", epilog="harness halt"
    )
    halting.add_argument("guest", nargs="*", help="which; needed when several are held")
    halting.add_argument("--all", action="store_true", help="all of them")
    halting.set_defaults(main=run_halt)


def boot(args: argparse.Namespace) -> int:
    if args.kernel and len(args.kernel) > 1:
        raise UsageError("harness boot takes one --kernel")
    spec = load_kernel((args.kernel or [args.default_kernel])[0])
    machine = load_machine(args.machine or USUAL_MACHINE)
    progress = default_progress()
    kernel = build(spec, progress=progress, jobs=args.jobs)
    with progress.stage(f"boot {kernel.name} on {machine.name}"):
        kept = keep(kernel, machine, args.accel, args.append)
    ssh = shlex.join(_ssh(kept))
    print(f"{kept.name} is running: {kept.kernel} on {kept.machine}")
    print(f"  shell    harness shell -g {kept.name}")
    print(f"  ssh      {ssh}")
    print(f"  gdb      harness gdb -g {kept.name}")
    print(f"  console  {kept.console}")
    print(
        f"  pytest   pytest testcases/ --ssh root@127.0.0.1:{kept.port}"
        f" --ssh-key {kept.key} --ssh-known-hosts {kept.known_hosts}"
    )
    print(f"  end      harness halt {kept.name}")
    return 0


def _ssh(kept: Kept) -> list[str]:
    """OpenSSH's client with this guest's key and host key, and nothing of the user's."""
    return [
        "ssh",
        *("-F", "none"),
        *("-i", kept.key),
        *("-o", "IdentitiesOnly=yes"),
        *("-o", "IdentityAgent=none"),
        *("-o", "GlobalKnownHostsFile=none"),
        *("-o", f"UserKnownHostsFile={kept.known_hosts}"),
        *("-o", "StrictHostKeyChecking=yes"),
        *("-o", "ConnectTimeout=60"),  # a kernel that has reported may serve nobody any more
        *("-p", str(kept.port)),
        "root@127.0.0.1",
    ]


def show_guests(args: argparse.Namespace) -> int:
    guests = running()
    table = Table("guest", "kernel", "machine", "state", "ends at", "why")
    for kept in guests:
        until = time.strftime("%d %b %H:%M", time.localtime(kept.until)) if kept.until else ""
        # What a guest is frozen for is its kernel's own text.
        words = (kept.name, kept.kernel, kept.machine, kept.state, until, kept.why)
        table.add_row(*map(Text, words))
    if guests:
        console = Console()
        (console if console.is_terminal else Console(width=120)).print(table)
        print("harness shell, gdb, drgn -g NAME; harness halt NAME")
    else:
        print("no guest is held")
    return 0


def run_shell(args: argparse.Namespace) -> int:
    if not shutil.which("ssh"):
        raise EnvironmentFault("ssh is needed for this", hint="harness doctor")
    kept = find(args.guest)
    command = [*args.command, *args.behind]  # joined by ssh, as ssh itself does
    with contextlib.ExitStack() as undo:
        if kept.state == "frozen":
            undo.enter_context(asked(kept.folder, "run"))
            print(f"{kept.name} runs until the shell ends: {kept.why}", file=sys.stderr)
        return subprocess.call([*_ssh(kept), *command], env=dict(os.environ, LC_ALL="C"))


def run_halt(args: argparse.Namespace) -> int:
    held = running()
    if not args.all and not args.guest and len(held) > 1:
        # Another user's, or another campaign's, may be the newest.
        names = ", ".join(kept.name for kept in held)
        raise UsageError(f"{len(held)} guests are held: {names}", hint="name one, or --all")
    guests = held if args.all else [find(name) for name in args.guest or [""]]
    for kept in guests:
        halt(kept)
        print(f"{kept.name} is ended")
    return 0
