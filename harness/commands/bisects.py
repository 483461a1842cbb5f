"""harness bisect: start, resume, good, bad, skip, log, replay."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.campaign import commits as commits_
from harness.campaign.bench import GuestBench
from harness.campaign.bisect import PATIENCE, Bisection, Budget, Ending, forecast
from harness.campaign.casebook import Casebook
from harness.campaign.commits import Commits
from harness.campaign.course import LOG, named, start_of
from harness.campaign.earlier import Earlier, earlier
from harness.campaign.engine import Engine
from harness.campaign.logbook import Event, Logbook
from harness.campaign.sameness import image_of
from harness.campaign.search import Policy
from harness.campaign.series import Series
from harness.campaign.told import counts, event_line, report
from harness.commands.campaigns import (
    command,
    dry,
    engine_of,
    one_case,
    plan_for,
    reproducer_of,
    share,
)
from harness.commands.options import cluster, parallel, positive
from harness.commands.trials import EXIT_FAIL, EXIT_UNSHOWN
from harness.errors import UsageError
from harness.progress import Progress, default_progress
from harness.record.folder import RESULTS, RunFolder, write
from harness.record.text import plain
from harness.stop import keeping

KNOWN = 3
"""Failures after which the rate is known well enough to say how much there is still to do."""

QUIET = 10
"""Passes of the bad end after which a person should know that it may be the wrong one."""


def add(verbs: Any) -> None:
    top = verbs.add_parser(
        "bisect",
        help="which commit or patch did it, when it fails only now and then",
        epilog="harness bisect start anon_fork_migrate -k v5.10-debug --series series.mbox",
    )
    words = top.add_subparsers(metavar="WORD", required=True)
    start = words.add_parser("start", help="begin, and go on until there is an answer")
    one_case(start)
    what = start.add_mutually_exclusive_group(required=True)
    what.add_argument("--series", help="patches on --kernel: a mailbox, or A..B of --tree")
    what.add_argument("--range", help="A..B of --tree, built with the configuration of --kernel")
    start.add_argument("--tree", type=Path, default=Path(), help="git repository, default: .")
    start.add_argument("--race", default="", help="the bug that counts; default: the bad end's")
    _limits(start)
    start.set_defaults(main=run_start)
    resume = words.add_parser("resume", help="go on with one that was interrupted")
    _where(resume)
    _again(resume)
    resume.set_defaults(main=run_resume)
    for word in ("good", "bad", "skip"):
        saying = words.add_parser(
            word,
            help=f"say that a commit is {word}"
            if word != "skip"
            else "say that a commit is not to be run",
        )
        saying.add_argument("commit", nargs="+", help="its number in the range, or its id")
        _where(saying, option=True)
        saying.set_defaults(main=run_word, word=word)
    log = words.add_parser("log", help="what was run and said, as git bisect log has it")
    _where(log)
    log.add_argument("--json", action="store_true", help="the events, which replay reads")
    log.set_defaults(main=run_log)
    replay = words.add_parser("replay", help="take over the events of a log, and go on")
    replay.add_argument("file", type=Path, help=f"a {LOG}")
    _where(replay, option=True)
    _again(replay)
    replay.set_defaults(main=run_replay)


def _limits(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--from",
        dest="given",
        type=Path,
        action="append",
        default=[],
        metavar="RUN",
        help="a run's folder, say of harness rate: what it holds of the same kernels counts too",
    )
    verb.add_argument("--confidence", type=share, help="that the answer is right: 0.95")
    verb.add_argument("--runs", type=positive, help="at most in this sitting")
    verb.add_argument("--for", dest="budget", type=positive, help="seconds, likewise")


def _again(verb: argparse.ArgumentParser) -> None:
    """What another sitting may do in another way."""
    _limits(verb)
    parallel(verb)
    cluster(verb)


def _where(verb: argparse.ArgumentParser, *, option: bool = False) -> None:
    told = "its folder; default: the newest"
    if option:
        verb.add_argument("--in", dest="folder", type=Path, help=told)
    else:
        verb.add_argument("folder", type=Path, nargs="?", help=told)
    verb.add_argument("--results", type=Path, default=RESULTS, help="where run folders are")


@dataclass(frozen=True)
class _Begun:
    """A bisection as it was started: everything that a resumption needs."""

    folder: Path
    plan: Series
    commits: Commits
    policy: Policy
    earlier: Earlier


def run_start(args: argparse.Namespace) -> int:
    plan, progress = plan_for(args), default_progress()
    if args.dry_run:
        return dry(plan, f"# and each commit of {args.series or args.range}, as it is asked for")
    known = _given(args.given, plan, progress)
    with engine_of(plan, args, progress) as engine:
        return _start(plan, known, engine, args, progress)


def _start(
    plan: Series, known: Earlier, engine: Engine, args: argparse.Namespace, progress: Progress
) -> int:
    base = plan.kernels[0]
    folder = RunFolder(command(), args.results)
    parts = folder.path / "commits"
    facts: dict[str, object] = {}
    try:
        if args.range:
            commits = commits_.commit_range(base, args.tree, args.range, parts)
            ends = f"{commits.all[0].spec.sources[0].ref}..{commits.all[-1].spec.sources[0].ref}"  # type: ignore[union-attr]
            facts |= {"range": ends, "tree": str(args.tree.expanduser().resolve())}
        else:
            file = _series(args, parts)
            commits = commits_.series(base, file, parts, progress)
            kept = str(_kept(file, parts).relative_to(folder.path))
            facts |= {"series": kept, "file": args.series}
    except (UsageError, KeyboardInterrupt):
        shutil.rmtree(folder.path)  # nothing was run: there is nothing to keep
        raise
    confidence = args.confidence or Policy().confidence
    facts |= {
        "format": 1,
        "command": command(),
        "case": args.case,
        "reproducer": reproducer_of(plan.cases[0]),
        "arguments": list(args.behind),
        "kernel": str(base.file.absolute()),
        "machine": args.machine,
        "time": args.time,
        "accel": args.accel,
        "append": list(args.append),
        "confidence": confidence,
        "from": [str(folder.absolute()) for folder in args.given],
        "commits": [[c.name, c.title, c.tree] for c in commits.all],
    }
    log = Logbook(folder.path / LOG)
    log.append("start", facts)
    if args.race:
        log.append("wanted", {"race": args.race})
    begun = _Begun(folder.path, plan, commits, Policy(confidence=confidence), known)
    return _go_on(begun, folder, engine, args, progress)


def _given(folders: Sequence[Path], plan: Series, progress: Progress) -> Earlier:
    """The runs of ``--from``."""
    return earlier(folders, plan, reproducer_of(plan.cases[0]), progress.say) if folders else {}


def _series(args: argparse.Namespace, parts: Path) -> Path:
    """The mailbox that is bisected."""
    file = Path(args.series)
    if ".." in args.series and not file.exists():
        return commits_.exported(args.tree, args.series, parts)
    if not file.is_file():
        raise UsageError(f"{file}: no such mailbox, nor a range A..B")
    return file


def _kept(file: Path, parts: Path) -> Path:
    """``file`` in the record, of the same name: it may be gone when the bisection is resumed."""
    if file.is_relative_to(parts):
        return file
    kept = parts / "given" / file.name
    kept.parent.mkdir()
    shutil.copyfile(file, kept)
    return kept


def run_resume(args: argparse.Namespace) -> int:
    progress = default_progress()
    return _again_on(_begun(_folder(args), args, progress), args, progress)


def run_replay(args: argparse.Namespace) -> int:
    """The runs and words of another log become those of this bisection, if it has none yet."""
    progress = default_progress()
    events = Logbook(args.file).read()
    into = args.folder or args.file.parent
    if into.resolve() != args.file.parent.resolve():
        begun = _begun(into, args, progress)
        log = Logbook(into / LOG)
        if any(event["event"] == "run" for event in log.read()):
            raise UsageError(f"{log.path}: has runs of its own", hint="replay into a new bisection")
        theirs = start_of(events, args.file).get("commits")
        if theirs != [[c.name, c.title, c.tree] for c in begun.commits.all]:
            raise UsageError(f"{args.file}: is of other commits than {log.path}")
        for event in events:
            if event["event"] != "start":
                log.append(event["event"], {k: v for k, v in event.items() if k != "event"})
    else:
        begun = _begun(into, args, progress)
    return _again_on(begun, args, progress)


def _again_on(begun: _Begun, args: argparse.Namespace, progress: Progress) -> int:
    with engine_of(begun.plan, args, progress) as engine:
        return _go_on(begun, None, engine, args, progress)


def run_word(args: argparse.Namespace) -> int:
    folder = _folder(args)
    log = Logbook(folder / LOG)
    commits = named(start_of(log.read(), log.path))
    numbers = [commits.at(word) for word in args.commit]
    with log.held():
        for number in numbers:
            if args.word == "skip":
                log.append("skip", {"commit": number, "why": "said by a person", "by": "person"})
            else:
                log.append("word", {"commit": number, "word": args.word})
            commit = commits.all[number]
            print(plain(f"{commit.name} {commit.title}: {args.word}"))
    print(f"go on with: {_resumption(folder)}")
    return 0


def run_log(args: argparse.Namespace) -> int:
    log = Logbook(_folder(args) / LOG)
    events = log.read()
    if args.json:
        print("\n".join(json.dumps(event, ensure_ascii=False) for event in events))
        return 0
    made = named(start_of(events, log.path))
    book = Casebook(made.n)
    for event in events:
        book.take(event)
        line = event_line(event, book, made)
        if event["event"] == "start":
            print(f"# {' '.join(event['command'])}")
        elif event["event"] in ("word", "skip"):
            word = event.get("word", "skip")
            name = made.all[int(event["commit"])].name
            print(f"# {plain(line)}\nharness bisect {word} {name.partition('/')[0]}")
        elif line:
            print(f"# {plain(line)}")
        elif event["event"] == "end":
            print(f"# {plain(str(event['told']))}")
    print("\n".join(f"# {plain(line)}" for line in counts(book, made)))
    return 0


def _folder(args: argparse.Namespace) -> Path:
    if args.folder:
        if not (args.folder / LOG).is_file():
            raise UsageError(f"{args.folder}: no bisection in it: there is no {LOG}")
        return Path(args.folder)
    found = sorted(args.results.glob(f"*/{LOG}"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise UsageError(f"{args.results}: no bisection in it", hint="harness bisect start")
    return Path(found[-1].parent)


def _begun(folder: Path, args: argparse.Namespace, progress: Progress) -> _Begun:
    """What ``folder``'s log says was started.  Raises UsageError when it is not that any more."""
    log = Logbook(folder / LOG)
    facts = start_of(log.read(), log.path)
    again = argparse.Namespace(
        case=facts["case"],
        behind=facts["arguments"],
        kernel=[facts["kernel"]],
        machine=facts["machine"],
        time=facts["time"],
        accel=facts["accel"],
        append=facts["append"],
        jobs=os.cpu_count() or 1,
        guests=args.guests,
        default_kernel="",
    )
    plan = plan_for(again)
    parts, base = folder / "commits", plan.kernels[0]
    if "range" in facts:
        commits = commits_.commit_range(base, Path(facts["tree"]), facts["range"], parts)
    else:
        commits = commits_.series(base, folder / facts["series"], parts, progress)
    if [[c.name, c.title, c.tree] for c in commits.all] != facts["commits"]:
        raise UsageError(
            f"{folder}: its commits are not those that were begun with: {base.name} has changed",
            hint="start anew; the counts of another source prove nothing",
        )
    confidence = getattr(args, "confidence", None) or float(facts["confidence"])
    # Those of the start may be gone by now: what was taken over of them is in the log.
    given = [Path(text) for text in facts.get("from", ()) if Path(text).exists()]
    known = _given([*given, *args.given], plan, progress)
    return _Begun(folder, plan, commits, Policy(confidence=confidence), known)


