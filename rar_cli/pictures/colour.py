"""Colour spaces: into sRGB, where a picture or a format has no other way."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
from PIL import Image, ImageCms

from rar_cli.pictures.images import Picture
from rar_cli.pictures.tags.metadata import Metadata


def from_cmyk(image: Image.Image, metadata: Metadata) -> tuple[Image.Image, Metadata]:
    """Ink to sRGB, through the embedded profile where there is one; the profile ends there."""
    kept = replace(metadata, icc=None).with_warning("CMYK was converted to sRGB")
    if metadata.icc is not None:
        converted = _converted(image, metadata.icc)
        if converted is not None:
            return converted, kept
    return image.convert("RGB"), kept


def to_srgb(picture: Picture) -> tuple[Picture, bool]:
    """(a picture of 8 bits without its profile, whether its colours had to be converted for it)."""
    icc = picture.metadata.icc
    bare = replace(picture, metadata=replace(picture.metadata, icc=None))
    if icc is None or _is_srgb(icc):
        return bare, False
    colour = Image.fromarray(np.ascontiguousarray(picture.pixels[..., 0] if picture.grey else picture.pixels))
    converted = _converted(colour, icc)
    if converted is None:
        return bare, False
    pixels = np.array(converted)
    return replace(bare, pixels=pixels, grey=bool((pixels[..., :1] == pixels).all()) and picture.grey), True


def _converted(image: Image.Image, icc: bytes) -> Image.Image | None:
    """Through a profile to sRGB; None where the profile is for other colours."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except ImageCms.PyCMSError:
        return None


def _is_srgb(icc: bytes) -> bool:
    try:
        name = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(icc)))
    except ImageCms.PyCMSError:
        return False
    return "srgb" in name.lower()
