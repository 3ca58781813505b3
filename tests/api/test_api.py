"""Python in three lines: whatever holds a picture goes in, a result that holds one comes out."""

import io
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from PIL import Image, TiffImagePlugin

import rar_cli as rar
from rar_cli.errors import ImageError, UsageError
from rar_cli.loop.policy import FixedPolicy
from rar_cli.pictures import decoding
from rar_cli.types import DEGRADATIONS, Bounds, Degradation, Plan
from tests.conftest import ROOT


@pytest.fixture
def engine(busy):
    """An engine that always makes one round."""
    from rar_cli.engine.engine import Engine
    from rar_cli.engine.options import EngineOptions

    made = Engine(busy, EngineOptions("cpu", "float32"))
    made.policy = FixedPolicy((Plan(),))
    return made


@pytest.fixture
def content(engine):
    """The same, which leaves every picture alone."""
    engine.policy = FixedPolicy(())
    return engine


def encoded(photo, kind="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, kind, **options)
    return buffer.getvalue()


def test_one_picture_comes_out_the_same_from_every_kind_of_source(engine, photo, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(photo))
    wanted = rar.restore(photo, engine=engine).picture
    assert wanted.dtype == np.uint8
    assert not np.array_equal(wanted, photo)
    for source in (path, str(path), path.read_bytes(), Image.open(path)):
        result = rar.restore(source, engine=engine)
        assert isinstance(result.picture, Image.Image)
        assert np.array_equal(np.asarray(result.picture), wanted)
    tensor = torch.from_numpy(photo).permute(2, 0, 1)
    result = rar.restore(tensor, engine=engine)
    assert result.picture.shape == (3, 48, 56)
    assert np.array_equal(result.picture.permute(1, 2, 0).numpy(), wanted)


@pytest.mark.parametrize("shape", [(), (1,), (2,), (3,), (4,)], ids=str)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
def test_an_array_keeps_its_axes_and_depth(engine, shape, dtype):
    generator = np.random.default_rng(0)
    pixels = generator.random((33, 41, *shape))
    if np.dtype(dtype).kind == "u":
        pixels = (pixels * np.iinfo(dtype).max).astype(dtype)
    result = rar.restore(pixels.astype(dtype), engine=engine)
    assert result.picture.shape == pixels.shape
    assert result.picture.dtype == dtype
    if shape in {(2,), (4,)}:
        assert np.allclose(result.picture[..., -1], pixels[..., -1], atol=1e-3)  # alpha stays


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_tensor_keeps_its_type(engine, dtype):
    tensor = torch.rand(3, 32, 40)
    tensor = (tensor * 255).to(dtype) if dtype is torch.uint8 else tensor.to(dtype)
    result = rar.restore(tensor, engine=engine)
    assert not result.accepted
    assert result.picture.dtype == dtype
    assert result.array.dtype == (np.uint8 if dtype is torch.uint8 else np.float32)
    engine.policy = FixedPolicy(())
    assert torch.allclose(rar.restore(tensor, engine=engine).picture, tensor)


@pytest.mark.parametrize("empty", [[], (), "", " , "], ids=repr)
def test_only_names_something_and_none_means_all(engine, photo, empty):
    with pytest.raises(UsageError, match="only: names no degradation; leave it out to remove all, or choose"):
        rar.restore(photo, engine=engine, only=empty)
    whole = rar.restore(photo, engine=engine, only=None, keep=empty).picture
    assert np.array_equal(whole, rar.restore(photo, engine=engine).picture)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16])
def test_a_batch_is_many(engine, dtype):
    batch = torch.rand(2, 3, 32, 40)
    batch = (batch * 255).to(dtype) if dtype is torch.uint8 else batch.to(dtype)
    results = rar.restore(batch, engine=engine)
    assert [r.picture.shape for r in results] == [(3, 32, 40)] * 2
    assert len(rar.restore(np.zeros((3, 16, 16, 3), np.uint8), engine=engine)) == 3
    grey = rar.restore(torch.rand(1, 20, 20), engine=engine)
    assert grey.picture.shape == (1, 20, 20)


