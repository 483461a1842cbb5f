"""Reports from outside: a mail of LKML, the text of a syzbot page, a dmesg.  Reads text alone."""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError
from harness.record.text import one_line
from harness.spec.case import TestCase
from harness.splat.blame import is_machinery, syscall
from harness.splat.frames import base_name
from harness.splat.operations import operation
from harness.splat.reader import read
from harness.splat.report import Splat
from harness.splat.signature import race_key, signature

MOST = 64 << 20
"""Bytes of a report that are read; a console of more than that is no report of somebody."""

_QUOTE = re.compile(rb"(?m)^(?:[ \t]{0,2}>[ \t]?)+")
_VERSION = re.compile(
    r"Linux version (\S+)|(?:Not tainted|Tainted: [A-Z ]+?) +(\d+\.\d+\S*)"
    r"|HEAD commit:\s+([0-9a-f]{7,40})|(?im:^\s*(?:on|commit|head):?\s+([0-9a-f]{12,40})\b)"
)
_CONFIG = re.compile(r"(?im)^\s*(?:kernel )?\.?config[^:\n]{0,30}:\s*(\S+)")
_CONFIG_LINK = re.compile(r"https?://[^\s<>\"]{1,200}config\b[^\s<>\"]{0,200}")
_OPTION = re.compile(r"(?m)^(CONFIG_[A-Z0-9_]{2,60}=\S{1,60})\s*$")
_FUNCTION = re.compile(r"(?m)^(?:static )?[a-z][\w *]*?\b(\w+)\([^;{]*\)\n\{(.*?)^\}", re.S)
_WORD = re.compile(r"\b[a-z_][a-z0-9_]{2,}\b")

_BLAMED = 9
"""What the function to blame weighs beside any other of the stacks."""

# What nearly every program does, and what serves a case only to hold a page: a way into the kernel
# that the rest of it is entered by as well leads to no case by itself.
_COMMON = frozenset(
    {"exit", "exit_group", "mmap", "munmap", "clone", "brk", "wait4", "read", "write", "ioctl"}
    | {"open", "openat", "close", "socket", "sendto", "sendmsg", "recvfrom", "recvmsg"}
)


@dataclass(frozen=True)
class Report:
    """What a report tells.  ``kernel`` and ``config`` are as written there, empty where not."""

    splat: Splat
    others: int
    kernel: str = ""
    config: str = ""
    options: tuple[str, ...] = ()

    @property
    def signature(self) -> str:
        return signature(self.splat)

    @property
    def race(self) -> str:
        return race_key(self.splat)


@dataclass(frozen=True)
class Match:
    """A case whose path the report's stacks are on; ``why`` in words, the weightiest first."""

    case: TestCase
    weight: int
    why: tuple[str, ...]


def read_report(file: Path) -> Report:
    """Raises UsageError where the file holds no kernel report."""
    try:
        with file.open("rb") as stream:
            raw = stream.read(MOST)
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from None
    if b"\0" in raw[:4096] and b"\n" not in raw[:4096]:
        raise UsageError(f"{file}: not a text")
    for text in _readings(raw):
        splats = read(text)
        if splats:
            # The first one with a stack: what comes of a report is reported as well.
            first = next((splat for splat in splats if splat.stacks), splats[0])
            return _report(first, len(splats) - 1, text.decode("utf-8", "replace"))
    raise UsageError(
        f"{file}: no kernel report was found in it",
        hint="expected the text of a mail, a syzbot page or a dmesg, with the report's own lines",
    )


def _readings(raw: bytes) -> Iterator[bytes]:
    """The text as it is, and as what a mail or a quotation makes of it, the plainest first."""
    plain = raw.replace(b"\r\n", b"\n")
    decoded = _decoded(plain)
    for text in dict.fromkeys((decoded, plain)):
        yield text
        yield _QUOTE.sub(b"", text)
    yield _unwrapped(_QUOTE.sub(b"", decoded))


