"""Blocks of metadata as files wrap them: IPTC in Photoshop resources, comments of JPEG, texts of PNG."""

from __future__ import annotations

import re
import struct
import zlib

IPTC_RESOURCE = 0x0404
PNG_IPTC = "Raw profile type iptc"
MOST_MARKER = 65_533
"""Bytes that one marker of a JPEG holds."""
MOST_PROFILE = 4_000_000
"""Characters of a profile in a PNG that are taken apart."""

NEEDED_CHUNKS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
PNG_BEGINNING = b"\x89PNG\r\n\x1a\n"


def jpeg_markers(iptc: bytes | None, comments: tuple[bytes, ...]) -> bytes:
    """Markers that carry IPTC and comments; what does not fit into one is left out."""
    markers = b""
    if iptc:
        markers += _marker(0xED, b"Photoshop 3.0\0" + resource(iptc))
    return markers + b"".join(_marker(0xFE, comment) for comment in comments)


def fits_jpeg(block: bytes) -> bool:
    """Whether IPTC or a comment fits into one marker."""
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
    """A PNG with its pixels alone: a decoder has nothing else to complain of."""
    return PNG_BEGINNING + b"".join(chunk for name, chunk in _chunks(data) if name in NEEDED_CHUNKS)


def with_chunks(png: bytes, chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG with more chunks (name, body) behind its header."""
    added = b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
    return png[:33] + added + png[33:]


def density_chunk(dpi: tuple[float, float]) -> tuple[bytes, bytes]:
    """pHYs of a density in pixels per inch."""
    x, y = (round(each / 0.0254) for each in dpi)
    return b"pHYs", struct.pack(">IIB", x, y, 1)


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """(name, all of its bytes) of each chunk; a cut one comes as it is."""
    chunks, at = [], len(PNG_BEGINNING)
    while at + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        chunks.append((name, data[at : at + 12 + size]))
        at += 12 + size
    return chunks


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