def test_many_sources_may_be_of_all_kinds(engine, photo, tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(photo))
    results = rar.restore([tmp_path / "a.png", photo, encoded(photo)], engine=engine)
    assert [r.record.input for r in results] == [str(tmp_path / "a.png"), "picture 1", "picture 2"]
    assert [a.record.input for a in rar.assess((each for each in [photo, photo]), engine=engine)] == [
        "picture 0", "picture 1",
    ]  # fmt: skip


def test_a_result_always_holds_a_picture_its_record_and_rounds(content, photo):
    result = rar.restore(photo, engine=content)
    assert result.accepted
    assert np.array_equal(result.picture, photo)
    assert result.record.status == "accepted"
    assert len(result.rounds) == 1
    assert result.record.as_dict()["rounds"][0]["round"] == 0
    assert repr(result).startswith("<Restored picture, 56x48: ")


def test_what_was_left_alone_is_saved_byte_for_byte(content, photo, tmp_path):
    data = encoded(photo, "JPEG", quality=70)
    result = rar.restore(data, engine=content)
    assert result.save(tmp_path / "sub" / "x.jpg").read_bytes() == data
    with Image.open(result.save(str(tmp_path / "x.webp"))) as image:
        assert image.format == "WEBP"
    with pytest.raises(UsageError, match=r"\.xyz is none that rar writes; use \.png"):
        result.save(tmp_path / "x.xyz")


def test_saving_keeps_metadata_and_names_rar(engine, photo, tmp_path):
    exif = Image.Exif()
    exif[0x010F] = "a maker"
    result = rar.restore(encoded(photo, "JPEG", exif=exif.tobytes(), dpi=(300, 300)), engine=engine)
    with Image.open(result.save(tmp_path / "x.jpg")) as image:
        assert image.getexif()[0x010F] == "a maker"
        assert image.getexif()[0x0131].startswith(f"rar {rar.__version__} (")
        assert image.info["dpi"] == (300, 300)
    pil = Image.open(io.BytesIO(encoded(photo, "JPEG", exif=exif.tobytes())))
    with Image.open(rar.restore(pil, engine=engine).save(tmp_path / "y.png")) as image:
        assert image.getexif()[0x010F] == "a maker"


def test_a_tiff_that_pillow_opened_is_upright_once_and_keeps_its_metadata(photo, engine, tmp_path):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[0x0112], tags[0x010F] = 6, "Maker"
    Image.fromarray(photo[:32, :48]).save(tmp_path / "x.tif", tiffinfo=tags)
    with Image.open(tmp_path / "x.tif") as opened:
        saved = rar.restore(opened, engine=engine).save(tmp_path / "y.tif")
    with Image.open(saved) as after:
        assert after.size == (32, 48)
        assert (after.getexif()[0x010F], after.getexif().get(0x0112, 1)) == ("Maker", 1)


def two_pictures(photo):
    return encoded(photo, "MPO", save_all=True, append_images=[Image.fromarray(photo[::-1].copy())])


def test_the_record_says_what_of_the_input_cannot_be_kept(engine, photo):
    (warning,) = rar.restore(two_pictures(photo), engine=engine).record.warnings
    assert warning.startswith("second picture")


def test_of_what_is_left_as_it_is_nothing_is_lost(content, photo):
    assert not rar.restore(two_pictures(photo), engine=content).record.warnings


def test_a_turned_pil_picture_comes_back_upright(content, photo):
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = Image.open(io.BytesIO(encoded(photo, "JPEG", exif=exif.tobytes())))
    assert rar.restore(turned, engine=content).picture.size == (48, 56)


