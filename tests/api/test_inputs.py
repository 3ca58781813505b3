"""Python callers: every bad shape, type, range or device ends in an error of errors.py that names what was given."""

import io
from dataclasses import replace

import pytest
import torch
from PIL import Image

from rar_cli.api.sources import given
from rar_cli.engine.finite import is_finite, require_finite
from rar_cli.engine.inputs import check_image, check_options
from rar_cli.engine.options import EngineOptions
from rar_cli.errors import ImageError, RarError, UsageError
from rar_cli.pictures.decoding import read_picture
from rar_cli.pictures.encoding import encode_picture
from rar_cli.pictures.formats import openers
from rar_cli.pictures.tags.metadata import Metadata
from tests.pictures.makers import COMMENT, ICC, IPTC, XMP, full_exif, iptc_segment, jpeg_with

METADATA = Metadata(full_exif(), ICC, XMP, (300.0, 300.0), iptc=IPTC, comments=(COMMENT,))

NAN, INF = float("nan"), float("inf")

IMAGES = {
    "None": (None, "Tensor .* got NoneType"),
    "a list": ([[0.0]], "got list"),
    "three axes": (torch.zeros(3, 8, 8), r"got \(3, 8, 8\)"),
    "five axes": (torch.zeros(1, 1, 3, 8, 8), r"got \(1, 1, 3, 8, 8\)"),
    "channels last": (torch.zeros(1, 8, 8, 3), r"got \(1, 8, 8, 3\)"),
    "grey": (torch.zeros(1, 1, 8, 8), r"got \(1, 1, 8, 8\)"),
    "alpha": (torch.zeros(1, 4, 8, 8), r"got \(1, 4, 8, 8\)"),
    "no picture": (torch.zeros(0, 3, 8, 8), r"got \(0, 3, 8, 8\)"),
    "no row": (torch.zeros(1, 3, 0, 8), r"got \(1, 3, 0, 8\)"),
    "no column": (torch.zeros(1, 3, 8, 0), r"got \(1, 3, 8, 0\)"),
    "int64": (torch.zeros(1, 3, 8, 8, dtype=torch.int64), "got int64"),
    "int8": (torch.zeros(1, 3, 8, 8, dtype=torch.int8), "got int8"),
    "bool": (torch.zeros(1, 3, 8, 8, dtype=torch.bool), "got bool"),
    "complex": (torch.zeros(1, 3, 8, 8, dtype=torch.complex64), "got complex64"),
    "meta": (torch.zeros(1, 3, 8, 8, device="meta"), "device meta"),
    "sparse": (torch.zeros(1, 3, 8, 8).to_sparse(), "layout torch.sparse_coo"),
    "two": (torch.zeros(2, 3, 8, 8), "at most 1 in a batch here, got 2"),
}


@pytest.mark.parametrize("name", IMAGES)
def test_images_of_a_wrong_shape_or_type_are_refused_with_what_was_given(name):
    image, message = IMAGES[name]
    with pytest.raises(UsageError, match=message):
        check_image(image, most=1)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32, torch.float64, torch.bfloat16])
def test_images_of_every_type_that_a_file_has_are_taken(dtype):
    image = torch.zeros(2, 3, 1, 1).to(dtype)
    assert check_image(image) is image


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_one_value_that_is_not_finite_is_seen(value, dtype):
    image = torch.rand(1, 3, 5, 7).to(dtype)
    assert is_finite(image)
    assert require_finite(image, "x") is image
    image[0, 2, 4, 6] = value
    with pytest.raises(ImageError, match="NaN or infinity"):
        check_image(image)
    with pytest.raises(ImageError, match="the decoded picture is not finite"):
        require_finite(image, "the decoded picture")


@pytest.mark.parametrize(("tile", "steps"), [(0, 1), (896, 0), (896.0, 1), ("896", 1), (896, None), (True, 1)])
def test_options_that_are_no_whole_numbers_of_at_least_1_are_refused(tile, steps):
    with pytest.raises(UsageError, match="whole number of at least 1"):
        check_options(EngineOptions(tile_px=tile, steps=steps))


def test_steps_without_end_are_refused_before_they_fill_the_memory():
    with pytest.raises(UsageError, match="at most 100, got 1000000000000"):
        check_options(EngineOptions(steps=10**12))


def test_the_public_functions_raise_the_tree_of_errors(tiny):
    from rar_cli.engine.engine import Engine
    from rar_cli.engine.restore import assess, restore

    engine = Engine(tiny, EngineOptions("cpu", "float32"))
    for image, _ in list(IMAGES.values())[:-1]:
        for call in (restore, assess):
            with pytest.raises(RarError):
                call(engine, image)
    with pytest.raises(UsageError, match="at most 1"):
        assess(engine, IMAGES["two"][0])
    with pytest.raises(ImageError):
        restore(engine, torch.full((1, 3, 8, 8), NAN))
    for options in (
        {"device": None},
        {"device": "toaster"},
        {"dtype": None},
        {"dtype": []},
        {"tile_px": 0},
        {"steps": 0},
    ):
        with pytest.raises(UsageError):
            Engine(tiny, EngineOptions(**{"device": "cpu", **options}))


def test_a_network_that_makes_nan_fails_before_anything_is_decoded(busy):
    from rar_cli.engine.engine import Engine
    from rar_cli.engine.restore import restore
    from rar_cli.loop.policy import FixedPolicy

    engine = Engine(busy, EngineOptions("cpu", "float32"))
    busy.codec.decoder_branch.register_forward_hook(lambda *_: torch.tensor(NAN))
    with pytest.raises(ImageError, match="not finite"):
        engine.decode(torch.zeros(1, 48, 4, 4), (16, 16), torch.uint8)
    busy.restorer.register_forward_hook(lambda module, given, made: made * NAN)
    with pytest.raises(ImageError, match="the score is not finite"):
        restore(engine, torch.rand(1, 3, 16, 16), FixedPolicy())


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF", "HEIF"])
def test_a_pillow_picture_has_the_metadata_of_its_file(photo, kind, loaded):
    if kind not in openers():
        pytest.skip(f"no reader of {kind}")
    data, _ = encode_picture(replace(read_picture(jpeg_with(photo, iptc_segment()), "x"), metadata=METADATA), "JPEG")
    if kind == "HEIF":
        Image.open(io.BytesIO(data)).save(buffer := io.BytesIO(), "HEIF", exif=METADATA.exif, icc_profile=METADATA.icc)
        data = buffer.getvalue()
    elif kind != "JPEG":
        data, _ = encode_picture(read_picture(data, "x"), kind)
    opened = Image.open(io.BytesIO(data))
    if loaded:
        opened.load()
    found, file = given(opened).picture, read_picture(data, "x")
    assert (found.metadata, found.size) == (file.metadata, file.size)
    exif = Image.Exif()
    exif.load(found.metadata.exif)
    assert (exif[0x010F], exif.get_ifd(0x8769)[0x9003]) == ("Maker", "2024:01:02 03:04:05")
