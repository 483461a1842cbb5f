"""A mail about one trial, plain text, ready for git send-email.

It says, in the order of the mails that bots send to LKML: what was found and on which kernel; the
report, symbolised and trimmed to what is read; the reproducer; how to repeat it; the config and
the tag to give.  Nobody is written to: the person who sends it says to whom (--to, --cc, or
scripts/get_maintainer.pl, for which the files of the stack are named).
"""

from __future__ import annotations

import email.utils
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from email.header import Header
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.record.chains import Chain, chains, counted
from harness.record.text import one_line, plain
from harness.splat.blame import is_machinery
from harness.splat.frames import base_name

Json = Mapping[str, Any]

WIDTH = 75
_FRAMES = 16
_OPENINGS = {"alloc": "Allocated", "free": "Freed"}
_OTHERS = 8
_TOP = 3


def mail(trial: Json, *, source: str = "", config: Path | None = None, seen: Json | None) -> str:
    """``source`` is the reproducer's C text; ``seen`` what the history knows of the signature."""
    if not trial["splats"]:
        raise UsageError(
            f"{trial['folder']}: {trial['verdict']} without a kernel report",
            hint="a mail is made of a trial with a splat",
        )
    first, *others = chains(trial["splats"])
    splat = first.first
    subject = one_line(f"[BUG] hugetlb: {splat['title']}", 300)
    lines = [
        f"Subject: {_header(subject)}",
        f"Date: {email.utils.formatdate(usegmt=True)}",
        "MIME-Version: 1.0",
        'Content-Type: text/plain; charset="utf-8"',
        "Content-Transfer-Encoding: 8bit",
        "",
        "Hello,",
        "",
        *_wrapped(_opening(trial, splat, seen)),
        "",
        *_kernel(trial),
        "",
        *_report(splat),
        *_behind(first, others),
        "",
        *_reproducer(trial, source),
        "",
        *_repeat(trial),
        "",
        *_closing(trial, splat, config),
    ]
    return "\n".join(plain(line).rstrip() for line in lines) + "\n"


def _header(subject: str) -> str:
    return subject if subject.isascii() else Header(subject, "utf-8").encode()


def _opening(trial: Json, splat: Json, seen: Json | None) -> str:
    after = trial["first_splat_seconds"]
    when = f" {after:.1f} s after it started" if after is not None else ""
    told = (
        f'the test case {trial["case"]} of hugetlb-harness gave "{splat["title"]}"'
        f" on {trial['kernel']['release'] or trial['kernel']['name']}{when}."
    )
    if seen and seen["trials"] > 1:
        told += (
            f" It was first seen on {seen['first_seen'][:10]}, and in {seen['trials']} trials"
            f" since; kernels: {seen['kernels'].replace(',', ', ')}."
        )
    return told[0].upper() + told[1:]


def _kernel(trial: Json) -> Iterator[str]:
    kernel = trial["kernel"]
    yield f"kernel:    {kernel.get('source') or kernel['name']}"
    for number, patch in enumerate(kernel.get("patches", [])):
        yield f"{'patches:' if not number else '':<10} {patch['file']}"
    if kernel.get("compiler"):
        yield f"compiler:  {kernel['compiler']}"
    machine = trial["machine"]
    nodes = machine.get("nodes", [])
    size = "; ".join(
        f"{node['memory'] >> 20} MiB, {node['cpus']} CPU{'s' * (node['cpus'] != 1)}"
        for node in nodes
    )
    told = f" ({len(nodes)} nodes: {size})" if nodes else ""
    yield f"machine:   QEMU x86_64, {machine['name']}{told}"
    for arming in trial["armed"]:
        if arming["present"]:
            yield f"detector:  {arming['detector']}"
    counts = ", ".join(f"{name} {value}" for name, value in trial["reproducer"]["counts"].items())
    if counts:
        yield f"exercised: {counts}"


