import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from rar_cli.compute.tiling import by_tiles, by_windows, even_spans, pad_to_multiple, spans


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_padding_rounds_up_and_keeps_the_picture_in_its_corner(h, w, multiple):
    x = torch.rand(1, 3, h, w)
    padded = pad_to_multiple(x, multiple)
    assert padded.shape[-2] % multiple == 0
    assert padded.shape[-1] % multiple == 0
    assert padded.shape[-2] - h < multiple
    assert torch.equal(padded[..., :h, :w], x)


@given(st.integers(1, 200), st.integers(8, 40), st.integers(0, 7))
def test_spans_cover_everything_and_neighbours_overlap(length, tile, overlap):
    found = spans(length, tile, overlap)
    assert found[0][0] == 0
    assert found[-1][1] == length
    assert all(end - start <= tile for start, end in found)
    assert all(b[0] == a[1] - overlap for a, b in zip(found, found[1:], strict=False))


@given(st.integers(1, 400), st.integers(8, 20), st.integers(0, 3))
def test_even_spans_are_as_many_and_none_is_narrow(length, half_tile, half_overlap):
    tile, overlap, multiple = 2 * half_tile, 2 * half_overlap, 2
    found = even_spans(length, tile, overlap, multiple)
    sizes = [end - start for start, end in found]
    assert (found[0][0], found[-1][1]) == (0, length)
    assert len(found) <= len(spans(length, tile, overlap))
    assert max(sizes) <= tile
    assert all(start % multiple == 0 for start, _ in found)
    assert all(b[0] == a[1] - overlap for a, b in zip(found, found[1:], strict=False))
    assert max(sizes) - min(sizes) < multiple * len(found)


def test_an_overlap_as_large_as_the_tile_is_refused():
    with pytest.raises(ValueError, match="must exceed"):
        spans(100, 8, 8)


@pytest.mark.parametrize("size", [(64, 64), (70, 41), (33, 96), (17, 9)])
def test_exact_tiles_equal_the_whole(size):
    kernel = torch.randn(3, 3, 5, 5, dtype=torch.float64)
    x = torch.randn(1, 3, *size, dtype=torch.float64)

    def smooth(z):
        return F.conv2d(z, kernel, padding=2)

    def shrink(z):
        return F.conv2d(F.conv2d(z, kernel, padding=2, stride=2), kernel, padding=2, stride=2)

    def grow(z):
        return F.interpolate(smooth(z), scale_factor=4, mode="nearest")

    for function, ratio in ((smooth, (1, 1)), (shrink, (1, 4)), (grow, (4, 1))):
        torch.testing.assert_close(by_tiles(function, x, 16, 16, ratio), function(x))


@pytest.mark.parametrize("size", [(64, 64), (70, 41), (20, 90)])
def test_blended_windows_of_a_local_function_equal_the_whole(size):
    x = torch.rand(2, 4, *size)
    torch.testing.assert_close(by_windows(lambda z: 2 * z + 1, x, 24, 8), 2 * x + 1)
    torch.testing.assert_close(by_windows(lambda z, other: z - other, x, 24, 8, beside=x / 4), 0.75 * x)


def test_a_small_input_runs_in_one_piece():
    calls = []
    by_windows(lambda z: calls.append(z.shape) or z, torch.rand(1, 2, 10, 10), 16, 4)
    by_tiles(lambda z: calls.append(z.shape) or z, torch.rand(1, 2, 10, 10), 16, 4)
    assert calls == [(1, 2, 10, 10)] * 2


def test_a_windows_rim_counts_nothing_where_a_neighbour_covers_it():
    x = torch.rand(1, 2, 8, 40)

    def spoils_its_rim(part):
        part = part.clone()
        part[..., :2] = part[..., -2:] = 9.0
        return part

    out = by_windows(spoils_its_rim, x, 16, 8)
    torch.testing.assert_close(out[..., 2:-2], x[..., 2:-2])
    assert (out[..., :2] == 9.0).all()
