"""What lies beside the pixels is kept, or named once; what shows the old picture is removed."""

import io
import struct
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from rar_cli.pictures.decoding import read_picture
from rar_cli.pictures.encoding import encode_picture
from rar_cli.pictures.tags.blocks import early_chunks, with_chunks
from rar_cli.pictures.tags.metadata import Metadata
from rar_cli.pictures.tags.xmp import without_promises
from tests.pictures.makers import (
    COMMENT,
    ICC,
    IPTC,
    ULTRA_HDR,
    XMP,
    file_of,
    full_exif,
    iptc_segment,
    jpeg_with,
    tiff_of,
)


def again(data: bytes, kind: str):
    """(the file written anew, what is read of it, warnings)."""
    picture = read_picture(data, "x")
    encoded, warnings = encode_picture(picture, kind)
    return encoded, read_picture(encoded, "y"), warnings


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_iptc_survives_and_the_preview_beside_it_does_not(photo, kind):
    encoded, after, warnings = again(jpeg_with(photo, iptc_segment()), kind)
    assert after.metadata.iptc == IPTC
    assert warnings == ()
    assert b"\x04\x0c\0\0" not in encoded


def test_iptc_of_tiff_and_png_comes_back_into_jpeg(photo):
    first, _ = encode_picture(read_picture(jpeg_with(photo, iptc_segment()), "x"), "TIFF")
    second, _ = encode_picture(read_picture(first, "x"), "PNG")
    _, after, _ = again(second, "JPEG")
    assert after.metadata.iptc == IPTC


def test_iptc_that_pillow_and_other_programs_read(photo):
    from PIL import IptcImagePlugin

    encoded, _, _ = again(jpeg_with(photo, iptc_segment()), "JPEG")
    found = IptcImagePlugin.getiptcinfo(Image.open(io.BytesIO(encoded)))
    assert found[(2, 120)] == b"hills"
    assert found[(2, 80)] == b"Ann"


def test_every_comment_of_a_jpeg_survives(photo):
    data = jpeg_with(photo, (0xFE, COMMENT), (0xFE, b"second"))
    _, after, _ = again(data, "JPEG")
    assert set(after.metadata.comments) == {COMMENT, b"second"}
    _, after, _ = again(data, "PNG")
    assert {key for key, _ in after.metadata.text} == {"Comment"}


def test_what_cannot_be_kept_is_named_once(photo):
    data = jpeg_with(photo, iptc_segment(), (0xFE, COMMENT), xmp=XMP, exif=full_exif())
    _, _, warnings = again(data, "BMP")
    assert warnings == ("BMP holds no EXIF, XMP, IPTC, comment: dropped",)


def png_with(pixels, *chunks):
    return with_chunks(file_of(Image.fromarray(pixels), "PNG"), list(chunks))


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_what_a_png_says_of_its_colours_is_kept_and_named_elsewhere(photo, depth):
    linear = [(b"gAMA", struct.pack(">I", 100_000))]
    hdr = [(b"cICP", bytes([9, 16, 0, 1])), (b"mDCV", bytes(24)), (b"cLLI", bytes(8))]
    for chunks in (linear, hdr):
        picture = read_picture(png_with(photo, *chunks), "x.png")
        deep = replace(picture, pixels=picture.pixels.astype(depth))
        data, warnings = encode_picture(deep, "PNG")
        assert (set(chunks) <= set(early_chunks(data)), warnings) == (True, ())
        assert encode_picture(picture, "JPEG")[1] == ("JPEG holds no gamma: dropped",)
    usual = png_with(photo, (b"gAMA", struct.pack(">I", 45_455)), (b"sRGB", b"\0"))
    assert encode_picture(read_picture(usual, "x.png"), "JPEG")[1] == ()


def test_signatures_and_settings_of_other_programs_are_named_once(photo):
    flag = (0xED, b"Photoshop 3.0\0" + b"8BIM" + struct.pack(">HHIH", 0x040A, 0, 1, 0x100))
    signed = (0xEB, b"JP\0\1\0\0\0\1\0\0\0\x40jumb")
    *_, warnings = again(jpeg_with(photo, flag, signed, iptc_segment()), "JPEG")
    assert warnings == ("Content Credentials: dropped", "Photoshop settings (paths, copyright flag, print): dropped")
    assert again(jpeg_with(photo, iptc_segment()), "JPEG")[2] == ()
    assert read_picture(png_with(photo, (b"caBX", b"x")), "x").warnings == ("Content Credentials: dropped",)


