"""Bytes of image files -> pictures; `encoding` is the way back.

Covered: what `formats.TABLE` lists; grey, palette, CMYK, alpha, EXIF orientation. Not covered: animations, several
pages, raw camera files: each is refused with a reason.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, JpegImagePlugin, UnidentifiedImageError

from rar_cli.errors import ImageError
from rar_cli.pictures.colour import from_cmyk
from rar_cli.pictures.deep import decode_deep
from rar_cli.pictures.foreign import missing_package, refusal
from rar_cli.pictures.formats import BY_NAME, TABLE, openers
from rar_cli.pictures.images import Picture, Pixels
from rar_cli.pictures.quiet import hush
from rar_cli.pictures.tags.blocks import COLOUR_CHUNKS, box, early_chunks
from rar_cli.pictures.tags.metadata import (
    ORIENTATION,
    TIFF_ICC,
    TIFF_XMP,
    Metadata,
    metadata_of,
    read_metadata,
    tiff_directory,
    tiff_exif,
)
from rar_cli.pictures.tags.seconds import others_inside
from rar_cli.pictures.tags.tiff import is_tiff, layout, pages

MAX_PIXELS = 400_000_000
"""Larger pictures are refused as likely decompression bombs."""


def read_picture(data: bytes, name: str) -> Picture:
    """Decode the bytes of an image file. Raises ImageError that begins with `name` on any fault."""
    if not data:
        raise ImageError(f"{name}: the file is empty; restore it from its source")
    with _faults_of(name):
        reason = refusal(data, name)
        if reason is not None:
            raise ImageError(reason)
        try:
            with _opened(io.BytesIO(data)) as image:
                return _read(image, data)
        except UnidentifiedImageError as error:
            if is_tiff(data) and layout(data).deep:
                return _deep_tiff(data)  # floats in colour, for instance
            reason = missing_package(data)
            readable = ", ".join(row.name for row in TABLE)
            raise ImageError(reason or f"not a picture in a format rar reads ({readable})") from error


def from_pillow(image: Image.Image) -> Picture:
    """A picture that a caller has opened with Pillow, upright, of no format; the caller's own stays as it is.

    Raises ImageError for modes that hold no colours, and whatever Pillow raises on damage.
    """
    _refuse_sizes(image.width, image.height, 1)  # of several frames, the one that the caller chose
    metadata, orientation = read_metadata(image)  # before the pixels are loaded, which drops the tags of a TIFF
    own = image.copy()  # loads the pixels, and by that turns a TIFF
    return _upright(_decode(own, metadata), 1 if image.format == "TIFF" else orientation)


def picture_size(path: Path) -> tuple[int, int] | None:
    """(height, width), upright, from the header alone; None where `read_picture` would not get there."""
    try:
        with path.open("rb") as file, _opened(file) as image:
            turned = image.format != "PNG" and image.getexif().get(ORIENTATION, 1) in {5, 6, 7, 8}
            return (image.width, image.height) if turned else (image.height, image.width)
    except Exception:  # Pillow raises many kinds; reading reports this file properly
        return None


@contextlib.contextmanager
def _faults_of(name: str) -> Iterator[None]:
    """Every fault as one ImageError that begins with the name of the file."""
    try:
        yield
    except ImageError as error:
        raise error if str(error).startswith(name) else ImageError(f"{name}: {error}") from error
    except MemoryError as error:
        raise ImageError(f"{name}: does not fit into memory") from error
    except Exception as error:  # decoders raise many kinds on damaged data
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ImageError(f"{name}: damaged or truncated ({reason}); restore it from its source") from error


@contextlib.contextmanager
def _opened(source: IO[bytes]) -> Iterator[Image.Image]:
    hush()
    Image.MAX_IMAGE_PIXELS = None  # Pillow's own guard warns at sizes that are wanted here; see MAX_PIXELS
    with Image.open(source, formats=openers()) as image:
        yield image


def _read(image: Image.Image, data: bytes) -> Picture:
    """An opened picture, upright, with its metadata."""
    _refuse_sizes(image.width, image.height, _frames(image, data))
    deep = _deep(image, data)  # before anything loads the pixels
    tiff = image.format == "TIFF"
    if not tiff:
        image.load()  # raises on damage, which reading a PNG's EXIF would swallow
    if image.format == "JXL" and (xmp := box(data, b"xml ")):
        image.info["xmp"] = xmp  # which its reader leaves in the file
    metadata, orientation = read_metadata(image)
    if image.format == "PNG":
        chunks = tuple((name, body) for name, body in early_chunks(data) if name in COLOUR_CHUNKS)
        metadata = replace(metadata, colour=chunks)
    metadata = metadata.with_warning(*others_inside(image, data))
    jpeg = _jpeg_settings(image)
    if image.format == "JXL" and not getattr(image, "jpeg", False):
        orientation = 1  # its decoder has turned the picture
    if tiff:
        image.load()  # drops the tags that were read above
        orientation = orientation if deep else 1  # and has turned the picture already
    picture = decode_deep(data, metadata, image.format or "") if deep else _decode(image, metadata)
    return replace(_upright(picture, orientation), jpeg=jpeg, format=BY_NAME[image.format or ""].name)


def _deep_tiff(data: bytes) -> Picture:
    """A TIFF that Pillow cannot open: its pixels and its metadata are read without it."""
    tags = tiff_directory(data)
    _refuse_sizes(tags.get(256, 0), tags.get(257, 0), pages(data))
    info: dict[Any, Any] = {"icc_profile": tags.get(TIFF_ICC), "xmp": tags.get(TIFF_XMP)}
    if tags.get(296, 2) == 2:
        info["dpi"] = tags.get(282), tags.get(283)
    metadata, orientation = metadata_of(lambda: tiff_exif(data), info, "TIFF")
    return _upright(decode_deep(data, metadata, "TIFF"), orientation)


def _frames(image: Image.Image, data: bytes) -> int:
    """How many pictures stand beside each other, none of them before the others."""
    if image.format == "TIFF":
        return pages(data)
    return 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))


def _refuse_sizes(width: int, height: int, frames: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError(f"{width}x{height} exceeds {MAX_PIXELS // 10**6} megapixels")
    if frames > 1:
        raise ImageError(f"holds {frames} frames; rar restores stills, extract the frames first")


def _jpeg_settings(image: Image.Image) -> dict[str, Any] | None:
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        return None
    sampling = JpegImagePlugin.get_sampling(image)
    return {"qtables": dict(image.quantization), "subsampling": sampling if sampling >= 0 else None}


def _deep(image: Image.Image, data: bytes) -> bool:
    """Whether the unloaded file holds more than 8 bits per channel (Pillow narrows colour to 8)."""
    if image.format == "TIFF":
        return layout(data).deep
    if image.mode.startswith("I;16"):
        return image.format in {"PNG", "JPEG2000"}  # of others, Pillow's own pixels are taken
    if image.format == "PNG":
        tile = getattr(image, "tile", None)
        return "16B" in str(tile[0].args) if tile else False
    return False


def _decode(image: Image.Image, metadata: Metadata) -> Picture:
    """Pixels of a loaded Pillow image of up to 8 bits per channel."""
    name = image.format or ""
    if image.mode in {"F", "I"}:
        raise ImageError(f"pixels of mode {image.mode} (32 bit) are not supported; convert to 16 bit")
    if image.mode.startswith("I;16"):
        return Picture(np.repeat(np.asarray(image, np.uint16)[..., None], 3, axis=2), name, None, True, metadata)
    alpha = None
    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        image = image.convert("RGBA")
        alpha = np.asarray(image.getchannel("A"))
    grey = image.mode in {"1", "L", "LA"} or _grey_palette(image)
    if image.mode == "CMYK":
        rgb, metadata = from_cmyk(image, metadata)
    else:
        rgb = image if image.mode == "RGB" else image.convert("RGB")  # spare a large picture the copy
    pixels = np.array(rgb)  # writable, so that tensors can share it
    if alpha is not None:
        grey = bool((pixels[..., :1] == pixels).all())
    return Picture(pixels, name, alpha, grey, metadata)


def _grey_palette(image: Image.Image) -> bool:
    if image.mode != "P":
        return False
    colours = np.asarray(image.getpalette("RGB") or (0, 0, 0)).reshape(-1, 3)
    return bool((colours[:, :1] == colours).all())


def _upright(picture: Picture, orientation: int) -> Picture:
    """Apply EXIF orientation 1..8 once."""
    if orientation == 1:
        return picture

    def turn(x: Pixels) -> Pixels:
        if orientation >= 5:
            x = x.swapaxes(0, 1)
        if orientation in {3, 4, 7, 8}:
            x = x[::-1]
        if orientation in {2, 3, 6, 7}:
            x = x[:, ::-1]
        return np.ascontiguousarray(x)

    alpha = None if picture.alpha is None else turn(picture.alpha)
    return replace(picture, pixels=turn(picture.pixels), alpha=alpha)
