"""harness report: one HTML file for a run, for runs beside each other, or for the whole history."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.commands.history import chosen
from harness.errors import HarnessError, UsageError
from harness.record.folder import RESULTS, write
from harness.record.history import questions
from harness.record.history.ingest import catch_up
from harness.record.history.store import History
from harness.record.load import Run, load_run, readable, run_folders

LOG = "bisect.jsonl"

EXAMPLES = """\
examples:
  harness report                         the newest run: results/<run>/report.html
  harness report results/20261124-*      that run
  harness report --compare OLD NEW       two runs, or more, beside each other
  harness report --all -o history.html   everything in the history
  harness report RUN/bisect.jsonl        a bisection, also one under way
  harness report score.json              what harness score --json wrote
  harness report results/nightly/plan    the newest night of a plan
"""


def add(verbs: Any) -> None:
    verb = verbs.add_parser(
        "report",
        help="write a page (HTML, one file) that shows what was seen",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = verb.add_mutually_exclusive_group()
    what.add_argument(
        "run",
        nargs="?",
        help="a run's folder or name (default: the newest), or the folder or file of a bisection,"
        " a score or a night",
    )
    what.add_argument("--compare", nargs="+", metavar="RUN", help="several runs")
    what.add_argument("--all", action="store_true", help="the whole history")
    verb.add_argument("-o", "--output", type=Path, help="the file to write")
    verb.add_argument("--results", type=Path, default=RESULTS, help="where run folders are")
    verb.add_argument("--history", type=Path, metavar="FILE", help="another history")
    verb.set_defaults(main=report)


def report(args: argparse.Namespace) -> int:
    # jinja2 takes longer to load than most verbs take to run.
    from harness.record.page.historypage import history_page
    from harness.record.page.runpage import compare_page, run_page

    if args.all:
        page: Path = (args.output or Path("report.html")).absolute()
        with History(chosen(args)) as history:
            catch_up(history)
            text = history_page(history, page)
    elif args.compare:
        if len(args.compare) < 2:
            raise UsageError("--compare wants two runs or more")
        runs = [found(name, args.results) for name in args.compare]
        page = (args.output or Path("report.html")).absolute()
        runs.sort(key=lambda run: run.started)
        with contextlib.ExitStack() as stack:
            for run in runs:
                stack.enter_context(readable(run))
            text = compare_page(runs, page, seen_before(args))
    elif campaign := _campaign(args):
        page, text = campaign
    else:
        run = found(args.run, args.results)
        page = (args.output or run.folder / "report.html").absolute()
        with readable(run):
            text = run_page(run, page, seen_before(args))
    write_page(page, text)
    return 0


def _campaign(args: argparse.Namespace) -> tuple[Path, str] | None:
    """Where the page of a bisection, a score or a night goes, and its text; None for a run."""
    from harness.record.page.bisectpage import bisect_page
    from harness.record.page.campaignfile import checked, load_campaign
    from harness.record.page.evidence import evidence
    from harness.record.page.nightpage import night_page
    from harness.record.page.scorepage import score_page

    file = _campaign_file(args)
    if file is None:
        return None
    if file.suffix == ".jsonl":
        from harness.campaign.course import course  # numpy, which no other page needs

        kind, document = "bisect", checked(file, course(file), "bisect")
        results = _results_of(file, [step.get("folder", "") for step in document["steps"]])
    elif loaded := load_campaign(file):
        kind, document = loaded
        results = args.results
    else:
        return None
    page: Path = (args.output or file.with_suffix(".html")).absolute()
    names = {
        "bisect": lambda: [step.get("folder", "") for step in document.get("steps", [])],
        "night": lambda: [name for line in document["lines"] for name in line["trials"]],
        "score": lambda: [a["folder"] for row in document["rows"] for a in row["attempts"]],
    }[kind]()
    shown, keys = evidence(
        names, results.absolute(), file.parent.absolute(), page, seen_before(args)
    )
    if kind == "bisect":
        return page, bisect_page(document, shown)
    return page, (night_page if kind == "night" else score_page)(document, shown, keys)


def _results_of(log: Path, trials: Sequence[str]) -> Path:
    """Where the trials of a bisection are: above its own run folder, or above a plan's nights."""
    for folder in log.absolute().parents[1:5]:
        if any(name and (folder / name).is_dir() for name in trials):
            return folder
    return log.parent.parent


def _campaign_file(args: argparse.Namespace) -> Path | None:
    """The file that is named, or lies in the folder that is named or newest."""
    if args.run is None:
        newest = list(run_folders(args.results))[-1:] if args.results.is_dir() else []
        return next((folder / LOG for folder in newest if (folder / LOG).is_file()), None)
    results: Path = args.results
    for path in (Path(args.run), results / str(args.run)):
        if path.is_file():
            return path
        if (path / LOG).is_file():
            return path / LOG
        nights = sorted(path.glob("[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9].json"))
        if nights:
            return nights[-1]
        if path.is_dir():
            return None
    return None


def write_page(page: Path, text: str) -> None:
    if not page.parent.is_dir():
        raise UsageError(f"{page.parent}: no such folder")
    write(page, text.encode("utf-8", "backslashreplace"))
    print(page)


def found(name: str | None, results: Path) -> Run:
    """The run that a folder, a file in it, or a name means; the newest without one."""
    if name is None:
        folders = list(run_folders(results)) if results.is_dir() else []
        if not folders:
            raise UsageError(f"{results}: no run was recorded there", hint="harness run")
        return load_run(folders[-1])
    for path in (Path(name), results / name):
        if path.exists():
            folders = list(run_folders(path))
            if len(folders) == 1:
                return load_run(folders[0])
            if not folders:
                raise UsageError(f"{path}: not a run folder: no result.json in it")
            raise UsageError(f"{path}: several runs in it: {folders[0].name}, ...")
    raise UsageError(f"{name}: no such run, nor one of that name in {results}")


def seen_before(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """What the history knows of each signature; nothing where there is none that can be read."""
    try:
        with History(chosen(args), readonly=True) as history:
            rows: Sequence[Any] = questions.signatures(history)
            return {row["signature"]: dict(row) for row in rows}
    except HarnessError:
        return {}
