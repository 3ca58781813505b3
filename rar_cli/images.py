"""Files <-> pictures <-> image tensors. The only place that knows image formats.

Covered: JPEG, PNG (8 and 16 bit), WebP, TIFF (8 and 16 bit), BMP; AVIF and HEIC where Pillow or
pillow-heif can; grey, palette, CMYK, alpha, EXIF orientation. Not covered: animations, several
pages, 32-bit float, raw camera files: each is refused with a reason.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, UnidentifiedImageError

from rar_cli.errors import ImageError
from rar_cli.metadata import EXIF_IFD, GPS_IFD, Metadata, read_metadata, tiff_tags

if TYPE_CHECKING:
    from torch import Tensor

Pixels = NDArray[Any]

FORMATS = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".png": "PNG", ".webp": "WEBP",
    ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP", ".avif": "AVIF", ".heic": "HEIF", ".heif": "HEIF",
}  # fmt: skip
"""Suffix -> format as Pillow names it."""

WRITABLE = {"JPEG", "PNG", "WEBP", "TIFF", "BMP", "AVIF", "HEIF"}

MAX_PIXELS = 400_000_000
"""Larger pictures are refused as likely decompression bombs."""


@dataclass(frozen=True)
class Picture:
    """A still picture in memory, upright.

    pixels: (h, w, 3), uint8 or uint16, in the picture's own colour space. alpha: (h, w), same
    type, or None. grey: the file has one channel. jpeg: what its encoder used (tables, sampling).
    """

    pixels: Pixels
    format: str
    alpha: Pixels | None = None
    grey: bool = False
    metadata: Metadata = Metadata()
    jpeg: dict[str, Any] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What of the file could not be kept."""
        return self.metadata.warnings


def read_picture(data: bytes, name: str) -> Picture:
    """Decode the bytes of an image file. Raises ImageError that begins with `name` on any fault."""
    if not data:
        raise ImageError(f"{name}: the file is empty; restore it from its source")
    try:
        with _opened(data) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ImageError(f"{name}: {image.width}x{image.height} exceeds {MAX_PIXELS // 10**6} megapixels")
            if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
                frames = getattr(image, "n_frames", 1)
                raise ImageError(f"{name}: holds {frames} frames; rar restores stills, extract the frames first")
            deep = _deep(image)  # before anything loads the pixels
            tiff = image.format == "TIFF"
            if not tiff:
                image.load()  # raises on damage, which reading a PNG's EXIF would swallow
            metadata, orientation = read_metadata(image)
            jpeg = _jpeg_settings(image)
            if tiff:
                image.load()  # drops the tags that were read above
                orientation = orientation if deep else 1  # and has turned the picture already
            picture = _decode_deep(data, metadata, image.format or "") if deep else _decode(image, metadata)
            upright = _upright(picture, orientation)
            return replace(upright, jpeg=jpeg, format=_format(image))
    except ImageError as error:
        raise error if str(error).startswith(name) else ImageError(f"{name}: {error}") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{name}: not a picture in a format rar reads ({', '.join(sorted(WRITABLE))})") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name}: exceeds {MAX_PIXELS // 10**6} megapixels") from error
    except Exception as error:  # decoders raise many kinds on damaged data
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ImageError(f"{name}: damaged or truncated ({reason}); restore it from its source") from error


def write_picture(picture: Picture, path: Path, format_name: str, quality: int | None = None) -> tuple[str, ...]:
    """Encode and write atomically; returns warnings. Raises ImageError that names the file."""
    data, warnings = encode_picture(picture, format_name, quality)
    write_bytes(data, path)
    return warnings


