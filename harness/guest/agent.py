"""The host's end of a guest's second serial port: orders go in, the pulse comes out.

The agent that answers is guests/rootfs/agent.c.  What it says is appended to the pulse's file
by QEMU; here the same bytes are only taken off the socket.
"""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from harness.errors import GuestLost
from harness.guest.keys import GuestKeys
from harness.guest.seam import wait_for

_FORGOTTEN = b"forgotten"
_ANSWER = 20.0
"""Seconds that an order may take; a loaded emulated CPU takes a fraction of one."""


class Agent:
    """Speaks when it has started: what is sent before nobody reads."""

    def __init__(self, line: socket.socket, pulse: Path) -> None:
        line.setblocking(False)  # orders are far smaller than the socket's buffer
        self._line = line
        self._pulse = pulse
        self.introduced = False

    @property
    def beats(self) -> int:
        """Bytes that it has said until now; whoever waits for the next one looks for a change."""
        try:
            return self._pulse.stat().st_size
        except FileNotFoundError:
            return 0

    def introduce(self, keys: GuestKeys) -> None:
        """Make the guest one of its own, and let it serve SSH."""
        self.introduced = True
        self._send(keys.orders())

    def forget(self) -> None:
        """End the SSH server, and remove the keys that it had.  Raises GuestLost."""
        self._send(b"forget\n")
        if not wait_for(lambda: _FORGOTTEN in self._pulse.read_bytes(), _ANSWER):
            raise GuestLost(f"the guest's agent did not answer within {_ANSWER:g} s")

    def _send(self, orders: bytes) -> None:
        with contextlib.suppress(OSError):  # QEMU has ended, which the monitor tells
            self._line.sendall(orders)

    def drain(self) -> None:
        """Take off what was said, or a socket that is full would hold up the guest's port."""
        with contextlib.suppress(OSError):
            while self._line.recv(1 << 12):
                pass

    def copy_of_connection(self) -> int:
        """A descriptor of the line, for who holds the guest next."""
        return os.dup(self._line.fileno())

    def close(self) -> None:
        self._line.close()
