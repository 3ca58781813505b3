"""Formats of files: one row for each. Every other list of endings, names or abilities is made from these rows.

To add a format: add its row, and its picture to `tests/pictures/test_formats.py`.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class Format:
    """One format.

    name: as Pillow calls it. suffixes: endings, the usual one first. also: other names that Pillow has for it.
    option: its word for `--format`. alpha, deep, floating: what is written beside 8 bits for each colour: alpha,
    16 bits, 32-bit floats. keeps: metadata that is written. lossy: it takes a quality. writable: rar writes it.
    in_folders: taken from folders; other files have to be named. brands: the first bytes of such a file, to name the
    missing package. module, package, extra: what reads it beside Pillow.
    """

    name: str
    suffixes: tuple[str, ...]
    also: tuple[str, ...] = ()
    option: str = ""
    alpha: bool = True
    deep: bool = False
    floating: bool = False
    keeps: tuple[str, ...] = ()
    lossy: bool = False
    writable: bool = True
    in_folders: bool = True
    brands: tuple[bytes, ...] = ()
    module: str = ""
    package: str = ""
    extra: str = ""

    @property
    def cure(self) -> str:
        """The command that makes this format readable and, where rar writes it, writable."""
        if not self.module:
            return "pip install --upgrade Pillow"
        return f"pip install 'rar-cli[{self.extra}]' (the package {self.package})"

    def begins(self, data: bytes) -> bool:
        """Whether a file of these bytes is of this format, of those that have `brands`."""
        return any(data.startswith(brand) or data[4:].startswith(brand) for brand in self.brands)


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


JPEG_XL = "pillow_jxl"

TABLE = (
    Format(
        "PNG", (".png",), option="png", deep=True,
        keeps=("EXIF", "XMP", "ICC profile", "IPTC", "comment", "text", "density", "gamma"),
    ),
    Format(
        "JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), also=("MPO",), option="jpg", alpha=False, lossy=True,
        keeps=("EXIF", "XMP", "ICC profile", "IPTC", "comment", "density"),
    ),
    Format("WEBP", (".webp",), option="webp", lossy=True, keeps=("EXIF", "XMP", "ICC profile")),
    Format(
        "TIFF", (".tif", ".tiff"), option="tiff", deep=True, floating=True,
        keeps=("EXIF", "XMP", "ICC profile", "IPTC", "density"),
    ),
    Format("BMP", (".bmp",), alpha=False, keeps=("density",)),
    Format("AVIF", (".avif",), lossy=True, keeps=("EXIF", "XMP", "ICC profile"), brands=(b"ftypavif", b"ftypavis")),
    Format(
        "HEIF", (".heic", ".heif"), lossy=True, keeps=("EXIF", "XMP", "ICC profile"),
        brands=(b"ftypheic", b"ftypheix", b"ftyphevc", b"ftypheim", b"ftypheis", b"ftypmif1", b"ftypmsf1"),
        module="pillow_heif", package="pillow-heif", extra="heif",
    ),
    Format(
        "JXL", (".jxl",), lossy=True, keeps=("EXIF", "XMP"), in_folders=_installed(JPEG_XL),
        brands=(b"\xff\x0a", b"JXL "), module=JPEG_XL, package="pillow-jxl-plugin", extra="jxl",
    ),
    Format("GIF", (".gif",), writable=False, in_folders=False),
    Format("JPEG2000", (".jp2", ".j2k", ".jpx", ".jpf"), writable=False, in_folders=False),
    Format("PPM", (".ppm", ".pgm", ".pbm", ".pnm"), writable=False, in_folders=False),
)  # fmt: skip
"""All that is read. Pillow is never allowed to try another format."""

BY_NAME = {row.name: row for row in TABLE}
BY_NAME.update({name: row for row in TABLE for name in row.also})

FORMATS = {suffix: row.name for row in TABLE if row.in_folders for suffix in row.suffixes}
"""Suffix -> name of the format, of the files that rar takes from folders."""

WRITABLE = {row.name for row in TABLE if row.writable}

WRITES = {suffix: row for row in TABLE if row.writable for suffix in row.suffixes}
"""Suffix -> writable format. Its package may be missing: see `unwritable`."""

FORMAT_SUFFIX = {row.option: next(s for s in row.suffixes if row.option in s) for row in TABLE if row.option}
"""Word of `--format` -> suffix."""

READABLE = tuple(dict.fromkeys(name for row in TABLE for name in (row.name, *row.also)))
"""Names as Pillow has them."""


@cache
def openers() -> tuple[str, ...]:
    """The names that Pillow may try, of those whose packages are there; loads them on the first call."""
    from PIL import Image

    Image.init()
    for row in TABLE:
        if row.module and _installed(row.module):
            _register(row.module)
    return tuple(name for name in READABLE if name in Image.OPEN)


def _register(module: str) -> None:
    try:
        plugin = importlib.import_module(module)
    except (ImportError, OSError):  # a wheel for another machine; reading then names the cure
        return
    if hasattr(plugin, "register_heif_opener"):
        plugin.register_heif_opener()


def unwritable(row: Format) -> str | None:
    """An error with the cure if the package of a writable format is missing, else None. Loads the writers."""
    return None if row.name in openers() else f"{row.name} cannot be written yet; run {row.cure}"


def described() -> str:
    """The table for people, in Markdown: what is read, written and kept."""
    lines = ["| format | endings | in folders | written | kept beside the colours |", "|---|---|---|---|---|"]
    lines += [f"| {' | '.join(_cells(row))} |" for row in TABLE]
    return "\n".join(lines) + "\n"


def _cells(row: Format) -> tuple[str, ...]:
    name = f"{row.name} (`rar-cli[{row.extra}]`)" if row.extra else row.name
    folders = "with its extra" if row.module == JPEG_XL else "yes" if row.in_folders else "no, name the file"
    depths = ["8"] + ["16"] * row.deep + ["32-bit float"] * row.floating
    written = f"{', '.join(depths)}{'' if row.floating else ' bit'}" if row.writable else "as PNG"
    kept = (*(["alpha"] * row.alpha), *row.keeps) if row.writable else ("as in PNG",)
    return name, " ".join(f"`{suffix}`" for suffix in row.suffixes), folders, written, ", ".join(kept)
