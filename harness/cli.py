"""The command ``harness``: one verb for each thing that people do.  Holds no logic.

Exit status: 0 all PASS, 1 a FAIL, 125 nothing failed but something was not shown (INCONCLUSIVE,
SKIP), as git bisect run reads them; 2 a usage error, 3 the host or the harness, which git bisect
run would take for a bad revision.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from harness.errors import EnvironmentFault, HarnessError
from harness.stop import Terminated, notes, terminable

VERBS: dict[str, dict[str, str]] = {
    "doctor": {"doctor": "what this host has and lacks, and the command that mends it"},
    "kernels": {
        "kernels": "the declared kernels",
        "build": "build kernels, or find them built already",
    },
    "guests": {
        "boot": "leave a guest running, and say how to reach it",
        "guests": "the guests that run or are frozen",
        "shell": "a shell, or one command, in a guest that is running",
        "halt": "end guests that were left running",
    },
    "inside": {
        "gdb": "gdb at the kernel of a guest that is frozen or runs",
        "drgn": "what huge pages are like in a dump, or in a guest that is frozen or runs",
    },
    "prune": {"prune": "show the templates of guests, and remove those beyond the limit"},
    "trials": {
        "run": "run test cases on kernels and judge them",
        "reproduce": "run any C file until it splats, or what a report shows until it comes here",
    },
    "payload": {"payload": "run other people's tests: LTP's, libhugetlbfs's, the kernel's own"},
    "campaigns": {
        "rate": "how often a case fails on a kernel: k of n, and what that proves",
        "verify": "whether a patch fixes it: kernels with and without, run in turns",
        "trial": "one verdict with the exit status of git bisect run: 0, 1, 125, 128 and more",
    },
    "bisects": {"bisect": "which commit or patch did it, when it fails only now and then"},
    "nights": {"nightly": "run a plan, and say what is new, gone or changed since the last nights"},
    "score": {"score": "bring bugs back, one at a time, and count which ones the suite catches"},
    "coverage": {"coverage": "which lines of the kernel's huge page code the cases reach"},
    "history": {"history": "what was seen, when first and last, how often"},
    "report": {"report": "write a page (HTML, one file) that shows what was seen"},
    "export": {"export": "a run as JUnit XML, KTAP, KCIDB, JSON, or a trial as a mail"},
    "bundle": {"bundle": "a trial as one tar that repeats it without the harness"},
    "splats": {"splats": "the kernel's reports in a console or dmesg"},
    "manual": {
        "man": "the manual page: harness man | man -l -",
        "completion": "completion for a shell",
    },
}
"""The modules of ``harness.commands``, and the verbs of each with their help, in the order in which
the help names them.  A module is imported when one of its verbs is called: all of them together
take longer than many a verb."""

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

INTERRUPTED, TERMINATED = 130, 143
"""128 and the number of the signal; git bisect run stops at 128 and more."""


def parser(verb: str | None = None) -> argparse.ArgumentParser:
    """The parser of the whole command; with ``verb``, one that knows nothing of the other verbs
    but their names and what they are for."""
    top = argparse.ArgumentParser(
        prog="harness",
        description="Drives hugetlb page migration in real kernels on virtual machines, and judges"
        " what they print.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = top.add_subparsers(metavar="VERB", required=True)
    for module, helps in VERBS.items():
        if verb is None or verb in helps:
            importlib.import_module(f"harness.commands.{module}").add(verbs)
        else:
            for name, text in helps.items():
                verbs.add_parser(name, help=text)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    # argparse (before 3.13) takes "FILE --option -- ARGS" for no ARGS at all, and then complains.
    at = words.index("--") if "--" in words else len(words)
    top = parser(words[0] if words else "")
    args = top.parse_args(words[:at])
    if words[at:] and not hasattr(args, "behind"):
        top.error(f"nothing is expected behind --: {' '.join(words[at:])}")
    args.behind = words[at + 1 :]
    try:
        with terminable():
            status = int(args.main(args))
        sys.stdout.flush()  # a reader that went away is found out here, not at the exit
    except HarnessError as error:
        return _complain(error)
    except KeyboardInterrupt as error:
        ended = isinstance(error, Terminated)
        told = "; ".join(notes(error)) or "what was recorded stays"
        print(f"{'terminated' if ended else 'interrupted'}; {told}", file=sys.stderr)
        return TERMINATED if ended else INTERRUPTED
    except (BrokenPipeError, SystemExit):  # rich makes exit status 1 of it, which is a FAIL
        # What is still buffered would raise again at the exit, and make a status of its own.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EnvironmentFault.exit_code
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _complain(EnvironmentFault(f"{where}{error.strerror or error}"))
    return status


def _complain(error: HarnessError) -> int:
    from rich.console import Console  # only here, and half of the time that a help takes

    console = Console(stderr=True, soft_wrap=True)
    console.print(f"harness: {error.what}", style="red", markup=False, highlight=False)
    if error.hint:
        console.print(f"  -> {error.hint}", markup=False, highlight=False)
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
