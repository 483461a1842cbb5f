"""Whether a report can be trusted word for word, or lines of it are missing or another's.

A corrupted report is still a report: something went wrong.  But its function may be another
event's, and it says nothing by what it lacks.
"""

from __future__ import annotations

import re

from harness.splat.blame import interrupted
from harness.splat.draft import Draft
from harness.splat.family import Blame, Family
from harness.splat.report import Splat
from harness.splat.sections import BARE_STACKS, Scanned

# A panic in these words ends another report: alone, it says that one was lost.
_TAIL = re.compile(
    r"kernel panic: (?:Fatal exception|.{0,40}panic_on_warn set|hung_task: blocked tasks"
    r"|Fatal hardware error!|Oops)"
)
_FREES = {"double-free", "invalid-free"}
_INJECTED = re.compile(r"(?:__)?should_fail(?:slab|_\w+)?")


def doubt(splat: Splat, family: Family, scanned: Scanned, draft: Draft) -> str:
    """Why the report is corrupted, "" for a sound one."""
    if family.torn:
        return "its first line is cut off"
    if not draft.heads[0].line.whole:
        return "another message cuts into its first line"
    if _TAIL.match(splat.title):
        return "the report that this panic ends is missing"
    if draft.dropped:
        return "the kernel dropped messages in it"
    if not family.stacked:
        return ""
    if splat.family not in BARE_STACKS and not scanned.headers:
        cut = f": a report of {draft.cut_by} begins before" if draft.cut_by else ""
        return f"no backtrace{cut}"
    if splat.family in BARE_STACKS and not scanned.frames.get("access"):
        return "no backtrace"
    if scanned.empty:
        return "a backtrace without frames"
    if family.blame is not Blame.NOBODY and not splat.function:
        return "no function can be told"
    if any(
        _INJECTED.match(frame.function)
        for name in scanned.names
        if name == "access"
        for frame in scanned.frames[name]
        if frame.sure
    ):
        return "the backtrace of an injected fault is mixed in"
    if splat.family == "KASAN" and not splat.access and splat.kind not in _FREES:
        return "the line that tells the access is missing"
    if family.blame is Blame.LOCK and not scanned.facts.locks:
        return "the line that names the lock is missing"
    if family.name == "RCUSTALL" and not any(map(interrupted, scanned.backtraces)):
        return "no backtrace of a CPU that was interrupted"
    return ""