def _go_on(
    begun: _Begun,
    folder: RunFolder | None,
    engine: Engine,
    args: argparse.Namespace,
    progress: Progress,
) -> int:
    """A sitting, from what the log holds to an answer, a budget's end or an interruption.

    ``folder`` is for its trials; None: one of its own, made when there is a trial.
    """
    log = Logbook(begun.folder / LOG)
    commits = begun.commits
    told: list[tuple[int, int]] = []

    def tell(event: Event, book: Casebook) -> None:
        if line := event_line(event, book, commits):
            progress.say(plain(line))
        expected = forecast(book, commits)
        seen = sum(tally.fails for tally in book.counts.values())
        if expected and not told and event["event"] == "run" and seen >= KNOWN:
            told.append(expected)
            progress.say(_expected(expected, book, args))
        end = book.counts.get(commits.n)
        if event["event"] == "run" and end and (end.fails, end.runs) == (0, QUIET):
            progress.say(
                f"the bad end has passed {QUIET} times, and is run until it fails, {PATIENCE} times"
                " at most: is it the right kernel, case and time a run?"
            )

    with log.held():

        def room() -> RunFolder:
            return folder or RunFolder(command(), args.results)

        bench = GuestBench(begun.plan, engine, room, progress)
        under = Bisection(commits, log, begun.policy, tell, image_of)
        under.earlier, under.reproducer = begun.earlier, bench.reproducer

        def kept() -> str:
            book = under.book
            return (
                f"{book.runs} runs and {len(book.builds)} builds are kept in {log.path};"
                f" go on with: {_resumption(begun.folder, args)}"
            )

        try:
            with keeping(kept):
                answer = under.run(bench, Budget(args.runs, args.budget))
        except BaseException as error:
            print("\n".join(plain(line) for line in counts(under.book, commits)))
            if not isinstance(error, KeyboardInterrupt):  # which says it last
                print(kept())
            raise
        lines = [plain(line) for line in report(answer, under.book, commits)]
        under.note(
            "end",
            ending=answer.ending.value,
            first=answer.first,
            last=answer.last,
            probability=round(answer.probability, 4),
            told=lines[0],
        )
    print("\n".join(lines))
    write(begun.folder / "bisect.txt", "\n".join([*lines, ""]).encode())
    print(f"record: {begun.folder}")
    if answer.ending is Ending.BUDGET:
        print(f"go on with: {_resumption(begun.folder, args)}")
    return {Ending.FOUND: 0, Ending.IN_GOOD: EXIT_FAIL}.get(answer.ending, EXIT_UNSHOWN)


def _resumption(folder: Path, args: argparse.Namespace | None = None) -> str:
    """The command that goes on, where ``args`` ran its trials."""
    words = ["harness", "bisect", "resume", str(folder)]
    if args and args.guests:
        words += ["-n", str(args.guests)]
    if args and args.cluster:
        words += ["--cluster", str(args.cluster)]
    return shlex.join(words)


def _expected(expected: tuple[int, int], book: Casebook, args: argparse.Namespace) -> str:
    runs, builds = expected
    text = f"about {runs} more runs and {builds} builds are to be expected"
    seconds = book.spent / max(1, book.runs) * runs
    short = (args.runs is not None and args.runs < runs + book.runs) or (
        args.budget is not None and args.budget < seconds
    )
    return text + ("; the budget may not do for a rate so small" if short else "")
