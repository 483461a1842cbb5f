"""Messages on an SSH channel that may be closing: none is sent behind our own word that it closed.

dropbear (2022.83) closes a channel that has no command yet when the command of another one ends,
and it ends the whole connection at a message for a channel that is closed on both sides.  paramiko
looks whether a channel is closed and sends afterwards, and between the two its own thread may
have answered the server's close.  Here both are done under the lock that this thread takes first.
What comes for a channel that only dropbear has closed it passes over.
"""

from __future__ import annotations

from typing import Any

import paramiko
from paramiko.common import cMSG_CHANNEL_REQUEST


def execute(channel: paramiko.Channel, command: str) -> None:
    """As channel.exec_command().  Raises SSHException where it is closed or refused."""
    own: Any = channel
    message = _request(channel, "exec", reply=True)
    message.add_string(command)
    own._event_pending()
    with own.lock:
        if channel.closed:
            raise paramiko.SSHException("the channel was closed before its command")
        own.transport._send_user_message(message)
    own._wait_for_event()


def end_input(channel: paramiko.Channel) -> None:
    """As channel.shutdown_write()."""
    own: Any = channel
    with own.lock:
        if not channel.closed and (message := own._send_eof()) is not None:
            own.transport._send_user_message(message)


def terminate(channel: paramiko.Channel) -> None:
    """The signal TERM (RFC 4254, 6.9), which paramiko has no call for."""
    own: Any = channel
    message = _request(channel, "signal", reply=False)
    message.add_string("TERM")
    with own.lock:
        if not channel.closed:
            own.transport._send_user_message(message)


def _request(channel: paramiko.Channel, kind: str, *, reply: bool) -> paramiko.Message:
    message = paramiko.Message()
    message.add_byte(cMSG_CHANNEL_REQUEST)
    message.add_int(channel.remote_chanid)
    message.add_string(kind)
    message.add_boolean(reply)
    return message
