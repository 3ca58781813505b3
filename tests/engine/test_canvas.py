import cv2
import numpy as np
import pytest
import torch

from rar_cli.engine.canvas import Canvas, canvas_of
from rar_cli.engine.engine import Engine
from rar_cli.engine.grid import offset_of
from rar_cli.engine.places import places
from rar_cli.engine.restore import assess, restore
from rar_cli.report.figures import heatmap
from tests.conftest import ROOT
from tests.engine.test_borders import bordered, scene
from tests.engine.test_engine import policy
from tests.fakes import CPU


def coded(quality, rows=0, columns=0, side=200):
    """A photograph (3, side, side) that lost its first rows and columns after it was compressed."""
    photo = cv2.imread(str(ROOT / "samples" / "clean" / "coffee.png"), cv2.IMREAD_COLOR)
    data = cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    part = cv2.imdecode(data, cv2.IMREAD_COLOR)[rows : rows + side, columns : columns + side]
    return torch.from_numpy(np.ascontiguousarray(part[..., ::-1])).permute(2, 0, 1)


@pytest.mark.parametrize("quality", [10, 30])
@pytest.mark.parametrize("lost", [(3, 5), (0, 1), (7, 0), (8, 16)])
def test_the_first_whole_block_is_found(quality, lost):
    assert offset_of(coded(quality, *lost)) == tuple(-each % 8 for each in lost)


@pytest.mark.parametrize("dtype", [torch.uint16, torch.float32])
def test_the_grid_is_the_same_in_every_type(dtype):
    image = coded(20, 3, 5)
    image = (image.float() / 255 if dtype.is_floating_point else image.int() * 257).to(dtype)
    assert offset_of(image) == (5, 3)


@pytest.mark.parametrize(
    "image",
    [scene(), torch.rand(3, 90, 90), torch.zeros(3, 64, 64), torch.zeros(3, 1, 1, dtype=torch.uint8), coded(100, 3, 5)],
    ids=["smooth", "noise", "black", "one pixel", "hardly compressed"],
)
def test_without_blocks_the_picture_begins_at_its_corner(image):
    assert offset_of(image) == (0, 0)


def test_blocks_of_a_picture_within_a_border_are_found():
    framed = bordered(coded(20), 0, 13, 13, 6, 6)
    assert canvas_of(framed) == Canvas(13, 213, 6, 206)
    moved = bordered(coded(20, 3, 5), 0, 13, 13, 6, 6)
    assert canvas_of(moved) == Canvas(13, 213, 6, 206, 3, 5)


@pytest.mark.parametrize(
    ("height", "width", "more"),
    [(48, 200, (80, 0)), (200, 95, (0, 40)), (95, 96, (40, 0)), (1, 1, (128, 128)), (96, 96, (0, 0))],
)
def test_small_pictures_are_continued_to_the_size_of_crops_in_training(height, width, more):
    image = torch.rand(3, height, width)
    canvas = canvas_of(image)
    assert canvas == Canvas(0, height, 0, width, *more)
    seen = canvas.of(image[None])
    assert seen.shape == (1, 3, height + more[0], width + more[1])
    assert torch.equal(canvas.put_back(seen * 0.5, image[None])[0], image * 0.5)


def test_blocks_stay_in_line_where_a_small_picture_is_continued():
    for rows, columns in ((0, 0), (3, 5)):
        image = coded(20, rows, columns, side=80)
        seen = canvas_of(image).of(image[None])[0]
        assert min(seen.shape[1:]) >= 128
        assert offset_of(seen) == (0, 0)


def test_what_was_cropped_is_seen_as_what_was_not(busy):
    engine = Engine(busy, CPU)
    image = coded(20, 3, 5)[None]
    (got,) = restore(engine, image, policy(1), keep_rounds=True)
    continued = torch.from_numpy(np.pad(image.numpy(), ((0, 0), (0, 0), (3, 0), (5, 0)), mode="symmetric"))
    (other,) = restore(engine, continued, policy(1), whole=True)
    assert torch.equal(got.image, other.image[..., 3:, 5:])
    assert torch.equal(got.images[-1], got.image)
    assert got.restoration.trace[1].score == other.restoration.trace[1].score
    assert torch.equal(assess(engine, image).score, assess(engine, continued).score)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32])
def test_what_is_inside_is_restored_as_if_it_were_alone_and_the_border_stays(busy, dtype):
    engine = Engine(busy, CPU)
    framed = bordered(scene(), 255, 12, 12, 8, 8)[None]
    if dtype != torch.uint8:
        framed = (framed.float() / 255 if dtype.is_floating_point else framed.int() * 257).to(dtype)
    within = framed[..., 12:72, 8:88]
    (got,), (alone,) = (restore(engine, each, policy(2), keep_rounds=True) for each in (framed, within))
    assert got.restoration.trace[-1].score == alone.restoration.trace[-1].score
    assert got.image is not None
    for mine, other in zip((got.image, *got.images), (alone.image, *alone.images), strict=True):
        assert mine.dtype == dtype
        assert torch.equal(mine[..., 12:72, 8:88], other)
        outside = torch.ones(framed.shape, dtype=torch.bool)
        outside[..., 12:72, 8:88] = False
        assert torch.equal(mine[outside], framed[outside])
    assert torch.equal(assess(engine, framed).score, assess(engine, within).score)


@pytest.mark.slow
def test_pictures_of_a_batch_have_borders_of_their_own_and_tell_of_their_rounds(busy):
    engine = Engine(busy, CPU)
    batch = torch.stack([scene(84, 96), bordered(scene(), 0, 12, 12, 8, 8), scene(84, 96, seed=1)])
    told = []
    together = restore(engine, batch, policy(1), on_pass=told.append)
    for at, outcome in enumerate(together):
        (alone,) = restore(engine, batch[at : at + 1], policy(1))
        torch.testing.assert_close(outcome.image, alone.image, rtol=0, atol=1)
    assert sorted(place for step in told if step.index == 0 for place in step.pictures) == [0, 1, 2]


def test_a_heat_map_leaves_the_border_without_colours(busy):
    engine = Engine(busy, CPU)
    framed = bordered(scene(), 255, 12, 12, 8, 8)[None]
    assert [(each.rows, each.columns) for each in places(engine, framed)] == [((12, 72), (8, 88))]
    drawn = heatmap(engine, framed)
    assert (drawn[:12] == 255).all()
    assert np.ptp(drawn[12:72, 8:88], axis=2).max() > 50
