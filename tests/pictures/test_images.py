import io

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from rar_cli.errors import ImageError, UsageError
from rar_cli.pictures.decoding import read_picture
from rar_cli.pictures.encoding import encode_picture
from rar_cli.pictures.files import write_bytes
from rar_cli.pictures.images import Picture, image_to_picture, picture_to_image
from rar_cli.pictures.tags.metadata import tiff_tags

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'


def file_of(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def exif_with(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Maker"
    exif.get_ifd(0x8769)[0x9003] = "2024:01:02 03:04:05"
    return exif


def round_trip(data: bytes, kind: str | None = None, quality: int | None = None):
    """Through the model's tensors and back into a file; (before, after, reopened by Pillow)."""
    before = read_picture(data, "x")
    restored = image_to_picture(picture_to_image(before), before)
    encoded, warnings = encode_picture(restored, kind or before.format, quality)
    return before, read_picture(encoded, "y"), Image.open(io.BytesIO(encoded)), warnings


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1"])
def test_lossless_formats_and_modes_keep_their_pixels(photo, kind, mode):
    image = Image.fromarray(photo).convert(mode)
    before, after, _, _ = round_trip(file_of(image, kind))
    assert np.array_equal(before.pixels, np.asarray(image.convert("RGB")))
    assert np.array_equal(before.pixels, after.pixels)
    assert before.grey == after.grey == (mode in {"L", "1"})


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_alpha_is_kept_beside_the_restored_colour(photo, kind, mode):
    alpha = Image.fromarray((photo[..., 0] // 2 + 60).astype(np.uint8))
    base = {"RGBA": "RGB", "LA": "L", "PA": "P"}[mode]
    image = Image.fromarray(photo).convert(base)
    if mode == "PA":
        image = image.convert("RGB")
    image.putalpha(alpha)
    options = {"lossless": True} if kind == "WEBP" else {}
    before, after, _, _ = round_trip(file_of(image, kind, **options))
    assert np.array_equal(before.alpha, np.asarray(alpha))
    assert np.array_equal(after.alpha, before.alpha)


def test_alpha_that_the_format_cannot_hold_is_dropped_with_a_warning(photo):
    image = Image.fromarray(photo)
    image.putalpha(100)
    _, after, _, warnings = round_trip(file_of(image, "PNG"), "JPEG")
    assert after.alpha is None
    assert "alpha" in " ".join(warnings)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bit_depth_is_carried_through(kind, channels):
    rng = np.random.default_rng(0)
    deep = rng.integers(0, 65536, (21, 17, channels), dtype=np.uint16).squeeze()
    if kind == "PNG":
        order = deep if channels == 1 else deep[..., [2, 1, 0, 3][:channels]]
        data = cv2.imencode(".png", order)[1].tobytes()
    else:
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, deep, photometric="minisblack" if channels == 1 else "rgb")
        data = buffer.getvalue()
    before, after, _, _ = round_trip(data)
    assert before.pixels.dtype == after.pixels.dtype == np.uint16
    assert np.array_equal(before.pixels, after.pixels)
    assert np.array_equal(before.pixels, deep[..., :3] if channels > 1 else np.repeat(deep[..., None], 3, 2))
    if channels == 4:
        assert np.array_equal(after.alpha, deep[..., 3])
    assert before.grey == after.grey == (channels == 1)


def test_16_bit_written_to_an_8_bit_format_is_rounded(photo):
    deep = photo.astype(np.uint16) * 257
    data = cv2.imencode(".png", deep[..., ::-1])[1].tobytes()
    _, after, _, _ = round_trip(data, "BMP")
    assert np.array_equal(after.pixels, photo)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied_once_and_reset(photo, kind, orientation):
    from PIL import ImageOps

    exif = exif_with(orientation)
    options = {"tiffinfo": tiff_tags(exif.tobytes())} if kind == "TIFF" else {"exif": exif}
    data = file_of(Image.fromarray(photo), kind, **options)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    before, after, reopened, _ = round_trip(data)
    assert np.array_equal(before.pixels, expected)
    assert after.size == before.size == expected.shape[:2]
    exif = reopened.getexif()
    assert exif.get(0x0112, 1) == 1
    assert exif[0x010F] == "Maker"
    assert exif.get_ifd(0x8769)[0x9003] == "2024:01:02 03:04:05"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_icc_and_xmp_are_kept_and_the_orientation_in_xmp_is_reset(photo, kind):
    options = {"icc_profile": ICC}
    if kind in {"JPEG", "WEBP"}:
        options["xmp"] = XMP
    elif kind == "TIFF":
        options["tiffinfo"] = {700: XMP}
    else:
        from PIL.PngImagePlugin import PngInfo

        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
    before, after, _, _ = round_trip(file_of(Image.fromarray(photo), kind, **options))
    assert after.metadata.icc == ICC
    assert b'tiff:Orientation="1"' in after.metadata.xmp
    assert before.metadata.xmp == after.metadata.xmp


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_files_keep_icc_and_maker(kind):
    deep = np.random.default_rng(0).integers(0, 65536, (9, 9, 3), dtype=np.uint16)
    if kind == "PNG":
        exif = exif_with(6).tobytes().removeprefix(b"Exif\0\0")
        kinds = [cv2.IMAGE_METADATA_EXIF, cv2.IMAGE_METADATA_ICCP]
        blocks = [np.frombuffer(b, np.uint8) for b in (exif, ICC)]
        data = cv2.imencodeWithMetadata(".png", deep, kinds, blocks)[1].tobytes()
    else:
        buffer = io.BytesIO()
        tags = [(34675, 7, len(ICC), ICC, True), (0x010F, 2, 0, "Maker", True)]
        tifffile.imwrite(buffer, deep, photometric="rgb", extratags=tags)
        data = buffer.getvalue()
    _, after, reopened, _ = round_trip(data)
    assert after.metadata.icc == ICC
    assert str(reopened.getexif()[0x010F]).rstrip("\0") == "Maker"
    assert reopened.getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize(("shape", "quality"), [((65_000, 1), None), ((400, 400), 100)], ids=str)
def test_noise_that_jpeg_cannot_pack_is_written_all_the_same(shape, quality, capfd):
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    data, warnings = encode_picture(Picture(pixels, "PNG", jpeg={"subsampling": 0}), "JPEG", quality)
    assert warnings == ()
    assert read_picture(data, "x").size == shape
    assert capfd.readouterr().err == ""


def test_jpeg_keeps_its_sampling_and_finer_tables_and_obeys_quality(photo):
    from PIL import JpegImagePlugin

    big = Image.fromarray(np.tile(photo, (4, 4, 1)))
    for sampling in (0, 1, 2):
        _, _, reopened, _ = round_trip(file_of(big, "JPEG", quality=90, subsampling=sampling))
        assert JpegImagePlugin.get_sampling(reopened) == sampling
    fine = Image.open(io.BytesIO(file_of(big, "JPEG", quality=99)))
    _, _, reopened, _ = round_trip(file_of(big, "JPEG", quality=99))
    assert reopened.quantization == fine.quantization
    _, _, coarse, _ = round_trip(file_of(big, "JPEG", quality=99), quality=40)
    assert sum(coarse.quantization[0]) > 10 * sum(fine.quantization[0])
    _, _, raised, _ = round_trip(file_of(big, "JPEG", quality=10))
    assert sum(raised.quantization[0]) < 400


def test_cmyk_becomes_rgb_with_a_warning(photo):
    image = Image.fromarray(photo).convert("CMYK")
    before, _, reopened, warnings = round_trip(file_of(image, "TIFF"))
    assert reopened.mode == "RGB"
    assert "CMYK" in " ".join(warnings)
    assert np.abs(before.pixels.astype(int) - photo).mean() < 8


def test_avif_is_read_and_written_where_pillow_can(photo):
    from PIL import features

    if not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    before, after, reopened, _ = round_trip(file_of(Image.fromarray(photo), "AVIF", quality=95, icc_profile=ICC))
    assert reopened.format == "AVIF"
    assert after.size == before.size
    assert after.metadata.icc == ICC


def test_heic_is_read_and_written_with_its_extra(photo):
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    before, after, reopened, _ = round_trip(file_of(Image.fromarray(photo), "HEIF", quality=95))
    assert reopened.format == "HEIF"
    assert after.size == before.size


def test_a_damaged_profile_is_a_warning_and_never_a_failed_picture(photo):
    picture = read_picture(file_of(Image.fromarray(photo), "PNG", icc_profile=b"not a profile"), "x")
    assert picture.metadata.icc is None
    assert "ICC" in picture.warnings[0]


def test_provenance_is_added_to_what_the_software_tag_says(photo):
    exif = exif_with(1)
    exif[0x0131] = "Camera 1.0"
    picture = read_picture(file_of(Image.fromarray(photo), "JPEG", exif=exif), "x")
    marked = picture.metadata.with_provenance("rar 0")
    again = Image.Exif()
    again.load(marked.exif)
    assert again[0x0131] == "Camera 1.0; rar 0"
    assert again[0x010F] == "Maker"


def damaged(photo: np.ndarray) -> dict[str, bytes]:
    png = file_of(Image.fromarray(photo), "PNG")
    frames = [Image.fromarray(photo), Image.fromarray(photo[::-1].copy())]
    return {
        "empty": b"",
        "text": b"this is no picture",
        "truncated": png[: len(png) // 2],
        "header only": png[:33],
        "flipped": png[:60] + bytes(300) + png[360:],
        "animated": file_of(frames[0], "PNG", save_all=True, append_images=frames[1:]),
        "pages": file_of(frames[0], "TIFF", save_all=True, append_images=frames[1:]),
        "float": file_of(Image.fromarray(photo[..., 0].astype(np.float32)), "TIFF"),
    }


@pytest.mark.parametrize(
    "fault", ["empty", "text", "truncated", "header only", "flipped", "animated", "pages", "float"]
)
def test_a_bad_file_raises_one_line_that_begins_with_its_name(photo, fault):
    with pytest.raises(ImageError, match=r"^photo\.png: ") as caught:
        read_picture(damaged(photo)[fault], "photo.png")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_absurd_dimensions_are_refused_before_memory_is_taken():
    image = Image.new("1", (40_000, 30_000))
    with pytest.raises(ImageError, match="megapixels"):
        read_picture(file_of(image, "PNG"), "bomb.png")


def test_writing_is_atomic_and_leaves_nothing_behind_on_failure(tmp_path, monkeypatch):
    target = tmp_path / "x.png"
    target.write_bytes(b"old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(UsageError, match="No space left"):  # no other file could be written either
        write_bytes(b"new", target)
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]