def test_a_notebook_shows_before_rounds_and_after(engine, photo):
    engine.policy = FixedPolicy((Plan(), Plan()))
    shown = rar.restore(photo, engine=engine)._repr_html_()
    assert re.findall("<figcaption>(.*?)</figcaption>", shown) == ["before", "step 1", "step 2", "after"]
    assert shown.count("data:image/webp;base64,") == 4
    assert "Score" in shown
    engine.policy = FixedPolicy(())
    assert re.findall("<figcaption>(.*?)</figcaption>", rar.restore(photo, engine=engine)._repr_html_()) == ["as it is"]
    evil = rar.assess(photo, engine=engine)
    assert "<img" in evil._repr_html_()


def test_options_reach_the_policy(engine, photo):
    seen = []

    class Spy(FixedPolicy):
        def within(self, bounds):
            seen.append(bounds)
            return FixedPolicy(())

    engine.policy = Spy()
    rar.restore(photo, only="rain, haze", max_rounds=2, accept=70, engine=engine)
    rar.restore(photo, keep=["noise"], engine=engine)
    assert seen[0] == Bounds(2, 70, frozenset({Degradation.RAIN, Degradation.HAZE}), True)
    assert seen[1].wanted == frozenset(DEGRADATIONS) - {Degradation.NOISE}


def test_assess_says_what_is_wrong(engine, photo):
    found = rar.assess(photo, engine=engine)
    assert 0 <= found.score <= 100
    assert set(found.degradations) == set(DEGRADATIONS)
    assert found.band in repr(found)
    assert found.follows in repr(found)
    assert found.follows.startswith(("worth restoring: ", "left alone: ", "good as it is"))
    assert found.record.verdict in {"accept", "restore"}


SPARSE = torch.zeros(3, 5, 5).to_sparse()
ENDLESS = torch.zeros(1).expand(3, 10**6, 10**6)


def quantized():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.zeros(3, 5, 5), 0.1, 0, torch.quint8)


def told(**info):
    """A Pillow picture that says something of itself."""
    image = Image.new("RGB", (8, 8))
    image.info.update(info)
    return image


class NoPath:
    def __fspath__(self):
        return 5


