"""What a picture carries beside its pixels: EXIF, XMP, ICC profile, density; and provenance.

Covered: orientation reset once it is applied, everything else kept as Pillow parses it.
Not covered: previews inside EXIF (dropped, they would show the old picture), IPTC blocks.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, replace

from PIL import Image, ImageCms, TiffImagePlugin

EXIF_IFD = 0x8769
GPS_IFD = 0x8825
DESCRIPTIVE = {0x010E, 0x010F, 0x0110, 0x0112, 0x0131, 0x0132, 0x013B, 0x013C, 0x4746, 0x8298}
"""Description, maker, model, orientation, software, date, artist, computer, rating, copyright."""
ORIENTATION = 0x0112
SOFTWARE = 0x0131


@dataclass(frozen=True)
class Metadata:
    """exif: with its "Exif" header, orientation 1. icc, xmp: raw bytes. dpi: pixels per inch.

    software: what made the picture, where it is to be written as PNG text.
    """

    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    software: str | None = None
    warnings: tuple[str, ...] = ()

    def with_provenance(self, text: str) -> Metadata:
        """The same with `text` added to the EXIF Software tag, and as PNG text where that is written."""
        exif = Image.Exif()
        try:
            if self.exif:
                exif.load(self.exif)
            before = str(exif.get(SOFTWARE, "")).strip("\0 ")
            exif[SOFTWARE] = f"{before}; {text}" if before else text
            return replace(self, exif=exif.tobytes(), software=exif[SOFTWARE])
        except Exception as error:  # Pillow raises many kinds on broken EXIF
            return replace(self, warnings=(*self.warnings, f"provenance not written ({error})"))


def read_metadata(image: Image.Image) -> tuple[Metadata, int]:
    """(metadata with orientation reset, the orientation 1..8 to apply). Broken parts become warnings."""
    warnings: list[str] = []
    orientation, exif_bytes = 1, None
    try:
        exif = image.getexif()
        found = exif.get(ORIENTATION, 1)
        orientation = found if found in range(1, 9) else 1
        if image.format == "TIFF":
            exif = _descriptive(exif)
        if exif:
            exif[ORIENTATION] = 1
            exif_bytes = exif.tobytes()
    except Exception as error:  # Pillow raises many kinds on broken EXIF
        warnings.append(f"EXIF not kept ({_one_line(error)})")
    icc = image.info.get("icc_profile") or None
    if icc is not None:
        try:
            ImageCms.getOpenProfile(io.BytesIO(icc))
        except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
            warnings.append("ICC profile is damaged and was dropped")
            icc = None
    xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    if isinstance(xmp, str):
        xmp = xmp.encode()
    if xmp:
        xmp = re.sub(rb"(tiff:Orientation(?:=[\"']|>))\d", rb"\g<1>1", xmp)
    return Metadata(exif_bytes, icc, xmp or None, _dpi(image), None, tuple(warnings)), orientation


def _descriptive(exif: Image.Exif) -> Image.Exif:
    """A TIFF's own directory mixes EXIF with the layout of its pixels: keep what describes the picture."""
    kept = Image.Exif()
    for tag in DESCRIPTIVE & set(exif):
        kept[tag] = exif[tag]
    for directory in (EXIF_IFD, GPS_IFD):
        kept.get_ifd(directory).update(exif.get_ifd(directory))
    return kept


def tiff_tags(exif_bytes: bytes) -> TiffImagePlugin.ImageFileDirectory_v2:
    """EXIF as the directory of a TIFF, with its nested EXIF and GPS parts."""
    exif = Image.Exif()
    exif.load(exif_bytes)
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for tag in DESCRIPTIVE & set(exif):
        tags[tag] = exif[tag]
    for directory in (EXIF_IFD, GPS_IFD):
        nested = dict(exif.get_ifd(directory))
        if nested:
            tags[directory] = nested
    return tags


def _dpi(image: Image.Image) -> tuple[float, float] | None:
    try:
        x, y = (float(v) for v in image.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if 1 < x < 65535 and 1 < y < 65535 else None


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