def _decoded(raw: bytes) -> bytes:
    """The text of a mail without its transfer encoding; ``raw`` itself where it is no mail."""
    if not re.match(rb"(?:From |[A-Za-z-]{2,40}: )", raw):
        return raw
    try:
        message = email.message_from_bytes(raw, policy=email.policy.default)
        parts = [
            part.get_content()
            for part in message.walk()
            if part.get_content_maintype() == "text" and not part.is_multipart()
        ]
    except (LookupError, ValueError, KeyError, AttributeError):
        return raw
    headers = "".join(f"{name}: {value}\n" for name, value in message.items())
    text = headers + "\n" + "\n".join(part for part in parts if isinstance(part, str))
    return text.encode("utf-8", "backslashreplace").replace(b"\r\n", b"\n") if parts else raw


def _unwrapped(text: bytes) -> bytes:
    """Lines that a mail program broke in two: what is no line of the kernel's joins the last."""
    lines: list[bytes] = []
    for line in text.split(b"\n"):
        begins = re.match(rb"\[ *\d+\.\d+\]|\s|[A-Z][\w -]{1,30}:|=+|$", line)
        if lines and not begins and lines[-1].startswith(b"["):
            lines[-1] += b" " + line
        else:
            lines.append(line)
    return b"\n".join(lines)


def _report(splat: Splat, others: int, text: str) -> Report:
    version = splat.kernel or ""
    if not version and (found := _VERSION.search(text)):
        version = next(group for group in found.groups() if group)
    named, link = _CONFIG.search(text), _CONFIG_LINK.search(text)
    return Report(
        splat=splat,
        others=others,
        kernel=one_line(version, 80),
        config=one_line(named[1] if named else link[0] if link else "", 200),
        options=tuple(dict.fromkeys(_OPTION.findall(text)))[:50],
    )


def same(report: Report, splats: Sequence[Splat]) -> str:
    """How the first of ``splats`` that is the same bug is known to be: "signature", "race"."""
    if any(signature(splat) == report.signature for splat in splats):
        return "signature"
    return "race" if any(race_key(splat) == report.race for splat in splats) else ""


def matches(report: Report, cases: Sequence[TestCase], library: str) -> list[Match]:
    """The cases that drive what the stacks show, best first.

    A case may name functions of the kernel (``paths``, and those that it counts); beside them its
    source is looked at for the system calls by which the stacks came into the kernel.
    ``library`` is the text of what the reproducers share.
    """
    functions = _functions(report.splat)
    calls = {name.removeprefix("sys_") for name in map(syscall, functions) if name[:4] == "sys_"}
    operations = {known for name in functions if (known := operation(name))}
    made = []
    for case in cases:
        named = sorted(functions & {base_name(n) for n in (*case.paths, *case.functions)})
        words = _words(case.reproducer.read_text(encoding="utf-8", errors="replace"), library)
        shared = sorted((calls & words) - _COMMON)
        driven = sorted({known for name in case.paths if (known := operation(name))} & operations)
        weight = 3 * len(named) + 2 * len(shared) + 2 * len(driven)
        # A case of the way in has many of the frames; one of what broke has the one that counts.
        weight += _BLAMED * (base_name(report.splat.function) in named)
        if weight:
            why = [f"drives {', '.join(named)}"] if named else []
            why += [f"calls {', '.join(shared)}"] if shared else []
            why += [f"is of {', '.join(driven)}"] if driven else []
            made.append(Match(case, weight, tuple(why)))
    return sorted(made, key=lambda match: (-match.weight, match.case.name))


def _functions(splat: Splat) -> set[str]:
    return {
        base_name(frame.function)
        for stack in splat.stacks
        for frame in stack.frames
        if frame.sure and (not is_machinery(base_name(frame.function)) or _is_call(frame.function))
    }


def _is_call(function: str) -> bool:
    return syscall(base_name(function)).startswith("sys_")


def _words(source: str, library: str) -> set[str]:
    """The words of a reproducer, and of what it calls of the library."""
    words = set(_WORD.findall(source))
    for name, body in _FUNCTION.findall(library):
        if name in words:
            words |= set(_WORD.findall(body))
    # Macros of system calls: SYS_move_pages, __NR_mbind.
    return words | set(re.findall(r"\b(?:SYS|__NR)_(\w+)", source)) | _called(library, words)


def _called(library: str, words: set[str]) -> set[str]:
    found: set[str] = set()
    for name, body in _FUNCTION.findall(library):
        if name in words:
            found |= set(re.findall(r"\b(?:SYS|__NR)_(\w+)", body))
    return found
