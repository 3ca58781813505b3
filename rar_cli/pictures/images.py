"""Bytes of image files -> pictures <-> image tensors; `encoding` is the way back into files.

Covered: JPEG, PNG (8 and 16 bit), WebP, TIFF (8 and 16 bit), BMP; AVIF and HEIC where Pillow or
pillow-heif can; grey, palette, CMYK, alpha, EXIF orientation. Not covered: animations, several
pages, 32-bit float, raw camera files: each is refused with a reason.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, JpegImagePlugin, UnidentifiedImageError

from rar_cli.errors import ImageError
from rar_cli.pictures.metadata import ORIENTATION, Metadata, read_metadata

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
    def hollow(self) -> Picture:
        """The same picture without the memory of its pixels, all of which read 0."""
        nothing = np.zeros((1, 1, 1), self.pixels.dtype)
        return replace(self, pixels=np.broadcast_to(nothing, self.pixels.shape))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What of the file could not be kept."""
        return self.metadata.warnings


def read_picture(data: bytes, name: str) -> Picture:
    """Decode the bytes of an image file. Raises ImageError that begins with `name` on any fault."""
    if not data:
        raise ImageError(f"{name}: the file is empty; restore it from its source")
    try:
        with _opened(io.BytesIO(data)) as image:
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
    except Exception as error:  # decoders raise many kinds on damaged data
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ImageError(f"{name}: damaged or truncated ({reason}); restore it from its source") from error


def picture_size(path: Path) -> tuple[int, int] | None:
    """(height, width), upright, from the header alone; None where `read_picture` would not get there."""
    try:
        with path.open("rb") as file, _opened(file) as image:
            turned = image.format != "PNG" and image.getexif().get(ORIENTATION, 1) in {5, 6, 7, 8}
            return (image.width, image.height) if turned else (image.height, image.width)
    except Exception:  # Pillow raises many kinds; reading reports this file properly
        return None


def picture_to_image(picture: Picture) -> Tensor:
    """Picture -> image (1, 3, h, w), uint8 or uint16 at full range, sharing memory where it can."""
    import torch

    pixels = np.ascontiguousarray(picture.pixels)
    return torch.from_numpy(pixels if pixels.flags.writeable else pixels.copy()).permute(2, 0, 1).unsqueeze(0)


def image_to_picture(image: Tensor, like: Picture) -> Picture:
    """Image (1, 3, h, w), float near [0, 1] or `like`'s own type -> picture with all else of `like`."""
    if image.is_floating_point():
        depth = float(np.iinfo(like.pixels.dtype).max)
        pixels = image[0].float().clamp(0.0, 1.0).mul(depth).round().permute(1, 2, 0).cpu().numpy()
        pixels = pixels.astype(like.pixels.dtype)
    else:
        pixels = image[0].permute(1, 2, 0).numpy()
    if like.grey:
        mean = np.rint(pixels.mean(axis=2, keepdims=True, dtype=np.float32)).astype(like.pixels.dtype)
        pixels = np.broadcast_to(mean, pixels.shape)
    return replace(like, pixels=pixels)


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
def _opened(source: IO[bytes]) -> Iterator[Image.Image]:
    with contextlib.suppress(ImportError):
        import pillow_heif  # the extra rar-cli[heif]

        pillow_heif.register_heif_opener()
    Image.MAX_IMAGE_PIXELS = None  # Pillow's own guard warns at sizes that are wanted here; see MAX_PIXELS
    with Image.open(source) as image:
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
        rgb = image if image.mode == "RGB" else image.convert("RGB")  # spare a large picture the copy
    pixels = np.array(rgb)  # writable, so that tensors can share it
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


def _narrow(x: Pixels) -> Pixels:
    return ((x.astype(np.uint32) + 128) // 257).astype(np.uint8)
