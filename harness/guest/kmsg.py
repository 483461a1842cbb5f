"""Records of /dev/kmsg to console lines (Documentation/ABI/testing/dev-kmsg in the kernel tree)."""

from __future__ import annotations

import re

_RECORD = re.compile(rb"(\d+),(\d+),(\d+),([^;]*);(.*)\Z", re.DOTALL)
_CALLER = re.compile(rb"caller=([TC]\d+)")


class KmsgLines:
    """Turns the stream into ``[    5.140900][    T1] text`` lines, as a serial console shows them.

    A reader that was too slow gets EPIPE and starts again at the oldest record; what was
    seen already is then passed over, by its sequence number.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._last = -1

    def feed(self, data: bytes) -> bytes:
        *lines, self._rest = (self._rest + data).split(b"\n")
        return b"".join(self._line(line) for line in lines)

    def _line(self, line: bytes) -> bytes:
        match = _RECORD.match(line)
        # A line that starts with a space is a key=value of the record before it.
        if match is None or int(match[2]) <= self._last:
            return b""
        self._last = int(match[2])
        seconds, micro = divmod(int(match[3]), 1_000_000)
        caller = _CALLER.search(match[4])
        who = b"[%6s]" % caller[1] if caller else b""
        return b"[%5d.%06d]%s %s\n" % (seconds, micro, who, match[5])
