"""harness export: a run in the formats that the community's tools read."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.commands.report import found, seen_before
from harness.errors import UsageError
from harness.record.folder import RESULTS, encoded, write
from harness.record.formats.junit import junit
from harness.record.formats.kcidb import kcidb
from harness.record.formats.ktap import ktap
from harness.record.formats.mail import mail
from harness.record.load import Run, readable
from harness.spec.cases import load_cases

EXAMPLES = """\
examples:
  harness export ktap                       the newest run, for kunit.py parse
  harness export junit RUN -o report.xml    for a CI server
  harness export kcidb RUN | kcidb-submit   for KernelCI
  harness export json RUN                   after results/result.schema.json
  harness export mail RUN --trial 1 > bug.eml && git send-email --to=... bug.eml
"""

WHOLE: dict[str, Callable[[Run], str]] = {
    "junit": junit,
    "ktap": ktap,
    "kcidb": lambda run: json.dumps(kcidb(run), indent=1) + "\n",
    "json": lambda run: encoded(
        {
            **{"schema": 1, "run": run.name, "started": run.started},
            **{"command": list(run.command), "host": run.host, "trials": run.trials},
        }
    ).decode(),
}


def add(verbs: Any) -> None:
    verb = verbs.add_parser(
        "export",
        help="a run as JUnit XML, KTAP, KCIDB, JSON, or a trial as a mail",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument("format", choices=(*WHOLE, "mail"))
    verb.add_argument("run", nargs="?", help="a run's folder or name; default: the newest")
    verb.add_argument("-t", "--trial", default="", help="mail: its number or folder in the run")
    verb.add_argument("-o", "--output", type=Path, help="a file; default: standard output")
    verb.add_argument("--results", type=Path, default=RESULTS, help="where run folders are")
    verb.add_argument("--history", type=Path, metavar="FILE", help="another history")
    verb.set_defaults(main=export)


def export(args: argparse.Namespace) -> int:
    run = found(args.run, args.results)
    with readable(run):
        text = _mail(run, args) if args.format == "mail" else WHOLE[args.format](run)
    for complaint in run.complaints:
        print(complaint, file=sys.stderr)
    content = text.encode("utf-8", "backslashreplace")
    if args.output:
        write(args.output.absolute(), content)
        print(args.output)
    else:
        sys.stdout.write(content.decode())
    return 0


def _mail(run: Run, args: argparse.Namespace) -> str:
    trial = chosen_trial(run, args.trial)
    signature = trial["splats"][0]["signature"] if trial["splats"] else ""
    config = run.folder / f"config-{trial['kernel']['name']}"
    sources = {case.name: case.reproducer for case in load_cases()}
    file = sources.get(trial["case"])
    return mail(
        trial,
        source=file.read_text(encoding="utf-8") if file else "",
        config=config if config.is_file() else None,
        seen=seen_before(args).get(signature),
    )


def chosen_trial(run: Run, wanted: str) -> dict[str, Any]:
    """The trial that a number or a folder's name means; the first FAIL without one."""
    if not wanted:
        for trial in run.trials:
            if trial["verdict"] == "FAIL":
                return trial
        raise UsageError(f"{run.folder}: no trial failed", hint="--trial names another one")
    for number, trial in enumerate(run.trials, 1):
        if wanted in (str(number), trial["folder"]):
            return trial
    raise UsageError(
        f"{run.folder}: no trial {wanted!r}",
        hint="there are: " + ", ".join(trial["folder"] for trial in run.trials[:8]),
    )
