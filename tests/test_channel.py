"""Nothing is sent on an SSH channel behind its close: dropbear ends the whole connection at it."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import paramiko
import pytest

from harness.guest.channel import end_input, execute, terminate


class Transport:
    """Notes what is sent, and whether the channel was closed or its lock free just then."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.channel: Any = None

    def _send_user_message(self, message: paramiko.Message) -> None:
        assert self.channel.lock.locked()
        assert not self.channel.closed
        self.sent.append(message.asbytes())

    def get_exception(self) -> None:
        return None


@pytest.fixture
def channel() -> Any:
    transport = Transport()
    made = SimpleNamespace(
        lock=threading.Lock(),
        closed=False,
        remote_chanid=7,
        transport=transport,
        eof=[b"end of input"],
        _event_pending=lambda: None,
        _wait_for_event=lambda: None,
    )
    made._send_eof = lambda: paramiko.Message(made.eof.pop()) if made.eof else None
    transport.channel = made
    return made


def test_what_is_sent_while_it_is_open(channel: Any) -> None:
    execute(channel, "true")
    end_input(channel)
    end_input(channel)
    terminate(channel)
    first, end, last = channel.transport.sent
    assert first == b"b\0\0\0\7\0\0\0\4exec\1\0\0\0\4true"  # RFC 4254, 6.5
    assert end == b"end of input"
    assert last == b"b\0\0\0\7\0\0\0\6signal\0\0\0\0\4TERM"  # 6.9


def test_nothing_is_sent_behind_its_close(channel: Any) -> None:
    """Its own thread may close it at any moment, for which it takes the lock first."""
    channel.closed = True
    with pytest.raises(paramiko.SSHException, match="closed before its command"):
        execute(channel, "true")
    end_input(channel)
    terminate(channel)
    assert channel.transport.sent == []
