"""harness man, harness completion: the same text as --help has, for man and for shells."""

from __future__ import annotations

import argparse
import datetime
import re
from collections.abc import Iterator
from typing import Any


def add(verbs: Any) -> None:
    man = verbs.add_parser(
        "man",
        help="the manual page: harness man | man -l -",
        description="Prints a manual page.",
        epilog="harness man | man -l -",
    )
    man.set_defaults(main=lambda args: _print(page(_whole())))
    completion = verbs.add_parser(
        "completion",
        help="completion for a shell",
        epilog='examples:\n  eval "$(harness completion bash)"   in ~/.bashrc\n'
        "  harness completion zsh > ~/.zfunc/_harness",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    completion.add_argument("shell", choices=("bash", "zsh", "tcsh"))
    completion.set_defaults(main=lambda args: _complete(_whole(), args.shell))


def _whole() -> argparse.ArgumentParser:
    from harness.cli import parser  # which imports the verbs, this one too

    return parser()


def _complete(top: argparse.ArgumentParser, shell: str) -> int:
    import shtab  # no other verb needs it

    return _print(shtab.complete(top, shell))


def _print(text: str) -> int:
    print(text.rstrip("\n"))
    return 0


def page(top: argparse.ArgumentParser) -> str:
    """The manual in the macros of man(7)."""
    today = datetime.date.today().isoformat()
    lines = [
        f'.TH HARNESS 1 "{today}" "hugetlb-harness" "User Commands"',
        ".SH NAME",
        f"harness \\- {_escaped((top.description or '').rstrip('.'))}",
        ".SH SYNOPSIS",
        ".B harness",
        ".I VERB",
        "[options]",
        ".SH VERBS",
    ]
    helps = _helps(top)
    for name, verb in subverbs(top).items():
        lines += [f".SS harness {_escaped(name)}", _escaped(helps.get(name, "")), ".PP"]
        lines += _options(verb)
        for inner, below in subverbs(verb).items():
            lines += [".TP", f".B {_escaped(name)} {_escaped(inner)}"]
            lines += [_escaped(_helps(verb).get(inner, "")), ".RS", *_options(below), ".RE"]
        lines += _example(verb.epilog or "")
    lines += [".SH EXAMPLES AND EXIT STATUS", *_example(top.epilog or "")]
    return "\n".join(line for line in lines if line) + "\n"


def subverbs(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _helps(parser: argparse.ArgumentParser) -> dict[str, str]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return {choice.dest: choice.help or "" for choice in action._choices_actions}
    return {}


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction | argparse._SubParsersAction):
            continue
        names = ", ".join(action.option_strings) or action.dest
        value = ""
        if action.option_strings and action.nargs != 0:
            metavar = action.metavar or action.dest.upper()
            value = f" {metavar if isinstance(metavar, str) else ' '.join(metavar)}"
        yield ".TP"
        yield f".B {_escaped(names + value)}"
        text = action.help or ""
        if text and text != argparse.SUPPRESS:
            yield _escaped(text.replace("%%", "%"))


def _example(text: str) -> Iterator[str]:
    if text:
        yield ".PP"
        yield ".nf"
        yield from (_escaped(line) or "\\&" for line in text.splitlines())
        yield ".fi"


def _escaped(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", text)
