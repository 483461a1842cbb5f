"""Archives as the kernel unpacks them for an initramfs: the newc format, written without root.

Format: Documentation/driver-api/early-userspace/buffer-format.rst in the kernel tree.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A folder, file or symbolic link; ``mode`` holds the type bits, ``data`` a link's target."""

    path: str
    mode: int
    data: bytes = b""


def folder(path: str, mode: int = 0o755) -> Entry:
    return Entry(path, stat.S_IFDIR | mode)


def file(path: str, data: bytes, mode: int = 0o644) -> Entry:
    return Entry(path, stat.S_IFREG | mode, data)


def link(path: str, target: str) -> Entry:
    return Entry(path, stat.S_IFLNK | 0o777, target.encode())


def archive(entries: Iterable[Entry]) -> bytes:
    """One archive, everything owned by root, all times zero: equal entries give equal bytes.

    Folders that an entry's path passes through are added where no entry makes them.
    Archives may be joined end to end; what a later one writes wins.
    """
    out = bytearray()
    seen: set[str] = set()
    for number, entry in enumerate(_with_parents(entries, seen), 1):
        out += _record(entry, number)
    out += _record(Entry("TRAILER!!!", 0), 0)
    return bytes(out + b"\0" * (-len(out) % 512))


def _with_parents(entries: Iterable[Entry], seen: set[str]) -> Iterable[Entry]:
    for entry in entries:
        path = entry.path.strip("/")
        parts = path.split("/")
        for depth in range(1, len(parts)):
            parent = "/".join(parts[:depth])
            if parent not in seen:
                seen.add(parent)
                yield folder(parent)
        seen.add(path)
        yield Entry(path, entry.mode, entry.data)


def _record(entry: Entry, inode: int) -> bytes:
    name = entry.path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    # ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
    numbers = (inode, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % number for number in numbers) + name
    return _padded(head) + _padded(entry.data)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