def _report(splat: Json) -> Iterator[str]:
    """The splat as printed in its head, its stacks symbolised; stale frames are left out."""
    yield splat["headline"]
    if splat.get("corrupted"):
        yield f"(not to be trusted word for word: {splat['corrupted']})"
    for name in ("assertion", "task", "access", "object"):
        if splat.get(name):
            yield f"{name}: {splat[name]}"
    if not splat.get("stacks"):
        yield from splat.get("text", "").splitlines()[:60]
    for stack in splat.get("stacks", []):
        frames = [frame for frame in stack["frames"] if frame["sure"]]
        own = [frame for frame in frames if not is_machinery(base_name(frame["function"]))]
        shown = own or frames
        if not shown:
            continue
        if stack["name"] == "pointer":
            yield f"RIP: 0010:{_frame(shown[0])}"
            continue
        yield ""
        yield _opening_line(stack["name"], splat.get("text", ""))
        for frame in shown[:_FRAMES]:
            yield f" {_frame(frame)}"
        if len(shown) > _FRAMES:
            yield f" ... {len(shown) - _FRAMES} more"
    if splat.get("scenario"):
        yield ""
        yield from splat["scenario"].splitlines()


def _opening_line(name: str, text: str) -> str:
    """What the kernel begins such a stack with: who knows its reports, program or person, looks
    for that.
    """
    if name.partition(" ")[0] == "access":
        return "Call Trace:"
    if name in _OPENINGS:
        printed = re.search(rf"(?m)^ {{0,4}}({_OPENINGS[name]} by task \d+)", text)
        return f"{printed[1] if printed else _OPENINGS[name]}:"
    return f"{name}:"


def _frame(frame: Json) -> str:
    known = frame["offset"] >= 0 <= frame["size"]
    offset = f"+{frame['offset']:#x}/{frame['size']:#x}" if known else ""
    inlined = " [inline]" if frame["place"] and not known else ""
    return f"{frame['function']}{offset} {frame['place']}{inlined}".rstrip()


def _behind(chain: Chain, others: Sequence[Chain]) -> Iterator[str]:
    """Reports beside the one that the mail is about, by their titles."""
    if chain.behind:
        yield ""
        yield f"It ends with: {', '.join(chain.behind)}"
    for told, reports in (
        ("Behind it by the same task, perhaps what came of it:", chain.after),
        ("Other reports of the trial:", [other.first for other in others]),
    ):
        if reports:
            yield ""
            yield told
            listed = counted(reports)
            yield from (f"  {title}" for title in listed[:_OTHERS])
            if len(listed) > _OTHERS:
                yield f"  ... {len(listed) - _OTHERS} more"


def _reproducer(trial: Json, source: str) -> Iterator[str]:
    if not source:
        yield f"The reproducer is {trial['case']}.c of hugetlb-harness."
        return
    yield f"The reproducer, {trial['case']}.c (it links with testcases/lib of hugetlb-harness):"
    yield ""
    yield from source.splitlines()


def _repeat(trial: Json) -> Iterator[str]:
    yield "To repeat it:"
    yield ""
    yield f"  {shlex.join(trial['repeat'])}"


def _closing(trial: Json, splat: Json, config: Path | None) -> Iterator[str]:
    if config is not None:
        yield f"The kernel's config is attached or at: {config.name}"
        yield ""
    files = list(dict.fromkeys(_files(splat)))
    if files:
        yield "Whom to ask: scripts/get_maintainer.pl -f " + " ".join(files[:_TOP])
        yield ""
    yield "If you fix it, please add:"
    yield f"  Reported-by: hugetlb-harness ({splat['signature']})"


def _files(splat: Json) -> Iterator[str]:
    if splat["place"]:
        yield splat["place"].rpartition(":")[0]
    for stack in splat.get("stacks", []):
        for frame in stack["frames"]:
            if frame["sure"] and frame["place"] and not is_machinery(base_name(frame["function"])):
                yield frame["place"].rpartition(":")[0]


def _wrapped(text: str) -> Sequence[str]:
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + len(word) + 1 > WIDTH:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return [*lines, line]