def closed():
    image = Image.new("RGB", (8, 8))
    image.close()
    return image


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda e: rar.restore(7, engine=e), UsageError, "int is no picture"),
        (lambda e: rar.restore([7], engine=e), UsageError, "int is no picture"),
        (lambda e: rar.restore(b"x", engine=e), ImageError, "picture: "),
        (lambda e: rar.restore("nowhere.png", engine=e), ImageError, "nowhere.png"),
        (lambda e: rar.restore(".", engine=e), ImageError, "is a folder; give its pictures one by one"),
        (lambda e: rar.restore(np.zeros((4, 4, 5), np.uint8), engine=e), UsageError, "(h, w, 1 to 4)"),
        (lambda e: rar.restore(np.zeros((4, 4), np.int64), engine=e), UsageError, "int64"),
        (lambda e: rar.restore(np.full((4, 4), 255.0), engine=e), UsageError, "divide by 255"),
        (lambda e: rar.restore(torch.zeros(4, 5, 5), engine=e), UsageError, "(1 or 3, h, w)"),
        (lambda e: rar.restore(np.zeros((4, 4, 3), np.uint8), only="dust", engine=e), UsageError, "dust"),
        (lambda e: rar.restore(np.zeros((4, 4, 3), np.uint8), strength=101, engine=e), UsageError, "0 to 100"),
        (lambda e: rar.restore(np.zeros((4, 4, 3), np.uint8), engine=3), UsageError, "rar.load()"),
        (lambda e: rar.restore(np.zeros((4, 4, 3), np.uint8), only=5, engine=e), UsageError, "only: names"),
        (lambda e: rar.restore(np.zeros((4, 4, 3), np.uint8), strength="50", engine=e), UsageError, "got '50'"),
        (lambda e: rar.restore(np.zeros((4, 4, 3), np.uint8), strength=True, engine=e), UsageError, "got True"),
        (lambda e: rar.restore(np.zeros((4, 4, 3), np.uint8), max_rounds="2", engine=e), UsageError, "whole number"),
        (lambda e: rar.restore(np.full((4, 4), -1.0), engine=e), UsageError, "undo a norm?"),
        (lambda e: rar.restore("a\0b.png", engine=e), ImageError, "holds a zero"),
        (lambda e: rar.restore(torch.zeros(3, 5, 5, device="meta"), engine=e), UsageError, "meta"),
        (lambda e: rar.restore(SPARSE, engine=e), UsageError, "sparse"),
        (lambda e: rar.restore(quantized(), engine=e), UsageError, "quantized"),
        (lambda e: rar.restore(ENDLESS, engine=e), ImageError, "does not fit into memory"),
        (lambda e: rar.assess(torch.zeros(3, 5, 5), accept=200, engine=e), UsageError, "got 200"),
        (lambda e: rar.assess(torch.zeros(3, 5, 5), accept="x", engine=e), UsageError, "got 'x'"),
        (lambda e: rar.restore(torch.zeros(3, 5, 5), accept=[1], engine=e), UsageError, "got [1]"),
        (lambda e: rar.restore(torch.zeros(3, 5, 5), max_rounds=2.5, engine=e), UsageError, "whole number, 0 or more"),
        (lambda e: rar.restore(torch.zeros(3, 5, 5), max_rounds="3", engine=e), UsageError, "got '3'"),
        (lambda e: rar.restore(torch.zeros(3, 5, 5), max_rounds=None, engine=e), UsageError, "got None"),
        (lambda e: rar.restore(np.zeros((8, 8, 3), np.uint8), engine=e).save("a\0.png"), ImageError, "holds a zero"),
        (lambda e: rar.restore(np.zeros((8, 8, 3), np.uint8), engine=e).save("s3q://b/x.png"), UsageError, "s3q"),
        (lambda e: rar.restore("s3q://b/x.png", engine=e), UsageError, "s3q"),
        (lambda e: rar.restore(np.zeros((8, 8, 3), np.uint8), engine=e).save("x.jpg", 0), UsageError, "1 to 100"),
        (lambda e: rar.restore(np.zeros((8, 8, 3), np.uint8), engine=e).save("x.jpg", 2.5), UsageError, "1 to 100"),
        (lambda e: rar.restore(torch.zeros(3, 5, 5), only="rain", keep="noise", engine=e), UsageError, "only and keep"),
        (lambda e: rar.assess(torch.zeros(3, 5, 5), accept=-1, engine=e), UsageError, "accept: must lie in 0 to 100"),
        (lambda e: rar.restore(closed(), engine=e), ImageError, "open it anew"),
        (lambda e: rar.restore(np.zeros(()), engine=e), UsageError, "(h, w, 1 to 4)"),
        (lambda e: rar.assess(NoPath(), engine=e), UsageError, "NoPath is no path"),
        (lambda e: rar.restore(np.zeros((8, 8, 3), np.uint8), engine=e).save(NoPath()), UsageError, "no path"),
        (lambda e: rar.restore(np.zeros((8, 8, 3), np.uint8), engine=NoPath()), UsageError, "NoPath is no path"),
        (lambda e: rar.restore(Image.new("F", (8, 8)), engine=e), ImageError, "mode F (32 bit)"),
        (lambda e: rar.restore(Image.new("I", (8, 8)), engine=e), ImageError, "mode I (32 bit)"),
        (lambda e: rar.restore(np.zeros((8, 8, 3), np.uint8), engine=e).save("x.jpg", True), UsageError, "1 to 100"),
        (lambda e: rar.restore(torch.zeros(3, 5, 5), max_rounds=True, engine=e), UsageError, "got True"),
        (lambda e: rar.restore(torch.zeros(3, 5, 5), max_rounds=torch.tensor(2.5), engine=e), UsageError, "whole"),
        (lambda e: rar.restore(torch.zeros(3, 5, 5), accept=True, engine=e), UsageError, "got True"),
        (lambda e: rar.restore(np.zeros((8, 8, 3), np.uint8), engine=e).save(None), UsageError, "NoneType"),
    ],
)
def test_what_cannot_be_is_refused_by_name(engine, tmp_path, monkeypatch, call, error, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=re.escape(message)):
        call(engine)
    assert not list(tmp_path.glob("*:"))


