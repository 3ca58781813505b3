"""Directories of a TIFF: reads from its bytes which pictures it holds, before any decoder opens it."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from typing import NamedTuple

MOST_DIRECTORIES = 64
MOST_VALUES = 64
"""Of one entry; more are not needed to know a picture."""

SUBFILE, BITS, PHOTOMETRIC, ORIENTATION, SAMPLES, PLANES = 254, 258, 262, 274, 277, 284
SUB_IFDS, EXTRA_SAMPLES = 330, 338
IFD_TYPE = 13
VALUES = {1: "B", 3: "H", 4: "L", IFD_TYPE: "L", 16: "Q", 18: "Q"}
"""Type of an entry -> its struct letter: whole numbers only."""

Tags = dict[int, tuple[int, ...]]


class Layout(NamedTuple):
    """How the pixels of the first picture are stored.

    planes: channels stand one after another. premultiplied: colours were multiplied by alpha.
    """

    bits: int
    photometric: int
    planes: bool
    premultiplied: bool

    @property
    def deep(self) -> bool:
        """More than 8 bits in grey or RGB; other colour spaces are left to Pillow."""
        return self.bits > 8 and self.photometric in {0, 1, 2}


class _Shape(NamedTuple):
    """Sizes of classic TIFF and of BigTIFF: order of bytes, letters of the count of entries, of offsets."""

    order: str
    entries: str
    offset: str


def is_tiff(data: bytes) -> bool:
    """Whether the bytes begin as TIFF or BigTIFF do."""
    return data[:4] in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}


def layout(data: bytes) -> Layout:
    """Of the first directory; what it does not say is read as 8 bits of RGB."""
    tags = next(directories(data), {})
    bits = max(tags.get(BITS) or (1,))
    planes = tags.get(PLANES) == (2,) and tags.get(SAMPLES, (1,)) > (1,)
    return Layout(bits, (tags.get(PHOTOMETRIC) or (2,))[0], planes, 1 in tags.get(EXTRA_SAMPLES, ()))


def pages(data: bytes) -> int:
    """How many pictures stand in a row; smaller copies of the first and those inside of others do not count."""
    smaller = [bool((tags.get(SUBFILE) or (0,))[0] & 1) for tags in directories(data, nested=False)]
    return len(smaller) if smaller[:1] == [True] else len(smaller) - sum(smaller)


def unturned(data: bytes) -> bytes:
    """The same with orientation 1 in its first directory, for decoders that would turn the picture themselves."""
    shape = _shape(data)
    start = _offset(data, shape, 4 if shape.offset == "L" else 8)
    changed = bytearray(data)
    with contextlib.suppress(struct.error):
        for at, tag, kind, _ in _entries(data, start, shape):
            if tag == ORIENTATION and kind in VALUES:
                struct.pack_into(shape.order + VALUES[kind], changed, at, 1)
    return bytes(changed)


def directories(data: bytes, nested: bool = True) -> Iterator[Tags]:
    """Tag -> whole numbers, of each directory, first those in a row, then those inside; damaged ones end it."""
    shape = _shape(data)
    pending, seen = [_offset(data, shape, 4 if shape.offset == "L" else 8)], set[int]()
    while pending and len(seen) < MOST_DIRECTORIES:
        start = pending.pop(0)
        if not 0 < start < len(data) or start in seen:
            continue
        seen.add(start)
        try:
            tags, following = _directory(data, start, shape)
        except struct.error:
            continue
        yield tags
        inside = list(tags.get(SUB_IFDS, ())) if nested else []
        pending = [following, *pending, *inside]


def tag_numbers(data: bytes) -> set[int]:
    """All tags of the first directory, of whatever type."""
    shape = _shape(data)
    with contextlib.suppress(struct.error):
        return {tag for _, tag, *_ in _entries(data, _offset(data, shape, 4 if shape.offset == "L" else 8), shape)}
    return set()


def _shape(data: bytes) -> _Shape:
    order = "<" if data[:2] == b"II" else ">"
    big = b"+" in data[2:4]
    return _Shape(order, "Q" if big else "H", "Q" if big else "L")


def _offset(data: bytes, shape: _Shape, at: int) -> int:
    try:
        return int(struct.unpack_from(shape.order + shape.offset, data, at)[0])
    except struct.error:
        return 0


def _directory(data: bytes, start: int, shape: _Shape) -> tuple[Tags, int]:
    """(its tags, the offset of the one that follows)."""
    tags: Tags = {}
    end = start + struct.calcsize("<" + shape.entries)
    for at, tag, kind, number in _entries(data, start, shape):  # a cut one is read as far as it goes
        end = at + struct.calcsize("<" + shape.offset)
        if kind in VALUES:
            tags[tag] = _values(data, shape, at, VALUES[kind], number)
    return tags, _offset(data, shape, end)


def _entries(data: bytes, start: int, shape: _Shape) -> Iterator[tuple[int, int, int, int]]:
    """(where its value stands, tag, type, count) of each entry. Raises struct.error where the data ends before it."""
    size = struct.calcsize("<" + shape.offset)
    (count,) = struct.unpack_from(shape.order + shape.entries, data, start)
    first = start + struct.calcsize("<" + shape.entries)
    last = min(first + min(count, 65535) * (4 + 2 * size), len(data) - 4 - 2 * size + 1)
    for at in range(first, last, 4 + 2 * size):
        tag, kind, number = struct.unpack_from(shape.order + "HH" + shape.offset, data, at)
        yield at + 4 + size, tag, kind, number


def _values(data: bytes, shape: _Shape, at: int, letter: str, number: int) -> tuple[int, ...]:
    if number * struct.calcsize("<" + letter) > struct.calcsize("<" + shape.offset):
        at = _offset(data, shape, at)
    try:
        return struct.unpack_from(f"{shape.order}{min(number, MOST_VALUES)}{letter}", data, at)
    except struct.error:
        return ()