def write_bytes(data: bytes, path: Path) -> None:
    """Write atomically: a temporary file in the same folder, flushed to disk, then renamed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".rar-", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(temporary, 0o666 & ~mask)  # mkstemp is private; outputs follow the user's umask
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise ImageError(f"{path}: cannot be written ({error.strerror or error})") from error


def encode_picture(picture: Picture, format_name: str, quality: int | None = None) -> tuple[bytes, tuple[str, ...]]:
    """(bytes of the file, warnings). Metadata that cannot be written is a warning, never a failure."""
    if picture.pixels.dtype == np.uint16 and format_name == "PNG":
        return _png16(picture), picture.warnings
    if picture.pixels.dtype == np.uint16 and format_name == "TIFF":
        return _tiff16(picture), picture.warnings
    picture = as_8_bit(picture)
    warnings = list(picture.warnings)
    image, dropped = _to_pillow(picture, format_name)
    warnings += dropped
    options = _options(picture, format_name, quality)
    metadata = _metadata_options(picture.metadata, format_name)
    buffer = io.BytesIO()
    try:
        image.save(buffer, format_name, **options, **metadata)
    except Exception as error:  # a block of metadata too large for the format, for instance
        warnings.append(f"metadata not kept ({' '.join(str(error).split())[:120]})")
        buffer = io.BytesIO()
        try:
            image.save(buffer, format_name, **options)
        except Exception as fault:
            raise ImageError(f"cannot be written as {format_name} ({fault}); try --format png") from fault
    return buffer.getvalue(), tuple(warnings)


def picture_to_image(picture: Picture) -> Tensor:
    """Picture -> image (1, 3, h, w) float32 in [0, 1]."""
    import torch

    depth = float(np.iinfo(picture.pixels.dtype).max)
    pixels = torch.from_numpy(np.ascontiguousarray(picture.pixels, dtype=np.float32))
    return pixels.permute(2, 0, 1).unsqueeze(0).div_(depth)


def image_to_picture(image: Tensor, like: Picture) -> Picture:
    """Image (1, 3, h, w) near [0, 1] -> picture with the depth, alpha, grey and metadata of `like`."""
    depth = float(np.iinfo(like.pixels.dtype).max)
    if like.grey:
        image = image.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    pixels = image[0].float().clamp(0.0, 1.0).mul(depth).round().permute(1, 2, 0).cpu().numpy()
    return replace(like, pixels=pixels.astype(like.pixels.dtype))


def as_8_bit(picture: Picture) -> Picture:
    """uint16 -> uint8 by rounding; uint8 stays."""
    if picture.pixels.dtype == np.uint8:
        return picture
    alpha = None if picture.alpha is None else _narrow(picture.alpha)
    return replace(picture, pixels=_narrow(picture.pixels), alpha=alpha)


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


# --- reading ------------------------------------------------------------------------------------


@contextlib.contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    with contextlib.suppress(ImportError):
        import pillow_heif  # the extra rar-cli[heif]

        pillow_heif.register_heif_opener()
    with Image.open(io.BytesIO(data)) as image:
        yield image


def _format(image: Image.Image) -> str:
    return {"MPO": "JPEG"}.get(image.format or "", image.format or "")


def _jpeg_settings(image: Image.Image) -> dict[str, Any] | None:
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        return None
    sampling = JpegImagePlugin.get_sampling(image)
    return {"qtables": dict(image.quantization), "subsampling": sampling if sampling >= 0 else None}


def _decode(image: Image.Image, metadata: Metadata) -> Picture:
    """Pixels of a loaded Pillow image of up to 8 bits per channel."""
    name = image.format or ""
    if image.mode in {"F", "I"}:
        raise ImageError(f"pixels of mode {image.mode} (32 bit) are not supported; convert to 16 bit")
    alpha = None
    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        image = image.convert("RGBA")
        alpha = np.asarray(image.getchannel("A"))
    grey = image.mode in {"1", "L", "LA", "I;16"} or _grey_palette(image)
    if image.mode == "CMYK":
        rgb, metadata = _from_cmyk(image, metadata)
    else:
        rgb = image.convert("RGB")
    pixels = np.asarray(rgb)
    if alpha is not None:
        grey = bool((pixels[..., :1] == pixels).all())
    return Picture(pixels, name, alpha, grey, metadata)


def _deep(image: Image.Image) -> bool:
    """Whether the unloaded file holds 16 bits per channel (Pillow narrows colour to 8)."""
    if image.mode.startswith("I;16"):
        return True
    if image.format == "TIFF":
        bits = image.tag_v2.get(258, (8,))  # type: ignore[attr-defined]
        return bool(max(bits if isinstance(bits, tuple) else (bits,)) == 16)
    if image.format == "PNG":
        tile = getattr(image, "tile", None)
        return "16B" in str(tile[0].args) if tile else False
    return False


def _decode_deep(data: bytes, metadata: Metadata, name: str) -> Picture:
    flags = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if decoded is None or decoded.dtype not in (np.uint8, np.uint16):
        raise ImageError("16-bit data that the decoder does not support; convert it to PNG first")
    if decoded.ndim == 2:
        return Picture(np.repeat(decoded[..., None], 3, axis=2), name, None, True, metadata)
    if decoded.shape[2] == 2:
        return Picture(np.repeat(decoded[..., :1], 3, axis=2), name, decoded[..., 1], True, metadata)
    alpha = np.ascontiguousarray(decoded[..., 3]) if decoded.shape[2] == 4 else None
    pixels = np.ascontiguousarray(decoded[..., 2::-1])
    grey = alpha is not None and bool((pixels[..., :1] == pixels).all())
    return Picture(pixels, name, alpha, grey, metadata)


def _grey_palette(image: Image.Image) -> bool:
    if image.mode != "P":
        return False
    colours = np.asarray(image.getpalette("RGB") or (0, 0, 0)).reshape(-1, 3)
    return bool((colours[:, :1] == colours).all())


def _from_cmyk(image: Image.Image, metadata: Metadata) -> tuple[Image.Image, Metadata]:
    """Ink to sRGB, through the embedded profile where there is one; the profile ends there."""
    kept = replace(metadata, icc=None, warnings=(*metadata.warnings, "CMYK was converted to sRGB"))
    if metadata.icc is not None:
        try:
            srgb = ImageCms.createProfile("sRGB")
            source = ImageCms.ImageCmsProfile(io.BytesIO(metadata.icc))
            converted = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")
            if converted is not None:
                return converted, kept
        except ImageCms.PyCMSError:
            pass  # a profile for other inks: fall through to the plain formula
    return image.convert("RGB"), kept


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


# --- writing ------------------------------------------------------------------------------------


def _narrow(x: Pixels) -> Pixels:
    return ((x.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _to_pillow(picture: Picture, format_name: str) -> tuple[Image.Image, list[str]]:
    colour = picture.pixels[..., 0] if picture.grey else picture.pixels
    image = Image.fromarray(np.ascontiguousarray(colour))
    if picture.alpha is None:
        return image, []
    if format_name in {"JPEG", "BMP"}:
        return image, [f"{format_name} has no alpha channel: it was dropped; use --format png to keep it"]
    image.putalpha(Image.fromarray(np.ascontiguousarray(picture.alpha)))
    return image, []


def _options(picture: Picture, format_name: str, quality: int | None) -> dict[str, Any]:
    if format_name == "JPEG":
        return _jpeg_options(picture, quality)
    if format_name in {"WEBP", "AVIF", "HEIF"}:
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
    if metadata.xmp:
        if format_name == "PNG":
            text = PngImagePlugin.PngInfo()
            text.add_itxt("XML:com.adobe.xmp", metadata.xmp.decode("utf-8", "replace"))
            options["pnginfo"] = text
        elif format_name != "TIFF":
            options["xmp"] = metadata.xmp
    return options


def _tiff_options(metadata: Metadata) -> dict[str, Any]:
    """Tags, and compression where it is possible: Pillow's compressing writer has no nested directories."""
    tags = tiff_tags(metadata.exif) if metadata.exif else TiffImagePlugin.ImageFileDirectory_v2()
    nested = EXIF_IFD in tags or GPS_IFD in tags
    if metadata.xmp:
        tags[700] = metadata.xmp
    return {"tiffinfo": tags, "compression": "raw" if nested else "tiff_adobe_deflate"}