@pytest.mark.parametrize(
    "info", [{"exif": b"Exif\0\0junk"}, {"xmp": 5}, {"xmp": "<x/>"}, {"icc_profile": b"junk"}], ids=str
)
def test_what_a_pil_picture_says_of_itself_may_be_broken(content, tmp_path, info):
    rar.restore(told(**info), engine=content).save(tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as image:
        assert image.size == (8, 8)


def test_a_pil_picture_too_large_for_rar_or_for_the_memory_is_said_so(engine, monkeypatch):
    def full(self):
        raise MemoryError

    monkeypatch.setattr(Image.Image, "copy", full)
    with pytest.raises(ImageError, match="does not fit into memory"):
        rar.restore(Image.new("RGB", (8, 8)), engine=engine)
    monkeypatch.setattr(decoding, "MAX_PIXELS", 63)
    with pytest.raises(ImageError, match="8x8 exceeds"):
        rar.restore(Image.new("RGB", (8, 8)), engine=engine)


def test_a_pil_picture_is_left_as_it_is_and_read_as_its_file_would_be(content, photo):
    exif = Image.Exif()
    exif[0x0112] = 6
    pil = Image.open(io.BytesIO(encoded(photo, "JPEG", exif=exif.tobytes())))
    assert [rar.restore(pil, engine=content).array.shape for _ in range(2)] == [(56, 48, 3)] * 2
    assert pil.getexif()[0x0112] == 6
    ink = Image.fromarray(photo).convert("CMYK")
    assert rar.restore(ink, engine=content).result.warnings == ("CMYK was converted to sRGB",)


def test_a_matrix_is_an_array(engine, photo):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        result = rar.restore(np.matrix(photo[..., 0]), engine=engine)
    assert result.picture.shape == photo.shape[:2]


def test_completion_offers_the_public_names():
    assert set(dir(rar)) == set(rar.__all__)


def test_strength_0_is_the_input(engine, photo):
    assert np.array_equal(rar.restore(photo, strength=0, engine=engine).picture, photo)


def test_weights_are_loaded_once_by_name(weights_dir, photo):
    from rar_cli.api.calls import _engine

    rar.restore(photo, engine=str(weights_dir))
    assert _engine(str(weights_dir)) is _engine(str(weights_dir))
    assert rar.restore(photo, engine=str(weights_dir)).record.weights == "tiny"


OUTSIDE = """
from pathlib import Path

import numpy as np
import rar_cli as rar
from typing_extensions import assert_type

one = rar.restore("a.jpg", only=["rain"], strength=50, max_rounds=2)
assert_type(one, rar.Restored)
many = rar.restore([Path("a.jpg"), b"", np.zeros((2, 2, 3), np.uint8)])
assert_type(many, list[rar.Restored])
assert_type(one.save("b.jpg"), Path)
assert_type(one.score, float)
assert_type(rar.assess("a.jpg").degradations, dict[str, float])
assert_type(rar.assess(["a.jpg"]), list[rar.Assessed])
engine = rar.load()
rar.restore("a.jpg", engine=engine)
"""


@pytest.mark.slow
def test_a_type_checker_sees_the_public_surface_from_outside(tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "program.py").write_text(OUTSIDE)
    (tmp_path / "wrong.py").write_text('import rar_cli as rar\nrar.restore("a.jpg", strngth=50)\nrar.restore(7)\n')
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--no-incremental", "program.py"]
    environment = {"MYPYPATH": str(ROOT), "PATH": "/usr/bin", "HOME": str(tmp_path)}
    options = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
    done = subprocess.run(command, **options)
    assert done.returncode == 0, done.stdout
    wrong = subprocess.run([*command[:-1], "wrong.py"], **options).stdout
    assert wrong.count("error: No overload variant") == 2, wrong
    assert (ROOT / "rar_cli" / "py.typed").exists()
