"""The command ``harness``: one verb for each thing that people do.  Holds no logic.

Exit status: 0 all PASS, 1 a FAIL, 125 nothing failed but something was not shown (INCONCLUSIVE,
SKIP), as git bisect run reads them; 2 a usage error, 3 the host or the harness, which git bisect
run would take for a bad revision.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from rich.console import Console

from harness.commands import (
    bisects,
    bundle,
    campaigns,
    coverage,
    doctor,
    export,
    guests,
    history,
    kernels,
    manual,
    nights,
    payload,
    prune,
    report,
    score,
    splats,
    trials,
)
from harness.errors import EnvironmentFault, HarnessError

VERBS = (
    doctor,
    kernels,
    guests,
    prune,
    trials,
    payload,
    campaigns,
    bisects,
    nights,
    score,
    coverage,
    history,
    report,
    export,
    bundle,
    splats,
)
"""In the order in which the help names them."""

EXAMPLES = """\
examples:
  harness doctor                                what this host lacks, and what mends it
  harness run -k v5.10-debug --time 60          all test cases on a kernel
  harness run -k mine.yaml anon_fork_migrate    one of them on a kernel of yours
  harness reproduce repro.c -k v6.1-debug --until-splat --for 3600
  harness reproduce --report mail.txt           until the splat of a mail comes here too
  harness report                                a page of the newest run
  harness history signatures                    what was ever seen
  harness export mail                           a failed trial as a report to a list
  harness bundle                                the same as a tar that runs without the harness

exit status: 0 all PASS, 1 a FAIL, 125 inconclusive or skipped, 2 usage, 3 host or harness
"""

INTERRUPTED = 130
"""128 + SIGINT; git bisect run stops at 128 and more."""


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="harness",
        description="Drives hugetlb page migration in real kernels on virtual machines, and judges"
        " what they print.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = top.add_subparsers(metavar="VERB", required=True)
    for module in VERBS:
        module.add(verbs)
    manual.add(verbs, parser)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    # argparse (before 3.13) takes "FILE --option -- ARGS" for no ARGS at all, and then complains.
    at = words.index("--") if "--" in words else len(words)
    top = parser()
    args = top.parse_args(words[:at])
    if words[at:] and not hasattr(args, "behind"):
        top.error(f"nothing is expected behind --: {' '.join(words[at:])}")
    args.behind = words[at + 1 :]
    try:
        status = int(args.main(args))
        sys.stdout.flush()  # a reader that went away is found out here, not at the exit
    except HarnessError as error:
        return _complain(error)
    except KeyboardInterrupt:
        print("interrupted; what was recorded stays", file=sys.stderr)
        return INTERRUPTED
    except (BrokenPipeError, SystemExit):  # rich makes exit status 1 of it, which is a FAIL
        # What is still buffered would raise again at the exit, and make a status of its own.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EnvironmentFault.exit_code
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _complain(EnvironmentFault(f"{where}{error.strerror or error}"))
    return status


def _complain(error: HarnessError) -> int:
    console = Console(stderr=True, soft_wrap=True)
    console.print(f"harness: {error.what}", style="red", markup=False, highlight=False)
    if error.hint:
        console.print(f"  -> {error.hint}", markup=False, highlight=False)
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