def _deep_array(picture: Picture) -> Pixels:
    """(h, w), (h, w, 3) or (h, w, 4) as RGB(A); grey with alpha is written as colour."""
    if picture.alpha is not None:
        return np.dstack([picture.pixels, picture.alpha])
    return np.ascontiguousarray(picture.pixels[..., 0]) if picture.grey else picture.pixels


def _png16(picture: Picture) -> bytes:
    array = _deep_array(picture)
    if array.ndim == 3:
        order = [2, 1, 0, 3][: array.shape[2]]
        array = np.ascontiguousarray(array[..., order])
    m = picture.metadata
    blocks = (
        (cv2.IMAGE_METADATA_EXIF, m.exif.removeprefix(b"Exif\0\0") if m.exif else None),
        (cv2.IMAGE_METADATA_ICCP, m.icc),
        (cv2.IMAGE_METADATA_XMP, m.xmp),
    )
    kept = [(kind, np.frombuffer(block, np.uint8)) for kind, block in blocks if block]
    done, data = cv2.imencodeWithMetadata(".png", array, [k for k, _ in kept], [b for _, b in kept])
    if not done:
        raise ImageError("cannot be written as 16-bit PNG")
    return data.tobytes()


def _tiff16(picture: Picture) -> bytes:
    import tifffile

    array, m = _deep_array(picture), picture.metadata
    tags: list[tuple[int, str | int, int, object, bool]] = []
    if m.icc:
        tags.append((34675, 7, len(m.icc), m.icc, True))
    if m.xmp:
        tags.append((700, 1, len(m.xmp), m.xmp, True))
    software = None
    if m.exif:
        exif = Image.Exif()
        exif.load(m.exif)
        software = exif.get(0x0131)
        for tag in (0x010E, 0x010F, 0x0110, 0x0132, 0x013B, 0x8298):  # description .. copyright
            if isinstance(exif.get(tag), str):
                tags.append((tag, 2, 0, exif[tag], True))
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        array,
        photometric="minisblack" if array.ndim == 2 else "rgb",
        extrasamples=["unassalpha"] if array.ndim == 3 and array.shape[2] == 4 else None,
        compression="zlib",
        predictor=True,
        resolution=m.dpi,
        resolutionunit="INCH" if m.dpi else None,
        software=software,
        metadata=None,
        extratags=tags,
    )
    return buffer.getvalue()
