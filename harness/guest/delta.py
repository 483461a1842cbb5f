"""A program as what it does not share with another one.

Reproducers are static, and most of each is the C library, which the guest has already in its own
programs (guests/rootfs).  An emulated kernel with KASAN takes in a megabyte in half a second.

The stream is a row of (literal bytes, then bytes of the base): the number of literals, they
themselves, the number of bytes that follow from the base, and where there; numbers are LEB128.
guests/rootfs/shell.c makes the program of it again.
"""

from __future__ import annotations

from functools import lru_cache

_BLOCK = 16
"""Bytes of the base by which a common part is found; 24 of them make the stream a tenth longer."""
_STRIDE = 512
_LARGEST = 4 << 20
"""Bytes of what is compared at all: an archive has no such parts, and looking for them takes time.
"""
_PRIME, _MASK = 0x100000001B3, (1 << 64) - 1


@lru_cache(maxsize=4)
def encode(base: bytes, content: bytes) -> bytes:
    """``content`` as a stream against ``base``; hundreds of guests get the same."""
    if len(content) > _LARGEST:
        return _number(len(content)) + content + _number(0) + _number(0)
    places: dict[bytes, int] = {}
    for at in range(0, len(base) - _BLOCK + 1, _BLOCK):
        places.setdefault(base[at : at + _BLOCK], at)
    stream = bytearray()
    done = at = 0
    while at <= len(content) - _BLOCK:
        place = places.get(content[at : at + _BLOCK])
        if place is None:
            at += 1
            continue
        before, most = 0, min(at - done, place)
        while before < most and content[at - before - 1] == base[place - before - 1]:
            before += 1
        length = before + _common(base, place, content, at)
        stream += _number(at - before - done) + content[done : at - before]
        stream += _number(length) + _number(place - before)
        done = at = at - before + length
    return bytes(stream + _number(len(content) - done) + content[done:] + _number(0) + _number(0))


def _common(base: bytes, place: int, content: bytes, at: int) -> int:
    """How many bytes are the same from there on."""
    length, step = 0, _STRIDE
    while step:
        mine = content[at + length : at + length + step]
        if len(mine) == step and mine == base[place + length : place + length + step]:
            length += step
        else:
            step //= 2
    return length


@lru_cache(maxsize=4)
def check(content: bytes) -> int:
    """What both ends make of the whole: FNV-1a over words of eight bytes, the last one padded."""
    value = 0xCBF29CE484222325
    padded = content + bytes(-len(content) % 8)
    for word in memoryview(padded).cast("Q"):
        value = (value ^ word) * _PRIME & _MASK
    return value


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
