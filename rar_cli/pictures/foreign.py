"""Files that rar cannot read: raw camera files, and formats whose package is missing. Their bytes identify them.

A raw file holds previews, and Pillow would open one of them instead of the photograph.
"""

from __future__ import annotations

from pathlib import PurePath

from rar_cli.pictures.formats import TABLE, openers
from rar_cli.pictures.tags.tiff import directories, is_tiff

RAW_SUFFIXES = {
    ".3fr", ".ari", ".arw", ".bay", ".cap", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".gpr", ".iiq",
    ".k25", ".kdc", ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".ptx", ".pxn", ".raf", ".raw", ".rw2",
    ".rwl", ".rwz", ".sr2", ".srf", ".srw", ".x3f",
}  # fmt: skip
"""Makers' endings."""

RAW_BEGINNINGS = (
    (0, b"FUJIFILMCCD-RAW", "Fujifilm RAF"), (0, b"FOVb", "Sigma X3F"), (0, b"\0MRM", "Minolta MRW"),
    (0, b"IIRO", "Olympus ORF"), (0, b"IIRS", "Olympus ORF"), (0, b"MMOR", "Olympus ORF"),
    (0, b"IIU\0", "Panasonic RW2"), (4, b"ftypcrx", "Canon CR3"), (6, b"HEAPCCDR", "Canon CRW"),
    (8, b"CR\x02", "Canon CR2"), (8, b"IIII", "Phase One IIQ"),
)  # fmt: skip
"""(offset, bytes, what it is)."""

DNG_VERSION = 50706
COMPRESSION, PHOTOMETRIC = 259, 262
SENSOR_COLOURS = {32803, 34892}
"""Photometric interpretations: colour filter array, linear raw."""
SENSOR_COMPRESSIONS = {
    32767: "Sony ARW",
    32770: "Samsung SRW",
    34713: "Nikon NEF",
    65000: "Kodak DCR",
    65535: "Pentax PEF",
}


def refusal(data: bytes, name: str) -> str | None:
    """Why a file is left to other programs, with the cure; None where rar may try to read it."""
    maker = raw_kind(data, name)
    if maker is not None:
        return (
            f"is a raw camera file ({maker}); develop it first (darktable, RawTherapee, the maker's program) "
            "and restore the 16-bit TIFF"
        )
    return None


def missing_package(data: bytes) -> str | None:
    """What to install for a file that Pillow could not open; None where that is not what is missing."""
    for row in TABLE:
        if row.begins(data) and row.name not in openers():
            return f"{row.name} cannot be read yet; run {row.cure}"
    return None


def raw_kind(data: bytes, name: str) -> str | None:
    """Which kind of raw camera file these bytes are, judged by them and, for TIFF alone, by the ending of `name`."""
    for offset, beginning, maker in RAW_BEGINNINGS:
        if data.startswith(beginning, offset):
            return maker
    if not is_tiff(data):
        return None
    for tags in directories(data):
        if DNG_VERSION in tags:
            return "DNG"
        compression = tags.get(COMPRESSION, (0,))[0]
        if compression in SENSOR_COMPRESSIONS:
            return SENSOR_COMPRESSIONS[compression]
        if SENSOR_COLOURS & set(tags.get(PHOTOMETRIC, ())):
            return "sensor data in TIFF"
    suffix = PurePath(name).suffix.lower()
    return f"ending {suffix}" if suffix in RAW_SUFFIXES else None
