"""Blocks of metadata as files wrap them: IPTC in Photoshop resources, comments of JPEG, texts of PNG."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from itertools import takewhile

IPTC_RESOURCE = 0x0404
PNG_IPTC = "Raw profile type iptc"
MOST_MARKER = 65_533
"""Bytes that one marker of a JPEG holds."""
MOST_PROFILE = 4_000_000
"""Characters of a profile in a PNG that are taken apart."""

START_OF_SCAN, END_OF_IMAGE = 0xDA, b"\xff\xd9"

PIECE = 65_536
"""Bytes of a stream that are looked at together."""

ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column, first row, steps across and down of each pass of an interlaced PNG."""

COLOUR_CHUNKS = {b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI"}
"""What a PNG says of its colours beside a profile."""

NEEDED_CHUNKS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
PNG_BEGINNING = b"\x89PNG\r\n\x1a\n"


def jpeg_markers(iptc: bytes | None, comments: tuple[bytes, ...]) -> bytes:
    """Markers that carry IPTC and comments; what does not fit into one is left out."""
    markers = b""
    if iptc:
        markers += _marker(0xED, b"Photoshop 3.0\0" + resource(iptc))
    return markers + b"".join(_marker(0xFE, comment) for comment in comments)


def behind_jpeg(data: bytes) -> bytes:
    """What follows the end of a JPEG's first picture, padding apart; empty where no end is found."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != START_OF_SCAN:
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")  # segments may hold previews with ends of their own
    end = data.find(END_OF_IMAGE, at) if data[at : at + 2] == bytes((0xFF, START_OF_SCAN)) else -1
    return data[end + 2 :].strip(b"\0\xff") if end >= 0 else b""


def fits_jpeg(block: bytes) -> bool:
    """Whether EXIF, XMP, IPTC or a comment fits into one marker."""
    return len(block) <= MOST_MARKER - 40


def _marker(code: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, code, len(body) + 2) + body if len(body) <= MOST_MARKER else b""


def resource(iptc: bytes) -> bytes:
    """IPTC as a Photoshop resource."""
    return b"8BIM" + struct.pack(">HHI", IPTC_RESOURCE, 0, len(iptc)) + iptc + b"\0" * (len(iptc) % 2)


def iptc_of_resources(block: bytes) -> bytes | None:
    """The IPTC among Photoshop resources; None where there is none, or where they are damaged."""
    at = 0
    while block.startswith(b"8BIM", at) and at + 12 <= len(block):
        (code,) = struct.unpack_from(">H", block, at + 4)
        begin = at + 6 + (block[at + 6] + 2) // 2 * 2
        if begin + 4 > len(block):
            return None
        (size,) = struct.unpack_from(">I", block, begin)
        if code == IPTC_RESOURCE:
            found = block[begin + 4 : begin + 4 + size]
            return found if len(found) == size else None
        at = begin + 4 + size + size % 2
    return None


def png_iptc(text: str) -> bytes | None:
    """IPTC from the hexadecimal profile that PNG programs share; None where it is damaged."""
    match = re.match(r"\s*iptc\s+(\d+)\s+([0-9a-fA-F\s]+)$", text[:MOST_PROFILE])
    if match is None:
        return None
    digits = re.sub(r"\s", "", match[2])
    if len(digits) != 2 * int(match[1]):
        return None
    block = bytes.fromhex(digits)
    return iptc_of_resources(block) if block.startswith(b"8BIM") else block


def png_profile(iptc: bytes) -> str:
    """IPTC as such a profile."""
    block = resource(iptc)
    digits = block.hex()
    lines = [digits[at : at + 72] for at in range(0, len(digits), 72)]
    return "\n".join(["", "iptc", f"{len(block):8d}", *lines, ""])


def bare_png(data: bytes) -> bytes:
    """A PNG with its pixels alone and their checksum made right: a decoder has nothing else to complain of."""
    chunks = [(name, chunk) for name, chunk in _chunks(data) if name in NEEDED_CHUNKS]
    pixels = _checked(b"".join(chunk[8:-4] for name, chunk in chunks if name == b"IDAT"), _png_size(data))
    head = b"".join(chunk for name, chunk in chunks if name not in {b"IDAT", b"IEND"})
    return PNG_BEGINNING + head + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def with_chunks(png: bytes, chunks: Sequence[tuple[bytes, bytes]]) -> bytes:
    """A PNG with more chunks (name, body) behind its header."""
    return png[:33] + b"".join(_chunk(name, body) for name, body in chunks) + png[33:]


def early_chunks(png: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """(name, body) of each chunk before the pixels."""
    early = takewhile(lambda each: each[0] != b"IDAT", _chunks(png))
    return tuple((name, chunk[8:-4]) for name, chunk in early)


def chunk_names(png: bytes) -> set[bytes]:
    """The names of all chunks, to the end of the picture."""
    return {name for name, _ in takewhile(lambda each: each[0] != b"IEND", _chunks(png))}


def behind_png(data: bytes) -> bytes:
    """What follows the last chunk; empty where that is missing."""
    at = len(PNG_BEGINNING)
    for name, chunk in _chunks(data):
        at += len(chunk)
        if name == b"IEND":
            return data[at:].strip(b"\0\xff")
    return b""


def riff_names(webp: bytes) -> set[bytes]:
    """The names of all chunks of a WebP."""
    names, at, end = set(), 12, _riff_end(webp)
    while at + 8 <= end:
        names.add(webp[at : at + 4])
        size = int.from_bytes(webp[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
    return names


def behind_webp(data: bytes) -> bytes:
    """What follows the last chunk of a WebP."""
    return data[_riff_end(data) :].strip(b"\0\xff")


def _riff_end(webp: bytes) -> int:
    return min(8 + int.from_bytes(webp[4:8], "little"), len(webp))


def density_chunk(dpi: tuple[float, float]) -> tuple[bytes, bytes]:
    """pHYs of a density in pixels per inch."""
    x, y = (round(each / 0.0254) for each in dpi)
    return b"pHYs", struct.pack(">IIB", x, y, 1)


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _png_size(data: bytes) -> int:
    """Bytes of the rows of a PNG, each with its filter, in all passes."""
    width, height, bits, colours, *_, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    depth = bits * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colours]
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    sides = [(-(-(width - x) // across), -(-(height - y) // down)) for x, y, across, down in passes]
    return sum(rows * (1 + -(-columns * depth // 8)) for columns, rows in sides if columns > 0 and rows > 0)


def _checked(stream: bytes, size: int) -> bytes:
    """A zlib stream of at most `size` bytes that ends where its data does, with their checksum; a cut one as it is."""
    inflate, checksum, seen = zlib.decompressobj(-zlib.MAX_WBITS), 1, 0
    for at in range(2, len(stream), PIECE):
        data = inflate.decompress(stream[at : at + PIECE])
        checksum, seen = zlib.adler32(data, checksum), seen + len(data)
        if seen > size:  # a damaged file; the rest is not shown
            return zlib.compress(zlib.decompressobj(-zlib.MAX_WBITS).decompress(stream[2:], size), 0)
        if inflate.eof:
            end = min(at + PIECE, len(stream)) - len(inflate.unused_data)
            return stream[:end] + checksum.to_bytes(4, "big")
    return stream


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(name, all of its bytes) of each chunk; a cut one comes as it is."""
    at = len(PNG_BEGINNING)
    while at + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        yield name, data[at : at + 12 + size]
        at += 12 + size


def box(data: bytes, kind: bytes) -> bytes | None:
    """The body of the first box of a kind in a file of boxes (JPEG XL); None where there is none."""
    at = 0
    while at + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        if name == kind and size >= 8:
            return data[at + 8 : at + size]
        if size < 8:  # to the end of the file, or 64 bits long: pixels
            return None
        at += size
    return None
