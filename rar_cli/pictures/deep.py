"""Pictures of more than 8 bits for each colour: PNG of 16 bits, TIFF of 16 bits and of floats, from and to bytes."""

from __future__ import annotations

import io
import struct
from typing import Any

import cv2
import numpy as np
from PIL import Image, PngImagePlugin, TiffImagePlugin

from rar_cli.errors import ImageError
from rar_cli.pictures.images import Picture, Pixels
from rar_cli.pictures.quiet import silent_opencv
from rar_cli.pictures.tags.blocks import PNG_BEGINNING, PNG_IPTC, bare_png, density_chunk, png_profile, with_chunks
from rar_cli.pictures.tags.metadata import EXIF_IFD, GPS_IFD, TIFF_ICC, TIFF_IPTC, TIFF_XMP, Metadata
from rar_cli.pictures.tags.tiff import is_tiff, layout, unturned

MOST_OUTSIDE = 0.5
"""Largest fraction of float values outside [0, 1]; with more, the file is on another scale."""


def decode_deep(data: bytes, metadata: Metadata, name: str) -> Picture:
    """Bytes of a deep PNG, TIFF or JPEG 2000 -> Picture, not yet upright. Raises ImageError."""
    stored = layout(data) if is_tiff(data) else None
    decoded = _by_opencv(data) if stored is None or not stored.planes else None
    if decoded is None and stored is not None:
        decoded = _by_tifffile(data)
    if decoded is None or not decoded.size:
        raise ImageError("deep data that the decoder does not support; convert it to 16-bit PNG first")
    if decoded.dtype.kind == "f":
        decoded, warnings = _unit_range(decoded)
        metadata = metadata.with_warning(*warnings)
    elif decoded.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"pixels of type {decoded.dtype} are not supported; convert it to 16-bit TIFF first")
    if stored is not None and stored.photometric == 0:  # 0 is white
        decoded = _full(decoded) - decoded
    if decoded.ndim == 2:
        return Picture(np.repeat(decoded[..., None], 3, axis=2), name, None, True, metadata)
    if decoded.shape[2] == 2:
        return Picture(np.repeat(decoded[..., :1], 3, axis=2), name, decoded[..., 1], True, metadata)
    alpha = np.ascontiguousarray(decoded[..., 3]) if decoded.shape[2] == 4 else None
    pixels = np.ascontiguousarray(decoded[..., 2::-1])
    if alpha is not None and stored is not None and stored.premultiplied:
        pixels = _divided(pixels, alpha)
    grey = alpha is not None and bool((pixels[..., :1] == pixels).all())
    return Picture(pixels, name, alpha, grey, metadata)


def _full(pixels: Pixels) -> Any:
    """The largest value of a type of pixels."""
    return np.float32(1.0) if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max


def _divided(pixels: Pixels, alpha: Pixels) -> Pixels:
    """Colours without the alpha that they were multiplied by; where nothing shows, as they are."""
    full = float(_full(pixels))
    straight = pixels * (full / np.maximum(alpha, full / 65535.0).astype(np.float64))[..., None]
    straight = np.minimum(straight, full) if pixels.dtype.kind == "f" else np.rint(np.minimum(straight, full))
    return np.where(alpha[..., None] > 0, straight, pixels).astype(pixels.dtype)


def _by_opencv(data: bytes) -> Pixels | None:
    """(h, w) or (h, w, 2 to 4) as BGR(A); None where it cannot."""
    flags = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
    bare = bare_png(data) if data.startswith(PNG_BEGINNING) else unturned(data) if is_tiff(data) else data
    with silent_opencv():
        try:
            return cv2.imdecode(np.frombuffer(bare, np.uint8), flags)
        except cv2.error:
            return None


def _by_tifffile(data: bytes) -> Pixels | None:
    """What OpenCV leaves out: planes one after another, half floats; None where tifffile cannot either."""
    import tifffile

    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page = file.pages.first
            pixels = page.asarray()
            if page.planarconfig == 2 and pixels.ndim == 3:
                pixels = np.moveaxis(pixels, 0, -1)
    except Exception:  # damage, or a compression that needs another package
        return None
    if pixels.ndim == 3 and pixels.shape[2] in {3, 4}:
        pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
    fits = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in {3, 4})
    return np.ascontiguousarray(pixels) if fits else None


def _unit_range(pixels: Pixels) -> tuple[Pixels, tuple[str, ...]]:
    """(float32 in [0, 1], warnings). Raises ImageError on NaN, and on another scale."""
    if not np.isfinite(pixels).all():
        raise ImageError("holds pixels that are NaN or infinite; repair it in the program that wrote it")
    warnings: tuple[str, ...] = ("64-bit floats were read as 32-bit floats",) if pixels.dtype == np.float64 else ()
    low, high = float(pixels.min()), float(pixels.max())
    if low < 0.0 or high > 1.0:
        if ((pixels < 0.0) | (pixels > 1.0)).mean() > MOST_OUTSIDE:
            raise ImageError(f"float values from {low:.4g} to {high:.4g}; scale them to 0 (black) to 1 (white) first")
        warnings += (f"float values from {low:.4g} to {high:.4g} were clipped to 0 to 1",)
    return np.clip(pixels, 0.0, 1.0).astype(np.float32), warnings


