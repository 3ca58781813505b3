"""Pictures -> bytes of image files."""

from __future__ import annotations

import io
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin

from rar_cli.errors import ImageError
from rar_cli.pictures.colour import to_srgb
from rar_cli.pictures.deep import encode_png, encode_tiff, png_texts
from rar_cli.pictures.formats import BY_NAME, Format, unwritable
from rar_cli.pictures.images import Picture, as_8_bit, as_16_bit
from rar_cli.pictures.quiet import hush
from rar_cli.pictures.tags.blocks import fits_jpeg, jpeg_markers, with_chunks
from rar_cli.pictures.tags.metadata import EXIF_IFD, GPS_IFD, TIFF_IPTC, TIFF_XMP, Metadata, tiff_tags


def encode_picture(picture: Picture, format_name: str, quality: int | None = None) -> tuple[bytes, tuple[str, ...]]:
    """(bytes of the file, warnings). Metadata that cannot be written is a warning, never a failure."""
    hush()
    row = BY_NAME[format_name]
    if reason := unwritable(row):
        raise ImageError(reason)
    fitting, dropped = _fitting(picture, row)
    warnings = [*picture.warnings, *dropped]
    if fitting.pixels.dtype == np.uint8:
        data, faults = _by_pillow(fitting, format_name, quality)
        return data, (*warnings, *faults)
    try:
        data = encode_png(fitting) if format_name == "PNG" else encode_tiff(fitting)
    except ImageError:
        raise
    except Exception as error:  # metadata that the writers do not take
        bare = replace(fitting, metadata=Metadata(icc=fitting.metadata.icc))
        data = encode_png(bare) if format_name == "PNG" else encode_tiff(bare)
        warnings.append(f"metadata not kept ({_one_line(error)})")
    return data, tuple(warnings)


def _fitting(picture: Picture, row: Format) -> tuple[Picture, list[str]]:
    """(what of a picture a format holds, what it does not, in words)."""
    warnings = []
    deep = picture.pixels.dtype.itemsize > 1
    if not row.floating:
        picture = as_16_bit(picture) if row.deep else as_8_bit(picture)
    if deep and picture.pixels.dtype == np.uint8:
        warnings.append(f"{row.name} has 8 bits for each colour: rounded to them; PNG and TIFF keep all")
    if picture.alpha is not None and not row.alpha:
        picture = replace(picture, alpha=None)
        warnings.append(f"{row.name} has no alpha channel: it was dropped; PNG keeps it")
    if picture.metadata.icc and "ICC profile" not in row.keeps:
        picture, changed = to_srgb(picture)
        warnings += [f"{row.name} holds no ICC profile: colours were converted to sRGB"] * changed
    lost = picture.metadata.lost(row.keeps)
    if lost:
        warnings.append(f"{row.name} holds no {', '.join(lost)}: dropped")
    return picture, warnings


def _by_pillow(picture: Picture, format_name: str, quality: int | None) -> tuple[bytes, list[str]]:
    """(bytes of a file of 8 bits for each colour, warnings). Of metadata that fails, the profile is given up last."""
    image = _to_pillow(picture)
    options = _options(picture, format_name, quality)
    whole, warnings = _fitting_markers(picture.metadata) if format_name == "JPEG" else (picture.metadata, [])
    faults: list[str] = []
    for metadata in dict.fromkeys((whole, Metadata(icc=whole.icc), Metadata())):  # often two or three are alike
        buffer = io.BytesIO()
        try:
            if options.get("optimize") and not _fits_when_optimized(image, options):
                del options["optimize"]
            image.save(buffer, format_name, **options, **_metadata_options(metadata, format_name))
            data = buffer.getvalue()
            if format_name == "PNG" and metadata.colour:
                data = with_chunks(data, metadata.colour)  # Pillow leaves out mDCV and cLLI
            return data, [*warnings, *(f"metadata not kept ({fault})" for fault in faults[:1])]
        except Exception as error:  # a block of metadata that Pillow does not take, for instance
            faults.append(_one_line(error))
    raise ImageError(f"cannot be written as {format_name} ({faults[-1]}); try PNG")


def _fits_when_optimized(image: Image.Image, options: dict[str, Any]) -> bool:
    """Whether a JPEG fits into the buffer that Pillow gives libjpeg for optimized tables.

    Noise at a high quality does not, nor does a picture of one column; libjpeg then fails, and writes to stderr.
    Optimized tables only make a file smaller, so the plain one tells.
    """
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **{**options, "optimize": False})
    pixels = image.width * image.height
    room = max(ImageFile.MAXBLOCK, pixels * (2 if options.get("quality", 95) >= 95 else 1))
    return len(buffer.getvalue()) <= room


