"""Which report came of an earlier one: a task whose memory is broken breaks again as it dies.

A kernel that goes on behind a wrong access reports what the wrong value did next: a general
protection fault behind the KASAN report, a corrupted list on the way out.  These are reports of
their own, and of one bug.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from harness.splat.report import Splat

SECONDS, DYING = 1.0, 10.0
"""On the kernel's clock: what a task that lives on reports later than the first is taken for
another event.  One that died by its report has nothing but consequences left, until its number
is another's."""
_TASKS = 256
# Behind these, no memory that the task looks at is to be trusted.
_BREAKS = frozenset(
    {"OOPS", "BUG", "LIST", "USERCOPY", "KASAN", "KFENCE", "SLUB", "BADPAGE", "REFCOUNT"}
)


class _Broken(NamedTuple):
    start: int
    stamp: float
    title: str
    fatal: bool


class Cascades:
    """The tasks that were broken of late, in bounded memory."""

    def __init__(self) -> None:
        self._tasks: OrderedDict[str, _Broken] = OrderedDict()

    def follows(self, splat: Splat) -> int:
        """Where the report begins that this one came of; -1 where it stands for itself.

        Another sighting of the same report is none of its consequences.
        """
        if splat.family == "REBOOT":
            self._tasks.clear()
        if not splat.task:
            return -1
        was = self._tasks.get(splat.task)
        if was is not None and was.title != splat.title:
            later = splat.stamp - was.stamp  # 0 on a console without time stamps
            if was.fatal and 0 <= later <= DYING:
                return was.start
            if was.stamp >= 0 and 0 <= later <= SECONDS and splat.family in _BREAKS:
                return was.start
        if splat.family in _BREAKS:
            self._tasks[splat.task] = _Broken(
                splat.start, splat.stamp, splat.title, any(map(_kills, (splat, *splat.secondary)))
            )
            self._tasks.move_to_end(splat.task)
            if len(self._tasks) > _TASKS:
                self._tasks.popitem(last=False)
        return -1


def _kills(splat: Splat) -> bool:
    """Whether the task dies of it: BUG() and faults kill, while a list may only be warned of."""
    return splat.family == "OOPS" or (splat.family, splat.kind) == ("BUG", "BUG_ON")
