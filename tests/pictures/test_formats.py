"""The table of formats is true: what it lists is read, written and kept, and nothing else is tried."""

import re
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from rar_cli.errors import ImageError, UsageError
from rar_cli.jobs.naming import plan
from rar_cli.pictures import formats
from rar_cli.pictures.decoding import read_picture
from rar_cli.pictures.encoding import encode_picture
from rar_cli.pictures.formats import BY_NAME, FORMAT_SUFFIX, FORMATS, TABLE, WRITABLE, described, openers
from rar_cli.pictures.images import Picture
from rar_cli.pictures.tags.metadata import Metadata
from tests.conftest import ROOT
from tests.pictures.makers import COMMENT, ICC, IPTC, XMP, file_of, full_exif

KINDS = {
    "EXIF": Metadata(exif=full_exif()),
    "XMP": Metadata(xmp=XMP),
    "ICC profile": Metadata(icc=ICC),
    "IPTC": Metadata(iptc=IPTC),
    "comment": Metadata(comments=(COMMENT,)),
    "text": Metadata(text=(("Author", "Ann"),)),
    "density": Metadata(dpi=(300.0, 300.0)),
}


def row_or_skip(name):
    if name not in openers():
        pytest.skip(f"{name} is not installed")
    return BY_NAME[name]


def depths_of(name):
    return (np.uint8, np.uint16) if BY_NAME[name].deep else (np.uint8,)


@pytest.fixture
def smooth(photo):
    return cv2.GaussianBlur(photo, (0, 0), 3)


@pytest.mark.parametrize("name", [row.name for row in TABLE])
def test_every_format_is_read(smooth, name):
    row_or_skip(name)
    picture = read_picture(file_of(Image.fromarray(smooth), name), "x")
    assert picture.format == name
    assert np.abs(picture.pixels.astype(int) - smooth).mean() < (40 if name == "GIF" else 4)


@pytest.mark.parametrize("name", sorted(WRITABLE))
def test_every_writable_format_is_written_at_the_depth_that_the_table_says(smooth, name):
    row = row_or_skip(name)
    deep = (smooth.astype(np.float32) / 255) ** 1.1
    for pixels, kept in ((smooth, True), ((deep * 65535).astype(np.uint16), row.deep), (deep, row.floating)):
        data, warnings = encode_picture(Picture(pixels, name), name)
        again = read_picture(data, "x").pixels
        assert (again.dtype == pixels.dtype) == kept
        assert bool(warnings) == (again.dtype.itemsize == 1 < pixels.dtype.itemsize)


@pytest.mark.parametrize("name", sorted(WRITABLE))
def test_alpha_is_kept_where_the_table_says_so_and_named_elsewhere(smooth, name):
    row = row_or_skip(name)
    data, warnings = encode_picture(Picture(smooth, name, smooth[..., 0]), name)
    assert (read_picture(data, "x").alpha is not None) == row.alpha
    assert ("alpha" in " ".join(warnings)) != row.alpha


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "dtype"), [(n, t) for n in sorted(WRITABLE) for t in depths_of(n)])
def test_metadata_is_kept_where_the_table_says_so_and_named_once_elsewhere(smooth, name, kind, dtype):
    row = row_or_skip(name)
    given = KINDS[kind]
    field = {"EXIF": "exif", "XMP": "xmp", "ICC profile": "icc", "IPTC": "iptc", "density": "dpi"}.get(kind)
    field = field or {"comment": "comments", "text": "text"}[kind]
    data, warnings = encode_picture(Picture(smooth.astype(dtype), name, metadata=given), name)
    found = getattr(read_picture(data, "x").metadata, field)
    if kind == "comment" and name == "PNG":
        found = tuple(value.encode() for key, value in read_picture(data, "x").metadata.text if key == "Comment")
    if kind in row.keeps:
        assert found if kind in {"EXIF", "density"} else found == getattr(given, field)
        assert warnings == ()
    elif kind not in {"density", "ICC profile"}:  # EXIF has density too; profiles are used up by converting
        assert not found
        assert [kind in warning for warning in warnings] == [True]