@pytest.mark.parametrize(
    ("segment", "named"),
    [
        ((0xE2, b"FPXR\0\0\1preview"), "APP2 FPXR"),
        ((0xE1, b"FLIR\0\1\0\1heat"), "APP1 FLIR"),
        ((0xE3, b"Meta\0\0II"), "APP3 Meta"),
        ((0xEC, b"Ducky\0\3\0\x20\0\0\0\x1c" + b"mine" * 8), "APP12 Ducky"),
        ((0xEF, b"\x1b[31m"), "APP15"),
        ((0xED, b"Adobe_CM\0"), "APP13 Adobe_CM"),
    ],
)
def test_segments_of_other_programs_are_named_once(photo, segment, named):
    for kind in ("JPEG", "PNG"):
        *_, warnings = again(jpeg_with(photo, segment, segment, iptc_segment(), exif=full_exif(), xmp=XMP), kind)
        assert warnings == (f"data of other programs ({named}): dropped",)


def test_segments_that_are_kept_or_about_the_old_encoding_are_not_named(photo):
    usual = [(0xEE, b"Adobe\0d\0\0\0\0\1"), (0xEC, b"Ducky\0\1\0\4\0\0\0\x3c\0\0"), (0xE0, b"JFXX\0\x10")]
    data = jpeg_with(photo, *usual, iptc_segment(), (0xFE, COMMENT), exif=full_exif(), xmp=XMP, icc_profile=ICC)
    assert again(data, "JPEG")[2] == ()


def test_what_lies_behind_a_png_or_webp_and_chunks_of_webp_are_named(photo):
    behind = "data behind the picture (the film of a motion photo, for instance): dropped"
    for kind in ("PNG", "WEBP"):
        data = file_of(Image.fromarray(photo), kind)
        assert read_picture(data + bytes(500), "x").warnings == ()
        assert read_picture(data + b"film" * 40, "x").warnings == (behind,)
    more = data + b"MINE" + struct.pack("<I", 4) + b"mine"
    longer = more[:4] + struct.pack("<I", len(more) - 8) + more[8:]
    assert read_picture(longer, "x").warnings == ("data of other programs (MINE): dropped",)


def test_a_gain_map_after_iso_is_named_once(photo):
    iso = (0xE2, b"urn:iso:std:iso:ts:21496:-1\0\0\0")
    assert again(jpeg_with(photo, iso, xmp=XMP), "JPEG")[2] == ("gain map: dropped",)
    warnings = again(jpeg_with(photo, iso, xmp=ULTRA_HDR), "JPEG")[2]
    assert len(warnings) == 1
    assert warnings[0].startswith("gain map, ")


def test_chunks_and_tags_of_other_programs_are_named_once(photo):
    chunks = [(b"mkBF", b"x" * 9), (b"mkBF", b"y"), (b"vpAg", b"z")]
    assert again(png_with(photo, *chunks), "PNG")[2] == ("data of other programs (mkBF, vpAg): dropped",)
    usual = [(b"tIME", bytes(7)), (b"sBIT", b"\x08\x08\x08"), (b"bKGD", bytes(6))]
    assert again(png_with(photo, *usual), "PNG")[2] == ()
    scale = (33550, "d", 3, (1.0, 1.0, 0.0), True)
    keys = (34735, "H", 4, (1, 1, 0, 0), True)
    for depth in (photo, photo.astype(np.uint16) * 257):
        data = tiff_of(depth, photometric="rgb", extratags=[scale, keys, (65000, "B", 1, 1, True)])
        assert again(data, "TIFF")[2] == ("data of other programs (GeoTIFF, tag 65000): dropped",)
        encoded, warnings = encode_picture(read_picture(tiff_of(depth, photometric="rgb"), "x"), "TIFF")
        assert (warnings, again(encoded, "TIFF")[2]) == ((), ())


def test_iptc_that_is_too_large_for_jpeg_is_named(photo):
    large = b"\x1c\x02\x78" + bytes([0x80, 4, 0, 1, 0, 0]) + bytes(65536)
    picture = read_picture(file_of(Image.fromarray(photo), "PNG"), "x")
    data, warnings = encode_picture(replace(picture, metadata=replace(picture.metadata, iptc=large)), "JPEG")
    assert "IPTC too large" in warnings[0]
    assert read_picture(data, "y").size == picture.size


@pytest.mark.parametrize("name", ["EXIF", "XMP"])
def test_a_block_that_is_too_large_for_jpeg_takes_no_other_along(photo, name):
    exif = Image.Exif()
    exif[0x010E] = "x" * (70_000 if name == "EXIF" else 5)
    metadata = Metadata(exif.tobytes(), ICC, XMP + b" " * (70_000 if name == "XMP" else 0), comments=(COMMENT,))
    picture = read_picture(file_of(Image.fromarray(photo), "PNG"), "x")
    data, warnings = encode_picture(replace(picture, metadata=metadata), "JPEG")
    kept = read_picture(data, "y").metadata
    assert warnings == (f"{name} too large for JPEG: dropped",)
    assert (kept.icc, kept.comments) == (ICC, (COMMENT,))
    assert [kept.exif is None, kept.xmp is None] == [name == "EXIF", name == "XMP"]


