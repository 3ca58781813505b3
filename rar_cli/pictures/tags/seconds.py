"""Second pictures and lost depth: names what a file holds beside the picture that rar reads, for the warnings."""

from __future__ import annotations

from PIL import Image

from rar_cli.pictures.tags.blocks import behind_jpeg, behind_png, behind_webp, early_chunks
from rar_cli.pictures.tags.foreigners import GAIN_MAP, of_other_programs
from rar_cli.pictures.tags.tiff import directories

MOST_SEARCHED = 65_536
"""Bytes at the beginning of a file of boxes that are searched for its description."""

BEHIND = {"JPEG": behind_jpeg, "PNG": behind_png, "WEBP": behind_webp}
"""Format -> function that returns what follows the picture."""

PADDING = 64
"""Bytes behind a picture that are no content."""

UNNAMED_RESOURCES = {0x0404, 0x0409, 0x040C, 0x0425}
"""Photoshop resources whose loss nobody need know: IPTC is kept apart, previews and its digest would be wrong."""


def others_inside(image: Image.Image, data: bytes) -> list[str]:
    """What of an opened file is not read: further pictures, gain maps, bits beyond 8."""
    found = [
        f"{what}: dropped"
        for what in (
            _second_pictures(image, data), *_auxiliary(image, data), *_private(image, data),
            of_other_programs(image, data),
        )
        if what
    ]  # fmt: skip
    bits = _bits(image, data)
    return found + ([f"{bits} bits for each colour were read as 8"] if bits > 8 else [])


def _second_pictures(image: Image.Image, data: bytes) -> str:
    """Of JPEG, PNG and WebP: what lies behind the first; of TIFF: previews and smaller copies."""
    if image.format == "MPO":
        return "second picture in the file (preview, gain map, depth or stereo)"
    behind = BEHIND.get(image.format or "")
    if behind is not None and len(behind(data)) > PADDING:
        return "data behind the picture (the film of a motion photo, for instance)"
    inside = image.format == "TIFF" and sum(1 for _ in directories(data)) > 1
    return "smaller copies in the file" if inside else ""


def _auxiliary(image: Image.Image, data: bytes) -> list[str]:
    """Of HEIF and AVIF: gain maps and depth. Of JPEG: a gain map that neither XMP nor an index of pictures names."""
    if image.format == "JPEG" and b"hdr-gain-map" not in bytes(image.info.get("xmp") or b""):
        return ["gain map"] * any(body.startswith(GAIN_MAP) for _, body in getattr(image, "applist", ()))
    if image.format not in {"HEIF", "AVIF"}:
        return []
    found = ["depth map"] * bool(image.info.get("depth_images"))
    gain = "hdrgainmap" in str(image.info.get("aux", "")) or b"tmap" in data[:64]
    return found + ["gain map"] * gain


def _private(image: Image.Image, data: bytes) -> list[str]:
    """Of JPEG and PNG: signatures, which hold for the old bytes alone, and Photoshop's settings."""
    if image.format == "PNG":
        return ["Content Credentials"] * any(name == b"caBX" for name, _ in early_chunks(data))
    signed = any(name == "APP11" and b"jumb" in body[:32] for name, body in getattr(image, "applist", ()))
    settings = set(image.info.get("photoshop") or {}) - UNNAMED_RESOURCES
    return ["Content Credentials"] * signed + ["Photoshop settings (paths, copyright flag, print)"] * bool(settings)


def _bits(image: Image.Image, data: bytes) -> int:
    """Bits for each colour that the file has and Pillow narrows to 8."""
    if image.format == "HEIF":
        return int(image.info.get("bit_depth", 8))
    at = data.find(b"av1C", 0, MOST_SEARCHED) if image.format == "AVIF" else -1
    if at < 0 or at + 7 > len(data):
        return 8
    flags = data[at + 6]  # high_bitdepth, twelve_bit
    return (12 if flags & 0x20 else 10) if flags & 0x40 else 8
