"""harness history: what was seen, when first and last, how often, on which kernels."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.commands.options import positive
from harness.errors import UsageError
from harness.record.history import questions
from harness.record.history.ingest import catch_up, import_folders
from harness.record.history.salvage import salvage
from harness.record.history.store import History, history_file
from harness.record.interval import wilson
from harness.record.text import plain

EXAMPLES = """\
examples:
  harness history                             what there is: runs, verdicts, the newest splats
  harness history rates -k v5.10-debug        k failures in n trials of each case, with intervals
  harness history signatures                  every splat: first seen, last seen, on which kernels
  harness history signature 4c1f              one of them over time, and trials that show it
  harness history import results/             take up run folders, also those of another machine
  harness history sql "SELECT * FROM signatures WHERE kernels > 1"
"""


def add(verbs: Any) -> None:
    verb = verbs.add_parser(
        "history",
        help="what was seen, when first and last, how often",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _file(verb)
    verb.set_defaults(main=overview)
    inner = verb.add_subparsers(metavar="WHAT")
    for name, about, main in (
        ("runs", "the newest runs", runs),
        ("rates", "failures of each case on each kernel, with 95 %% intervals", rates),
        ("signatures", "every splat that was seen", signatures),
        ("signature", "one splat over time", one_signature),
        ("kernels", "kernels that were run, and what they were built of", kernels),
        ("import", "take up run folders", import_runs),
        ("sql", "any question, in SQL; nothing can be changed by it", sql),
        ("check", "whether the file is sound", check),
        ("salvage", "copy what can be read of a damaged history to a new one", salvaged),
    ):
        each = inner.add_parser(name, help=about)
        _file(each, argparse.SUPPRESS)
        each.set_defaults(main=main)
        if name in ("rates", "signatures"):
            each.add_argument("-k", "--kernel", default="", help="on this kernel alone")
            each.add_argument("-c", "--case", default="", help="of this test case alone")
        if name == "runs":
            each.add_argument("--last", type=positive, default=20, help="how many (default 20)")
        if name == "signature":
            each.add_argument("signature", help="its first digits are enough")
        if name == "import":
            each.add_argument(
                "folder", nargs="+", type=Path, help="run folders, or folders of them"
            )
        if name == "sql":
            each.add_argument("query", help="over runs, trials, splats, signatures, rates, ...")
        if name == "salvage":
            each.add_argument("--to", type=Path, required=True, help="a file that is not there yet")


def _file(verb: argparse.ArgumentParser, default: Any = None) -> None:
    verb.add_argument(
        *("--history",),
        type=Path,
        default=default,
        metavar="FILE",
        help="another history than that of the cache",
    )


def chosen(args: argparse.Namespace) -> Path:
    """The history's file that the command line, or else the environment, names."""
    file: Path | None = args.history or history_file()
    if file is None:
        raise UsageError("the environment says that no history is kept", hint="--history FILE")
    return file


def opened(args: argparse.Namespace) -> History:
    """The history to ask, with what a killed harness left behind taken up first."""
    file = chosen(args)
    if not file.is_file():
        return History(file, readonly=True)  # which complains
    try:
        with History(file) as history:
            catch_up(history)
    except UsageError:
        pass  # of a newer version: it may still be readable
    return History(file, readonly=True)


def overview(args: argparse.Namespace) -> int:
    with opened(args) as history:
        totals = questions.totals(history)
        told = ", ".join(f"{count} {name}" for name, count in sorted(totals.verdicts.items()))
        print(f"{history.file}: {totals.runs} runs, {totals.trials} trials ({told or 'none'})")
        if totals.trials:
            print(f"from {day(totals.first)} to {day(totals.last)}")
        newest = [row for row in questions.signatures(history) if row["own"]][:8]
        if newest:
            _show(("signature", "title", "first", "last", "trials", "kernels"), _seen(newest))
        _show(("run", "trials", "pass", "fail", "command"), _runs(questions.runs(history, 8)))
    return 0


def runs(args: argparse.Namespace) -> int:
    with opened(args) as history:
        found = questions.runs(history, args.last)
        _show(("run", "trials", "pass", "fail", "command"), _runs(found))
    return 0


def _runs(rows: Sequence[Any]) -> list[Sequence[object]]:
    return [
        (r["run"], r["trials"], r["passed"], r["failed"], shlex.join(json.loads(r["command"])))
        for r in rows
    ]


