"""A dump that is open in drgn: python -m harness.dump.opened DUMP VMLINUX RELEASE [--shell].

A process of its own: drgn is an extra, and a library that reads what a broken kernel left behind
may take its process with it.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from harness.dump.note import vmcoreinfo
from harness.errors import HarnessError


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("dump", type=Path)
    parser.add_argument("vmlinux", type=Path)
    parser.add_argument("release")
    parser.add_argument("--shell", action="store_true")
    args = parser.parse_args()
    from drgn import Program
    from drgn.cli import run_interactive

    # It warns of each variable whose place gcc describes by an extension that it does not know.
    logging.getLogger("drgn").setLevel(logging.ERROR)
    try:
        prog = Program(vmcoreinfo=vmcoreinfo(args.vmlinux, args.release))
        prog.set_core_dump(args.dump)
        prog.load_debug_info([args.vmlinux])
    except HarnessError as error:
        print(f"harness: {error}", file=sys.stderr)
        return error.exit_code
    except Exception as error:  # drgn's own errors are bare Exceptions too
        print(f"harness: {args.dump}: drgn cannot read it: {error}", file=sys.stderr)
        return HarnessError.exit_code
    from harness.dump import pages

    if args.shell:
        run_interactive(
            prog,
            banner_func=lambda banner: (
                banner + "\npages.main(prog) prints what huge pages are like"
            ),
            globals_func=lambda known: known | {"pages": pages},
        )
        return 0
    pages.main(prog)
    return 0


if __name__ == "__main__":
    sys.exit(main())
