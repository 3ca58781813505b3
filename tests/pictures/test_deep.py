"""Deep pictures: every way in which a TIFF stores 16 bits and floats."""

import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from rar_cli.errors import ImageError
from rar_cli.pictures.decoding import read_picture
from rar_cli.pictures.encoding import encode_picture
from rar_cli.pictures.images import as_8_bit, image_to_picture, picture_to_image
from rar_cli.pictures.tags.blocks import ADAM7, PNG_BEGINNING, _png_size
from tests.pictures.makers import ICC, XMP, file_of, tiff_of

LAYOUTS = {
    "strips": {},
    "big-endian": {"byteorder": ">"},
    "BigTIFF": {"bigtiff": True},
    "compressed": {"compression": "zlib"},
    "tiles": {"tile": (16, 32)},
    "compressed tiles": {"tile": (16, 32), "compression": "zlib"},
}


@pytest.fixture
def floats():
    return np.random.default_rng(0).random((45, 37, 4)).astype(np.float32)


def stored(pixels, **options):
    shades = pixels.ndim == 2
    return tiff_of(pixels, photometric="minisblack" if shades else "rgb", **options)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
def test_every_layout_is_read_and_written_at_its_depth(floats, layout, channels, dtype):
    given = floats[..., :channels].squeeze()
    given = given if dtype == np.float32 else (given * 65535).astype(np.uint16)
    options = {"extrasamples": ["unassalpha"]} if channels == 4 else {}
    before = read_picture(stored(given, **LAYOUTS[layout], **options), "x")
    assert before.pixels.dtype == dtype
    assert np.array_equal(before.pixels, given[..., :3] if channels > 1 else np.repeat(given[..., None], 3, 2))
    assert before.grey == (channels == 1)
    restored = image_to_picture(picture_to_image(before), before)
    data, warnings = encode_picture(restored, "TIFF")
    assert warnings == ()
    after = read_picture(data, "y")
    assert after.pixels.dtype == dtype
    assert np.array_equal(after.pixels, before.pixels)
    if channels == 4:
        assert np.array_equal(after.alpha, given[..., 3])


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate"])
def test_grey_floats_that_libtiff_compressed_are_read(floats, compression):
    grey = floats[..., 0]
    data = file_of(Image.fromarray(grey), "TIFF", compression=compression)
    assert np.array_equal(read_picture(data, "x").pixels[..., 0], grey)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_planes_one_after_another_are_read_as_colours(floats, dtype):
    given = floats[..., :3] if dtype == np.float32 else (floats[..., :3] * 65535).astype(dtype)
    data = stored(np.ascontiguousarray(np.moveaxis(given, -1, 0)), planarconfig="separate")
    assert np.array_equal(read_picture(data, "x").pixels, given)


def test_half_and_double_floats_become_floats(floats):
    colours = floats[..., :3]
    assert np.allclose(read_picture(stored(colours.astype(np.float16)), "x").pixels, colours, atol=1e-3)
    double = read_picture(stored(colours.astype(np.float64)), "x")
    assert np.array_equal(double.pixels, colours)
    assert "64-bit" in double.warnings[0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_no_numbers_are_refused(floats, bad):
    floats[3, 4, 1] = bad
    for given in (floats[..., :3], floats[..., 1]):
        with pytest.raises(ImageError, match=r"^x\.tif: holds pixels that are NaN or infinite"):
            read_picture(stored(given), "x.tif")


def test_floats_on_another_scale_are_refused_and_a_few_beyond_are_clipped_and_named(floats):
    with pytest.raises(ImageError, match="scale them to 0"):
        read_picture(stored(floats[..., :3] * 255), "x")
    floats[:2] = 1.5
    picture = read_picture(stored(floats[..., :3]), "x")
    assert picture.pixels.max() == 1.0
    assert "clipped" in picture.warnings[0]


@pytest.mark.parametrize("dtype", [np.int16, np.uint32])
def test_other_types_are_refused_with_their_name(dtype):
    pixels = np.arange(600).reshape(20, 30).astype(dtype)
    with pytest.raises(ImageError, match=np.dtype(dtype).name):
        read_picture(stored(pixels), "x")


def test_white_is_zero_is_turned(floats):
    grey = (floats[..., 0] * 65535).astype(np.uint16)
    picture = read_picture(tiff_of(grey, photometric="miniswhite"), "x")
    assert np.array_equal(picture.pixels[..., 0], 65535 - grey)


def test_colours_that_were_multiplied_by_alpha_are_divided_by_it(floats):
    colour, alpha = floats[..., :3], floats[..., 3:] * 0.9 + 0.1
    data = stored(np.concatenate([colour * alpha, alpha], 2), extrasamples=["assocalpha"])
    assert np.allclose(read_picture(data, "x").pixels, colour, atol=1e-6)


def test_16_bit_ink_is_read_through_8_bits_and_not_as_colour_with_alpha(floats):
    ink = (floats * 65535).astype(np.uint16)
    picture = read_picture(tiff_of(ink, photometric="separated"), "x")
    assert picture.alpha is None
    assert "CMYK" in " ".join(picture.warnings)


def test_orientation_profile_and_density_of_floats_are_kept(floats):
    tags = [(274, 3, 1, 6, True), (34675, 7, len(ICC), ICC, True), (700, 1, len(XMP), XMP, True)]
    data = stored(floats[..., :3], extratags=tags, resolution=(300, 300), resolutionunit="INCH")
    picture = read_picture(data, "x")
    assert np.array_equal(picture.pixels, np.rot90(floats[..., :3], -1))
    assert (picture.metadata.icc, picture.metadata.xmp, picture.metadata.dpi) == (ICC, XMP, (300.0, 300.0))
    written, _ = encode_picture(picture, "TIFF")
    with tifffile.TiffFile(__import__("io").BytesIO(written)) as file:
        assert file.pages.first.tags.valueof(34675) == ICC


def test_floats_go_into_other_formats_at_their_depth(floats):
    picture = read_picture(stored(floats[..., :3]), "x")
    data, _ = encode_picture(picture, "PNG")
    assert np.abs(read_picture(data, "y").pixels / 65535 - floats[..., :3]).max() < 1e-5
    assert np.array_equal(as_8_bit(picture).pixels, np.rint(floats[..., :3] * 255))


def test_pages_of_floats_are_counted():
    pages = tiff_of(np.zeros((2, 20, 30, 3), np.float32), photometric="rgb")
    with pytest.raises(ImageError, match="holds 2 frames"):
        read_picture(pages, "x")


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("colours", "channels"), [(0, 1), (2, 3), (6, 4)])
@pytest.mark.parametrize("size", [(1, 1), (5, 3), (17, 40)])
def test_the_size_of_the_rows_of_a_png_is_known(interlaced, colours, channels, size):
    height, width = size
    header = struct.pack(">IIBBBBB", width, height, 16, colours, 0, 0, int(interlaced))
    pixels = height * width * channels * 2
    rows = height if not interlaced else sum(len(range(y, height, d)) for x, y, _, d in ADAM7 if x < width)
    assert _png_size(PNG_BEGINNING + bytes(8) + header) == pixels + rows
