"""harness bundle: a trial as one tar that repeats it without the harness."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from harness.commands.export import chosen_trial
from harness.commands.report import found
from harness.errors import UsageError
from harness.record.folder import RESULTS, write
from harness.record.load import readable

EXAMPLES = """\
examples:
  harness bundle                                     the first FAIL of the newest run
  harness bundle results/RUN/001-CASE--KERNEL        that trial
  tar xf RUN-001-CASE--KERNEL.tar.gz && sh RUN-001-CASE--KERNEL/run.sh
"""


def add(verbs: Any) -> None:
    verb = verbs.add_parser(
        "bundle",
        help="a trial as one tar that repeats it without the harness",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument("trial", nargs="?", help="a trial's folder, or a run; default: the newest")
    verb.add_argument("-o", "--output", type=Path, help="the tar; default: named as the trial")
    verb.add_argument("--results", type=Path, default=RESULTS, help="where run folders are")
    verb.set_defaults(main=make)


def make(args: argparse.Namespace) -> int:
    from harness.record.bundle import bundle  # a compiler and a cache stand behind it

    name, wanted = args.trial, ""
    if name is not None:
        path = Path(name).absolute()
        if path.is_dir() and not (path / "result.json").exists():
            if not (path.parent / "result.json").exists():
                raise UsageError(f"{name}: neither a run's folder nor a trial's")
            name, wanted = str(path.parent), path.name
    run = found(name, args.results)
    with readable(run):
        title, content = bundle(run, chosen_trial(run, wanted))
    output = (args.output or Path(f"{title}.tar.gz")).absolute()
    if not output.parent.is_dir():
        raise UsageError(f"{output.parent}: no such folder")
    write(output, content)
    print(f"{output} ({len(content) / 1e6:.1f} MB)")
    return 0
