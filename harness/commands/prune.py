"""harness prune."""

from __future__ import annotations

import argparse
import time
from typing import Any

from rich.console import Console
from rich.table import Table

from harness.commands.options import positive
from harness.guest.template import Template, limit, remove, shrink_to, templates


def add(verbs: Any) -> None:
    verb = verbs.add_parser(
        "prune",
        help="show the templates of guests, and remove those beyond the limit",
        epilog="harness prune: those that were not used for longest go first; a guest that runs is"
        " not touched",
    )
    how = verb.add_mutually_exclusive_group()
    how.add_argument("--limit", type=positive, metavar="MiB", help="default: the one for all")
    how.add_argument("--all", action="store_true", help="remove every template")
    verb.add_argument("--dry-run", action="store_true", help="show them, remove none")
    verb.set_defaults(main=run)


def run(args: argparse.Namespace) -> int:
    there = templates()
    allowed = 0 if args.all else args.limit << 20 if args.limit else limit()
    gone: list[Template] = []
    if args.all and not args.dry_run:
        gone = [template for template in there if remove(template.key)]
    elif not args.dry_run:
        gone = shrink_to(allowed)
    removed = {template.key for template in gone}
    table = Table("template", "kernel", "machine", "MiB", "last used", "")
    for template in there:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(template.used))
        table.add_row(
            *(template.key[:12], template.kernel, template.machine),
            *(str(template.bytes >> 20), used),
            "removed" if template.key in removed else "",
        )
    if there:
        Console().print(table)
    total = sum(template.bytes for template in there if template.key not in removed)
    print(f"{total >> 20} MiB of templates are kept, {allowed >> 20} are allowed")
    return 0
