"""Options that several verbs share."""

from __future__ import annotations

import argparse
import os
import re

from harness.campaign.engine import Engine, local
from harness.guest.held import HOLD
from harness.progress import Progress
from harness.spec.machine import USUAL_MACHINE, MachineSpec
from harness.trial.atsplat import OnSplat

DEFAULT_KERNEL = "v5.10-debug"


def common(verb: argparse.ArgumentParser, *, several: bool = True) -> None:
    """Which kernel on which machine, and how."""
    verb.add_argument(
        "-k",
        "--kernel",
        action="append",
        help=("may be given again; " if several else "") + f"default {DEFAULT_KERNEL}",
    )
    verb.add_argument(
        "-m", "--machine", default="", help=f"default: the case's own, or else {USUAL_MACHINE}"
    )
    verb.add_argument("-j", "--jobs", type=positive, default=os.cpu_count() or 1, help="of make")
    verb.add_argument(
        "--accel", choices=("auto", "kvm", "tcg"), default="", help="default: a probe decides"
    )
    verb.add_argument("--append", action="append", default=[], help="kernel parameters")
    verb.set_defaults(default_kernel=DEFAULT_KERNEL)


def parallel(
    verb: argparse.ArgumentParser, default: str = "as many as have CPUs of their own"
) -> None:
    """How many guests at a time.  What runs trials prints them by the long --dry-run alone."""
    verb.add_argument(
        "-n",
        "--guests",
        nargs="?",
        type=_guests,
        const=_NO_NUMBER,
        action=_Guests,
        metavar="N",
        help=f"guests at a time; default: {default}",
    )
    verb.add_argument("--dry-run", action="store_true", help="print what would be run")


def at_splat(verb: argparse.ArgumentParser) -> None:
    """What becomes of a guest whose kernel has reported."""
    verb.add_argument(
        "--on-splat",
        type=OnSplat,
        choices=tuple(OnSplat),
        default=OnSplat.STOP,
        help="stop: throw the guest away (default); freeze: keep the first one, paused, for"
        " harness gdb, drgn, shell; dump: write its memory beside its console",
    )
    verb.add_argument(
        "--hold",
        type=positive,
        default=HOLD,
        metavar="SECONDS",
        help=f"how long a frozen guest is kept (default {HOLD})",
    )


def cluster(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--cluster",
        default="",
        metavar="WHERE",
        help="trials on Dask workers: local:N, or a scheduler's tcp://HOST:PORT",
    )


def engine_for(where: str, guests: int | None, machine: MachineSpec, progress: Progress) -> Engine:
    """This host's engine, or the cluster's where one is named."""
    if where:
        from harness.campaign.cluster import ClusterEngine

        return ClusterEngine(where, progress)
    return local(guests, machine, progress)


_NO_NUMBER = 0


class _Guests(argparse.Action):
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        if values == _NO_NUMBER:
            raise argparse.ArgumentError(self, f"a number is missing; {_WHAT_N_IS}")
        setattr(namespace, self.dest, values)


_WHAT_N_IS = "-n N is the number of guests at a time, --dry-run prints what would be run"


def _guests(text: str) -> int:
    try:
        return positive(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}; {_WHAT_N_IS}") from None


def positive(text: str) -> int:
    """An argparse type: a whole number of at least 1, and of nine digits at most."""
    value = int(text) if re.fullmatch("[0-9]{1,9}", text) else 0
    if value < 1:
        raise argparse.ArgumentTypeError(
            f"expected a whole number from 1 to 999999999, got {text[:40]!r}"
        )
    return value