def deep_array(picture: Picture) -> Pixels:
    """(h, w), (h, w, 3) or (h, w, 4) as RGB(A); grey with alpha is written as colour."""
    if picture.alpha is not None:
        return np.dstack([picture.pixels, picture.alpha])
    return np.ascontiguousarray(picture.pixels[..., 0]) if picture.grey else picture.pixels


def encode_png(picture: Picture) -> bytes:
    """Picture of 16 bits -> PNG with its metadata."""
    array, m = deep_array(picture), picture.metadata
    if array.ndim == 3:
        array = np.ascontiguousarray(array[..., [2, 1, 0, 3][: array.shape[2]]])
    blocks = (
        (cv2.IMAGE_METADATA_EXIF, m.exif.removeprefix(b"Exif\0\0") if m.exif else None),
        (cv2.IMAGE_METADATA_ICCP, m.icc),
        (cv2.IMAGE_METADATA_XMP, m.xmp),
    )
    kept = [(kind, np.frombuffer(block, np.uint8)) for kind, block in blocks if block]
    done, data = cv2.imencodeWithMetadata(".png", array, [k for k, _ in kept], [b for _, b in kept])
    if not done:
        raise ImageError("cannot be written as 16-bit PNG")
    chunks = [(name, bytes(body)) for name, body, *_ in png_texts(m).chunks]
    return with_chunks(data.tobytes(), [*m.colour, *chunks, *([density_chunk(m.dpi)] if m.dpi else [])])


def png_texts(metadata: Metadata) -> PngImagePlugin.PngInfo:
    """Texts, comments and IPTC as chunks of a PNG."""
    info = PngImagePlugin.PngInfo()
    for key, value in metadata.text:
        if key != "Software" or not metadata.software:
            info.add_text(key, value, zip=len(value) > 1024)
    for comment in metadata.comments:
        info.add_text("Comment", comment.decode("utf-8", "replace").strip("\0"))
    if metadata.iptc:
        info.add_text(PNG_IPTC, png_profile(metadata.iptc), zip=True)
    return info


def encode_tiff(picture: Picture) -> bytes:
    """Picture of 16 bits or of floats -> TIFF with its metadata."""
    import tifffile

    array, m = deep_array(picture), picture.metadata
    exif = Image.Exif()
    if m.exif:
        exif.load(m.exif)
    nested = {tag: dict(exif.get_ifd(tag)) for tag in (EXIF_IFD, GPS_IFD) if exif.get_ifd(tag)}
    blocks = ((TIFF_ICC, 7, m.icc), (TIFF_XMP, 1, m.xmp), (TIFF_IPTC, 7, m.iptc))
    tags: list[tuple[int, str | int, int, object, bool]]
    tags = [(tag, kind, len(block), block, True) for tag, kind, block in blocks if block]
    for tag in (0x010E, 0x010F, 0x0110, 0x0132, 0x013B, 0x8298):  # description .. copyright
        if isinstance(exif.get(tag), str):
            tags.append((tag, 2, 0, exif[tag], True))
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        array,
        byteorder="<",
        photometric="minisblack" if array.ndim == 2 else "rgb",
        extrasamples=["unassalpha"] if array.ndim == 3 and array.shape[2] == 4 else None,
        compression="zlib",
        predictor=array.dtype.kind == "u",  # that of floats needs another package
        resolution=m.dpi,
        resolutionunit="INCH" if m.dpi else None,
        software=exif.get(0x0131),
        metadata=None,
        extratags=tags,
    )
    return _with_directories(buffer.getvalue(), nested)


def _with_directories(tiff: bytes, nested: dict[int, dict[int, object]]) -> bytes:
    """A little-endian TIFF with directories inside of its own, which is written anew behind them; tifffile has none."""
    if not nested:
        return tiff
    (start,) = struct.unpack_from("<I", tiff, 4)
    (count,) = struct.unpack_from("<H", tiff, start)
    entries = [tiff[at : at + 12] for at in range(start + 2, start + 2 + 12 * count, 12)]
    data = bytearray(tiff)
    for tag, values in nested.items():
        data += bytes(len(data) % 2)
        entries.append(struct.pack("<HHII", tag, 4, 1, len(data)))
        directory = TiffImagePlugin.ImageFileDirectory_v2(b"II*\0\0\0\0\0")
        directory.update(values)
        data += directory.tobytes(len(data))
    data += bytes(len(data) % 2)
    struct.pack_into("<I", data, 4, len(data))
    entries.sort(key=lambda entry: int.from_bytes(entry[:2], "little"))
    return bytes(data) + struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