def rates(args: argparse.Namespace) -> int:
    with opened(args) as history:
        drawn = []
        for row in questions.rates(history, args.case, args.kernel):
            low, high = wilson(row["failed"], row["decided"])
            drawn.append(
                (
                    *(row["test_case"], row["reproducer"][:8] or "-"),
                    *(row["kernel"], row["content_id"][:8] or row["release"]),
                    f"{row['failed']} of {row['decided']}",
                    f"{low:.0%} to {high:.0%}" if row["decided"] else "-",
                    row["trials"] - row["decided"],
                    day(row["last_run"]),
                )
            )
        titles = ("case", "reproducer", "kernel", "content", "failed", "95 %", "undecided", "last")
        _show(titles, drawn)
    return 0


def signatures(args: argparse.Namespace) -> int:
    with opened(args) as history:
        found = questions.signatures(history, args.case, args.kernel)
        own = [row for row in found if row["own"]]
        _show(("signature", "title", "first", "last", "trials", "kernels"), _seen(own))
        if len(own) < len(found):
            print(f"{len(found) - len(own)} more came of other reports alone:")
            _show(
                ("signature", "title", "first", "last", "trials", "kernels"),
                _seen([row for row in found if not row["own"]]),
            )
    return 0


def _seen(rows: Sequence[Any]) -> list[Sequence[object]]:
    return [
        (
            *(row["signature"], row["title"], day(row["first_seen"]), day(row["last_seen"])),
            *(row["trials"], row["kernels"].replace(",", ", ")),
        )
        for row in rows
    ]


def one_signature(args: argparse.Namespace) -> int:
    with opened(args) as history:
        wanted = questions.signature(history, args.signature)
        row = next(r for r in questions.signatures(history) if r["signature"] == wanted)
        print(f"{plain(row['title'])}\nsignature {wanted}, race {row['race_key']}")
        print(f"first seen {row['first_seen']}, last {row['last_seen']}, {row['trials']} trials")
        if behind := row["trials"] - row["own"]:
            print(f"in {behind} of them behind another report of its task, perhaps come of that")
        drawn = [
            (r["day"], r["test_case"], r["kernel"], f"{r['seen']} of {r['decided']}")
            for r in questions.sightings(history, wanted)
        ]
        _show(("day", "case", "kernel", "seen in trials"), drawn)
        for row in questions.examples(history, wanted, 5):
            print(f"  {Path(row['run_folder']) / row['folder']}")
    return 0


def kernels(args: argparse.Namespace) -> int:
    with opened(args) as history:
        drawn = []
        for row in questions.kernels(history):
            patches = [str(patch["file"]) for patch in json.loads(row["patches"])]
            of = row["source"] + "".join(f"\n+ {name}" for name in patches)
            drawn.append((row["kernel"], row["release"], row["content_id"][:12], row["trials"], of))
        _show(("kernel", "release", "content", "trials", "built of"), drawn)
    return 0


def import_runs(args: argparse.Namespace) -> int:
    with History(chosen(args)) as history:
        taken = import_folders(history, args.folder)
        for complaint in taken.complaints:
            print(complaint)
        print(f"{history.file}: {taken.trials} new trials of {taken.runs} runs")
    return UsageError.exit_code if taken.complaints else 0


def sql(args: argparse.Namespace) -> int:
    with opened(args) as history:
        names, found = questions.select(history, args.query)
    if not Console().is_terminal:  # for cut, awk, a spreadsheet
        for row in [names, *found] if names else []:
            print("\t".join(_cell(value) for value in row))
        return 0
    _show(names, found)
    return 0


def _cell(value: object) -> str:
    return " ".join(plain(str("" if value is None else value)).split())


def check(args: argparse.Namespace) -> int:
    with History(chosen(args), readonly=True) as history:
        wrong = history.check()
    for line in wrong:
        print(line)
    print(f"{chosen(args)}: {'damaged' if wrong else 'sound'}")
    return 3 if wrong else 0


def salvaged(args: argparse.Namespace) -> int:
    saved = salvage(chosen(args), args.to)
    print(f"{args.to}: {saved.trials} trials; {saved.lost} could not be read")
    return 0


def day(time: str) -> str:
    return time[:10]


def _show(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    if not rows:
        print("nothing was recorded of that")
        return
    drawn = Table(pad_edge=False)
    for number, title in enumerate(titles):
        right = all(isinstance(row[number], int) for row in rows)
        drawn.add_column(title, justify="right" if right else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(plain(str("" if value is None else value))) for value in row))
    console = Console()
    (console if console.is_terminal else Console(width=120)).print(drawn)
