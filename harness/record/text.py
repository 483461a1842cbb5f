"""Text that came from a guest, made fit to be shown: what a terminal or a browser would obey."""

from __future__ import annotations

import re

_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, but for tab and newline
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # they turn the order of what is read
    "\u2028\u2029\ud800-\udfff\ufffe\uffff]"  # line ends of JavaScript, and what is no character
)


def plain(text: str) -> str:
    """``text`` with what is not shown as itself written out, as ``\\x1b`` or ``\\u202e``."""
    return _OBEYED.sub(_written, text.replace("\r\n", "\n"))


def _written(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def one_line(text: str, most: int = 200) -> str:
    """The same on one line, shortened to ``most`` characters."""
    line = " ".join(plain(text).split())
    return line if len(line) <= most else line[: most - 1] + "…"
