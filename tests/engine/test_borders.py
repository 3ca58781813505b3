import cv2
import numpy as np
import pytest
import torch

from rar_cli.engine.borders import Box, inside


def scene(height=60, width=80, seed=0):
    """A picture (3, h, w) in 8 bits with no line of one colour."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(60, 200, (height // 10, width // 10, 3)).astype(np.uint8)
    return torch.from_numpy(cv2.resize(coarse, (width, height))).permute(2, 0, 1)


def bordered(image, value, top=0, bottom=0, left=0, right=0):
    padded = torch.nn.functional.pad(image[None].float(), (left, right, top, bottom), value=value)[0]
    return padded.to(image.dtype)


def whole(image):
    return Box(0, image.shape[1], 0, image.shape[2])


@pytest.mark.parametrize("value", [0, 255, 20])
@pytest.mark.parametrize("sides", [(12, 12, 0, 0), (0, 0, 9, 14), (7, 20, 8, 8), (1, 1, 1, 1)])
def test_bars_and_frames_are_found_to_the_pixel(value, sides):
    top, _, left, _ = sides
    assert inside(bordered(scene(), value, *sides)) == (top, top + 60, left, left + 80)


def test_a_border_within_a_border_is_found():
    twice = bordered(bordered(scene(), 0, 4, 4, 4, 4), 255, 10, 10, 10, 10)
    assert inside(twice) == (14, 74, 14, 94)


@pytest.mark.parametrize("quality", [95, 60, 25])
def test_compression_does_not_hide_a_border(quality):
    framed = bordered(scene(120, 160), 0, 32, 32, 40, 40)
    coded = cv2.imencode(".jpg", framed.permute(1, 2, 0).numpy(), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    found = inside(torch.from_numpy(cv2.imdecode(coded, cv2.IMREAD_COLOR)).permute(2, 0, 1))
    assert np.abs(np.subtract(found, (32, 152, 40, 200))).max() <= 1


@pytest.mark.parametrize(
    "image",
    [
        scene(),
        bordered(scene(), 255, top=20),  # a sky
        torch.cat([bordered(scene(), 0, top=9), torch.full((3, 9, 80), 255, dtype=torch.uint8)], 1),
        bordered(scene(), 0, top=140, bottom=140),  # more border than picture
        torch.full((3, 40, 50), 77, dtype=torch.uint8),
        torch.zeros(3, 1, 1, dtype=torch.uint8),
        bordered(scene() // 12 + 1, 0, 9, 9, 9, 9),  # darker than what could be told from the bars
    ],
    ids=["none", "one side", "two colours", "too wide", "one colour", "one pixel", "dark"],
)
def test_what_is_no_border_is_left_in_the_picture(image):
    assert inside(image) == whole(image)


def test_a_sky_that_fades_is_no_border():
    fade = torch.linspace(0, 200, 120)[None, :, None].expand(3, 120, 90).round().to(torch.uint8)
    both = torch.cat([fade, fade.flip(1)], 1)
    assert inside(both) == whole(both)