def test_texts_of_a_png_survive_at_both_depths(photo):
    from PIL.PngImagePlugin import PngInfo

    texts = PngInfo()
    texts.add_text("Author", "Ann")
    texts.add_itxt("Title", "Hügel im Regen – früh")
    texts.add_text("Software", "Camera")
    data = file_of(Image.fromarray(photo), "PNG", pnginfo=texts, dpi=(300, 300))
    picture = read_picture(data, "x")
    deep = picture.pixels.astype(np.uint16) * 257
    for given in (picture, replace(picture, pixels=deep)):
        marked = replace(given, metadata=given.metadata.with_provenance("rar 0"))
        encoded, warnings = encode_picture(marked, "PNG")
        after = read_picture(encoded, "y")
        found = dict(after.metadata.text)
        assert (found["Author"], found["Title"]) == ("Ann", "Hügel im Regen – früh")
        assert after.metadata.dpi == pytest.approx((300, 300), abs=0.1)
        assert b"Camera; rar 0" in encoded
        assert warnings == ()


def test_previews_in_exif_are_removed(photo):
    preview = file_of(Image.fromarray(photo[::4, ::4]), "JPEG")
    data = file_of(Image.fromarray(photo), "JPEG", exif=full_exif(preview))
    assert preview in data
    for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
        encoded, after, _ = again(data, kind)
        assert preview not in encoded
        exif = Image.Exif()
        exif.load(after.metadata.exif)
        assert exif[0x010F] == "Maker"
        assert not exif.get_ifd(1)


def test_second_pictures_of_a_jpeg_are_dropped_and_named(photo):
    first = Image.fromarray(photo)
    data = file_of(first, "MPO", save_all=True, append_images=[Image.fromarray(photo[::-1].copy())])
    encoded, _, warnings = again(data, "JPEG")
    assert "second picture" in warnings[0]
    assert b"MPF\0" not in encoded


@pytest.mark.parametrize("progressive", [False, True])
def test_what_lies_behind_a_jpeg_is_dropped_and_named(photo, progressive):
    preview = file_of(Image.fromarray(photo[:8, :8].copy()), "JPEG")  # with an end of its own
    exif = Image.Exif()
    exif[0x010E] = "\xff\xd9"
    data = file_of(Image.fromarray(photo), "JPEG", progressive=progressive, comment=preview, exif=exif)
    for padding in (b"", b"\0" * 500, b"\xff" * 90):
        assert again(data + padding, "JPEG")[2] == ()
    encoded, _, warnings = again(data + b"\0\0\0\x18ftypmp42" + 40 * b"film" + b"\xff\xd9", "JPEG")
    assert [w for w in warnings if "data behind the picture" in w]
    assert b"film" not in encoded


def test_a_gain_map_is_dropped_with_a_warning_and_xmp_promises_it_no_more(photo):
    gain_map = file_of(Image.fromarray(photo[..., 0]), "JPEG")
    data = file_of(Image.fromarray(photo), "JPEG", xmp=ULTRA_HDR) + gain_map
    for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
        encoded, after, warnings = again(data, kind)
        assert "gain map" in " ".join(warnings)
        assert gain_map not in encoded
        for promise in (b"hdrgm:Version", b"GainMap", b"HasExtendedXMP", b"MotionPhoto", b"Thumbnails"):
            assert promise not in after.metadata.xmp
        assert b'xmp:Rating="4"' in after.metadata.xmp
        assert b'GCamera:BurstID="7"' in after.metadata.xmp


def test_xmp_that_promises_nothing_keeps_its_bytes():
    assert without_promises(XMP) == (XMP, ())
    rest, gone = without_promises(ULTRA_HDR)
    assert set(gone) == {"gain map", "pictures inside", "motion", "second part of XMP", "preview"}
    import xml.etree.ElementTree as Tree

    assert Tree.fromstring(rest) is not None  # still well formed


def test_bits_beyond_eight_that_are_not_read_are_named(photo):
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    deep = photo.astype(np.uint16) * 257
    file = heif.from_bytes(mode="RGB;16", size=(photo.shape[1], photo.shape[0]), data=deep.tobytes())
    buffer = io.BytesIO()
    file.save(buffer, quality=90)
    picture = read_picture(buffer.getvalue(), "x")
    assert picture.pixels.dtype == np.uint8
    assert "bits for each colour were read as 8" in picture.warnings[0]


def test_exif_and_place_survive_in_a_deep_tiff(photo):
    picture = read_picture(tiff_of(photo.astype(np.uint16) * 257, photometric="rgb"), "x")
    data, warnings = encode_picture(replace(picture, metadata=replace(picture.metadata, exif=full_exif())), "TIFF")
    assert warnings == ()
    exif = Image.open(io.BytesIO(data)).getexif()
    assert exif.get_ifd(0x8769)[0x9003] == "2024:01:02 03:04:05"
    assert exif.get_ifd(0x8825)[1] == "N"
    assert np.array_equal(read_picture(data, "y").pixels, picture.pixels)
