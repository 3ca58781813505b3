"""Only what is meant is read: no PostScript, no raw camera files, no previews in place of photographs."""

import io

import numpy as np
import pytest
from PIL import Image

from rar_cli.errors import ImageError
from rar_cli.pictures.decoding import picture_size, read_picture
from rar_cli.pictures.foreign import raw_kind
from tests.pictures.makers import file_of, tiff_of

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 30\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.fixture
def preview(photo):
    return photo[:24, :32]


def dng(preview: np.ndarray) -> bytes:
    """A preview that says that it is one, and that the file is a DNG."""
    return tiff_of(preview, photometric="rgb", subfiletype=1, extratags=[(50706, 1, 4, (1, 4, 0, 0), True)])


def with_sensor_inside(preview: np.ndarray, **options) -> bytes:
    """A preview in front of sensor data in a directory inside, as NEF, ARW and others are built."""
    import tifffile

    sensor = np.zeros((64, 64), np.uint16)
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        file.write(preview, photometric="rgb", subifds=1)
        file.write(sensor, photometric=32803, extratags=[(33421, 3, 2, (2, 2), True)], **options)
    return buffer.getvalue()


def test_postscript_never_reaches_its_interpreter(tmp_path, monkeypatch):
    from PIL import EpsImagePlugin

    calls = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *given: calls.append(given) or Image.new("RGB", (40, 30)))
    path = tmp_path / "photo.png"
    path.write_bytes(POSTSCRIPT)
    with pytest.raises(ImageError, match="not a picture in a format rar reads"):
        read_picture(POSTSCRIPT, str(path))
    assert picture_size(path) is None
    assert not calls


@pytest.mark.parametrize("kind", ["TGA", "ICO", "PCX", "SGI", "DDS", "PDF"])
def test_what_pillow_knows_beyond_the_table_is_not_read(photo, kind):
    data = file_of(Image.fromarray(photo), kind)
    with pytest.raises(ImageError, match="not a picture in a format rar reads"):
        read_picture(data, "photo.png")


def test_a_dng_is_refused_with_the_cure_whatever_its_name(preview):
    for name in ("photo.dng", "photo.tif", "photo.png"):
        with pytest.raises(ImageError, match=r"raw camera file \(DNG\); develop it first"):
            read_picture(dng(preview), name)


def test_previews_in_front_of_sensor_data_are_not_restored(preview):
    with pytest.raises(ImageError, match="raw camera file"):
        read_picture(with_sensor_inside(preview), "photo.tif")


def test_a_tiff_with_a_makers_ending_is_refused_and_a_jpeg_with_one_is_read(preview):
    plain = tiff_of(preview, photometric="rgb")
    assert read_picture(plain, "photo.tif").size == preview.shape[:2]
    with pytest.raises(ImageError, match=r"raw camera file \(ending \.nef\)"):
        read_picture(plain, "photo.NEF")
    assert read_picture(file_of(Image.fromarray(preview), "JPEG"), "photo.nef").size == preview.shape[:2]


@pytest.mark.parametrize(
    ("beginning", "kind"),
    [
        (b"FUJIFILMCCD-RAW 0201", "Fujifilm RAF"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1", "Canon CR3"),
        (b"II*\0\x10\0\0\0CR\x02\0", "Canon CR2"),
        (b"II\x1a\0\0\0HEAPCCDR", "Canon CRW"),
        (b"IIRO\x08\0\0\0", "Olympus ORF"),
        (b"IIU\0\x18\0\0\0", "Panasonic RW2"),
        (b"FOVb\0\0\2\0", "Sigma X3F"),
        (b"\0MRM\0\0\0\0", "Minolta MRW"),
    ],
)
def test_makers_files_are_known_by_how_they_begin(beginning, kind):
    assert raw_kind(beginning + bytes(100), "photo.jpg") == kind
    with pytest.raises(ImageError, match="develop it first"):
        read_picture(beginning + bytes(100), "photo.jpg")


def test_smaller_copies_in_a_tiff_are_dropped_and_named_and_further_pages_refused(photo):
    import tifffile

    def pages(second_is_copy: bool) -> bytes:
        buffer = io.BytesIO()
        with tifffile.TiffWriter(buffer) as file:
            file.write(photo, photometric="rgb", metadata=None)
            file.write(photo[::2, ::2], photometric="rgb", metadata=None, subfiletype=int(second_is_copy))
        return buffer.getvalue()

    picture = read_picture(pages(True), "x")
    assert np.array_equal(picture.pixels, photo)
    assert "smaller copies" in picture.warnings[0]
    with pytest.raises(ImageError, match="holds 2 frames"):
        read_picture(pages(False), "x")


@pytest.mark.parametrize("seed", range(20))
def test_damaged_directories_end_the_search_and_never_hang(preview, seed):
    rng = np.random.default_rng(seed)
    data = bytearray(with_sensor_inside(preview))
    for _ in range(30):
        data[int(rng.integers(8, len(data)))] = int(rng.integers(256))
    raw_kind(bytes(data), "x.tif")
    raw_kind(bytes(data[: int(rng.integers(8, len(data)))]), "x.tif")