def _to_pillow(picture: Picture) -> Image.Image:
    colour = picture.pixels[..., 0] if picture.grey else picture.pixels
    image = Image.fromarray(np.ascontiguousarray(colour))
    if picture.alpha is not None:
        image.putalpha(Image.fromarray(np.ascontiguousarray(picture.alpha)))
    return image


def _options(picture: Picture, format_name: str, quality: int | None) -> dict[str, Any]:
    if format_name == "JPEG":
        return _jpeg_options(picture, quality)
    if BY_NAME[format_name].lossy:
        return {"quality": 95 if quality is None else quality}
    return {}


def _jpeg_options(picture: Picture, quality: int | None) -> dict[str, Any]:
    """`quality` as asked; else 95, or the file's own tables where those are finer; its own sampling."""
    settings = picture.jpeg or {}
    options: dict[str, Any] = {"quality": 95 if quality is None else quality, "optimize": True}
    if settings.get("subsampling") is not None and not picture.grey:
        options["subsampling"] = settings["subsampling"]
    elif quality is None and not picture.grey:
        options["subsampling"] = 0
    tables = settings.get("qtables")
    if quality is None and tables and sum(tables[min(tables)]) < _QUALITY_95_LUMA:
        options["qtables"] = [tables[k] for k in sorted(tables)]
        del options["quality"]
    return options


PNG_COMPRESSION = {"compress_level": 6, "compress_type": zlib.Z_RLE}
"""Of zlib: a fourth of its default strategy's time, which would be a fifth of a restoration's, for files 8 % larger
(the median photograph's 1 %)."""

_QUALITY_95_LUMA = 372
"""Sum of the standard luma table at quality 95; a finer file sums to less."""


def _metadata_options(metadata: Metadata, format_name: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if format_name == "BMP":
        return {"dpi": metadata.dpi} if metadata.dpi else {}
    if format_name == "TIFF":
        options.update(_tiff_options(metadata))
    elif metadata.exif:
        options["exif"] = metadata.exif
    if metadata.icc:
        options["icc_profile"] = metadata.icc
    if metadata.dpi and format_name in {"JPEG", "PNG", "TIFF"}:
        options["dpi"] = metadata.dpi
    if format_name == "PNG":
        text = png_texts(metadata)
        if metadata.software:
            text.add_text("Software", metadata.software)
        if metadata.xmp:
            text.add_itxt("XML:com.adobe.xmp", metadata.xmp.decode("utf-8", "replace"))
        options["pnginfo"] = text
        options.update(PNG_COMPRESSION)
    elif metadata.xmp and format_name != "TIFF":
        options["xmp"] = metadata.xmp
    if format_name == "JPEG" and (metadata.iptc or metadata.comments):
        options["extra"] = jpeg_markers(metadata.iptc, metadata.comments)
    return options


def _tiff_options(metadata: Metadata) -> dict[str, Any]:
    """Tags, and compression where it is possible: Pillow's compressing writer has no nested directories."""
    tags = tiff_tags(metadata.exif) if metadata.exif else TiffImagePlugin.ImageFileDirectory_v2()
    nested = EXIF_IFD in tags or GPS_IFD in tags
    if metadata.xmp:
        tags[TIFF_XMP] = metadata.xmp
    if metadata.iptc:
        tags[TIFF_IPTC] = metadata.iptc
    return {"tiffinfo": tags, "compression": "raw" if nested else "tiff_adobe_deflate"}


def _fitting_markers(metadata: Metadata) -> tuple[Metadata, list[str]]:
    """(what the markers of a JPEG hold, what they do not, in words)."""
    exif, xmp, iptc = metadata.exif or b"", metadata.xmp or b"", metadata.iptc or b""
    blocks = {"EXIF": (exif,), "XMP": (xmp,), "IPTC": (iptc,), "comment": metadata.comments}
    large = [name for name, each in blocks.items() if not all(map(fits_jpeg, each))]
    fitting = replace(metadata, exif=exif if fits_jpeg(exif) else None, xmp=xmp if fits_jpeg(xmp) else None)
    return fitting, [f"{', '.join(large)} too large for JPEG: dropped"] if large else []


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:120]
