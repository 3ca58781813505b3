"""Names the data of other programs in a file, for the warnings. No output gets such data.

Covered: segments of JPEG, chunks of PNG and WebP, tags of the first directory of TIFF. Not covered: makers' notes
within EXIF, which are kept.
"""

from __future__ import annotations

import re

from PIL import Image

from rar_cli.pictures.tags.blocks import COLOUR_CHUNKS, NEEDED_CHUNKS, chunk_names, riff_names
from rar_cli.pictures.tags.metadata import DESCRIPTIVE
from rar_cli.pictures.tags.tiff import tag_numbers

GAIN_MAP = b"urn:iso:std:iso:ts:21496:-1\0"
"""Of an Ultra HDR picture."""

SEGMENTS = {
    "APP0": (b"JFIF", b"JFXX"),
    "APP1": (b"Exif\0", b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"),
    "APP2": (b"ICC_PROFILE\0", b"MPF\0", GAIN_MAP),
    "APP11": (b"JP",),
    "APP13": (b"Photoshop 3.0\0",),
    "APP14": (b"Adobe",),
    "COM": (b"",),
}
"""Beginnings of segments without a warning here: kept, named elsewhere, or about the old encoding and previews."""

QUALITY_ALONE = 17
"""Most bytes of a Ducky segment that holds only a quality."""

CHUNKS = NEEDED_CHUNKS | COLOUR_CHUNKS | {
    b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"iCCP", b"pHYs", b"caBX", b"tIME", b"bKGD", b"hIST", b"sBIT", b"sPLT", b"iDOT",
    b"acTL", b"fcTL", b"fdAT",
}  # fmt: skip
"""Chunks that are kept, named elsewhere, or about the old encoding alone."""

RIFF = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ICCP", b"EXIF", b"XMP ", b"ANIM", b"ANMF"}
"""The same of WebP."""

LAYOUT = {
    *range(254, 260), *range(262, 267), *range(273, 285), *range(286, 294), 296, 297, 301, *range(317, 326), 330,
    *range(332, 342), 347, *range(512, 522), *range(529, 533),
}  # fmt: skip
TAGS = LAYOUT | DESCRIPTIVE | {700, 33723, 34377, 34665, 34675, 34853}
"""Tags of TIFF: layout, description, and blocks that are kept or named elsewhere."""

KINDS = {
    **dict.fromkeys((33550, 33922, 34264, 34735, 34736, 34737), "GeoTIFF"),
    **dict.fromkeys((42112, 42113), "GDAL"),
    **dict.fromkeys((50838, 50839), "ImageJ"),
    **dict.fromkeys((37724, 50255), "Photoshop layers"),
}
"""Tags of TIFF that have a name."""

MOST_NAMED = 6
"""In one warning."""


def of_other_programs(image: Image.Image, data: bytes) -> str:
    """ "data of other programs (APP2 FPXR)"; empty where there is none."""
    found: list[str] = []
    if image.format in {"JPEG", "MPO"}:
        found = [_segment(name, body) for name, body in getattr(image, "applist", ()) if not _usual(name, body)]
    elif image.format == "PNG":
        found = sorted(name.decode() for name in chunk_names(data) - CHUNKS if name.isalpha())
    elif image.format == "WEBP":
        found = sorted(name.decode() for name in riff_names(data) - RIFF if name.isalnum())
    elif image.format == "TIFF":
        found = [KINDS.get(tag, f"tag {tag}") for tag in sorted(tag_numbers(data) - TAGS)]
    names = list(dict.fromkeys(found))
    more = ["..."] if len(names) > MOST_NAMED else []
    return f"data of other programs ({', '.join(names[:MOST_NAMED] + more)})" if names else ""


def _usual(name: str, body: bytes) -> bool:
    """Whether a segment needs no warning here."""
    plain = name == "APP12" and body.startswith(b"Ducky") and len(body) <= QUALITY_ALONE
    return plain or not body or body.startswith(SEGMENTS.get(name, ()))


def _segment(name: str, body: bytes) -> str:
    """A segment by its number and by what it calls itself."""
    title = re.match(rb"[\w .:/-]{2,16}", body)
    return f"{name} {title[0].decode()}" if title else name
