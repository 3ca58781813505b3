"""What a picture carries beside its pixels: EXIF, XMP, ICC profile, IPTC, comments, density; and provenance.

Covered: orientation is applied and reset, everything else is kept as Pillow parses it. Previews inside EXIF and XMP
are removed, because they show the old picture. Not covered: previews in the makers' own notes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image, ImageCms, TiffImagePlugin

from rar_cli.pictures.tags.blocks import IPTC_RESOURCE, PNG_IPTC, iptc_of_resources, png_iptc
from rar_cli.pictures.tags.xmp import upright, without_promises

EXIF_IFD = 0x8769
GPS_IFD = 0x8825
DESCRIPTIVE = {0x010E, 0x010F, 0x0110, 0x0112, 0x0131, 0x0132, 0x013B, 0x013C, 0x4746, 0x8298}
"""Description, maker, model, orientation, software, date, artist, computer, rating, copyright."""
ORIENTATION = 0x0112
SOFTWARE = 0x0131
SRGB_GAMMA = range(45_000, 46_000)
"""1 / 2.2 as a PNG counts it."""
TIFF_IPTC, TIFF_PHOTOSHOP, TIFF_ICC, TIFF_XMP = 33723, 34377, 34675, 700


@dataclass(frozen=True)
class Metadata:
    """exif: with its "Exif" header, orientation 1. icc, xmp, iptc: raw bytes. dpi: pixels per inch.

    software: what made the picture, where it is to be written as PNG text. comments: of a JPEG or GIF. text: of a PNG.
    colour: what a PNG says of its colours beside a profile: (name, body) of chunks.
    """

    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    software: str | None = None
    warnings: tuple[str, ...] = ()
    iptc: bytes | None = None
    comments: tuple[bytes, ...] = ()
    text: tuple[tuple[str, str], ...] = ()
    colour: tuple[tuple[bytes, bytes], ...] = ()

    def with_provenance(self, text: str) -> Metadata:
        """The same with `text` added to the EXIF Software tag, and as PNG text where that is written."""
        exif = Image.Exif()
        try:
            if self.exif:
                exif.load(self.exif)
            before = str(exif.get(SOFTWARE) or dict(self.text).get("Software", "")).strip("\0 ")
            exif[SOFTWARE] = f"{before}; {text}" if before else text
            return replace(self, exif=exif.tobytes(), software=exif[SOFTWARE])
        except Exception as error:  # Pillow raises many kinds on broken EXIF
            return self.with_warning(f"provenance not written ({error})")

    def with_warning(self, *warnings: str) -> Metadata:
        """The same with more to say of what was not kept."""
        return replace(self, warnings=(*self.warnings, *warnings))

    @property
    def _gamma(self) -> bool:
        """Whether colours look otherwise without their chunks than sRGB does."""
        chunks = dict(self.colour)
        gamma = int.from_bytes(chunks.get(b"gAMA", b""))
        plain = self.icc or b"sRGB" in chunks or gamma in SRGB_GAMMA
        return b"cICP" in chunks or (b"gAMA" in chunks and not plain)

    def lost(self, keeps: tuple[str, ...]) -> list[str]:
        """What a format that keeps just that would lose; density apart, which EXIF holds as well."""
        text = [key for key, _ in self.text if key != "Software"]
        exif = _valued_tags(self.exif) if self.exif else None
        held: dict[str, object] = {"EXIF": exif, "XMP": self.xmp, "ICC profile": self.icc, "IPTC": self.iptc}
        held |= {"comment": self.comments, "text": text, "gamma": self._gamma}
        return [name for name, block in held.items() if block and name not in keeps]


def read_metadata(image: Image.Image) -> tuple[Metadata, int]:
    """(metadata with orientation reset, the orientation 1..8 to apply). Broken parts become warnings."""
    metadata, orientation = metadata_of(image.getexif, image.info, image.format or "")
    applied = getattr(image, "applist", ())
    if image.format in {"JPEG", "MPO"}:
        comments = tuple(body for name, body in applied if name == "COM" and body)
        iptc = _bytes(image.info.get("photoshop", {}).get(IPTC_RESOURCE))
        metadata = replace(metadata, iptc=iptc, comments=comments)
    elif image.format == "GIF":
        metadata = replace(metadata, comments=_comment(image.info))
    elif image.format == "PNG":
        metadata = _with_text(metadata, getattr(image, "text", {}))
    return metadata, orientation


def metadata_of(read_exif: Any, info: Mapping[Any, Any], kind: str) -> tuple[Metadata, int]:
    """As `read_metadata`, from a function that returns EXIF, what else Pillow would know, and the format."""
    warnings: list[str] = []
    orientation, exif_bytes, iptc = 1, None, None
    try:
        exif = read_exif()
        found = exif.get(ORIENTATION, 1)
        orientation = found if found in range(1, 9) else 1
        if kind == "TIFF":
            iptc = _tiff_iptc(exif)
            exif = _descriptive(exif)
        if exif:
            exif_bytes = _upright_bytes(exif)
    except Exception as error:  # Pillow raises many kinds on broken EXIF
        warnings.append(f"EXIF not kept ({_one_line(error)})")
    icc = info.get("icc_profile") or None
    if icc is not None and not _profile(icc):
        warnings.append("ICC profile is damaged and was dropped")
        icc = None
    xmp = info.get("xmp") or info.get("XML:com.adobe.xmp")
    if isinstance(xmp, str):
        xmp = xmp.encode("utf-8", "replace")
    if xmp := _bytes(xmp):
        xmp, gone = without_promises(upright(xmp))
        warnings += [f"{', '.join(gone)}: dropped, also from XMP"] * bool(gone)
    return Metadata(exif_bytes, icc, xmp or None, _dpi(info), None, tuple(warnings), iptc), orientation


def _upright_bytes(exif: Image.Exif) -> bytes:
    """The bytes of EXIF with orientation 1. The object itself keeps its orientation."""
    before = exif.get(ORIENTATION)
    exif[ORIENTATION] = 1
    try:
        return exif.tobytes()
    finally:
        if before is None:
            del exif[ORIENTATION]
        else:
            exif[ORIENTATION] = before


def _valued_tags(exif_bytes: bytes) -> set[int]:
    """Tags of EXIF that a user would miss: all but orientation and software."""
    exif = Image.Exif()
    exif.load(exif_bytes)
    return set(exif) - {ORIENTATION, SOFTWARE}


def _profile(icc: bytes) -> bool:
    """Whether the bytes are an ICC profile."""
    try:
        ImageCms.getOpenProfile(io.BytesIO(icc))
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return False
    return True


def _comment(info: Mapping[Any, Any]) -> tuple[bytes, ...]:
    comment = info.get("comment")
    if isinstance(comment, str):
        comment = comment.encode("utf-8", "replace")
    return (comment,) if isinstance(comment, bytes) and comment else ()


def _with_text(metadata: Metadata, text: Mapping[str, str]) -> Metadata:
    """Texts of a PNG, but for those that are metadata of another kind."""
    iptc = png_iptc(str(text[PNG_IPTC])) if PNG_IPTC in text else None
    kept = {key: value for key, value in text.items() if not re.match(r"XML:|xmp$|exif$|Raw profile type", key)}
    return replace(metadata, iptc=iptc, text=tuple(kept.items()))


def _tiff_iptc(exif: Image.Exif) -> bytes | None:
    found = _bytes(exif.get(TIFF_IPTC))
    resources = _bytes(exif.get(TIFF_PHOTOSHOP))
    return found or (iptc_of_resources(resources) if resources else None)


def _bytes(value: object) -> bytes | None:
    """A block of a file; None where it is not one (IPTC is at times stored as numbers)."""
    return value if isinstance(value, bytes) and value else None


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


def tiff_directory(data: bytes, offset: int | None = None) -> TiffImagePlugin.ImageFileDirectory_v2:
    """A directory of a TIFF or BigTIFF, the first where no other is named, without opening the picture."""
    directory = TiffImagePlugin.ImageFileDirectory_v2(data[:16] if data[2:3] == b"+" or data[3:4] == b"+" else data[:8])
    file = io.BytesIO(data)
    file.seek(directory.next if offset is None else offset)
    directory.load(file)
    return directory


def tiff_exif(data: bytes) -> Image.Exif:
    """What the first directory of a TIFF says, as EXIF with its nested parts."""
    exif = Image.Exif()
    for tag, value in tiff_directory(data).items():
        if tag in (EXIF_IFD, GPS_IFD):
            exif.get_ifd(tag).update(tiff_directory(data, value).items())
        else:
            exif[tag] = value
    return exif


def _dpi(info: Mapping[Any, Any]) -> tuple[float, float] | None:
    try:
        x, y = (float(v) for v in info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if 1 < x < 65535 and 1 < y < 65535 else None


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