def test_colours_are_converted_where_a_format_has_no_profile(smooth):
    swapped = swapping_profile()
    data, warnings = encode_picture(Picture(smooth, "BMP", metadata=Metadata(icc=swapped)), "BMP")
    pixels = read_picture(data, "x").pixels
    assert "converted to sRGB" in warnings[0]
    assert np.abs(pixels.astype(int) - smooth).mean() > 2


def swapping_profile() -> bytes:
    """The sRGB profile with the primaries of red and green exchanged, under another name."""
    names = {b"rXYZ": b"gXYZ", b"gXYZ": b"rXYZ"}
    head, count = ICC[:128], int.from_bytes(ICC[128:132], "big")
    entries = [ICC[132 + 12 * i : 144 + 12 * i] for i in range(count)]
    table = b"".join(names.get(entry[:4], entry[:4]) + entry[4:] for entry in entries)
    whole = head + ICC[128:132] + table + ICC[132 + 12 * count :]
    return whole.replace("sRGB".encode("utf-16-be"), "wide".encode("utf-16-be")).replace(b"sRGB built", b"wide built")


def test_every_list_comes_from_the_table():
    assert {suffix for row in TABLE for suffix in row.suffixes} >= set(FORMATS)
    assert set(FORMATS.values()) == {row.name for row in TABLE if row.in_folders}
    assert FORMAT_SUFFIX == {"jpg": ".jpg", "png": ".png", "webp": ".webp", "tiff": ".tiff"}
    suffixes = [suffix for row in TABLE for suffix in row.suffixes]
    assert len(suffixes) == len(set(suffixes))
    assert not {".gif", ".jp2", ".ppm"} & set(FORMATS)  # singly only


def test_the_page_of_formats_is_the_table():
    assert described() in (ROOT / "docs" / "formats.md").read_text()


@pytest.mark.parametrize(
    ("name", "beginning"),
    [
        ("HEIF", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"),
        ("AVIF", b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf"),
        ("JXL", b"\0\0\0\x0cJXL \r\n\x87\n"),
        ("JXL", b"\xff\x0a\x7f\0"),
    ],
)
def test_where_a_package_is_missing_the_error_is_its_cure(name, beginning, monkeypatch):
    there = tuple(each for each in openers() if each != name)
    for module in ("decoding", "foreign"):
        monkeypatch.setattr(f"rar_cli.pictures.{module}.openers", lambda: there)
    with pytest.raises(ImageError, match="pip install") as caught:
        read_picture(beginning + bytes(200), "photo")
    assert name in str(caught.value)
    assert BY_NAME[name].cure in str(caught.value)


@pytest.mark.parametrize("name", ["HEIF", "JXL"])
def test_what_cannot_be_written_is_said_with_its_cure_before_any_work(name, monkeypatch, photo):
    there = tuple(each for each in openers() if each != name)
    monkeypatch.setattr(formats, "openers", lambda: there)
    monkeypatch.setattr(plan, "FORMATS", {end: kind for end, kind in FORMATS.items() if kind != name})
    cure = f"{name} cannot be written yet; run {BY_NAME[name].cure}"
    for suffix in BY_NAME[name].suffixes:
        with pytest.raises(UsageError, match=re.escape(cure)):
            plan.is_file_target(["photo.png"], f"better{suffix}")
    with pytest.raises(ImageError, match=re.escape(cure)):
        encode_picture(Picture(photo, name), name)


def test_a_package_that_cannot_be_loaded_is_as_one_that_is_missing(monkeypatch):
    monkeypatch.setattr(formats, "_installed", lambda module: True)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    formats._register("pillow_heif")  # raises nothing


def test_jpeg_xl_turns_by_its_own_header_and_not_by_exif(smooth):
    row_or_skip("JXL")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = read_picture(file_of(Image.fromarray(smooth), "JXL", exif=exif.tobytes()), "x")
    assert picture.size == smooth.shape[:2]
